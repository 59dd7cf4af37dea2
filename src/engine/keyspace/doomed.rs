//! What has left the keyspace and is not freed yet. To free a value of a million elements, or a
//! database of a million keys, takes as long as all that was written to it: it goes piece by piece,
//! between requests.

use super::slots::{Db, KeyValue};
use crate::data::Value;
use crate::util::slab::{CHUNK, Slab};

/// So many pieces of values are freed at a time: 0.1 ms. A smaller value goes at once.
pub(super) const PIECES_MAX: usize = 4_096;

/// So many keys of a database are freed at a time, each with an allocation or two.
const KEYS_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct Doomed {
    /// Large values.
    values: Vec<Value>,
    /// Places of many keys that have all gone.
    places: Vec<Slab<KeyValue>>,
    /// Databases that were emptied.
    dbs: Vec<Db>,
}

impl Doomed {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.values.len() | self.places.len() | self.dbs.len() == 0
    }

    /// Keys and values that wait to be freed.
    pub fn len(&self) -> usize {
        self.values.len() + self.dbs.iter().map(Db::len).sum::<usize>()
    }

    #[inline]
    pub fn add(&mut self, value: Value) {
        if value.pieces() > PIECES_MAX {
            self.values.push(value);
        }
    }

    /// Takes all that another has.
    pub fn append(&mut self, other: &mut Self) {
        self.values.append(&mut other.values);
        self.places.append(&mut other.places);
        self.dbs.append(&mut other.dbs);
    }

    pub fn add_places(&mut self, places: Slab<KeyValue>) {
        self.places.push(places);
    }

    pub fn add_db(&mut self, db: Db) {
        if !db.is_empty() {
            self.dbs.push(db);
        }
    }

    /// Frees some of it.
    #[cold]
    pub fn free_some(&mut self) {
        if let Some(value) = self.values.last_mut() {
            value.crumble(PIECES_MAX);
            if value.pieces() == 0 {
                self.values.pop();
            }
        } else if let Some(places) = self.places.last_mut() {
            (0..PIECES_MAX / CHUNK).for_each(|_| places.drop_chunk());
            if places.end() == 0 {
                self.places.pop();
            }
        } else if let Some(db) = self.dbs.last_mut() {
            let mut is_left = true;
            let (mut keys, mut pieces) = (0, 0);
            while is_left && keys < KEYS_MAX && pieces < PIECES_MAX {
                keys += 1;
                match db.entries.pop_slot() {
                    Some(Some(entry)) if entry.value.pieces() > PIECES_MAX => {
                        self.values.push(entry.value);
                    }
                    Some(entry) => pieces += entry.map_or(0, |entry| entry.value.pieces()),
                    // Segments of the table and chunks of timers are as large as many keys.
                    None => {
                        keys += KEYS_MAX / 32;
                        let has_timers = |db: &mut Db| {
                            let mut wheels = [&mut db.wheel, &mut db.field_wheel].into_iter();
                            wheels.any(|it| it.as_mut().is_some_and(|it| it.crumble()))
                        };
                        is_left = db.table.crumble() || has_timers(db);
                    }
                }
            }
            if !is_left {
                self.dbs.pop();
            }
        }
    }
}
