//! What tests ask of a server beyond what Redis does: behind `engine::fixture`, one file for each
//! subcommand of TORIL. Without a test none of this is made.

mod clock;
mod expect;
mod history;
mod idle;
mod lookout;
mod next_wake;
mod report;

use crate::engine::Ctx;
use crate::engine::Engine;
use crate::engine::client::ClientId;
use crate::engine::effect::Reading;
use crate::engine::fixture::{Fixture, Heard, Heeds, Stage};
use crate::engine::table::Found;
use crate::proto::{Args, Error, Reply, Result};
use clock::TestClock;
use expect::Expectations;
use history::History;
use idle::IdleWaits;

/// All that a test has asked for.
struct Testing {
    clock: TestClock,
    history: History,
    idle: IdleWaits,
    expectations: Expectations,
}

/// Does what a subcommand of TORIL asks for; `args` begins behind its name.
type Tool = fn(&mut Testing, &mut Ctx, Args, &mut Reply) -> Result;

/// The subcommands, in alphabetical order.
const TOOLS: &[(&str, Tool)] =
    &[("clock", clock::call), ("expect", expect::call), ("wait", idle::call)];

/// Makes the fixture of a server, for `Engine::offer_fixture`.
pub fn make(engine: &Engine) -> Box<dyn Fixture> {
    Box::new(Testing {
        clock: TestClock::new(engine),
        history: History::new(engine),
        idle: IdleWaits::default(),
        expectations: Expectations::default(),
    })
}

impl Fixture for Testing {
    fn heeds(&self) -> Heeds {
        Heeds { requests: false, changes: true }
    }

    fn before(&mut self, _: &mut Engine, _: ClientId, _: Found, _: &Args, _: Stage) -> Result {
        Ok(())
    }

    fn settled(&mut self, engine: &mut Engine, heard: Vec<Heard>) {
        self.history.hear(engine, &heard);
        self.expectations.look(&self.history, engine);
        self.idle.look(&mut self.history, engine);
    }

    fn clock_moved(&mut self, engine: &mut Engine, moved: std::result::Result<Reading, String>) {
        self.clock.moved(engine, moved);
        self.expectations.look(&self.history, engine);
        self.idle.look(&mut self.history, engine);
    }

    fn call(&mut self, cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
        let name = args.all()[1].to_ascii_lowercase();
        let tool = TOOLS.iter().find(|(tool, _)| tool.as_bytes() == name);
        let (_, tool) = tool.ok_or(Error::Syntax)?;
        tool(self, cx, args, reply)
    }
}
