//! What tests ask of a server beyond what Redis does: behind `engine::fixture`, one file for each
//! subcommand of TORIL. Without a test none of this is made.

mod clock;
mod course;
mod expect;
mod fault;
mod findings;
mod history;
mod holders;
mod idle;
mod lacking;
mod laggards;
mod lookout;
mod next_wake;
mod report;
mod snapshots;
mod strict;
mod waits;

use crate::config::Config;
use crate::engine::Ctx;
use crate::engine::Engine;
use crate::engine::client::{Client, ClientId};
use crate::engine::effect::Reading;
use crate::engine::fixture::{Failure, Fixture, Heard, Heeds, Ruling, Stage};
use crate::engine::row::Flag;
use crate::engine::table::Found;
use crate::lua::Callable;
use crate::proto::{Args, Error, Reply, Result};
use crate::util::span;
use clock::TestClock;
use expect::Expecting;
use fault::Faults;
pub use findings::LOG_MARK;
use history::History;
use idle::Idleness;
use snapshots::Snapshots;
use strict::StrictMode;
use waits::Waits;

/// How long is waited, in real time, where nothing else is said.
const TIMEOUT_MS: u64 = 5_000;

/// All that a test has asked for.
struct Testing {
    clock: TestClock,
    faults: Faults,
    history: History,
    idle: Waits<Idleness>,
    expectations: Waits<Expecting>,
    snapshots: Snapshots,
    strict: StrictMode,
}

/// Does what a subcommand of TORIL asks for; `args` begins behind its name.
type Tool = fn(&mut Testing, &mut Ctx, Args, &mut Reply) -> Result;

/// The subcommands, in alphabetical order.
const TOOLS: &[(&str, Tool)] = &[
    ("clock", clock::call),
    ("expect", expect::call),
    ("fault", fault::call),
    ("restore", snapshots::restore),
    ("snapshot", snapshots::snapshot),
    ("strict", strict::call),
    ("wait", idle::call),
];

/// Makes the fixture of a server, for `Engine::offer_fixture`.
pub fn make(engine: &Engine) -> Box<dyn Fixture> {
    Box::new(Testing {
        clock: TestClock::default(),
        faults: Faults::default(),
        history: History::new(engine),
        idle: Waits::default(),
        expectations: Waits::default(),
        snapshots: Snapshots::default(),
        strict: StrictMode::default(),
    })
}

impl Fixture for Testing {
    fn heeds(&self, config: &Config) -> Heeds {
        // Whoever may move the clock wants to know who holds the locks.
        let has_clock = config.clock || self.clock.is_moved();
        let requests = has_clock || !self.faults.is_empty() || config.is_strict();
        Heeds { requests, changes: true, replies: self.faults.heeds_replies() }
    }

    fn before(
        &mut self,
        engine: &mut Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result<Ruling> {
        self.clock.holders.note_asker(id);
        if stage == Stage::Admitted && self.clock.is_moved() {
            let ahead_ms = self.clock.ahead_ms(engine);
            self.clock.laggards.note(engine, id, found.row.name, args.all(), ahead_ms);
        }
        if engine.config.is_strict() {
            self.strict.before(engine, id, found, args, stage)?;
        }
        self.faults.before(engine, id, found, args, stage)
    }

    fn answered(&mut self, engine: &mut Engine, id: ClientId) {
        self.faults.answered(engine, id);
    }

    fn script_begins(&mut self, engine: &mut Engine, callable: &Callable, keys: &[&[u8]]) {
        if engine.config.is_strict() {
            self.strict.script_begins(callable, keys);
        }
    }

    fn failed(&mut self, engine: &mut Engine, id: ClientId, failure: &Failure) {
        self.strict.failed(engine, id, failure);
    }

    fn settled(&mut self, engine: &mut Engine, heard: Vec<Heard>) {
        self.faults.look(engine);
        self.history.hear(engine, &heard);
        self.clock.holders.hear(engine, &heard);
        self.strict.look(engine, &self.history);
        self.expectations.look(&mut self.history, engine);
        self.idle.look(&mut self.history, engine);
        self.clock.look(&self.history, engine, !heard.is_empty());
    }

    fn clock_moved(&mut self, engine: &mut Engine, moved: std::result::Result<Reading, String>) {
        self.clock.moved(&self.history, engine, moved);
        self.expectations.look(&mut self.history, engine);
        self.idle.look(&mut self.history, engine);
        self.clock.look(&self.history, engine, false);
    }

    fn call(&mut self, cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
        let name = args.all()[1].to_ascii_lowercase();
        let tool = TOOLS.iter().find(|(tool, _)| tool.as_bytes() == name);
        let (_, tool) = tool.ok_or(Error::Syntax)?;
        tool(self, cx, args, reply)
    }
}

/// Whether a request is a test's own, which neither faults nor checks touch: TORIL, and all of a
/// connection that has the name `toril`.
fn is_of_test(client: &Client, found: Found) -> bool {
    found.row.flags.has(Flag::ForTests) || *client.name == *b"toril"
}

/// The span of time behind an option.
fn span_of(args: &mut Args, option: &str) -> Result<u64> {
    let word = args.next().unwrap_or_default();
    let span = std::str::from_utf8(word).ok().and_then(span::parse_ms);
    span.ok_or_else(|| {
        let word = String::from_utf8_lossy(word);
        Error::new(format!(
            "ERR {option} wants a duration, not '{word}': 250ms, 90s, 15m, 2h, 7d, 1h30m, or \
             milliseconds without a unit"
        ))
    })
}
