//! The crate in a project of its own, which cargo builds from this checkout.

use super::made::{Made, said_within};
use super::{Outcome, Trouble, check};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// It compiles some 170 crates the first time.
const PATIENCE: Duration = Duration::from_secs(1_200);

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/apalis-cargo")
}

fn cargo(made: &Made, args: &[&str]) -> Result<String, Trouble> {
    let mut command = Command::new(env!("CARGO"));
    // Kept from run to run: most of it is the dependencies of others.
    command.args(args).arg("--locked").env("CARGO_TARGET_DIR", made.folder.join("apalis-cargo"));
    said_within(PATIENCE, command.current_dir(project()))
}

/// As a dependency of tests it brings no allocator along: the program keeps its own.
pub fn has_no_allocator(made: &Made) -> Outcome {
    let tree = cargo(made, &["tree", "--prefix", "none", "--edges", "normal,dev"])?;
    check(tree.contains("toril v"), || format!("toril is not there: {tree}"))?;
    check(!tree.contains("mimalloc"), || format!("mimalloc is there: {tree}"))
}

pub fn example(made: &Made) -> Outcome {
    let told = cargo(made, &["test"])?;
    check(told.contains("2 passed; 0 failed"), || told)
}
