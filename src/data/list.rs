//! Lists: a deque of chunks, and a tally of what the list would take in Redis.
//!
//! Both ends take and give in constant time. Finding an index or an element skips whole chunks, or
//! searches ids by the vector unit: BullMQ removes each finished job from the middle of `active`.
//!
//! Redis keeps a short list in one listpack and turns it into a quicklist by size, and back at half
//! of that size. Nothing here depends on it but the answer of OBJECT ENCODING, so only the size is
//! kept up to date. (A quicklist of several nodes stays one in Redis, however few elements are left
//! in them; here size alone decides.)

mod chunk;
mod ids;
mod packed;

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use crate::config::Limits;
use crate::data::item::Item;
use crate::data::listpack;

use chunk::{ElementProbe, ListChunk};

/// An end of a list: the head is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

#[derive(Clone, Debug, Default)]
pub struct List {
    body: Box<Body>,
}

/// What a chunk beyond the first takes, with the counts of those who share it.
const BLOCK_BYTES: usize = size_of::<ListChunk>() + 2 * size_of::<usize>();

#[derive(Clone, Debug, Default)]
struct Body {
    /// In place, so that a list of one chunk takes no block for a deque of chunks.
    first: ListChunk,
    /// A copy of the list shares them until either of both changes one.
    rest: VecDeque<Rc<ListChunk>>,
    len: usize,
    /// What the elements take in a listpack.
    packed_bytes: usize,
    /// Redis decides to grow before it has packed the new elements, and over them counts their bare
    /// texts. This is what must be added to `packed_bytes` to get the size that it compared.
    growth_excess: isize,
    /// Since the last settling: Redis looks at another bound when elements go than when they come,
    /// and at both when one is replaced.
    has_grown: bool,
    has_shrunk: bool,
    /// It counts a replaced element twice while it looks.
    has_replaced: bool,
    is_quicklist: bool,
}

impl List {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.body.len
    }

    pub fn is_empty(&self) -> bool {
        self.body.len == 0
    }

    /// The element at an end. None if the list is empty.
    pub fn peek(&self, side: Side) -> Option<Item<'_>> {
        let last = self.len().checked_sub(1)?;
        Some(self.at(if side == Side::Left { 0 } else { last }))
    }

    pub fn push(&mut self, side: Side, text: &[u8]) {
        match side {
            Side::Left => self.push_front(text),
            Side::Right => self.push_back(text),
        }
    }

    pub fn push_front(&mut self, text: &[u8]) {
        let body = &mut *self.body;
        let probe = ElementProbe::new(text);
        if body.len == 0 {
            body.first = ListChunk::of(probe);
        } else if body.first.has_room(probe) {
            body.first.insert(0, probe);
        } else {
            let second = std::mem::replace(&mut body.first, ListChunk::of(probe));
            body.rest.push_front(Rc::new(second));
        }
        body.count_in(text);
    }

    pub fn push_back(&mut self, text: &[u8]) {
        let body = &mut *self.body;
        let probe = ElementProbe::new(text);
        let last = body.chunk_count() - 1;
        if body.len == 0 {
            body.first = ListChunk::of(probe);
        } else if body.chunk(last).has_room(probe) {
            let last = body.chunk_mut(last);
            last.insert(last.len(), probe);
        } else {
            body.rest.push_back(Rc::new(ListChunk::of(probe)));
        }
        body.count_in(text);
    }

    /// Removes what `peek` shows.
    pub fn pop(&mut self, side: Side) {
        match side {
            Side::Left => self.pop_front(),
            Side::Right => self.pop_back(),
        }
    }

    pub fn pop_front(&mut self) {
        let body = &mut *self.body;
        if body.len == 0 {
            return;
        }
        body.remove(0, 0);
        if body.first.len() == 0 {
            body.first = body.rest.pop_front().map_or_else(ListChunk::default, Rc::unwrap_or_clone);
        }
    }

    pub fn pop_back(&mut self) {
        let body = &mut *self.body;
        if body.len == 0 {
            return;
        }
        let last = body.chunk_count() - 1;
        body.remove(last, body.chunk(last).len() - 1);
        if body.chunk(last).len() == 0 && body.rest.pop_back().is_none() {
            body.first = ListChunk::default();
        }
    }

    /// The element of an index; negative ones count from the tail.
    pub fn get(&self, index: i64) -> Option<Item<'_>> {
        self.resolve(index).map(|index| self.at(index))
    }

    /// Replaces the element of an index; false if there is none.
    pub fn set(&mut self, index: i64, text: &[u8]) -> bool {
        let Some(index) = self.resolve(index) else { return false };
        let body = &mut *self.body;
        let (chunk, at) = body.locate(index);
        let replaced = body.chunk(chunk).listpack_bytes(at);
        let added = listpack::entry_bytes(text);
        body.packed_bytes = body.packed_bytes - replaced + added;
        body.growth_excess += text.len() as isize - added as isize + replaced as isize;
        (body.has_grown, body.has_shrunk, body.has_replaced) = (true, true, true);
        body.chunk_mut(chunk).set(at, ElementProbe::new(text));
        body.split_oversized(chunk);
        true
    }

    /// Puts an element before that of an index, or at the tail.
    pub fn insert(&mut self, index: usize, text: &[u8]) {
        if index == 0 {
            return self.push_front(text);
        }
        if index == self.len() {
            return self.push_back(text);
        }
        let body = &mut *self.body;
        let (chunk, at) = body.locate(index);
        body.chunk_mut(chunk).insert(at, ElementProbe::new(text));
        body.split_oversized(chunk);
        body.count_in(text);
    }

    /// Removes as many elements of this text as LREM would: all for 0, from the tail if negative.
    pub fn remove(&mut self, count: i64, text: &[u8]) -> usize {
        let body = &mut *self.body;
        let probe = ElementProbe::new(text);
        let limit = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
        let mut removed = 0;
        let mut indices = Vec::new();
        for walked in 0..body.chunk_count() {
            if removed == limit {
                break;
            }
            let from_tail = count < 0;
            let at = if from_tail { body.chunk_count() - 1 - walked } else { walked };
            let chunk = body.chunk(at);
            indices.clear();
            if from_tail {
                indices.extend(chunk.positions_back(probe).take(limit - removed));
                indices.reverse();
            } else {
                indices.extend(chunk.positions(probe).take(limit - removed));
            }
            if !indices.is_empty() {
                body.chunk_mut(at).remove_all(&indices);
                removed += indices.len();
            }
        }
        if removed > 0 {
            body.len -= removed;
            body.has_shrunk = true;
            body.packed_bytes -= removed * listpack::entry_bytes(text);
            body.join_sparse();
        }
        removed
    }

    /// Keeps the elements of these indices.
    pub fn trim(&mut self, kept: Range<usize>) {
        for _ in kept.end..self.len() {
            self.pop_back();
        }
        for _ in 0..kept.start {
            self.pop_front();
        }
    }

    /// Ascending indices of the elements of this text, among the first `stretch` of the list.
    pub fn positions<'a>(
        &'a self,
        text: &'a [u8],
        stretch: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let body = &*self.body;
        let probe = ElementProbe::new(text);
        let mut end = 0;
        (0..body.chunk_count())
            .map_while(move |at| {
                let (chunk, start) = (body.chunk(at), end);
                end += chunk.len();
                (start < stretch).then_some((chunk, start))
            })
            .flat_map(move |(chunk, start)| chunk.positions(probe).map(move |at| start + at))
            .take_while(move |&index| index < stretch)
    }

    /// Descending indices of the elements of this text, among the last `stretch` of the list.
    pub fn positions_back<'a>(
        &'a self,
        text: &'a [u8],
        stretch: usize,
    ) -> impl Iterator<Item = usize> + 'a {
        let body = &*self.body;
        let probe = ElementProbe::new(text);
        let mut start = body.len;
        let start_min = body.len.saturating_sub(stretch);
        (0..body.chunk_count())
            .rev()
            .map_while(move |at| {
                let (chunk, end) = (body.chunk(at), start);
                start -= chunk.len();
                (end > start_min).then_some((chunk, start))
            })
            .flat_map(move |(chunk, start)| chunk.positions_back(probe).map(move |at| start + at))
            .take_while(move |&index| index >= start_min)
    }

    pub fn iter(&self) -> impl Iterator<Item = Item<'_>> {
        self.iter_from(0)
    }

    /// The elements from an index to the tail.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Item<'_>> {
        let body = &*self.body;
        let (first, start) = body.locate(index);
        (first..body.chunk_count())
            .flat_map(move |at| body.chunk(at).iter(if at == first { start } else { 0 }))
    }

    /// How many chunks the elements lie in.
    pub fn chunk_count(&self) -> usize {
        self.body.chunk_count()
    }

    /// The elements of a chunk.
    pub fn chunk(&self, at: usize) -> impl Iterator<Item = Item<'_>> {
        self.body.chunk(at).iter(0)
    }

    /// The elements from before an index to the head.
    pub fn iter_back_from(&self, end: usize) -> impl Iterator<Item = Item<'_>> {
        let body = &*self.body;
        let (last, end) = body.locate(end);
        (0..=last).rev().map(|at| body.chunk(at)).enumerate().flat_map(move |(walked, chunk)| {
            chunk.iter_back(if walked == 0 { end } else { chunk.len() })
        })
    }

    /// Announces an element that may turn out to have no place: Redis looks for that afterwards.
    pub fn expect(&mut self, text: &[u8], limits: &Limits) {
        let body = &mut *self.body;
        body.is_quicklist |= exceeds_node(body.len + 1, body.packed_bytes + text.len(), limits);
    }

    /// Redis's rule: grows past the size of one quicklist node, shrinks at half of it.
    pub fn settle(&mut self, limits: &Limits) {
        let body = &mut *self.body;
        let grown_len = body.len + usize::from(std::mem::take(&mut body.has_replaced));
        let grown_bytes =
            body.packed_bytes.saturating_add_signed(std::mem::take(&mut body.growth_excess));
        if std::mem::take(&mut body.has_grown) && !body.is_quicklist {
            body.is_quicklist = exceeds_node(grown_len, grown_bytes, limits);
        }
        if std::mem::take(&mut body.has_shrunk) && body.is_quicklist {
            let (entries_max, bytes_max) = node_limits(limits.list_node_size);
            // A bound on entries has no half in bytes: there they only say what fits in a node.
            let bytes_max = if entries_max == usize::MAX { bytes_max / 2 } else { bytes_max };
            body.is_quicklist =
                body.len > entries_max / 2 || listpack::EMPTY_BYTES + body.packed_bytes > bytes_max;
        }
    }

    /// As Redis keeps it where it came in several nodes.
    pub fn unpack(&mut self) {
        self.body.is_quicklist = true;
    }

    pub fn encoding(&self) -> &'static str {
        if self.body.is_quicklist { "quicklist" } else { "listpack" }
    }

    /// The nodes of Redis's quicklist, had the elements been pushed one after the other.
    pub fn nodes(&self, limits: &Limits) -> Nodes {
        let (mut nodes, mut fill) = (Nodes { count: 0, bytes: 0 }, NodeFill::default());
        for element in self.iter_from(0) {
            let place = fill.place(&element, limits);
            nodes.count += usize::from(place != NodePlace::Next);
            nodes.bytes += match place {
                NodePlace::Alone => element.len(),
                NodePlace::First => listpack::EMPTY_BYTES + listpack::entry_bytes(&element),
                NodePlace::Next => listpack::entry_bytes(&element),
            };
        }
        nodes
    }

    pub fn heap_size(&self) -> usize {
        let body = &*self.body;
        let chunks = (0..body.chunk_count()).map(|at| body.chunk(at).heap_size());
        let blocks = body.rest.capacity() * size_of::<usize>() + body.rest.len() * BLOCK_BYTES;
        size_of::<Body>() + blocks + chunks.sum::<usize>()
    }

    fn at(&self, index: usize) -> Item<'_> {
        let (chunk, at) = self.body.locate(index);
        self.body.chunk(chunk).get(at)
    }

    fn resolve(&self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let index = if index < 0 { index.checked_add(len)? } else { index };
        (0..len).contains(&index).then_some(index as usize)
    }
}

/// What DEBUG OBJECT tells of a quicklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    pub count: usize,
    pub bytes: usize,
}

/// How full the last node of a quicklist is, as elements are pushed to its tail.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeFill {
    len: usize,
    packed_bytes: usize,
}

/// Where in Redis's quicklist an element goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePlace {
    /// It is too large for a listpack: a node of its own, unpacked.
    Alone,
    /// It begins a node.
    First,
    /// It goes to the elements before it.
    Next,
}

impl NodeFill {
    /// Where the next element goes.
    pub fn place(&mut self, element: &[u8], limits: &Limits) -> NodePlace {
        if limits.list_packed_bytes_max.is_some_and(|bytes_max| element.len() >= bytes_max) {
            *self = Self::default();
            return NodePlace::Alone;
        }
        let bytes = listpack::entry_bytes(element);
        let begins = self.len == 0 || exceeds_node(self.len + 1, self.packed_bytes + bytes, limits);
        if begins {
            *self = Self::default();
            if exceeds_node(1, bytes, limits) {
                return NodePlace::Alone;
            }
        }
        self.len += 1;
        self.packed_bytes += bytes;
        if begins { NodePlace::First } else { NodePlace::Next }
    }
}

/// What a node of Redis's quicklist holds at most: entries, bytes.
fn node_limits(node_size: i64) -> (usize, usize) {
    /// The bound on bytes where the setting bounds entries.
    const SAFETY_BYTES_MAX: usize = 8192;
    match node_size {
        0.. => (node_size.max(1) as usize, SAFETY_BYTES_MAX),
        -1 => (usize::MAX, 4096),
        -2 => (usize::MAX, 8192),
        -3 => (usize::MAX, 16384),
        -4 => (usize::MAX, 32768),
        _ => (usize::MAX, 65536),
    }
}

fn exceeds_node(len: usize, packed_bytes: usize, limits: &Limits) -> bool {
    let (entries_max, bytes_max) = node_limits(limits.list_node_size);
    len > entries_max || listpack::EMPTY_BYTES + packed_bytes > bytes_max
}

impl Body {
    fn chunk_count(&self) -> usize {
        1 + self.rest.len()
    }

    #[inline]
    fn chunk(&self, at: usize) -> &ListChunk {
        if at == 0 { &self.first } else { &self.rest[at - 1] }
    }

    fn chunk_mut(&mut self, at: usize) -> &mut ListChunk {
        if at == 0 { &mut self.first } else { Rc::make_mut(&mut self.rest[at - 1]) }
    }

    /// The chunk that holds an index, and the index in it: walked to from the nearer end. The index
    /// behind the last element is in the last chunk.
    fn locate(&self, index: usize) -> (usize, usize) {
        if index <= self.len / 2 {
            let mut start = 0;
            for at in 0.. {
                let end = start + self.chunk(at).len();
                if index < end || at == self.rest.len() {
                    return (at, index - start);
                }
                start = end;
            }
        }
        let mut start = self.len;
        let mut at = self.chunk_count();
        loop {
            at -= 1;
            start -= self.chunk(at).len();
            if index >= start {
                return (at, index - start);
            }
        }
    }

    fn count_in(&mut self, text: &[u8]) {
        let packed_bytes = listpack::entry_bytes(text);
        self.len += 1;
        self.packed_bytes += packed_bytes;
        self.growth_excess += text.len() as isize - packed_bytes as isize;
        self.has_grown = true;
    }

    /// May leave the chunk empty.
    fn remove(&mut self, chunk: usize, at: usize) {
        self.packed_bytes -= self.chunk(chunk).listpack_bytes(at);
        self.len -= 1;
        self.has_shrunk = true;
        self.chunk_mut(chunk).remove(at);
    }

    fn split_oversized(&mut self, chunk: usize) {
        if self.chunk(chunk).is_oversized() {
            let tail = self.chunk_mut(chunk).split();
            self.rest.insert(chunk, Rc::new(tail));
            self.split_oversized(chunk + 1);
            self.split_oversized(chunk);
        }
    }

    /// Joins neighbours that are half empty together, and so drops empty chunks.
    fn join_sparse(&mut self) {
        if self.rest.is_empty() {
            return;
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.retain(|chunk| chunk.len() > 0);
        if self.first.len() == 0 {
            self.first = rest.pop_front().map_or_else(ListChunk::default, Rc::unwrap_or_clone);
        }
        for chunk in rest {
            let last = self.chunk_count() - 1;
            if self.chunk(last).takes(&chunk) {
                self.chunk_mut(last).join(&chunk);
            } else {
                self.rest.push_back(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use crate::util::rng::Rng;

    use super::*;

    type Model = VecDeque<Vec<u8>>;

    const SIDES: [Side; 2] = [Side::Left, Side::Right];

    /// Few different ones, so that searches hit; of all forms and sizes, so that chunks differ.
    fn element(rng: &mut Rng) -> Vec<u8> {
        let number = rng.below(12);
        match rng.below(100) {
            0..50 => number.to_string().into_bytes(),
            50..60 => (number as u64 * 1_000_000_007).to_string().into_bytes(),
            60..70 => format!("-{number}").into_bytes(),
            70..80 => format!("0{number}").into_bytes(),
            80..97 => vec![b'a' + number as u8; number * 7],
            97..99 => vec![b'A' + number as u8; 250 + number],
            _ => vec![b'#'; number * 1000],
        }
    }

    fn check_equal(list: &List, model: &Model) {
        assert_eq!(list.len(), model.len());
        assert!(list.iter().map(|it| it.to_vec()).eq(model.iter().cloned()));
        let back = list.iter_back_from(list.len());
        assert!(back.map(|it| it.to_vec()).eq(model.iter().rev().cloned()));
        let packed_bytes: usize = model.iter().map(|it| listpack::entry_bytes(it)).sum();
        assert_eq!(list.body.packed_bytes, packed_bytes);
        for at in 1..list.body.chunk_count() {
            assert!(list.body.chunk(at).len() > 0 && !list.body.chunk(at).is_oversized());
        }
    }

    /// As LREM does.
    fn remove(list: &mut List, model: &mut Model, text: &[u8], count: i64) {
        let mut doomed: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
        if count < 0 {
            doomed.reverse();
        }
        doomed.truncate(if count == 0 { usize::MAX } else { count.unsigned_abs() as usize });
        doomed.sort();
        assert_eq!(list.remove(count, text), doomed.len());
        for at in doomed.into_iter().rev() {
            model.remove(at);
        }
    }

    fn step(list: &mut List, model: &mut Model, rng: &mut Rng, growing: bool) {
        let side = SIDES[rng.below(2)];
        let text = element(rng);
        let index = rng.below(model.len() + 1);
        match rng.below(20) {
            0..8 if growing => {
                list.push(side, &text);
                match side {
                    Side::Left => model.push_front(text),
                    Side::Right => model.push_back(text),
                }
            }
            0..8 => {
                let expect = match side {
                    Side::Left => model.pop_front(),
                    Side::Right => model.pop_back(),
                };
                assert_eq!(list.peek(side).map(|it| it.to_vec()), expect);
                list.pop(side);
            }
            8..11 => {
                list.insert(index, &text);
                model.insert(index, text);
            }
            11..13 => {
                assert_eq!(list.get(index as i64).as_deref(), model.get(index).map(|it| &**it));
                let negative = -1 - index as i64;
                assert_eq!(
                    list.get(negative).as_deref(),
                    model.iter().nth_back(index).map(|it| &**it)
                );
                assert_eq!(list.set(index as i64, &text), index < model.len());
                if let Some(element) = model.get_mut(index) {
                    *element = text;
                }
            }
            13 if !growing || rng.below(10) == 0 => {
                remove(list, model, &text, rng.below(9) as i64 - 4);
            }
            14 if rng.below(200) == 0 => {
                let end = index + rng.below(model.len() - index + 1);
                list.trim(index..end);
                model.truncate(end);
                model.drain(..index);
            }
            15..17 => {
                let stretch = rng.below(model.len() + 2);
                let expect = (0..model.len()).filter(|&at| model[at] == text);
                let front = expect.clone().filter(|&at| at < stretch);
                assert!(list.positions(&text, stretch).eq(front));
                let back = expect.rev().filter(|&at| model.len() - at <= stretch);
                assert!(list.positions_back(&text, stretch).eq(back));
            }
            _ => {
                let ahead = list.iter_from(index).take(5).map(|it| it.to_vec());
                assert!(ahead.eq(model.range(index..).take(5).cloned()));
                let behind = list.iter_back_from(index).take(5).map(|it| it.to_vec());
                assert!(behind.eq(model.range(..index).rev().take(5).cloned()));
            }
        }
    }

    #[test]
    fn lists_do_what_a_deque_of_texts_does() {
        for seed in 0..30 {
            let mut rng = Rng::from_seed(seed);
            let (mut list, mut model) = (List::new(), Model::new());
            for _ in 0..6 {
                let growing = rng.below(3) > 0;
                for _ in 0..rng.below(1500) {
                    step(&mut list, &mut model, &mut rng, growing);
                }
                check_equal(&list, &model);
                let copy = list.clone();
                check_equal(&copy, &model);
            }
        }
    }

    #[test]
    fn ids_take_four_bytes_and_a_short_list_little() {
        let mut list = List::new();
        list.push_back(b"12345");
        assert!(list.heap_size() < 200, "{}", list.heap_size());
        for id in 0..100_000 {
            list.push_front(id.to_string().as_bytes());
        }
        assert!(list.heap_size() < 450_000, "{}", list.heap_size());
    }

    /// How many elements Redis 7.4.1 turns into a quicklist, and at how many it turns them back.
    #[test]
    fn encodings_change_where_those_of_redis_do() {
        let long = |len| "x".repeat(len);
        for (node_size, text, grows, shrinks) in [
            (-2, "a".into(), 2730, 1363),
            (-2, "1".into(), 4094, 2044),
            (-2, "abababababababababab".into(), 373, 185),
            (-2, "12345".into(), 2047, 1022),
            (-2, "123456789012".into(), 819, 408),
            (-2, "-5".into(), 2729, 1363),
            (-2, "4095".into(), 2729, 1363),
            (-2, "01".into(), 2047, 1022),
            (-2, long(63), 126, 62),
            (-2, long(64), 123, 61),
            (-2, long(3000), 3, 1),
            (-2, long(8000), 2, 0),
            (-2, long(8192), 1, 0),
            (4, "a".into(), 5, 2),
            (4, long(9000), 1, 0),
            (1, "1".into(), 2, 0),
            (0, "1".into(), 2, 0),
            (-1, "a".into(), 1364, 680),
            (-5, long(500), 131, 65),
            (-100, long(9000), 8, 3),
            (128, "a".into(), 129, 64),
            (128, long(500), 17, 16),
        ] {
            let limits = Limits { list_node_size: node_size, ..Limits::default() };
            let mut list = List::new();
            while list.encoding() == "listpack" {
                list.push_back(text.as_bytes());
                list.settle(&limits);
            }
            let grown = list.len();
            while list.encoding() == "quicklist" && !list.is_empty() {
                list.pop_back();
                list.settle(&limits);
            }
            assert_eq!((grown, list.len()), (grows, shrinks), "{node_size} {text}");
        }
    }

    /// Recorded from Redis 7.4.1: an element that is replaced counts twice while a list may grow.
    #[test]
    fn what_is_replaced_counts_as_in_redis() {
        let check = |node_size: i64, texts: &[&str], text: &str, expect: &str| {
            let limits = Limits { list_node_size: node_size, ..Limits::default() };
            let mut list = List::new();
            texts.iter().for_each(|text| list.push_back(text.as_bytes()));
            list.settle(&limits);
            assert!(list.set(0, text.as_bytes()));
            list.settle(&limits);
            assert_eq!(list.encoding(), expect, "{node_size} {}", texts.len());
        };
        check(3, &["a", "b"], "z", "listpack");
        check(3, &["a", "b", "c"], "z", "quicklist");
        check(1, &["a"], "z", "quicklist");
        let long = "a".repeat(5_000);
        check(-2, &[&long], &long[..4_000], "listpack");
        check(-2, &[&long], &long[..4_090], "quicklist");
        check(-2, &[&long], &long, "quicklist");
    }

    /// Recorded from Redis 7.4.1: a bound that was lowered is looked at when elements come, one
    /// that was raised when they go.
    #[test]
    fn nodes_are_those_that_redis_fills() {
        // As DEBUG OBJECT of Redis 7.4.1 tells of them.
        let check = |texts: Vec<String>, count: usize, bytes: usize| {
            let mut list = List::new();
            texts.iter().for_each(|text| list.push_back(text.as_bytes()));
            assert_eq!(list.nodes(&Limits::default()), Nodes { count, bytes });
        };
        check(vec!["x".repeat(100); 200], 3, 20_621);
        check((0..5000).map(|it| it.to_string()).collect(), 2, 15_790);
        check(vec!["q".repeat(10_000)], 1, 10_000);
    }

    #[test]
    fn bounds_that_change_are_looked_at_as_in_redis() {
        let low = &Limits { list_node_size: 3, ..Limits::default() };
        let high = &Limits { list_node_size: 30, ..Limits::default() };
        let list_of = |limits| {
            let mut list = List::new();
            ["a", "b", "c", "d"].iter().for_each(|text| list.push_back(text.as_bytes()));
            list.settle(limits);
            list
        };
        let mut list = list_of(high);
        list.pop_front();
        list.settle(low);
        assert_eq!(list.encoding(), "listpack");
        list.push_back(b"e");
        list.settle(low);
        assert_eq!(list.encoding(), "quicklist");
        let mut list = list_of(low);
        list.push_back(b"e");
        list.settle(high);
        assert_eq!(list.encoding(), "quicklist");

        let mut list = list_of(high);
        list.expect(b"e", high);
        assert_eq!(list.encoding(), "listpack");
        list.expect(b"e", low);
        assert_eq!(list.encoding(), "quicklist");
    }
}
