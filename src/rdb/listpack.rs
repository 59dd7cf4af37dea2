//! Listpacks: elements one behind the other, each with its size behind it once more, so that they
//! can be walked from either end.
//!
//! | first byte | then | element |
//! |---|---|---|
//! | `0xxxxxxx` | | the number 0 to 127 |
//! | `10xxxxxx` | so many bytes | these bytes |
//! | `110xxxxx` | 1 byte | a number of 13 bits, the highest first |
//! | `1110xxxx` | 1 byte and so many bytes | these bytes, the length in 12 bits |
//! | `f0` | a length in 4 bytes, so many bytes | these bytes |
//! | `f1` to `f4` | 2, 3, 4, 8 bytes | a number, the lowest byte first |
//!
//! In front stand all bytes in 4 and the count of elements in 2 bytes, at the end `ff`.

use crate::data::item::Item;
use crate::data::listpack;
use crate::util::number;

use super::{Flaw, Result};

const HEAD_BYTES: usize = 6;
const END: u8 = 0xff;

/// In place of a count that is too large for its 2 bytes.
const UNCOUNTED: u16 = u16::MAX;

/// The elements of a listpack, each checked as it comes.
pub(super) struct Elements<'a> {
    rest: &'a [u8],
    /// Elements still to come, where the head tells how many there are.
    left: Option<u16>,
}

/// Looks at the head and the end. Nothing inside is known to be right before it was walked.
pub(super) fn elements(bytes: &[u8]) -> Result<Elements<'_>> {
    let (total, behind) = bytes.split_first_chunk().ok_or(Flaw::Corrupt)?;
    let (count, behind) = behind.split_first_chunk().ok_or(Flaw::Corrupt)?;
    let (&end, rest) = behind.split_last().ok_or(Flaw::Corrupt)?;
    let count = u16::from_le_bytes(*count);
    if u32::from_le_bytes(*total) as usize != bytes.len() || end != END {
        return Err(Flaw::Corrupt);
    }
    Ok(Elements { rest, left: (count != UNCOUNTED).then_some(count) })
}

impl<'a> Elements<'a> {
    fn take(&mut self) -> Option<Item<'a>> {
        let start = self.rest;
        let first = self.bytes(1)?[0];
        let item = match first {
            0..0x80 => Item::of_integer(first.into()),
            0x80..0xc0 => Item::of_bytes(self.bytes((first & 0x3f).into())?),
            0xc0..0xe0 => {
                let bits = u16::from_be_bytes([first & 0x1f, self.bytes(1)?[0]]);
                Item::of_integer(i64::from((bits << 3).cast_signed() >> 3))
            }
            0xe0..0xf0 => {
                let len = u16::from_be_bytes([first & 0x0f, self.bytes(1)?[0]]);
                Item::of_bytes(self.bytes(len.into())?)
            }
            0xf0 => {
                let len = u32::from_le_bytes(*self.bytes(4)?.first_chunk()?);
                Item::of_bytes(self.bytes(len as usize)?)
            }
            0xf1 => Item::of_integer(self.integer(2)?),
            0xf2 => Item::of_integer(self.integer(3)?),
            0xf3 => Item::of_integer(self.integer(4)?),
            0xf4 => Item::of_integer(self.integer(8)?),
            0xf5.. => return None,
        };
        let (size, size_len) = size_behind(start.len() - self.rest.len());
        let is_right = self.bytes(size_len)? == &size[..size_len];
        is_right.then_some(item)
    }

    fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn integer(&mut self, len: usize) -> Option<i64> {
        self.bytes(len).map(super::integer_of)
    }

    /// The next element; `Corrupt` behind the last one.
    pub fn required(&mut self) -> Result<Item<'a>> {
        self.next().unwrap_or(Err(Flaw::Corrupt))
    }

    /// As `required`, of an element that spells an integer.
    pub fn required_integer(&mut self) -> Result<i64> {
        number::parse_i64(&self.required()?).ok_or(Flaw::Corrupt)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<Item<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.left {
            Some(0) if self.rest.is_empty() => return None,
            Some(0) => return Some(Err(Flaw::Corrupt)),
            None if self.rest.is_empty() => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(self.take().ok_or(Flaw::Corrupt))
    }
}

/// How the size of an element stands behind it: seven bits a byte, the highest first, and the top
/// bit in all but the first.
fn size_behind(size: usize) -> ([u8; 5], usize) {
    let len = listpack::size_bytes(size);
    let mut bytes = [0; 5];
    for (at, byte) in bytes[..len].iter_mut().enumerate() {
        let bits = (size >> (7 * (len - 1 - at))) as u8 & 0x7f;
        *byte = if at == 0 { bits } else { bits | 0x80 };
    }
    (bytes, len)
}

/// A listpack that grows at its end.
pub(super) struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl ListpackWriter {
    pub fn new() -> Self {
        Self { bytes: vec![0; HEAD_BYTES], count: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A text that spells an integer becomes one.
    pub fn push(&mut self, text: &[u8]) {
        if let Some(integer) = number::parse_i64(text) {
            return self.push_integer(integer);
        }
        let start = self.bytes.len();
        match text.len() {
            len @ 0..64 => self.bytes.push(0x80 | len as u8),
            len @ 64..4096 => self.bytes.extend((len as u16 | 0xe000).to_be_bytes()),
            len => {
                self.bytes.push(0xf0);
                self.bytes.extend((len as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.close(start);
    }

    pub fn push_integer(&mut self, integer: i64) {
        let start = self.bytes.len();
        let wide = integer.to_le_bytes();
        let (first, len) = match integer {
            0..=127 => (integer as u8, 0),
            -4096..=4095 => {
                self.bytes.extend((integer as u16 & 0x1fff | 0xc000).to_be_bytes());
                return self.close(start);
            }
            -0x8000..=0x7fff => (0xf1, 2),
            -0x80_0000..=0x7f_ffff => (0xf2, 3),
            -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
            _ => (0xf4, 8),
        };
        self.bytes.push(first);
        self.bytes.extend_from_slice(&wide[..len]);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let (size, len) = size_behind(self.bytes.len() - start);
        self.bytes.extend_from_slice(&size[..len]);
        self.count += 1;
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let total = (self.bytes.len() as u32).to_le_bytes();
        let count = u16::try_from(self.count).unwrap_or(UNCOUNTED).to_le_bytes();
        self.bytes[..HEAD_BYTES].copy_from_slice(&[&total[..], &count].concat());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::listpack::{EMPTY_BYTES, entry_bytes};

    fn texts() -> Vec<Vec<u8>> {
        let bounds = [0, 127, 128, 4095, 4096, 32767, 32768, 8388607, 8388608, 2147483647];
        let numbers = bounds.iter().flat_map(|it| [*it, -it, it + 1, -it - 1]);
        let numbers = numbers.chain([i64::MAX, i64::MIN]).map(|it| it.to_string().into_bytes());
        let lens = [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_377, 16_378, 16_379, 2_097_146];
        numbers.chain(lens.map(|len| vec![b'x'; len])).chain([b"007".to_vec()]).collect()
    }

    #[test]
    fn elements_come_back_and_take_what_redis_says() {
        for text in texts() {
            let mut writer = ListpackWriter::new();
            [b"a", &*text, b"b"].iter().for_each(|it| writer.push(it));
            let bytes = writer.finish();
            assert_eq!(bytes.len(), EMPTY_BYTES + 3 + 3 + entry_bytes(&text));
            let read: Vec<Vec<u8>> =
                elements(&bytes).unwrap().map(|it| it.unwrap().to_vec()).collect();
            assert_eq!(read, [b"a".to_vec(), text, b"b".to_vec()]);
        }
    }

    #[test]
    fn a_long_one_does_not_tell_its_count() {
        let mut writer = ListpackWriter::new();
        (0..70_000).for_each(|it| writer.push_integer(it));
        let bytes = writer.finish();
        assert_eq!(bytes[4..6], [0xff, 0xff]);
        let read = elements(&bytes).unwrap().map(|it| number::parse_i64(&it.unwrap()).unwrap());
        assert!(read.eq(0..70_000));
    }

    #[test]
    fn odd_bytes_are_refused() {
        let check = |bytes: &[u8]| {
            let mut elements = elements(bytes).into_iter().flatten();
            assert!(
                elements.any(|it| it.is_err()) || super::elements(bytes).is_err(),
                "{bytes:x?}"
            );
        };
        let mut writer = ListpackWriter::new();
        [&b"a"[..], b"300", &[b'x'; 200]].iter().for_each(|it| writer.push(it));
        let good = writer.finish();
        (0..good.len()).for_each(|len| check(&good[..len]));
        // All of the head, and what says of an element how long it is.
        for at in [0, 1, 4, 5, 6, 8, 11, 12, 13, good.len() - 3, good.len() - 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x04;
            check(&bad);
        }
    }
}
