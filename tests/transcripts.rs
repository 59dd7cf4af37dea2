//! Every transcript against toril: over TCP and in process, in RESP2 and RESP3, and as JSON over
//! HTTP; those of the data types also with every command called from a script.
//!
//! `TORIL_TRANSCRIPTS=lists cargo test --test transcripts` runs those with `lists` in their name.

mod common;

use common::compare::Dialect;
use common::inside::InsideServer;
use common::rest::RestServer;
use common::run::{self, Server};
use common::scripted::{Caller, Scripted};
use common::tcp::TcpServer;
use common::transcript::{self, Action, Target, Transcript, Word};
use std::path::Path;
use toril::command::table::table;
use toril::engine::table::Found;

/// The part of a name by which the transcripts to run are chosen, if they are.
fn chosen() -> Option<String> {
    std::env::var("TORIL_TRANSCRIPTS").ok()
}

/// Runs the transcripts whose names contain one of `filters`, if there are any.
fn check(server: &mut dyn Server, filters: &[&str]) {
    let filters: Vec<String> = filters.iter().map(|filter| filter.to_string()).collect();
    let mut transcripts = transcript::load(&filters);
    if let Some(chosen) = chosen() {
        transcripts.retain(|it| it.name.contains(&chosen));
    }
    let report = run::run(server, &transcripts);
    println!("{}", report.summary());
    assert!(report.failures.is_empty(), "\n{}\n", report.failures.join("\n\n"));
    assert!(report.passed > 0 || chosen().is_some(), "no transcript has run");
}

fn check_over_tcp(dialect: Dialect) {
    let program = Path::new(env!("CARGO_BIN_EXE_toril"));
    check(&mut TcpServer::start(program, Target::Toril, dialect), &[]);
}

#[test]
fn over_tcp_in_resp2() {
    check_over_tcp(Dialect::Resp2);
}

#[test]
fn over_tcp_in_resp3() {
    check_over_tcp(Dialect::Resp3);
}

#[test]
fn in_process_in_resp2() {
    check(&mut InsideServer::new(Dialect::Resp2), &[]);
}

#[test]
fn in_process_in_resp3() {
    check(&mut InsideServer::new(Dialect::Resp3), &[]);
}

#[test]
fn from_scripts() {
    check_called_by(Caller::Script);
}

#[test]
fn from_functions() {
    check_called_by(Caller::Function);
}

fn check_called_by(caller: Caller) {
    let mut server = Scripted::new(InsideServer::new(Dialect::Resp2), caller);
    let families = [
        "strings",
        "keys",
        "expire",
        "hashes",
        "lists",
        "sets",
        "zsets",
        "streams",
        "groups",
        "bitmaps",
        "geo",
        "hyperloglogs",
        "dump",
        "redis-8",
    ];
    check(&mut server, &families);
}

fn check_over_http(dialect: Dialect) {
    let program = Path::new(env!("CARGO_BIN_EXE_toril"));
    let mut server = RestServer::start(program, dialect);
    check(&mut server, &[]);
    let RestServer { answered, refused, unknown, kept_away, .. } = server;
    println!(
        "{dialect:?}: {answered} requests answered over HTTP; refused there: {refused} that need a \
         connection, {unknown} of which there is no command; {kept_away} cases over TCP alone"
    );
    let is_wide = answered > refused && refused > 0 && unknown > 0;
    assert!(is_wide || chosen().is_some());
}

#[test]
fn over_http_in_json() {
    check_over_http(Dialect::Json);
}

#[test]
fn over_http_in_base64() {
    check_over_http(Dialect::Base64);
}

/// The requests that the transcripts send.
fn requests(transcripts: &[Transcript]) -> Vec<&[Word]> {
    let steps = transcripts.iter().flat_map(|it| &it.cases).flat_map(|case| &case.steps);
    let sent = steps.filter_map(|step| match &step.action {
        Action::Send { words, .. } => Some(&**words),
        Action::Advance(_) => None,
    });
    sent.collect()
}

/// What stands behind the command's name, where a request asks for this command.
fn arguments<'a>(words: &'a [Word], found: &Found) -> Option<&'a [Word]> {
    let container = found.container.map(|row| row.name);
    let mut words = words;
    for name in container.iter().chain([&found.row.name]) {
        let (first, rest) = words.split_first()?;
        words = rest;
        first.is(name).then_some(())?;
    }
    Some(words)
}

#[test]
fn every_row_is_in_a_transcript() {
    let transcripts = transcript::load(&[]);
    let requests = requests(&transcripts);
    let is_sent = |found: &Found| requests.iter().any(|words| arguments(words, found).is_some());
    let table = table();
    let unsent = table.all().filter(|found| !found.row.is_container() && !is_sent(found));
    let unsent: Vec<String> = unsent.map(|found| found.full_name()).collect();
    let unsent: Vec<&String> = unsent.iter().filter(|name| !name.ends_with("|help")).collect();
    assert!(unsent.is_empty(), "no transcript sends {unsent:?}");
}

/// The words in capitals of a command's syntax, which stand for themselves.
fn options(found: &Found) -> impl Iterator<Item = &'static str> {
    let words = found.row.syntax.split([' ', '|', '[', ']', '<', '>']);
    words.filter(|word| word.starts_with(|it: char| it.is_ascii_uppercase()))
}

#[test]
fn every_option_is_in_a_transcript() {
    let transcripts = transcript::load(&[]);
    let requests = requests(&transcripts);
    let table = table();
    let mut unsent = Vec::new();
    for found in table.all() {
        let arguments: Vec<&[Word]> =
            requests.iter().filter_map(|words| arguments(words, &found)).collect();
        let is_sent =
            |option: &str| arguments.iter().any(|words| words.iter().any(|word| word.is(option)));
        let missing = options(&found).filter(|option| !is_sent(option));
        unsent.extend(missing.map(|option| format!("{} {option}", found.full_name())));
    }
    assert!(unsent.is_empty(), "no transcript sends {unsent:?}");
}
