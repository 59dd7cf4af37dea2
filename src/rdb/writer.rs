//! RDB's lengths and strings, appended to bytes.

use crate::util::number;

use super::{Made, lzf};

/// Bytes of RDB that grow.
#[derive(Debug)]
pub struct RdbWriter {
    bytes: Vec<u8>,
    compresses: bool,
    /// In whose format what follows is written.
    pub(super) made: Made,
}

/// Shorter texts are not worth the try, nor is what does not save so many bytes.
const COMPRESSED_LEN_MIN: usize = 21;
const SAVED_BYTES_MIN: usize = 4;

impl RdbWriter {
    /// `rdbcompression` says whether long strings are compressed where that pays.
    pub fn new(compresses: bool) -> Self {
        Self { bytes: Vec::new(), compresses, made: Made::WITH_FIELD_TTLS }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes written and not taken.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written since this was last asked.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Bytes that were written by another.
    pub fn append(&mut self, bytes: &[u8]) {
        self.raw(bytes);
    }

    /// An empty one that writes in the same way.
    pub fn beside(&self) -> Self {
        Self { bytes: Vec::new(), ..*self }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A number that stands as a length.
    pub(super) fn number(&mut self, number: u64) {
        match number {
            0..0x40 => self.bytes.push(number as u8),
            0x40..0x4000 => self.raw(&(number as u16 | 0x4000).to_be_bytes()),
            0x4000..0x1_0000_0000 => {
                self.bytes.push(0x80);
                self.raw(&(number as u32).to_be_bytes());
            }
            _ => {
                self.bytes.push(0x81);
                self.raw(&number.to_be_bytes());
            }
        }
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some(integer) = number::parse_i64(text).and_then(|it| i32::try_from(it).ok()) {
            return self.integer(integer);
        }
        if self.compresses
            && text.len() >= COMPRESSED_LEN_MIN
            && let Some(packed) = lzf::compress(text, text.len() - SAVED_BYTES_MIN)
        {
            self.bytes.push(0xc3);
            self.count(packed.len());
            self.count(text.len());
            return self.raw(&packed);
        }
        self.count(text.len());
        self.raw(text);
    }

    fn integer(&mut self, integer: i32) {
        if let Ok(byte) = i8::try_from(integer) {
            self.raw(&[0xc0, byte as u8]);
        } else if let Ok(short) = i16::try_from(integer) {
            self.bytes.push(0xc1);
            self.raw(&short.to_le_bytes());
        } else {
            self.bytes.push(0xc2);
            self.raw(&integer.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::RdbReader;

    fn check(text: &[u8], len: usize) {
        let mut writer = RdbWriter::new(true);
        writer.text(text);
        assert_eq!(writer.bytes.len(), len, "{}", text.escape_ascii());
        assert_eq!(&*RdbReader::new(&writer.bytes).text().unwrap(), text);
    }

    #[test]
    fn strings_take_the_shortest_form() {
        check(b"", 1);
        check(b"-128", 2);
        check(b"128", 3);
        check(b"32768", 5);
        check(b"2147483648", 11);
        check(b"012", 4);
        check(b"-0", 3);
        check(&[b'a'; 20], 21);
        check(&[b'a'; 300], 12);
        check(b"abcdefghijklmnopqrstuvwxyz", 27);
    }

    #[test]
    fn numbers_come_back() {
        let bits = (0..64).map(|bit| u64::MAX >> bit);
        for number in bits.flat_map(|it| [it, it.wrapping_add(1), it / 3]) {
            let mut writer = RdbWriter::new(false);
            writer.number(number);
            assert_eq!(RdbReader::new(&writer.bytes).number(), Ok(number));
        }
    }
}
