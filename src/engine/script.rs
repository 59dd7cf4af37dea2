//! Scripts: between the Lua machine and the commands.

use super::Engine;
use super::client::{ClientId, State};
use super::time::Now;

/// The script under way.
#[derive(Debug)]
pub struct Running {
    pub is_busy: bool,
}

/// The Lua machine and the scripts it knows.
#[derive(Default)]
pub struct Scripting {}

impl Engine {
    /// Whether a script has run for longer than `busy-reply-threshold`.
    pub fn is_busy(&self) -> bool {
        self.script.as_ref().is_some_and(|script| script.is_busy)
    }

    /// Goes on with a client's suspended script.
    pub fn resume(&mut self, id: ClientId, now: Now) -> State {
        self.set_now(now);
        self.state(id)
    }
}
