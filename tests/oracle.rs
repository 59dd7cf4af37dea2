//! Every transcript against every server that tests/oracles.sh has installed, in RESP2 and RESP3.
//!
//! `cargo test --test oracle -- lists` runs those with `lists` in their name; with `record` in
//! front it writes the servers' answers into them instead.

mod common;

use common::compare::Dialect;
use common::record::Recorder;
use common::run::{self, Report};
use common::tcp::{self, TcpServer};
use common::transcript::{self, Target};
use std::path::PathBuf;
use std::process::ExitCode;

/// The launchers' names; the judges come first.
const ORACLES: [(Target, &str); 4] = [
    (Target::Redis74, "redis-7.4"),
    (Target::Redis82, "redis-8.2"),
    (Target::Valkey, "valkey"),
    (Target::Redis70, "redis-7.0"),
];

fn main() -> ExitCode {
    // What starts with a dash is for cargo's own test harness, which this program does without.
    let mut filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut programs = Vec::new();
    for (target, name) in ORACLES {
        match tcp::oracle(name) {
            Some(program) => programs.push((target, program)),
            None => println!("{name} is missing: tests/oracles.sh installs it"),
        }
    }
    if filters.first().is_some_and(|filter| filter == "record") {
        filters.remove(0);
        return record(&programs, &filters);
    }
    let mut total = Report::default();
    for (target, program) in &programs {
        for dialect in [Dialect::Resp2, Dialect::Resp3] {
            let mut server = TcpServer::start(program, *target, dialect);
            let mut transcripts = transcript::load(&filters);
            transcripts.retain(|transcript| transcript.is_for(*target));
            let report = run::run(&mut server, &transcripts);
            println!("{} in {dialect:?}: {}", target.tag(), report.summary());
            total.add(report);
        }
    }
    for failure in &total.failures {
        println!("\n{failure}");
    }
    println!("\n{}", total.summary());
    if total.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn record(programs: &[(Target, PathBuf)], filters: &[String]) -> ExitCode {
    let transcripts = transcript::load(filters);
    for judge in [Target::Redis74, Target::Redis82] {
        let judged: Vec<_> = transcripts.iter().filter(|it| it.judge() == judge).collect();
        let Some(first) = judged.first() else { continue };
        let mut asked = programs.to_vec();
        asked.retain(|(target, _)| first.is_for(*target));
        if asked.first().is_none_or(|(target, _)| *target != judge) {
            println!("nothing is recorded without the judge, Redis {}", judge.tag());
            return ExitCode::FAILURE;
        }
        let mut recorder = Recorder::start(&asked);
        for transcript in judged {
            let path = transcript::folder().join(&transcript.name).with_extension("txt");
            std::fs::write(&path, recorder.record(transcript))
                .expect("the transcript can be written");
            println!("{} is recorded", transcript.name);
        }
    }
    ExitCode::SUCCESS
}
