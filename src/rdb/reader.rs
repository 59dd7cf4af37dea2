//! RDB's lengths and strings, read from the front of some bytes.

use std::borrow::Cow;

use crate::data::item::Item;

use super::lzf;
use super::{Flaw, Result};

/// What is left of bytes that hold RDB. A copy of it remembers a place.
#[derive(Clone, Copy, Debug)]
pub struct RdbReader<'a> {
    rest: &'a [u8],
}

/// A string of RDB: as it stands there, or made of a number or of compressed bytes.
pub(super) type Text<'a> = Cow<'a, [u8]>;

/// No layout in memory has elements of more bytes.
const TEXT_BYTES_MAX: usize = u32::MAX as usize;

/// What a first byte says of the length, or of the string, that begins with it.
enum Head {
    Len(u64),
    Special(u8),
}

impl<'a> RdbReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next bytes, so many. `Short` if there are fewer, as in what follows.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Flaw::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// As `take`.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Flaw::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// As `take`.
    pub(super) fn byte(&mut self) -> Result<u8> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn head(&mut self) -> Result<Head> {
        let first = self.byte()?;
        Ok(match (first >> 6, first & 0x3f) {
            (0, low) => Head::Len(low.into()),
            (1, high) => Head::Len(u64::from(high) << 8 | u64::from(self.byte()?)),
            (2, 0) => Head::Len(u32::from_be_bytes(self.array()?).into()),
            (2, 1) => Head::Len(u64::from_be_bytes(self.array()?)),
            (3, special) => Head::Special(special),
            _ => return Err(Flaw::Corrupt),
        })
    }

    /// A number that stands as a length.
    pub(super) fn number(&mut self) -> Result<u64> {
        match self.head()? {
            Head::Len(len) => Ok(len),
            Head::Special(_) => Err(Flaw::Corrupt),
        }
    }

    /// How many bytes follow, or things of so many bytes at least. More than there are is `Short`,
    /// so that nobody makes room for them.
    pub(super) fn count(&mut self, bytes_each_min: usize) -> Result<usize> {
        let count = self.number()?;
        self.checked(count, bytes_each_min)
    }

    fn checked(&self, count: u64, bytes_each_min: usize) -> Result<usize> {
        let count = usize::try_from(count).map_err(|_| Flaw::Short)?;
        let bytes_min = count.checked_mul(bytes_each_min).ok_or(Flaw::Short)?;
        if bytes_min > self.rest.len() { Err(Flaw::Short) } else { Ok(count) }
    }

    /// The next string. `Corrupt` if it has no form that there is.
    pub(super) fn text(&mut self) -> Result<Text<'a>> {
        Ok(match self.head()? {
            Head::Len(len) => {
                let len = self.checked(len, 1)?;
                if len > TEXT_BYTES_MAX {
                    return Err(Flaw::Corrupt);
                }
                Cow::Borrowed(self.take(len)?)
            }
            Head::Special(0) => digits(i8::from_le_bytes(self.array()?).into()),
            Head::Special(1) => digits(i16::from_le_bytes(self.array()?).into()),
            Head::Special(2) => digits(i32::from_le_bytes(self.array()?).into()),
            Head::Special(3) => {
                let packed_len = self.number()?;
                let len = usize::try_from(self.number()?).map_err(|_| Flaw::Corrupt)?;
                let packed_len = self.checked(packed_len, 1)?;
                let packed = self.take(packed_len)?;
                let plain = (len <= TEXT_BYTES_MAX).then(|| lzf::decompress(packed, len));
                Cow::Owned(plain.flatten().ok_or(Flaw::Corrupt)?)
            }
            Head::Special(_) => return Err(Flaw::Corrupt),
        })
    }

    /// A count of things and that many times so many strings.
    pub(super) fn texts(&mut self, texts_each: usize) -> Result<Texts<'_, 'a>> {
        let count = self.count(texts_each)?;
        Ok(Texts { reader: self, left: count * texts_each })
    }
}

fn digits<'a>(number: i64) -> Text<'a> {
    Cow::Owned(Item::of_integer(number).to_vec())
}

/// Strings one behind the other.
pub(super) struct Texts<'r, 'a> {
    reader: &'r mut RdbReader<'a>,
    left: usize,
}

impl<'a> Iterator for Texts<'_, 'a> {
    type Item = Result<Text<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.reader.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], text: Result<&[u8]>) {
        let mut reader = RdbReader::new(bytes);
        assert_eq!(reader.text().as_deref(), text.as_ref().map(|it| *it), "{bytes:x?}");
        if text.is_ok() {
            assert_eq!(reader.rest(), b"");
            for len in 0..bytes.len() {
                let flaw = RdbReader::new(&bytes[..len]).text().unwrap_err();
                assert_eq!(flaw, Flaw::Short, "{bytes:x?} cut at {len}");
            }
        }
    }

    #[test]
    fn strings_have_many_forms() {
        check(b"\x00", Ok(b""));
        check(b"\x02ab", Ok(b"ab"));
        check(b"\x40\x02ab", Ok(b"ab"));
        check(b"\x80\0\0\0\x02ab", Ok(b"ab"));
        check(b"\x81\0\0\0\0\0\0\0\x02ab", Ok(b"ab"));
        check(b"\xc0\xff", Ok(b"-1"));
        check(b"\xc1\xe8\x03", Ok(b"1000"));
        check(b"\xc2\0\0\0\x80", Ok(b"-2147483648"));
        check(b"\xc3\x05\x0a\x00a\xe0\x00\x00", Ok(b"aaaaaaaaaa"));
        check(b"\xc3\x05\x0b\x00a\xe0\x00\x00", Err(Flaw::Corrupt));
        check(b"\xc3\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff\x00a\xe0\x00\x00", Err(Flaw::Corrupt));
        check(b"\xc4", Err(Flaw::Corrupt));
        check(b"\x82ab", Err(Flaw::Corrupt));
        check(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff", Err(Flaw::Short));
    }

    #[test]
    fn a_count_is_no_more_than_there_are_bytes() {
        assert_eq!(RdbReader::new(b"\x02abcd").count(2), Ok(2));
        assert_eq!(RdbReader::new(b"\x03abcd").count(2), Err(Flaw::Short));
        let most = b"\x81\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(RdbReader::new(most).count(16), Err(Flaw::Short));
        assert_eq!(RdbReader::new(most).number(), Ok(u64::MAX));
        assert_eq!(RdbReader::new(b"\xc0\x01").number(), Err(Flaw::Corrupt));
    }
}
