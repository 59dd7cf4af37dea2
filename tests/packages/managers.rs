//! The package managers, each in a fresh project that knows only the registry on loopback.

use super::made::{Made, said, source};
use super::node::install_dependencies;
use super::{Outcome, Trouble, check};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the managers themselves are, installed by the npm that is there.
fn managers(made: &Made) -> Result<PathBuf, Trouble> {
    let folder = made.folder.join("managers");
    install_dependencies(&source().join("managers"), &folder).map_err(Trouble::Missing)?;
    Ok(folder.join("node_modules"))
}

/// A project that asks for toril, and nothing of the user's settings around it.
struct Project {
    folder: PathBuf,
    registry: String,
}

impl Project {
    fn new(made: &Made, name: &str) -> Result<Project, Trouble> {
        let folder = made.fresh(&format!("projects/{name}"));
        let text = r#"{ "name": "project", "private": true }"#;
        fs::write(folder.join("package.json"), text).expect("the project can be written");
        Ok(Project { folder, registry: made.registry()?.to_owned() })
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .env("HOME", &self.folder)
            .env("npm_config_registry", &self.registry)
            .env("npm_config_cache", self.folder.join(".cache"))
            .env("npm_config_userconfig", self.folder.join(".npmrc"))
            .env_remove("TORIL_BINARY");
        command
    }

    /// A manager that is a script for Node.
    fn script(&self, script: &Path) -> Command {
        let mut command = self.command("node");
        command.arg(script);
        command
    }

    /// What the command that the manager has installed says of its version.
    fn check_runs(&self, command: &mut Command) -> Outcome {
        let told = said(command)?;
        let version = format!("(toril {}", env!("CARGO_PKG_VERSION"));
        check(told.contains(&version), || format!("toril --version says {told}"))
    }

    fn installed(&self) -> PathBuf {
        self.folder.join("node_modules/.bin/toril")
    }
}

fn npm_of(made: &Made, which: &str) -> Result<PathBuf, Trouble> {
    Ok(managers(made)?.join(which).join("bin/npm-cli.js"))
}

/// Installs, and installs again what the lock file lists.
pub fn npm(made: &Made, which: &str) -> Outcome {
    let npm = npm_of(made, which)?;
    let project = Project::new(made, which)?;
    said(project.script(&npm).args(["install", "--save-dev", "toril"]))?;
    project.check_runs(project.command(project.installed()).arg("--version"))?;
    let packages = fs::read_dir(project.folder.join("node_modules/@toril")).expect("it is there");
    check(packages.count() == 1, || "more than one platform is installed".to_owned())?;
    said(project.script(&npm).arg("ci"))?;
    project.check_runs(project.command(project.installed()).arg("--version"))
}

/// The message for a binary that is missing, which is all that the command says.
fn check_says_what_is_missing(project: &Project) -> Outcome {
    let output = project.command(project.installed()).arg("--version").output();
    let output = output.expect("the command is there");
    let told = String::from_utf8_lossy(&output.stderr);
    let is_told = told.starts_with("toril: @toril/") && told.contains("Mend it: npm i -D @toril/");
    check(!output.status.success() && is_told, || format!("it says {told}"))
}

/// The known fault of older npms (npm/cli#4828): a lock file that is made while another system's
/// packages are installed lists those alone.
pub fn npm_10_forgets_platforms(made: &Made) -> Outcome {
    let npm = npm_of(made, "npm-10")?;
    let project = Project::new(made, "npm-10-forgets")?;
    let other = ["--os=darwin", "--cpu=arm64"];
    said(project.script(&npm).args(["install", "--save-dev", "toril"]).args(other))?;
    fs::remove_file(project.folder.join("package-lock.json")).expect("npm has written it");
    said(project.script(&npm).arg("install"))?;
    said(project.script(&npm).arg("ci"))?;
    check_says_what_is_missing(&project)
}

pub fn npm_omits_optional(made: &Made) -> Outcome {
    let npm = npm_of(made, "npm-11")?;
    let project = Project::new(made, "npm-omits")?;
    said(project.script(&npm).args(["install", "--save-dev", "toril", "--omit=optional"]))?;
    check_says_what_is_missing(&project)
}

pub fn yarn_1(made: &Made) -> Outcome {
    let yarn = managers(made)?.join("yarn/bin/yarn.js");
    let project = Project::new(made, "yarn-1")?;
    let registry = project.registry.clone();
    fs::write(project.folder.join(".npmrc"), format!("registry={registry}\n")).expect("it is ours");
    said(project.script(&yarn).args(["add", "--dev", "toril", "--registry", &registry]))?;
    let packages = fs::read_dir(project.folder.join("node_modules/@toril")).expect("it is there");
    check(packages.count() == 1, || "more than one platform is installed".to_owned())?;
    project.check_runs(project.command(project.installed()).arg("--version"))
}

/// Plug'n'Play: no node_modules, and the binary outside of the archives.
pub fn yarn_4(made: &Made) -> Outcome {
    let yarn = managers(made)?.join("@yarnpkg/cli-dist/bin/yarn.js");
    let project = Project::new(made, "yarn-4")?;
    let settings = format!(
        "npmRegistryServer: {:?}\nunsafeHttpWhitelist: [\"127.0.0.1\"]\nenableTelemetry: false\n\
         enableGlobalCache: false\nenableMirror: false\nnpmMinimalAgeGate: 0\n",
        project.registry.trim_end_matches('/')
    );
    fs::write(project.folder.join(".yarnrc.yml"), settings).expect("it is ours");
    fs::write(project.folder.join("yarn.lock"), "").expect("it is ours");
    said(project.script(&yarn).args(["add", "--dev", "toril"]))?;
    check(!project.folder.join("node_modules").exists(), || "it made node_modules".to_owned())?;
    project.check_runs(project.script(&yarn).args(["run", "toril", "--version"]))
}

pub fn pnpm_10(made: &Made) -> Outcome {
    pnpm(made, "pnpm-10", &managers(made)?.join("pnpm/bin/pnpm.cjs"))
}

/// It is a program for each platform, which no lock file of npm's can list whole here: so it is
/// installed by name.
pub fn pnpm_12(made: &Made) -> Outcome {
    let folder = made.fresh("pnpm-12");
    fs::write(folder.join("package.json"), r#"{ "private": true }"#).expect("it is ours");
    let options = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "pnpm@12.21.0"];
    said(Command::new("npm").args(options).current_dir(&folder))?;
    pnpm(made, "pnpm-12", &folder.join("node_modules/pnpm/bin/pnpm.mjs"))
}

fn pnpm(made: &Made, name: &str, pnpm: &Path) -> Outcome {
    let project = Project::new(made, name)?;
    let registry = format!("--registry={}", project.registry);
    let store = format!("--store-dir={}", project.folder.join(".store").display());
    said(project.script(pnpm).args(["add", "--save-dev", "toril", &registry, &store]))?;
    project.check_runs(project.command(project.installed()).arg("--version"))
}
