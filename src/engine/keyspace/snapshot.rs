//! Snapshots: all databases as they are at a moment, and the way back.
//!
//! A snapshot is a copy, key by key. To take a thousand hashes of jobs costs 0.2 ms and to bring
//! them back 0.5 ms, so nothing has to be shared and copied later. Times to live are kept as what
//! is left of them: a key that had five seconds to live has five seconds again. Whatever else is a
//! time, such as the score of a delayed job, is data and stays.

use super::{Change, Keyspace, Lifetime};
use crate::data::Value;
use crate::rdb;

/// All databases as they were.
#[derive(Debug)]
pub struct Snapshot {
    taken_ms: i64,
    /// By the number of the database.
    dbs: Vec<Vec<Kept>>,
}

#[derive(Debug)]
struct Kept {
    key: Box<[u8]>,
    value: Value,
    /// As of when it was taken.
    expires_ms: Option<i64>,
}

impl Snapshot {
    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Vec::len).sum()
    }

    /// Whether it has no key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Keyspace {
    /// A copy of what is there now. Keys whose time has come are not.
    pub fn snapshot(&self) -> Snapshot {
        let copy = |db: usize| {
            let here = self.db(db);
            let there = here.iter().filter(|entry| !self.is_over(db, entry));
            let kept = there.map(|entry| Kept {
                key: entry.key.text().to_vec().into(),
                value: entry.value.clone(),
                expires_ms: here.expires_ms(entry),
            });
            kept.collect()
        };
        Snapshot { taken_ms: self.now.wall_ms, dbs: (0..self.databases()).map(copy).collect() }
    }

    /// Puts a snapshot in the place of all that is there. The journal has it as FLUSHALL and
    /// RESTOREs, in a unit of its own.
    pub fn bring_back(&mut self, snapshot: &Snapshot) {
        self.aftermath.journal.append(0, &[b"FLUSHALL"]);
        self.flush(0..self.databases());
        // Who hears that all keys have gone looks at all that is there once this has ended.
        let hears = self.aftermath.note_for_fixture(false);
        let since_ms = self.now.wall_ms - snapshot.taken_ms;
        for (db, all) in snapshot.dbs.iter().enumerate() {
            for Kept { key, value, expires_ms } in all {
                let mut value = value.clone();
                if let Value::Hash(hash) = &mut value {
                    hash.postpone(since_ms);
                }
                let at_ms = expires_ms.map(|at_ms| at_ms + since_ms);
                self.journal_restore(db, key, &value, at_ms);
                let lifetime = at_ms.map_or(Lifetime::Endless, Lifetime::Until);
                self.put_anew((db, key), value, lifetime, Change::of_key("restore"));
            }
        }
        self.aftermath.note_for_fixture(hears);
        self.aftermath.journal.end_unit();
    }

    /// Removes all that there is, as if the server had begun anew.
    pub fn lose_all(&mut self) {
        self.bring_back(&Snapshot { taken_ms: self.now.wall_ms, dbs: Vec::new() });
    }

    fn journal_restore(&mut self, db: usize, key: &[u8], value: &Value, at_ms: Option<i64>) {
        if self.aftermath.journal.is_on() {
            let payload = rdb::dump(value, &self.limits, true);
            let at_ms = at_ms.unwrap_or(0).to_string();
            let words: [&[u8]; 6] =
                [b"RESTORE", key, at_ms.as_bytes(), &payload, b"ABSTTL", b"REPLACE"];
            self.aftermath.journal.append(db, &words);
        }
    }
}
