//! The slots of all databases, where keys lie with their values and TTLs, and the door to them.
//!
//! Whatever changes a key, a value, a TTL or a whole database passes one of the functions under
//! "The door" below, which know the slot before and after. So whoever must see what was there
//! before it goes has one place to stand. `reshape` and `usage_mut` are not among them: a value
//! that rests in another form is the same value, and a look at it is no change.
//!
//! Nothing here says a word about a change: that is the duty of `Keyspace`, whose functions are the
//! only callers.

use std::collections::BTreeSet;

use super::doomed::Doomed;
use super::key::Key;
use super::saving::Saving;
use super::usage::Usage;
use crate::data::Value;
use crate::engine::time::Now;
use crate::util::hash::Seed;
use crate::util::rng::Rng;
use crate::util::shared::Recent;
use crate::util::slab::{CHUNK, Slab};
use crate::util::table::IndexTable;
use crate::util::wheel::{TimerId, Wheel};

/// A key with its value. There may be millions, so what few have, or what varies in length, stands
/// elsewhere.
#[derive(Debug)]
pub struct KeyValue {
    pub key: Key,
    pub value: Value,
    /// Fires when the key's time has come; the wheel of its database knows when that is.
    timer: Option<TimerId>,
    pub usage: Usage,
}

const _: () = assert!(size_of::<KeyValue>() == 40);

impl KeyValue {
    #[inline]
    pub fn has_ttl(&self) -> bool {
        self.timer.is_some()
    }

    /// Bytes of memory of the key and its value.
    pub fn size(&self) -> usize {
        let timers = usize::from(self.timer.is_some()) + usize::from(self.field_timer().is_some());
        let timers = timers * Wheel::<u32>::TIMER_SIZE;
        size_of::<Self>() + self.key.heap_size() + timers + self.value.heap_size()
    }

    fn field_timer(&self) -> Option<TimerId> {
        match &self.value {
            Value::Hash(hash) => hash.timer(),
            _ => None,
        }
    }
}

/// One database.
#[derive(Default)]
pub struct Db {
    pub(super) entries: Slab<KeyValue>,
    pub(super) table: IndexTable,
    /// Holds the indices of keys that have a TTL. Made for the first of them, since it takes 5 KB.
    /// Ticks are the wall clock's milliseconds. A key exists through its last one, and its timer
    /// fires in the next.
    pub(super) wheel: Option<Box<Wheel<u32>>>,
    /// The same for hashes of which a field has a TTL: each hangs by its earliest field.
    pub(super) field_wheel: Option<Box<Wheel<u32>>>,
}

impl Db {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many keys have a TTL.
    pub fn expiring(&self) -> usize {
        self.wheel.as_ref().map_or(0, |wheel| wheel.len())
    }

    /// How many hashes have a field that has a TTL.
    pub fn with_expiring_fields(&self) -> usize {
        self.field_wheel.as_ref().map_or(0, |wheel| wheel.len())
    }

    /// The wall clock's last millisecond at which a key of this database still exists, if it has a
    /// TTL.
    #[inline]
    pub fn expires_ms(&self, entry: &KeyValue) -> Option<i64> {
        let wheel = || self.wheel.as_ref().expect("a database with timers has a wheel");
        entry.timer.map(|timer| (wheel().deadline(timer) - 1) as i64)
    }

    /// A hash that leaves its slot, or is replaced there, has no timer any more.
    #[cold]
    fn unhang_fields(&mut self, index: u32) {
        if let Some(wheel) = &mut self.field_wheel
            && let Value::Hash(hash) = &mut self.entries[index].value
            && let Some(timer) = hash.timer()
        {
            wheel.cancel(timer);
            hash.set_timer(None);
        }
    }

    /// Visits about `count` keys; the cursor returned goes on, 0 ends.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a KeyValue),
    ) -> u64 {
        self.table.scan(cursor, count, &mut |index| visit(&self.entries[index]))
    }

    pub fn iter(&self) -> impl Iterator<Item = &KeyValue> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// A key picked at random, its time come or not; None in an empty database.
    pub fn random(&self, rng: &mut Rng) -> Option<&KeyValue> {
        self.table.random(rng).map(|index| &self.entries[index])
    }

    /// What lies at an index; None if nothing does. A key keeps its index as long as it is there.
    pub fn at(&self, index: u32) -> Option<&KeyValue> {
        self.entries.get(index)
    }

    /// Where a key lies, whether or not its time has come; None if there is no such key.
    pub fn index_of(&self, key: &[u8], hash: u64) -> Option<u32> {
        self.table.find(hash, |index| self.entries[index].key.is(key))
    }

    /// All indices lie below this.
    pub fn end(&self) -> u32 {
        self.entries.end()
    }

    /// Bytes of memory of the tables, without keys and values.
    pub fn overhead(&self) -> usize {
        self.table.heap_size() + self.entries.heap_size()
    }

    /// Bytes of the tables that nothing has taken yet.
    fn spare_bytes(&self) -> usize {
        let wheels = self.wheels().map(|wheel| wheel.spare_bytes()).sum::<usize>();
        self.table.spare_bytes() + self.entries.spare_bytes() + wheels
    }

    fn wheels(&self) -> impl Iterator<Item = &Wheel<u32>> {
        [&self.wheel, &self.field_wheel].into_iter().flatten().map(|wheel| &**wheel)
    }
}

#[inline]
fn has_field_ttls(value: &Value) -> bool {
    matches!(value, Value::Hash(hash) if hash.has_ttls())
}

/// Where a key lies: its database as it lies in memory, which SWAPDB leaves alone, and its index
/// there. Good until the slot is vacated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SlotId {
    inner: u32,
    index: u32,
}

pub(super) struct Slots {
    dbs: Vec<Db>,
    /// Which of `dbs` a database number means: SWAPDB exchanges two numbers.
    numbers: Vec<usize>,
    /// Those of `dbs` that have a wheel of keys.
    timed: Vec<u32>,
    /// Those that have one of fields.
    field_timed: Vec<u32>,
    hasher: Seed,
    /// What the keys of jobs have in common.
    prefixes: Recent,
    /// Keys that somebody has looked at although their time has come, or that of fields of theirs:
    /// what is over goes when the unit ends.
    over: BTreeSet<SlotId>,
    /// What has left a slot and is not freed yet.
    pub(super) doomed: Doomed,
    /// The snapshot under way, which must see what was there before it changes.
    pub(super) saving: Option<Box<Saving>>,
}

impl Slots {
    pub fn new(databases: usize, hasher: Seed) -> Self {
        Self {
            dbs: (0..databases).map(|_| Db::default()).collect(),
            numbers: (0..databases).collect(),
            timed: Vec::new(),
            field_timed: Vec::new(),
            hasher,
            prefixes: Recent::default(),
            over: BTreeSet::new(),
            doomed: Doomed::default(),
            saving: None,
        }
    }

    pub fn databases(&self) -> usize {
        self.numbers.len()
    }

    #[inline]
    pub fn db(&self, db: usize) -> &Db {
        &self.dbs[self.numbers[db]]
    }

    /// The databases as they lie in memory.
    pub fn dbs(&self) -> &[Db] {
        &self.dbs
    }

    /// The same beside what is to be freed.
    pub fn dbs_and_doomed(&mut self) -> (&mut [Db], &mut Doomed) {
        (&mut self.dbs, &mut self.doomed)
    }

    /// Which of them a database number means.
    pub fn numbers(&self) -> &[usize] {
        &self.numbers
    }

    /// Bytes of the tables that nothing has taken yet. Costs a look at each database.
    pub fn spare_bytes(&self) -> usize {
        self.dbs.iter().map(Db::spare_bytes).sum()
    }

    /// The number of the database that a slot is in.
    pub fn number_of(&self, slot: SlotId) -> usize {
        let is_it = |&inner: &usize| inner == slot.inner as usize;
        self.numbers.iter().position(is_it).expect("every database has a number")
    }

    /// Where a key lies, whether or not its time has come.
    #[inline(always)]
    pub fn find(&self, db: usize, key: &[u8]) -> Option<SlotId> {
        let inner = self.numbers[db];
        // Through `index_of` a script of 24 calls took 255 instructions more.
        let Db { entries, table, .. } = &self.dbs[inner];
        let hash = self.hasher.hash(key);
        let index = table.find(hash, |index| entries[index].key.is(key))?;
        Some(SlotId { inner: inner as u32, index })
    }

    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key)
    }

    #[inline]
    pub fn get(&self, slot: SlotId) -> &KeyValue {
        &self.dbs[slot.inner as usize].entries[slot.index]
    }

    /// The wall clock's last millisecond at which a key still exists; None if it has no TTL.
    #[inline]
    pub fn expires_ms(&self, slot: SlotId) -> Option<i64> {
        let db = &self.dbs[slot.inner as usize];
        db.expires_ms(&db.entries[slot.index])
    }

    /// A slot of a database picked at random.
    pub fn random(&self, db: usize, rng: &mut Rng) -> Option<SlotId> {
        let inner = self.numbers[db];
        let index = self.dbs[inner].table.random(rng)?;
        Some(SlotId { inner: inner as u32, index })
    }

    /// A slot whose key has a TTL, picked at random, each about equally likely.
    pub fn random_expiring(&self, rng: &mut Rng) -> Option<SlotId> {
        let expiring = |&inner: &u32| self.dbs[inner as usize].expiring();
        let count: usize = self.timed.iter().map(expiring).sum();
        let mut left = if count > 0 { rng.below(count) } else { return None };
        for inner in &self.timed {
            match left.checked_sub(expiring(inner)) {
                Some(behind) => left = behind,
                None => {
                    let index = self.dbs[*inner as usize].wheel.as_ref()?.sample(rng)?;
                    return Some(SlotId { inner: *inner, index });
                }
            }
        }
        unreachable!("as many were counted")
    }

    /// How many databases have a wheel of keys.
    pub fn timed_count(&self) -> usize {
        self.timed.len()
    }

    /// How many have one of fields.
    pub fn field_timed_count(&self) -> usize {
        self.field_timed.len()
    }

    /// The next slot of such a database whose key's time has come by `now_ms`. Each look takes some
    /// of `steps`; with none left this is None, although `next_deadline` is not after `now_ms`.
    pub fn next_due(&mut self, timed: usize, now_ms: u64, steps: &mut usize) -> Option<SlotId> {
        let inner = self.timed[timed];
        let index = self.dbs[inner as usize].wheel.as_mut()?.next_due(now_ms, steps)?;
        Some(SlotId { inner, index })
    }

    /// As `next_due`, of a hash of which a field's time has come, in a database that has a wheel of
    /// fields.
    #[cold]
    pub fn next_due_field(
        &mut self,
        timed: usize,
        now_ms: u64,
        steps: &mut usize,
    ) -> Option<SlotId> {
        let inner = self.field_timed[timed];
        let index = self.dbs[inner as usize].field_wheel.as_mut()?.next_due(now_ms, steps)?;
        Some(SlotId { inner, index })
    }

    /// The tick at which some wheel wants to be looked at next.
    pub fn next_deadline(&self) -> Option<u64> {
        let wheels = self.timed.iter().filter_map(|&inner| self.dbs[inner as usize].wheel.as_ref());
        let next = wheels.filter_map(|wheel| wheel.next_deadline()).min();
        if self.field_timed.is_empty() {
            return next;
        }
        let dbs = self.field_timed.iter().map(|&inner| &self.dbs[inner as usize]);
        let wheels = dbs.filter_map(|db| db.field_wheel.as_ref());
        wheels.filter_map(|wheel| wheel.next_deadline()).chain(next).min()
    }

    /// Notes a key whose time has come, or that of a field; false if it is noted already.
    pub fn note_over(&mut self, slot: SlotId) -> bool {
        self.over.insert(slot)
    }

    /// Takes back a note.
    pub fn forget_over(&mut self, slot: SlotId) {
        self.over.remove(&slot);
    }

    #[inline]
    pub fn noted(&self) -> usize {
        self.over.len()
    }

    /// One of the keys that are noted.
    pub fn first_noted(&self) -> Option<SlotId> {
        self.over.first().copied()
    }

    /// As they lie in memory: the end of a database's indices, None behind the last database.
    pub fn end_of(&self, inner: usize) -> Option<u32> {
        self.dbs.get(inner).map(|db| db.entries.end())
    }

    /// What lies at an index of a database as it lies in memory, if anything.
    pub fn at(&self, inner: usize, index: u32) -> Option<(SlotId, &KeyValue)> {
        let slot = SlotId { inner: inner as u32, index };
        self.dbs[inner].entries.get(index).map(|entry| (slot, entry))
    }

    /// A value that is given another form: what it says stays the same.
    #[inline]
    pub fn reshape(&mut self, slot: SlotId) -> &mut Value {
        &mut self.entry_mut(slot).value
    }

    #[inline]
    pub fn usage_mut(&mut self, slot: SlotId) -> (&Value, &mut Usage) {
        let KeyValue { value, usage, .. } = self.entry_mut(slot);
        (value, usage)
    }

    #[inline]
    fn entry_mut(&mut self, slot: SlotId) -> &mut KeyValue {
        &mut self.dbs[slot.inner as usize].entries[slot.index]
    }
}

/// The door: all that changes what lies in slots.
impl Slots {
    /// Puts a key with its value into an empty slot. No key of that name lies in another.
    pub fn fill(&mut self, db: usize, key: &[u8], value: Value, now: Now) -> SlotId {
        let hash = self.hasher.hash(key);
        let key = Key::new(key, &mut self.prefixes);
        let inner = self.numbers[db];
        let has_field_ttls = has_field_ttls(&value);
        let Db { entries, table, .. } = &mut self.dbs[inner];
        let index = entries.insert(KeyValue { key, value, timer: None, usage: Usage::new(now) });
        table.insert(hash, index);
        let slot = SlotId { inner: inner as u32, index };
        if let Some(saving) = &mut self.saving {
            saving.skip(slot.inner, index, &entries[index].value);
        }
        if has_field_ttls {
            self.hang_fields(slot, now);
        }
        slot
    }

    /// Opens a slot: its value is about to be changed in place, by way of `opened`.
    #[inline]
    pub fn open(&mut self, slot: SlotId) -> &mut Value {
        self.guard(slot);
        self.opened(slot)
    }

    /// What lies in a slot is about to change. Without a snapshot that is one branch.
    #[inline(always)]
    fn guard(&mut self, slot: SlotId) {
        if self.saving.is_some() {
            self.save_first(slot);
        }
    }

    #[cold]
    #[inline(never)]
    fn save_first(&mut self, slot: SlotId) {
        if let Some(saving) = &mut self.saving {
            saving.guard(slot.inner, slot.index, &mut self.dbs[slot.inner as usize]);
        }
    }

    /// The value of a slot that was opened and not yet left.
    #[inline]
    pub fn opened(&mut self, slot: SlotId) -> &mut Value {
        &mut self.entry_mut(slot).value
    }

    /// Puts a value in the place of another, which is freed. The TTL stays; true if there is one.
    /// The new value is no hash of which a field has a TTL: such come by `fill`.
    pub fn replace(&mut self, slot: SlotId, value: Value) -> bool {
        self.guard(slot);
        let db = &mut self.dbs[slot.inner as usize];
        if has_field_ttls(&db.entries[slot.index].value) {
            db.unhang_fields(slot.index);
        }
        let entry = self.entry_mut(slot);
        let has_ttl = entry.has_ttl();
        let old = std::mem::replace(&mut entry.value, value);
        self.retire(old);
        has_ttl
    }

    /// Frees a value that has left its slot.
    #[inline]
    pub fn retire(&mut self, value: Value) {
        let value = match &mut self.saving {
            Some(saving) => saving.adopt(value),
            None => Some(value),
        };
        if let Some(value) = value {
            self.doomed.add(value);
        }
    }

    /// Leaves a slot whose value was changed: a hash's earliest field decides when its timer fires.
    #[cold]
    pub fn hang_fields(&mut self, slot: SlotId, now: Now) {
        let db = &mut self.dbs[slot.inner as usize];
        let Value::Hash(hash) = &mut db.entries[slot.index].value else { return };
        let tick = hash.earliest_ms().map(|at_ms| at_ms.max(0) as u64 + 1);
        let timed = &mut self.field_timed;
        let wheel = db.field_wheel.get_or_insert_with(|| {
            timed.push(slot.inner);
            Box::new(Wheel::new(now.wall_ms.max(0) as u64))
        });
        let timer = match (hash.timer(), tick) {
            (Some(timer), Some(tick)) => {
                if wheel.deadline(timer) != tick {
                    wheel.rearm(timer, tick);
                }
                Some(timer)
            }
            (Some(timer), None) => {
                wheel.cancel(timer);
                None
            }
            (None, tick) => tick.map(|tick| wheel.insert(tick, slot.index)),
        };
        hash.set_timer(timer);
    }

    /// Sets the last millisecond of the wall clock at which a key still exists; None for ever.
    pub fn set_expiry(&mut self, slot: SlotId, at_ms: Option<i64>, now: Now) {
        self.guard(slot);
        let db = &mut self.dbs[slot.inner as usize];
        let entry = &mut db.entries[slot.index];
        if let (Some(timer), Some(wheel)) = (entry.timer.take(), &mut db.wheel) {
            wheel.cancel(timer);
        }
        if let Some(at_ms) = at_ms {
            let timed = &mut self.timed;
            let wheel = db.wheel.get_or_insert_with(|| {
                timed.push(slot.inner);
                Box::new(Wheel::new(now.wall_ms.max(0) as u64))
            });
            entry.timer = Some(wheel.insert(at_ms.max(0) as u64 + 1, slot.index));
        }
    }

    /// Takes a key with its value out of its slot.
    pub fn vacate(&mut self, slot: SlotId) -> KeyValue {
        self.guard(slot);
        let db = &mut self.dbs[slot.inner as usize];
        if db.field_wheel.is_some() {
            db.unhang_fields(slot.index);
        }
        let mut entry = db.entries.remove(slot.index);
        if let (Some(timer), Some(wheel)) = (entry.timer.take(), &mut db.wheel) {
            wheel.cancel(timer);
        }
        db.table.remove(self.hasher.hash(&entry.key.text()), slot.index);
        if db.entries.is_empty() && db.entries.end() > CHUNK as u32 {
            self.doomed.add_places(std::mem::take(&mut db.entries));
        }
        if !self.over.is_empty() {
            self.over.remove(&slot);
        }
        entry
    }

    /// Vacates all slots of a database at once, whatever is in them; returns how many there were.
    /// Costs the same for any number.
    pub fn empty(&mut self, db: usize) -> usize {
        let inner = self.numbers[db];
        let emptied = std::mem::take(&mut self.dbs[inner]);
        self.timed.retain(|&timed| timed != inner as u32);
        self.field_timed.retain(|&timed| timed != inner as u32);
        self.over.retain(|slot| slot.inner != inner as u32);
        let len = emptied.len();
        let emptied = match &mut self.saving {
            Some(saving) => saving.hand_over(inner as u32, emptied),
            None => Some(emptied),
        };
        emptied.into_iter().for_each(|db| self.doomed.add_db(db));
        len
    }

    /// Exchanges the numbers of two databases.
    pub fn swap(&mut self, left: usize, right: usize) {
        self.numbers.swap(left, right);
    }
}
