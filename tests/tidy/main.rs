//! The shape of the source tree, checked as text: who may import whom, what is absent where, and
//! how large things may get. docs/ARCHITECTURE.md says why; here it stays true.

mod docs;
mod functions;
mod hosted;
mod links;
mod names;
mod packages;
mod state;

use std::fs;
use std::path::{Path, PathBuf};

/// Left to right: a module imports only from rungs before its own. Neighbours on one rung do not
/// know each other.
const RUNGS: &[&[&str]] = &[
    &["util"],
    &["config"],
    &["data", "proto"],
    &["rdb"],
    &["lua"],
    &["engine"],
    &["command"],
    &["queues"],
    &["persist", "dashboard", "testing"],
    &["remote"],
    &["server"],
    &["host"],
];

/// What only some places may name: the engine and what lies below it get bytes and a time, and
/// otherwise neither see nor touch the world. An empty list: nobody may.
const ABSENT: &[(&str, &[&str])] = &[
    ("std::net", &["remote", "server", "host", "main.rs"]),
    ("std::fs", &["remote", "server", "host"]),
    ("std::env", &["server", "host", "main.rs"]),
    ("thread::spawn", &["server", "host"]),
    ("thread::sleep", &["server", "host", "main.rs"]),
    ("tokio", &["remote", "server", "host"]),
    ("SystemTime", &["server", "main.rs"]),
    ("Instant", &["remote", "server", "host", "main.rs"]),
    ("println", &["server", "main.rs"]),
    ("eprintln", &["server", "main.rs"]),
    ("thread_local", &["server", "util/alloc.rs", "lua"]),
    ("unsafe", &["util", "data", "lua", "server/timerfd.rs", "server/parent.rs"]),
    ("rand", &["server"]),
    ("static mut", &[]),
];

/// util serves any program: what it knows of Redis would belong into another module.
const REDIS_WORDS: &[&str] =
    &["redis", "valkey", "bullmq", "resp", "resp2", "resp3", "lpush", "zadd", "zset", "listpack"];

const COLUMNS_MAX: usize = 100;
const FILE_BYTES_MAX: usize = 40 * 1024;

/// Files over FILE_BYTES_MAX that nevertheless cover one topic, each with its reason.
const LARGE: &[(&str, &str)] = &[];

struct Source {
    /// From the root of the crate, `src/` left out: `data/list.rs`, `tests/tidy/main.rs`.
    path: String,
    text: String,
}

impl Source {
    /// The lines, numbered from 1, and each without its comment.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines().map(|line| line.split("//").next().unwrap_or_default()))
    }

    fn is_within(&self, places: &[&str]) -> bool {
        places.iter().any(|place| Path::new(&self.path).starts_with(place))
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path: PathBuf = entry.expect("the entry can be read").path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the file is UTF-8");
                let path = path.strip_prefix(root).expect("it lies below the root");
                let path = path.strip_prefix("src").unwrap_or(path).display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found
}

/// Fails with all complaints at once, each a line `path:line: what`.
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Where `word` stands in `line` with no letter, digit or underscore beside it.
fn find_word(line: &str, word: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .map(|(at, _)| at)
        .find(|&at| !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part))
}

/// The top-level modules that a text names: `crate::data::List` and `crate::{data::List, proto}`.
fn crate_modules(text: &str) -> Vec<&str> {
    let mut modules = Vec::new();
    for (at, name) in text.match_indices("crate::") {
        let rest = &text[at + name.len()..];
        match rest.strip_prefix('{') {
            None => modules.push(first_word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut starts = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => starts = true,
                        c if starts && !c.is_whitespace() => {
                            modules.push(first_word(&group[at..]));
                            starts = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    modules
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn rung_of(module: &str) -> Option<usize> {
    RUNGS.iter().position(|rung| rung.contains(&module))
}

#[test]
fn imports_go_one_way() {
    let mut complaints = Vec::new();
    for source in sources("src").iter().filter(|source| !source.is_within(&["lib.rs", "main.rs"])) {
        let own = first_word(&source.path);
        let own_rung = rung_of(own).unwrap_or_else(|| panic!("{own} stands on no rung"));
        let code: Vec<&str> = source.code().map(|(_, line)| line).collect();
        for module in crate_modules(&code.join("\n")) {
            // A macro or a re-export at the root belongs to no rung.
            let Some(rung) = rung_of(module) else {
                continue;
            };
            if module != own && rung >= own_rung {
                complaints.push(format!("{}: {own} must not know {module}", source.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn what_is_absent_stays_absent() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        for (word, places) in ABSENT.iter().filter(|(_, places)| !source.is_within(places)) {
            for (number, line) in source.code().filter(|(_, line)| find_word(line, word).is_some())
            {
                let line = line.trim();
                complaints.push(match places {
                    [] => format!("{}:{number}: {word} has no place here: {line}", source.path),
                    _ => format!("{}:{number}: {word} is for {places:?}: {line}", source.path),
                });
            }
        }
    }
    report(complaints);
}

/// Words of the engine that are also a command's name, and what they are there. The commands that
/// it runs or journals itself stand in journal.rs alone.
const NAMES: &[(&str, &[&str], &str)] = &[
    (
        "engine/keyspace/snapshot.rs",
        &["flushall", "restore"],
        "the journal's words for data that comes back",
    ),
    ("engine/journal.rs", &["del", "hdel", "multi", "exec", "select"], "what it writes"),
    ("engine/replication.rs", &["replconf", "ping"], "what it writes"),
    ("engine/row.rs", &["readonly", "pubsub", "asking", "set", "cluster"], "flags and categories"),
    ("engine/table.rs", &["pubsub"], "a category"),
    ("engine/keys.rs", &["get"], "an option of SET and BITFIELD"),
    ("engine/client_line.rs", &["multi", "watch"], "fields"),
    ("engine/acl", &["reset", "multi", "command", "auth"], "rules, and words of its log"),
    ("engine/dispatch.rs", &["auth"], "an option of HELLO"),
    ("engine/keyspace", &["del"], "an event"),
    ("engine/latency.rs", &["command"], "an event of LATENCY"),
    (
        "engine/pubsub.rs",
        &["subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe"],
        "replies",
    ),
];

/// The texts between quotes that a line of code holds.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

#[test]
fn the_engine_compares_no_commands_name() {
    let table = toril::command::table::table();
    let mut complaints = Vec::new();
    for source in sources("src/engine") {
        let known = NAMES.iter().find(|(path, ..)| source.path.starts_with(path));
        let allowed = known.map_or(&[][..], |(_, words, _)| words);
        let tests = source.code().find(|(_, line)| line.contains("#[cfg(test)]"));
        let end = tests.map_or(usize::MAX, |(number, _)| number);
        for (number, line) in source.code().take_while(|(number, _)| *number < end) {
            let names = literals(line).filter(|text| table.find(text.as_bytes()).is_some());
            for name in names.filter(|name| !allowed.contains(&&*name.to_lowercase())) {
                complaints
                    .push(format!("{}:{number}: a row's flags say what {name} does", source.path));
            }
        }
    }
    report(complaints);
}

#[test]
fn util_knows_nothing_of_redis() {
    let mut complaints = Vec::new();
    for source in sources("src/util") {
        for (number, line) in (1..).zip(source.text.lines()) {
            let lower = line.to_lowercase();
            for word in REDIS_WORDS.iter().filter(|word| find_word(&lower, word).is_some()) {
                complaints.push(format!("{}:{number}: util says {word}: {line}", source.path));
            }
        }
    }
    report(complaints);
}

/// Whether the statement that line `index` belongs to is told safe by the comment above it.
fn says_why_safe(lines: &[&str], index: usize) -> bool {
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let ends_statement = |line: &&str| line.is_empty() || line.ends_with([';', '{', '}', ',']);
    let above = lines[..index].iter().rev().skip_while(|line| {
        let line = line.trim_end();
        !is_comment(&line) && !ends_statement(&line)
    });
    lines[index].contains("// SAFETY:")
        || above.take_while(|line| is_comment(line)).any(|line| line.contains("SAFETY:"))
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    let mut complaints = Vec::new();
    for source in sources("src") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let is_claim = ["unsafe {", "unsafe impl"].iter().any(|claim| line.contains(claim));
            if is_claim && !says_why_safe(&lines, number - 1) {
                let line = line.trim();
                complaints.push(format!("{}:{number}: no SAFETY comment: {line}", source.path));
            }
        }
    }
    report(complaints);
}

/// Lines of a table may be long: a command's row says everything about it, and an error's text
/// stands in one piece, so that it can be searched for.
fn is_row(line: &str) -> bool {
    let unquoted: usize = line.split('"').step_by(2).map(str::len).sum();
    line.trim_start().starts_with("row(") || unquoted < COLUMNS_MAX / 2
}

#[test]
fn lines_and_files_stay_small() {
    let mut complaints = Vec::new();
    let mut unused: Vec<&str> = LARGE.iter().map(|(path, _)| *path).collect();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX && !is_row(line) {
                complaints.push(format!("{}:{number}: {columns} columns", source.path));
            }
        }
        let size = source.text.len();
        if size > FILE_BYTES_MAX {
            match unused.iter().position(|path| *path == source.path) {
                Some(index) => drop(unused.remove(index)),
                None => complaints.push(format!("{}: {size} bytes", source.path)),
            }
        }
    }
    complaints.extend(unused.iter().map(|path| format!("{path} is small, but listed as large")));
    report(complaints);
}

#[test]
fn the_eyes_of_these_tests_are_open() {
    assert_eq!(crate_modules("use crate::{data::{List, Set}, proto::Args};\n"), ["data", "proto"]);
    assert_eq!(crate_modules("crate::lua::call(crate::engine::X)"), ["lua", "engine"]);
    assert_eq!(literals(r#"is(name, "exec", b"GET")"#).collect::<Vec<_>>(), ["exec", "GET"]);
    assert_eq!(find_word("brand rand_core", "rand"), None);
    assert_eq!(find_word("use rand::Rng", "rand"), Some(4));
    let good = ["// SAFETY: because.", "let x =", "    unsafe { y };"];
    assert!(says_why_safe(&good, 2));
    assert!(!says_why_safe(&["// SAFETY: because.", "let z = 1;", "unsafe { y };"], 2));
}
