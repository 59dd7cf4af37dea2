//! Clients that wait for an answer of the fixture's: each is looked at whenever something has
//! happened, and at the latest when it wants to be.

use super::history::History;
use super::next_wake::NextWake;
use crate::engine::client::ClientId;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Reply};

/// What a client waits for.
pub trait Awaiting {
    type Answer;

    fn client(&self) -> ClientId;

    /// The answer.
    ///
    /// # Errors
    /// The moment of the monotonic clock at which to look again at the latest: there is none yet.
    fn look(&mut self, history: &mut History, engine: &Engine) -> Result<Self::Answer, u64>;

    fn write(&self, answer: Self::Answer, reply: &mut Reply);
}

/// Those who wait for the same kind of thing.
pub struct Waits<W> {
    all: Vec<W>,
    wake: NextWake,
}

impl<W> Default for Waits<W> {
    fn default() -> Self {
        Self { all: Vec::new(), wake: NextWake::default() }
    }
}

impl<W: Awaiting> Waits<W> {
    /// Answers at once, or has the client wait.
    pub fn begin(
        &mut self,
        mut wait: W,
        history: &mut History,
        cx: &mut Ctx,
        args: Args,
        reply: &mut Reply,
    ) {
        match wait.look(history, cx.server()) {
            Ok(answer) => wait.write(answer, reply),
            Err(next_us) => {
                cx.await_fixture(args);
                self.all.push(wait);
                self.wake.set(cx.engine_of_fixture(), next_us);
            }
        }
    }

    /// Something has happened, or a moment has come: answers those who need wait no longer.
    pub fn look(&mut self, history: &mut History, engine: &mut Engine) {
        for mut wait in std::mem::take(&mut self.all) {
            if engine.clients.get(wait.client()).is_none() {
                continue;
            }
            match wait.look(history, engine) {
                Err(next_us) => {
                    self.all.push(wait);
                    self.wake.set(engine, next_us);
                }
                Ok(answer) => engine.conclude(wait.client(), |reply| {
                    wait.write(answer, reply);
                    Ok(())
                }),
            }
        }
    }
}
