//! What held small collections before listpacks, and still holds sets of integers. Only the last is
//! written.

use crate::data::item::Item;

use super::{Flaw, Result};

/// What comes of a walk over elements: none behind the first that is wrong.
type Found<'a> = Option<Result<Item<'a>>>;

const END: u8 = 0xff;

/// The integers of an intset: bytes of each in 4 bytes, their count in 4, and the integers in
/// ascending order, the lowest byte first.
pub(super) fn intset(bytes: &[u8]) -> Result<impl Iterator<Item = Result<Item<'_>>>> {
    let (width, rest) = bytes.split_first_chunk().ok_or(Flaw::Corrupt)?;
    let (count, rest) = rest.split_first_chunk().ok_or(Flaw::Corrupt)?;
    let (width, count) = (u32::from_le_bytes(*width) as usize, u32::from_le_bytes(*count));
    if !matches!(width, 2 | 4 | 8) || rest.len() != width * count as usize {
        return Err(Flaw::Corrupt);
    }
    let mut last = None;
    Ok(rest.chunks_exact(width).map(move |bytes| {
        let integer = super::integer_of(bytes);
        if last.replace(integer).is_some_and(|last| last >= integer) {
            return Err(Flaw::Corrupt);
        }
        Ok(Item::of_integer(integer))
    }))
}

/// The elements of a ziplist. Its head is all bytes in 4, where the last element begins in 4, and
/// how many there are in 2 bytes.
pub(super) fn ziplist(bytes: &[u8]) -> Result<Ziplist<'_>> {
    const HEAD_BYTES: usize = 10;
    const UNCOUNTED: u16 = u16::MAX;
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Flaw::Corrupt)?;
    let [total, tail] = [0, 4].map(|at| le_number(&head[at..at + 4]));
    let count = le_number(&head[8..]) as u16;
    if total != bytes.len() || !bytes[HEAD_BYTES..].ends_with(&[END]) {
        return Err(Flaw::Corrupt);
    }
    let left = (count != UNCOUNTED).then_some(count);
    Ok(Ziplist { bytes, at: HEAD_BYTES, last: HEAD_BYTES, before: 0, tail, left })
}

pub(super) struct Ziplist<'a> {
    bytes: &'a [u8],
    /// Where the next element begins.
    at: usize,
    /// Where the last one did, and how long it was.
    last: usize,
    before: usize,
    /// Where the last one of all should begin.
    tail: usize,
    left: Option<u16>,
}

impl<'a> Ziplist<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        // The end mark is no part of an element.
        let taken = self.bytes[..self.bytes.len() - 1].get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn integer(&mut self, len: usize) -> Option<Item<'a>> {
        self.take(len).map(|bytes| Item::of_integer(super::integer_of(bytes)))
    }

    fn text(&mut self, len: usize) -> Option<Item<'a>> {
        self.take(len).map(Item::of_bytes)
    }

    /// The length of the one before, in 1 or 5 bytes, then what it is and the element itself.
    fn element(&mut self) -> Option<Item<'a>> {
        const LONG: u8 = 0xfe;
        let start = self.at;
        let before = match self.take(1)?[0] {
            LONG => le_number(self.take(4)?),
            len => len.into(),
        };
        let first = self.take(1)?[0];
        let item = match first {
            0..0x40 => self.text(first.into()),
            0x40..0x80 => {
                let low = self.take(1)?[0];
                self.text(usize::from(first & 0x3f) << 8 | usize::from(low))
            }
            0x80 => {
                let len = u32::from_be_bytes(*self.take(4)?.first_chunk()?);
                self.text(len as usize)
            }
            0xc0 => self.integer(2),
            0xd0 => self.integer(4),
            0xe0 => self.integer(8),
            0xf0 => self.integer(3),
            0xf1..=0xfd => Some(Item::of_integer(i64::from(first & 0xf) - 1)),
            0xfe => self.integer(1),
            _ => None,
        };
        let is_right = before == self.before;
        (self.last, self.before) = (start, self.at - start);
        item.filter(|_| is_right)
    }
}

impl<'a> Iterator for Ziplist<'a> {
    type Item = Result<Item<'a>>;

    fn next(&mut self) -> Found<'a> {
        if self.at + 1 == self.bytes.len() {
            let is_right = self.left.is_none_or(|left| left == 0) && self.last == self.tail;
            // Said once.
            self.at += usize::from(!is_right);
            return (!is_right).then_some(Err(Flaw::Corrupt));
        }
        if self.left == Some(0) || self.at >= self.bytes.len() {
            return Some(Err(Flaw::Corrupt));
        }
        self.left = self.left.map(|left| left - 1);
        Some(self.element().ok_or(Flaw::Corrupt))
    }
}

/// Fields and values of a zipmap in turn: its count (or 254) in a byte, then each field behind its
/// length, and each value behind its length and how many bytes behind it are free.
pub(super) fn zipmap(bytes: &[u8]) -> Result<Zipmap<'_>> {
    const UNCOUNTED: u8 = 254;
    let ([count], rest) = bytes.split_first_chunk().ok_or(Flaw::Corrupt)?;
    let left = (*count < UNCOUNTED).then_some(2 * usize::from(*count));
    Ok(Zipmap { rest, left, is_value: false })
}

pub(super) struct Zipmap<'a> {
    rest: &'a [u8],
    /// Texts still to come, if that is known.
    left: Option<usize>,
    is_value: bool,
}

impl<'a> Zipmap<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn text(&mut self) -> Option<Item<'a>> {
        const LONG: u8 = 254;
        let len = match self.take(1)?[0] {
            LONG => le_number(self.take(4)?),
            END => return None,
            len => len.into(),
        };
        let free = if self.is_value { self.take(1)?[0] } else { 0 };
        self.is_value = !self.is_value;
        let text = self.take(len)?;
        self.take(free.into())?;
        Some(Item::of_bytes(text))
    }
}

impl<'a> Iterator for Zipmap<'a> {
    type Item = Result<Item<'a>>;

    fn next(&mut self) -> Found<'a> {
        if self.rest == [END] && !self.is_value && self.left.is_none_or(|left| left == 0) {
            return None;
        }
        if let Some(left) = &mut self.left {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => return Some(Err(Flaw::Corrupt)),
            }
        }
        Some(self.text().ok_or(Flaw::Corrupt))
    }
}

fn le_number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
