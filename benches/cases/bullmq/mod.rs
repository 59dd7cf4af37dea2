//! A whole job of BullMQ: the requests that its client sends for one, and the scripts that they
//! name. The requests are a recording (`record.mjs`), so that each run of each build is asked the
//! same. The scripts are BullMQ's own and are not copied into this repository: they come out of the
//! package that tests/clients installs, in the version that its lock file names.

#[path = "../../../tests/common/npm.rs"]
mod npm;

use super::{Measure, NOW, ask, engine, feed, request};
use std::path::{Path, PathBuf};
use std::process::Command;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::util::words;

const RECORDING: &str = include_str!("job.txt");

/// The number of the job in the recording, and of the first one here.
const ID: &[u8] = b"5000002";

/// Done jobs that stay, as the recording has it.
const KEPT: u64 = 50;

/// Jobs done before any counts: by then each one that is done removes an older one, and each event
/// lets an older one go.
const JOBS_BEFORE: usize = 250;

/// Why the scripts cannot be had, if they cannot.
pub fn missing() -> Option<String> {
    npm::install(&folder("tests/clients")).err()
}

pub fn cases(measure: &mut dyn Measure) {
    let (alone, queued) = ("BullMQ job, alone", "BullMQ job, of many");
    if (measure.wants(alone) || measure.wants(queued)) && missing().is_none() {
        let scripts = scripts();
        // The worker waits; the job wakes it, and when it is done the worker waits again.
        let mut lab = Lab::new(&scripts);
        lab.send(WAIT, 0);
        (0..JOBS_BEFORE).for_each(|_| lab.run_alone());
        lab.check(0);
        measure.case(alone, &mut || lab.run_alone());

        // The worker is never idle: the end of a job brings it the next.
        let mut lab = Lab::new(&scripts);
        lab.send(ADD, 0);
        lab.send(FETCH, 0);
        lab.next_id += 1;
        (0..JOBS_BEFORE).for_each(|_| lab.run_one_of_many());
        lab.check(1);
        measure.case(queued, &mut || lab.run_one_of_many());
    }
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Names and sources, as scripts.mjs prints them.
fn scripts() -> Vec<(String, String)> {
    let program = folder("benches/cases/bullmq/scripts.mjs");
    let output = Command::new("node").arg(program).output().expect("node runs");
    let printed = String::from_utf8(output.stdout).expect("the scripts are text");
    let mut rest = printed.as_str();
    let mut scripts = Vec::new();
    while let Some((head, after)) = rest.split_once('\n') {
        let (name, len) = head.split_once(' ').expect("a name and a length");
        let (source, after) = after.split_at(len.parse().expect("a length"));
        scripts.push((name.to_owned(), source.to_owned()));
        rest = after;
    }
    assert!(!scripts.is_empty(), "no scripts: {}", String::from_utf8_lossy(&output.stderr));
    scripts
}

/// Where the recording has what a run takes from it.
const ADD: usize = 0;
const FETCH: usize = 1;
const FINISH: usize = 2;
const WAIT: usize = 3;

/// One request of the recording.
struct Recorded {
    client: ClientId,
    bytes: Vec<u8>,
    /// Where the job's number stands.
    ids: Vec<usize>,
}

/// A server with the clients of a queue and of its worker.
struct Lab {
    engine: Engine,
    requests: Vec<Recorded>,
    inspector: ClientId,
    /// The number of the job that is added next.
    next_id: u64,
}

impl Recorded {
    fn parse(line: &str, clients: &[ClientId], scripts: &[(String, String)]) -> Self {
        let (client, words) = line.split_once(' ').expect("a connection and a request");
        let client = clients[client.parse::<usize>().expect("a connection's number")];
        let (text, spans) = words::split(words.as_bytes()).expect("quotes are closed");
        let mut words: Vec<&[u8]> = spans.iter().map(|&(start, end)| &text[start..end]).collect();
        if let Some((_, sha)) = scripts.iter().find(|(name, _)| name.as_bytes() == words[1]) {
            words[1] = sha.as_bytes();
        }
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        let is_id = |&at: &usize| bytes[at..].starts_with(ID);
        let ids = (0..bytes.len()).filter(is_id).collect();
        Self { client, bytes, ids }
    }
}

impl Lab {
    fn new(scripts: &[(String, String)]) -> Self {
        let (mut engine, first) = engine();
        let others = [(); 2].map(|()| engine.connect(Peer::inside(), NOW));
        let clients = [first, others[0], others[1]];
        let load = |(name, source): &(String, String)| {
            let reply = ask(&mut engine, first, &request(&["SCRIPT", "LOAD", source]));
            let reply = String::from_utf8(reply).expect("a SHA is digits");
            let sha = reply.lines().nth(1).expect("a bulk string has two lines");
            (name.clone(), sha.to_owned())
        };
        let shas: Vec<_> = scripts.iter().map(load).collect();
        let lines = RECORDING.lines().filter(|line| !line.starts_with('#'));
        let requests = lines.map(|line| Recorded::parse(line, &clients, &shas)).collect();
        let next_id = String::from_utf8_lossy(ID).parse().expect("a number");
        let mut lab = Self { engine, requests, inspector: first, next_id };
        // BullMQ's default keeps 10,000 events, and it takes as many runs to have them.
        lab.ask(&["HSET", "bull:mail:meta", "opts.maxLenEvents", "1000"]);
        lab.ask(&["SET", "bull:mail:id", &(next_id - 1).to_string()]);
        lab
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let reply = ask(&mut self.engine, self.inspector, &request(words));
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Sends a request of the recording, with this number of a job.
    fn send(&mut self, index: usize, id: u64) {
        let Recorded { client, bytes, ids } = &mut self.requests[index];
        for &at in ids.iter() {
            let mut left = id;
            for digit in bytes[at..at + ID.len()].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
        }
        feed(&mut self.engine, *client, bytes);
    }

    fn run_alone(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        (0..self.requests.len()).for_each(|index| self.send(index, id));
    }

    fn run_one_of_many(&mut self) {
        self.send(ADD, self.next_id);
        self.send(FINISH, self.next_id - 1);
        self.next_id += 1;
    }

    /// Every job has been added and done, and none has left more than it should.
    fn check(&mut self, active: usize) {
        let is = |number: u64| format!(":{number}\r\n");
        let last = self.next_id - 1;
        assert_eq!(self.ask(&["GET", "bull:mail:id"]), format!("$7\r\n{last}\r\n"));
        assert_eq!(self.ask(&["ZCARD", "bull:mail:completed"]), is(KEPT));
        assert_eq!(self.ask(&["LLEN", "bull:mail:active"]), is(active as u64));
        assert_eq!(self.ask(&["EXISTS", "bull:mail:wait"]), is(0));
        let errors = self.ask(&["INFO", "errorstats"]);
        assert!(!errors.contains("errorstat_"), "a request failed: {errors}");
    }
}
