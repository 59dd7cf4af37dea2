//! A stretch of a list in one block of memory: job ids as numbers, anything else as packed texts.

use crate::data::item::{self, Item};
use crate::data::listpack;

use super::ids::{self, Ids};
use super::packed::PackedTexts;

/// What a chunk grows to. Small enough that moving half of it, which an insertion in its middle
/// costs, takes 0.1 µs; an element that is larger has a chunk to itself.
pub(super) const CHUNK_BYTES_MAX: usize = 4096;
const IDS_MAX: usize = CHUNK_BYTES_MAX / size_of::<u32>();

/// Ids that a chunk must hold before a text opens another chunk instead of turning the ids into
/// texts. So a list that mixes both has no chunk for every element.
const IDS_KEPT_MIN: usize = 64;

/// An element as it is looked for or put in: parsed once.
#[derive(Clone, Copy)]
pub(super) struct ElementProbe<'a> {
    text: &'a [u8],
    id: Option<u32>,
}

impl<'a> ElementProbe<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        let id = item::as_number(text).and_then(|number| u32::try_from(number).ok());
        Self { text, id }
    }
}

#[derive(Clone, Debug)]
pub(super) enum ListChunk {
    Ids(Ids),
    Texts(PackedTexts),
}

impl Default for ListChunk {
    fn default() -> Self {
        ListChunk::Texts(PackedTexts::default())
    }
}

impl ListChunk {
    /// The chunk of an element that no other chunk has room for.
    pub fn of(probe: ElementProbe) -> Self {
        match probe.id {
            Some(id) => ListChunk::Ids(Ids::from([id])),
            None => {
                let mut packed = PackedTexts::default();
                packed.insert(0, probe.text);
                ListChunk::Texts(packed)
            }
        }
    }

    pub fn len(&self) -> usize {
        match self {
            ListChunk::Ids(ids) => ids.len(),
            ListChunk::Texts(packed) => packed.len(),
        }
    }

    pub fn heap_size(&self) -> usize {
        match self {
            ListChunk::Ids(ids) => ids.capacity() * size_of::<u32>(),
            ListChunk::Texts(packed) => packed.capacity(),
        }
    }

    pub fn get(&self, index: usize) -> Item<'_> {
        match self {
            ListChunk::Ids(ids) => Item::of_number(ids[index].into()),
            ListChunk::Texts(packed) => Item::of_bytes(packed.get(index)),
        }
    }

    /// What the element of this index takes in a listpack.
    pub fn listpack_bytes(&self, index: usize) -> usize {
        match self {
            ListChunk::Ids(ids) => listpack::integer_bytes(ids[index].into()),
            ListChunk::Texts(packed) => listpack::entry_bytes(packed.get(index)),
        }
    }

    /// Whether an end of the chunk can take the element; if not, it starts a chunk of its own.
    pub fn has_room(&self, probe: ElementProbe) -> bool {
        match (self, probe.id) {
            (ListChunk::Ids(ids), Some(_)) => ids.len() < IDS_MAX,
            (ListChunk::Ids(ids), None) => {
                ids.len() < IDS_KEPT_MIN && probe.text.len() < CHUNK_BYTES_MAX / 2
            }
            (ListChunk::Texts(packed), _) => {
                packed.used() + PackedTexts::entry_size(probe.text) <= CHUNK_BYTES_MAX
            }
        }
    }

    /// May leave the chunk oversized (`is_oversized`).
    pub fn insert(&mut self, index: usize, probe: ElementProbe) {
        match (&mut *self, probe.id) {
            (ListChunk::Ids(ids), Some(id)) => ids.insert(index, id),
            (ListChunk::Ids(ids), None) => {
                let mut packed = PackedTexts::of_ids(ids);
                packed.insert(index, probe.text);
                *self = ListChunk::Texts(packed);
            }
            (ListChunk::Texts(packed), _) => packed.insert(index, probe.text),
        }
    }

    /// May leave the chunk oversized (`is_oversized`).
    pub fn set(&mut self, index: usize, probe: ElementProbe) {
        match (&mut *self, probe.id) {
            (ListChunk::Ids(ids), Some(id)) => ids[index] = id,
            _ => {
                self.remove(index);
                self.insert(index, probe);
            }
        }
    }

    pub fn remove(&mut self, index: usize) {
        match self {
            ListChunk::Ids(ids) => {
                ids.remove(index);
            }
            ListChunk::Texts(packed) => packed.remove(index),
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
            ListChunk::Ids(ids) => ids.retain(|_| is_kept()),
            ListChunk::Texts(packed) => {
                let mut kept = PackedTexts::default();
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
    pub fn positions(&self, probe: ElementProbe) -> impl Iterator<Item = usize> {
        let mut start = 0;
        let mut offset = self.offset_of(0);
        std::iter::from_fn(move || {
            let at = match (self, probe.id) {
                (ListChunk::Ids(_), None) => None,
                (ListChunk::Ids(ids), Some(id)) => ids::find(ids, start, id),
                (ListChunk::Texts(packed), _) => {
                    (start..packed.len()).find(|_| packed.step(&mut offset) == probe.text)
                }
            }?;
            start = at + 1;
            Some(at)
        })
    }

    /// The indices that hold the element, descending.
    pub fn positions_back(&self, probe: ElementProbe) -> impl Iterator<Item = usize> {
        let mut end = self.len();
        let mut offset = self.offset_of(end);
        std::iter::from_fn(move || {
            end = match (self, probe.id) {
                (ListChunk::Ids(_), None) => None,
                (ListChunk::Ids(ids), Some(id)) => ids::find_back(ids, end, id),
                (ListChunk::Texts(packed), _) => {
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
            ListChunk::Ids(ids) => Item::of_number(ids[index].into()),
            ListChunk::Texts(packed) => Item::of_bytes(packed.step(&mut offset)),
        })
    }

    /// The elements below `end`, the last first.
    pub fn iter_back(&self, end: usize) -> impl Iterator<Item = Item<'_>> {
        let mut offset = self.offset_of(end);
        (0..end).rev().map(move |index| match self {
            ListChunk::Ids(ids) => Item::of_number(ids[index].into()),
            ListChunk::Texts(packed) => Item::of_bytes(packed.step_back(&mut offset)),
        })
    }

    /// Where a walk over packed texts begins; ids have no use for it.
    fn offset_of(&self, index: usize) -> usize {
        match self {
            ListChunk::Ids(_) => 0,
            ListChunk::Texts(packed) => packed.offset_of(index),
        }
    }

    pub fn is_oversized(&self) -> bool {
        match self {
            ListChunk::Ids(ids) => ids.len() > IDS_MAX,
            ListChunk::Texts(packed) => packed.len() > 1 && packed.used() > CHUNK_BYTES_MAX,
        }
    }

    /// Keeps the first half of the elements and returns the rest.
    pub fn split(&mut self) -> Self {
        let middle = self.len() / 2;
        match self {
            ListChunk::Ids(ids) => ListChunk::Ids(ids.split_off(middle)),
            ListChunk::Texts(packed) => ListChunk::Texts(packed.split_off(middle)),
        }
    }

    /// Whether it has room for the elements of the chunk behind it, with half of it left free.
    pub fn takes(&self, next: &Self) -> bool {
        match (self, next) {
            (ListChunk::Ids(ids), ListChunk::Ids(next)) => ids.len() + next.len() <= IDS_MAX / 2,
            (ListChunk::Texts(packed), ListChunk::Texts(next)) => {
                packed.used() + next.used() <= CHUNK_BYTES_MAX / 2
            }
            _ => false,
        }
    }

    /// Takes them over.
    pub fn join(&mut self, next: &Self) {
        match (self, next) {
            (ListChunk::Ids(ids), ListChunk::Ids(next)) => ids.extend(next),
            (ListChunk::Texts(packed), ListChunk::Texts(next)) => packed.extend(next),
            _ => unreachable!("only chunks of one kind are joined"),
        }
    }
}
