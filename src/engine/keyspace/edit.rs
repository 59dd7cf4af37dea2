//! The guard through which handlers change values.

use super::slots::SlotId;
use super::{Change, Keyspace};
use crate::config::{EventClasses, Limits};
use crate::data::{Typed, Value};
use crate::util::rng::Rng;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The name of an event that is none.
pub const UNANNOUNCED: &str = "";

/// A key's value in the hands of a handler: the only way to change one.
///
/// A guard that is dropped uncommitted removes the empty key that it made. A panic while a guard
/// lives may leave half a change, so it ends the process.
#[must_use]
pub struct Edit<'k, T: Typed> {
    keyspace: &'k mut Keyspace,
    db: usize,
    slot: SlotId,
    created: bool,
    committed: bool,
    value: PhantomData<T>,
}

impl<'k, T: Typed> Edit<'k, T> {
    #[inline]
    pub(super) fn new(keyspace: &'k mut Keyspace, db: usize, slot: SlotId, created: bool) -> Self {
        keyspace.slots.open(slot);
        Self { keyspace, db, slot, created, committed: false, value: PhantomData }
    }

    /// Whether the key did not exist before.
    pub fn is_new(&self) -> bool {
        self.created
    }

    /// The value beside the engine's seeded randomness.
    pub fn with_rng(&mut self) -> (&mut T, &mut Rng) {
        let value = self.keyspace.slots.opened(self.slot);
        (T::of_mut(value).expect("the guard's type"), &mut self.keyspace.rng)
    }

    /// The value beside the settings that bound it.
    #[inline]
    pub fn with_limits(&mut self) -> (&mut T, &Limits) {
        let value = self.keyspace.slots.opened(self.slot);
        (T::of_mut(value).expect("the guard's type"), &self.keyspace.limits)
    }

    /// Makes the change known under the type's own class of events. An emptied collection's key
    /// goes.
    pub fn commit(self, event: &'static str) {
        self.commit_many(event, 1);
    }

    /// As `commit`, of a change to so many elements: `rdb_changes_since_last_save` counts each.
    pub fn commit_many(mut self, event: &'static str, count: usize) {
        self.committed = true;
        let change = Change { count, ..Change::of::<T>(event) };
        if self.is_vacant() {
            return self.vacate(change);
        }
        let keyspace = &mut *self.keyspace;
        let value = keyspace.slots.opened(self.slot);
        T::of_mut(value).expect("the guard's type").settle(&keyspace.limits);
        if let Value::Hash(hash) = value {
            if self.created {
                hash.share(&mut keyspace.values);
            }
            if hash.has_ttls() {
                keyspace.slots.hang_fields(self.slot, keyspace.now);
            }
        }
        if keyspace.aftermath.has_listeners() {
            self.announce(change);
        } else {
            keyspace.aftermath.changes += count as u64;
        }
    }

    /// As `commit`, of what watchers and the journal are to hear, and nobody else.
    pub fn commit_unannounced(self) {
        self.commit_many(UNANNOUNCED, 1);
    }

    /// Counts a change that is none to WATCH or to parked clients, and has no event: of what stands
    /// beside a stream's entries.
    pub fn commit_aside(mut self, count: usize) {
        self.committed = true;
        self.keyspace.aftermath.changes += count as u64;
    }

    #[inline(never)]
    fn announce(&mut self, change: Change) {
        let Keyspace { slots, aftermath, .. } = &mut *self.keyspace;
        let key = slots.get(self.slot).key.text();
        if self.created {
            aftermath.event(EventClasses::NEW, "new", self.db, &key);
        }
        aftermath.changed(self.db, &key, change);
    }

    /// An emptied collection's key goes.
    fn vacate(&mut self, change: Change) {
        let Keyspace { slots, aftermath, .. } = &mut *self.keyspace;
        let entry = slots.vacate(self.slot);
        slots.retire(entry.value);
        if self.created {
            aftermath.changes += change.count as u64;
            return;
        }
        let key = entry.key.text();
        aftermath.changed(self.db, &key, change);
        aftermath.event(EventClasses::GENERIC, "del", self.db, &key);
    }
}

impl<T: Typed> Deref for Edit<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        T::of(&self.keyspace.slots.get(self.slot).value).expect("the guard's type")
    }
}

impl<T: Typed> DerefMut for Edit<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        T::of_mut(self.keyspace.slots.opened(self.slot)).expect("the guard's type")
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
            self.keyspace.slots.vacate(self.slot);
        }
    }
}
