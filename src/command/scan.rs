//! SCAN, and what HSCAN, SSCAN and ZSCAN have in common with it: a cursor, options, and the shape
//! of the answer.

use super::prelude::*;
use crate::engine::keyspace::KeyValue;
use crate::proto::args::is_keyword;
use crate::util::glob::{self, Case};
use crate::util::number;
use std::ops::Deref;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("scan", "2.8.0", AtLeast(2), Keys::none(), &[Read, ListsKeys], scan, "cursor [MATCH pattern] [COUNT count] [TYPE type]", "Walks through all keys, some at a time.").tips(&[VARIES, SPECIAL_REQUEST, SPECIAL_REPLY]),
]);

/// What a walk goes over, which decides on the options that it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Keys,
    Fields,
    Members,
}

pub(super) struct Options<'a> {
    /// About how many to visit in one step.
    pub count: usize,
    pattern: Option<&'a [u8]>,
    /// The name of the type of the values wanted.
    type_name: Option<&'a [u8]>,
    /// Whether a hash's values go with its fields.
    pub with_values: bool,
}

impl<'a> Options<'a> {
    /// Reads all words that are left. An error of syntax if one is no option of `over`, or if a
    /// count is below 1.
    pub fn parse(mut args: Args<'a>, over: Over) -> Result<Self> {
        let mut options = Self { count: 10, pattern: None, type_name: None, with_values: true };
        while args.left() > 0 {
            if args.accept("count") {
                options.count = match args.int()? {
                    ..=0 => return Err(Error::Syntax),
                    count => count as usize,
                };
            } else if args.accept("match") {
                options.pattern = Some(args.word()?);
            } else if over == Over::Keys && args.accept("type") {
                options.type_name = Some(args.word()?);
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
        self.pattern.is_none_or(|pattern| admits(pattern, name))
    }

    fn admits_type(&self, name: &str) -> bool {
        self.type_name.is_none_or(|wanted| is_keyword(wanted, name))
    }
}

/// `*` alone admits the empty name too, which is more than the pattern means.
pub(super) fn admits(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || glob::matches(pattern, name, Case::Sensitive)
}

/// The cursor that a client sends. Fails where it is no number of 64 bits.
pub(super) fn cursor(args: &mut Args) -> Result<u64> {
    let cursor = number::parse_u64_loosely(args.word()?);
    cursor.ok_or_else(|| Error::new("ERR invalid cursor"))
}

/// Where to go on, and what was found on the way.
pub(super) fn answer(next: u64, found: &[impl Deref<Target = [u8]>], reply: &mut Reply) {
    announce(next, found.len(), reply);
    found.iter().for_each(|item| reply.bulk(item));
}

/// As `answer`, where the `count` texts found are still to be written.
pub(super) fn announce(next: u64, count: usize, reply: &mut Reply) {
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(count);
}

/// Keys whose time is up are passed over, not removed: the timer wheel is about to.
fn scan(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let cursor = cursor(&mut args)?;
    let options = Options::parse(args, Over::Keys)?;
    let keyspace = cx.keyspace();
    let is_wanted = |entry: &KeyValue| {
        options.admits(&entry.key.text())
            && options.admits_type(entry.value.type_name())
            && !keyspace.is_over(cx.db, entry)
    };
    let mut found = Vec::new();
    let next = keyspace.db(cx.db).scan(cursor, options.count, &mut |entry| {
        if is_wanted(entry) {
            found.push(entry.key.text());
        }
    });
    answer(next, &found, reply);
    Ok(())
}
