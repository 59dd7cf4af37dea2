//! What SCAN, HSCAN, SSCAN and ZSCAN have in common: a cursor, options, and the shape of the answer.

use super::prelude::*;
use crate::data::item::Item;
use crate::util::glob::{self, Case};

/// What a walk goes over, which decides on the options that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Fields,
    Members,
}

pub(super) struct Options<'a> {
    /// About how many to visit in one step.
    pub count: usize,
    pattern: Option<&'a [u8]>,
    /// Whether a hash's values go with its fields.
    pub with_values: bool,
}

impl<'a> Options<'a> {
    pub fn parse(mut args: Args<'a>, over: Over) -> Result<Self> {
        let mut options = Self { count: 10, pattern: None, with_values: true };
        while args.left() > 0 {
            if args.accept("count") {
                options.count = match args.int()? {
                    ..=0 => return Err(Error::Syntax),
                    count => count as usize,
                };
            } else if args.accept("match") {
                options.pattern = Some(args.word()?).filter(|&pattern| pattern != b"*");
            } else if args.accept("novalues") {
                if over != Over::Fields {
                    return Err(Error::new("ERR NOVALUES option can only be used in HSCAN"));
                }
                options.with_values = false;
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    pub fn admits(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    }
}

/// Reads a cursor as `strtoull` would: blanks, a plus and leading zeros may stand before it.
pub(super) fn cursor(args: &mut Args) -> Result<u64> {
    let text = std::str::from_utf8(args.word()?.trim_ascii_start()).unwrap_or_default();
    text.parse().map_err(|_| Error::new("ERR invalid cursor"))
}

/// Where to go on, and what was found on the way.
pub(super) fn answer(next: u64, found: &[Item], reply: &mut Reply) {
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(found.len());
    found.iter().for_each(|item| reply.bulk(item));
}
