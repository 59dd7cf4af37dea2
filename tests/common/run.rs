//! Runs transcripts against one server and reports what came out.

use super::compare::{Dialect, Names, matches};
use super::notation;
use super::reply::Reply;
use super::transcript::{Action, Case, Expected, Line, Step, Target, Transcript};
use std::time::Duration;

/// A server under test, with as many clients as a case asks for.
pub trait Server {
    fn target(&self) -> Target;
    fn dialect(&self) -> Dialect;
    /// A new case begins: no client, no key, no setting is left of the one before.
    fn begin(&mut self, case: &Case);
    /// Sends requests in one write.
    fn send(&mut self, client: usize, requests: &[Vec<Vec<u8>>]);
    /// Returns once a client's request is either answered or parked, so that what another client
    /// sends next comes after it.
    fn settle(&mut self, client: usize);
    /// The next reply, or `Nothing`, or `Closed`. Waits longer for a reply that is wanted.
    fn receive(&mut self, client: usize, is_wanted: bool) -> Reply;
    /// A reply that has come and that nobody has received, and its client.
    fn leftover(&mut self) -> Option<(usize, Reply)>;
    /// Moves time on; false if this server would have to wait too long for it.
    fn advance(&mut self, span: Duration) -> bool;
}

#[derive(Default)]
pub struct Report {
    pub passed: usize,
    pub skipped: usize,
    pub failures: Vec<String>,
}

impl Report {
    pub fn add(&mut self, other: Report) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    /// The line that closes a run.
    pub fn summary(&self) -> String {
        let failed = self.failures.len();
        format!("{} passed, {failed} failed, {} skipped", self.passed, self.skipped)
    }
}

enum Outcome {
    Passed,
    Skipped,
    Failed(String),
}

pub fn run(server: &mut dyn Server, transcripts: &[Transcript]) -> Report {
    let mut report = Report::default();
    for transcript in transcripts {
        for case in &transcript.cases {
            match run_case(server, transcript, case) {
                Outcome::Passed => report.passed += 1,
                Outcome::Skipped => report.skipped += 1,
                Outcome::Failed(why) => report.failures.push(why),
            }
        }
    }
    report
}

fn run_case(server: &mut dyn Server, transcript: &Transcript, case: &Case) -> Outcome {
    let mut names = Names::new();
    let mut requests = Requests::default();
    server.begin(case);
    for step in &case.steps {
        let sent = requests.carry_out(server, &step.action, &names);
        match sent {
            Sent::TooFar => return Outcome::Skipped,
            Sent::To(client) if step.replies.first().is_none_or(|first| first.client != client) => {
                server.settle(client);
            }
            Sent::To(_) | Sent::Nowhere => {}
        }
        for expected in &step.replies {
            let (wanted, got) = receive(server, expected);
            let is_right = matches(wanted, &got, server.dialect(), &mut names);
            if is_right {
                continue;
            }
            if server.target() != transcript.judge() && is_unheard_of(&got) {
                return Outcome::Skipped;
            }
            let wanted = &transcript.lines[expected.lines.clone()];
            return Outcome::Failed(complaint(server, transcript, case, step, wanted, &got));
        }
        if let Some((_, got)) = server.leftover() {
            return Outcome::Failed(complaint(server, transcript, case, step, &[], &got));
        }
    }
    Outcome::Passed
}

fn receive<'a>(server: &mut dyn Server, expected: &'a Expected) -> (&'a Reply, Reply) {
    let wanted = expected.for_target(server.target(), server.dialect() == Dialect::Resp3);
    (wanted, server.receive(expected.client, *wanted != Reply::Nothing))
}

/// What an old server says to a new command.
pub fn is_unheard_of(reply: &Reply) -> bool {
    let is_told = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).to_lowercase();
        text.starts_with("err unknown command") || text.starts_with("err unknown subcommand")
    };
    matches!(reply, Reply::Error(text) if is_told(text))
}

fn complaint(
    server: &dyn Server,
    transcript: &Transcript,
    case: &Case,
    step: &Step,
    wanted: &[Line],
    got: &Reply,
) -> String {
    let request = &transcript.lines[step.line];
    let wanted: String = wanted.iter().map(|line| format!("{}\n    ", line.text)).collect();
    format!(
        "{}.txt:{} ({} in {:?}): {}\n    {}\n    {}got: {}",
        transcript.name,
        request.number,
        server.target().tag(),
        server.dialect(),
        case.name,
        request.text,
        wanted,
        notation::print(got, 100),
    )
}

/// What an action has set going.
pub enum Sent {
    To(usize),
    /// The request is held back, or it was time alone that moved.
    Nowhere,
    /// This server cannot move time so far.
    TooFar,
}

/// The requests that are held back until their client sends one that is not.
#[derive(Default)]
pub struct Requests(Vec<(usize, Vec<Vec<u8>>)>);

impl Requests {
    pub fn carry_out(&mut self, server: &mut dyn Server, action: &Action, names: &Names) -> Sent {
        match action {
            Action::Advance(span) if server.advance(*span) => Sent::Nowhere,
            Action::Advance(_) => Sent::TooFar,
            Action::Send { client, words, is_held } => {
                let request = words.iter().map(|word| word.resolve(names)).collect();
                self.0.push((*client, request));
                if *is_held {
                    return Sent::Nowhere;
                }
                let (own, others) = self.0.drain(..).partition(|(owner, _)| owner == client);
                self.0 = others;
                let own: Vec<(usize, Vec<Vec<u8>>)> = own;
                let own: Vec<_> = own.into_iter().map(|(_, request)| request).collect();
                server.send(*client, &own);
                Sent::To(*client)
            }
        }
    }
}
