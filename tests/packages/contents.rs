//! What is in the packages.

use super::made::{Made, build, said};
use super::{Outcome, check, failed};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As packaging/make/binary.py has it.
const BINARY_BYTES_MAX: u64 = 8_000_000;

/// A file of an archive, as text.
fn file_of(archive: &Path, name: &str) -> Result<String, super::Trouble> {
    said(Command::new("tar").arg("-xOzf").arg(archive).arg(name))
}

/// Cargo.toml says it; all packages repeat it.
pub fn versions_are_equal(made: &Made) -> Outcome {
    let told = said(Command::new(made.dist.join("toril")).arg("--version"))?;
    check(told.contains(&format!("(toril {VERSION}")), || format!("the binary says {told}"))?;
    for ending in [format!("/toril-{VERSION}.tgz"), format!("64-{VERSION}.tgz")] {
        let text = file_of(&made.file(&ending), "package/package.json")?;
        let described: Value = serde_json::from_str(&text).map_err(|it| failed(it.to_string()))?;
        check(described["version"] == VERSION, || format!("npm's package says {text}"))?;
        if let Some(needed) = described["optionalDependencies"].as_object() {
            let are_equal = needed.len() == 4 && needed.values().all(|version| version == VERSION);
            check(are_equal, || format!("npm's package asks for {needed:?}"))?;
        }
    }
    let wheel = made.file(".whl");
    let name = wheel.file_name().expect("it has a name").to_string_lossy().into_owned();
    check(name.starts_with(&format!("toril-{VERSION}-py3-none-")), || {
        format!("the wheel is {name}")
    })?;
    let metadata = format!("toril-{VERSION}.dist-info/METADATA");
    let show =
        "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read(sys.argv[2]).decode())";
    let text = said(Command::new("python3").args(["-c", show]).arg(&wheel).arg(&metadata))?;
    check(text.contains(&format!("\nVersion: {VERSION}\n")), || format!("the wheel says {text}"))
}

/// The same binary gives the same packages, byte for byte.
pub fn builds_are_repeatable(made: &Made) -> Outcome {
    let again = made.folder.join("again");
    build(&again, Some(&made.dist.join("toril")), None)?;
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).expect("it is there");
    let (first, second) = (sums(&made.dist), sums(&again));
    check(first.lines().count() == 4, || format!("the sums are {first}"))?;
    check(first == second, || format!("two builds differ:\n{first}\n{second}"))
}

/// It asks for no shared library, and is small.
pub fn binary_is_static(made: &Made) -> Outcome {
    if !made.is_static {
        return Err(super::Trouble::Missing("TORIL_PACKAGES=whole builds it".to_owned()));
    }
    let binary = made.dist.join("toril");
    let output = Command::new("ldd").arg(&binary).output().map_err(|it| failed(it.to_string()))?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    let is_static = ["not a dynamic executable", "statically linked"];
    check(is_static.iter().any(|words| told.contains(words)), || format!("ldd says {told}"))?;
    let size = fs::metadata(&binary).expect("it is there").len();
    println!("    the binary has {size} bytes");
    check(size <= BINARY_BYTES_MAX, || format!("the binary has {size} bytes"))
}
