//! Which keys have changed since somebody last asked, for a page that shows them. Who asks is told
//! of each key once, however often it has changed.

use crate::util::hash::Seeded;
use std::collections::{BTreeMap, HashSet};

/// Beyond so many of a database all keys count as changed.
const KEYS_MAX: usize = 65_536;

/// The keys of each database.
#[derive(Debug, Default)]
pub struct ChangedKeys {
    keys: BTreeMap<usize, HashSet<Box<[u8]>, Seeded>>,
    /// Any key may have changed: all were removed, or there were too many.
    pub is_all: bool,
}

impl ChangedKeys {
    /// Most keys change several times: what is there is found without being copied.
    pub fn note(&mut self, db: usize, key: &[u8]) {
        if self.is_all {
            return;
        }
        let keys = self.keys.entry(db).or_default();
        if keys.contains(key) {
            return;
        }
        if keys.len() >= KEYS_MAX {
            return self.note_all();
        }
        keys.insert(key.into());
    }

    pub fn note_all(&mut self) {
        *self = Self { keys: BTreeMap::new(), is_all: true };
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.is_all
    }

    /// Each key with its database.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.keys.iter().flat_map(|(db, keys)| keys.iter().map(|key| (*db, &**key)))
    }
}
