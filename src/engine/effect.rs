//! Effects: what the engine asks the server to do in the world. The client that asked is parked
//! until the server answers; in a transaction the rest of it waits as well, and the server does
//! nothing else meanwhile.

use super::Engine;
use super::client::{ClientId, Parked, State};
use super::context::{Ctx, Origin};
use super::dispatch::Called;
use super::table::Request;
use super::time::Now;
use crate::config::{Config, ServerUrl};
use crate::proto::{Args, Error, Reply, Result};
use std::fmt;
use std::path::PathBuf;

/// An errand for the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Stops the whole server for a while, as DEBUG SLEEP does.
    Sleep { client: ClientId, micros: u64 },
    /// Ends the process, with the data saved before if that is wanted; if that fails, only where it
    /// is forced.
    Shutdown { client: Option<ClientId>, saves: bool, is_forced: bool },
    /// Writes a snapshot, and stops the whole server meanwhile.
    Save { client: ClientId },
    /// Writes one while clients are served. Nobody waits for its end.
    SaveAside {
        /// The number of the snapshot, if it has begun.
        begun: Option<u64>,
    },
    /// Writes the append-only file anew while clients are served. Nobody waits for its end.
    Rewrite,
    /// Brings a snapshot to the replicas that wait for one.
    Synchronise,
    /// Whom this server follows has changed, or its link is to be made anew.
    Follow,
    /// Reads the snapshot again.
    Reload { client: ClientId, how: Reloading },
    /// Closes the connection at once: CLIENT KILL, or a limit that was passed.
    Close { client: ClientId },
    /// Closes the connection at once, and loses what is on its way, as if the machine had gone.
    Reset { client: ClientId },
    /// Stops the whole server for a while. Nobody waits for its end.
    StandStill { micros: u64 },
    /// Listens nowhere for a while: who connects is refused, as by a machine without a server.
    Absent { micros: u64 },
    /// Listens on these addresses and this port instead, or goes on as before and gives `refusal`
    /// as its reason.
    Listen { client: ClientId, bind: Vec<String>, port: u16, refusal: String },
    /// Writes the settings that are in force to the configuration file.
    RewriteConfig { client: ClientId },
    /// Says something to another server.
    Converse(Box<Conversation>),
    /// Connects to another server, logs in there, and ends the connection.
    Reach { client: ClientId, to: ServerUrl },
    /// Reads a file. If it cannot be read, the error is `refusal` and the reason.
    ReadFile { client: ClientId, path: PathBuf, refusal: String },
    /// Puts these bytes in the place of a file, whole or not at all; else the error is `refusal`.
    WriteFile { client: ClientId, path: PathBuf, bytes: Vec<u8>, refusal: String },
    /// Settings changed, perhaps some that the server has taken from the configuration at start.
    Reconfigure,
    /// Moves the wall clock, here and for the clients that follow it; `Engine::clock_moved` is to
    /// be told.
    MoveClock(ClockMove),
}

/// How a snapshot is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloading {
    /// Once one was written of what there is.
    pub saves: bool,
    /// In the place of what there is.
    pub flushes: bool,
    /// Keys that there are already take its values.
    pub merges: bool,
}

/// What is to become of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMove {
    /// It jumps ahead, by so many milliseconds.
    Ahead(u64),
    /// It stands still, at this moment, in milliseconds since 1970, or where it is.
    Freeze(Option<i64>),
    /// It goes on from where it stands, at the pace of the real one.
    Resume,
    /// It is the real one again.
    Reset,
}

/// How a clock that tests move follows from the real one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Milliseconds that it is ahead of the real time.
    pub ahead_ms: i64,
    /// The moment at which it stands still, in milliseconds since 1970.
    pub frozen_ms: Option<i64>,
}

impl Reading {
    /// How the clock goes after a move, which showed `now_ms` when it really was `real_ms`.
    pub fn after(self, to: ClockMove, now_ms: i64, real_ms: i64) -> Self {
        let Self { ahead_ms, frozen_ms } = self;
        match to {
            ClockMove::Ahead(by_ms) => Self {
                ahead_ms: ahead_ms + by_ms as i64,
                frozen_ms: frozen_ms.map(|at_ms| at_ms + by_ms as i64),
            },
            ClockMove::Freeze(there) => Self { ahead_ms, frozen_ms: there.or(Some(now_ms)) },
            // It goes on from where it stands.
            ClockMove::Resume => {
                let from_ms = frozen_ms.map(|at_ms| at_ms - real_ms);
                Self { ahead_ms: from_ms.unwrap_or(ahead_ms), frozen_ms: None }
            }
            ClockMove::Reset => Self::default(),
        }
    }
}

/// What is said to another server, and how much it should answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    pub client: ClientId,
    pub host: String,
    pub port: u16,
    /// For the connection, for each piece that is written, and for each answer.
    pub timeout_ms: u64,
    pub bytes: Vec<u8>,
    /// Lines.
    pub answers: usize,
}

/// Where a conversation ended too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    Connecting,
    Writing,
    Reading,
}

/// What a command has still to do when its effect has an outcome.
pub trait Answered: fmt::Debug {
    fn go_on(&self, cx: &mut Ctx, outcome: &Outcome, reply: &mut Reply) -> Result;
}

/// What the server is still to be asked for.
#[derive(Debug, Default)]
pub(super) struct Errands {
    effects: Vec<Effect>,
    /// In whose EXEC an effect is waited for: nobody else comes before its end.
    halted: Option<ClientId>,
}

impl Errands {
    /// Nobody comes before the end of a client's EXEC, which waits for an effect.
    pub fn halt_for(&mut self, id: ClientId) {
        self.halted = Some(id);
    }

    pub fn halts(&self) -> bool {
        self.halted.is_some()
    }

    pub fn halts_for(&self, id: ClientId) -> bool {
        self.halted == Some(id)
    }
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// What stands in a file.
    Read(Vec<u8>),
    /// The error that the client gets.
    Failed(String),
    /// What was answered in a conversation, line by line, and what ended it before its end.
    Answers {
        lines: Vec<Vec<u8>>,
        problem: Option<Problem>,
    },
}

/// What a parked client has asked for.
#[derive(Debug)]
pub struct Errand {
    /// The stopwatch when the request began: it is counted and logged once it is answered.
    started_us: u64,
    request: Request,
    /// What is in force from then on, if all goes well.
    config: Option<Config>,
    /// What is still to be done, where an answer alone is not all.
    rest: Option<Box<dyn Answered>>,
}

impl Ctx<'_> {
    /// Asks for an effect and parks the client until the server has answered. What an EXEC has
    /// still to run waits as well.
    pub fn await_effect(&mut self, effect: Effect, args: Args) {
        self.await_with(effect, args, None, None);
    }

    /// As `await_effect`; the settings are in force when it has gone well.
    pub fn await_config(&mut self, effect: Effect, args: Args, config: Config) {
        self.await_with(effect, args, Some(config), None);
    }

    /// As `await_effect`; then the command goes on with the outcome.
    pub fn await_answers(&mut self, effect: Effect, args: Args, rest: impl Answered + 'static) {
        self.await_with(effect, args, None, Some(Box::new(rest)));
    }

    /// Parks the client until the fixture concludes (`Engine::conclude`).
    pub fn await_fixture(&mut self, args: Args) {
        self.park_for(args, None, None);
    }

    fn await_with(
        &mut self,
        effect: Effect,
        args: Args,
        config: Option<Config>,
        rest: Option<Box<dyn Answered>>,
    ) {
        self.engine.ask(effect);
        self.park_for(args, config, rest);
    }

    fn park_for(&mut self, args: Args, config: Option<Config>, rest: Option<Box<dyn Answered>>) {
        let request = self.request(args);
        let errand = Errand { started_us: self.engine.stats.lap_us(), request, config, rest };
        self.parked = Some(Parked::Effect(errand.into()));
    }
}

impl Engine {
    /// What the server is asked for since this was called last.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.errands.effects)
    }

    /// Asks the server for something.
    pub fn ask(&mut self, effect: Effect) {
        self.errands.effects.push(effect);
    }

    /// Whether an answer can be taken now: not while another client's script or transaction is
    /// under way.
    pub fn takes_answer(&self, id: ClientId) -> bool {
        self.errands.halts_for(id) || !self.errands.halts() && !self.scripts.is_running()
    }

    /// The server's answer to an effect: the client that asked goes on. In an EXEC the time has
    /// stood still, however long the effect took.
    pub fn answer(&mut self, id: ClientId, outcome: Outcome, now: Now) {
        if !self.awaits_effect(id) {
            return;
        }
        let in_exec = self.errands.halts_for(id);
        if in_exec {
            self.errands.halted = None;
        } else {
            self.set_now(now);
        }
        let Some(Parked::Effect(errand)) = self.unpark(id) else { return };
        let refusal = match &outcome {
            Outcome::Failed(text) => Some(Error::new(text.clone())),
            _ => None,
        };
        self.account_for_errand(id, &errand, refusal.as_ref());
        let Errand { request, config, rest, .. } = *errand;
        if let (Outcome::Done, Some(config)) = (&outcome, config) {
            self.adopt(config);
        }
        if in_exec {
            self.clients[id].state = State::Running;
        }
        self.on_outbox(id, |engine, db, reply| {
            match (rest, &outcome) {
                (Some(rest), outcome) => {
                    let origin = Origin::Answered(&*rest, outcome);
                    let (found, words) = (request.found, request.words.words());
                    let called = engine.call(id, found, Args::new(&words), origin, db, reply);
                    if let Called::Done(Err(error)) = &called {
                        reply.error(error);
                    }
                }
                (None, Outcome::Failed(text)) => reply.error_text(text),
                (None, Outcome::Done | Outcome::Read(_) | Outcome::Answers { .. }) => reply.ok(),
            }
            engine.end_exec_part(id, db, reply);
        });
        self.pause_held_calls(id);
        self.end_part(id, now);
    }

    fn awaits_effect(&self, id: ClientId) -> bool {
        let parked = self.clients.get(id).and_then(|client| client.parked.as_ref());
        matches!(parked, Some(Parked::Effect(_)))
    }

    /// Answers a client that waits for the fixture, which may have gone since.
    pub fn conclude(&mut self, id: ClientId, write: impl FnOnce(&mut Reply) -> Result) {
        if !self.awaits_effect(id) {
            return;
        }
        let Some(Parked::Effect(errand)) = self.unpark(id) else { return };
        let result = self.on_outbox(id, |_, _, reply| {
            let result = write(reply);
            if let Err(error) = &result {
                reply.error(error);
            }
            result
        });
        self.account_for_errand(id, &errand, result.err().as_ref());
        self.end_part(id, self.keyspace.now);
    }

    /// An EXEC around it counts the time itself.
    fn account_for_errand(&mut self, id: ClientId, errand: &Errand, refusal: Option<&Error>) {
        let Request { found, words } = &errand.request;
        if let Some(error) = refusal {
            self.stats.calls[found.index].failed += 1;
            self.stats.count_error(error);
        }
        let micros = self.start_lap() - errand.started_us;
        self.account(id, *found, &words.words(), micros);
    }
}
