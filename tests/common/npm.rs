//! What npm and pip install for tests and benches, once for each state of a lock file.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Installs what the lock file in a folder lists into its `node_modules`. The error says what is
/// missing.
pub fn install(folder: &Path) -> Result<(), String> {
    let has_test_runner = "process.exit(process.versions.node.split('.')[0] >= 20 ? 0 : 1)";
    finish(Command::new("node").args(["-e", has_test_runner]))
        .map_err(|_| "Node 20 or newer is missing".to_owned())?;
    once_per(&folder.join("package-lock.json"), &folder.join("node_modules"), || {
        // No package's own scripts: one of them would fetch and build a Redis.
        finish(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(folder),
        )
    })
}

/// Installs what a lock file lists into a folder, which keeps a copy of the lock file: while the
/// two are equal there is nothing to do.
pub fn once_per(
    lock: &Path,
    installed: &Path,
    install: impl Fn() -> Result<(), String>,
) -> Result<(), String> {
    let copy = installed.join(".installed-lock");
    let wanted = fs::read(lock).expect("the lock file can be read");
    if fs::read(&copy).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    println!("installing what {} lists", lock.display());
    install()?;
    fs::write(copy, wanted).map_err(|error| error.to_string())
}

/// Runs a program to its end; the error is what it says on the way.
pub fn finish(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name} failed: {}", said.lines().rev().take(3).collect::<Vec<_>>().join(" / ")))
}
