//! When fields of hashes go. `data/hash/timed.rs` tells where their TTLs lie.
//!
//! A hash hangs in the field wheel of its database, by its earliest field (`Slots::hang_fields`).
//! When that fires, what is over is removed, so many fields a turn as keys are, and the hash hangs
//! by the next one. So a field goes within the millisecond, as a key does.
//!
//! Whoever looks into a hash before that finds nothing of what is over, since `access` says what
//! time it is. The look makes a note, and at the end of the unit some of it is removed, with HDEL
//! in the journal. A command that changes the hash has all of it removed first: it must not find a
//! field again that was absent, and the journal must have it gone before the change. That takes as
//! long as there are such fields, a microsecond each; only where very many go at one moment are
//! there many.
//!
//! That a field went is a change of its key to who watches it, as in Redis.

use super::slots::SlotId;
use super::{Change, Keyspace};
use crate::config::EventClasses;
use crate::data::Value;
use crate::engine::journal::HDEL;
use crate::engine::keyspace::Authority;

impl Keyspace {
    /// Lets a hash hide what is over now, and notes it if that is anything.
    pub(super) fn show_fields(&mut self, slot: SlotId) {
        let Value::Hash(hash) = self.slots.reshape(slot) else { return };
        hash.show(self.now.wall_ms);
        if hash.hides_some() && self.authority == Authority::Own {
            self.slots.note_over(slot);
        }
    }

    /// As `access`, for who will change the value: a hash hides nothing then, and one that has
    /// nothing left is gone.
    #[inline]
    pub(super) fn access_to_change(&mut self, db: usize, key: &[u8]) -> Option<SlotId> {
        let slot = self.access(db, key)?;
        if self.slots.noted() > 0 || self.authority != Authority::Own {
            return self.without_hidden(db, slot);
        }
        Some(slot)
    }

    #[cold]
    fn without_hidden(&mut self, db: usize, slot: SlotId) -> Option<SlotId> {
        let Value::Hash(hash) = &self.slots.get(slot).value else { return Some(slot) };
        let is_left = !hash.hides_all();
        if hash.hides_some() {
            self.slots.forget_over(slot);
            let mut steps = usize::MAX;
            self.remove_hidden(db, slot, &mut steps);
        }
        is_left.then_some(slot)
    }

    /// Removes fields of a hash whose time has come, each for one of `steps`; returns how many. A
    /// hash that has no others goes with the last.
    pub(super) fn remove_hidden(&mut self, db: usize, slot: SlotId, steps: &mut usize) -> usize {
        let Self { slots, aftermath, .. } = self;
        let Value::Hash(hash) = slots.open(slot) else { return 0 };
        hash.show(self.now.wall_ms);
        let mut fields = Vec::new();
        while fields.len() < *steps
            && let Some(field) = hash.pop_hidden()
        {
            fields.push(field);
        }
        let (count, is_vacant) = (fields.len(), hash.is_empty());
        if count == 0 {
            return 0;
        }
        *steps -= count;
        self.expired_field_count += count as u64;
        let entry = slots.get(slot);
        let key = entry.key.text();
        let mut words = vec![HDEL, &key];
        words.extend(fields.iter().map(|field| &field[..]));
        aftermath.journal.append(db, &words);
        let change = Change { class: EventClasses::HASH, event: "hexpired", count: 0 };
        aftermath.changed(db, &key, change);
        if is_vacant {
            aftermath.event(EventClasses::GENERIC, "del", db, &key);
            let entry = slots.vacate(slot);
            slots.retire(entry.value);
        } else {
            slots.hang_fields(slot, self.now);
        }
        count
    }
}
