//! What the crates that toril is built from may be: their licences, and one version of each.

use super::report;
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Licences that ask no more than that their text is passed on.
const LICENCES: &[&str] =
    &["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "Unicode-3.0"];

/// Crates that are built in more than one version, and why.
const TWICE: &[(&str, &str)] = &[
    ("getrandom", "ring still wants 0.2"),
    ("syn", "macros alone: zerocopy-derive and tracing-attributes still want 2, serde_derive 3"),
];

/// What cargo knows of the packages that this machine builds, those for tests among them.
fn packages() -> Vec<Value> {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc runs");
    let told = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = told.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc has a host");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    // The list has every package of the lock file, the graph those of this platform.
    let nodes = metadata["resolve"]["nodes"].take();
    let built: Vec<&Value> = nodes.as_array().expect("a list").iter().map(|it| &it["id"]).collect();
    let Value::Array(packages) = metadata["packages"].take() else { panic!("no packages") };
    packages.into_iter().filter(|package| built.contains(&&package["id"])).collect()
}

/// Whether an expression of SPDX allows a use under the licences above.
fn is_allowed(expression: &str) -> bool {
    // The slash is how older packages write OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_allowed = any(&mut words);
    is_allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words) -> bool {
    let mut is_allowed = all(words);
    while words.next_if_eq(&"OR").is_some() {
        is_allowed |= all(words);
    }
    is_allowed
}

fn all(words: &mut Words) -> bool {
    let mut is_allowed = one(words);
    while words.next_if_eq(&"AND").is_some() {
        is_allowed &= one(words);
    }
    is_allowed
}

fn one(words: &mut Words) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let is_allowed = any(words);
        return words.next() == Some(")") && is_allowed;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence += &format!(" WITH {}", words.next().unwrap_or_default());
    }
    LICENCES.contains(&&*licence)
}

#[test]
fn licences_are_those_that_are_allowed() {
    let mut complaints = Vec::new();
    for package in packages() {
        let license = package["license"].as_str().unwrap_or("none");
        if !is_allowed(license) {
            complaints.push(format!("{}: the licence is {license}", package["name"]));
        }
    }
    report(complaints);
}

#[test]
fn no_crate_is_built_twice() {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().expect("a text").to_owned();
        versions.entry(text("name")).or_default().push(text("version"));
    }
    let mut complaints = Vec::new();
    for (name, versions) in &versions {
        let is_listed = TWICE.iter().any(|(listed, _)| listed == name);
        match (versions.len() > 1, is_listed) {
            (true, false) => complaints.push(format!("{name}: versions {}", versions.join(", "))),
            (false, true) => complaints.push(format!("{name} is built once, but listed as twice")),
            _ => {}
        }
    }
    for (name, _) in TWICE.iter().filter(|(name, _)| !versions.contains_key(*name)) {
        complaints.push(format!("{name} is not built, but listed as twice"));
    }
    report(complaints);
}

/// `1.95` of Cargo.toml.
pub fn rust_version() -> &'static str {
    env!("CARGO_PKG_RUST_VERSION")
}

#[test]
fn the_rust_version_that_is_declared_is_the_one_that_builds() {
    let rustc = Command::new("rustc").arg("--version").output().expect("rustc runs");
    let told = String::from_utf8_lossy(&rustc.stdout);
    let version = told.split(' ').nth(1).expect("rustc has a version");
    let is_same = version.strip_prefix(rust_version()).is_some_and(|rest| rest.starts_with('.'));
    assert!(is_same, "Cargo.toml declares {}, rustc is {version}", rust_version());
}

#[test]
fn expressions_of_licences_are_read() {
    assert!(is_allowed("MIT"));
    assert!(is_allowed("GPL-2.0 OR MIT"));
    assert!(is_allowed("Unlicense/MIT"));
    assert!(is_allowed("Apache-2.0 WITH LLVM-exception OR Apache-2.0"));
    assert!(is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!is_allowed("MIT AND GPL-3.0"));
    assert!(!is_allowed("(MIT OR Apache-2.0) AND GPL-3.0"));
    assert!(!is_allowed("MIT MIT"));
    assert!(!is_allowed("none"));
}
