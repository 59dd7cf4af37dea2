//! Which keys have changed since somebody last asked, for a page that shows them. Who asks is told
//! of each key once, however often it has changed.

use crate::util::hash::hash;
use crate::util::table::IndexTable;
use std::collections::BTreeMap;

/// Beyond so many of a database all keys count as changed.
const KEYS_MAX: usize = 65_536;

/// The keys of each database.
#[derive(Debug, Default)]
pub struct ChangedKeys {
    dbs: BTreeMap<usize, Keys>,
    /// Any key may have changed: all were removed, or there were too many.
    pub is_all: bool,
}

/// Keys side by side in one text: a busy server changes tens of thousands of them a second, and a
/// piece of memory for each would take half of the time.
#[derive(Debug, Default)]
struct Keys {
    lately: Lately,
    table: IndexTable,
    text: Vec<u8>,
    /// Where each ends in the text.
    ends: Vec<usize>,
}

impl Keys {
    fn get(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[at]]
    }

    /// Most keys change several times, one soon after the other. False if it is one too many.
    #[inline]
    fn note(&mut self, key: &[u8]) -> bool {
        let hash = hash(key);
        self.lately.has(hash) || self.note_seldom(hash, key)
    }

    #[inline(never)]
    fn note_seldom(&mut self, hash: u64, key: &[u8]) -> bool {
        self.lately.add(hash);
        if self.table.find(hash, |at| self.get(at as usize) == key).is_some() {
            return true;
        }
        if self.ends.len() >= KEYS_MAX {
            return false;
        }
        self.table.insert(hash, self.ends.len() as u32);
        self.text.extend_from_slice(key);
        self.ends.push(self.text.len());
        true
    }
}

/// Hashes of keys that were noted lately, each at its place until another one comes there: most
/// keys that a job changes are found here, within 8 KB. Of other keys one in 2^64 has the same
/// hash, which nobody can foresee, and would go unnoticed.
#[derive(Debug)]
struct Lately(Box<[u64; 1024]>);

impl Default for Lately {
    fn default() -> Self {
        Self(Box::new([0; 1024]))
    }
}

impl Lately {
    /// Not for the hash that stands for none.
    #[inline]
    fn has(&self, hash: u64) -> bool {
        hash != 0 && self.0[hash as usize % self.0.len()] == hash
    }

    fn add(&mut self, hash: u64) {
        let place = hash as usize % self.0.len();
        self.0[place] = hash;
    }
}

impl ChangedKeys {
    pub fn note(&mut self, db: usize, key: &[u8]) {
        if !self.is_all && !self.dbs.entry(db).or_default().note(key) {
            self.note_all();
        }
    }

    pub fn note_all(&mut self) {
        *self = Self { dbs: BTreeMap::new(), is_all: true };
    }

    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.dbs.is_empty() && !self.is_all
    }

    /// Each key with its database.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.dbs.iter().flat_map(|(db, keys)| (0..keys.ends.len()).map(|at| (*db, keys.get(at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_told_of_once_until_there_are_too_many() {
        let mut changed = ChangedKeys::default();
        for (db, key) in [(3, "a"), (0, "ab"), (0, ""), (0, "ab"), (3, "a"), (0, "a")] {
            changed.note(db, key.as_bytes());
        }
        let told: Vec<(usize, &[u8])> = changed.iter().collect();
        assert_eq!(told, [(0, &b"ab"[..]), (0, b""), (0, b"a"), (3, b"a")]);
        for number in 0..=KEYS_MAX {
            assert!(!changed.is_all);
            changed.note(5, number.to_string().as_bytes());
        }
        assert!(changed.is_all && changed.iter().next().is_none());
    }
}
