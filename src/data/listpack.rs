//! How many bytes Redis's listpack takes for an element.
//!
//! toril has layouts of its own, but Redis decides by these sizes when a list becomes a quicklist
//! and where a stream's node ends, and clients can see both.

use crate::util::number;

/// The header and the end mark of an empty listpack.
pub const EMPTY_BYTES: usize = 7;

/// Bytes that an element of this text adds. Texts that spell an integer are kept as one.
#[inline]
pub fn entry_bytes(text: &[u8]) -> usize {
    match text {
        [b'0'..=b'9' | b'-', ..] if text.len() <= 20 => match number::parse_i64(text) {
            Some(integer) => integer_bytes(integer),
            None => text_bytes(text.len()),
        },
        _ => text_bytes(text.len()),
    }
}

/// Bytes that an integer adds.
pub fn integer_bytes(integer: i64) -> usize {
    match integer {
        0..=127 => 2,
        -4096..=4095 => 3,
        -0x8000..=0x7fff => 4,
        -0x80_0000..=0x7f_ffff => 5,
        -0x8000_0000..=0x7fff_ffff => 6,
        _ => 10,
    }
}

fn text_bytes(len: usize) -> usize {
    let header = match len {
        0..=63 => 1,
        64..=4095 => 2,
        _ => 5,
    };
    let body = header + len;
    body + size_bytes(body)
}

/// Bytes that the size of an element takes behind it, to be walked backwards: seven bits a byte.
/// Where 14, 21 or 28 bits are all ones, Redis takes one byte more than it had to.
pub fn size_bytes(size: usize) -> usize {
    match size {
        0..=0x7f => 1,
        0x80..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    }
}
