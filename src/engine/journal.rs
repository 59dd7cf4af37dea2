//! The stream of effects: what a replica or a log would need to reach the same data. Effects are
//! deterministic commands: times are absolute, ids explicit, random choices named.
//!
//! Nothing listens until persistence comes; the simulation does, and replays it.

use crate::proto::OwnedArgs;

/// The commands that the engine itself writes, or runs in a caller's name.
pub(super) const DEL: &[u8] = b"DEL";
pub(super) const MULTI: &[u8] = b"MULTI";
pub(super) const EXEC: &[u8] = b"EXEC";

/// One effect, or a bracket around those of a transaction or a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    pub db: usize,
    pub args: OwnedArgs,
}

/// The journal's sink.
#[derive(Default)]
pub struct Journal {
    /// What has been appended since `take`; None while nobody listens.
    effects: Option<Vec<Effect>>,
    /// What the running command wants journaled in its own place.
    instead: Option<Vec<OwnedArgs>>,
}

impl Journal {
    /// Begins to keep effects.
    pub fn listen(&mut self) {
        self.effects.get_or_insert_default();
    }

    pub fn is_on(&self) -> bool {
        self.effects.is_some()
    }

    /// The effects since the last call.
    pub fn take(&mut self) -> Vec<Effect> {
        self.effects.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub fn append(&mut self, db: usize, words: &[&[u8]]) {
        if let Some(effects) = &mut self.effects {
            effects.push(Effect { db, args: OwnedArgs::new(words) });
        }
    }

    /// The running command is journaled as these words, not as it was received. Called again, it
    /// adds a further command.
    pub fn instead(&mut self, words: &[&[u8]]) {
        if self.is_on() {
            self.instead.get_or_insert_default().push(OwnedArgs::new(words));
        }
    }

    /// Ends a command: journals it if it `changed` anything.
    pub fn end_command(&mut self, db: usize, words: &[&[u8]], changed: bool) {
        let instead = self.instead.take();
        if !changed {
            return;
        }
        match instead {
            None => self.append(db, words),
            Some(commands) => {
                for args in commands {
                    self.effects.get_or_insert_default().push(Effect { db, args });
                }
            }
        }
    }

    /// How many effects are kept; with `bracket` it puts MULTI and EXEC around what came since.
    pub fn position(&self) -> usize {
        self.effects.as_ref().map_or(0, Vec::len)
    }

    /// Brackets the effects since `position`, which took place at once.
    pub fn bracket(&mut self, position: usize, db: usize) {
        if let Some(effects) = &mut self.effects
            && effects.len() > position + 1
        {
            let word = |word: &[u8]| Effect { db, args: OwnedArgs::new(&[word]) };
            effects.insert(position, word(MULTI));
            effects.push(word(EXEC));
        }
    }
}
