//! When keys go: TTLs, and what becomes of a key whose time has come.
//!
//! Such a key is absent to everybody from its last millisecond on. The timer wheel of its database
//! removes it; the wheel is asked in each turn, so that this takes a millisecond at most, unless
//! many are due at once. Whoever looks for the key before that finds nothing, and the look notes
//! it: the event is told and the key counted at once, and the key itself goes when the unit ends,
//! with what follows from that for WATCH, waiters and the journal. A key that is made in its place
//! meanwhile makes it go at that moment. So a read changes nothing, and what it finds absent stays
//! absent through the unit.

use super::slots::{KeyValue, SlotId};
use super::{Change, Keyspace};
use crate::config::{self, EventClasses};
use crate::util::rng::Rng;

/// Who decides that a key's time has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authority {
    /// This server: it removes what is over.
    #[default]
    Own,
    /// Not this server, or not now: writes are paused, a file is read, or another server is
    /// followed. What is over is absent, and stays.
    Suspended,
}

/// Whether there is a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing is known of it.
    Absent,
    /// Its time has come, so that it is absent, but it has not been removed.
    Over,
    There,
}

/// Keys picked at random that are over, before none is said to be found.
const OVER_SEEN_MAX: usize = 100;

impl Keyspace {
    /// Where a key lies that exists now. One whose time has come is noted.
    #[inline(always)]
    pub(super) fn find(&mut self, db: usize, key: &[u8]) -> Option<SlotId> {
        let slot = self.slots.find(db, key)?;
        if self.slots.get(slot).has_ttl() && self.is_slot_over(slot) {
            self.note_over(db, slot);
            return None;
        }
        Some(slot)
    }

    #[inline]
    fn is_slot_over(&self, slot: SlotId) -> bool {
        self.slots.expires_ms(slot).is_some_and(|at_ms| at_ms < self.now.wall_ms)
    }

    #[cold]
    fn note_over(&mut self, db: usize, slot: SlotId) {
        if self.authority == Authority::Own {
            self.tell_over(db, slot);
        }
    }

    /// Counts a key that is over and makes that known, unless that was done when it was noted.
    fn tell_over(&mut self, db: usize, slot: SlotId) {
        if self.slots.note_over(slot) {
            self.expired_count += 1;
            let key = self.slots.get(slot).key.text();
            self.aftermath.event(EventClasses::EXPIRED, "expired", db, &key);
            self.aftermath.ended(&key);
        }
    }

    /// Removes a key whose time has come.
    fn remove_over(&mut self, db: usize, slot: SlotId) {
        self.tell_over(db, slot);
        let entry = self.slots.vacate(slot);
        self.slots.retire(entry.value);
        self.aftermath.expired(db, &entry.key.text());
    }

    /// Ends a unit: keys that somebody found to be over go, and fields. Not while a script is
    /// suspended, whose unit goes on.
    pub fn remove_noted(&mut self) {
        while let Some(slot) = self.slots.first_noted() {
            let db = self.slots.number_of(slot);
            if self.is_slot_over(slot) {
                self.remove_over(db, slot);
            } else {
                self.slots.forget_over(slot);
                let mut steps = config::TURN_EXPIRIES_MAX;
                self.remove_hidden(db, slot, &mut steps);
            }
        }
    }

    /// Makes room for a key where one of its name is over.
    #[inline]
    pub(super) fn make_way(&mut self, db: usize, key: &[u8]) {
        if self.slots.noted() > 0 || self.authority != Authority::Own {
            self.remove_if_over(db, key);
        }
    }

    #[cold]
    fn remove_if_over(&mut self, db: usize, key: &[u8]) {
        let Some(slot) = self.slots.find(db, key).filter(|&slot| self.is_slot_over(slot)) else {
            return;
        };
        self.remove_over(db, slot);
    }

    /// Removes keys and fields whose time has come, each key in a unit of its own, and the fields
    /// of each hash; returns how many. Each of them, and each timer that is hung anew on the way,
    /// takes one of `steps`.
    pub fn expire_due(&mut self, mut steps: usize) -> usize {
        let mut count = 0;
        let now_ms = self.now.wall_ms.max(0) as u64;
        if !self.expires_on_time() {
            return 0;
        }
        for timed in 0..self.slots.timed_count() {
            while let Some(slot) = self.slots.next_due(timed, now_ms, &mut steps) {
                let db = self.slots.number_of(slot);
                self.remove_over(db, slot);
                self.aftermath.journal.end_unit();
                count += 1;
            }
        }
        for timed in 0..self.slots.field_timed_count() {
            while let Some(slot) = self.slots.next_due_field(timed, now_ms, &mut steps) {
                let db = self.slots.number_of(slot);
                // The timer's step is the first field's.
                steps += 1;
                count += self.remove_hidden(db, slot, &mut steps);
                self.aftermath.journal.end_unit();
            }
        }
        count
    }

    /// Nothing is over for the commands that come: each was done already, when it was not.
    pub fn stop_time(&mut self) {
        let wall_ms = std::mem::take(&mut self.now.wall_ms);
        if wall_ms != 0 {
            self.replayed_ms = Some(wall_ms);
        }
    }

    /// Whether keys go as soon as their time has come.
    fn expires_on_time(&self) -> bool {
        self.authority == Authority::Own && self.expires_unasked && self.runs_cron
    }

    /// When the next key or field is to expire, in milliseconds of the wall clock.
    pub fn next_expiry_ms(&self) -> Option<i64> {
        let next = self.slots.next_deadline().filter(|_| self.expires_on_time());
        next.map(|tick| i64::try_from(tick).unwrap_or(i64::MAX))
    }

    /// Whether there is a key. Looking notes nothing.
    pub fn presence(&self, db: usize, key: &[u8]) -> Presence {
        match self.slots.find(db, key) {
            None => Presence::Absent,
            Some(slot) if self.is_slot_over(slot) => Presence::Over,
            Some(_) => Presence::There,
        }
    }

    /// Whether the time of a key of this database has come, so that it no longer exists.
    #[inline]
    pub fn is_over(&self, db: usize, entry: &KeyValue) -> bool {
        self.db(db).expires_ms(entry).is_some_and(|at_ms| at_ms < self.now.wall_ms)
    }

    /// The wall clock's last millisecond at which a key still exists; None if it has no TTL, or if
    /// there is no key.
    pub fn expires_ms(&mut self, db: usize, key: &[u8]) -> Option<i64> {
        let slot = self.find(db, key)?;
        self.slots.expires_ms(slot)
    }

    /// Sets the moment after which a key no longer exists, or lets it stay for ever, and makes that
    /// known. False if there is no key.
    pub fn set_expiry(
        &mut self,
        db: usize,
        key: &[u8],
        at_ms: Option<i64>,
        event: &'static str,
    ) -> bool {
        let Some(slot) = self.find(db, key) else { return false };
        self.slots.set_expiry(slot, at_ms, self.now);
        self.aftermath.changed(db, key, Change::of_key(event));
        true
    }

    /// Lets a key that has a TTL live until another moment. Nobody is told: what moves is the time.
    pub fn postpone(&mut self, db: usize, key: &[u8], at_ms: i64) {
        if let Some(slot) = self.find(db, key) {
            self.slots.set_expiry(slot, Some(at_ms), self.now);
        }
    }

    /// A key picked at random. Where very many are over, none may be found although there is one.
    pub fn random(&mut self, db: usize) -> Option<&KeyValue> {
        for _ in 0..OVER_SEEN_MAX {
            let slot = self.slots.random(db, &mut self.rng)?;
            if !self.is_slot_over(slot) {
                return Some(self.slots.get(slot));
            }
            self.note_over(db, slot);
        }
        None
    }

    /// Picks a key that has a TTL at random, with its database's number.
    pub fn sample_expiring(&self, rng: &mut Rng) -> Option<(usize, &KeyValue)> {
        let slot = self.slots.random_expiring(rng)?;
        Some((self.slots.number_of(slot), self.slots.get(slot)))
    }
}
