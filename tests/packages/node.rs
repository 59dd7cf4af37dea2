//! npm's packages in a project.

use super::made::{Made, copy, said, source};
use super::{Outcome, Trouble, check, npm};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One test may take this long: many times what it needs.
const TEST_TIMEOUT: &str = "--test-timeout=60000";

/// Files of which a project has several, since a runner treats each for itself.
const COPIES: &[(&str, &[&str])] = &[
    (
        "vitest/ten.mjs",
        &[
            "1.test.mjs",
            "2.test.mjs",
            "3.test.mjs",
            "4.test.mjs",
            "5.test.mjs",
            "6.test.mjs",
            "7.test.mjs",
            "8.test.mjs",
        ],
    ),
    ("vitest-shared/one.test.mjs", &["other.test.mjs"]),
    ("jest/one.test.cjs", &["other.test.cjs"]),
    ("jest-shared/one.test.cjs", &["other.test.cjs"]),
];

/// The project that all cases here share, made by the first of them: toril is installed in it as
/// npm does it, and what else it needs lies in the folder above, where Node looks next.
fn project(made: &Made) -> Result<&'static Path, Trouble> {
    static PROJECT: OnceLock<Result<PathBuf, Trouble>> = OnceLock::new();
    let project = PROJECT.get_or_init(|| install(made));
    project.as_deref().map_err(Trouble::clone)
}

fn install(made: &Made) -> Result<PathBuf, Trouble> {
    let registry = made.registry()?;
    let above = made.folder.join("node");
    install_dependencies(&source(), &above).map_err(Trouble::Missing)?;
    let project = made.fresh("node/project");
    copy(&source().join("node"), &project);
    for (file, others) in COPIES {
        for other in *others {
            let other = project.join(file).with_file_name(other);
            fs::copy(project.join(file), other).expect("the project can be written");
        }
    }
    fs::write(project.join("package.json"), r#"{ "name": "project", "private": true }"#)
        .expect("the project can be written");
    said(
        Command::new("npm")
            .args(["install", "--save-dev", "toril", "--no-audit", "--no-fund"])
            .args(["--registry", registry, "--cache"])
            .arg(made.fresh("npm-cache"))
            .current_dir(&project),
    )?;
    Ok(project)
}

/// Installs what a lock file lists into another folder than its own.
pub fn install_dependencies(from: &Path, into: &Path) -> Result<(), String> {
    fs::create_dir_all(into).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(from.join(file), into.join(file)).map_err(|error| error.to_string())?;
    }
    npm::install(into)
}

pub fn test_files(made: &Made, files: &[&str]) -> Outcome {
    let project = project(made)?;
    said(Command::new("node").args(["--test", TEST_TIMEOUT]).args(files).current_dir(project))?;
    Ok(())
}

/// A program that the project's dependencies bring along.
fn tool(made: &Made, name: &str, folder: &str) -> Result<Command, Trouble> {
    let project = project(made)?;
    let mut command = Command::new(made.folder.join("node/node_modules/.bin").join(name));
    command.current_dir(project.join(folder));
    Ok(command)
}

/// A folder of docs/examples, copied beside the tests: it finds the same packages as they.
pub fn example(made: &Made, name: &str, runner: &str) -> Outcome {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples").join(name);
    check_versions(&from)?;
    copy(&from, &project(made)?.join(name));
    let run: &[&str] = if runner == "vitest" { &["run"] } else { &[] };
    said(tool(made, runner, name)?.args(run))?;
    Ok(())
}

/// Playwright under `toril exec`, as the example's script says it.
pub fn example_with_exec(made: &Made) -> Outcome {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/playwright-exec");
    check_versions(&from)?;
    let example = project(made)?.join("playwright-exec");
    copy(&from, &example);
    let told = said(
        Command::new("npm")
            .args(["test", "--silent"])
            .current_dir(&example)
            .env_remove("REDIS_URL")
            // npm puts the programs of the folders above on the path as well.
            .env("CI", "true"),
    )?;
    check(told.contains("1 passed"), || format!("Playwright says {told}"))
}

/// What an example asks for is what it is tested with.
fn check_versions(example: &Path) -> Outcome {
    let read = |folder: &Path| -> Value {
        let text = fs::read_to_string(folder.join("package.json")).expect("it is there");
        serde_json::from_str(&text).expect("it is JSON")
    };
    let (tested, asked) = (read(&source()), read(example));
    for part in ["dependencies", "devDependencies"] {
        for (name, version) in asked[part].as_object().into_iter().flatten() {
            let is_same = name == "toril" || tested["dependencies"][name] == *version;
            check(is_same, || format!("{name} {version} is not what tests/packages has"))?;
        }
    }
    Ok(())
}

pub fn types(made: &Made) -> Outcome {
    said(tool(made, "tsc", "types")?.args(["--project", "."]))?;
    Ok(())
}

pub fn vitest(made: &Made, folder: &str, options: &[&str]) -> Outcome {
    said(tool(made, "vitest", folder)?.arg("run").args(options))?;
    Ok(())
}

pub fn jest(made: &Made, folder: &str, options: &[&str]) -> Outcome {
    let mut jest = tool(made, "jest", folder)?;
    // Jest runs ES modules through an interface of Node that has to be asked for.
    said(jest.args(options).env("NODE_OPTIONS", "--experimental-vm-modules"))?;
    Ok(())
}
