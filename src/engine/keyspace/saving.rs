//! A snapshot of all keys as they are at one moment, written as RDB bit by bit while they go on
//! changing.
//!
//! The walk goes from slot to slot, and the door (slots.rs) says when a slot is about to change
//! that the walk has not come to: it is written before. So each key stands in the snapshot once, as
//! it was at the start; a key that came later does not. A database that is emptied is handed over
//! whole. To keep track costs a bit a slot. Values at rest stay at rest, and are written as what
//! they were.
//!
//! What is written waits to be taken. Where keys change faster than the disk takes it, too much
//! would wait: then the snapshot is given up, rather than clients be held up or memory run out.
//!
//! A large value is written piece by piece (saving/large.rs), but for strings.

mod large;

use super::doomed::Doomed;
use super::slots::Db;
use super::{Keyspace, with_thawed};
use crate::config::Limits;
use crate::data::Value;
use crate::rdb::{Made, RdbWriter};
use crate::util::zstd::Zstd;
use large::LargeValues;

/// How far a walk may go in one step.
#[derive(Clone, Copy, Debug)]
pub struct SavingStep {
    pub keys_max: usize,
    pub bytes_max: usize,
}

impl SavingStep {
    /// 0.1 ms.
    pub const SHORT: Self = Self { keys_max: 256, bytes_max: 64 * 1024 };
    /// A millisecond, for who lets nobody else run anyway.
    pub const LONG: Self = Self { keys_max: 4_096, bytes_max: 1024 * 1024 };
}

/// A value of more elements than these is written piece by piece: so many take up to 0.8 ms.
pub(super) const AT_ONCE_MAX: usize = 4_096;

/// A snapshot under way.
pub struct Saving {
    /// As they lie in memory.
    dbs: Vec<SavedDb>,
    /// Where the walk is: a database and an index.
    at: (usize, u32),
    writer: RdbWriter,
    large: LargeValues,
    /// What is written while a large value is half written, and stands behind it.
    aside: RdbWriter,
    /// Values of more elements are large.
    at_once_max: usize,
    /// The database whose keys were written last.
    named: Option<usize>,
    limits: Limits,
    zstd: Option<Box<Zstd>>,
    /// More than so many bytes may not wait.
    bytes_max: usize,
    /// More did, so that this is no snapshot any more.
    pub is_over: bool,
    /// Keys that are written.
    pub keys: usize,
    /// Keys there were at the start.
    pub keys_total: usize,
}

/// What is known of a database.
struct SavedDb {
    /// Its number at the start.
    number: usize,
    keys: usize,
    expiring: usize,
    is_named: bool,
    /// Indices from here on were not taken at the start.
    end: u32,
    /// A bit an index: what lay there at the start is written, or nothing did.
    done: Box<[u64]>,
    /// The database itself, if it was emptied meanwhile.
    gone: Option<Db>,
}

impl SavedDb {
    fn new(number: usize, db: &Db) -> Self {
        let end = if db.is_empty() { 0 } else { db.entries.end() };
        Self {
            number,
            keys: db.len(),
            expiring: db.expiring(),
            is_named: false,
            end,
            done: vec![0; end.div_ceil(u64::BITS) as usize].into(),
            gone: None,
        }
    }

    /// Whether what lay at an index is still to be written; from now on it is not.
    fn finish(&mut self, index: u32) -> bool {
        if index >= self.end {
            return false;
        }
        let (word, bit) = (&mut self.done[(index / u64::BITS) as usize], 1 << (index % u64::BITS));
        let is_open = *word & bit == 0;
        *word |= bit;
        is_open
    }
}

impl Saving {
    /// Begins a file with what every file says, and with these libraries of functions.
    pub(super) fn new(
        dbs: &[Db],
        numbers: &[usize],
        (limits, bytes_max, at_once_max): (Limits, usize, usize),
        made: Made,
        aux: &[(&str, String)],
        libraries: &[Vec<u8>],
    ) -> Self {
        let mut writer = RdbWriter::new(false);
        writer.head(made);
        aux.iter().for_each(|(name, value)| writer.aux(name, value));
        libraries.iter().for_each(|source| writer.library(source));
        let number_of = |inner| numbers.iter().position(|it| *it == inner);
        let saved = dbs.iter().enumerate().map(|(inner, db)| {
            SavedDb::new(number_of(inner).expect("every database has a number"), db)
        });
        Self {
            dbs: saved.collect(),
            at: (0, 0),
            aside: writer.beside(),
            writer,
            large: LargeValues::default(),
            at_once_max,
            named: None,
            limits,
            zstd: None,
            bytes_max,
            is_over: false,
            keys: 0,
            keys_total: dbs.iter().map(Db::len).sum(),
        }
    }

    /// The door: what lies in a slot is about to change.
    pub(super) fn guard(&mut self, inner: u32, index: u32, db: &mut Db) {
        let saved = &mut self.dbs[inner as usize];
        // Of one that was emptied nothing that is there now was there at the start.
        if saved.gone.is_none() && saved.finish(index) {
            self.write(inner, db, index);
        }
    }

    /// The door: an empty slot is taken, which the walk must not come to.
    #[cold]
    #[inline(never)]
    pub(super) fn skip(&mut self, inner: u32, index: u32, value: &Value) {
        self.large.came(value, inner, index);
        let saved = &mut self.dbs[inner as usize];
        if saved.gone.is_none() {
            saved.finish(index);
        }
    }

    /// The door: a database was emptied. Gives back one that nothing is left to write of.
    pub(super) fn hand_over(&mut self, inner: u32, mut db: Db) -> Option<Db> {
        self.large.adopt_all(inner, &mut db);
        let saved = &mut self.dbs[inner as usize];
        if inner as usize >= self.at.0 && saved.end > 0 && saved.gone.is_none() {
            saved.gone = Some(db);
            return None;
        }
        Some(db)
    }

    /// The door: a value is to be freed. Gives it back unless it is still to be written.
    pub(super) fn adopt(&mut self, value: Value) -> Option<Value> {
        self.large.adopt(value)
    }

    /// Gives up if too much waits, beside so many bytes.
    fn bound(&mut self, more: usize) {
        if self.is_over || self.writer.len() + self.aside.len() + more > self.bytes_max {
            self.is_over = true;
            self.writer.take();
            self.aside.take();
        }
    }

    /// What is written next is of this database.
    fn name_db(&mut self, inner: usize) {
        let saved = &mut self.dbs[inner];
        if self.named == Some(saved.number) {
            return;
        }
        self.named = Some(saved.number);
        let writer = if self.large.is_half_written() { &mut self.aside } else { &mut self.writer };
        if std::mem::replace(&mut saved.is_named, true) {
            writer.again(saved.number);
        } else {
            writer.database(saved.number, saved.keys, saved.expiring);
        }
    }

    fn write(&mut self, inner: u32, db: &mut Db, index: u32) {
        self.bound(0);
        if self.is_over {
            return;
        }
        let expires_ms = db.expires_ms(&db.entries[index]);
        let entry = &mut db.entries[index];
        if entry.value.size() > self.at_once_max
            && self.large.add(
                (inner, index),
                &entry.key.text(),
                &mut entry.value,
                expires_ms,
                self.writer.beside(),
            )
        {
            self.keys += 1;
            return;
        }
        self.name_db(inner as usize);
        let writer = if self.large.is_half_written() { &mut self.aside } else { &mut self.writer };
        let limits = &self.limits;
        with_thawed(&entry.value, &mut self.zstd, |value| {
            // A hash of which all fields are over is none.
            if !matches!(value, Value::Hash(hash) if hash.hides_all()) {
                writer.key(&entry.key.text(), value, expires_ms, limits);
            }
        });
        self.keys += 1;
    }

    /// Walks on. True at the end.
    fn walk(&mut self, dbs: &mut [Db], step: SavingStep, freed: &mut Doomed) -> bool {
        let start = self.writer.len();
        for _ in 0..step.keys_max {
            if !self.large.is_empty() {
                self.write_piece(dbs, step.keys_max).into_iter().for_each(|it| freed.add(it));
                return false;
            }
            let (inner, index) = self.at;
            let Some(saved) = self.dbs.get_mut(inner) else { return true };
            if index >= saved.end {
                saved.gone.take().into_iter().for_each(|gone| freed.add_db(gone));
                self.at = (inner + 1, 0);
                continue;
            }
            self.at.1 += 1;
            if saved.finish(index) {
                let mut gone = saved.gone.take();
                let db = gone.as_mut().unwrap_or(&mut dbs[inner]);
                if db.entries.get(index).is_some() {
                    self.write(inner as u32, db, index);
                }
                // What is written later must not be looked for where other keys lie now.
                gone.iter_mut().for_each(|db| self.large.adopt_all(inner as u32, db));
                self.dbs[inner].gone = gone;
            }
            if self.writer.len() - start >= step.bytes_max {
                break;
            }
        }
        self.large.is_empty() && self.at.0 >= self.dbs.len()
    }
}

impl Keyspace {
    /// Whether a hash has a field with a TTL.
    pub fn has_field_ttls(&self) -> bool {
        self.slots.dbs().iter().any(|db| db.with_expiring_fields() > 0)
    }

    /// The format of a snapshot that begins now and is for everybody.
    pub fn snapshot_format(&self) -> Made {
        if self.has_field_ttls() { Made::WITH_FIELD_TTLS } else { Made::FOR_ALL }
    }

    /// Begins a snapshot in a format, of which so many bytes may wait to be taken; one that is
    /// under way is given up.
    pub fn begin_saving(
        &mut self,
        bytes_max: usize,
        made: Made,
        aux: &[(&str, String)],
        libraries: &[Vec<u8>],
    ) {
        self.give_up_saving();
        let slots = &mut self.slots;
        let saving = Saving::new(
            slots.dbs(),
            slots.numbers(),
            (self.limits.clone(), bytes_max, self.saved_at_once_max),
            made,
            aux,
            libraries,
        );
        slots.saving = Some(Box::new(saving));
    }

    /// The snapshot under way; None if there is none.
    pub fn saving(&self) -> Option<&Saving> {
        self.slots.saving.as_deref()
    }

    /// Goes on with the snapshot. True at its end, which is in what `take_saved` then gives.
    pub fn save_some(&mut self, step: SavingStep) -> bool {
        let Some(mut saving) = self.slots.saving.take() else { return true };
        let (dbs, doomed) = self.slots.dbs_and_doomed();
        let is_done = saving.walk(dbs, step, doomed);
        if is_done {
            saving.writer.end();
        }
        self.slots.saving = Some(saving);
        is_done
    }

    /// Bytes of the snapshot that wait to be taken.
    pub fn saved_len(&self) -> usize {
        self.slots.saving.as_ref().map_or(0, |saving| saving.writer.len())
    }

    /// What was written of the snapshot since this was last asked.
    pub fn take_saved(&mut self) -> Vec<u8> {
        self.slots.saving.as_mut().map_or_else(Vec::new, |saving| saving.writer.take())
    }

    /// Ends the snapshot, whole or not.
    pub fn give_up_saving(&mut self) {
        let Some(mut saving) = self.slots.saving.take() else { return };
        let (dbs, doomed) = self.slots.dbs_and_doomed();
        saving.large.give_up(dbs).into_iter().for_each(|value| doomed.add(value));
        let gone = saving.dbs.into_iter().filter_map(|saved| saved.gone);
        gone.for_each(|db| doomed.add_db(db));
    }
}
