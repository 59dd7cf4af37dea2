//! A stretch of a list in one block of memory: job ids as numbers, anything else as packed texts.

use crate::data::item::{self, Item};
use crate::data::listpack;

use super::ids::{self, Ids};
use super::packed::Packed;

/// What a chunk grows to. Small enough that moving half of it, which an insertion in its middle
/// costs, takes 0.1 µs; an element that is larger has a chunk to itself.
pub(super) const CHUNK_BYTES_MAX: usize = 4096;
const IDS_MAX: usize = CHUNK_BYTES_MAX / size_of::<u32>();

/// Ids that a chunk must hold before a text opens another chunk instead of turning the ids into
/// texts. So a list that mixes both has no chunk for every element.
const IDS_KEPT_MIN: usize = 64;

/// An element as it is looked for or put in: parsed once.
#[derive(Clone, Copy)]
pub(super) struct Probe<'a> {
    text: &'a [u8],
    id: Option<u32>,
}

impl<'a> Probe<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let id = item::as_number(text).and_then(|number| u32::try_from(number).ok());
        Self { text, id }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Chunk {
    Ids(Ids),
    Packed(Packed),
}

impl Default for Chunk {
    fn default() -> Self {
        Chunk::Packed(Packed::default())
    }
}

impl Chunk {
    /// The chunk of an element that no other chunk has room for.
    pub fn of(probe: Probe) -> Self {
        match probe.id {
            Some(id) => Chunk::Ids(Ids::from([id])),
            None => {
                let mut packed = Packed::default();
                packed.insert(0, probe.text);
                Chunk::Packed(packed)
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Chunk::Ids(ids) => ids.len(),
            Chunk::Packed(packed) => packed.len(),
        }
    }

    pub fn heap_size(&self) -> usize {
        match self {
            Chunk::Ids(ids) => ids.capacity() * size_of::<u32>(),
            Chunk::Packed(packed) => packed.capacity(),
        }
    }

    pub fn get(&self, index: usize) -> Item<'_> {
        match self {
            Chunk::Ids(ids) => Item::of_number(ids[index].into()),
            Chunk::Packed(packed) => Item::of_bytes(packed.get(index)),
        }
    }

    /// What the element of this index takes in a listpack.
    pub fn listpack_bytes(&self, index: usize) -> usize {
        match self {
            Chunk::Ids(ids) => listpack::integer_bytes(ids[index].into()),
            Chunk::Packed(packed) => listpack::entry_bytes(packed.get(index)),
        }
    }

    /// Whether an end of the chunk can take the element; if not, it starts a chunk of its own.
    pub fn has_room(&self, probe: Probe) -> bool {
        match (self, probe.id) {
            (Chunk::Ids(ids), Some(_)) => ids.len() < IDS_MAX,
            (Chunk::Ids(ids), None) => {
                ids.len() < IDS_KEPT_MIN && probe.text.len() < CHUNK_BYTES_MAX / 2
            }
            (Chunk::Packed(packed), _) => {
                packed.used() + Packed::entry_size(probe.text) <= CHUNK_BYTES_MAX
            }
        }
    }

    /// May leave the chunk oversized (`is_oversized`).
    pub fn insert(&mut self, index: usize, probe: Probe) {
        match (&mut *self, probe.id) {
            (Chunk::Ids(ids), Some(id)) => ids.insert(index, id),
            (Chunk::Ids(ids), None) => {
                let mut packed = Packed::of_ids(ids);
                packed.insert(index, probe.text);
                *self = Chunk::Packed(packed);
            }
            (Chunk::Packed(packed), _) => packed.insert(index, probe.text),
        }
    }

    /// May leave the chunk oversized (`is_oversized`).
    pub fn set(&mut self, index: usize, probe: Probe) {
        match (&mut *self, probe.id) {
            (Chunk::Ids(ids), Some(id)) => ids[index] = id,
            _ => {
                self.remove(index);
                self.insert(index, probe);
            }
        }
    }

    pub fn remove(&mut self, index: usize) {
        match self {
            Chunk::Ids(ids) => {
                ids.remove(index);
            }
            Chunk::Packed(packed) => packed.remove(index),
        }
    }

    /// Removes the elements of these ascending indices.
    pub fn remove_all(&mut self, indices: &[usize]) {
        if let &[index] = indices {
            return self.remove(index);
        }
        let mut doomed = indices.iter().copied().peekable();
        let mut index = 0;
        let mut is_kept = move || {
            index += 1;
            doomed.next_if_eq(&(index - 1)).is_none()
        };
        match self {
            Chunk::Ids(ids) => ids.retain(|_| is_kept()),
            Chunk::Packed(packed) => {
                let mut kept = Packed::default();
                let mut offset = packed.start();
                for _ in 0..packed.len() {
                    let text = packed.step(&mut offset);
                    if is_kept() {
                        kept.insert(kept.len(), text);
                    }
                }
                *packed = kept;
            }
        }
    }

    /// The indices that hold the element, ascending.
    pub fn positions(&self, probe: Probe) -> impl Iterator<Item = usize> {
        let mut start = 0;
        let mut offset = self.offset_of(0);
        std::iter::from_fn(move || {
            let at = match (self, probe.id) {
                (Chunk::Ids(_), None) => None,
                (Chunk::Ids(ids), Some(id)) => ids::find(ids, start, id),
                (Chunk::Packed(packed), _) => {
                    (start..packed.len()).find(|_| packed.step(&mut offset) == probe.text)
                }
            }?;
            start = at + 1;
            Some(at)
        })
    }

    /// The indices that hold the element, descending.
    pub fn positions_back(&self, probe: Probe) -> impl Iterator<Item = usize> {
        let mut end = self.len();
        let mut offset = self.offset_of(end);
        std::iter::from_fn(move || {
            end = match (self, probe.id) {
                (Chunk::Ids(_), None) => None,
                (Chunk::Ids(ids), Some(id)) => ids::find_back(ids, end, id),
                (Chunk::Packed(packed), _) => {
                    (0..end).rev().find(|_| packed.step_back(&mut offset) == probe.text)
                }
            }?;
            Some(end)
        })
    }

    /// The elements from `start` on.
    pub fn iter(&self, start: usize) -> impl Iterator<Item = Item<'_>> {
        let mut offset = self.offset_of(start);
        (start..self.len()).map(move |index| match self {
            Chunk::Ids(ids) => Item::of_number(ids[index].into()),
            Chunk::Packed(packed) => Item::of_bytes(packed.step(&mut offset)),
        })
    }

    /// The elements below `end`, the last first.
    pub fn iter_back(&self, end: usize) -> impl Iterator<Item = Item<'_>> {
        let mut offset = self.offset_of(end);
        (0..end).rev().map(move |index| match self {
            Chunk::Ids(ids) => Item::of_number(ids[index].into()),
            Chunk::Packed(packed) => Item::of_bytes(packed.step_back(&mut offset)),
        })
    }

    /// Where a walk over packed texts begins; ids have no use for it.
    fn offset_of(&self, index: usize) -> usize {
        match self {
            Chunk::Ids(_) => 0,
            Chunk::Packed(packed) => packed.offset_of(index),
        }
    }

    pub fn is_oversized(&self) -> bool {
        match self {
            Chunk::Ids(ids) => ids.len() > IDS_MAX,
            Chunk::Packed(packed) => packed.len() > 1 && packed.used() > CHUNK_BYTES_MAX,
        }
    }

    /// Keeps the first half of the elements and returns the rest.
    pub fn split(&mut self) -> Self {
        let middle = self.len() / 2;
        match self {
            Chunk::Ids(ids) => Chunk::Ids(ids.split_off(middle)),
            Chunk::Packed(packed) => Chunk::Packed(packed.split_off(middle)),
        }
    }

    /// Takes over the elements of the chunk behind it, if that leaves half of this one free.
    pub fn join(&mut self, next: &Self) -> bool {
        match (self, next) {
            (Chunk::Ids(ids), Chunk::Ids(next)) if ids.len() + next.len() <= IDS_MAX / 2 => {
                ids.extend(next);
                true
            }
            (Chunk::Packed(packed), Chunk::Packed(next))
                if packed.used() + next.used() <= CHUNK_BYTES_MAX / 2 =>
            {
                packed.extend(next);
                true
            }
            _ => false,
        }
    }
}
