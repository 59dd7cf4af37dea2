//! The numbered databases: keys, values, TTLs, and what a change to them sets off.
//!
//! Reading finds a slot; what lies there is changed through a guard (`edit`) or by one of the
//! functions under "Changes", and each of them makes it known: to WATCH, to parked clients and to
//! keyspace events. A caller cannot forget it, nor come by the door (slots.rs) in another way.

mod doomed;
mod edit;
mod expiry;
mod fields;
mod key;
mod saving;
mod slots;
mod snapshot;
mod staged;
mod usage;

use super::aftermath::Aftermath;
use super::journal::DEL;
use super::time::Now;
use super::tracking::Author;
use crate::config::{EventClasses, Limits};
use crate::data::ahead::Step;
use crate::data::{Cold, Typed, Value};
use crate::proto::request::BATCH_LEN_MAX;
use crate::proto::{Error, Result};
use crate::util::fetch::Fetch;
use crate::util::hash::Seed;
use crate::util::rng::Rng;
use crate::util::shared::Recent;
use crate::util::zstd::Zstd;
use slots::{SlotId, Slots};
use std::ops::Range;

pub use edit::{Edit, UNANNOUNCED};
pub use expiry::{Authority, Presence};
pub use key::Key;
pub use saving::{Saving, SavingStep};
pub use slots::{Db, KeyValue};
pub use snapshot::Snapshot;

/// What becomes of a key's TTL when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It has none from now on.
    Endless,
    /// It stays as it is.
    Kept,
    /// The wall clock's last millisecond at which the key still exists.
    Until(i64),
}

/// How a restored value was used where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// As any new key.
    Unknown,
    /// Last so many seconds ago.
    Idle(u32),
    /// With this frequency.
    Often(u8),
}

/// What a change is called in keyspace events, and for how many it counts.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub class: EventClasses,
    pub event: &'static str,
    /// Changed elements: `rdb_changes_since_last_save` counts each.
    pub count: usize,
}

impl Change {
    /// A change of a `T`.
    pub fn of<T: Typed>(event: &'static str) -> Self {
        Self { class: T::CLASS, event, count: 1 }
    }

    /// A change of a key, whatever it holds.
    pub fn of_key(event: &'static str) -> Self {
        Self { class: EventClasses::GENERIC, event, count: 1 }
    }
}

/// All databases.
pub struct Keyspace {
    slots: Slots,
    /// Other data, which is to take their place once it is whole.
    staged: Option<Box<Slots>>,
    /// What hashes of jobs have in common.
    values: Recent,
    pub aftermath: Aftermath,
    pub limits: Limits,
    /// A snapshot writes values of more elements piece by piece.
    pub saved_at_once_max: usize,
    pub rng: Rng,
    /// Frozen while a command runs.
    pub now: Now,
    /// What the wall clock really shows, while commands are done again at a time at which nothing
    /// is over.
    pub replayed_ms: Option<i64>,
    /// Keys whose time had come, since start.
    pub expired_count: u64,
    /// Fields of hashes likewise.
    pub expired_field_count: u64,
    pub hits: u64,
    pub misses: u64,
    /// Whether reading a key counts as an access: not for clients that said NO-TOUCH.
    pub touching: bool,
    /// Whether accesses are counted: only for a policy that goes by their frequency.
    pub counting: bool,
    /// Who decides that a key's time has come.
    pub authority: Authority,
    /// Whether keys go when their time has come, although nobody looks for them.
    pub expires_unasked: bool,
    /// As `expires_unasked`, for DEBUG PAUSE-CRON.
    pub runs_cron: bool,
    /// Freezes and thaws; made when it is first needed.
    zstd: Option<Box<Zstd>>,
    /// Values frozen and thawed since start.
    pub frozen_count: u64,
    pub thawed_count: u64,
}

impl Keyspace {
    pub fn new(databases: usize, limits: Limits, mut rng: Rng, now: Now) -> Self {
        let hasher = Seed::new(rng.next_u64());
        Self {
            slots: Slots::new(databases, hasher),
            staged: None,
            values: Recent::default(),
            aftermath: Aftermath::default(),
            limits,
            saved_at_once_max: saving::AT_ONCE_MAX,
            rng,
            now,
            replayed_ms: None,
            expired_count: 0,
            expired_field_count: 0,
            hits: 0,
            misses: 0,
            touching: true,
            counting: false,
            authority: Authority::default(),
            expires_unasked: true,
            runs_cron: true,
            zstd: None,
            frozen_count: 0,
            thawed_count: 0,
        }
    }

    /// What CONFIG RESETSTAT forgets.
    pub fn reset_counts(&mut self) {
        (self.expired_count, self.expired_field_count) = (0, 0);
        (self.hits, self.misses) = (0, 0);
    }

    pub fn databases(&self) -> usize {
        self.slots.databases()
    }

    /// Bytes of memory of the tables that nothing has taken yet. Costs a look at each database.
    pub fn spare_bytes(&self) -> usize {
        self.slots.spare_bytes()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.slots.dbs().iter().map(Db::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn db(&self, db: usize) -> &Db {
        self.slots.db(db)
    }

    /// Whether anything is to be seen to once the command has ended.
    #[inline]
    pub fn has_news(&self) -> bool {
        // One branch for all: each request asks.
        self.aftermath.news() | self.slots.noted() != 0
    }

    /// Whether `free_some` has something to do.
    #[inline]
    pub fn has_doomed(&self) -> bool {
        !self.slots.doomed.is_empty()
    }

    /// Removed keys and values that are not freed yet.
    pub fn doomed_count(&self) -> usize {
        self.slots.doomed.len()
    }

    /// Frees some of what was removed: 0.1 ms.
    pub fn free_some(&mut self) {
        self.slots.doomed.free_some();
    }
}

/// Shows a value, a cold one as what it was.
fn with_thawed(value: &Value, zstd: &mut Option<Box<Zstd>>, look: impl FnOnce(&Value)) {
    match value {
        Value::Cold(cold) => look(&cold.thaw(zstd.get_or_insert_default())),
        value => look(value),
    }
}

/// Looking.
impl Keyspace {
    /// Brings what commands with these arguments, keys first, will read into the cache: step by
    /// step for all of them, so that many wait for memory at once. Changes nothing.
    pub fn fetch_ahead<'a>(&self, db: usize, requests: impl Iterator<Item = &'a [&'a [u8]]>) {
        let Db { table, entries, .. } = self.db(db);
        let mut asked = [(0, &[][..]); BATCH_LEN_MAX];
        let mut count = 0;
        let mut last = (&[][..], 0);
        for args in requests.take(BATCH_LEN_MAX) {
            let Some((&key, args)) = args.split_first() else { continue };
            if count == 0 || key != last.0 {
                last = (key, self.slots.hash(key));
                table.fetch(last.1);
            }
            asked[count] = (last.1, args);
            count += 1;
        }
        let mut found = [None; BATCH_LEN_MAX];
        for (at, (hash, _)) in asked[..count].iter().enumerate() {
            // The first with the key's tag is nearly always the key itself.
            found[at] = match at.checked_sub(1) {
                Some(before) if asked[before].0 == *hash => found[before],
                _ => table.find(*hash, |_| true),
            };
            if let Some(index) = found[at] {
                entries.fetch(index);
            }
        }
        let mut steps = [const { None }; BATCH_LEN_MAX];
        for (at, (_, args)) in asked[..count].iter().enumerate() {
            if let Some(index) = found[at] {
                let entry = &entries[index];
                entry.key.fetch(());
                steps[at] = Step::first(&entry.value, args);
            }
        }
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for step in steps[..count].iter_mut().filter(|step| step.is_some()) {
                *step = step.take().and_then(Step::take);
                is_done &= step.is_none();
            }
        }
    }

    /// As `find`, and counts as an access. The value is not a cold one then, and a hash hides what
    /// is over: whoever wants to look inside comes through here.
    #[inline]
    fn access(&mut self, db: usize, key: &[u8]) -> Option<SlotId> {
        let slot = self.find(db, key)?;
        let (value, usage) = self.slots.usage_mut(slot);
        if self.touching {
            if self.counting {
                usage.count(self.now, &mut self.rng);
            }
            usage.touch(self.now);
        }
        match value {
            Value::Cold(_) => self.thaw(slot),
            Value::Hash(hash) if hash.has_ttls() => self.show_fields(slot),
            _ => {}
        }
        Some(slot)
    }

    #[cold]
    fn thaw(&mut self, slot: SlotId) {
        let value = self.slots.reshape(slot);
        if let Value::Cold(cold) = value {
            *value = cold.thaw(self.zstd.get_or_insert_default());
            self.thawed_count += 1;
        }
    }

    /// The end of a database's indices; `inner` counts databases as they lie in memory, which
    /// SWAPDB leaves alone. None behind the last database.
    pub(super) fn end_of(&self, inner: usize) -> Option<u32> {
        self.slots.end_of(inner)
    }

    /// What lies at an index of such a database; None if nothing does.
    pub(super) fn at(&self, inner: usize, index: u32) -> Option<&KeyValue> {
        self.slots.at(inner, index).map(|(_, entry)| entry)
    }

    /// Lets the value at an index rest as what `freeze` makes of it; returns the size of that.
    pub(super) fn freeze(
        &mut self,
        inner: usize,
        index: u32,
        freeze: impl FnOnce(&Value, &mut Zstd) -> Option<Cold>,
    ) -> Option<usize> {
        let (slot, entry) = self.slots.at(inner, index)?;
        let cold = freeze(&entry.value, self.zstd.get_or_insert_default())?;
        let size = cold.heap_size();
        *self.slots.reshape(slot) = Value::Cold(cold);
        self.frozen_count += 1;
        Some(size)
    }

    /// The entry of a key; looking counts as no access, and shows a cold value as it is.
    pub fn peek(&mut self, db: usize, key: &[u8]) -> Option<&KeyValue> {
        let slot = self.find(db, key)?;
        Some(self.slots.get(slot))
    }

    /// As `peek`, for who leaves no trace at all: what is over is absent, and stays where it is.
    pub fn glance(&self, db: usize, key: &[u8]) -> Option<&KeyValue> {
        let entry = self.slots.get(self.slots.find(db, key)?);
        (!self.is_over(db, entry)).then_some(entry)
    }

    /// At which index of its database a key lies, whether or not its time has come; None if there
    /// is no such key.
    pub fn index_of(&self, db: usize, key: &[u8]) -> Option<u32> {
        self.slots.db(db).index_of(key, self.slots.hash(key))
    }

    /// Shows a key's value and whether it has a TTL; nothing if there is no key. Counts as no
    /// access, and a cold value stays one.
    pub fn look_at(&mut self, db: usize, key: &[u8], look: impl FnOnce(&Value, bool)) {
        if let Some(slot) = self.find(db, key) {
            self.show_fields(slot);
            let has_ttl = self.slots.expires_ms(slot).is_some();
            with_thawed(&self.slots.get(slot).value, &mut self.zstd, |value| look(value, has_ttl));
        }
    }

    /// As `look_at`, of all keys of a database, whether or not their time has come.
    pub fn look_at_all(&mut self, db: usize, mut look: impl FnMut(&[u8], &Value, bool)) {
        let db = self.slots.db(db);
        for entry in db.iter() {
            let has_ttl = db.expires_ms(entry).is_some();
            with_thawed(&entry.value, &mut self.zstd, |value| {
                look(&entry.key.text(), value, has_ttl);
            });
        }
    }

    /// The entry of a key that is read: counts as an access, as a hit or a miss.
    pub fn read(&mut self, db: usize, key: &[u8]) -> Option<&KeyValue> {
        let slot = self.read_slot(db, key)?;
        Some(self.slots.get(slot))
    }

    /// As `read`, beside the seeded randomness.
    pub fn read_with_rng(&mut self, db: usize, key: &[u8]) -> Option<(&KeyValue, &mut Rng)> {
        let slot = self.read_slot(db, key)?;
        Some((self.slots.get(slot), &mut self.rng))
    }

    /// As `read` for several keys, whose entries are then at hand at once.
    ///
    /// # Errors
    /// WRONGTYPE for the first that holds something unwanted; those behind it are not looked up.
    pub fn read_all(
        &mut self,
        db: usize,
        keys: &[&[u8]],
        is_wanted: fn(&Value) -> bool,
    ) -> Result<Vec<Option<&KeyValue>>> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let slot = self.read_slot(db, key);
            if slot.is_some_and(|slot| !is_wanted(&self.slots.get(slot).value)) {
                return Err(Error::WrongType);
            }
            found.push(slot);
        }
        Ok(found.into_iter().map(|slot| Some(self.slots.get(slot?))).collect())
    }

    /// As `peek`, but counts as a hit or a miss.
    pub fn inspect(&mut self, db: usize, key: &[u8]) -> Option<&KeyValue> {
        let found = self.find(db, key);
        self.count_lookup(db, key, found.is_some());
        Some(self.slots.get(found?))
    }

    fn read_slot(&mut self, db: usize, key: &[u8]) -> Option<SlotId> {
        let found = self.access(db, key);
        self.count_lookup(db, key, found.is_some());
        found
    }

    #[inline]
    fn count_lookup(&mut self, db: usize, key: &[u8], is_hit: bool) {
        if is_hit {
            self.hits += 1;
        } else {
            self.misses += 1;
            self.aftermath.event(EventClasses::KEY_MISS, "keymiss", db, key);
        }
    }
}

/// Changes. Each passes the door and makes itself known.
impl Keyspace {
    /// The value of a key, to be changed.
    ///
    /// # Errors
    /// WRONGTYPE if it is no `T`.
    pub fn edit<T: Typed>(&mut self, db: usize, key: &[u8]) -> Result<Option<Edit<'_, T>>> {
        let Some(slot) = self.access_to_change(db, key) else { return Ok(None) };
        if T::of(&self.slots.get(slot).value).is_none() {
            return Err(Error::WrongType);
        }
        Ok(Some(Edit::new(self, db, slot, false)))
    }

    /// As `edit`; a key that is absent is made, and goes again unless the guard is committed.
    ///
    /// # Errors
    /// WRONGTYPE if it is no `T`.
    pub fn edit_or_create<T: Typed>(&mut self, db: usize, key: &[u8]) -> Result<Edit<'_, T>> {
        let (slot, created) = match self.access_to_change(db, key) {
            Some(slot) if T::of(&self.slots.get(slot).value).is_none() => {
                return Err(Error::WrongType);
            }
            Some(slot) => (slot, false),
            None => (self.insert(db, key, T::empty().wrap()), true),
        };
        Ok(Edit::new(self, db, slot, created))
    }

    /// Sets a key to a value whatever it held.
    pub fn put(&mut self, db: usize, key: &[u8], value: Value, lifetime: Lifetime, change: Change) {
        match self.access(db, key) {
            Some(slot) => {
                let has_ttl = self.slots.replace(slot, value);
                if has_ttl || lifetime != Lifetime::Endless {
                    self.settle_lifetime(slot, lifetime);
                }
            }
            None => _ = self.put_new(db, key, value, lifetime),
        }
        self.aftermath.changed(db, key, change);
    }

    /// As `put`, but as if there had been no such key: nothing is left of how it was used.
    pub fn put_anew(
        &mut self,
        (db, key): (usize, &[u8]),
        value: Value,
        lifetime: Lifetime,
        change: Change,
    ) {
        self.take_away(db, key);
        self.put_new(db, key, value, lifetime);
        self.aftermath.changed(db, key, change);
    }

    /// As `put_anew`, of a value that was elsewhere before, where it was used so.
    pub fn restore(
        &mut self,
        (db, key): (usize, &[u8]),
        value: Value,
        lifetime: Lifetime,
        used: Used,
        event: &'static str,
    ) {
        self.take_away(db, key);
        let slot = self.put_new(db, key, value, lifetime);
        self.mark_used(slot, used);
        self.aftermath.changed(db, key, Change::of_key(event));
    }

    /// Puts in a key that was there before this server was: nobody is told. False if there is a key
    /// of that name.
    pub fn take_in(
        &mut self,
        (db, key): (usize, &[u8]),
        mut value: Value,
        expires_ms: Option<i64>,
        used: Used,
    ) -> bool {
        if self.slots.find(db, key).is_some() {
            return false;
        }
        if let Value::Hash(hash) = &mut value {
            hash.share(&mut self.values);
        }
        let slot = self.slots.fill(db, key, value, self.now);
        self.slots.set_expiry(slot, expires_ms, self.now);
        self.mark_used(slot, used);
        true
    }

    fn mark_used(&mut self, slot: SlotId, used: Used) {
        let usage = self.slots.usage_mut(slot).1;
        match used {
            Used::Unknown => {}
            Used::Idle(idle_s) => usage.set_idle(self.now, idle_s),
            Used::Often(frequency) => usage.set_frequency(self.now, frequency),
        }
    }

    /// Removes a key; false if there is none.
    pub fn remove(&mut self, db: usize, key: &[u8], event: &'static str) -> bool {
        let was_there = self.take_away(db, key);
        if was_there {
            self.aftermath.changed(db, key, Change::of_key(event));
        }
        was_there
    }

    /// As `remove`, for want of memory: no command tells of it, so it is a unit of its own.
    pub fn evict(&mut self, db: usize, key: &[u8]) -> bool {
        let was_there = self.take_away(db, key);
        if was_there {
            self.aftermath.author = Author::NOBODY;
            self.aftermath.journal.append(db, &[DEL, key]);
            self.aftermath.journal.end_unit();
            let class = EventClasses::EVICTED;
            self.aftermath.changed(db, key, Change { class, event: "evicted", count: 1 });
        }
        was_there
    }

    /// Gives a value that is there another name, perhaps in another database, with its TTL and what
    /// is known of accesses to it. What bore that name goes.
    pub fn rename(
        &mut self,
        (db, key): (usize, &[u8]),
        (new_db, new_key): (usize, &[u8]),
        left: &'static str,
        came: &'static str,
    ) {
        let Some(slot) = self.find(db, key) else { return };
        let expires_ms = self.slots.expires_ms(slot);
        let old = self.slots.vacate(slot);
        self.take_away(new_db, new_key);
        let slot = self.insert(new_db, new_key, old.value);
        *self.slots.usage_mut(slot).1 = old.usage;
        if expires_ms.is_some() {
            self.slots.set_expiry(slot, expires_ms, self.now);
        }
        self.aftermath.event(EventClasses::NEW, "new", new_db, new_key);
        // The value is elsewhere now, where the change is counted.
        self.aftermath.changed(db, key, Change { count: 0, ..Change::of_key(left) });
        self.aftermath.changed(new_db, new_key, Change::of_key(came));
    }

    /// Removes every key of some databases without events; returns how many there were. Costs a
    /// step for each key that is watched or waited for, and none for the others.
    pub fn flush(&mut self, dbs: Range<usize>) -> usize {
        self.aftermath.flushed();
        dbs.map(|db| self.flush_one(db)).sum()
    }

    fn flush_one(&mut self, db: usize) -> usize {
        for key in self.aftermath.watched_keys(db) {
            let before = self.presence(db, &key);
            self.aftermath.exchanged(db, &key, before, Presence::Absent);
        }
        for key in self.aftermath.waiters.keys_of(db) {
            if self.presence(db, &key) != Presence::Absent {
                self.aftermath.waiters.signal(db, &key);
            }
        }
        let count = self.slots.empty(db);
        self.aftermath.changes += count as u64;
        count
    }

    /// Exchanges two databases. Clients that wait on either see the other's keys.
    pub fn swap(&mut self, left: usize, right: usize) {
        for (db, other) in [(left, right), (right, left)] {
            for key in self.aftermath.watched_keys(db) {
                let (before, after) = (self.presence(db, &key), self.presence(other, &key));
                self.aftermath.exchanged(db, &key, before, after);
            }
            for key in self.aftermath.waiters.keys_of(db) {
                self.aftermath.waiters.signal(db, &key);
            }
        }
        self.slots.swap(left, right);
        self.aftermath.note_all_changed();
        self.aftermath.changes += 1;
    }

    /// No key of that name exists; one that is over makes room.
    fn insert(&mut self, db: usize, key: &[u8], value: Value) -> SlotId {
        self.make_way(db, key);
        self.slots.fill(db, key, value, self.now)
    }

    fn put_new(&mut self, db: usize, key: &[u8], value: Value, lifetime: Lifetime) -> SlotId {
        let slot = self.insert(db, key, value);
        self.aftermath.event(EventClasses::NEW, "new", db, key);
        if let Lifetime::Until(_) = lifetime {
            self.settle_lifetime(slot, lifetime);
        }
        slot
    }

    fn take_away(&mut self, db: usize, key: &[u8]) -> bool {
        let Some(slot) = self.find(db, key) else { return false };
        let entry = self.slots.vacate(slot);
        self.slots.retire(entry.value);
        true
    }

    fn settle_lifetime(&mut self, slot: SlotId, lifetime: Lifetime) {
        match lifetime {
            Lifetime::Kept => {}
            Lifetime::Endless => self.slots.set_expiry(slot, None, self.now),
            Lifetime::Until(at_ms) => self.slots.set_expiry(slot, Some(at_ms), self.now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::doomed::PIECES_MAX;
    use super::*;
    use crate::data::{Hash, Set, Str, Zset};

    const CHANGE: Change = Change { class: EventClasses::GENERIC, event: "changed", count: 1 };

    const LEN: usize = 10_000;

    fn hash(len: usize) -> Value {
        let mut hash = Hash::new();
        (0..len).for_each(|at| _ = hash.set(at.to_string().as_bytes(), b"value", &Limits::DEFAULT));
        hash.wrap()
    }

    fn keyspace() -> Keyspace {
        Keyspace::new(1, Limits::default(), Rng::from_seed(1), Now::default())
    }

    /// Frees all that was removed; returns in how many steps.
    fn steps(keyspace: &mut Keyspace) -> usize {
        std::iter::from_fn(|| keyspace.has_doomed().then(|| keyspace.free_some())).count()
    }

    #[test]
    fn large_values_are_freed_piece_by_piece() {
        let (mut set, mut zset) = (Set::new(), Zset::new());
        for at in 0..LEN {
            set.add(format!("member {at}").as_bytes(), &Limits::DEFAULT);
            zset.insert(format!("member {at}").as_bytes(), at as f64, &Limits::DEFAULT);
        }
        for value in [hash(LEN), set.wrap(), zset.wrap()] {
            let mut keyspace = keyspace();
            keyspace.put(0, b"large", value, Lifetime::Endless, CHANGE);
            assert!(keyspace.remove(0, b"large", "del") && keyspace.is_empty());
            assert_eq!(steps(&mut keyspace), LEN.div_ceil(PIECES_MAX));
        }
        let mut keyspace = keyspace();
        keyspace.put(0, b"small", hash(PIECES_MAX), Lifetime::Endless, CHANGE);
        assert!(keyspace.remove(0, b"small", "del") && !keyspace.remove(0, b"small", "del"));
        assert_eq!(steps(&mut keyspace), 0);
    }

    #[test]
    fn what_is_replaced_or_expires_is_freed_as_well() {
        let mut keyspace = keyspace();
        keyspace.put(0, b"replaced", hash(LEN), Lifetime::Endless, CHANGE);
        keyspace.put(0, b"replaced", Str::of_bytes(b"text").wrap(), Lifetime::Endless, CHANGE);
        keyspace.put(0, b"expires", hash(LEN), Lifetime::Endless, CHANGE);
        keyspace.set_expiry(0, b"expires", Some(10), "expire");
        keyspace.now.wall_ms = 11;
        assert_eq!(keyspace.expire_due(usize::MAX), 1);
        assert_eq!(steps(&mut keyspace), 2 * LEN.div_ceil(PIECES_MAX));
    }

    #[test]
    fn places_of_keys_that_have_all_gone_are_freed() {
        let mut keyspace = keyspace();
        let keys: Vec<String> = (0..LEN).map(|at| format!("key {at}")).collect();
        for _ in 0..2 {
            for key in &keys {
                keyspace.put(
                    0,
                    key.as_bytes(),
                    Str::of_bytes(b"text").wrap(),
                    Lifetime::Endless,
                    CHANGE,
                );
            }
            assert!(keys.iter().all(|key| keyspace.remove(0, key.as_bytes(), "del")));
            assert_eq!(keyspace.spare_bytes(), 0);
            assert_eq!(steps(&mut keyspace), LEN.div_ceil(PIECES_MAX));
        }
    }

    #[test]
    fn a_database_is_emptied_at_once_and_freed_piece_by_piece() {
        let mut keyspace = keyspace();
        for at in 0..LEN {
            let lifetime = Lifetime::Until(at as i64);
            keyspace.put(0, at.to_string().as_bytes(), hash(1), lifetime, CHANGE);
        }
        keyspace.put(0, b"large", hash(LEN), Lifetime::Endless, CHANGE);
        assert_eq!(keyspace.flush(0..1), LEN + 1);
        assert!(keyspace.is_empty() && keyspace.next_expiry_ms().is_none());
        assert_eq!((keyspace.doomed_count(), keyspace.spare_bytes()), (LEN + 1, 0));
        keyspace.put(0, b"1", hash(1), Lifetime::Until(2), CHANGE);
        let steps = steps(&mut keyspace);
        assert!((LEN / 1_024..20).contains(&steps), "{steps} steps");
        assert_eq!((keyspace.len(), keyspace.next_expiry_ms()), (1, Some(3)));
    }

    /// A key that was there, whose time has come.
    fn with_one_over() -> Keyspace {
        let mut keyspace = keyspace();
        keyspace.put(0, b"old", Str::of_bytes(b"before").wrap(), Lifetime::Until(10), CHANGE);
        keyspace.aftermath.journal.listen();
        keyspace.aftermath.classes = EventClasses::EXPIRED.with(EventClasses::KEYEVENT);
        keyspace.now.wall_ms = 11;
        keyspace
    }

    #[test]
    fn a_look_at_what_is_over_changes_nothing_before_the_unit_ends() {
        let mut keyspace = with_one_over();
        for _ in 0..2 {
            assert!(keyspace.read(0, b"old").is_none() && keyspace.random(0).is_none());
        }
        assert_eq!(keyspace.presence(0, b"old"), Presence::Over);
        // It is told once, at the first look.
        assert_eq!((keyspace.len(), keyspace.expired_count), (1, 1));
        assert_eq!(keyspace.aftermath.notices.len(), 1);
        assert!(keyspace.has_news() && !keyspace.aftermath.journal.has_unit());
        keyspace.remove_noted();
        assert_eq!((keyspace.len(), keyspace.expired_count), (0, 1));
        assert_eq!(keyspace.aftermath.journal.effects_in_unit(), 1);
        assert_eq!(keyspace.presence(0, b"old"), Presence::Absent);
    }

    #[test]
    fn what_is_over_gives_way_to_what_is_made() {
        let mut keyspace = with_one_over();
        keyspace.put(0, b"new", hash(1), Lifetime::Endless, CHANGE);
        keyspace.rename((0, b"new"), (0, b"old"), "left", "came");
        assert_eq!((keyspace.len(), keyspace.expired_count), (1, 1));
        keyspace.remove_noted();
        assert_eq!(keyspace.presence(0, b"old"), Presence::There);
        // Its going is in the journal, and before what was made.
        assert_eq!(keyspace.aftermath.journal.effects_in_unit(), 1);
    }

    #[test]
    fn what_is_over_goes_with_its_database() {
        let mut keyspace = with_one_over();
        assert!(keyspace.read(0, b"old").is_none());
        assert_eq!(keyspace.flush(0..1), 1);
        keyspace.put(0, b"new", hash(1), Lifetime::Endless, CHANGE);
        keyspace.remove_noted();
        assert_eq!(keyspace.len(), 1);
    }

    /// Redis ends with an assertion where an EXEC that pauses writes goes on to write such a key.
    #[test]
    fn what_is_over_while_nothing_may_go_is_absent_and_gives_way() {
        let mut keyspace = keyspace();
        for key in [b"put", b"new", b"old"] {
            keyspace.put(0, key, Str::of_bytes(b"before").wrap(), Lifetime::Until(10), CHANGE);
        }
        keyspace.now.wall_ms = 11;
        keyspace.authority = Authority::Suspended;
        assert_eq!((keyspace.expire_due(usize::MAX), keyspace.next_expiry_ms()), (0, None));
        assert!(keyspace.read(0, b"old").is_none());
        assert!(keyspace.random(0).is_none() && !keyspace.remove(0, b"old", "del"));
        keyspace.put(0, b"put", hash(1), Lifetime::Endless, CHANGE);
        drop(keyspace.edit_or_create::<Set>(0, b"new").unwrap());
        keyspace.remove_noted();
        assert_eq!((keyspace.len(), keyspace.expired_count), (2, 2));
        assert_eq!(keyspace.presence(0, b"old"), Presence::Over);
        keyspace.authority = Authority::Own;
        assert_eq!((keyspace.expire_due(usize::MAX), keyspace.len()), (1, 1));
        assert!(keyspace.read(0, b"put").is_some());
        assert_eq!(keyspace.presence(0, b"old"), Presence::Absent);
    }
}
