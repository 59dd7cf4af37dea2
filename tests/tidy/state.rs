//! What outlives an engine: a process may run several, so what they share is listed here.

use super::{report, sources};

/// Every `static`, and why it is one. What is only a value is a `const`.
const STATICS: &[(&str, &str, &str)] = &[
    ("main.rs", "ALLOCATOR", "the allocator of the program"),
    ("util/exact.rs", "PAGES", "memory of all threads, as the allocator's own is"),
    ("util/hash.rs", "COLLECTIONS", "values move between engines' threads, their hashes with them"),
    ("data/block.rs", "EMPTY", "an address that says that there is no block"),
    ("lua/sandbox/guard.rs", "TRUE_TABLE", "an address that is a key in Lua's registry"),
    ("lua/run.rs", "CALLS", "a test counts in a C function"),
    ("config/rows.rs", "ROWS", "a table that settings point into"),
    ("config/rows.rs", "DIRECTIVES", "a table that settings point into"),
    ("engine/pubsub.rs", "NONE", "an empty set to borrow from"),
    ("server/files.rs", "COUNT", "a debug build counts what it does to files, to stop at one"),
];

/// The name of the `static` that a line declares.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let after_pub = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let name = after_pub.strip_prefix("static ")?;
    name.split(':').next()
}

#[test]
fn what_outlives_an_engine_is_listed() {
    let mut complaints = Vec::new();
    let mut unused: Vec<_> = STATICS.iter().map(|(path, name, _)| (*path, *name)).collect();
    let files = sources("src");
    for source in files.iter().filter(|source| source.path != "util/alloc.rs") {
        for (number, line) in source.code() {
            let Some(name) = declared(line) else { continue };
            match unused.iter().position(|entry| *entry == (&*source.path, name)) {
                Some(index) => drop(unused.swap_remove(index)),
                None => complaints.push(format!("{}:{number}: static {name}", source.path)),
            }
        }
    }
    complaints.extend(unused.into_iter().map(|(path, name)| format!("{path}: {name} is absent")));
    report(complaints);
}

#[test]
fn statics_are_seen() {
    assert_eq!(declared("    static A: u8 = 0;"), Some("A"));
    assert_eq!(declared("pub(super) static B: u8 = 0;"), Some("B"));
    assert_eq!(declared("pub static C: &[u8] = &[];"), Some("C"));
    assert_eq!(declared("fn find() -> &'static str {"), None);
}
