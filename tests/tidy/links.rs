//! Files that documents and comments name: each must be there, or a reader looks for it in vain.

use super::{report, sources};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What documents name though it is not in the repository, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("redis.conf", "Redis's own file"),
    ("fuzz/artifacts", "made when a fuzz target fails"),
    ("tests/.oracles", "made by tests/oracles.sh"),
    ("packaging/dist", "made by packaging/build"),
    ("packaging/.cache", "made by packaging/build"),
];

/// What a name of a file ends with, if it is ours.
const ENDINGS: &[&str] =
    &[".rs", ".md", ".sh", ".txt", ".toml", ".mjs", ".js", ".py", ".yml", ".svg"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document, from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("CHANGELOG.md")];
    for folder in ["docs", ".github", "tests/transcripts"] {
        for entry in fs::read_dir(root().join(folder)).expect("the folder can be read") {
            let name = entry.expect("the entry can be read").file_name();
            if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push(Path::new(folder).join(name));
            }
        }
    }
    pages
}

/// The words of a text that may be names of files, without what stands around them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || "_-./<>*{}:~$".contains(c);
    text.split(move |c: char| !is_part(c))
        .map(|word| word.split_once("::").map_or(word, |(path, _)| path))
        .map(|word| word.trim_end_matches(['.', ':', '/']))
        .filter(|word| !word.is_empty() && !word.contains(['<', '>', '*', '{', '}', ':', '~', '$']))
        .filter(|word| !word.starts_with('/') && !word.contains("..."))
}

/// Whether a word is meant as a file or a folder of this repository.
fn is_path(word: &str) -> bool {
    let first = word.split('/').next().unwrap_or_default();
    let ends = ENDINGS.iter().any(|ending| word.ends_with(ending) && word.len() > ending.len());
    let begins =
        ["src", "tests", "docs", "benches", "fuzz", "packaging", ".ci", ".github"].contains(&first);
    ends || begins && word.contains('/')
}

/// Whether a path leads somewhere from the page, the root, `src` or `tests`. A name without a
/// folder may be that of any file: the text around it says which.
fn is_there(word: &str, page: &Path) -> bool {
    let near = page.parent().unwrap_or(Path::new(""));
    let mut folders = [near, Path::new(""), Path::new("src"), Path::new("tests")].into_iter();
    folders.any(|folder| root().join(folder).join(word).exists())
        || !word.contains('/') && NAMES.with(|names| names.contains(word))
}

thread_local! {
    /// The names of all files, without their folders.
    static NAMES: HashSet<String> = names();
}

fn names() -> HashSet<String> {
    let mut names = HashSet::new();
    let mut folders: Vec<PathBuf> =
        ["src", "tests", "benches", "fuzz/fuzz_targets", "docs", ".github", "packaging"]
            .map(|it| root().join(it))
            .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().expect("it has a name").display().to_string();
            if path.is_dir() && name != "node_modules" && !name.starts_with('.') {
                folders.push(path);
            }
            names.insert(name);
        }
    }
    names
}

/// The words of a text that name a file which is not there.
fn absent<'a>(text: &'a str, page: &Path) -> Vec<&'a str> {
    let is_elsewhere = |word: &str| ELSEWHERE.iter().any(|(path, _)| word.starts_with(path));
    words(text)
        .filter(|word| is_path(word) && !is_there(word, page) && !is_elsewhere(word))
        .collect()
}

#[test]
fn documents_name_no_absent_file() {
    let mut complaints = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(root().join(&page)).expect("the page can be read");
        for (number, line) in (1..).zip(text.lines()) {
            for word in absent(line, &page) {
                complaints.push(format!("{}:{number}: there is no {word}", page.display()));
            }
        }
    }
    report(complaints);
}

#[test]
fn comments_name_no_absent_file() {
    let mut complaints = Vec::new();
    for source in ["src", "tests", "benches", "fuzz"].into_iter().flat_map(sources) {
        let path = if root().join("src").join(&source.path).exists() {
            Path::new("src").join(&source.path)
        } else {
            PathBuf::from(&source.path)
        };
        for (number, line) in (1..).zip(source.text.lines()) {
            let Some((code, comment)) = line.split_once("//") else { continue };
            // The start of a URL is none of a comment.
            if code.ends_with(':') {
                continue;
            }
            for word in absent(comment, &path) {
                complaints.push(format!("{}:{number}: there is no {word}", source.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn names_of_files_are_seen() {
    let found = |text| absent(text, Path::new("docs/HACKING.md"));
    assert_eq!(found("`engine/absent.rs::of` and [this](decisions.md#why)."), ["engine/absent.rs"]);
    assert_eq!(found("see src/absent/, tests/tidy, and docs/decisions.md"), ["src/absent"]);
    assert_eq!(found("`tests/<type>.txt` https://example.com/a.md and/or"), [""; 0]);
}
