//! A sorted set's members, each as 64 bits that are cheap to compare and to move about.

use std::cmp::Ordering;

use crate::data::item::{self, Item};
use crate::util::fetch::{Fetch, fetch_start};
use crate::util::hash::hash;
use crate::util::slab::{self, Slab};

/// A member: a number in all bits but the lowest, as most job ids are; or with that bit set, half
/// of its text's hash and the slot where the text is. So nearly all texts that differ are told
/// apart without a look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MemberKey(u64);

const TEXT: u64 = 1;
const SLOT_BITS: u64 = (u32::MAX as u64) & !TEXT;

impl MemberKey {
    fn slot(self) -> Option<u32> {
        (self.0 & TEXT != 0).then_some(((self.0 & SLOT_BITS) >> 1) as u32)
    }

    /// The upper half of its hash.
    pub fn tag(self) -> u32 {
        (self.hash() >> u32::BITS) as u32
    }

    /// Only the upper half is as random as a hash should be.
    #[inline]
    pub fn hash(self) -> u64 {
        match self.slot() {
            Some(_) => self.0,
            None => hash(&self.0.to_le_bytes()),
        }
    }
}

/// A member as it is looked for or put in: parsed or hashed once.
#[derive(Clone, Copy)]
pub(super) struct MemberProbe<'a> {
    pub text: &'a [u8],
    /// But for the slot.
    pub key: MemberKey,
    /// The bits of a key that are not a slot.
    told_by: u64,
}

impl<'a> MemberProbe<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let (key, told_by) = match item::as_number(text) {
            Some(number) => (number << 1, u64::MAX),
            None => (hash(text) & !SLOT_BITS | TEXT, !SLOT_BITS),
        };
        Self { text, key: MemberKey(key), told_by }
    }

    /// Whether the key is nearly certainly this member's.
    #[inline]
    pub fn resembles(&self, key: MemberKey) -> bool {
        key.0 & self.told_by == self.key.0
    }
}

/// The texts of those members that are no numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    texts: Slab<Box<[u8]>>,
    pub text_bytes: usize,
}

impl Members {
    pub fn add(&mut self, probe: MemberProbe) -> MemberKey {
        if probe.key.slot().is_none() {
            return probe.key;
        }
        self.text_bytes += probe.text.len();
        let slot = self.texts.insert(probe.text.into());
        MemberKey(probe.key.0 | u64::from(slot) << 1)
    }

    pub fn remove(&mut self, key: MemberKey) {
        if let Some(slot) = key.slot() {
            self.text_bytes -= self.texts.remove(slot).len();
        }
    }

    #[inline]
    pub fn get(&self, key: MemberKey) -> Item<'_> {
        match key.slot() {
            Some(slot) => Item::of_bytes(&self.texts[slot]),
            None => Item::of_number(key.0 >> 1),
        }
    }

    /// Asks for the slot of a member's text; false if it has none.
    pub fn fetch_slot(&self, key: MemberKey) -> bool {
        key.slot().inspect(|&slot| self.texts.fetch(slot)).is_some()
    }

    pub fn fetch_text(&self, key: MemberKey) {
        if let Some(slot) = key.slot() {
            fetch_start(&*self.texts[slot]);
        }
    }

    #[inline]
    pub fn is(&self, key: MemberKey, probe: MemberProbe) -> bool {
        probe.resembles(key) && key.slot().is_none_or(|slot| *self.texts[slot] == *probe.text)
    }

    /// As bytes: the order of members whose scores are equal.
    #[inline]
    pub fn compare(&self, key: MemberKey, text: &[u8]) -> Ordering {
        (*self.get(key)).cmp(text)
    }

    pub fn text_count(&self) -> usize {
        self.texts.len()
    }

    /// Drops some texts, about so many; there is nothing to be done with the others either.
    pub fn crumble(&mut self, count: usize) {
        (0..count.div_ceil(slab::CHUNK)).for_each(|_| self.texts.drop_chunk());
    }

    pub fn heap_size(&self) -> usize {
        self.texts.heap_size() + self.text_bytes
    }
}
