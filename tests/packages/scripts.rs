//! packaging/install.sh and what the GitHub Action runs, on a release made of files.

use super::made::{Made, said};
use super::{Outcome, check, failed};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to notice that its parent has ended.
const ENDS: Duration = Duration::from_secs(1);

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

/// A folder that is laid out as a project's releases are, and the script told to install from it.
fn installer(made: &Made, name: &str) -> (PathBuf, PathBuf, Command) {
    let folder = made.fresh(name);
    let release = folder.join("releases/latest/download");
    fs::create_dir_all(&release).expect("the folder for tests can be written");
    let archive = made.file(".tar.gz");
    for file in [made.dist.join("SHA256SUMS"), archive.clone()] {
        let name = file.file_name().expect("it has a name");
        fs::copy(&file, release.join(name)).expect("it can be copied");
    }
    let mut script = Command::new("sh");
    script
        .arg(packaging().join("install.sh"))
        .env("TORIL_RELEASES", format!("file://{}", folder.join("releases").display()))
        .env("TORIL_INSTALL", folder.join("bin"));
    let archive = release.join(archive.file_name().expect("it has a name"));
    (folder.join("bin/toril"), archive, script)
}

/// A release is installed if its sum is the one that is listed.
pub fn install_checks_the_sum(made: &Made) -> Outcome {
    let (program, archive, mut script) = installer(made, "install");
    let told = said(&mut script)?;
    check(told.contains(&format!("(toril {}", env!("CARGO_PKG_VERSION"))), || told)?;
    fs::remove_file(&program).expect("it was installed");
    let mut bytes = fs::read(&archive).expect("it is there");
    *bytes.last_mut().expect("it is not empty") ^= 1;
    fs::write(&archive, bytes).expect("it can be written");
    let output = script.output().map_err(|error| failed(error.to_string()))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let is_refused = told.contains(" has the sum ") && told.contains("and SHA256SUMS says");
    check(is_refused && !program.exists(), || format!("a changed archive: {told}"))
}

/// The action's server listens where its outputs say, and ends with the job.
pub fn action_starts_a_server(made: &Made) -> Outcome {
    let folder = made.fresh("action");
    let outputs = folder.join("outputs");
    let mut job = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let started = said(
        Command::new("bash")
            .arg(packaging().join("action/start.sh"))
            .arg(job.id().to_string())
            .env("TORIL_BINARY", made.dist.join("toril"))
            .env("TORIL_PORT", "0")
            .env("TORIL_HTTP_PORT", "0")
            .env("TORIL_ARGS", "--maxmemory 50mb --save ''")
            .env("RUNNER_TEMP", &folder)
            .env("GITHUB_OUTPUT", &outputs),
    );
    let outcome = started.and_then(|_| {
        let told = fs::read_to_string(&outputs).expect("the script has written it");
        let output = |name: &str| {
            let mut lines = told.lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let port = output("port").unwrap_or_default();
        let is_told = output("url") == Some(format!("redis://127.0.0.1:{port}"))
            && output("http-url").is_some_and(|url| url.starts_with("http://127.0.0.1:"))
            && output("http-token").is_some_and(|token| !token.is_empty());
        check(is_told, || format!("the outputs are {told}"))?;
        check(answers(&port), || "the server does not answer".to_owned())?;
        Ok(port)
    });
    let _ = job.kill();
    let _ = job.wait();
    let port = outcome?;
    let deadline = Instant::now() + ENDS;
    while answers(&port) {
        check(Instant::now() < deadline, || "the server outlives the job".to_owned())?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether the settings that were asked for are those of the server behind a port.
fn answers(port: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(format!("127.0.0.1:{port}")) else { return false };
    let asked = stream.write_all(b"CONFIG GET maxmemory\r\n");
    let replies = BufReader::new(stream).lines().map_while(Result::ok).take(5);
    asked.is_ok() && replies.last().is_some_and(|line| line == "52428800")
}
