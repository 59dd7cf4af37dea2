//! What docs/ says of the sources and of itself: HACKING.md lists every file with its first
//! sentence, ARCHITECTURE.md names the tests that hold each invariant, and decisions.md begins with
//! its contents. Lists are written anew with TORIL_RECORD set.

use super::{Source, report, sources};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HACKING: &str = "docs/HACKING.md";
const DECISIONS: &str = "docs/decisions.md";

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

/// Holds what stands between two marks in a page against what should stand there.
fn check_fresh(page: &str, name: &str, list: &str) {
    let text = read_page(page);
    let [begin, end] = ["from", "to"].map(|word| format!("<!-- {name}: {word} here -->\n"));
    let (before, rest) = text.split_once(&begin).expect("the list begins somewhere");
    let (kept, after) = rest.split_once(&end).expect("the list ends somewhere");
    if std::env::var_os("TORIL_RECORD").is_some() {
        let text = format!("{before}{begin}{list}{end}{after}");
        std::fs::write(path_of(page), text).expect("the page can be written");
    } else {
        let how = "TORIL_RECORD=1 cargo test --test tidy writes it anew";
        assert!(kept == list, "{page}: the list of {name} is old: {how}");
    }
}

#[test]
fn the_list_of_files_is_fresh() {
    check_fresh(HACKING, "files", &list(&sorted_sources()));
}

/// The name under which GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn the_contents_of_decisions_are_fresh() {
    let page = read_page(DECISIONS);
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let lines = headings.map(|heading| format!("- [{heading}](#{})\n", anchor(heading)));
    check_fresh(DECISIONS, "contents", &lines.collect::<String>());
}

#[test]
fn a_decision_has_a_heading() {
    let page = read_page(DECISIONS);
    let titles = (1..).zip(page.lines()).filter(|(_, line)| line.starts_with("**"));
    report(
        titles
            .map(|(number, _)| {
                format!("{DECISIONS}:{number}: a decision begins with a heading, not in bold")
            })
            .collect(),
    );
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
    assert_eq!(anchor("A `redis.call` is 1-to-1"), "a-rediscall-is-1-to-1");
    let page = "`a_test_it_is`, `Engine::free_some`, `free_some`, not_so_here";
    assert_eq!(tests_named(page).collect::<Vec<_>>(), ["a_test_it_is"]);
}
