//! The table of all commands, found by name in any case.

use super::row::{Category, Family, Flag, Row};
use crate::proto::{Args, Error, OwnedArgs, Result};
use crate::util::hash::spread;
use std::collections::HashMap;

/// A command's row and its place in the table, by which statistics are kept.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub row: &'static Row,
    pub category: Category,
    /// The row of `CLIENT` for `CLIENT LIST`.
    pub container: Option<&'static Row>,
    pub index: usize,
}

impl Found {
    /// Whether the command belongs to a category of ACL's: by its flags, or by its family.
    pub fn is_in(&self, category: &str) -> bool {
        let flags = self.row.flags;
        // Scripts count by what they call.
        let is_script = self.category == Category::Scripting;
        match category {
            "read" => flags.has(Flag::Read) && !is_script,
            "write" => flags.has(Flag::Write),
            "admin" => flags.has(Flag::Admin) || flags.has(Flag::AclAdmin),
            "dangerous" => flags.has(Flag::Admin) || flags.has(Flag::Dangerous),
            "pubsub" => flags.has(Flag::Pubsub),
            "blocking" => flags.has(Flag::Blocking),
            "fast" => flags.has(Flag::Fast),
            "slow" => !flags.has(Flag::Fast),
            // Of a container only its subcommands belong to the family's.
            _ if self.row.is_container() => false,
            _ => match self.row.acl_families {
                [] => self.category.acl_name() == Some(category),
                families => families.iter().any(|family| family.acl_name() == Some(category)),
            },
        }
    }

    /// `get`, or `client|list`.
    pub fn full_name(&self) -> String {
        match self.container {
            Some(container) => format!("{}|{}", container.name, self.row.name),
            None => self.row.name.to_owned(),
        }
    }
}

/// A request that outlives the bytes it came in: queued, parked, or waiting for an effect. Its row
/// is looked up once.
#[derive(Clone, Debug)]
pub struct Request {
    pub found: Found,
    pub words: OwnedArgs,
}

/// All commands of all families.
pub struct Table {
    /// By the hash of a command's name, its index in `rows`; `EMPTY` where there is none. The next
    /// free place is taken where two names meet.
    places: Box<[u16]>,
    subcommands: HashMap<(usize, Name), Found, ahash::RandomState>,
    /// By index.
    rows: Vec<TableEntry>,
}

/// A name and what it stands for, in one line of the cache: scripts look up dozens of commands a
/// job, and what lay there before is gone by then.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct TableEntry {
    name: Name,
    found: Found,
}

const _: () = assert!(size_of::<TableEntry>() == 64);

/// More than four places per command, so that few names share one.
const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 11;
const EMPTY: u16 = u16::MAX;

impl Table {
    pub fn new(families: &[&'static Family]) -> Self {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut table = Self {
            places: vec![EMPTY; PLACES].into(),
            subcommands: HashMap::with_hasher(hasher),
            rows: Vec::new(),
        };
        for family in families {
            for row in family.rows {
                table.add(family.category, row);
            }
        }
        table
    }

    fn add(&mut self, category: Category, row: &'static Row) {
        let index = self.rows.len();
        let found = Found { row, category, container: None, index };
        let name = Name::of_row(row);
        let place = self.place(&name);
        assert!(self.places[place] == EMPTY, "two rows are named {}", row.name);
        self.places[place] = u16::try_from(index).expect("rows are few");
        self.rows.push(TableEntry { name, found });
        for sub in row.subcommands {
            let found = Found { row: sub, category, container: Some(row), index: self.rows.len() };
            let name = Name::of_row(sub);
            let before = self.subcommands.insert((index, name), found);
            assert!(before.is_none(), "two rows are named {}|{}", row.name, sub.name);
            self.rows.push(TableEntry { name, found });
        }
    }

    /// The command of this name; a container's row for `CLIENT` alone.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        self.look_up(name).copied()
    }

    #[inline]
    fn look_up(&self, name: &[u8]) -> Option<&Found> {
        let place = self.place(&Name::new(name)?);
        self.rows.get(usize::from(self.places[place])).map(|entry| &entry.found)
    }

    /// Where a name stands, or would stand.
    #[inline]
    fn place(&self, name: &Name) -> usize {
        let mut place = name.first_place();
        while let Some(entry) = self.rows.get(usize::from(self.places[place]))
            && entry.name != *name
        {
            place = (place + 1) % PLACES;
        }
        place
    }

    /// The subcommand `name` of the container found as `container`.
    pub fn find_subcommand(&self, container: Found, name: &[u8]) -> Option<Found> {
        self.subcommands.get(&(container.index, Name::new(name)?)).copied()
    }

    /// The command or subcommand that a request names.
    #[inline]
    pub fn resolve(&self, args: &Args) -> Result<Found> {
        let words = args.all();
        let found = self.look_up(words[0]).ok_or_else(|| Self::unknown_command(words))?;
        if found.row.subcommands.is_empty() {
            return Ok(*found);
        }
        let Some(name) = words.get(1) else { return Ok(*found) };
        self.find_subcommand(*found, name).ok_or_else(|| Self::unknown_subcommand(found.row, name))
    }

    /// The command whose `Found::index` this is.
    pub fn at(&self, index: usize) -> Found {
        self.rows[index].found
    }

    /// All commands, each followed by its subcommands: each stands at its index.
    pub fn all(&self) -> impl Iterator<Item = Found> {
        self.rows.iter().map(|entry| entry.found)
    }

    /// Commands without their subcommands.
    pub fn commands(&self) -> impl Iterator<Item = Found> {
        self.all().filter(|found| found.container.is_none())
    }

    /// The subcommands of a container in the order of its rows.
    pub fn subcommands(&self, container: Found) -> impl Iterator<Item = Found> {
        let from = container.index + 1;
        self.rows[from..from + container.row.subcommands.len()].iter().map(|entry| entry.found)
    }

    /// Rows in all: every `Found::index` is smaller.
    pub fn count(&self) -> usize {
        self.rows.len()
    }
}

/// A command's name in small letters, by its two ends and its length. Made and compared without a
/// loop, for every command and every `redis.call`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    first: u64,
    last: u64,
    /// The length. Of one of the few that are longer than both ends, what is between them as well.
    rest: u64,
}

impl Name {
    fn of_row(row: &Row) -> Self {
        Self::new(row.name.as_bytes()).expect("names of commands are short")
    }

    /// As long as both ends.
    const ENDS_LEN: usize = 2 * size_of::<u64>();

    /// None if no command has such a name: it is too long.
    #[inline]
    fn new(name: &[u8]) -> Option<Self> {
        let len = name.len();
        let long = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let short = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
        let (first, last) = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => (long(first), long(last)),
            _ => match (name.first_chunk(), name.last_chunk()) {
                (Some(first), Some(last)) => (short(first), short(last)),
                _ => (name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
            },
        };
        let rest = if len <= Self::ENDS_LEN { len as u64 } else { Self::rest_of_long(name)? };
        Some(Self { first: lower(first), last: lower(last), rest })
    }

    /// The eight letters behind the first eight, and the length, in the bits that letters leave
    /// free. Another such bit tells them from a length alone.
    #[cold]
    fn rest_of_long(name: &[u8]) -> Option<u64> {
        const FREE: u64 = u64::from_ne_bytes([0x80; 8]);
        let excess = (name.len() - Self::ENDS_LEN - 1) as u64;
        let middle = u64::from_le_bytes(*name[8..].first_chunk()?);
        let is_too_long = excess >= 8;
        // Names of commands are ASCII.
        let is_foreign = middle & FREE != 0;
        let excess = (excess & 1) << 15 | (excess & 2) << 22 | (excess & 4) << 29;
        (!is_too_long && !is_foreign).then_some(lower(middle) | 0x80 | excess)
    }

    fn first_place(&self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(29) ^ self.rest;
        (spread(mixed) >> (u64::BITS - PLACE_BITS)) as usize
    }
}

/// Eight letters made small at once; other bytes stay.
fn lower(word: u64) -> u64 {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // Added to seven bits, each sets the eighth from a certain letter on.
    let low = word & all(0x7f);
    let from_a = low + all(0x80 - b'A');
    let above_z = low + all(0x7f - b'Z');
    let is_large = from_a & !above_z & !word & all(0x80);
    // 0x80 becomes 0x20, by which a small letter differs from a large one.
    word | is_large >> 2
}

/// How much of a request an error quotes.
pub(super) const QUOTED_BYTES_MAX: usize = 128;

impl Table {
    /// Refuses a command that there is not.
    #[cold]
    pub fn unknown_command(words: &[&[u8]]) -> Error {
        let mut quoted = Vec::new();
        for word in &words[1..] {
            if quoted.len() >= QUOTED_BYTES_MAX {
                break;
            }
            let word = abridged(word, QUOTED_BYTES_MAX - quoted.len());
            quoted.extend_from_slice(&[b"'", word, b"' "].concat());
        }
        let name = abridged(words[0], QUOTED_BYTES_MAX);
        let middle = "', with args beginning with: ";
        Error::new([b"ERR unknown command '", name, middle.as_bytes(), &quoted].concat())
    }

    /// Refuses a subcommand that there is not.
    #[cold]
    pub fn unknown_subcommand(container: &Row, name: &[u8]) -> Error {
        let container = container.name.to_ascii_uppercase();
        let name = abridged(name, QUOTED_BYTES_MAX);
        Error::quoting("ERR unknown subcommand '", name, &format!("'. Try {container} HELP."))
    }
}

/// As Redis formats a word: like a C string, which ends at the first zero.
fn abridged(word: &[u8], len_max: usize) -> &[u8] {
    let word = &word[..word.len().min(len_max)];
    word.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_alone_are_made_small() {
        for byte in 0..=u8::MAX {
            let word = [b'A', byte, b'z', byte, b'@', b'[', 0xff, byte];
            assert_eq!(
                lower(u64::from_le_bytes(word)).to_le_bytes(),
                word.to_ascii_lowercase()[..]
            );
        }
    }

    #[test]
    fn names_differ_in_any_byte_but_not_in_case() {
        let name = |text: &str| Name::new(text.as_bytes());
        for text in ["", "x", "get", "incr", "lrange", "zrevrangebyscore", "count-failure-reports"]
        {
            assert_eq!(name(text), name(&text.to_uppercase()));
            assert_ne!(name(text), name(&format!("{text}\0")));
            for at in 0..text.len() {
                let mut other = text.to_owned();
                other.replace_range(at..=at, "_");
                assert_ne!(name(text), name(&other));
            }
        }
        assert_eq!(name("a name that no command has"), None);
    }
}
