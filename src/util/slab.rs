//! Values at stable indices that are used again. Grows a chunk at a time, so that no insertion
//! moves what is already there: a `Vec` of five million entries would stop the world to grow.

use super::fetch::{Fetch, fetch_whole};

/// Entries a chunk: the first chunk grows as a `Vec` does, later ones are made whole.
pub const CHUNK: usize = 1024;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
pub struct Slab<T> {
    chunks: Vec<Vec<Slot<T>>>,
    /// The head of the list of empty slots.
    free: u32,
    len: usize,
}

#[derive(Debug, Clone)]
enum Slot<T> {
    Full(T),
    /// The next empty slot.
    Empty(u32),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE, len: 0 }
    }
}

impl<T> Slab<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the index, which is the last that became free, or the one after all others.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.free != NONE {
            let index = self.free;
            let slot = self.slot_mut(index);
            let Slot::Empty(next) = *slot else { unreachable!("the free list holds empty slots") };
            *slot = Slot::Full(value);
            self.free = next;
            return index;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            let capacity = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        chunk.push(Slot::Full(value));
        (number * CHUNK + chunk.len() - 1) as u32
    }

    /// Takes a value out and makes its index free. Panics if there is none.
    pub fn remove(&mut self, index: u32) -> T {
        let free = self.free;
        match std::mem::replace(self.slot_mut(index), Slot::Empty(free)) {
            Slot::Full(value) => {
                self.free = index;
                self.len -= 1;
                value
            }
            Slot::Empty(_) => unreachable!("slot {index} was removed before"),
        }
    }

    /// Drops the last values, a chunk at most. Those before them keep their indices, but nothing
    /// may be inserted any more.
    pub fn drop_chunk(&mut self) {
        let chunk = self.chunks.pop().unwrap_or_default();
        self.len -= chunk.iter().filter(|slot| matches!(slot, Slot::Full(_))).count();
    }

    /// Takes out the last slot, full or empty; None if there is none. Those before it keep their
    /// indices, but nothing may be inserted any more.
    pub fn pop_slot(&mut self) -> Option<Option<T>> {
        let chunk = self.chunks.last_mut()?;
        let slot = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        Some(match slot? {
            Slot::Full(value) => {
                self.len -= 1;
                Some(value)
            }
            Slot::Empty(_) => None,
        })
    }

    /// None if nothing has the index.
    pub fn get(&self, index: u32) -> Option<&T> {
        match self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)? {
            Slot::Full(value) => Some(value),
            Slot::Empty(_) => None,
        }
    }

    /// None if nothing has the index.
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        match self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)? {
            Slot::Full(value) => Some(value),
            Slot::Empty(_) => None,
        }
    }

    /// All indices lie below this.
    pub fn end(&self) -> u32 {
        let last = self.chunks.last().map_or(0, Vec::len);
        (self.chunks.len().saturating_sub(1) * CHUNK + last) as u32
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let slots = self.chunks.iter().enumerate().flat_map(|(number, chunk)| {
            chunk.iter().enumerate().map(move |(at, slot)| ((number * CHUNK + at) as u32, slot))
        });
        slots.filter_map(|(index, slot)| match slot {
            Slot::Full(value) => Some((index, value)),
            Slot::Empty(_) => None,
        })
    }

    /// Bytes held for slots, full or empty.
    pub fn heap_size(&self) -> usize {
        let slots = match &self.chunks[..] {
            [only] => only.capacity(),
            chunks => chunks.len() * CHUNK,
        };
        slots * size_of::<Slot<T>>() + self.chunks.capacity() * size_of::<Vec<Slot<T>>>()
    }

    /// Bytes held that no value takes.
    pub fn spare_bytes(&self) -> usize {
        self.heap_size() - self.len * size_of::<Slot<T>>()
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> &mut Slot<T> {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

/// By an index.
impl<T> Fetch for Slab<T> {
    type By = u32;

    fn fetch(&self, index: u32) {
        if let Some(chunk) = self.chunks.get(index as usize / CHUNK)
            && let Some(slot) = chunk.get(index as usize % CHUNK)
        {
            fetch_whole(slot);
        }
    }
}

impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        self.get(index).expect("the slot is full")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        match self.slot_mut(index) {
            Slot::Full(value) => value,
            Slot::Empty(_) => unreachable!("slot {index} is empty"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stay_and_are_used_again() {
        let mut slab = Slab::default();
        let indices: Vec<u32> = (0..3000).map(|value| slab.insert(value)).collect();
        assert!((0..3000).all(|value| slab[indices[value as usize]] == value));
        assert_eq!(slab.remove(17), 17);
        assert_eq!(slab.remove(2999), 2999);
        assert_eq!((slab.get(17), slab.len()), (None, 2998));
        assert_eq!((slab.insert(-1), slab.insert(-2)), (2999, 17));
        assert_eq!(slab.iter().count(), 3000);
        assert_eq!((slab.end(), Slab::<u8>::default().end()), (3000, 0));
        assert_eq!(slab.get_mut(17), Some(&mut -2));
        assert_eq!(slab.get_mut(3000), None);
    }

    #[test]
    fn slots_go_from_the_end() {
        let mut slab = Slab::default();
        (0..1026).for_each(|value| _ = slab.insert(value));
        slab.remove(1024);
        assert_eq!((slab.pop_slot(), slab.pop_slot()), (Some(Some(1025)), Some(None)));
        assert_eq!((slab.pop_slot(), slab.len()), (Some(Some(1023)), 1023));
        while slab.pop_slot().is_some() {}
        assert_eq!((slab.len(), slab.end()), (0, 0));
    }

    #[test]
    fn chunks_go_from_the_end() {
        let mut slab = Slab::default();
        (0..3000).for_each(|value| _ = slab.insert(value));
        slab.remove(2999);
        slab.remove(17);
        for len in [2047, 1023, 0, 0] {
            slab.drop_chunk();
            assert_eq!((slab.len(), slab.iter().count()), (len, len));
        }
    }
}
