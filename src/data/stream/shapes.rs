//! Field names that the entries of a stream share: its entries mostly come in few shapes.

use crate::util::hash::hash;

/// A stream's events have a dozen shapes. More are not worth the search at each append: entries of
/// others repeat their names.
const SHAPES_MAX: usize = 32;
const NAMES_BYTES_MAX: usize = 1024;

/// The names in a list of names and values.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    fields: &'a [&'a [u8]],
    hash: u64,
}

impl<'a> Names<'a> {
    #[inline]
    pub fn of(fields: &'a [&'a [u8]]) -> Self {
        let mix = |all: u64, [name, _]: &[&[u8]; 2]| all.rotate_left(23).wrapping_add(hash(name));
        Self { fields, hash: pairs_of(fields).iter().fold(0, mix) }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn len(&self) -> usize {
        self.fields.len() / 2
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        pairs_of(self.fields).iter().map(|&[name, _]| name)
    }
}

/// Names with their values, from a list of both in turn.
pub(super) fn pairs_of<'f, 'a>(fields: &'f [&'a [u8]]) -> &'f [[&'a [u8]; 2]] {
    fields.as_chunks().0
}

#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    hashes: Vec<u64>,
    names: Vec<Box<[Box<[u8]>]>>,
}

impl Shapes {
    pub fn get(&self, shape: u32) -> &[Box<[u8]>] {
        &self.names[shape as usize]
    }

    /// The shape with these names, new if there is room for it.
    pub fn find_or_add(&mut self, names: &Names) -> Option<u32> {
        let mut worth_a_search = self.hashes.iter().take(SHAPES_MAX);
        if let Some(at) = worth_a_search.position(|&hash| hash == names.hash) {
            let is_equal = self.names[at].iter().map(|name| &**name).eq(names.iter());
            return is_equal.then_some(at as u32);
        }
        let names_bytes: usize = names.iter().map(<[u8]>::len).sum();
        if self.hashes.len() >= SHAPES_MAX || names_bytes > NAMES_BYTES_MAX {
            return None;
        }
        Some(self.add(names))
    }

    /// As `find_or_add`, but there is always room: for who does not repeat the names either.
    pub fn find_or_add_anyway(&mut self, names: &Names) -> u32 {
        self.find_or_add(names).unwrap_or_else(|| self.add(names))
    }

    fn add(&mut self, names: &Names) -> u32 {
        self.hashes.push(names.hash);
        self.names.push(names.iter().map(Box::from).collect());
        (self.hashes.len() - 1) as u32
    }

    pub fn heap_size(&self) -> usize {
        let names = self.names.iter().flatten().map(|name| size_of::<Box<[u8]>>() + name.len());
        self.hashes.capacity() * size_of::<u64>()
            + self.names.capacity() * size_of::<Box<[Box<[u8]>]>>()
            + names.sum::<usize>()
    }
}
