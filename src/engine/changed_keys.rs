//! Which keys have changed since somebody last asked, for a page that shows them. Who asks is told
//! of each key once, however often it has changed.

use std::collections::HashSet;

/// Beyond so many all keys count as changed.
const KEYS_MAX: usize = 65_536;

/// The keys, each with its database.
#[derive(Debug, Default)]
pub struct ChangedKeys {
    pub keys: HashSet<(usize, Box<[u8]>)>,
    /// Any key may have changed: all were removed, or there were too many.
    pub is_all: bool,
}

impl ChangedKeys {
    pub fn note(&mut self, db: usize, key: &[u8]) {
        if self.is_all {
            return;
        }
        if self.keys.len() >= KEYS_MAX {
            return self.note_all();
        }
        self.keys.insert((db, key.into()));
    }

    pub fn note_all(&mut self) {
        *self = Self { keys: HashSet::new(), is_all: true };
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.is_all
    }
}
