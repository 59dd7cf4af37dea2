//! The table of commands beside Redis 7.4's: name, arity, flags, ACL categories, tips and keys of
//! every command and subcommand.
//!
//! commands-7.4.txt keeps what Redis 7.4.1 says, so that the comparison needs no Redis; with
//! TORIL_RECORD set it is written anew. commands-absent.txt lists, each with its reason, what toril
//! leaves out (`name: why`, `name*` with all that start so) or tells otherwise (`differs name:
//! why`).
//!
//! docs/commands.md is made of the same table and list; with TORIL_RECORD set it is written anew.

mod common;

use common::compare::Dialect;
use common::reply::Reply;
use common::tcp::{self, TcpServer};
use common::transcript::Target;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use toril::command::table::table;
use toril::config::Provider;
use toril::engine::row::Flag;
use toril::engine::table::Found;

/// By name, the rest of the command's line.
type Commands = BTreeMap<String, String>;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("the file can be read")
}

fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        other => panic!("an array is wanted, not {other:?}"),
    }
}

/// A word or number as text; a list of them sorted and joined.
fn text(reply: &Reply) -> String {
    if let Reply::Array(items) = reply {
        let mut words: Vec<String> = items.iter().map(text).collect();
        words.sort();
        return words.join(",");
    }
    String::from_utf8(reply.text().expect("a scalar")).expect("it is ASCII")
}

/// The value of a key in a map that travelled as an array.
fn field<'a>(map: &'a Reply, key: &str) -> &'a Reply {
    let pair = items(map).chunks(2).find(|pair| text(&pair[0]) == key);
    &pair.unwrap_or_else(|| panic!("{key} is missing in {map:?}"))[1]
}

/// `index(1)`, `range(0,1,0)`, `keyword(STREAMS,1)`.
fn search(spec: &Reply) -> String {
    let values: Vec<String> =
        items(field(spec, "spec")).chunks(2).map(|pair| text(&pair[1])).collect();
    format!("{}({})", text(field(spec, "type")), values.join(","))
}

fn key_spec(spec: &Reply) -> String {
    let [begin, find] = ["begin_search", "find_keys"].map(|part| search(field(spec, part)));
    format!("{}:{begin}:{find}", text(field(spec, "flags")))
}

/// Adds the commands of a COMMAND reply, and those inside of them.
fn add_commands(reply: &Reply, commands: &mut Commands) {
    for command in items(reply) {
        let [name, arity, flags, first, last, step, categories, tips, specs, inner] =
            items(command)
        else {
            panic!("a command has ten fields: {command:?}");
        };
        let specs: Vec<String> = items(specs).iter().map(key_spec).collect();
        let line = format!(
            "{} [{}] {} {} {} [{}] [{}] {}",
            text(arity),
            text(flags),
            text(first),
            text(last),
            text(step),
            text(categories),
            text(tips),
            specs.join(" ")
        );
        commands.insert(text(name), line.trim_end().to_owned());
        add_commands(inner, commands);
    }
}

fn commands_of(program: &Path, target: Target) -> Commands {
    let mut server = TcpServer::start(program, target, Dialect::Resp2);
    let mut commands = Commands::new();
    add_commands(&server.ask(&["COMMAND"]), &mut commands);
    commands
}

fn kept_commands() -> Commands {
    let kept = read("commands-7.4.txt");
    let lines = kept.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

#[test]
fn the_kept_commands_are_those_of_redis() {
    let Some(program) = tcp::oracle("redis-7.4") else {
        println!("redis-7.4 is missing: tests/oracles.sh installs it");
        return;
    };
    let commands = commands_of(&program, Target::Redis74);
    if std::env::var_os("TORIL_RECORD").is_some() {
        let lines: String =
            commands.iter().map(|(name, rest)| format!("{name} {rest}\n")).collect();
        std::fs::write(file("commands-7.4.txt"), lines).expect("the file can be written");
    }
    assert_eq!(kept_commands(), commands);
}

/// Commands that are younger than Redis 7.4, or have options that are: COMMAND DOCS of 8.2 tells of
/// them.
/// Commands that no Redis has.
fn is_own(name: &str) -> bool {
    name == "acl|resttoken" || name.starts_with("toril")
}
const NEWER: &[&str] = &["xackdel", "xadd", "xdelex", "xtrim"];

/// Adds the complexity of each command of a COMMAND DOCS reply, and of those inside of them.
fn add_complexities(reply: &Reply, complexities: &mut Commands) {
    for command in items(reply).chunks(2) {
        let fields = items(&command[1]).chunks(2).map(|pair| (text(&pair[0]), &pair[1]));
        for (name, value) in fields {
            match &*name {
                "complexity" => {
                    complexities.insert(text(&command[0]), text(value).replace(' ', ""));
                }
                "subcommands" => add_complexities(value, complexities),
                _ => {}
            }
        }
    }
}

/// Redis explains its letters; toril tells the figure alone.
#[test]
fn complexities_are_those_of_redis() {
    let Some(program) = tcp::oracle("redis-7.4") else {
        println!("redis-7.4 is missing: tests/oracles.sh installs it");
        return;
    };
    let complexities_of = |program: &Path, target| {
        let mut server = TcpServer::start(program, target, Dialect::Resp2);
        let mut complexities = Commands::new();
        add_complexities(&server.ask(&["COMMAND", "DOCS"]), &mut complexities);
        complexities
    };
    let redis = complexities_of(&program, Target::Redis74);
    let newer = tcp::oracle("redis-8.2").map(|it| complexities_of(&it, Target::Redis82));
    let toril = complexities_of(Path::new(env!("CARGO_BIN_EXE_toril")), Target::Toril);
    for (name, got) in &toril {
        if newer.is_none() && NEWER.contains(&&**name) || is_own(name) {
            continue;
        }
        let wanted = redis.get(name).or_else(|| newer.as_ref()?.get(name));
        let is_right = wanted.is_some_and(|it| !it.starts_with("O(") || it.starts_with(&**got));
        assert!(is_right, "{name}: redis {wanted:?}, toril {got}");
    }
}

/// Adds the fields of each command of a COMMAND DOCS reply, and of those inside of them.
fn add_docs(reply: &Reply, docs: &mut BTreeMap<String, BTreeMap<String, Reply>>) {
    for command in items(reply).chunks(2) {
        let fields = items(&command[1]).chunks(2);
        let fields: BTreeMap<String, Reply> =
            fields.map(|pair| (text(&pair[0]), pair[1].clone())).collect();
        if let Some(inner) = fields.get("subcommands") {
            add_docs(inner, docs);
        }
        docs.insert(text(&command[0]), fields);
    }
}

/// A reply in one line, by which two can be compared.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(" "))
        }
        Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Reply::Simple(bytes) => format!("+{}", String::from_utf8_lossy(bytes)),
        Reply::Integer(number) => format!(":{number}"),
        other => panic!("nothing that COMMAND DOCS tells: {other:?}"),
    }
}

/// The versions of a history: toril tells what came with them in words of its own.
fn versions(history: &Reply) -> Vec<String> {
    items(history).iter().map(|change| text(&items(change)[0])).collect()
}

/// The command that a text names; what it quotes behind that are options.
fn first_quoted(reply: &Reply) -> Option<String> {
    text(reply).split('`').nth(1).map(str::to_owned)
}

/// Commands that take more since a version after 7.4.
const EXTENDED: &[&str] = &["bitop"];

#[test]
fn arguments_and_history_are_those_of_redis() {
    let Some(program) = tcp::oracle("redis-7.4") else {
        println!("redis-7.4 is missing: tests/oracles.sh installs it");
        return;
    };
    let docs_of = |program: &Path, target| {
        let mut server = TcpServer::start(program, target, Dialect::Resp2);
        let mut docs = BTreeMap::new();
        add_docs(&server.ask(&["COMMAND", "DOCS"]), &mut docs);
        docs
    };
    let redis = docs_of(&program, Target::Redis74);
    let newer = tcp::oracle("redis-8.2").map(|it| docs_of(&it, Target::Redis82));
    let toril = docs_of(Path::new(env!("CARGO_BIN_EXE_toril")), Target::Toril);
    let mut complaints = Vec::new();
    for (command, got) in &toril {
        let judge = if NEWER.contains(&&**command) { newer.as_ref() } else { Some(&redis) };
        let Some(wanted) = judge.and_then(|docs| docs.get(command)) else { continue };
        let mut compare = |field: &str, told: &dyn Fn(&Reply) -> String| {
            let [wanted, got] = [wanted, got].map(|fields| fields.get(field).map(told));
            if wanted != got {
                complaints.push(format!("{command} {field}\n  redis {wanted:?}\n  toril {got:?}"));
            }
        };
        if !EXTENDED.contains(&command.as_str()) {
            compare("arguments", &shown);
        }
        compare("deprecated_since", &text);
        compare("doc_flags", &text);
        compare("group", &text);
        compare("history", &|reply| versions(reply).join(" "));
        compare("replaced_by", &|reply| format!("{:?}", first_quoted(reply)));
        compare("since", &text);
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// What may be absent, or differ: a name, whether it differs, and whether the entry is of any use.
struct Exception {
    name: String,
    differs: bool,
    why: String,
    is_used: bool,
}

impl Exception {
    fn all() -> Vec<Exception> {
        let listed = read("commands-absent.txt");
        let lines = listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let exception = |line: &str| {
            let (name, why) = line.split_once(": ").expect("a line is `name: why`");
            assert!(!why.trim().is_empty(), "{name} has no reason");
            let rest = name.strip_prefix("differs ");
            let name = rest.unwrap_or(name).to_owned();
            Exception { name, differs: rest.is_some(), why: why.trim().to_owned(), is_used: false }
        };
        lines.map(exception).collect()
    }

    fn covers(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => self.name == name,
        }
    }
}

#[test]
fn flags_say_where_a_command_that_waits_is_told_for_how_long() {
    let table = table();
    let mut count = 0;
    for Found { row, .. } in table.all().filter(|found| found.row.flags.has(Flag::Blocking)) {
        let is_of_keys = ["key", "source"].iter().any(|word| row.syntax.contains(word));
        let is_told = match () {
            () if row.flags.has(Flag::BlocksByOption) => {
                row.syntax.contains("[BLOCK milliseconds]")
            }
            () if row.flags.has(Flag::BlocksForFirst) => row.syntax.starts_with("timeout "),
            () => row.syntax.ends_with(" timeout"),
        };
        assert!(is_told || !is_of_keys, "{}: {}", row.name, row.syntax);
        count += usize::from(is_of_keys);
    }
    assert!(count >= 10, "{count} commands wait for keys");
}

#[test]
fn torils_commands_are_those_of_redis() {
    let (redis, toril) =
        (kept_commands(), commands_of(Path::new(env!("CARGO_BIN_EXE_toril")), Target::Toril));
    let mut exceptions = Exception::all();
    let mut complaints = Vec::new();
    let mut is_allowed = |name: &str, differs: bool| {
        let found = exceptions.iter_mut().find(|it| it.differs == differs && it.covers(name));
        found.map(|exception| exception.is_used = true).is_some()
    };
    for (name, wanted) in &redis {
        match toril.get(name) {
            None if is_allowed(name, false) => {}
            None => complaints.push(format!("{name} is absent")),
            Some(got) if got == wanted || is_allowed(name, true) => {}
            Some(got) => complaints.push(format!("{name}\n  redis {wanted}\n  toril {got}")),
        }
    }
    for name in toril.keys().filter(|name| !redis.contains_key(*name)) {
        if !is_allowed(name, true) {
            complaints.push(format!("{name} is unknown to Redis"));
        }
    }
    let unused = exceptions.iter().filter(|exception| !exception.is_used);
    complaints.extend(unused.map(|exception| format!("{} is listed for nothing", exception.name)));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The groups of COMMAND DOCS in the order of docs/commands.md, with their titles.
const GROUPS: &[(&str, &str)] = &[
    ("string", "Strings"),
    ("list", "Lists"),
    ("hash", "Hashes"),
    ("set", "Sets"),
    ("sorted-set", "Sorted sets"),
    ("stream", "Streams"),
    ("bitmap", "Bitmaps"),
    ("hyperloglog", "HyperLogLog"),
    ("geo", "Geo indexes"),
    ("generic", "Keys"),
    ("pubsub", "Publish and subscribe"),
    ("transactions", "Transactions"),
    ("scripting", "Scripts"),
    ("connection", "Connections"),
    ("server", "Server"),
    ("cluster", "Cluster"),
];

/// `client|list` as it is typed.
fn typed(name: &str) -> String {
    name.replace('|', " ").to_uppercase()
}

/// A line of a table for each command of a group. HELP says what every container's HELP says.
fn served(group: &str, commands: &[Found]) -> String {
    let mut lines = String::new();
    let is_shown = |found: &&Found| !found.row.is_container() && found.row.name != "help";
    for found in commands.iter().filter(|it| it.category.group() == group).filter(is_shown) {
        let usage = format!("{} {}", typed(&found.full_name()), found.row.syntax);
        let usage = usage.trim_end().replace('|', "\\|");
        let (since, summary) = (found.row.since, found.row.summary);
        writeln!(lines, "| `{usage}` | {since} | {summary} |").expect("a String takes all");
    }
    lines
}

/// A line of a table for each reason, with the commands of Redis 7.4 that are absent for it.
fn absent(served: &[Found]) -> String {
    let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let exceptions = Exception::all();
    let absent: Vec<&Exception> = exceptions.iter().filter(|it| !it.differs).collect();
    let is_served = |name: &str| served.iter().any(|found| found.full_name() == name);
    for name in kept_commands().into_keys().filter(|name| !is_served(name)) {
        let Some(exception) = absent.iter().find(|it| it.covers(&name)) else { continue };
        let names = by_reason.entry(exception.why.clone()).or_default();
        names.push(format!("`{}`", typed(&name)));
    }
    let line =
        |(why, names): (&String, &Vec<String>)| format!("| {why} | {} |\n", names.join(", "));
    by_reason.iter().map(line).collect()
}

fn commands_page() -> String {
    let table = table();
    let mut commands: Vec<Found> = table.all().collect();
    commands.sort_by_key(Found::full_name);
    let mut page = String::from(
        "# Commands\n\nThe commands that toril serves, by family: their syntax, the version of Redis that \
         introduced them, and what they do. The commands of Redis 7.4 that toril does not serve \
         stand [at the end](#absent), with the reason. Replies and errors are those of Redis 7.4. \
         Each command with subcommands also has `HELP`. Some commands are refused over HTTP: see \
         [http.md](http.md).\n\n\
         This page is generated from the table of commands. `TORIL_RECORD=1 cargo test --test \
         commands` writes it anew.\n",
    );
    for (group, title) in GROUPS {
        let lines = served(group, &commands);
        write!(
            page,
            "\n## {title}\n\n| command | since | what it does |\n| --- | --- | --- |\n{lines}"
        )
        .expect("a String takes all");
    }
    let absent = absent(&commands);
    write!(page, "\n## Absent\n\n| why | commands |\n| --- | --- |\n{absent}")
        .expect("a String takes all");
    page
}

#[test]
fn the_page_of_commands_is_fresh() {
    let path = file("../docs/commands.md");
    let page = commands_page();
    if std::env::var_os("TORIL_RECORD").is_some() {
        std::fs::write(&path, &page).expect("the file can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = kept.lines().zip(page.lines()).find(|(kept, made)| kept != made);
    assert!(
        kept == page,
        "docs/commands.md is old: TORIL_RECORD=1 cargo test --test commands writes it anew. \
         The first line that differs: {differing:?}"
    );
    let (served, absent) = page.split_once("\n## Absent\n").expect("the page has both");
    for name in absent.split('`').skip(1).step_by(2) {
        let is_served = [" ", "`"].iter().any(|end| served.contains(&format!("| `{name}{end}")));
        assert!(!is_served, "{name} is served and absent");
    }
    let groups = table().all().map(|found| found.category.group()).collect::<Vec<_>>();
    assert!(groups.iter().all(|group| GROUPS.iter().any(|(name, _)| name == group)));
}

/// What COMMAND DOCS of Redis 7.0.15 calls new in 7.0, of that which toril serves.
const NEW_IN_7_0: &str = "acl|dryrun blmpop bzmpop client|no-evict cluster|addslotsrange \
    cluster|delslotsrange cluster|links cluster|shards command|docs command|getkeysandflags \
    command|list eval_ro evalsha_ro expiretime fcall fcall_ro function latency|histogram lcs lmpop \
    pexpiretime pubsub|shardchannels pubsub|shardnumsub sintercard sort_ro spublish ssubscribe \
    sunsubscribe zintercard zmpop";

#[test]
fn redis_6_2_lacks_what_came_later() {
    let profile = Provider::Redis62.profile();
    let lacks = |found: &Found| profile.lacks(&found.full_name(), found.row.since);
    let table = table();
    let is_whole = |found: &Found| {
        let container = found.container.and_then(|row| table.find(row.name.as_bytes()));
        !container.is_some_and(|found| lacks(&found))
    };
    let new: Vec<Found> = table.all().filter(|found| lacks(found) && is_whole(found)).collect();
    assert!(new.iter().all(|found| found.row.since >= "7.0.0"));
    let mut names: Vec<String> = new
        .iter()
        .filter(|found| found.row.since.starts_with("7.0."))
        .map(Found::full_name)
        .collect();
    names.sort();
    assert_eq!(names.join(" "), NEW_IN_7_0);
}
