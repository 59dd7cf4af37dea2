//! The queues that are known: found by a walk over all keys once, and from then on by the keys that
//! change.

use super::library::has_asked;
use super::{Glance, LIBRARIES, Queue, QueueLibrary, bull, bull_keys, bullmq};
use crate::engine::Engine;
use crate::engine::client::Client;
use crate::util::hash::Seeded;
use std::collections::{BTreeMap, HashSet};

/// The queues of all databases, by database and base.
#[derive(Default)]
pub struct Known(BTreeMap<usize, BTreeMap<Box<[u8]>, &'static QueueLibrary>>);

/// What the keys of one moment have told of, by database and library: the jobs of a queue all tell
/// of that queue.
#[derive(Default)]
pub struct Learned(BTreeMap<(usize, usize), HashSet<Vec<u8>, Seeded>>);

impl Learned {
    fn is_new(&mut self, db: usize, library: usize, base: &[u8]) -> bool {
        let bases = self.0.entry((db, library)).or_default();
        !bases.contains(base) && bases.insert(base.to_vec())
    }
}

impl Known {
    /// Walks over all keys.
    pub fn find(engine: &Engine) -> Self {
        let (mut known, mut learned) = (Self::default(), Learned::default());
        for db in 0..engine.keyspace.databases() {
            for entry in engine.keyspace.db(db).iter() {
                known.learn(Glance::new(engine, db), &entry.key.text(), &mut learned);
            }
        }
        known
    }

    /// A key is new, or has changed: the queues that it tells of, and no key before it did.
    pub fn learn(&mut self, view: Glance, key: &[u8], learned: &mut Learned) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        if self.is_numbered_job(view.db, key) {
            return found;
        }
        for (at, library) in LIBRARIES.iter().enumerate() {
            for base in (library.bases)(view, key) {
                if !learned.is_new(view.db, at, &base) {
                    continue;
                }
                // A later look may know better: which library it is shows only by and by.
                if (library.is_queue)(view, &base) {
                    self.0.entry(view.db).or_default().insert(base.clone().into(), library);
                    found.push(base);
                }
            }
        }
        found
    }

    /// Whether a key is that of a numbered job of a queue that is known: most keys that change are,
    /// and no library tells its queues by them.
    fn is_numbered_job(&self, db: usize, key: &[u8]) -> bool {
        let Some(at) = key.iter().rposition(|&byte| byte == b':') else { return false };
        let (base, id) = (&key[..at], &key[at + 1..]);
        !id.is_empty() && id.iter().all(u8::is_ascii_digit) && self.has(db, base)
    }

    /// A client asks for jobs, whose name may tell that it is the worker of a queue which has no
    /// keys yet: that queue's base.
    pub fn meet_worker(&mut self, client: &Client) -> Option<Vec<u8>> {
        let mut named = [&bull::LIBRARY, &bullmq::LIBRARY].into_iter();
        let library = named.find(|library| has_asked(client, library.asks))?;
        let base = bull_keys::base_of_worker(&client.name)?;
        self.0.entry(client.db).or_default().entry(base.clone().into()).or_insert(library);
        Some(base)
    }

    /// Whether it is known.
    pub fn has(&self, db: usize, base: &[u8]) -> bool {
        self.library(db, base).is_some()
    }

    /// The library of a queue, if that is known.
    pub fn library(&self, db: usize, base: &[u8]) -> Option<&'static QueueLibrary> {
        self.0.get(&db)?.get(base).copied()
    }

    /// Leaves out the queues of which nothing is left.
    pub fn forget_gone(&mut self, engine: &Engine) {
        for (&db, queues) in &mut self.0 {
            queues
                .retain(|base, library| Queue { library, db, base: base.clone() }.is_there(engine));
        }
    }

    /// Everything has gone.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// In order of database and base.
    pub fn queues(&self) -> Vec<Queue> {
        let of_db = |(db, queues): (&usize, &BTreeMap<Box<[u8]>, &'static QueueLibrary>)| {
            let db = *db;
            let queues = queues.iter();
            let queues = queues.map(|(base, library)| Queue { library, db, base: base.clone() });
            queues.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_db).collect()
    }
}
