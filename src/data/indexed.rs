//! A large collection: entries side by side, in the order they came, and a hash table over their
//! places. Removing one closes the gap at once while that moves few, then with the last entry.

use crate::data::images::{PieceWalk, Walked};
use crate::data::string::{Str, StrProbe};
use crate::util::chunked::Chunked;
use crate::util::fetch::{Fetch, fetch_whole};
use crate::util::hash::hash;
use crate::util::table::IndexTable;

/// Redis keeps the order of a hash of up to 512 fields, whatever is removed from it.
const ORDERED_LEN_MAX: usize = 512;

#[derive(Clone, Debug)]
pub struct Indexed<V> {
    table: IndexTable,
    entries: Chunked<(Str, V)>,
    /// Over the entries, in their order: those below a place were read.
    walk: Walked<usize, V>,
}

impl<V: Clone> Indexed<V> {
    pub fn new() -> Self {
        Self { table: IndexTable::new(), entries: Chunked::default(), walk: Walked::NONE }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Where in `entries` the key stands. None if it is absent.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let probe = StrProbe::new(key);
        let found = self.table.find(hash(key), |at| probe.matches(&self.entries[at as usize].0));
        found.map(|at| at as usize)
    }

    /// Asks for what finding this key will read, and returns its hash.
    pub fn fetch_table(&self, key: &[u8]) -> u64 {
        let hash = hash(key);
        self.table.fetch(hash);
        hash
    }

    /// Asks for the entry whose key has this hash, if there is one.
    pub fn fetch(&self, hash: u64) -> Option<&Str> {
        // The first with the key's tag is nearly always the key itself.
        let at = self.table.find(hash, |_| true)?;
        let entry = &self.entries[at as usize];
        fetch_whole(entry);
        Some(&entry.0)
    }

    pub fn entries(&self) -> &Chunked<(Str, V)> {
        &self.entries
    }

    pub fn value_mut(&mut self, at: usize) -> &mut V {
        if !self.walk.is_none() {
            self.note(at);
        }
        &mut self.entries[at].1
    }

    /// The key must not be there yet.
    pub fn push(&mut self, key: &[u8], value: V) {
        if let Some(walk) = self.walk.get_mut() {
            walk.images.note(key, || None);
        }
        self.table.insert(hash(key), self.entries.len() as u32);
        self.entries.push((Str::of_bytes(key), value));
    }

    /// Whether the last entry takes the place of one that is removed. If not, all behind it move.
    pub fn fills_gaps_with_last(&self) -> bool {
        self.len() > ORDERED_LEN_MAX
    }

    pub fn remove(&mut self, at: usize) -> (Str, V) {
        if !self.walk.is_none() {
            self.note_gap(at);
        }
        self.table.remove(self.hash_at(at), at as u32);
        if self.fills_gaps_with_last() {
            let last = self.len() - 1;
            if at < last {
                self.table.replace(self.hash_at(last), last as u32, at as u32);
            }
            self.entries.swap_remove(at)
        } else {
            for next in at + 1..self.len() {
                self.table.replace(self.hash_at(next), next as u32, next as u32 - 1);
            }
            self.entries.remove(at)
        }
    }

    /// Drops the last entries, so many at most. They are not looked up any more, nor is anything.
    pub fn crumble(&mut self, count: usize) {
        (0..count).for_each(|_| drop(self.entries.pop()));
    }

    /// Goes on with the walk, by so many entries at most. True at the end.
    pub fn walk_on(&mut self, count: usize, visit: &mut dyn FnMut(&[u8], &V)) -> bool {
        let Some(walk) = self.walk.get_mut() else { return true };
        let Some(places) = walk.next_places(self.entries.len(), count) else {
            return walk.images.read(count, visit);
        };
        for at in places {
            let (key, value) = &self.entries[at];
            let key = key.bytes();
            if !walk.images.has(&key) {
                visit(&key, value);
            }
        }
        false
    }

    pub fn begin_walk(&mut self, number: u32) {
        self.walk.begin(number, 0);
    }

    pub(super) fn walk(&self) -> &dyn PieceWalk
    where
        V: 'static,
    {
        &self.walk
    }

    pub(super) fn walk_mut(&mut self) -> &mut dyn PieceWalk
    where
        V: 'static,
    {
        &mut self.walk
    }

    /// An entry is about to change or to go, or to be where the walk has been.
    #[cold]
    #[inline(never)]
    fn note(&mut self, at: usize) {
        let Some(walk) = self.walk.get_mut() else { return };
        let (key, value) = &self.entries[at];
        walk.note(at, &key.bytes(), || value.clone());
    }

    /// An entry is about to be removed, and others will move.
    #[cold]
    #[inline(never)]
    fn note_gap(&mut self, at: usize) {
        self.note(at);
        let last = self.fills_gaps_with_last().then(|| self.len() - 1);
        let moved = self.walk.get_mut().and_then(|walk| walk.note_gap(at, last));
        moved.into_iter().for_each(|at| self.note(at));
    }

    /// As `IndexTable::scan`.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(&'a (Str, V)),
    ) -> u64 {
        self.table.scan(cursor, count, &mut |at| visit(&self.entries[at as usize]))
    }

    /// Without what the entries point to.
    pub fn heap_size(&self) -> usize {
        self.table.heap_size() + self.entries.heap_size()
    }

    fn hash_at(&self, at: usize) -> u64 {
        hash(&self.entries[at].0.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn a_walk_finds_what_was_there_when_it_began() {
        for seed in 0..300 {
            let mut rng = Rng::from_seed(seed);
            // Gaps are closed in two ways.
            let len = 400 + rng.below(300);
            let mut all = Indexed::new();
            for number in 0..len {
                all.push(format!("f{number}").as_bytes(), number);
            }
            let before: BTreeMap<_, _> =
                (0..len).map(|number| (format!("f{number}").into_bytes(), number)).collect();
            all.begin_walk(7);
            assert_eq!((all.walk().number(), all.clone().walk().number()), (Some(7), None));
            let (mut found, mut is_done) = (BTreeMap::new(), false);
            let changes = rng.below(60);
            while !is_done {
                is_done = all.walk_on(1 + rng.below(50), &mut |field, value| {
                    assert_eq!(found.insert(field.to_vec(), *value), None, "seed {seed}");
                });
                for _ in 0..rng.below(changes + 1) {
                    let field = format!("f{}", rng.below(len + 100)).into_bytes();
                    match (all.find(&field), rng.below(3)) {
                        (Some(at), 0) => *all.value_mut(at) += 10_000,
                        (Some(at), _) => _ = all.remove(at),
                        (None, _) => all.push(&field, 20_000),
                    }
                }
            }
            assert_eq!(found, before, "seed {seed}");
        }
    }
}
