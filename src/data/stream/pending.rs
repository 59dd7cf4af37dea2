//! Values under ids of entries, in order: what a group or one of its consumers has pending.
//!
//! Ids lie in sorted chunks, and the chunks in a tree by a bound below all that they hold. Ids
//! mostly grow, so the last chunk is filled to the brim before another is begun; a chunk that is
//! full elsewhere is cut in two. Finding, adding and removing cost O(log n) and the moving of at
//! most a chunk. What it takes is an id and a value per entry, and some 3 bytes for the chunks.

use std::collections::BTreeMap;

use super::StreamId;

/// Ids per chunk at most.
const CHUNK: usize = 64;
/// A chunk gives room back once it uses no more than one place in so many.
const SLACK: usize = 4;

#[derive(Clone, Debug)]
pub struct IdMap<T> {
    chunks: BTreeMap<StreamId, IdChunk<T>>,
    len: usize,
}

/// Never empty. The two have the same length.
#[derive(Clone, Debug)]
struct IdChunk<T> {
    ids: Vec<StreamId>,
    values: Vec<T>,
}

impl<T> Default for IdMap<T> {
    fn default() -> Self {
        Self { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<T> IdMap<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// None if there is nothing under this id.
    pub fn get(&self, id: StreamId) -> Option<&T> {
        let (_, chunk) = self.chunks.range(..=id).next_back()?;
        chunk.ids.binary_search(&id).ok().map(|at| &chunk.values[at])
    }

    /// None if there is nothing under this id.
    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut T> {
        let (_, chunk) = self.chunks.range_mut(..=id).next_back()?;
        chunk.ids.binary_search(&id).ok().map(|at| &mut chunk.values[at])
    }

    /// Adds a value, or puts it in the place of the one that is there, which is returned.
    pub fn insert(&mut self, id: StreamId, value: T) -> Option<T> {
        let is_last = self.chunks.last_key_value().is_none_or(|(start, _)| *start <= id);
        let Some((_, chunk)) = self.chunks.range_mut(..=id).next_back() else {
            self.insert_first(id, value);
            return None;
        };
        let at = match chunk.ids.binary_search(&id) {
            Ok(at) => return Some(std::mem::replace(&mut chunk.values[at], value)),
            Err(at) => at,
        };
        self.len += 1;
        if chunk.ids.len() < CHUNK {
            chunk.insert(at, id, value);
        } else if is_last && at == CHUNK {
            self.chunks.insert(id, IdChunk::of(id, value));
        } else {
            let mut upper = chunk.split_off(CHUNK / 2);
            match at.checked_sub(CHUNK / 2) {
                Some(at) if at > 0 => upper.insert(at, id, value),
                _ => chunk.insert(at, id, value),
            }
            self.chunks.insert(upper.ids[0], upper);
        }
        None
    }

    /// Adds what comes before every chunk: to the first one, which then begins there.
    fn insert_first(&mut self, id: StreamId, value: T) {
        self.len += 1;
        let chunk = match self.chunks.pop_first() {
            Some((_, mut chunk)) if chunk.ids.len() < CHUNK => {
                chunk.insert(0, id, value);
                chunk
            }
            Some((start, chunk)) => {
                self.chunks.insert(start, chunk);
                IdChunk::of(id, value)
            }
            None => IdChunk::of(id, value),
        };
        self.chunks.insert(id, chunk);
    }

    /// What was there; None if nothing was.
    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        let (&start, chunk) = self.chunks.range_mut(..=id).next_back()?;
        let at = chunk.ids.binary_search(&id).ok()?;
        chunk.ids.remove(at);
        let value = chunk.values.remove(at);
        self.len -= 1;
        if chunk.ids.is_empty() {
            self.chunks.remove(&start);
        } else if chunk.ids.len() * SLACK <= chunk.ids.capacity() {
            chunk.ids.shrink_to_fit();
            chunk.values.shrink_to_fit();
        }
        Some(value)
    }

    /// What has this id or a greater one, in order.
    pub fn since(&self, id: StreamId) -> impl Iterator<Item = (StreamId, &T)> + Clone {
        let first = self.chunks.range(..=id).next_back();
        let skipped = first.map_or(0, |(_, chunk)| chunk.ids.partition_point(|it| *it < id));
        let start = first.map_or(StreamId::MIN, |(start, _)| *start);
        self.chunks.range(start..).flat_map(|(_, chunk)| chunk.iter()).skip(skipped)
    }

    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> + Clone {
        self.since(StreamId::MIN)
    }

    /// The least id; None if there is none.
    pub fn first_id(&self) -> Option<StreamId> {
        self.chunks.first_key_value().map(|(_, chunk)| chunk.ids[0])
    }

    /// The greatest id; None if there is none.
    pub fn last_id(&self) -> Option<StreamId> {
        self.chunks.last_key_value().and_then(|(_, chunk)| chunk.ids.last().copied())
    }

    /// The chunks: what freeing it gives back piece by piece.
    pub fn pieces(&self) -> usize {
        self.chunks.len()
    }

    /// Frees its first chunk; false if there is none left.
    pub fn crumble(&mut self) -> bool {
        let chunk = self.chunks.pop_first();
        self.len -= chunk.as_ref().map_or(0, |(_, chunk)| chunk.ids.len());
        chunk.is_some()
    }

    pub fn heap_size(&self) -> usize {
        let chunks = self.chunks.values().map(|chunk| {
            chunk.ids.capacity() * size_of::<StreamId>() + chunk.values.capacity() * size_of::<T>()
        });
        tree_size::<StreamId, IdChunk<T>>(self.chunks.len()) + chunks.sum::<usize>()
    }
}

impl<T> IdChunk<T> {
    fn of(id: StreamId, value: T) -> Self {
        Self { ids: vec![id], values: vec![value] }
    }

    fn iter(&self) -> impl Iterator<Item = (StreamId, &T)> + Clone {
        self.ids.iter().copied().zip(&self.values)
    }

    fn insert(&mut self, at: usize, id: StreamId, value: T) {
        self.ids.insert(at, id);
        self.values.insert(at, value);
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self { ids: self.ids.split_off(at), values: self.values.split_off(at) }
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
