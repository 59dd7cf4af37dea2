//! The texts of a list's chunk, one behind the other in one block.

use std::collections::VecDeque;

use crate::data::item::Item;

use super::chunk::CHUNK_BYTES_MAX;

/// Each text has its length before and behind it, so that they can be walked both ways. The free
/// room is at the end that grew last: a queue grows at one end and shrinks at the other.
#[derive(Clone, Debug, Default)]
pub(super) struct PackedTexts {
    buffer: Box<[u8]>,
    start: u32,
    end: u32,
    count: u32,
}

/// Lengths below it take one byte on either side; from it on, this mark and four bytes.
const LONG: u8 = u8::MAX;
const LONG_BYTES: usize = 1 + size_of::<u32>();

impl PackedTexts {
    pub fn of_ids(ids: &VecDeque<u32>) -> Self {
        let mut packed = Self::default();
        for &id in ids {
            packed.insert(packed.len(), &Item::of_number(id.into()));
        }
        packed
    }

    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Where the first entry starts.
    pub fn start(&self) -> usize {
        self.start as usize
    }

    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    pub fn get(&self, index: usize) -> &[u8] {
        self.text_at(self.offset_of(index))
    }

    /// Bytes that the entries take.
    pub fn used(&self) -> usize {
        (self.end - self.start) as usize
    }

    fn length_size(len: usize) -> usize {
        if len < usize::from(LONG) { 1 } else { LONG_BYTES }
    }

    pub fn entry_size(text: &[u8]) -> usize {
        text.len() + 2 * Self::length_size(text.len())
    }

    /// The text whose entry starts here.
    fn text_at(&self, offset: usize) -> &[u8] {
        let (len, start) = match self.buffer[offset] {
            LONG => (self.long(offset + 1), offset + LONG_BYTES),
            len => (usize::from(len), offset + 1),
        };
        &self.buffer[start..start + len]
    }

    /// The text whose entry ends here.
    fn text_before(&self, offset: usize) -> &[u8] {
        let (len, end) = match self.buffer[offset - 1] {
            LONG => (self.long(offset - LONG_BYTES), offset - LONG_BYTES),
            len => (usize::from(len), offset - 1),
        };
        &self.buffer[end - len..end]
    }

    fn long(&self, offset: usize) -> usize {
        let bytes = self.buffer[offset..].first_chunk().expect("a length is written whole");
        u32::from_le_bytes(*bytes) as usize
    }

    fn write_entry(&mut self, offset: usize, text: &[u8]) {
        let entry = &mut self.buffer[offset..offset + Self::entry_size(text)];
        let (head, rest) = entry.split_at_mut(Self::length_size(text.len()));
        let (body, tail) = rest.split_at_mut(text.len());
        body.copy_from_slice(text);
        if let ([head], [tail]) = (&mut *head, &mut *tail) {
            (*head, *tail) = (text.len() as u8, text.len() as u8);
        } else {
            let len = (text.len() as u32).to_le_bytes();
            head[0] = LONG;
            head[1..].copy_from_slice(&len);
            tail[..len.len()].copy_from_slice(&len);
            tail[len.len()] = LONG;
        }
    }

    /// Where the entry of this index starts: walked to from the nearer end.
    pub fn offset_of(&self, index: usize) -> usize {
        if index <= self.len() / 2 {
            let mut offset = self.start as usize;
            for _ in 0..index {
                self.step(&mut offset);
            }
            offset
        } else {
            let mut offset = self.end as usize;
            for _ in index..self.len() {
                self.step_back(&mut offset);
            }
            offset
        }
    }

    pub fn insert(&mut self, index: usize, text: &[u8]) {
        let offset = self.open(index, Self::entry_size(text));
        self.write_entry(offset, text);
        self.count += 1;
    }

    /// Opens a gap before the entry of this index and returns where it starts.
    fn open(&mut self, index: usize, size: usize) -> usize {
        let at_front = index == 0 && self.count > 0;
        let room =
            if at_front { self.start as usize } else { self.buffer.len() - self.end as usize };
        if room < size {
            self.make_room(size, at_front);
        }
        if at_front {
            self.start -= size as u32;
            return self.start as usize;
        }
        let offset = self.offset_of(index);
        self.buffer.copy_within(offset..self.end as usize, offset + size);
        self.end += size as u32;
        offset
    }

    /// Moves all room to one end. Unless half is free the block doubles, so that what a move costs
    /// is spread over as many bytes put in.
    fn make_room(&mut self, size: usize, at_front: bool) {
        const CAPACITY_MIN: usize = 32;
        let (start, end) = (self.start as usize, self.end as usize);
        let used = end - start;
        let needed = used + size;
        let mut capacity = self.buffer.len();
        if needed > CHUNK_BYTES_MAX {
            capacity = needed;
        } else if needed > capacity / 2 {
            capacity = needed.next_power_of_two().max(CAPACITY_MIN);
        }
        let start_new = if at_front { capacity - used } else { 0 };
        if capacity == self.buffer.len() {
            self.buffer.copy_within(start..end, start_new);
        } else {
            let mut buffer = vec![0; capacity].into_boxed_slice();
            buffer[start_new..start_new + used].copy_from_slice(&self.buffer[start..end]);
            self.buffer = buffer;
        }
        self.start = start_new as u32;
        self.end = (start_new + used) as u32;
    }

    pub fn remove(&mut self, index: usize) {
        let offset = self.offset_of(index);
        let size = Self::entry_size(self.text_at(offset));
        let (start, end) = (self.start as usize, self.end as usize);
        if index <= self.len() / 2 {
            self.buffer.copy_within(start..offset, start + size);
            self.start += size as u32;
        } else {
            self.buffer.copy_within(offset + size..end, offset);
            self.end -= size as u32;
        }
        self.count -= 1;
    }

    /// The text whose entry starts here; steps past it.
    pub fn step(&self, offset: &mut usize) -> &[u8] {
        let text = self.text_at(*offset);
        *offset += Self::entry_size(text);
        text
    }

    /// The text whose entry ends here; steps before it.
    pub fn step_back(&self, offset: &mut usize) -> &[u8] {
        let text = self.text_before(*offset);
        *offset -= Self::entry_size(text);
        text
    }

    pub fn split_off(&mut self, index: usize) -> Self {
        let offset = self.offset_of(index);
        let buffer: Box<[u8]> = self.buffer[offset..self.end as usize].into();
        let (end, count) = (buffer.len() as u32, self.count - index as u32);
        self.end = offset as u32;
        self.count = index as u32;
        Self { buffer, start: 0, end, count }
    }

    pub fn extend(&mut self, other: &Self) {
        let entries = &other.buffer[other.start as usize..other.end as usize];
        let offset = self.open(self.len(), entries.len());
        self.buffer[offset..offset + entries.len()].copy_from_slice(entries);
        self.count += other.count;
    }
}
