//! What docs/ says of the sources: HACKING.md lists every file with its first sentence, and
//! ARCHITECTURE.md names the tests that hold each invariant.

use super::{Source, report, sources};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HACKING: &str = "docs/HACKING.md";
const BEGIN: &str = "<!-- files: from here -->\n";
const END: &str = "<!-- files: to here -->\n";

/// A first sentence is a line of a list, so that it has to be read at a glance.
const CHARS_MAX: usize = 160;

fn path_of(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(page)
}

fn read_page(page: &str) -> String {
    std::fs::read_to_string(path_of(page)).expect("the page can be read")
}

/// The first sentence of the comment with which a file begins. None if there is no such comment, or
/// if the sentence does not end in its first paragraph.
fn first_sentence(text: &str) -> Option<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//! "));
    let paragraph = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    match paragraph.find(". ") {
        Some(end) => Some(paragraph[..=end].to_owned()),
        // A colon is an end where a list or a table follows.
        None => paragraph.strip_suffix(['.', ':']).map(|sentence| format!("{sentence}.")),
    }
}

/// Folder by folder, a heading and a line for each file.
fn list(sources: &[Source]) -> String {
    let mut list = String::new();
    let mut before = None;
    for source in sources {
        let path = Path::new(&source.path);
        let folder = path.parent().expect("a file lies in a folder").display().to_string();
        if before.as_ref() != Some(&folder) {
            let shown = if folder.is_empty() { "src" } else { &format!("src/{folder}") };
            let _ = write!(list, "\n### {shown}\n\n");
        }
        let name = path.file_name().expect("a file has a name").display();
        let sentence = first_sentence(&source.text).unwrap_or_default();
        let _ = writeln!(list, "- `{name}`: {sentence}");
        before = Some(folder);
    }
    list + "\n"
}

fn sorted_sources() -> Vec<Source> {
    let mut sources = sources("src");
    let folder_and_path = |source: &Source| {
        let path = Path::new(&source.path);
        (path.parent().map(Path::to_path_buf), path.to_path_buf())
    };
    sources.sort_by_key(folder_and_path);
    sources
}

#[test]
fn every_file_says_what_it_is() {
    let mut complaints = Vec::new();
    for source in sorted_sources() {
        match first_sentence(&source.text) {
            None => complaints.push(format!("{}: no first sentence in `//!`", source.path)),
            Some(sentence) if sentence.chars().count() > CHARS_MAX => {
                complaints.push(format!(
                    "{}: a first sentence of more than {CHARS_MAX} characters",
                    source.path
                ));
            }
            Some(_) => {}
        }
    }
    report(complaints);
}

#[test]
fn the_list_of_files_is_fresh() {
    let text = read_page(HACKING);
    let (before, rest) = text.split_once(BEGIN).expect("the list begins somewhere");
    let (kept, after) = rest.split_once(END).expect("the list ends somewhere");
    let list = list(&sorted_sources());
    if std::env::var_os("TORIL_RECORD").is_some() {
        let text = format!("{before}{BEGIN}{list}{END}{after}");
        std::fs::write(path_of(HACKING), text).expect("the page can be written");
    } else {
        let made = "docs/HACKING.md is old: TORIL_RECORD=1 cargo test --test tidy writes it anew";
        assert!(kept == list, "{made}");
    }
}

/// Names of tests, as a page writes them: several words joined by underscores, between backticks.
fn tests_named(page: &str) -> impl Iterator<Item = &str> {
    let quoted = page.split('`').skip(1).step_by(2);
    quoted.filter(|text| {
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        text.chars().all(is_part) && text.matches('_').count() > 1
    })
}

#[test]
fn invariants_name_tests_that_exist() {
    let page = read_page("docs/ARCHITECTURE.md");
    let (_, invariants) = page.split_once("\n## Invariants\n").expect("the section is there");
    let (invariants, _) = invariants.split_once("\n## ").expect("another one follows");
    let mut sources = sources("src");
    sources.append(&mut super::sources("tests"));
    let exists = |name: &&str| {
        let test = format!("#[test]\n    fn {name}()");
        let of_program = format!("#[test]\nfn {name}()");
        sources.iter().any(|it| it.text.contains(&test) || it.text.contains(&of_program))
    };
    let names: Vec<&str> = tests_named(invariants).collect();
    assert!(names.len() > 10, "they name few tests: {names:?}");
    report(
        names
            .into_iter()
            .filter(|name| !exists(name))
            .map(|name| format!("docs/ARCHITECTURE.md: no test is named {name}"))
            .collect(),
    );
}

#[test]
fn a_sentence_ends_where_it_ends() {
    let check = |text, expect: Option<&str>| assert_eq!(first_sentence(text).as_deref(), expect);
    check("//! One. Two.\n", Some("One."));
    check("//! Lua 5.1 on\n//! two lines.\n//!\n//! More.\n", Some("Lua 5.1 on two lines."));
    check("//! A table:\n//!\n//! | a |\n", Some("A table."));
    check("//! No end\n//!\n//! Here.\n", None);
    check("use std::fs;\n", None);
    let page = "`a_test_it_is`, `Engine::free_some`, `free_some`, not_so_here";
    assert_eq!(tests_named(page).collect::<Vec<_>>(), ["a_test_it_is"]);
}
