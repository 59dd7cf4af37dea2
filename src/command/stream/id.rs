//! Ids of entries as requests write them, alone and as the ends of a range.

use super::*;
use crate::util::number;

pub(super) fn invalid_id() -> Error {
    Error::new("ERR Invalid stream ID specified as stream command argument")
}

/// The text of an id, up to a NUL. Redis copies it into a buffer that takes no more.
pub(super) fn id_text(word: &[u8]) -> Result<&[u8]> {
    const LEN_MAX: usize = 127;
    if word.len() > LEN_MAX { Err(invalid_id()) } else { Ok(number::before_nul(word)) }
}

/// Reads a half of an id.
///
/// # Errors
/// If it is no number of 64 bits.
pub(super) fn parse_number(word: &[u8]) -> Result<u64> {
    number::parse_u64_loosely(word).ok_or_else(invalid_id)
}

/// Reads an id: a time, and a number within it, which may be left out.
pub(super) fn parse_id(word: &[u8], seq_if_absent: u64) -> Result<StreamId> {
    let text = id_text(word)?;
    let (ms, seq) = match text.iter().position(|&byte| byte == b'-') {
        None => (text, None),
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
    };
    Ok(StreamId::new(parse_number(ms)?, seq.map_or(Ok(seq_if_absent), parse_number)?))
}

/// Reads an end of a range: `-`, `+`, an id, or `(` and an id that is not in the range.
fn parse_bound(word: &[u8], seq_if_absent: u64) -> Result<(StreamId, bool)> {
    if let [b'(', id @ ..] = word {
        return Ok((parse_id(id, seq_if_absent)?, true));
    }
    match id_text(word)? {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        _ => Ok((parse_id(word, seq_if_absent)?, false)),
    }
}

/// Reads the least id of a range: `-`, an id, or `(` and the one before it.
///
/// # Errors
/// If it is none of these, or nothing comes behind the one that is left out.
pub(super) fn parse_start(word: &[u8]) -> Result<StreamId> {
    match parse_bound(word, 0)? {
        (id, false) => Ok(id),
        (id, true) => id.next().ok_or_else(|| Error::new("ERR invalid start ID for the interval")),
    }
}

/// Reads the greatest id of a range: `+`, an id, or `(` and the one behind it.
///
/// # Errors
/// If it is none of these, or nothing comes before the one that is left out.
pub(super) fn parse_end(word: &[u8]) -> Result<StreamId> {
    match parse_bound(word, u64::MAX)? {
        (id, false) => Ok(id),
        (id, true) => {
            id.previous().ok_or_else(|| Error::new("ERR invalid end ID for the interval"))
        }
    }
}
