//! Other data that is taken in beside what there is, and takes its place once it is whole. Until
//! then clients read what there was; for as long, both take memory.

use super::Keyspace;
use super::slots::Slots;
use crate::util::hash::Seed;

impl Keyspace {
    /// Begins to take in other data.
    pub fn stage(&mut self) {
        self.unstage();
        let hasher = Seed::new(self.rng.next_u64());
        self.staged = Some(Box::new(Slots::new(self.databases(), hasher)));
    }

    /// Exchanges what there is with the other data, to take some in, or back.
    pub fn exchange_staged(&mut self) {
        if let Some(staged) = &mut self.staged {
            std::mem::swap(&mut **staged, &mut self.slots);
        }
    }

    /// Forgets the other data. It is freed as what was removed is.
    pub fn unstage(&mut self) {
        let Some(mut staged) = self.staged.take() else { return };
        for db in 0..staged.databases() {
            staged.empty(db);
        }
        self.slots.doomed.append(&mut staged.doomed);
    }

    /// Puts the other data in the place of what there is. No snapshot may be under way.
    pub fn put_staged_in_place(&mut self) {
        let Some(staged) = self.staged.take() else { return };
        self.aftermath.flushed();
        let mut watched = Vec::new();
        for db in 0..self.databases() {
            for key in self.aftermath.watched_keys(db) {
                let before = self.presence(db, &key);
                watched.push((db, key, before));
            }
            self.aftermath.changes += self.slots.empty(db) as u64;
        }
        let mut before = std::mem::replace(&mut self.slots, *staged);
        self.slots.doomed.append(&mut before.doomed);
        for (db, key, before) in watched {
            let after = self.presence(db, &key);
            self.aftermath.exchanged(db, &key, before, after);
        }
        for db in 0..self.databases() {
            for key in self.aftermath.waiters.keys_of(db) {
                self.aftermath.waiters.signal(db, &key);
            }
        }
    }
}
