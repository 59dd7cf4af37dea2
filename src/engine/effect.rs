//! Effects: what the engine asks the server to do in the world. The client that asked is parked
//! until the server answers; in a transaction the rest of it waits as well, and the server does
//! nothing else meanwhile.

use super::Engine;
use super::client::{ClientId, Parked, State};
use super::context::Ctx;
use super::table::Request;
use super::time::Now;
use crate::config::Config;
use crate::proto::{Args, Error};

/// An errand for the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Stops the whole server for a while, as DEBUG SLEEP does.
    Sleep { client: ClientId, micros: u64 },
    /// Ends the process.
    Shutdown { client: Option<ClientId> },
    /// Closes the connection at once: CLIENT KILL, or a limit that was passed.
    Close { client: ClientId },
    /// Listens on these addresses and this port instead, or goes on as before and gives `refusal`
    /// as its reason.
    Listen { client: ClientId, bind: Vec<String>, port: u16, refusal: String },
    /// Settings changed, perhaps some that the server has taken from the configuration at start.
    Reconfigure,
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
    /// The error that the client gets.
    Failed(String),
}

/// What a parked client has asked for.
#[derive(Debug)]
pub struct Errand {
    /// The stopwatch when the request began: it is counted and logged once it is answered.
    started_us: u64,
    request: Request,
    /// What is in force from then on, if all goes well.
    config: Option<Config>,
}

impl Ctx<'_> {
    /// Asks for an effect and parks the client until the server has answered. What an EXEC has
    /// still to run waits as well.
    pub fn await_effect(&mut self, effect: Effect, args: Args) {
        self.await_with(effect, args, None);
    }

    /// As `await_effect`; the settings are in force when it has gone well.
    pub fn await_config(&mut self, effect: Effect, args: Args, config: Config) {
        self.await_with(effect, args, Some(config));
    }

    fn await_with(&mut self, effect: Effect, args: Args, config: Option<Config>) {
        self.engine.ask(effect);
        let request = self.request(args);
        let errand = Errand { started_us: self.engine.stats.lap_us(), request, config };
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

    /// The server's answer to an effect: the client that asked goes on. In an EXEC the time has
    /// stood still, however long the effect took.
    pub fn answer(&mut self, id: ClientId, outcome: Outcome, now: Now) {
        let parked = self.clients.get(id).and_then(|client| client.parked.as_ref());
        if !matches!(parked, Some(Parked::Effect(_))) {
            return;
        }
        let in_exec = self.errands.halted.take().is_some();
        if !in_exec {
            self.set_now(now);
        }
        let Some(Parked::Effect(errand)) = self.unpark(id) else { return };
        self.account_for_errand(id, &errand, &outcome);
        if let (Outcome::Done, Some(config)) = (&outcome, errand.config) {
            self.adopt(config);
        }
        if in_exec {
            self.clients[id].state = State::Running;
        }
        self.on_outbox(id, |engine, db, reply| {
            match outcome {
                Outcome::Done => reply.ok(),
                Outcome::Failed(text) => reply.error_text(&text),
            }
            engine.end_exec_part(id, db, reply);
        });
        self.pause_held_calls(id);
        self.end_part(id, now);
    }

    /// An EXEC around it counts the time itself.
    fn account_for_errand(&mut self, id: ClientId, errand: &Errand, outcome: &Outcome) {
        let Request { found, words } = &errand.request;
        if let Outcome::Failed(text) = outcome {
            self.stats.calls[found.index].failed += 1;
            self.stats.count_error(&Error::new(text.clone()));
        }
        let micros = self.start_lap() - errand.started_us;
        self.account(id, *found, &words.words(), micros);
    }
}
