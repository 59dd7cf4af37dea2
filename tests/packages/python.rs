//! PyPI's package in a virtual environment.

use super::made::{Made, copy, said, source};
use super::npm::{finish, once_per};
use super::{Outcome, Trouble};
use std::path::{Path, PathBuf};
use std::process::Command;

/// An environment with what the tests need, and the wheel installed anew.
fn environment(made: &Made) -> Result<PathBuf, Trouble> {
    let environment = made.folder.join("venv");
    once_per(&source().join("requirements.txt"), &environment, || {
        finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        finish(
            Command::new(environment.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(source().join("requirements.txt")),
        )
    })
    .map_err(Trouble::Missing)?;
    let pip = || Command::new(environment.join("bin/pip"));
    said(pip().args(["uninstall", "--quiet", "--yes", "toril"]))?;
    said(
        pip()
            .args(["install", "--quiet", "--disable-pip-version-check", "--no-index"])
            .args(["--only-binary", ":all:", "--find-links"])
            .args([&made.dist])
            .arg("toril"),
    )?;
    Ok(environment)
}

fn run(made: &Made, options: &[&str], files: &[&str]) -> Outcome {
    let environment = environment(made)?;
    let project = made.fresh("python");
    copy(&source().join("python"), &project);
    said(
        Command::new(environment.join("bin/python"))
            .args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"])
            .args(["--toril-args", "--databases 3"])
            .args(options)
            .args(files)
            .current_dir(&project),
    )?;
    Ok(())
}

pub fn pytest(made: &Made, options: &[&str]) -> Outcome {
    run(made, options, &[])
}

/// A folder of docs/examples.
pub fn example(made: &Made, name: &str) -> Outcome {
    let environment = environment(made)?;
    let project = made.fresh(name);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name), &project);
    said(
        Command::new(environment.join("bin/python"))
            .args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"])
            .current_dir(&project),
    )?;
    Ok(())
}

/// All tests of the fixtures on one server, which is emptied before each.
pub fn session_scope(made: &Made) -> Outcome {
    run(made, &["-o", "toril_scope=session"], &["test_fixtures.py"])
}
