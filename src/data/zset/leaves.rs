//! The index of a sorted set: it leads from a member to the leaf that holds it.
//!
//! Four numbers that follow one another hash alike. Jobs mostly come in the order of their ids, so
//! that the four are in one leaf, and one place of the table leads to it for all of them. Where
//! they are in several leaves, each of these has its place. A place says beside its leaf which of
//! the four it is for, so that no other leaf is looked at.
//!
//! Members of which only the tags are alike, by chance, share a place in the same way; what they
//! cannot both use in it is in a place of its own.

use super::members::Key;
use crate::util::table::Table;

#[derive(Clone, Debug, Default)]
pub(super) struct Leaves(Table);

/// Leaves are far fewer than 2^28.
const LEAF_SHIFT: u32 = 4;

/// What a place leads to.
pub(super) struct Led {
    tag: u32,
    place: u32,
}

impl Led {
    pub fn leaf(&self) -> u32 {
        leaf_of(self.place)
    }

    /// Whether the place is for this key of the leaf.
    pub fn is_for(&self, key: Key) -> bool {
        key.tag() == self.tag && self.place & key.bit() != 0
    }
}

fn leaf_of(place: u32) -> u32 {
    place >> LEAF_SHIFT
}

fn place_of(key: Key, leaf: u32) -> u32 {
    leaf << LEAF_SHIFT | key.bit()
}

impl Leaves {
    /// Asks for the memory that finding this key will read.
    pub fn fetch(&self, key: Key) {
        self.0.fetch(key.hash());
    }

    /// The leaf of a key, of which only `is_there` knows whether it is the one sought.
    pub fn find(&self, key: Key, mut is_there: impl FnMut(u32) -> bool) -> Option<u32> {
        let is_led = |place: u32| place & key.bit() != 0 && is_there(leaf_of(place));
        self.0.find(key.hash(), is_led).map(leaf_of)
    }

    pub fn insert(&mut self, key: Key, leaf: u32) {
        self.0.insert(key.hash(), place_of(key, leaf));
    }

    /// As `insert`, but in a place that leads to the leaf already, if there is one.
    pub fn join(&mut self, key: Key, leaf: u32) {
        let is_beside = |place| leaf_of(place) == leaf && place & key.bit() == 0;
        match self.0.find_mut(key.hash(), is_beside) {
            Some(place) => *place |= key.bit(),
            None => self.insert(key, leaf),
        }
    }

    pub fn remove(&mut self, key: Key, leaf: u32) {
        if !self.0.remove(key.hash(), place_of(key, leaf)) {
            let is_led = |place| leaf_of(place) == leaf && place & key.bit() != 0;
            let place = self.0.find_mut(key.hash(), is_led);
            *place.expect("a member has a place") &= !key.bit();
        }
    }

    /// The key went from one leaf to another. A place of its own stays one, although there may be
    /// another one by now that leads to the same leaf.
    pub fn replace(&mut self, key: Key, from: u32, to: u32) {
        let alone = place_of(key, from);
        match self.0.find_mut(key.hash(), |place| place == alone) {
            Some(place) => *place = place_of(key, to),
            None => {
                self.remove(key, from);
                self.join(key, to);
            }
        }
    }

    /// As `Table::scan`, where each member counts.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Led)) -> u64 {
        let weight = |place: u32| (place & ((1 << LEAF_SHIFT) - 1)).count_ones() as usize;
        self.0.scan_tags(cursor, count, weight, &mut |tag, place| visit(Led { tag, place }))
    }

    /// How many places there are, no more than members.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn heap_size(&self) -> usize {
        self.0.heap_size()
    }
}
