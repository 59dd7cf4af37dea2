//! A small hash table of tags and what they stand for, seven to a line of the cache. A lookup in a
//! table that has left the cache waits for memory once, where a table that keeps its control bytes
//! apart waits twice.
//!
//! An entry lies in the bucket that its tag chooses, or, where that is full, in the next one that
//! is not. Each bucket counts the entries that had to pass it, so that a search knows where to
//! end and removal leaves nothing behind.

use super::fetch::{Fetch, fetch_start};
use super::hash::spread;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tagged {
    pub tag: u32,
    pub index: u32,
}

const BUCKET_LEN_MAX: usize = 7;

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u32; BUCKET_LEN_MAX],
    len: u32,
    indices: [u32; BUCKET_LEN_MAX],
    /// Entries that lie further on since there was no room for them here.
    passed: u32,
}

impl Bucket {
    fn entries(&self) -> impl Iterator<Item = Tagged> {
        let pairs = self.tags.iter().zip(&self.indices).take(self.len as usize);
        pairs.map(|(&tag, &index)| Tagged { tag, index })
    }

    fn position(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<usize> {
        // All at once, without a branch, as the compiler sees.
        let equal =
            (0..BUCKET_LEN_MAX).map(|at| u32::from(self.tags[at] == tag) << at).sum::<u32>();
        let mut hits = equal & ((1 << self.len) - 1);
        while hits != 0 {
            let at = hits.trailing_zeros() as usize;
            if is_it(self.indices[at]) {
                return Some(at);
            }
            hits &= hits - 1;
        }
        None
    }

    fn push(&mut self, entry: Tagged) {
        let at = self.len as usize;
        (self.tags[at], self.indices[at]) = (entry.tag, entry.index);
        self.len += 1;
    }

    /// The last entry takes the place of the one that goes.
    fn remove(&mut self, at: usize) {
        self.len -= 1;
        let last = self.len as usize;
        (self.tags[at], self.indices[at]) = (self.tags[last], self.indices[last]);
    }
}

/// No memory while empty; else a power of two of buckets up to `DOUBLED_MAX`. Beyond, a number with
/// at most three significant bits: a fifth of the room is spare at most, and growth moves an entry
/// four times per doubling.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    buckets: Vec<Bucket>,
    len: usize,
}

impl Buckets {
    pub fn with_capacity(len: usize) -> Self {
        let mut it = Self::default();
        it.resize(len);
        it
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// As many entries as these buckets hold before there will be more of them.
    pub fn capacity(&self) -> usize {
        capacity_of(self.buckets.len())
    }

    pub const BUCKET_SIZE: usize = size_of::<Bucket>();

    pub fn bucket_count(&self) -> usize {
        self.buckets.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = Tagged> {
        self.buckets.iter().flat_map(Bucket::entries)
    }

    /// The index with this tag for which `is_it` holds.
    #[inline]
    pub fn find(&self, tag: u32, is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (bucket, at) = self.locate(tag, is_it)?;
        Some(self.buckets[bucket].indices[at])
    }

    /// The entry may be there already: then it is there twice.
    #[inline]
    pub fn insert(&mut self, entry: Tagged) {
        if self.len == self.capacity() {
            self.resize(self.len + 1);
        }
        let mut bucket = self.home(entry.tag);
        while self.buckets[bucket].len as usize == BUCKET_LEN_MAX {
            self.buckets[bucket].passed += 1;
            bucket = self.next(bucket);
        }
        self.buckets[bucket].push(entry);
        self.len += 1;
    }

    /// Whether the entry was there.
    pub fn remove(&mut self, entry: Tagged) -> bool {
        let Some((bucket, at)) = self.locate(entry.tag, |index| index == entry.index) else {
            return false;
        };
        self.buckets[bucket].remove(at);
        let mut passed = self.home(entry.tag);
        while passed != bucket {
            self.buckets[passed].passed -= 1;
            passed = self.next(passed);
        }
        self.len -= 1;
        true
    }

    /// As `find`, to let the entry stand for another index.
    pub fn find_mut(&mut self, tag: u32, is_it: impl FnMut(u32) -> bool) -> Option<&mut u32> {
        let (bucket, at) = self.locate(tag, is_it)?;
        Some(&mut self.buckets[bucket].indices[at])
    }

    /// Takes out the entries for which `is_taken` holds, into a table of their own.
    pub fn extract(&mut self, is_taken: impl Fn(Tagged) -> bool) -> Self {
        let count = self.iter().filter(|&entry| is_taken(entry)).count();
        let mut taken = Self::with_capacity(count);
        let mut kept = Self::with_capacity(self.len - count);
        for entry in self.iter() {
            if is_taken(entry) { &mut taken } else { &mut kept }.insert(entry);
        }
        *self = kept;
        taken
    }

    /// Gives back memory that `len` entries, or those that are there, would not need.
    pub fn shrink_to(&mut self, len: usize) {
        let len = len.max(self.len);
        if buckets_for(len) < self.buckets.len() {
            self.resize(len);
        }
    }

    /// The entry in one of `slots` places, which may be vacant.
    pub fn slot(&self, slot: usize) -> Option<Tagged> {
        self.buckets[slot / BUCKET_LEN_MAX].entries().nth(slot % BUCKET_LEN_MAX)
    }

    pub fn slots(&self) -> usize {
        self.buckets.len() * BUCKET_LEN_MAX
    }

    /// Lays the entries out anew in the buckets that `len` of them want.
    fn resize(&mut self, len: usize) {
        let buckets = vec![Bucket::default(); buckets_for(len)];
        let before = std::mem::replace(self, Self { buckets, len: 0 });
        before.iter().for_each(|entry| self.insert(entry));
    }

    fn locate(&self, tag: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let mut bucket = self.home(tag);
        for _ in 0..self.buckets.len() {
            if let Some(at) = self.buckets[bucket].position(tag, &mut is_it) {
                return Some((bucket, at));
            }
            if self.buckets[bucket].passed == 0 {
                return None;
            }
            bucket = self.next(bucket);
        }
        None
    }

    /// Tags of one table may share their top bits; where there is no bucket this is 0.
    fn home(&self, tag: u32) -> usize {
        let spread = spread(tag.into()) >> u32::BITS;
        ((spread * self.buckets.len() as u64) >> u32::BITS) as usize
    }

    fn next(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

/// By a tag: the bucket where it is nearly always found.
impl Fetch for Buckets {
    type By = u32;

    #[inline]
    fn fetch(&self, tag: u32) {
        if !self.is_empty() {
            fetch_start(&self.buckets[self.home(tag)]);
        }
    }
}

/// Up to here room costs less than the way past full buckets.
const DOUBLED_MAX: usize = 64;

/// Thirteen fourteenths of the places: then one entry of ten lies behind its bucket. A single
/// bucket may be full.
const fn capacity_of(buckets: usize) -> usize {
    match buckets {
        0 | 1 => buckets * BUCKET_LEN_MAX,
        _ => buckets * (2 * BUCKET_LEN_MAX - 1) / 2,
    }
}

fn buckets_for(len: usize) -> usize {
    match len {
        0 => 0,
        1..=BUCKET_LEN_MAX => 1,
        _ => {
            let needed = (2 * len).div_ceil(2 * BUCKET_LEN_MAX - 1);
            match needed.next_power_of_two() {
                doubled if doubled <= DOUBLED_MAX => doubled,
                doubled => needed.next_multiple_of(doubled / 8),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn entries_that_pass_full_buckets_are_found_and_leave_nothing_behind() {
        let mut rng = Rng::from_seed(1);
        for len in [1, 7, 8, 100, 1_664] {
            let mut entries: Vec<Tagged> = (0..len)
                .map(|index| Tagged { tag: rng.below(1 + len as usize / 20) as u32, index })
                .collect();
            let mut buckets = Buckets::default();
            entries.iter().for_each(|&entry| buckets.insert(entry));
            assert!(buckets.len() == len as usize && buckets.len() <= buckets.capacity());
            assert!(len <= 7 || buckets.buckets.iter().any(|bucket| bucket.passed > 0));
            while !entries.is_empty() {
                for entry in &entries {
                    assert!(buckets.find(entry.tag, |index| index == entry.index).is_some());
                }
                for entry in entries.split_off(entries.len() / 2) {
                    assert!(buckets.remove(entry) && !buckets.remove(entry));
                }
            }
            assert!(buckets.buckets.iter().all(|bucket| bucket.len == 0 && bucket.passed == 0));
        }
    }

    #[test]
    fn extraction_parts_entries_and_room() {
        let mut buckets = Buckets::default();
        (0..1_000).for_each(|index| buckets.insert(Tagged { tag: index * 77, index }));
        let odd = buckets.extract(|entry| entry.index % 2 == 1);
        assert!(odd.iter().all(|entry| entry.index % 2 == 1) && odd.len() == 500);
        assert!(buckets.iter().all(|entry| entry.index % 2 == 0) && buckets.len() == 500);
        assert_eq!(buckets.bucket_count(), odd.bucket_count());
        buckets.shrink_to(0);
        assert_eq!(buckets.len(), 500);
        assert_eq!(Buckets::default().bucket_count(), 0);
    }
}
