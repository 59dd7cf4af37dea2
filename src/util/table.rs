//! A hash table over the indices of somebody else's entries, for millions of them. It never stops
//! to rehash as a whole, and a walk over it survives any change.
//!
//! The table keeps 32 bits of each entry's hash, its tag. The top bits of a tag lead through a
//! directory to a segment, a small hash table of its own. A full segment splits in two by the next
//! bit of the tags; two sparse neighbours merge. Either touches one segment of bounded size, and no
//! entry, since the tags say it all ("extendible hashing").
//!
//! A walk goes by ascending tags, and its cursor is the tag to go on from. Where an entry lies
//! changes with every split, its tag never.

use super::buckets::{Buckets, Tagged};
use super::fetch::Fetch;
use super::rng::Rng;

/// As many as 256 buckets hold: splitting, the longest step, takes some ten microseconds.
const SEGMENT_LEN_MAX: usize = 1_664;

/// Neighbours that are together smaller than this merge. Far below the maximum, so that a table
/// whose size swings does not split and merge each time.
const MERGED_LEN_MAX: usize = SEGMENT_LEN_MAX / 4;

/// Deeper, a segment grows beyond its maximum instead. Reached by a thousand million entries, or
/// earlier if their hashes are not random.
const DEPTH_MAX: u32 = 20;

const TAG_BITS: u32 = u32::BITS;

#[derive(Clone, Debug, Default)]
pub struct IndexTable {
    /// The number of top bits of a tag that choose a place in the directory.
    depth: u32,
    /// Of all segments.
    bucket_count: u32,
    /// Empty until the first entry comes, then 2^depth indices of segments.
    directory: Vec<u32>,
    segments: Vec<Segment>,
    /// Segments that merging left over.
    vacant: Vec<u32>,
    len: usize,
}

/// The entries whose tags share their top `depth` bits.
#[derive(Clone, Debug, Default)]
struct Segment {
    depth: u32,
    entries: Buckets,
}

impl IndexTable {
    pub const fn new() -> Self {
        Self {
            depth: 0,
            bucket_count: 0,
            directory: Vec::new(),
            segments: Vec::new(),
            vacant: Vec::new(),
            len: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Gives up the memory of some entries, a segment at a time; false once there are none. The
    /// table is good for nothing but that from then on.
    pub fn crumble(&mut self) -> bool {
        self.segments.pop().is_some()
    }

    /// The index with this hash for which `is_equal` holds; it is asked for few others.
    #[inline]
    pub fn find(&self, hash: u64, is_equal: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        self.segment(tag)?.entries.find(tag, is_equal)
    }

    /// The index must not be in the table; or else the owner lets an index stand for many entries,
    /// and it counts as often as it is inserted.
    #[inline]
    pub fn insert(&mut self, hash: u64, index: u32) {
        let entry = Tagged { tag: tag_of(hash), index };
        if self.directory.is_empty() {
            self.segments.push(Segment::default());
            self.directory.push(0);
        }
        let mut at = self.segment_index(entry.tag);
        while self.segments[at].entries.len() >= SEGMENT_LEN_MAX
            && self.segments[at].depth < DEPTH_MAX
        {
            self.split(entry.tag);
            at = self.segment_index(entry.tag);
        }
        let entries = &mut self.segments[at].entries;
        let before = entries.bucket_count();
        entries.insert(entry);
        self.bucket_count += (entries.bucket_count() - before) as u32;
        self.len += 1;
    }

    /// Whether the index was there.
    pub fn remove(&mut self, hash: u64, index: u32) -> bool {
        let tag = tag_of(hash);
        if self.directory.is_empty() {
            return false;
        }
        let at = self.segment_index(tag);
        let segment = &mut self.segments[at];
        if !segment.entries.remove(Tagged { tag, index }) {
            return false;
        }
        self.len -= 1;
        let len = segment.entries.len();
        if self.len == 0 {
            self.clear();
        } else if len <= MERGED_LEN_MAX && segment.depth > 0 {
            self.merge(tag);
        } else if len < segment.entries.capacity() / 8 {
            let before = segment.entries.bucket_count();
            segment.entries.shrink_to(2 * len);
            self.bucket_count -= (before - segment.entries.bucket_count()) as u32;
        }
        true
    }

    /// As `find`, to let the entry stand for another index.
    pub fn find_mut(&mut self, hash: u64, is_equal: impl FnMut(u32) -> bool) -> Option<&mut u32> {
        let tag = tag_of(hash);
        let &at = self.directory.get(place(tag, self.depth))?;
        self.segments[at as usize].entries.find_mut(tag, is_equal)
    }

    /// The entry moved: from now on it is found under another index.
    #[inline]
    pub fn replace(&mut self, hash: u64, old: u32, new: u32) {
        let index = self.find_mut(hash, |index| index == old);
        *index.expect("the entry that moves is in the table") = new;
    }

    /// All indices, in no order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.segments.iter().flat_map(|segment| segment.entries.iter().map(|entry| entry.index))
    }

    /// Visits about `count` indices and returns the cursor for the next ones, 0 after the last. A
    /// walk that begins at 0 visits all that are there from its begin to its end, whatever comes
    /// and goes meanwhile, each of them once. It costs a look at each entry of a segment or two.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(u32)) -> u64 {
        self.scan_tags(cursor, count, &mut |_, index| visit(index))
    }

    /// The same for those whose entries share indices, being told apart by their tags too.
    pub fn scan_tags(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(u32, u32)) -> u64 {
        let mut tag_min = cursor;
        let mut wanted = count.max(1);
        let mut page: Vec<Tagged> = Vec::new();
        while let Some(segment) = u32::try_from(tag_min).ok().and_then(|tag| self.segment(tag)) {
            page.clear();
            let is_ahead = |entry: &Tagged| u64::from(entry.tag) >= tag_min;
            page.extend(segment.entries.iter().filter(is_ahead));
            let next = cut(&mut page, wanted, |entry| entry.tag);
            page.iter().for_each(|entry| visit(entry.tag, entry.index));
            if let Some(next) = next {
                return next;
            }
            wanted -= page.len();
            let span_bits = TAG_BITS - segment.depth;
            tag_min = ((tag_min >> span_bits) + 1) << span_bits;
            if wanted == 0 && tag_min <= u64::from(u32::MAX) {
                return tag_min;
            }
        }
        0
    }

    /// One of the indices, each about equally likely: segments are by chance a little larger or
    /// smaller than their share of the hashes.
    pub fn random(&self, rng: &mut Rng) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        // Segments are split when full and shrunk when sparse, so few tries fail.
        loop {
            let at = self.directory[rng.below(self.directory.len())];
            let entries = &self.segments[at as usize].entries;
            while !entries.is_empty() {
                if let Some(entry) = entries.slot(rng.below(entries.slots())) {
                    return Some(entry.index);
                }
            }
        }
    }

    pub fn heap_size(&self) -> usize {
        let indices = self.directory.capacity() + self.vacant.capacity();
        indices * size_of::<u32>()
            + self.segments.capacity() * size_of::<Segment>()
            + self.bucket_count as usize * Buckets::BUCKET_SIZE
    }

    /// Bytes held that no entry takes.
    pub fn spare_bytes(&self) -> usize {
        self.heap_size() - self.len * size_of::<Tagged>()
    }

    #[inline]
    fn segment(&self, tag: u32) -> Option<&Segment> {
        self.directory.get(place(tag, self.depth)).map(|&at| &self.segments[at as usize])
    }

    fn segment_index(&self, tag: u32) -> usize {
        self.directory[place(tag, self.depth)] as usize
    }

    /// Splits the segment that `tag` belongs to.
    fn split(&mut self, tag: u32) {
        let low = self.segment_index(tag);
        self.segments[low].depth += 1;
        let depth = self.segments[low].depth;
        if depth > self.depth {
            self.directory = self.directory.iter().flat_map(|&at| [at, at]).collect();
            self.depth = depth;
        }

        let is_high = |entry: Tagged| place(entry.tag, depth) & 1 == 1;
        let entries = &mut self.segments[low].entries;
        self.bucket_count -= entries.bucket_count() as u32;
        let high = Segment { depth, entries: entries.extract(is_high) };
        self.bucket_count += (entries.bucket_count() + high.entries.bucket_count()) as u32;

        let at = match self.vacant.pop() {
            Some(at) => {
                self.segments[at as usize] = high;
                at
            }
            None => {
                self.segments.push(high);
                self.segments.len() as u32 - 1
            }
        };
        self.point(place(tag, depth) | 1, depth, at);
    }

    /// Merges the segment that `tag` belongs to with its neighbour while both are sparse.
    fn merge(&mut self, tag: u32) {
        let at = self.segment_index(tag);
        while let depth @ 1.. = self.segments[at].depth {
            let neighbour_place = place(tag, depth) ^ 1;
            let neighbour = self.directory[neighbour_place << (self.depth - depth)];
            let other = &self.segments[neighbour as usize];
            let len = self.segments[at].entries.len() + other.entries.len();
            if other.depth != depth || len > MERGED_LEN_MAX {
                return;
            }
            let other = std::mem::take(&mut self.segments[neighbour as usize]);
            let segment = &mut self.segments[at];
            let before = segment.entries.bucket_count() + other.entries.bucket_count();
            self.bucket_count -= before as u32;
            segment.depth -= 1;
            other.entries.iter().for_each(|entry| segment.entries.insert(entry));
            segment.entries.shrink_to(MERGED_LEN_MAX);
            self.bucket_count += segment.entries.bucket_count() as u32;
            self.vacant.push(neighbour);
            self.point(neighbour_place, depth, at as u32);
        }
    }

    /// Lets the part of the directory that begins with the `depth` bits of `place` lead to `at`.
    fn point(&mut self, place: usize, depth: u32, at: u32) {
        let rest = self.depth - depth;
        self.directory[place << rest..(place + 1) << rest].fill(at);
    }
}

/// By a hash.
impl Fetch for IndexTable {
    type By = u64;

    #[inline]
    fn fetch(&self, hash: u64) {
        let tag = tag_of(hash);
        if let Some(segment) = self.segment(tag) {
            segment.entries.fetch(tag);
        }
    }
}

/// As `IndexTable::scan` over entries that are too few for a table: a walk may begin on them as
/// they lie and go on in the table that they grew into, or the other way round. It costs a hash of
/// each.
pub fn scan_few<T>(
    cursor: u64,
    count: usize,
    entries: impl Iterator<Item = (u64, T)>,
    visit: &mut dyn FnMut(T),
) -> u64 {
    let tagged = entries.map(|(hash, entry)| (tag_of(hash), entry));
    let mut page: Vec<_> = tagged.filter(|(tag, _)| u64::from(*tag) >= cursor).collect();
    let next = cut(&mut page, count.max(1), |(tag, _)| *tag);
    page.into_iter().for_each(|(_, entry)| visit(entry));
    next.unwrap_or(0)
}

/// Leaves the `wanted` entries of the lowest tags, and returns the cursor for the others, if there
/// are any. Equal tags go together, however many: the cursor cannot tell them apart.
fn cut<T>(page: &mut Vec<T>, wanted: usize, tag: impl Fn(&T) -> u32) -> Option<u64> {
    if page.len() <= wanted {
        return None;
    }
    page.select_nth_unstable_by_key(wanted - 1, &tag);
    let tag_last = tag(&page[wanted - 1]);
    page.retain(|entry| tag(entry) <= tag_last);
    Some(u64::from(tag_last) + 1)
}

fn tag_of(hash: u64) -> u32 {
    (hash >> TAG_BITS) as u32
}

/// The top `depth` bits.
fn place(tag: u32, depth: u32) -> usize {
    (u64::from(tag) >> (TAG_BITS - depth)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Whoever owns the entries: index → hash.
    type Model = BTreeMap<u32, u64>;

    fn check_shape(table: &IndexTable, model: &Model) {
        assert_eq!(table.len(), model.len());
        let buckets = table.segments.iter().map(|segment| segment.entries.bucket_count());
        assert_eq!(table.bucket_count as usize, buckets.sum::<usize>());
        let indices: BTreeSet<u32> = table.iter().collect();
        assert!(indices.iter().eq(model.keys()));
        assert_eq!(table.directory.len(), if model.is_empty() { 0 } else { 1 << table.depth });
        for (at, &segment) in table.directory.iter().enumerate() {
            let segment = &table.segments[segment as usize];
            assert!(segment.entries.len() <= SEGMENT_LEN_MAX);
            let prefix = at >> (table.depth - segment.depth);
            assert!(segment.entries.iter().all(|it| place(it.tag, segment.depth) == prefix));
        }
    }

    #[test]
    fn random_operations_agree_with_a_map() {
        for seed in 0..4 {
            let mut rng = Rng::from_seed(seed);
            let mut table = IndexTable::new();
            let mut model = Model::new();
            // Grows to many segments, then shrinks to nothing.
            for step in 0..60_000 {
                let index = rng.below(60_000) as u32;
                let hash = Rng::from_seed(u64::from(index)).next_u64();
                let found = table.find(hash, |other| other == index);
                assert_eq!(found, model.get(&index).map(|_| index));
                if rng.below(20) == 0
                    && let Some((&old, &hash)) = model.range(index..).next()
                {
                    let new = old + 100_000 * (1 + rng.below(5) as u32);
                    if !model.contains_key(&new) {
                        table.replace(hash, old, new);
                        model.remove(&old);
                        model.insert(new, hash);
                    }
                } else if found.is_none() && step < 30_000 {
                    table.insert(hash, index);
                    model.insert(index, hash);
                } else {
                    assert_eq!(table.remove(hash, index), model.remove(&index).is_some());
                }
                if step % 5_000 == 0 {
                    check_shape(&table, &model);
                }
            }
            assert!(table.segments.len() > 8);
            while let Some((index, hash)) = model.pop_first() {
                assert!(table.remove(hash, index));
                assert!(!table.remove(hash, index));
                if model.len().is_multiple_of(500) {
                    check_shape(&table, &model);
                }
            }
            assert_eq!(table.heap_size(), 0);
        }
    }

    #[test]
    fn a_walk_sees_what_stays_once_whatever_else_happens() {
        for seed in 0..20 {
            let mut rng = Rng::from_seed(seed);
            let mut table = IndexTable::new();
            let hash_of = |index: u32| Rng::from_seed(u64::from(index)).next_u64();
            let stay = 1 + rng.below(5_000) as u32;
            (0..stay).for_each(|index| table.insert(hash_of(index), index));
            let count = 1 + rng.below(200);
            let (mut cursor, mut coming, mut seen) = (0, stay, BTreeSet::new());
            loop {
                let mut visited = 0;
                cursor = table.scan(cursor, count, &mut |index| {
                    visited += 1;
                    assert!(seen.insert(index), "{index} twice");
                });
                assert!(visited <= count + 2);
                if cursor == 0 {
                    break;
                }
                // First others come in crowds, then all of them go.
                let crowd = if seed % 2 == 0 { 3 * count as u32 } else { 0 };
                if seen.len() < stay as usize / 2 {
                    (coming..coming + crowd).for_each(|index| table.insert(hash_of(index), index));
                    coming += crowd;
                } else {
                    (stay..coming).for_each(|index| _ = table.remove(hash_of(index), index));
                }
            }
            assert!((0..stay).all(|index| seen.contains(&index)), "seed {seed}");
        }
    }

    #[test]
    fn a_walk_takes_equal_tags_together_and_survives_any_cursor() {
        let mut table = IndexTable::new();
        assert_eq!(table.scan(0, 10, &mut |_| panic!("nothing to visit")), 0);
        (0..50).for_each(|index| table.insert(7 << 32, index));
        (50..60).for_each(|index| table.insert(u64::MAX, index));
        let mut visited = 0;
        assert_eq!(table.scan(0, 10, &mut |_| visited += 1), 8);
        assert_eq!(visited, 50);
        assert_eq!(table.scan(8, 10, &mut |_| visited += 1), 0);
        assert_eq!(visited, 60);
        for cursor in [1 << 32, u64::MAX] {
            assert_eq!(table.scan(cursor, 10, &mut |_| visited += 1), 0);
        }
        assert_eq!(visited, 60);
    }

    #[test]
    fn a_walk_over_few_goes_on_in_a_table_and_back() {
        let hash_of = |index: u32| Rng::from_seed(u64::from(index / 2)).next_u64();
        let mut table = IndexTable::new();
        (0..200).for_each(|index| table.insert(hash_of(index), index));
        for count in [1, 7, 50, 199, 200, usize::MAX] {
            let (mut cursor, mut pages, mut seen) = (0, 0, BTreeSet::new());
            loop {
                let mut visited = 0;
                let mut see = |index| {
                    visited += 1;
                    assert!(seen.insert(index), "{index} twice");
                };
                pages += 1;
                cursor = match pages % 2 {
                    0 => table.scan(cursor, count, &mut see),
                    _ => {
                        let few = (0..200).map(|index| (hash_of(index), index));
                        scan_few(cursor, count, few, &mut see)
                    }
                };
                // Two of each hash go together.
                assert!(visited <= count.saturating_add(1));
                if cursor == 0 {
                    break;
                }
            }
            assert!(seen.into_iter().eq(0..200) && pages >= 200 / count.saturating_add(1));
        }
        for cursor in [1 << 32, u64::MAX] {
            assert_eq!(scan_few(cursor, 10, [(u64::MAX, ())].into_iter(), &mut |_| panic!()), 0);
        }
    }

    #[test]
    fn hashes_that_are_all_equal_only_make_it_slow() {
        let mut table = IndexTable::new();
        let count = 2 * SEGMENT_LEN_MAX as u32;
        (0..count).for_each(|index| table.insert(u64::MAX, index));
        assert_eq!(table.find(u64::MAX, |index| index == 7), Some(7));
        assert!((0..count).all(|index| table.remove(u64::MAX, index)));
    }

    #[test]
    fn picks_are_fair() {
        let mut rng = Rng::from_seed(3);
        let mut table = IndexTable::new();
        assert_eq!(table.random(&mut rng), None);
        (0..4_000).for_each(|index| table.insert(rng.next_u64(), index));
        let mut counts = [0u32; 4_000];
        (0..400_000).for_each(|_| counts[table.random(&mut rng).unwrap() as usize] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)));
    }

    #[test]
    fn small_tables_are_small_and_large_ones_dense() {
        let mut rng = Rng::from_seed(5);
        let mut table = IndexTable::new();
        assert_eq!(table.heap_size(), 0);
        (0..8).for_each(|index| table.insert(rng.next_u64(), index));
        assert!(table.heap_size() < 400);
        (8..200_000).for_each(|index| table.insert(rng.next_u64(), index));
        assert!(table.heap_size() < 200_000 * 22);
    }
}
