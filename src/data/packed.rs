//! A small collection in one block: a head, then the elements one behind the other.
//!
//! Texts stand in the order they came, each behind its length. Looking one up walks past those
//! before it, about a nanosecond each, which for a dozen costs less than hashing. Names of fields
//! that many hashes have stand as two bytes (`WORDS`).

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
        match read_len(body, offset) {
            (Length::Bytes(len), start) => (&body[start..start + len], start + len),
            (Length::Word(code), end) => (WORDS[code], end),
        }
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
        self.splice(end..end, &[&Prefix::of_len(text.len()), text]);
    }

    /// A field, which may be one of `WORDS`, and its value.
    pub fn push_pair(&mut self, field: &[u8], value: &[u8]) {
        let end = self.body().len();
        let len = Prefix::of_len(value.len());
        match code_of(field) {
            Some(code) => self.splice(end..end, &[&[code | MORE, 0], &len, value]),
            None => {
                self.splice(end..end, &[&Prefix::of_len(field.len()), field, &len, value]);
            }
        }
    }

    pub fn replace_text(&mut self, range: Range<usize>, text: &[u8]) {
        self.splice(range, &[&Prefix::of_len(text.len()), text]);
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

/// In a byte of a length: another follows.
const MORE: u8 = 0x80;

/// What stands before a text, or instead of it.
enum Length {
    Bytes(usize),
    Word(usize),
}

/// A length at the offset, and the offset behind it: 7 bits a byte, the lowest first. No length
/// ends in a zero byte behind others, so that is how a word is written.
fn read_len(body: &[u8], mut offset: usize) -> (Length, usize) {
    let (mut len, mut shift) = (0, 0);
    loop {
        let byte = body[offset];
        offset += 1;
        len |= usize::from(byte & !MORE) << shift;
        if byte < MORE {
            let is_word = byte == 0 && shift > 0;
            return (if is_word { Length::Word(len) } else { Length::Bytes(len) }, offset);
        }
        shift += 7;
    }
}

/// A text's length as it is written before the text.
struct Prefix {
    bytes: [u8; 5],
    len: usize,
}

impl Prefix {
    fn of_len(len: usize) -> Self {
        let mut it = Self { bytes: [0; 5], len: 0 };
        let mut rest = len;
        while rest >= usize::from(MORE) {
            it.bytes[it.len] = rest as u8 | MORE;
            it.len += 1;
            rest >>= 7;
        }
        it.bytes[it.len] = rest as u8;
        it.len += 1;
        it
    }
}

impl std::ops::Deref for Prefix {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

macro_rules! words {
    ($($code:literal $word:literal)*) => {
        /// By code, at most 127 of them.
        const WORDS: &[&[u8]] = &[$($word),*];

        fn code_of(text: &[u8]) -> Option<u8> {
            match text {
                $($word => Some($code),)*
                _ => None,
            }
        }
    };
}

// Fields of the jobs of BullMQ, Bull and bee-queue. They stand for nothing but themselves.
words! {
    0 b"name" 1 b"data" 2 b"opts" 3 b"timestamp" 4 b"delay" 5 b"priority" 6 b"processedOn"
    7 b"finishedOn" 8 b"returnvalue" 9 b"failedReason" 10 b"stacktrace" 11 b"ats" 12 b"atm"
    13 b"stc" 14 b"pb" 15 b"rjk" 16 b"deid" 17 b"parentKey" 18 b"parent" 19 b"progress"
    20 b"attemptsMade" 21 b"repeatJobKey" 22 b"nrjid" 23 b"id"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_words_take_two_bytes() {
        let mut packed = Packed::default();
        for (code, word) in WORDS.iter().enumerate() {
            assert_eq!(code_of(word), Some(code as u8));
            packed.push_pair(word, b"");
            packed.push_pair(&word[1..], word);
        }
        let lens = WORDS.iter().map(|word| (2 + 1) + (1 + word.len() - 1) + (1 + word.len()));
        assert_eq!(packed.body().len(), lens.sum::<usize>());
        let expect = WORDS.iter().flat_map(|word| [word, &b""[..], &word[1..], word]);
        assert!(packed.texts().eq(expect));
    }

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
