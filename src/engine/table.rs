//! The table of all commands, found by name in any case.

use super::row::{Category, Family, Row};
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
    commands: HashMap<&'static [u8], Found, ahash::RandomState>,
    subcommands: HashMap<(usize, &'static [u8]), Found, ahash::RandomState>,
    count: usize,
}

/// No command's name is longer.
const NAME_BYTES_MAX: usize = 32;

impl Table {
    pub fn new(families: &[&'static Family]) -> Self {
        let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let mut table = Self {
            commands: HashMap::with_hasher(hasher.clone()),
            subcommands: HashMap::with_hasher(hasher),
            count: 0,
        };
        for family in families {
            for row in family.rows {
                table.add(family.category, row);
            }
        }
        table
    }

    fn add(&mut self, category: Category, row: &'static Row) {
        let index = self.count;
        let found = Found { row, category, container: None, index };
        let before = self.commands.insert(row.name.as_bytes(), found);
        assert!(before.is_none(), "two rows are named {}", row.name);
        self.count += 1;
        for sub in row.subcommands {
            let found = Found { row: sub, category, container: Some(row), index: self.count };
            let before = self.subcommands.insert((index, sub.name.as_bytes()), found);
            assert!(before.is_none(), "two rows are named {}|{}", row.name, sub.name);
            self.count += 1;
        }
    }

    /// The command of this name; a container's row for `CLIENT` alone.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        lowered(name, |name| self.commands.get(name).copied())
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

    /// Commands without their subcommands, in no order.
    pub fn commands(&self) -> impl Iterator<Item = Found> {
        self.commands.values().copied()
    }

    /// The subcommands of a container in the order of its rows.
    pub fn subcommands(&self, container: Found) -> impl Iterator<Item = Found> {
        let rows = container.row.subcommands.iter();
        rows.filter_map(move |row| self.subcommands.get(&(container.index, row.name.as_bytes())))
            .copied()
    }

    /// Rows in all: every `Found::index` is smaller.
    pub fn count(&self) -> usize {
        self.count
    }
}

fn lowered<T>(name: &[u8], find: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    let mut buffer = [0; NAME_BYTES_MAX];
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    find(lower)
}

/// How much of a request an error quotes.
const QUOTED_BYTES_MAX: usize = 128;

fn unknown_command(words: &[&[u8]]) -> Error {
    let quote = |word: &[u8], max: usize| {
        String::from_utf8_lossy(&word[..word.len().min(max)]).into_owned()
    };
    let mut quoted = String::new();
    for word in &words[1..] {
        if quoted.len() >= QUOTED_BYTES_MAX {
            break;
        }
        quoted += &format!("'{}' ", quote(word, QUOTED_BYTES_MAX - quoted.len()));
    }
    let name = quote(words[0], QUOTED_BYTES_MAX);
    Error::new(format!("ERR unknown command '{name}', with args beginning with: {quoted}"))
}

fn unknown_subcommand(container: &Row, name: &[u8]) -> Error {
    let name = String::from_utf8_lossy(&name[..name.len().min(QUOTED_BYTES_MAX)]);
    let container = container.name.to_ascii_uppercase();
    Error::new(format!("ERR unknown subcommand '{name}'. Try {container} HELP."))
}
