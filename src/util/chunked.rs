//! A vector that grows a chunk at a time once it is large, so that no push moves all that is there.
//! To double a `Vec` of half a million entries stops the world for ten milliseconds. A small one is
//! one allocation, as a `Vec`.

/// Elements a chunk: a power of two, so that a place is found by shifts.
const CHUNK: usize = 1024;

#[derive(Clone, Debug)]
pub struct Chunked<T> {
    full: Vec<Box<[T; CHUNK]>>,
    /// What comes behind the full chunks, a chunk at most.
    last: Vec<T>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { full: Vec::new(), last: Vec::new() }
    }
}

impl<T> Chunked<T> {
    /// With room for so many, or for a chunk of them.
    pub fn with_capacity(len: usize) -> Self {
        Self { full: Vec::new(), last: Vec::with_capacity(len.min(CHUNK)) }
    }

    pub fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// None from `len` on.
    pub fn get(&self, index: usize) -> Option<&T> {
        match self.full.get(index / CHUNK) {
            Some(chunk) => Some(&chunk[index % CHUNK]),
            None => self.last.get(index - self.full.len() * CHUNK),
        }
    }

    /// Appends a value, at the index that `len` was.
    pub fn push(&mut self, value: T) {
        if self.last.len() == CHUNK {
            let full = std::mem::replace(&mut self.last, Vec::with_capacity(CHUNK));
            let Ok(full) = full.try_into() else { unreachable!("a full chunk has that length") };
            self.full.push(full);
        }
        self.last.push(value);
    }

    /// None if it is empty.
    pub fn pop(&mut self) -> Option<T> {
        if self.last.is_empty() {
            let full: Box<[T]> = self.full.pop()?;
            self.last = full.into_vec();
        }
        let value = self.last.pop();
        if self.full.is_empty() && self.last.len() < self.last.capacity() / 4 {
            self.last.shrink_to(2 * self.last.len());
        }
        value
    }

    /// Drops the last elements, a chunk at most; false if there are none.
    pub fn drop_chunk(&mut self) -> bool {
        let had_last = !std::mem::take(&mut self.last).is_empty();
        had_last || self.full.pop().is_some()
    }

    /// Takes an element out; the last one takes its place.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.pop().expect("an element is there");
        if index == self.len() { last } else { std::mem::replace(&mut self[index], last) }
    }

    /// Takes an element out; those behind it close the gap.
    pub fn remove(&mut self, index: usize) -> T {
        let last = self.pop().expect("an element is there");
        (index..self.len()).rev().fold(last, |behind, at| std::mem::replace(&mut self[at], behind))
    }

    pub fn iter(&self) -> Iter<'_, T> {
        Iter { all: self, number: 0, chunk: self.chunk(0).iter() }
    }

    pub fn heap_size(&self) -> usize {
        let full = self.full.capacity() * size_of::<Box<[T; CHUNK]>>()
            + self.full.len() * size_of::<[T; CHUNK]>();
        full + self.last.capacity() * size_of::<T>()
    }

    /// Empty behind the last.
    fn chunk(&self, number: usize) -> &[T] {
        match self.full.get(number) {
            Some(chunk) => &chunk[..],
            None if number == self.full.len() => &self.last,
            None => &[],
        }
    }
}

impl<T> std::ops::Index<usize> for Chunked<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: usize) -> &T {
        self.get(index).expect("the index is below the length")
    }
}

impl<T> std::ops::IndexMut<usize> for Chunked<T> {
    #[inline]
    fn index_mut(&mut self, index: usize) -> &mut T {
        let full_len = self.full.len() * CHUNK;
        match self.full.get_mut(index / CHUNK) {
            Some(chunk) => &mut chunk[index % CHUNK],
            None => &mut self.last[index - full_len],
        }
    }
}

/// Skips any number of elements at once.
pub struct Iter<'a, T> {
    all: &'a Chunked<T>,
    /// The chunk that the iterator is in.
    number: usize,
    /// What is left of it.
    chunk: std::slice::Iter<'a, T>,
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        self.nth(0)
    }

    #[inline]
    fn nth(&mut self, count: usize) -> Option<&'a T> {
        let Some(beyond) = count.checked_sub(self.chunk.len()) else {
            return self.chunk.nth(count);
        };
        self.number = (self.number + 1 + beyond / CHUNK).min(self.all.full.len() + 1);
        self.chunk = self.all.chunk(self.number).iter();
        self.chunk.nth(beyond % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn random_operations_agree_with_a_vector() {
        for seed in 0..20 {
            let mut rng = Rng::from_seed(seed);
            let (mut chunked, mut model) = (Chunked::default(), Vec::new());
            let len_max = 1 + rng.below(3 * CHUNK);
            for step in 0..2_000 {
                // Now and then by many at once, so that it passes the bounds of chunks both ways.
                let wanted = if rng.below(100) == 0 { rng.below(len_max) } else { model.len() + 1 };
                while model.len() > wanted {
                    assert_eq!(chunked.pop(), model.pop());
                }
                while model.len() < wanted {
                    chunked.push(step);
                    model.push(step);
                }
                let index = rng.below(model.len().max(1));
                assert_eq!(chunked.get(index), model.get(index));
                assert_eq!(chunked.iter().nth(index), model.get(index));
                if let Some(value) = model.get_mut(index) {
                    *value += 1;
                    chunked[index] += 1;
                    match rng.below(4) {
                        0 => assert_eq!(chunked.swap_remove(index), model.swap_remove(index)),
                        1 => assert_eq!(chunked.remove(index), model.remove(index)),
                        _ => {}
                    }
                }
                assert_eq!(chunked.len(), model.len());
            }
            assert!(chunked.iter().eq(&model) && chunked.clone().iter().eq(&model));
            let mut some = chunked.iter();
            for skipped in [0, 5, CHUNK - 1, CHUNK, 0, 2 * CHUNK, 1] {
                let expect = model.splice(..(skipped + 1).min(model.len()), []).nth(skipped);
                assert_eq!(some.nth(skipped).copied(), expect);
            }
        }
    }

    #[test]
    fn chunks_go_from_the_end() {
        let mut chunked = Chunked::default();
        (0..2 * CHUNK + 1).for_each(|value| chunked.push(value));
        for len in [2 * CHUNK, CHUNK, 0] {
            assert!(chunked.drop_chunk());
            assert_eq!(chunked.len(), len);
        }
        assert!(!chunked.drop_chunk());
    }

    #[test]
    fn it_holds_no_more_than_a_vector() {
        let mut chunked = Chunked::default();
        assert_eq!(chunked.heap_size(), 0);
        (0..100_u64).for_each(|value| chunked.push(value));
        assert_eq!(chunked.heap_size(), 128 * 8);
        (100..100_000).for_each(|value| chunked.push(value));
        assert!(chunked.heap_size() < 102_000 * 8);
        while chunked.len() > 4 {
            chunked.pop();
        }
        assert!(chunked.heap_size() <= 16 * 8 + 128 * 8);
    }
}
