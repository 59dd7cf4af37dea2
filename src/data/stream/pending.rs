//! Values under ids of entries, in order: what a group or one of its consumers has pending.
//!
//! Ids lie in sorted chunks. The first chunk stands by itself, since most consumers have little
//! pending; the others are in a tree, each under an id that is above all before it. Ids mostly
//! grow, so the last chunk is filled to the brim before another is begun; a chunk that is full
//! elsewhere is cut in two. Finding, adding and removing cost O(log n) and the moving of at most a
//! chunk. What it takes is an id and a value per entry, and some 2 bytes for the tree.

use std::collections::BTreeMap;

use super::StreamId;

/// Ids per chunk at most.
const CHUNK: usize = 64;
/// A chunk gives room back once it uses no more than one place in so many.
const SLACK: usize = 4;

type IdChunk<T> = Vec<(StreamId, T)>;

#[derive(Clone, Debug)]
pub struct IdMap<T> {
    /// Empty only if all is.
    first: IdChunk<T>,
    /// None is empty.
    others: BTreeMap<StreamId, IdChunk<T>>,
    len: usize,
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self { first: Vec::new(), others: BTreeMap::new(), len: 0 }
    }
}

fn find<T>(chunk: &IdChunk<T>, id: StreamId) -> Result<usize, usize> {
    // Most are looked for at one of the ends.
    match chunk.last() {
        Some((last, _)) if *last < id => Err(chunk.len()),
        _ => chunk.binary_search_by_key(&id, |(id, _)| *id),
    }
}

impl<T> IdMap<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunk in which this id stands if it is there.
    fn chunk_mut(&mut self, id: StreamId) -> &mut IdChunk<T> {
        self.others.range_mut(..=id).next_back().map_or(&mut self.first, |(_, chunk)| chunk)
    }

    /// None if there is nothing under this id.
    pub fn get(&self, id: StreamId) -> Option<&T> {
        let other = self.others.range(..=id).next_back();
        let chunk = other.map_or(&self.first, |(_, chunk)| chunk);
        find(chunk, id).ok().map(|at| &chunk[at].1)
    }

    /// None if there is nothing under this id.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let chunk = self.chunk_mut(id);
        find(chunk, id).ok().map(|at| &mut chunk[at].1)
    }

    /// Adds a value, or puts it in the place of the one that is there, which is returned.
    pub fn insert(&mut self, id: StreamId, value: T) -> Option<T> {
        let is_last = self.others.last_key_value().is_none_or(|(start, _)| *start <= id);
        let chunk = self.chunk_mut(id);
        let at = match find(chunk, id) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => at,
        };
        if chunk.len() < CHUNK {
            chunk.insert(at, (id, value));
        } else if is_last && at == CHUNK {
            self.others.insert(id, vec![(id, value)]);
        } else {
            let mut upper = chunk.split_off(CHUNK / 2);
            match at.checked_sub(CHUNK / 2) {
                Some(at) if at > 0 => upper.insert(at, (id, value)),
                _ => chunk.insert(at, (id, value)),
            }
            self.others.insert(upper[0].0, upper);
        }
        self.len += 1;
        None
    }

    /// What was there; None if nothing was.
    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        let other = self.others.range_mut(..=id).next_back();
        let start = other.as_ref().map(|(start, _)| **start);
        let chunk = other.map_or(&mut self.first, |(_, chunk)| chunk);
        let at = find(chunk, id).ok()?;
        let (_, value) = chunk.remove(at);
        self.len -= 1;
        if chunk.len() * SLACK <= chunk.capacity() {
            chunk.shrink_to_fit();
        }
        if chunk.is_empty() {
            match start {
                Some(start) => _ = self.others.remove(&start),
                None => self.first = self.others.pop_first().map_or_else(Vec::new, |it| it.1),
            }
        }
        Some(value)
    }

    /// What has this id or a greater one, in order.
    pub fn since(&self, id: StreamId) -> impl Iterator<Item = (StreamId, &T)> + Clone {
        let start = self.others.range(..=id).next_back().map(|(start, _)| *start);
        let (first, start) = match start {
            Some(start) => (&self.first[self.first.len()..], start),
            None => (&self.first[..], StreamId::MIN),
        };
        let chunks = self.others.range(start..).map(|(_, chunk)| &chunk[..]);
        let mut chunks = std::iter::once(first).filter(|it| !it.is_empty()).chain(chunks);
        let nearest = chunks.next().unwrap_or_default();
        let nearest = &nearest[nearest.partition_point(|(it, _)| *it < id)..];
        let pairs = nearest.iter().chain(chunks.flatten());
        pairs.map(|(id, value)| (*id, value))
    }

    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> + Clone {
        self.since(StreamId::MIN)
    }

    /// The least id; None if there is none.
    pub fn first_id(&self) -> Option<StreamId> {
        self.first.first().map(|(id, _)| *id)
    }

    /// The greatest id; None if there is none.
    pub fn last_id(&self) -> Option<StreamId> {
        let last = self.others.last_key_value().map_or(&self.first, |(_, chunk)| chunk);
        last.last().map(|(id, _)| *id)
    }

    /// The chunks: what freeing it gives back piece by piece.
    pub fn pieces(&self) -> usize {
        self.others.len() + usize::from(!self.first.is_empty())
    }

    /// Frees a chunk; false if there is none left.
    pub fn crumble(&mut self) -> bool {
        let other = self.others.pop_last().map(|(_, chunk)| chunk);
        let chunk = other.unwrap_or_else(|| std::mem::take(&mut self.first));
        self.len -= chunk.len();
        !chunk.is_empty()
    }

    pub fn heap_size(&self) -> usize {
        let chunks = self.others.values().chain([&self.first]);
        let places = chunks.map(Vec::capacity).sum::<usize>();
        tree_size::<StreamId, IdChunk<T>>(self.others.len()) + places * size_of::<(StreamId, T)>()
    }
}

/// About what a `BTreeMap` of so many pairs takes: it does not say itself. Its nodes have room for
/// eleven, of which ascending insertion fills six.
pub(super) fn tree_size<K, V>(len: usize) -> usize {
    const ROOM: usize = 11;
    const FILLED: usize = 6;
    const NODE: usize = 16;
    let nodes = if len <= ROOM { len.min(1) } else { len.div_ceil(FILLED) };
    nodes * (NODE + ROOM * (size_of::<K>() + size_of::<V>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn it_does_what_a_map_does() {
        for seed in 0..40 {
            let mut rng = Rng::from_seed(seed);
            let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
            let mut last = 0;
            for step in 0..4_000_u64 {
                // Phases of growth and of shrinking; ids at the end, or anywhere.
                let grows = step / 500 % 2 == 0 || rng.below(3) == 0;
                last += rng.below(3) as u64;
                let any = StreamId::new(rng.below(last as usize + 1) as u64, rng.below(2) as u64);
                let id =
                    if rng.below(3) > seed as usize % 3 { any } else { StreamId::new(last, 0) };
                if grows {
                    assert_eq!(map.insert(id, step), model.insert(id, step));
                } else {
                    let id = model.range(any..).next().map_or(any, |(id, _)| *id);
                    assert_eq!(map.remove(id), model.remove(&id));
                }
                assert_eq!(map.len(), model.len());
                assert_eq!(map.get(any), model.get(&any));
                assert_eq!(map.get_mut(id).copied(), model.get(&id).copied());
                assert_eq!(map.first_id(), model.keys().next().copied());
                assert_eq!(map.last_id(), model.keys().next_back().copied());
                if step % 50 == 0 {
                    let expect = model.range(any..).map(|(id, value)| (*id, value));
                    assert!(map.since(any).eq(expect));
                }
            }
            assert!(map.iter().eq(model.iter().map(|(id, value)| (*id, value))));
            while map.crumble() {}
            assert_eq!((map.len(), map.pieces()), (0, 0));
        }
    }

    #[test]
    fn growing_ids_fill_their_chunks() {
        let mut map = IdMap::default();
        for number in 0..10_000 {
            map.insert(StreamId::new(number, 0), ());
        }
        let size = map.heap_size() / 10_000;
        assert!(size < 20, "{size}");
        for number in (0..10_000).filter(|number| number % 20 > 0) {
            map.remove(StreamId::new(number, 0));
        }
        assert!(map.heap_size() < 45_000, "{}", map.heap_size());
    }
}
