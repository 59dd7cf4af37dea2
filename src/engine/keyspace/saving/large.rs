//! Large values of a snapshot: each is written piece by piece, one after the other, while it may
//! change or go.
//!
//! A list or a stream is copied, which shares its chunks. Over any other a walk goes that keeps
//! before-images (data/images.rs); it has a number, by which the value is known wherever it is
//! moved to. What leaves its slot to be freed comes here instead. A record of RDB stands whole, so
//! other keys that must be written meanwhile wait behind it.

use super::super::slots::Db;
use super::Saving;
use crate::data::{Str, Value};
use crate::rdb::{Pieces, RdbWriter};
use std::collections::VecDeque;

/// Large values that are to be written. The first one may be half written.
#[derive(Default)]
pub(super) struct LargeValues {
    queue: VecDeque<LargeValue>,
    /// Walks that were begun.
    walks: u32,
}

struct LargeValue {
    walk: u32,
    /// Of its database, in `Saving::dbs`.
    inner: usize,
    /// What stands before its elements; None once that is written.
    head: Option<Vec<u8>>,
    pieces: Pieces,
    place: Place,
}

enum Place {
    Slot(u32, u32),
    /// A copy, or what nobody else has any more.
    Own(Box<Value>),
}

impl LargeValue {
    /// None if the value is not where it was left.
    fn value<'v>(&'v mut self, dbs: &'v mut [Db]) -> Option<&'v mut Value> {
        self.parts(dbs).map(|(value, _)| value)
    }

    /// As `value`, with what is to be written of it.
    fn parts<'v>(&'v mut self, dbs: &'v mut [Db]) -> Option<(&'v mut Value, &'v mut Pieces)> {
        let value = match &mut self.place {
            Place::Own(value) => value,
            Place::Slot(inner, index) => {
                let entry = dbs[*inner as usize].entries.get_mut(*index)?;
                (entry.value.walk_number() == Some(self.walk)).then_some(&mut entry.value)?
            }
        };
        Some((value, &mut self.pieces))
    }
}

impl LargeValues {
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether other records must wait.
    pub fn is_half_written(&self) -> bool {
        self.queue.front().is_some_and(|first| first.head.is_none())
    }

    /// Takes a value in that lies in a slot, to be written behind a head of its own; false if it is
    /// one that is written whole.
    pub fn add(
        &mut self,
        slot: (u32, u32),
        key: &[u8],
        value: &mut Value,
        expires_ms: Option<i64>,
        mut head: RdbWriter,
    ) -> bool {
        let place = if matches!(value, Value::List(_) | Value::Stream(_)) {
            Place::Own(Box::new(value.clone()))
        } else if value.begin_walk(self.walks) {
            Place::Slot(slot.0, slot.1)
        } else {
            return false;
        };
        let pieces = head.begin_key(key, value, expires_ms);
        self.queue.push_back(LargeValue {
            walk: self.walks,
            inner: slot.0 as usize,
            head: Some(head.into_bytes()),
            pieces,
            place,
        });
        self.walks += 1;
        true
    }

    /// A value came into a slot; one that is walked over is there now.
    pub fn came(&mut self, value: &Value, inner: u32, index: u32) {
        if let Some(large) = self.find(value) {
            large.place = Place::Slot(inner, index);
        }
    }

    /// A value is to be freed: gives it back unless it is still to be written.
    pub fn adopt(&mut self, value: Value) -> Option<Value> {
        match self.find(&value) {
            Some(large) => {
                large.place = Place::Own(Box::new(value));
                None
            }
            None => Some(value),
        }
    }

    /// A database was emptied: takes out of it what is still to be written.
    pub fn adopt_all(&mut self, inner: u32, db: &mut Db) {
        for large in &mut self.queue {
            if let Place::Slot(its, index) = large.place
                && its == inner
                && let Some(entry) = db.entries.get_mut(index)
            {
                let value = std::mem::replace(&mut entry.value, Value::Str(Str::of_integer(0)));
                large.place = Place::Own(Box::new(value));
            }
        }
    }

    /// Ends all walks, and gives back the values that nobody else has.
    pub fn give_up(&mut self, dbs: &mut [Db]) -> Vec<Value> {
        let mut own = Vec::new();
        for mut large in self.queue.drain(..) {
            large.value(dbs).into_iter().for_each(Value::end_walk);
            if let Place::Own(value) = large.place {
                own.push(*value);
            }
        }
        own
    }

    /// Bytes that are kept of what has changed.
    fn noted(&mut self, dbs: &mut [Db]) -> usize {
        let noted = |large: &mut LargeValue| large.value(dbs).map_or(0, |value| value.walk_bytes());
        self.queue.iter_mut().map(noted).sum()
    }

    fn find(&mut self, value: &Value) -> Option<&mut LargeValue> {
        let number = value.walk_number()?;
        self.queue.iter_mut().find(|large| large.walk == number)
    }
}

impl Saving {
    /// Goes on with the first large value, by so many elements or a chunk of them. Gives back one
    /// that nobody else has, once it is written.
    pub(super) fn write_piece(&mut self, dbs: &mut [Db], count: usize) -> Option<Value> {
        let mut large = self.large.queue.pop_front()?;
        if let Some(head) = large.head.take() {
            self.name_db(large.inner);
            self.writer.append(&head);
            // Whatever comes aside names its database itself.
            self.named = None;
        }
        let Some((value, pieces)) = large.parts(dbs) else {
            debug_assert!(false, "a value that is walked over was replaced in its slot");
            self.is_over = true;
            return None;
        };
        if !self.writer.piece(value, pieces, count) {
            self.large.queue.push_front(large);
            let noted = self.large.noted(dbs);
            self.bound(noted);
            return None;
        }
        value.end_walk();
        if self.aside.is_empty() {
            self.named = Some(self.dbs[large.inner].number);
        }
        let aside = self.aside.take();
        self.writer.append(&aside);
        match large.place {
            Place::Slot(..) => None,
            Place::Own(value) => Some(*value),
        }
    }
}
