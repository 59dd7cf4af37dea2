//! A stream's entries: a deque of chunks, appended to at the back and trimmed at the front.
//!
//! Chunks are in the order of ids, so an id is found by two binary searches: among the chunks, and
//! among a chunk's entries.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::config::Limits;

use super::StreamId;
use super::chunk::{StreamChunk, StreamEntry};
use super::shapes::{Names, Shapes};

/// A stream's entries, and what is known of those that were there.
#[derive(Clone, Debug, Default)]
pub struct StreamLog {
    /// A copy of the stream shares them until either of both changes one.
    pub(super) chunks: VecDeque<Rc<StreamChunk>>,
    pub(super) shapes: Shapes,
    pub(super) len: usize,
    pub(super) last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
}

/// What a trimmed stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest entries, so many.
    Newest(usize),
    /// The entries from this id on.
    Since(StreamId),
}

impl StreamLog {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The greatest id that was ever given, or what `set_last_id` made of it.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The least id that is there.
    pub fn first_id(&self) -> Option<StreamId> {
        self.chunks.front().map(|chunk| chunk.id(0))
    }

    /// The greatest id that was deleted by name, not by trimming.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    /// The nodes that Redis's radix tree would have.
    pub fn node_count(&self) -> usize {
        self.chunks.len()
    }

    /// Appends an entry. Its id is greater than `last_id`; `fields` are names and values in turn.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]], limits: &Limits) {
        let names = Names::of(fields);
        let shape = self.shapes.find_or_add(&names);
        if self.chunks.back().is_none_or(|chunk| chunk.is_full(fields, limits)) {
            let last = self.chunks.back_mut().map(Rc::make_mut);
            let capacity = last.map_or(0, |chunk| {
                chunk.seal();
                chunk.used()
            });
            self.chunks.push_back(Rc::new(StreamChunk::new(id, &names, capacity)));
        }
        let last = self.chunks.back_mut().expect("a chunk was added if there was none");
        Rc::make_mut(last).append(id, fields, &names, shape);
        self.len += 1;
        self.last_id = id;
        self.entries_added += 1;
    }

    /// Removes an entry by its id. Whether it was there.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let was_there = self.take_out(id);
        if was_there {
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        was_there
    }

    /// As `delete`, of an entry that is trimmed away: no gap is left to be known of.
    pub fn take_out(&mut self, id: StreamId) -> bool {
        let (chunk, at) = self.locate(id);
        if self.chunks.get(chunk).is_none_or(|chunk| chunk.id(at) != id) {
            return false;
        }
        Rc::make_mut(&mut self.chunks[chunk]).delete(at);
        if self.chunks[chunk].len() == 0 {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        true
    }

    /// Removes the oldest entries and returns how many. An approximate trim removes whole nodes
    /// only, and stops before it has removed more than `limit`, if that is not 0.
    pub fn trim(&mut self, keep: Keep, approximate: bool, limit: usize) -> usize {
        let mut removed = 0;
        while let Some(chunk) = self.chunks.front() {
            let count = chunk.len();
            let (excess, is_whole) = match keep {
                Keep::Newest(len) => {
                    let excess = self.len.saturating_sub(len);
                    (excess, excess >= count)
                }
                Keep::Since(id) => (chunk.position(id), chunk.last() < id),
            };
            if excess == 0 || limit > 0 && removed + count > limit || approximate && !is_whole {
                break;
            }
            if is_whole || excess == count {
                self.chunks.pop_front();
            } else {
                Rc::make_mut(&mut self.chunks[0]).delete_first(excess);
            }
            self.len -= excess.min(count);
            removed += excess.min(count);
            if !is_whole {
                break;
            }
        }
        removed
    }

    /// What XSETID sets.
    pub fn set_last_id(&mut self, id: StreamId) {
        self.last_id = id;
    }

    pub fn set_entries_added(&mut self, count: u64) {
        self.entries_added = count;
    }

    pub fn set_max_deleted_id(&mut self, id: StreamId) {
        self.max_deleted_id = id;
    }

    /// The entries whose ids are between these, both included, from either end.
    pub fn range(&self, min: StreamId, max: StreamId) -> Entries<'_> {
        let start = self.locate(min);
        let end = match max.next() {
            Some(id) => self.locate(id),
            None => (self.chunks.len(), 0),
        };
        Entries { log: self, start, end: end.max(start) }
    }

    pub fn iter(&self) -> Entries<'_> {
        self.range(StreamId::MIN, StreamId::MAX)
    }

    /// None if there is no entry of that id.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        let (chunk, at) = self.locate(id);
        let chunk = self.chunks.get(chunk).filter(|chunk| chunk.id(at) == id)?;
        Some(chunk.entry(at, &self.shapes))
    }

    /// The greatest id that is there: O(1).
    pub fn newest_id(&self) -> Option<StreamId> {
        self.chunks.back().map(|chunk| chunk.id(chunk.len() - 1))
    }

    /// Whether an entry behind this id may have been deleted by name. Only the greatest id that was
    /// is known.
    pub fn has_gap_behind(&self, id: StreamId) -> bool {
        let is_among_entries = self.first_id().is_some_and(|first| first <= self.max_deleted_id);
        is_among_entries && id <= self.max_deleted_id && self.max_deleted_id > StreamId::MIN
    }

    /// How many entries were ever added up to this id, where that can be told from what is there:
    /// at both ends, and before the first of entries without a gap.
    pub fn count_up_to(&self, id: StreamId) -> Option<u64> {
        let Some(first) = self.first_id() else {
            return (self.entries_added == 0 || id <= self.last_id).then_some(self.entries_added);
        };
        if self.entries_added == 0 {
            return Some(0);
        }
        if id > StreamId::MIN && id < self.max_deleted_id {
            return None;
        }
        if id >= self.last_id {
            return (id == self.last_id).then_some(self.entries_added);
        }
        let has_no_gap = self.max_deleted_id < first;
        let before_first = self.entries_added.saturating_sub(self.len as u64);
        match id.cmp(&first) {
            Ordering::Less if has_no_gap => Some(before_first),
            Ordering::Equal if has_no_gap => Some(before_first + 1),
            _ => None,
        }
    }

    pub fn heap_size(&self) -> usize {
        let block_bytes = size_of::<StreamChunk>() + 2 * size_of::<usize>();
        self.chunks.capacity() * size_of::<usize>()
            + self.chunks.iter().map(|chunk| block_bytes + chunk.heap_size()).sum::<usize>()
            + self.shapes.heap_size()
    }
}

impl StreamLog {
    /// The chunk and the index in it of the first entry that does not come before this id; behind
    /// the last entry it is the chunk that would come next.
    fn locate(&self, id: StreamId) -> (usize, usize) {
        let chunk = self.chunks.partition_point(|chunk| chunk.last() < id);
        let at = self.chunks.get(chunk).map_or(0, |chunk| chunk.position(id));
        // The chunk may have lost its last entries.
        if self.chunks.get(chunk).is_some_and(|chunk| chunk.len() == at) {
            return (chunk + 1, 0);
        }
        (chunk, at)
    }
}

/// Entries of a stream, from either end.
#[derive(Clone)]
pub struct Entries<'a> {
    log: &'a StreamLog,
    start: (usize, usize),
    end: (usize, usize),
}

impl<'a> Iterator for Entries<'a> {
    type Item = StreamEntry<'a>;

    fn next(&mut self) -> Option<StreamEntry<'a>> {
        if self.start == self.end {
            return None;
        }
        let (at_chunk, at) = self.start;
        let chunk = &self.log.chunks[at_chunk];
        self.start = if at + 1 < chunk.len() { (at_chunk, at + 1) } else { (at_chunk + 1, 0) };
        Some(chunk.entry(at, &self.log.shapes))
    }
}

impl<'a> DoubleEndedIterator for Entries<'a> {
    fn next_back(&mut self) -> Option<StreamEntry<'a>> {
        if self.start == self.end {
            return None;
        }
        self.end = match self.end {
            (chunk, 0) => (chunk - 1, self.log.chunks[chunk - 1].len() - 1),
            (chunk, at) => (chunk, at - 1),
        };
        let (chunk, at) = self.end;
        Some(self.log.chunks[chunk].entry(at, &self.log.shapes))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::util::rng::Rng;

    use super::*;

    type Fields = Vec<Vec<u8>>;
    type Model = BTreeMap<StreamId, Fields>;

    fn append(stream: &mut StreamLog, id: StreamId, fields: &Fields, limits: &Limits) {
        let fields: Vec<&[u8]> = fields.iter().map(|text| &**text).collect();
        stream.append(id, &fields, limits);
    }

    fn owned(entry: StreamEntry) -> (StreamId, Fields) {
        let fields: Fields =
            entry.fields().flat_map(|(name, value)| [name.to_vec(), value.to_vec()]).collect();
        assert_eq!(entry.field_count(), fields.len() / 2);
        (entry.id, fields)
    }

    fn fields(rng: &mut Rng) -> Fields {
        let mut text = |variety: usize| {
            let number = rng.below(variety);
            match rng.below(12) {
                0 => Vec::new(),
                1 => vec![b'v'; number],
                2 => vec![b'w'; rng.below(200)],
                _ => number.to_string().into_bytes(),
            }
        };
        let count = 1 + text(4).len().min(4);
        (0..count)
            .flat_map(|_| [text(6), text(1_000_000)])
            .map(|mut text| {
                text.truncate(300);
                text
            })
            .collect()
    }

    #[test]
    fn streams_do_what_a_map_of_ids_does() {
        for seed in 0..30 {
            let mut rng = Rng::from_seed(seed);
            let (mut stream, mut model) = (StreamLog::default(), Model::new());
            let (mut last, mut max_deleted, mut added) = (StreamId::MIN, StreamId::MIN, 0);
            let limits = Limits {
                stream_node_entries_max: [100, 7, 0][seed as usize % 3],
                stream_node_bytes_max: [4096, 300, 0][seed as usize / 3 % 3],
                ..Limits::default()
            };
            for _ in 0..2_000 {
                let any = StreamId::new(1 + rng.below(last.ms as usize + 2) as u64, 0);
                let any = model.range(any..).next().map_or(any, |(id, _)| *id);
                match rng.below(10) {
                    0..6 => {
                        last = match rng.below(3) {
                            0 => last.next().unwrap(),
                            1 => StreamId::new(last.ms + 1 + rng.below(9) as u64, rng.next_u64()),
                            _ => StreamId::new(last.ms + 1, 0),
                        };
                        let fields = fields(&mut rng);
                        append(&mut stream, last, &fields, &limits);
                        model.insert(last, fields);
                        added += 1;
                    }
                    6 | 7 => {
                        let there = model.remove(&any).is_some();
                        assert_eq!(stream.delete(any), there);
                        if there {
                            max_deleted = max_deleted.max(any);
                        }
                    }
                    8 if rng.below(10) == 0 => check_trim(&mut stream, &mut model, any, &mut rng),
                    _ => check_range(&stream, &model, any, &mut rng),
                }
                assert_eq!(stream.len(), model.len());
                assert_eq!(stream.first_id(), model.keys().next().copied());
                assert_eq!(stream.last_id(), last);
                assert_eq!(stream.max_deleted_id(), max_deleted);
                assert_eq!(stream.entries_added(), added);
            }
            let all = || model.clone().into_iter();
            assert!(stream.iter().map(owned).eq(all()));
            assert!(stream.clone().iter().rev().map(owned).eq(all().rev()));
        }
    }

    fn check_range(stream: &StreamLog, model: &Model, any: StreamId, rng: &mut Rng) {
        let min = if rng.below(2) == 0 { any } else { any.next().unwrap() };
        let max = min.max(StreamId::new(min.ms + rng.below(30) as u64, rng.next_u64()));
        let expect = || model.range(min..=max).map(|(id, it)| (*id, it.clone()));
        assert!(stream.range(min, max).map(owned).eq(expect()));
        assert!(stream.range(min, max).rev().map(owned).eq(expect().rev()));
        assert_eq!(stream.range(max.next().unwrap(), min).count(), 0);
    }

    fn check_trim(stream: &mut StreamLog, model: &mut Model, any: StreamId, rng: &mut Rng) {
        let keep = match rng.below(2) {
            0 => Keep::Newest(rng.below(model.len() + 2)),
            _ => Keep::Since(any),
        };
        let excess = match keep {
            Keep::Newest(len) => model.len().saturating_sub(len),
            Keep::Since(id) => model.range(..id).count(),
        };
        let approximate = rng.below(2) == 0;
        let removed = stream.trim(keep, approximate, 0);
        // What an approximate trim leaves is compared with Redis below.
        assert!(if approximate { removed <= excess } else { removed == excess });
        for _ in 0..removed {
            model.pop_first();
        }
    }

    /// Five kinds of entries, which Redis packs in nodes of different sizes.
    fn entry(kind: u64, number: u64) -> (StreamId, Fields) {
        let text = |letter: &str, len: u64| letter.repeat(len as usize);
        let job = number.to_string();
        let fields = match kind {
            0 => vec!["event".into(), "waiting".into(), "jobId".into(), job],
            1 => vec!["f".into(), text("x", number % 300)],
            2 if number.is_multiple_of(3) => vec!["event".into(), "drained".into()],
            2 => {
                let (job, value) = (number * 7919, format!("{{\"a\":{number}}}"));
                ["event", "completed", "jobId", &job.to_string(), "returnvalue", &value, "prev"]
                    .map(String::from)
                    .into_iter()
                    .chain(["active".into()])
                    .collect()
            }
            3 => vec![
                format!("n{}", number % 5),
                job,
                format!("n{}", number % 7),
                text("v", number % 70),
            ],
            _ => vec!["big".into(), text("y", number * 37 % 5000)],
        };
        let id = match kind {
            1 => StreamId::new(5, number + 1),
            _ => StreamId::new(1_700_000_000_000 + number * number, number),
        };
        (id, fields.into_iter().map(String::into_bytes).collect())
    }

    /// What Redis 7.4.1 answers of a stream of a thousand entries of one kind.
    struct Case {
        /// Nodes after each hundred of entries.
        nodes: [usize; 10],
        /// Nodes after a hundred entries, one in three from the first on, are deleted.
        nodes_left: usize,
        /// Length after `XTRIM MAXLEN ~` to 900, 880, 871, 700 and 650.
        lens: [usize; 5],
        /// Length after `XTRIM MAXLEN ~ 0 LIMIT` 1, 50, 100, 101, 150 and 250.
        limited: [usize; 6],
        /// Length and nodes after trimming to 111, approximately and exactly to two ids.
        rest: [(usize, usize); 3],
    }

    /// By kind.
    const CASES: [Case; 5] = [
        Case {
            nodes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
            nodes_left: 10,
            lens: [900, 900, 900, 700, 700],
            limited: [700, 700, 600, 500, 400, 200],
            rest: [(111, 2), (100, 1), (30, 1)],
        },
        Case {
            nodes: [2, 6, 13, 14, 18, 25, 26, 30, 37, 38],
            nodes_left: 38,
            lens: [900, 900, 900, 701, 701],
            limited: [701, 701, 623, 532, 403, 162],
            rest: [(111, 3), (105, 2), (30, 1)],
        },
        Case {
            nodes: [2, 3, 4, 5, 6, 8, 9, 10, 11, 12],
            nodes_left: 12,
            lens: [900, 900, 900, 741, 661],
            limited: [661, 661, 593, 493, 425, 257],
            rest: [(111, 2), (89, 1), (30, 1)],
        },
        Case {
            nodes: [2, 3, 5, 6, 8, 9, 11, 12, 14, 15],
            nodes_left: 15,
            lens: [900, 900, 900, 714, 652],
            limited: [652, 652, 583, 514, 377, 173],
            rest: [(111, 3), (105, 2), (30, 1)],
        },
        Case {
            nodes: [60, 121, 197, 282, 343, 404, 483, 565, 626, 688],
            nodes_left: 634,
            lens: [900, 881, 871, 701, 650],
            limited: [649, 599, 499, 398, 248, 0],
            rest: [(0, 0), (0, 0), (0, 0)],
        },
    ];

    #[test]
    fn nodes_are_cut_and_trimmed_where_those_of_redis_are() {
        let limits = Limits::default();
        for (kind, case) in (0..).zip(CASES) {
            let mut stream = StreamLog::default();
            for number in 0..1000 {
                let (id, fields) = entry(kind, number);
                append(&mut stream, id, &fields, &limits);
                if number % 100 == 99 {
                    let expect = case.nodes[number as usize / 100];
                    assert_eq!(stream.node_count(), expect, "kind {kind}, {number}");
                }
            }
            for number in (0..300).step_by(3) {
                assert!(stream.delete(entry(kind, number).0));
            }
            assert_eq!(stream.node_count(), case.nodes_left, "kind {kind}");
            for (len, expect) in [900, 880, 871, 700, 650].into_iter().zip(case.lens) {
                stream.trim(Keep::Newest(len), true, 0);
                assert_eq!(stream.len(), expect, "kind {kind}, ~ {len}");
            }
            for (limit, expect) in [1, 50, 100, 101, 150, 250].into_iter().zip(case.limited) {
                stream.trim(Keep::Newest(0), true, limit);
                assert_eq!(stream.len(), expect, "kind {kind}, limit {limit}");
            }
            let trims = [
                (Keep::Newest(111), false),
                (Keep::Since(entry(kind, 950).0), true),
                (Keep::Since(entry(kind, 970).0), false),
            ];
            for ((keep, approximate), expect) in trims.into_iter().zip(case.rest) {
                stream.trim(keep, approximate, 0);
                assert_eq!((stream.len(), stream.node_count()), expect, "kind {kind}, {keep:?}");
            }
            stream.delete(entry(kind, 999).0);
            stream.trim(Keep::Newest(0), true, 0);
            assert_eq!((stream.len(), stream.node_count()), (0, 0));
        }
    }

    #[test]
    fn events_take_little_more_than_their_values() {
        let mut stream = StreamLog::default();
        for number in 0..10_000 {
            let (id, fields) = entry(0, number);
            append(&mut stream, id, &fields, &Limits::default());
        }
        // Two values of twelve bytes with their lengths, an id of six, a place of four.
        let size = stream.heap_size() / 10_000;
        assert!(size < 27, "{size}");
    }
}
