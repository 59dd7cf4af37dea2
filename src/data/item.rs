//! Bytes that a value lends to whoever reads it.
//!
//! Job ids are decimal integers, so lists and sorted sets keep such elements as numbers. Readers
//! want bytes all the same: a `Item` is either the value's own bytes or the digits of its number.

use std::fmt;
use std::ops::Deref;

use crate::util::number;

/// As many digits as `u64::MAX` has, and as many bytes as `i64::MIN`.
const DIGITS_MAX: usize = 20;

#[derive(Clone, Copy)]
pub struct Item<'a>(Form<'a>);

#[derive(Clone, Copy)]
enum Form<'a> {
    Bytes(&'a [u8]),
    /// To the end of the array.
    Digits {
        digits: [u8; DIGITS_MAX],
        start: u8,
    },
}

impl<'a> Item<'a> {
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Item(Form::Bytes(bytes))
    }

    pub fn of_number(number: u64) -> Self {
        Self::of_digits(number, false)
    }

    pub fn of_integer(integer: i64) -> Self {
        Self::of_digits(integer.unsigned_abs(), integer < 0)
    }

    /// Writes from the end, two digits at a time, to where they are read: copying them there from
    /// a buffer costs as much again.
    #[inline]
    fn of_digits(mut magnitude: u64, is_negative: bool) -> Self {
        let mut digits = [0; DIGITS_MAX];
        let mut start = DIGITS_MAX;
        while magnitude >= 10 {
            start -= 2;
            digits[start..start + 2].copy_from_slice(&PAIRS[(magnitude % 100) as usize]);
            magnitude /= 100;
        }
        // What is left has one digit; or none, unless it was 0 from the beginning.
        if magnitude > 0 || start == DIGITS_MAX {
            start -= 1;
            digits[start] = b'0' + magnitude as u8;
        }
        if is_negative {
            start -= 1;
            digits[start] = b'-';
        }
        Item(Form::Digits { digits, start: start as u8 })
    }
}

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < pairs.len() {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

impl Deref for Item<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Form::Bytes(bytes) => bytes,
            Form::Digits { digits, start } => &digits[usize::from(*start)..],
        }
    }
}

impl fmt::Debug for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "\"{}\"", self.escape_ascii())
    }
}

/// The number that a text spells, if printing that number gives the same text again.
#[inline]
pub fn as_number(text: &[u8]) -> Option<u64> {
    // Most texts are no numbers, and most of those show it in their first byte.
    if !text.first()?.is_ascii_digit() || text.len() >= DIGITS_MAX {
        return None;
    }
    number::parse_i64(text).map(|number| number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_the_same_bytes() {
        for (text, number) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("4294967296", Some(1 << 32)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("99999999999999999999", None),
            ("", None),
            ("00", None),
            ("01", None),
            ("-1", None),
            ("+1", None),
            ("1 ", None),
            ("1a", None),
        ] {
            assert_eq!(as_number(text.as_bytes()), number, "{text}");
            if let Some(number) = number {
                assert_eq!(&*Item::of_number(number), text.as_bytes());
            }
        }
        for number in 0..2_000 {
            assert_eq!(&*Item::of_integer(-number), (-number).to_string().as_bytes());
        }
        for number in (0..64).map(|bit| u64::MAX >> bit) {
            assert_eq!(&*Item::of_number(number), number.to_string().as_bytes());
        }
        assert_eq!(&*Item::of_number(u64::MAX), b"18446744073709551615");
        assert_eq!(&*Item::of_integer(i64::MIN), b"-9223372036854775808");
    }
}
