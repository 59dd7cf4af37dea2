//! The guard through which handlers change values.

use super::Keyspace;
use crate::config::{EventClasses, Limits};
use crate::data::{Typed, Value};
use crate::util::rng::Rng;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A key's value in the hands of a handler: the only way to change one.
///
/// A guard that is dropped uncommitted removes the empty key that it made. A panic while a guard
/// lives may leave half a change, so it ends the process.
#[must_use]
pub struct Edit<'k, T: Typed> {
    keyspace: &'k mut Keyspace,
    db: usize,
    index: u32,
    created: bool,
    committed: bool,
    value: PhantomData<T>,
}

impl<'k, T: Typed> Edit<'k, T> {
    pub(super) fn new(keyspace: &'k mut Keyspace, db: usize, index: u32, created: bool) -> Self {
        Self { keyspace, db, index, created, committed: false, value: PhantomData }
    }

    /// Whether the key did not exist before.
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// The value beside the engine's seeded randomness.
    pub fn with_rng(&mut self) -> (&mut T, &mut Rng) {
        let inner = self.keyspace.numbers[self.db];
        let value = &mut self.keyspace.dbs[inner].entries[self.index].value;
        (T::of_mut(value).expect("the guard's type"), &mut self.keyspace.rng)
    }

    /// The value beside the settings that bound it.
    pub fn with_limits(&mut self) -> (&mut T, &Limits) {
        let inner = self.keyspace.numbers[self.db];
        let value = &mut self.keyspace.dbs[inner].entries[self.index].value;
        (T::of_mut(value).expect("the guard's type"), &self.keyspace.limits)
    }

    /// Makes the change known under the type's own class of events. An emptied collection's key
    /// goes.
    pub fn commit(self, event: &'static str) {
        self.commit_many(event, 1);
    }

    /// As `commit`, of a change to so many elements: `rdb_changes_since_last_save` counts each.
    pub fn commit_many(mut self, event: &'static str, changes: usize) {
        self.committed = true;
        self.keyspace.ledger.changes += changes as u64;
        let (db, index, created) = (self.db, self.index, self.created);
        if self.is_vacant() {
            let entry = self.keyspace.detach(db, index);
            if !created {
                let key = entry.key.text();
                self.keyspace.ledger.touched(db, &key);
                self.keyspace.ledger.event(T::CLASS, event, db, &key);
                self.keyspace.ledger.event(EventClasses::GENERIC, "del", db, &key);
            }
            return;
        }
        let keyspace = &mut *self.keyspace;
        let inner = keyspace.numbers[db];
        let entry = &mut keyspace.dbs[inner].entries[index];
        T::of_mut(&mut entry.value).expect("the guard's type").settle(&keyspace.limits);
        if created && let Value::Hash(hash) = &mut entry.value {
            hash.share(&mut keyspace.values);
        }
        if keyspace.ledger.has_listeners() {
            self.announce(event);
        }
    }

    #[inline(never)]
    fn announce(&mut self, event: &'static str) {
        let keyspace = &mut *self.keyspace;
        let entry = &keyspace.dbs[keyspace.numbers[self.db]].entries[self.index];
        let key = entry.key.text();
        if self.created {
            keyspace.ledger.event(EventClasses::NEW, "new", self.db, &key);
        }
        keyspace.ledger.touched(self.db, &key);
        keyspace.ledger.event(T::CLASS, event, self.db, &key);
    }
}

impl<T: Typed> Deref for Edit<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::of(&self.keyspace.entry(self.db, self.index).value).expect("the guard's type")
    }
}

impl<T: Typed> DerefMut for Edit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let entry = self.keyspace.entry_mut(self.db, self.index);
        T::of_mut(&mut entry.value).expect("the guard's type")
    }
}

impl<T: Typed> Drop for Edit<'_, T> {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        if std::thread::panicking() {
            tracing::error!("a command panicked in the middle of a change; the data is not sound");
            std::process::abort();
        }
        if self.created {
            self.keyspace.detach(self.db, self.index);
        }
    }
}
