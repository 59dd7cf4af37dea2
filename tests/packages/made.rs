//! What packaging/build has made, and the registry that hands it to npm.

use super::npm;
use super::{Outcome, Trouble, failed};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Platforms whose packages are made here to be known to the registry, and not to be run.
const OTHERS: &[&str] = &["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"];

pub struct Made {
    /// The packages of this machine.
    pub dist: PathBuf,
    /// Where projects are made.
    pub folder: PathBuf,
    /// Whether the binary is the one that is published.
    pub is_static: bool,
    pub registry: Result<Registry, String>,
}

impl Made {
    /// Of the binary that cargo has built, or of a static one: built here, or in packages that are
    /// there.
    pub fn new(form: &str) -> Result<Made, Trouble> {
        npm::finish(
            Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]),
        )
        .map_err(|_| Trouble::Missing("Python 3.9 or newer is missing".to_owned()))?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let mut dist = folder.join("dist");
        match form {
            "" => build(&dist, Some(Path::new(env!("CARGO_BIN_EXE_toril"))), None)?,
            "whole" => build(&dist, None, None)?,
            there => dist = Path::new(env!("CARGO_MANIFEST_DIR")).join(there),
        }
        let mut folders = vec![dist.clone()];
        for platform in OTHERS.iter().filter(|platform| !is_made(&dist, platform)) {
            let other = folder.join(format!("dist-{platform}"));
            build(&other, Some(&dist.join("toril")), Some(platform))?;
            let _ = fs::remove_file(other.join(format!("toril-{}.tgz", env!("CARGO_PKG_VERSION"))));
            folders.push(other);
        }
        let registry = Registry::start(&folders);
        Ok(Made { dist, folder, is_static: !form.is_empty(), registry })
    }

    /// The registry's URL, which needs Node.
    pub fn registry(&self) -> Result<&str, Trouble> {
        match &self.registry {
            Ok(registry) => Ok(&registry.url),
            Err(reason) => Err(Trouble::Missing(reason.clone())),
        }
    }

    /// An empty folder for a project.
    pub fn fresh(&self, name: &str) -> PathBuf {
        let project = self.folder.join(name);
        let _ = fs::remove_dir_all(&project);
        fs::create_dir_all(&project).expect("the folder for tests can be written");
        project
    }

    /// The one file in the packages that ends so.
    pub fn file(&self, ending: &str) -> PathBuf {
        let entries = fs::read_dir(&self.dist).expect("the packages are there");
        let mut paths = entries.map(|entry| entry.expect("it can be read").path());
        paths.find(|path| path.to_string_lossy().ends_with(ending)).expect("the package is there")
    }
}

fn is_made(dist: &Path, platform: &str) -> bool {
    dist.join(format!("toril-{platform}-{}.tgz", env!("CARGO_PKG_VERSION"))).exists()
}

/// Runs packaging/build; without a binary it compiles the static one.
pub fn build(out: &Path, binary: Option<&Path>, platform: Option<&str>) -> Outcome {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/build"));
    command.arg("--out").arg(out);
    if let Some(binary) = binary {
        command.arg("--binary").arg(binary);
    }
    if let Some(platform) = platform {
        command.args(["--platform", platform]);
    }
    npm::finish(&mut command).map_err(failed)
}

/// A registry of npm on loopback, which ends with these tests.
pub struct Registry {
    child: Child,
    pub url: String,
}

impl Registry {
    fn start(folders: &[PathBuf]) -> Result<Registry, String> {
        let script = source().join("registry.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .args(folders)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("Node is missing: {error}"))?;
        let mut line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).map_err(|error| error.to_string())?;
        let url = line.trim().to_owned();
        if url.is_empty() {
            return Err("the registry on loopback does not start".to_owned());
        }
        Ok(Registry { child, url })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// tests/packages.
pub fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packages")
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder for tests can be written");
    for entry in fs::read_dir(from).expect("the folder can be read") {
        let path = entry.expect("it can be read").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("the file can be copied");
        }
    }
}

/// More than any program here takes, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a program says, if it ends well and in time; else all of it is the failure.
pub fn said(command: &mut Command) -> Result<String, Trouble> {
    said_within(PATIENCE, command)
}

/// The same for one that has as much to do as a compiler.
pub fn said_within(patience: Duration, command: &mut Command) -> Result<String, Trouble> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Trouble::Missing(format!("{name} cannot be run: {error}")))?;
    let pid = Pid::from_child(&child);
    let (has_ended, watch) = mpsc::channel::<()>();
    let watchman = std::thread::spawn(move || {
        if watch.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().expect("its output can be read");
    drop(has_ended);
    watchman.join().expect("it only waits");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{name} ended with {}:\n{text}{complaints}", output.status)))
}
