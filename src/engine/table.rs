//! The table of all commands, found by name in any case.

use super::row::{Category, Family, Flag, Row};
use crate::proto::{Args, Error, Result};
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
            "write" => flags.has(Flag::Write) && !is_script,
            "admin" => flags.has(Flag::Admin) || flags.has(Flag::AclAdmin),
            "dangerous" => flags.has(Flag::Admin) || flags.has(Flag::Dangerous),
            "pubsub" => flags.has(Flag::Pubsub),
            "blocking" => flags.has(Flag::Blocking),
            "fast" => flags.has(Flag::Fast),
            "slow" => !flags.has(Flag::Fast),
            // Of a container only its subcommands belong to the family's.
            _ => !self.row.is_container() && self.category.acl_name() == Some(category),
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

/// All commands of all families.
pub struct Table {
    /// By the hash of a command's name, its index in `rows`; `EMPTY` where there is none. The next
    /// free place is taken where two names meet.
    places: Box<[u16]>,
    subcommands: HashMap<(usize, &'static [u8]), Found, ahash::RandomState>,
    /// By index.
    rows: Vec<Found>,
}

/// No command's name is longer.
const NAME_BYTES_MAX: usize = 32;

/// More than four places a command: few names meet.
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
        let place = self.place(row.name.as_bytes());
        assert!(self.places[place] == EMPTY, "two rows are named {}", row.name);
        self.places[place] = u16::try_from(index).expect("rows are few");
        self.rows.push(found);
        for sub in row.subcommands {
            let found = Found { row: sub, category, container: Some(row), index: self.rows.len() };
            let before = self.subcommands.insert((index, sub.name.as_bytes()), found);
            assert!(before.is_none(), "two rows are named {}|{}", row.name, sub.name);
            self.rows.push(found);
        }
    }

    /// The command of this name; a container's row for `CLIENT` alone.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        self.rows.get(usize::from(self.places[self.place(name)])).copied()
    }

    /// Where a name stands, or would stand.
    fn place(&self, name: &[u8]) -> usize {
        let mut place = place_of(name);
        while let Some(found) = self.rows.get(usize::from(self.places[place]))
            && !found.row.name.as_bytes().eq_ignore_ascii_case(name)
        {
            place = (place + 1) % PLACES;
        }
        place
    }

    /// The subcommand `name` of the container found as `container`.
    pub fn find_subcommand(&self, container: Found, name: &[u8]) -> Option<Found> {
        lowered(name, |name| self.subcommands.get(&(container.index, name)).copied())
    }

    /// The command or subcommand that a request names.
    pub fn resolve(&self, args: &Args) -> Result<Found> {
        let words = args.all();
        let found = self.find(words[0]).ok_or_else(|| unknown_command(words))?;
        if found.row.subcommands.is_empty() {
            return Ok(found);
        }
        let Some(name) = words.get(1) else { return Ok(found) };
        self.find_subcommand(found, name).ok_or_else(|| unknown_subcommand(found.row, name))
    }

    /// All commands, each followed by its subcommands: each stands at its index.
    pub fn all(&self) -> impl Iterator<Item = Found> {
        self.rows.iter().copied()
    }

    /// Commands without their subcommands.
    pub fn commands(&self) -> impl Iterator<Item = Found> {
        self.all().filter(|found| found.container.is_none())
    }

    /// The subcommands of a container in the order of its rows.
    pub fn subcommands(&self, container: Found) -> impl Iterator<Item = Found> {
        let from = container.index + 1;
        self.rows[from..from + container.row.subcommands.len()].iter().copied()
    }

    /// Rows in all: every `Found::index` is smaller.
    pub fn count(&self) -> usize {
        self.rows.len()
    }
}

/// The first place for a name in any case: hashed by its ends, which tell all commands apart well
/// enough. This runs for every command and every `redis.call`.
fn place_of(name: &[u8]) -> usize {
    /// Sets the bit by which a small letter differs from a large one.
    const LOWER: u64 = u64::from_ne_bytes([b' '; 8]);
    let (first, last) = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
        _ => (name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)), 0),
    };
    let mixed = (first | LOWER) ^ (last | LOWER).rotate_left(29) ^ name.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACE_BITS)) as usize
}

fn lowered<T>(name: &[u8], find: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut buffer = [0; NAME_BYTES_MAX];
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    find(lower)
}

/// How much of a request an error quotes.
pub(super) const QUOTED_BYTES_MAX: usize = 128;

fn unknown_command(words: &[&[u8]]) -> Error {
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

/// As Redis formats a word: like a C string, which ends at the first zero.
fn abridged(word: &[u8], len_max: usize) -> &[u8] {
    let word = &word[..word.len().min(len_max)];
    word.split(|&byte| byte == 0).next().unwrap_or_default()
}

fn unknown_subcommand(container: &Row, name: &[u8]) -> Error {
    let container = container.name.to_ascii_uppercase();
    let name = abridged(name, QUOTED_BYTES_MAX);
    Error::quoting("ERR unknown subcommand '", name, &format!("'. Try {container} HELP."))
}
