//! A large collection: entries side by side, in the order they came, and a hash table over their
//! places. Removing one closes the gap at once while that moves few, then with the last entry.

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
}

impl<V> Indexed<V> {
    pub fn new() -> Self {
        Self { table: IndexTable::new(), entries: Chunked::default() }
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
        &mut self.entries[at].1
    }

    /// The key must not be there yet.
    pub fn push(&mut self, key: &[u8], value: V) {
        self.table.insert(hash(key), self.entries.len() as u32);
        self.entries.push((Str::of_bytes(key), value));
    }

    /// Whether the last entry takes the place of one that is removed. If not, all behind it move.
    pub fn fills_gaps_with_last(&self) -> bool {
        self.len() > ORDERED_LEN_MAX
    }

    pub fn remove(&mut self, at: usize) -> (Str, V) {
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
