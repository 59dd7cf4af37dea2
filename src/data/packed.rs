//! A small collection in one block: a head, then the elements one behind the other.
//!
//! Texts stand in the order they came, each behind its length. Looking one up walks past those
//! before it, about a nanosecond each, which for a dozen costs less than hashing.

use std::ops::Range;

use crate::data::block::Block;

/// More elements, or a larger block, and the collection gets an index instead. A change moves what
/// stands behind it, so the size bounds its cost. Lengths of elements do not matter.
pub const COUNT_MAX: usize = 128;
pub const BYTES_MAX: usize = 16 * 1024;

const HEAD_BYTES: usize = 4;

/// What a collection notes about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Meant for whoever owns the collection.
    pub flags: u8,
    pub count: u8,
    /// The length of the longest text of late, or of a longer one: sizes that can be set to bound
    /// it are far below the largest value.
    pub longest: u16,
}

/// `Either` relies on its being a block and nothing else.
#[repr(transparent)]
#[derive(Clone, Debug, Default)]
pub struct Packed(Block);

impl Packed {
    pub fn head(&self) -> Head {
        match *self.0 {
            [flags, count, low, high, ..] => {
                Head { flags, count, longest: u16::from_le_bytes([low, high]) }
            }
            _ => Head::default(),
        }
    }

    pub fn set_head(&mut self, head: Head) {
        let [low, high] = head.longest.to_le_bytes();
        self.0.grow(HEAD_BYTES);
        self.0[..HEAD_BYTES].copy_from_slice(&[head.flags, head.count, low, high]);
    }

    /// The elements' bytes; offsets count from their begin.
    pub fn body(&self) -> &[u8] {
        self.0.get(HEAD_BYTES..).unwrap_or_default()
    }

    /// The text at an offset, and the offset behind it.
    pub fn text(&self, offset: usize) -> (&[u8], usize) {
        let body = self.body();
        let (len, start) = read_len(body, offset);
        (&body[start..start + len], start + len)
    }

    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset == self.body().len() {
                return None;
            }
            let (text, end) = self.text(offset);
            offset = end;
            Some(text)
        })
    }

    pub fn push_text(&mut self, text: &[u8]) {
        let end = self.body().len();
        self.splice(end..end, &[&Length::of(text), text]);
    }

    pub fn push_pair(&mut self, first: &[u8], second: &[u8]) {
        let end = self.body().len();
        self.splice(end..end, &[&Length::of(first), first, &Length::of(second), second]);
    }

    pub fn replace_text(&mut self, range: Range<usize>, text: &[u8]) {
        self.splice(range, &[&Length::of(text), text]);
    }

    /// Replaces bytes of the body.
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        if self.0.is_empty() {
            self.set_head(Head::default());
        }
        self.0.splice(range.start + HEAD_BYTES..range.end + HEAD_BYTES, parts);
    }

    pub fn heap_size(&self) -> usize {
        self.0.heap_size()
    }
}

/// Length and text start at the offset: 7 bits of the length a byte, the lowest first.
fn read_len(body: &[u8], mut offset: usize) -> (usize, usize) {
    let (mut len, mut shift) = (0, 0);
    loop {
        let byte = body[offset];
        offset += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return (len, offset);
        }
        shift += 7;
    }
}

/// A text's length as it is written before the text.
struct Length {
    bytes: [u8; 5],
    len: usize,
}

impl Length {
    fn of(text: &[u8]) -> Self {
        let mut it = Self { bytes: [0; 5], len: 0 };
        let mut rest = text.len();
        while rest >= 0x80 {
            it.bytes[it.len] = rest as u8 | 0x80;
            it.len += 1;
            rest >>= 7;
        }
        it.bytes[it.len] = rest as u8;
        it.len += 1;
        it
    }
}

impl std::ops::Deref for Length {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_length_come_back() {
        let lens = [0, 1, 127, 128, 300, 16_383, 16_384, 70_000];
        let texts = lens.map(|len| vec![len as u8; len]);
        let mut packed = Packed::default();
        assert_eq!(packed.head(), Head::default());
        texts.iter().for_each(|text| packed.push_text(text));
        packed.set_head(Head { flags: 3, count: 200, longest: 65_000 });
        assert!(packed.texts().eq(texts.iter().map(Vec::as_slice)));
        assert_eq!(packed.head(), Head { flags: 3, count: 200, longest: 65_000 });

        let (_, start) = packed.text(0);
        let (_, end) = packed.text(start);
        packed.replace_text(start..end, b"other");
        assert_eq!(packed.text(start).0, b"other");
        assert_eq!(packed.texts().count(), texts.len());
        packed.splice(0..packed.body().len(), &[]);
        assert_eq!(packed.texts().count(), 0);
    }
}
