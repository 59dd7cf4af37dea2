//! The fixture: what tests ask of a server beyond what Redis does. A clock that moves, faults,
//! idleness. src/testing implements it; the engine knows only when to ask, and without a fixture
//! asks nobody: one branch for each request, none for a change.
//!
//! A server that may be tested is offered a way to make one. It is made by the first TORIL command,
//! or at the start if a setting wants it. While it works it is out of the engine, which it is
//! handed instead.

use super::Engine;
use super::alarms::Alarm;
use super::client::ClientId;
use super::context::Ctx;
use super::effect::Reading;
use super::table::Found;
use super::time::Now;
use crate::config::{Config, Policy, Provider};
use crate::lua::Callable;
use crate::proto::{Args, Error, Reply, Result};

/// What has happened since the fixture was last told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A key was changed, made or removed.
    Changed { db: usize, key: Box<[u8]> },
    /// All keys have gone, of one database or of all of them. Others may have come in their place,
    /// of which nothing more is said (`Keyspace::bring_back`).
    Flushed,
    /// A client waits: for keys, or for an effect or the fixture itself.
    Parked(ClientId),
}

/// A place in the checklist (dispatch.rs) at which a fault or a restriction may end a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its row is known: a command that a provider lacks is refused here.
    Named,
    /// Its user may run it: keys in several slots are refused here.
    Allowed,
    /// What follows is the handler.
    Admitted,
    /// A script calls it.
    Called,
}

/// A command that has ended in an error.
pub struct Failure<'a> {
    pub found: Found,
    pub args: &'a Args<'a>,
    /// That in which it ran.
    pub db: usize,
    pub error: &'a Error,
}

/// What becomes of a request that is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It goes on as if nobody had been asked.
    GoOn,
    /// It is neither run nor answered.
    Swallow,
}

/// What a fixture wants to hear of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heeds {
    /// Each request, at each of its stages.
    pub requests: bool,
    /// What changes, and who begins to wait.
    pub changes: bool,
    /// Outboxes that are about to be sent.
    pub replies: bool,
}

pub trait Fixture {
    /// Asked again after whatever it did, and when settings have changed: what is not wanted costs
    /// nothing.
    fn heeds(&self, config: &Config) -> Heeds;

    /// A request is at this stage. What a script calls is refused or goes on.
    ///
    /// # Errors
    /// What the request is refused with.
    fn before(
        &mut self,
        engine: &mut Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result<Ruling>;

    /// What a client was answered is about to be sent, as far as its outbox is ready.
    fn answered(&mut self, engine: &mut Engine, id: ClientId);

    /// A script begins, or a function, with these keys. Heard by who heeds requests.
    fn script_begins(&mut self, engine: &mut Engine, callable: &Callable, keys: &[&[u8]]);

    /// A command has ended in an error: a request's, a transaction's or a script's. Heard by who
    /// heeds requests.
    fn failed(&mut self, engine: &mut Engine, id: ClientId, failure: &Failure);

    /// A request, script or transaction has ended, with all that it set off; or an alarm of the
    /// fixture's own has gone off (`Engine::wake_fixture_at`), and nothing was heard.
    fn settled(&mut self, engine: &mut Engine, heard: Vec<Heard>);

    /// The server has moved its clock, or says why it could not.
    fn clock_moved(&mut self, engine: &mut Engine, moved: std::result::Result<Reading, String>);

    /// A TORIL command. It may leave its client waiting (`Ctx::await_fixture`).
    fn call(&mut self, cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result;
}

/// Makes the fixture of an engine.
pub type MakeFixture = fn(&Engine) -> Box<dyn Fixture>;

/// The engine's place for a fixture.
#[derive(Default)]
pub(super) struct Place {
    make: Option<MakeFixture>,
    /// Out of its place while it works.
    fixture: Option<Box<dyn Fixture>>,
    pub heeds_requests: bool,
    pub heeds_replies: bool,
    /// Its alarm has gone off.
    pub is_due: bool,
    /// The wall clock stands still: no key's time comes.
    pub stops_clock: bool,
}

impl Engine {
    /// Lets tests make use of this server. If a setting wants them to, they do so from now on.
    pub fn offer_fixture(&mut self, make: MakeFixture) {
        self.fixture.make = Some(make);
        if self.config.fixture {
            let made = make(self);
            self.put_fixture(made);
        }
        self.heed_settings();
    }

    /// Settings have changed: what the fixture heeds, or that there is to be one.
    pub(super) fn heed_settings(&mut self) {
        let is_wanted = self.config.is_strict() || self.fixture.fixture.is_some();
        if let Some(fixture) = is_wanted.then(|| self.take_fixture()).flatten() {
            self.put_fixture(fixture);
        }
    }

    /// From now on this is the provider, with the policy that is usual there.
    pub fn choose_provider(&mut self, provider: Provider) {
        let config = &mut self.config;
        if config.profile().policy == Some(config.maxmemory_policy) {
            config.maxmemory_policy = Policy::NoEviction;
        }
        config.provider = provider;
        config.maxmemory_policy = config.profile().policy.unwrap_or(config.maxmemory_policy);
    }

    /// Takes the fixture out of its place, or makes it.
    fn take_fixture(&mut self) -> Option<Box<dyn Fixture>> {
        match self.fixture.fixture.take() {
            None => Some(self.fixture.make?(self)),
            taken => taken,
        }
    }

    fn put_fixture(&mut self, fixture: Box<dyn Fixture>) {
        let Heeds { requests, changes, replies } = fixture.heeds(&self.config);
        self.fixture.heeds_requests = requests;
        self.fixture.heeds_replies = replies;
        self.keyspace.aftermath.listen(changes);
        self.fixture.fixture = Some(fixture);
    }

    /// Does something with the fixture while it is out of its place; nothing if there is none, or
    /// if it is at work already.
    fn with_fixture<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Fixture, &mut Self) -> T,
    ) -> Option<T> {
        let mut fixture = self.fixture.fixture.take()?;
        let result = work(&mut *fixture, self);
        self.put_fixture(fixture);
        Some(result)
    }

    /// Whether the fixture is to be asked about requests.
    #[inline(always)]
    pub(super) fn heeds_requests(&self) -> bool {
        self.fixture.heeds_requests
    }

    /// What the fixture says of a request at this stage.
    #[cold]
    #[inline(never)]
    pub(super) fn consult(
        &mut self,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result<Ruling> {
        let ruling =
            self.with_fixture(|fixture, engine| fixture.before(engine, id, found, args, stage));
        ruling.unwrap_or(Ok(Ruling::GoOn))
    }

    /// Lets the fixture see what a client was answered before it is sent.
    #[cold]
    #[inline(never)]
    pub(super) fn show_answer(&mut self, id: ClientId) {
        self.with_fixture(|fixture, engine| fixture.answered(engine, id));
    }

    /// Tells the fixture that a script begins.
    #[cold]
    pub(super) fn tell_script(&mut self, callable: &Callable, keys: &[&[u8]]) {
        self.with_fixture(|fixture, engine| fixture.script_begins(engine, callable, keys));
    }

    /// Tells the fixture that a command has ended in an error.
    #[cold]
    pub(super) fn tell_failure(&mut self, id: ClientId, failure: &Failure) {
        self.with_fixture(|fixture, engine| fixture.failed(engine, id, failure));
    }

    /// Tells the fixture what has happened, until it has heard all that its own work set off.
    #[cold]
    pub(super) fn tell_fixture(&mut self) {
        while self.fixture.fixture.is_some()
            && (self.fixture.is_due || self.keyspace.aftermath.has_heard())
        {
            self.fixture.is_due = false;
            let heard = self.keyspace.aftermath.take_heard();
            self.with_fixture(|fixture, engine| fixture.settled(engine, heard));
        }
    }

    /// Has the fixture told that nothing has happened, at a moment of the monotonic clock.
    pub fn wake_fixture_at(&mut self, at_us: u64) {
        self.alarms.set(at_us, Alarm::Fixture);
    }

    /// The server's answer to `Effect::MoveClock`: how the clock shows the time from
    /// now on, or why it does not.
    pub fn clock_moved(&mut self, moved: std::result::Result<Reading, String>, now: Now) {
        self.set_now(now);
        if let Ok(reading) = &moved {
            self.fixture.stops_clock = reading.frozen_ms.is_some();
        }
        self.with_fixture(|fixture, engine| fixture.clock_moved(engine, moved));
        self.settle();
    }
}

impl Ctx<'_> {
    /// The whole server, for the fixture alone: a handler has no business with it.
    pub fn engine_of_fixture(&mut self) -> &mut Engine {
        self.engine
    }

    /// Has the fixture do what a TORIL command asks for.
    pub fn ask_fixture(&mut self, args: Args, reply: &mut Reply) -> Result {
        let Some(mut fixture) = self.engine.take_fixture() else {
            return Err(Error::new("ERR this server was not made for tests"));
        };
        let result = fixture.call(self, args, reply);
        self.engine.put_fixture(fixture);
        result
    }
}
