//! The workflows that GitHub runs: they call what a person calls, with the compiler that Cargo.toml
//! names, so that no rule stands in them alone.

use super::packages::rust_version;
use super::report;
use std::fs;
use std::path::Path;

/// Programs of this repository that some workflow has to run.
const CALLED: &[&str] = &[".ci/run", ".ci/fuzz"];

/// The version that a command names: `+1.95`, `install 1.95` or `default 1.95`.
fn toolchain(command: &str) -> Option<&str> {
    let after = ["cargo +", "toolchain install ", "rustup default "]
        .iter()
        .find_map(|before| command.split_once(before))?
        .1;
    after.split_whitespace().next()
}

#[test]
fn workflows_run_what_people_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut complaints = Vec::new();
    let mut all = String::new();
    for entry in fs::read_dir(root.join(".github/workflows")).expect("there are workflows") {
        let path = entry.expect("the entry can be read").path();
        let text = fs::read_to_string(&path).expect("a workflow is text");
        let name = path.file_name().expect("a file has a name").display().to_string();
        for (number, line) in (1..).zip(text.lines()) {
            let version = toolchain(line).unwrap_or("nightly");
            if version != "nightly" && version != rust_version() {
                complaints.push(format!("{name}:{number}: Rust {version}, not that of Cargo.toml"));
            }
            if line.contains('\t') {
                complaints.push(format!("{name}:{number}: a tab, which YAML forbids"));
            }
            if line.trim_start().starts_with("- run: cargo") && toolchain(line).is_none() {
                complaints.push(format!("{name}:{number}: says not with which Rust"));
            }
        }
        all += &text;
    }
    for program in CALLED {
        if !all.contains(&format!("- run: {program}")) {
            complaints.push(format!("no workflow runs {program}"));
        }
    }
    report(complaints);
}

#[test]
fn toolchains_are_seen() {
    assert_eq!(toolchain("- run: cargo +1.95 test"), Some("1.95"));
    assert_eq!(toolchain("- run: rustup toolchain install nightly --profile x"), Some("nightly"));
    assert_eq!(toolchain("- run: cargo test"), None);
}
