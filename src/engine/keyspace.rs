//! The numbered databases: keys, values, TTLs, and what a change to them sets off.
//!
//! Reading finds an index, `edit` hands out a guard, and `Edit::commit` is the one place where a
//! change becomes known: to WATCH, to parked clients, to the journal and to keyspace events.

mod edit;
mod key;
mod usage;

use super::ledger::Ledger;
use super::time::Now;
use crate::config::{EventClasses, Limits};
use crate::data::ahead::Step;
use crate::data::{Cold, Typed, Value};
use crate::proto::request::BATCH_LEN_MAX;
use crate::proto::{Error, Result};
use crate::util::hash::Seed;
use crate::util::rng::Rng;
use crate::util::shared::Recent;
use crate::util::slab::{CHUNK, Slab};
use crate::util::table::Table;
use crate::util::wheel::{TimerId, Wheel};
use crate::util::zstd::Zstd;

pub use edit::Edit;
pub use key::Key;
use usage::Usage;

/// A key with its value. There may be millions, so what few have, or what varies in length, stands
/// elsewhere.
#[derive(Debug)]
pub struct Entry {
    pub key: Key,
    pub value: Value,
    /// Fires when the key's time has come; the wheel knows when that is.
    timer: Option<TimerId>,
    pub usage: Usage,
}

const _: () = assert!(size_of::<Entry>() == 40);

impl Entry {
    /// Bytes of memory of the key and its value.
    pub fn size(&self) -> usize {
        let timer = self.timer.map_or(0, |_| Wheel::<KeyRef>::TIMER_SIZE);
        size_of::<Self>() + self.key.heap_size() + timer + self.value.heap_size()
    }
}

/// One numbered database.
#[derive(Default)]
pub struct Db {
    entries: Slab<Entry>,
    table: Table,
    /// How many keys have a TTL.
    pub expiring: usize,
}

impl Db {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Visits about `count` keys; the cursor returned goes on, 0 ends.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: &mut dyn FnMut(&'a Entry)) -> u64 {
        self.table.scan(cursor, count, &mut |index| visit(&self.entries[index]))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    pub fn random(&self, rng: &mut Rng) -> Option<&Entry> {
        self.table.random(rng).map(|index| &self.entries[index])
    }

    /// Bytes of memory of the tables, without keys and values.
    pub fn overhead(&self) -> usize {
        self.table.heap_size() + self.entries.heap_size()
    }

    /// Those of them that nothing has taken yet.
    fn spare_bytes(&self) -> usize {
        self.table.spare_bytes() + self.entries.spare_bytes()
    }
}

/// So many keys are picked that are over, and kept, before none is said to be found.
const KEPT_SEEN_MAX: usize = 100;

/// So many pieces of a value are freed at a time: 0.1 ms.
const PIECES_MAX: usize = 4_096;

/// Where the wheel finds a key again.
#[derive(Clone, Copy, Debug)]
struct KeyRef {
    db: u32,
    index: u32,
}

/// All databases.
pub struct Keyspace {
    dbs: Vec<Db>,
    /// Which of `dbs` a database number means: SWAPDB exchanges two numbers.
    numbers: Vec<usize>,
    /// Ticks are the wall clock's milliseconds. A key exists through its last one, and its timer
    /// fires in the next.
    wheel: Wheel<KeyRef>,
    hasher: Seed,
    /// What the keys of jobs have in common.
    prefixes: Recent,
    /// What hashes of jobs have in common.
    values: Recent,
    pub ledger: Ledger,
    pub limits: Limits,
    pub rng: Rng,
    /// Frozen while a command runs.
    pub now: Now,
    /// Keys removed because their time had come, since start.
    pub expired_count: u64,
    pub hits: u64,
    pub misses: u64,
    /// Whether reading a key counts as an access: not for clients that said NO-TOUCH.
    pub touching: bool,
    /// Whether accesses are counted: only for a policy that goes by their frequency.
    pub counting: bool,
    /// Nothing expires for now; what is over is absent all the same.
    pub keeps_keys: bool,
    /// Large values that were removed, and are freed piece by piece.
    doomed: Vec<Value>,
    /// Places of many keys that have all gone, freed likewise.
    vacated: Vec<Slab<Entry>>,
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
            dbs: (0..databases).map(|_| Db::default()).collect(),
            numbers: (0..databases).collect(),
            wheel: Wheel::new(now.wall_ms.max(0) as u64),
            hasher,
            prefixes: Recent::default(),
            values: Recent::default(),
            ledger: Ledger::default(),
            limits,
            rng,
            now,
            expired_count: 0,
            hits: 0,
            misses: 0,
            touching: true,
            counting: false,
            keeps_keys: false,
            doomed: Vec::new(),
            vacated: Vec::new(),
            zstd: None,
            frozen_count: 0,
            thawed_count: 0,
        }
    }

    /// What CONFIG RESETSTAT forgets.
    pub fn reset_counts(&mut self) {
        (self.expired_count, self.hits, self.misses) = (0, 0, 0);
    }

    pub fn databases(&self) -> usize {
        self.numbers.len()
    }

    /// Bytes of memory of the tables that nothing has taken yet. Costs a look at each database.
    pub fn spare_bytes(&self) -> usize {
        self.dbs.iter().map(Db::spare_bytes).sum::<usize>() + self.wheel.spare_bytes()
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn db(&self, db: usize) -> &Db {
        &self.dbs[self.numbers[db]]
    }

    /// The index of a key that exists now. A key whose time has come is removed on the way.
    #[inline(always)]
    fn find(&mut self, db: usize, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash(key);
        let inner = &self.dbs[self.numbers[db]];
        let index = inner.table.find(hash, |index| inner.entries[index].key.is(key))?;
        if self.is_over(&inner.entries[index]) {
            if !self.keeps_keys {
                self.expire(db, index);
            }
            return None;
        }
        Some(index)
    }

    /// A key whose time has come, but which is kept for now.
    #[cold]
    fn find_over(&self, db: usize, key: &[u8]) -> Option<u32> {
        let inner = self.db(db);
        let hash = self.hasher.hash(key);
        let index = inner.table.find(hash, |index| inner.entries[index].key.is(key))?;
        self.is_over(&inner.entries[index]).then_some(index)
    }

    /// Whether a key is absent because its time has come, although it is kept for now.
    pub fn is_kept(&self, db: usize, key: &[u8]) -> bool {
        self.keeps_keys && self.find_over(db, key).is_some()
    }

    /// Brings what commands with these arguments, keys first, will read into the cache: step by
    /// step for all of them, so that many wait for memory at once. Changes nothing.
    pub fn fetch_ahead<'a>(&self, db: usize, requests: impl Iterator<Item = &'a [&'a [u8]]>) {
        let inner = self.db(db);
        let mut asked = [(0, &[][..]); BATCH_LEN_MAX];
        let mut count = 0;
        let mut last = (&[][..], 0);
        for args in requests.take(BATCH_LEN_MAX) {
            let Some((&key, args)) = args.split_first() else { continue };
            if count == 0 || key != last.0 {
                last = (key, self.hasher.hash(key));
                inner.table.fetch(last.1);
            }
            asked[count] = (last.1, args);
            count += 1;
        }
        let mut found = [None; BATCH_LEN_MAX];
        for (at, (hash, _)) in asked[..count].iter().enumerate() {
            // The first with the key's tag is nearly always the key itself.
            found[at] = match at.checked_sub(1) {
                Some(before) if asked[before].0 == *hash => found[before],
                _ => inner.table.find(*hash, |_| true),
            };
            if let Some(index) = found[at] {
                inner.entries.fetch(index);
            }
        }
        let mut steps = [const { None }; BATCH_LEN_MAX];
        for (at, (_, args)) in asked[..count].iter().enumerate() {
            if let Some(index) = found[at] {
                let entry = &inner.entries[index];
                entry.key.fetch();
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

    /// As `find`, and counts as an access. The value is not a cold one then: whoever wants to look
    /// inside comes through here.
    fn access(&mut self, db: usize, key: &[u8]) -> Option<u32> {
        let index = self.find(db, key)?;
        let mut entry = &mut self.dbs[self.numbers[db]].entries[index];
        if matches!(entry.value, Value::Cold(_)) {
            self.thaw(db, index);
            entry = &mut self.dbs[self.numbers[db]].entries[index];
        }
        if self.touching {
            if self.counting {
                entry.usage.count(self.now, &mut self.rng);
            }
            entry.usage.touch(self.now);
        }
        Some(index)
    }

    #[cold]
    fn thaw(&mut self, db: usize, index: u32) {
        let entry = &mut self.dbs[self.numbers[db]].entries[index];
        if let Value::Cold(cold) = &entry.value {
            entry.value = cold.thaw(self.zstd.get_or_insert_default());
            self.thawed_count += 1;
        }
    }

    /// Slots of a database, full or empty; `inner` counts databases as they lie in memory, which
    /// SWAPDB leaves alone.
    pub(super) fn slots(&self, inner: usize) -> Option<u32> {
        self.dbs.get(inner).map(|db| db.entries.end())
    }

    pub(super) fn slot(&self, inner: usize, index: u32) -> Option<&Entry> {
        self.dbs[inner].entries.get(index)
    }

    /// Lets the value in a slot rest as what `freeze` makes of it; returns the size of that.
    pub(super) fn freeze(
        &mut self,
        inner: usize,
        index: u32,
        freeze: impl FnOnce(&Value, &mut Zstd) -> Option<Cold>,
    ) -> Option<usize> {
        let entry = self.dbs[inner].entries.get_mut(index)?;
        let cold = freeze(&entry.value, self.zstd.get_or_insert_default())?;
        let size = cold.heap_size();
        entry.value = Value::Cold(cold);
        self.frozen_count += 1;
        Some(size)
    }

    /// The entry of a key; looking counts as no access, and shows a cold value as it is.
    pub fn peek(&mut self, db: usize, key: &[u8]) -> Option<&Entry> {
        let index = self.find(db, key)?;
        Some(&self.dbs[self.numbers[db]].entries[index])
    }

    /// The entry of a key that is read: counts as an access, as a hit or a miss.
    pub fn read(&mut self, db: usize, key: &[u8]) -> Option<&Entry> {
        let index = self.read_index(db, key)?;
        Some(self.entry(db, index))
    }

    /// As `read`, beside the seeded randomness.
    pub fn read_with_rng(&mut self, db: usize, key: &[u8]) -> Option<(&Entry, &mut Rng)> {
        let index = self.read_index(db, key)?;
        Some((&self.dbs[self.numbers[db]].entries[index], &mut self.rng))
    }

    /// As `read` for several keys, whose entries are then at hand at once. The first that holds
    /// something unwanted is an error; those behind it are not looked up.
    pub fn read_all(
        &mut self,
        db: usize,
        keys: &[&[u8]],
        is_wanted: fn(&Value) -> bool,
    ) -> Result<Vec<Option<&Entry>>> {
        let mut indices = Vec::with_capacity(keys.len());
        for key in keys {
            let index = self.read_index(db, key);
            if index.is_some_and(|index| !is_wanted(&self.entry(db, index).value)) {
                return Err(Error::WrongType);
            }
            indices.push(index);
        }
        Ok(indices.into_iter().map(|index| Some(self.entry(db, index?))).collect())
    }

    /// As `peek`, but counts as a hit or a miss.
    pub fn inspect(&mut self, db: usize, key: &[u8]) -> Option<&Entry> {
        let found = self.find(db, key);
        self.count_lookup(db, key, found.is_some());
        Some(self.entry(db, found?))
    }

    fn read_index(&mut self, db: usize, key: &[u8]) -> Option<u32> {
        let found = self.access(db, key);
        self.count_lookup(db, key, found.is_some());
        found
    }

    fn count_lookup(&mut self, db: usize, key: &[u8], is_hit: bool) {
        if is_hit {
            self.hits += 1;
        } else {
            self.misses += 1;
            self.ledger.event(EventClasses::KEY_MISS, "keymiss", db, key);
        }
    }

    /// The value of a key, to be changed.
    pub fn edit<T: Typed>(&mut self, db: usize, key: &[u8]) -> Result<Option<Edit<'_, T>>> {
        let Some(index) = self.access(db, key) else { return Ok(None) };
        if T::of(&self.dbs[self.numbers[db]].entries[index].value).is_none() {
            return Err(Error::WrongType);
        }
        Ok(Some(Edit::new(self, db, index, false)))
    }

    /// As `edit`; a key that is absent is made, and goes again unless the guard is committed.
    pub fn edit_or_create<T: Typed>(&mut self, db: usize, key: &[u8]) -> Result<Edit<'_, T>> {
        let (index, created) = match self.access(db, key) {
            Some(index) if T::of(&self.entry(db, index).value).is_none() => {
                return Err(Error::WrongType);
            }
            Some(index) => (index, false),
            None => (self.insert(db, key, T::empty().wrap()), true),
        };
        Ok(Edit::new(self, db, index, created))
    }

    /// Sets a key to a value whatever it held. Its TTL goes unless `keep_ttl`. The caller commits
    /// by `changed`.
    pub fn put(&mut self, db: usize, key: &[u8], value: Value, keep_ttl: bool) {
        match self.access(db, key) {
            Some(index) => {
                if !keep_ttl {
                    self.disarm(db, index);
                }
                let old = std::mem::replace(&mut self.entry_mut(db, index).value, value);
                self.discard(old);
            }
            None => {
                self.insert(db, key, value);
                self.ledger.event(EventClasses::NEW, "new", db, key);
            }
        }
    }

    /// Whether the key was there, and has been removed. The caller commits by `changed`.
    pub fn remove(&mut self, db: usize, key: &[u8]) -> bool {
        let Some(index) = self.find(db, key) else { return false };
        let entry = self.detach(db, index);
        self.discard(entry.value);
        true
    }

    #[inline]
    fn discard(&mut self, value: Value) {
        if value.pieces() > PIECES_MAX {
            self.doomed.push(value);
        }
    }

    /// Whether `free_some` has something to do.
    #[inline]
    pub fn has_doomed(&self) -> bool {
        !self.doomed.is_empty() || !self.vacated.is_empty()
    }

    /// Removed values that are not freed yet.
    pub fn doomed_count(&self) -> usize {
        self.doomed.len()
    }

    /// Frees some of what was removed.
    #[cold]
    pub fn free_some(&mut self) {
        if let Some(value) = self.doomed.last_mut() {
            value.crumble(PIECES_MAX);
            if value.pieces() == 0 {
                self.doomed.pop();
            }
        } else if let Some(places) = self.vacated.last_mut() {
            (0..PIECES_MAX / CHUNK).for_each(|_| places.drop_chunk());
            if places.end() == 0 {
                self.vacated.pop();
            }
        }
    }

    /// Gives a value another name, perhaps in another database, with its TTL and what is known of
    /// accesses to it. What bore that name goes. The caller commits both by `changed`.
    pub fn rename(&mut self, (db, key): (usize, &[u8]), (new_db, new_key): (usize, &[u8])) {
        let Some(index) = self.find(db, key) else { return };
        let expires_ms = self.expires_ms_of(self.entry(db, index));
        let old = self.detach(db, index);
        self.remove(new_db, new_key);
        let index = self.insert(new_db, new_key, old.value);
        self.entry_mut(new_db, index).usage = old.usage;
        if let Some(at_ms) = expires_ms {
            self.arm(new_db, index, at_ms);
        }
        self.ledger.event(EventClasses::NEW, "new", new_db, new_key);
    }

    /// A key picked at random. One whose time has come is removed on the way; where such are kept,
    /// none is found if there are too many of them.
    pub fn random(&mut self, db: usize) -> Option<&Entry> {
        let mut kept_seen = 0;
        while kept_seen < KEPT_SEEN_MAX {
            let inner = &self.dbs[self.numbers[db]];
            let index = inner.table.random(&mut self.rng)?;
            if !self.is_over(&inner.entries[index]) {
                return Some(self.entry(db, index));
            }
            if self.keeps_keys {
                kept_seen += 1;
            } else {
                self.expire(db, index);
            }
        }
        None
    }

    /// Picks a key that has a TTL at random, with its database's number.
    pub fn sample_expiring(&self, rng: &mut Rng) -> Option<(usize, &Entry)> {
        let KeyRef { db: inner, index } = self.wheel.sample(rng)?;
        Some((self.number_of(inner), &self.dbs[inner as usize].entries[index]))
    }

    fn number_of(&self, inner: u32) -> usize {
        let number = self.numbers.iter().position(|&other| other == inner as usize);
        number.expect("every database has a number")
    }

    /// Makes a change to a key known: WATCH, parked clients, the journal, and the event.
    pub fn changed(&mut self, db: usize, key: &[u8], class: EventClasses, event: &'static str) {
        self.ledger.changed(db, key);
        self.ledger.event(class, event, db, key);
    }

    /// As `changed`, of a key whose value is elsewhere now: the change is counted there.
    pub fn left(&mut self, db: usize, key: &[u8], event: &'static str) {
        self.ledger.touched(db, key);
        self.ledger.event(EventClasses::GENERIC, event, db, key);
    }

    /// The wall clock's last millisecond at which this key still exists, if it has a TTL.
    pub fn expires_ms_of(&self, entry: &Entry) -> Option<i64> {
        entry.timer.map(|timer| (self.wheel.deadline(timer) - 1) as i64)
    }

    /// Whether the time of this key has come, so that it no longer exists.
    #[inline]
    pub fn is_over(&self, entry: &Entry) -> bool {
        self.expires_ms_of(entry).is_some_and(|at_ms| at_ms < self.now.wall_ms)
    }

    /// As `expires_ms_of`; None as well if there is no key.
    pub fn expires_ms(&mut self, db: usize, key: &[u8]) -> Option<i64> {
        let index = self.find(db, key)?;
        self.expires_ms_of(self.entry(db, index))
    }

    /// Sets or removes the moment after which a key no longer exists. False if there is no key.
    pub fn set_expiry(&mut self, db: usize, key: &[u8], at_ms: Option<i64>) -> bool {
        let Some(index) = self.find(db, key) else { return false };
        self.disarm(db, index);
        if let Some(at_ms) = at_ms {
            self.arm(db, index, at_ms);
        }
        true
    }

    /// Removes the keys whose time has come, at most `budget`; returns how many.
    pub fn expire_due(&mut self, budget: usize) -> usize {
        if self.keeps_keys {
            return 0;
        }
        let mut due = Vec::new();
        self.wheel.expire(self.now.wall_ms.max(0) as u64, budget, &mut |key| due.push(key));
        for &KeyRef { db, index } in &due {
            self.dbs[db as usize].entries[index].timer = None;
            self.dbs[db as usize].expiring -= 1;
            self.expire(self.number_of(db), index);
            self.ledger.journal.end_unit();
        }
        due.len()
    }

    /// When the next key is to expire.
    pub fn next_expiry_ms(&self) -> Option<i64> {
        let next = self.wheel.next_deadline().filter(|_| !self.keeps_keys);
        next.map(|tick| i64::try_from(tick).unwrap_or(i64::MAX))
    }

    /// Removes every key of a database without events; returns how many there were.
    pub fn flush(&mut self, db: usize) -> usize {
        let inner = &mut self.dbs[self.numbers[db]];
        for (_, entry) in inner.entries.iter() {
            if let Some(timer) = entry.timer {
                self.wheel.cancel(timer);
            }
        }
        let flushed = std::mem::take(inner);
        for (_, entry) in flushed.entries.iter() {
            self.ledger.touched(db, &entry.key.text());
        }
        self.ledger.changes += flushed.len() as u64;
        flushed.len()
    }

    /// Exchanges two databases. Clients that wait on either see the other's keys.
    pub fn swap(&mut self, left: usize, right: usize) {
        self.numbers.swap(left, right);
        self.ledger.changes += 1;
        for (db, other) in [(left, right), (right, left)] {
            for key in self.ledger.watched_keys(db) {
                let found = |db: usize| {
                    let inner = &self.dbs[self.numbers[db]];
                    let hash = self.hasher.hash(&key);
                    inner.table.find(hash, |index| inner.entries[index].key.is(&key)).is_some()
                };
                if found(db) || found(other) {
                    self.ledger.touched(db, &key);
                }
            }
            for key in self.ledger.waiters.keys_of(db) {
                self.ledger.waiters.signal(db, &key);
            }
        }
    }

    #[inline]
    fn entry(&self, db: usize, index: u32) -> &Entry {
        &self.dbs[self.numbers[db]].entries[index]
    }

    #[inline]
    fn entry_mut(&mut self, db: usize, index: u32) -> &mut Entry {
        let inner = self.numbers[db];
        &mut self.dbs[inner].entries[index]
    }

    /// No key of that name exists; one that is kept although its time has come makes room.
    fn insert(&mut self, db: usize, key: &[u8], value: Value) -> u32 {
        if self.keeps_keys
            && let Some(index) = self.find_over(db, key)
        {
            self.expire(db, index);
        }
        let hash = self.hasher.hash(key);
        let key = Key::new(key, &mut self.prefixes);
        let entry = Entry { key, value, timer: None, usage: Usage::new(self.now) };
        let inner = &mut self.dbs[self.numbers[db]];
        let index = inner.entries.insert(entry);
        inner.table.insert(hash, index);
        index
    }

    fn detach(&mut self, db: usize, index: u32) -> Entry {
        self.disarm(db, index);
        let inner = &mut self.dbs[self.numbers[db]];
        let entry = inner.entries.remove(index);
        inner.table.remove(self.hasher.hash(&entry.key.text()), index);
        if inner.entries.is_empty() && inner.entries.end() > CHUNK as u32 {
            self.vacated.push(std::mem::take(&mut inner.entries));
        }
        entry
    }

    fn expire(&mut self, db: usize, index: u32) {
        let entry = self.detach(db, index);
        self.discard(entry.value);
        self.expired_count += 1;
        self.ledger.expired(db, &entry.key.text());
    }

    fn arm(&mut self, db: usize, index: u32, at_ms: i64) {
        let inner = self.numbers[db];
        let due = at_ms.max(0) as u64 + 1;
        let timer = self.wheel.insert(due, KeyRef { db: inner as u32, index });
        self.dbs[inner].entries[index].timer = Some(timer);
        self.dbs[inner].expiring += 1;
    }

    #[inline]
    fn disarm(&mut self, db: usize, index: u32) {
        if let Some(timer) = self.entry_mut(db, index).timer.take() {
            self.disarmed(db, timer);
        }
    }

    fn disarmed(&mut self, db: usize, timer: TimerId) {
        self.wheel.cancel(timer);
        let inner = self.numbers[db];
        self.dbs[inner].expiring -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Hash, Set, Str, Zset};

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
            keyspace.put(0, b"large", value, false);
            assert!(keyspace.remove(0, b"large") && keyspace.is_empty());
            assert_eq!(steps(&mut keyspace), LEN.div_ceil(PIECES_MAX));
        }
        let mut keyspace = keyspace();
        keyspace.put(0, b"small", hash(PIECES_MAX), false);
        assert!(keyspace.remove(0, b"small") && !keyspace.remove(0, b"small"));
        assert_eq!(steps(&mut keyspace), 0);
    }

    #[test]
    fn what_is_replaced_or_expires_is_freed_as_well() {
        let mut keyspace = keyspace();
        keyspace.put(0, b"replaced", hash(LEN), false);
        keyspace.put(0, b"replaced", Str::of_bytes(b"text").wrap(), false);
        keyspace.put(0, b"expires", hash(LEN), false);
        keyspace.set_expiry(0, b"expires", Some(10));
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
                keyspace.put(0, key.as_bytes(), Str::of_bytes(b"text").wrap(), false);
            }
            assert!(keys.iter().all(|key| keyspace.remove(0, key.as_bytes())));
            assert_eq!(keyspace.spare_bytes(), 0);
            assert_eq!(steps(&mut keyspace), LEN.div_ceil(PIECES_MAX));
        }
    }

    /// Redis ends with an assertion where an EXEC that pauses writes goes on to write such a key.
    #[test]
    fn what_is_over_but_kept_is_absent_and_gives_way() {
        let mut keyspace = keyspace();
        for key in [b"put", b"new", b"old"] {
            keyspace.put(0, key, Str::of_bytes(b"before").wrap(), false);
            keyspace.set_expiry(0, key, Some(10));
        }
        keyspace.now.wall_ms = 11;
        keyspace.keeps_keys = true;
        assert_eq!((keyspace.expire_due(usize::MAX), keyspace.next_expiry_ms()), (0, None));
        assert!(keyspace.read(0, b"old").is_none() && keyspace.is_kept(0, b"old"));
        assert!(keyspace.random(0).is_none() && !keyspace.remove(0, b"old"));
        keyspace.put(0, b"put", hash(1), false);
        drop(keyspace.edit_or_create::<Set>(0, b"new").unwrap());
        assert_eq!((keyspace.len(), keyspace.expired_count), (2, 2));
        keyspace.keeps_keys = false;
        assert_eq!((keyspace.expire_due(usize::MAX), keyspace.len()), (1, 1));
        assert!(keyspace.read(0, b"put").is_some() && !keyspace.is_kept(0, b"old"));
    }
}
