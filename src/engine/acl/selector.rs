//! A selector: which commands may be run, on which keys and with which channels. What a user may
//! do is the sum of its selectors, each by itself: the commands of one do not mix with the keys of
//! another.

use super::RuleError;
use super::file::is_blank;
use crate::engine::keys::access;
use crate::engine::row::{ACL_CATEGORIES, Channels, Flag};
use crate::engine::table::{Found, Table};
use crate::util::glob::{self, Case};
use std::collections::BTreeMap;

/// What a pattern of keys allows, and what a command wants of a key.
pub mod right {
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
}

/// What a command wants of a key that it treats so; nothing, if it only asks whether there is one.
pub fn wanted(access: u16) -> u8 {
    let reads = if access & access::ACCESS != 0 { right::READ } else { 0 };
    let changes = access::INSERT | access::DELETE | access::UPDATE;
    reads | if access & changes != 0 { right::WRITE } else { 0 }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Box<[u8]>,
    rights: u8,
}

/// Where and why a request was refused. Of several selectors the one speaks that came furthest:
/// so the order of the reasons is Redis's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Command,
    Key,
    /// A name and a password that do not fit: no selector says so.
    Login,
    Channel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    pub reason: Reason,
    /// Which word of the request is the key or the channel.
    pub place: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// A bit for each `Found::index`: the check of a command is one look.
    commands: Box<[u64]>,
    /// Whether commands that the table does not have yet would be allowed: `+@all` was the last
    /// rule of its kind.
    begins_with_all: bool,
    /// What was said of commands since then, in order: `+get`, `-@list`, `+config|get`.
    rules: Vec<Vec<u8>>,
    /// By command, the first arguments with which it may be run although its bit is not set.
    first_args: BTreeMap<usize, Vec<Vec<u8>>>,
    has_all_keys: bool,
    keys: Vec<KeyPattern>,
    has_all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// Allows nothing, but for what `acl-pubsub-default` says.
    pub fn new(table: &Table, has_all_channels: bool) -> Self {
        let commands = vec![0; table.count().div_ceil(64)].into();
        Self { commands, has_all_channels, ..Self::default() }
    }

    /// A selector of these commands, with all keys and channels.
    pub fn of_commands(table: &Table, is_allowed: impl Fn(Found) -> bool) -> Self {
        let mut selector = Self { has_all_keys: true, ..Self::new(table, true) };
        table.all().for_each(|found| selector.set_bit(found.index, is_allowed(found)));
        selector
    }

    /// Whether there is nothing that it does not allow.
    pub fn is_unrestricted(&self) -> bool {
        self.begins_with_all && self.rules.is_empty() && self.has_all_keys && self.has_all_channels
    }

    /// Takes back all that was said of keys, channels and commands.
    pub fn reset(&mut self, table: &Table, has_all_channels: bool) {
        *self = Self::new(table, has_all_channels);
    }

    /// Carries out one rule. After an error only a part of it may have been.
    pub fn set(&mut self, rule: &[u8], table: &Table) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            _ if is("allkeys") || is("~*") => (self.has_all_keys, self.keys) = (true, Vec::new()),
            _ if is("resetkeys") => (self.has_all_keys, self.keys) = (false, Vec::new()),
            _ if is("allchannels") || is("&*") => {
                (self.has_all_channels, self.channels) = (true, Vec::new());
            }
            _ if is("resetchannels") => {
                (self.has_all_channels, self.channels) = (false, Vec::new());
            }
            _ if is("allcommands") || is("+@all") => self.set_all(true),
            _ if is("nocommands") || is("-@all") => self.set_all(false),
            [b'~' | b'%', ..] => self.add_keys(rule)?,
            [b'&', pattern @ ..] => self.add_channels(pattern)?,
            [b'+' | b'-', b'@', category @ ..] => {
                self.set_category(rule, category, table)?;
            }
            [b'+', name @ ..] if name.contains(&b'|') => self.allow_part(name, table)?,
            [b'+' | b'-', name @ ..] => {
                let found = find(table, name).ok_or(RuleError::Unknown)?;
                self.set_command(found, rule[0] == b'+', table);
                self.note(rule[0] == b'+', found.full_name().as_bytes());
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.has_all_keys {
            return Err(RuleError::KeysAreAll);
        }
        let (rights, pattern) = match rule {
            [b'%', rest @ ..] => split_rights(rest)?,
            _ => (right::READ | right::WRITE, &rule[1..]),
        };
        refuse_blanks(pattern)?;
        match self.keys.iter_mut().find(|known| *known.pattern == *pattern) {
            Some(known) => known.rights |= rights,
            None => self.keys.push(KeyPattern { pattern: pattern.into(), rights }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.has_all_channels {
            return Err(RuleError::ChannelsAreAll);
        }
        refuse_blanks(pattern)?;
        if !self.channels.iter().any(|known| **known == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    fn set_all(&mut self, is_allowed: bool) {
        self.commands.fill(if is_allowed { u64::MAX } else { 0 });
        self.begins_with_all = is_allowed;
        self.rules.clear();
        self.first_args.clear();
    }

    fn set_category(&mut self, rule: &[u8], name: &[u8], table: &Table) -> Result<(), RuleError> {
        let is_it = |known: &&&str| known.as_bytes().eq_ignore_ascii_case(name);
        let category = ACL_CATEGORIES.iter().find(is_it).ok_or(RuleError::Unknown)?;
        let is_allowed = rule[0] == b'+';
        for found in table.all().filter(|found| found.is_in(category)) {
            self.set_command(found, is_allowed, table);
        }
        self.note(is_allowed, format!("@{category}").as_bytes());
        Ok(())
    }

    /// A subcommand, or a command with a certain first argument.
    fn allow_part(&mut self, name: &[u8], table: &Table) -> Result<(), RuleError> {
        let bar = name.iter().rposition(|&byte| byte == b'|').expect("there is one");
        let (command, part) = (&name[..bar], &name[bar + 1..]);
        let found = find(table, command).ok_or(RuleError::Unknown)?;
        if found.container.is_some() {
            return Err(RuleError::PartOfSubcommand);
        }
        if part.is_empty() {
            return Err(RuleError::Syntax);
        }
        if !found.row.subcommands.is_empty() {
            let found = table.find_subcommand(found, part).ok_or(RuleError::Unknown)?;
            self.set_command(found, true, table);
            self.note(true, found.full_name().as_bytes());
            return Ok(());
        }
        refuse_blanks(part)?;
        let part = part.to_ascii_lowercase();
        self.note(true, &[found.row.name.as_bytes(), b"|", &part].concat());
        let parts = self.first_args.entry(found.index).or_default();
        if !parts.contains(&part) {
            parts.push(part);
        }
        Ok(())
    }

    /// Allows a command or forbids it, with all its subcommands; first arguments mean nothing then.
    fn set_command(&mut self, found: Found, is_allowed: bool, table: &Table) {
        self.set_bit(found.index, is_allowed);
        self.first_args.remove(&found.index);
        for sub in table.subcommands(found) {
            self.set_bit(sub.index, is_allowed);
        }
    }

    fn set_bit(&mut self, index: usize, is_set: bool) {
        let mask = 1 << (index % 64);
        let word = &mut self.commands[index / 64];
        *word = if is_set { *word | mask } else { *word & !mask };
    }

    /// Notes a rule on commands; those that it makes void go: of the same name, or of a part of it.
    fn note(&mut self, is_allowed: bool, name: &[u8]) {
        let is_void = |rule: &[u8]| matches!(rule[1..].strip_prefix(name), Some([] | [b'|', ..]));
        self.rules.retain(|rule| !is_void(rule));
        let sign: &[u8] = if is_allowed { b"+" } else { b"-" };
        self.rules.push([sign, name].concat());
    }

    /// Whether a request is allowed.
    pub fn check(&self, found: Found, words: &[&[u8]]) -> Result<(), Denial> {
        if !self.allows_command(found, words) {
            return Err(Denial { reason: Reason::Command, place: 0 });
        }
        if !self.has_all_keys {
            self.check_keys(found, words)?;
        }
        if !self.has_all_channels {
            self.check_channels(found.row.channels, words)?;
        }
        Ok(())
    }

    fn allows_command(&self, found: Found, words: &[&[u8]]) -> bool {
        let has_bit = self.commands[found.index / 64] & 1 << (found.index % 64) != 0;
        // Whatever somebody may do, it may become somebody else.
        if has_bit || found.row.flags.has(Flag::NoAuth) {
            return true;
        }
        let Some(parts) = self.first_args.get(&found.index) else { return false };
        let Some(word) = words.get(1).and_then(|word| word.split(|&byte| byte == 0).next()) else {
            return false;
        };
        parts.iter().any(|part| part.eq_ignore_ascii_case(word))
    }

    fn check_keys(&self, found: Found, words: &[&[u8]]) -> Result<(), Denial> {
        let mut denied = None;
        let fits = found.row.keys.visit(words, |place, access| {
            if denied.is_none() && !self.allows_key(words[place], wanted(access)) {
                denied = Some(place);
            }
        });
        match (fits, denied) {
            (Some(()), Some(place)) => Err(Denial { reason: Reason::Key, place }),
            // What does not fit names no key; the command will refuse it.
            _ => Ok(()),
        }
    }

    fn allows_key(&self, key: &[u8], wanted: u8) -> bool {
        let allows = |known: &KeyPattern| {
            known.rights & wanted == wanted && glob::matches(&known.pattern, key, Case::Sensitive)
        };
        self.has_all_keys || self.keys.iter().any(allows)
    }

    /// Whether it may do this to any key there is.
    pub fn allows_all_keys(&self, wanted: u8) -> bool {
        let allows =
            |known: &KeyPattern| known.rights & wanted == wanted && *known.pattern == *b"*";
        self.has_all_keys || self.keys.iter().any(allows)
    }

    fn check_channels(&self, channels: Channels, words: &[&[u8]]) -> Result<(), Denial> {
        let (places, is_pattern) = match channels {
            Channels::None => return Ok(()),
            Channels::First => (1..2, false),
            Channels::All => (1..words.len(), false),
            Channels::Patterns => (1..words.len(), true),
        };
        for place in places {
            if !self.allows_channel(words[place], is_pattern) {
                return Err(Denial { reason: Reason::Channel, place });
            }
        }
        Ok(())
    }

    /// A pattern is allowed if it stands in the list as it is: what else it may match nobody knows.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        let allows = |known: &[u8]| match is_pattern {
            true => known == name,
            false => glob::matches(known, name, Case::Sensitive),
        };
        self.has_all_channels || self.channels.iter().any(|known| allows(known))
    }

    /// The patterns of channels; None where all channels are allowed.
    pub fn channels(&self) -> Option<&[Box<[u8]>]> {
        (!self.has_all_channels).then_some(&self.channels)
    }

    /// The rules on keys.
    pub fn key_rules(&self) -> Vec<Vec<u8>> {
        if self.has_all_keys {
            return vec![b"~*".to_vec()];
        }
        let rules = self.keys.iter().map(|known| {
            let prefix: &[u8] = match known.rights {
                right::READ => b"%R~",
                right::WRITE => b"%W~",
                // `~*` is another rule, which lets none follow.
                _ if *known.pattern == *b"*" => b"%RW~",
                _ => b"~",
            };
            [prefix, &known.pattern].concat()
        });
        rules.collect()
    }

    /// The rules on channels; `resetchannels` is not among them.
    pub fn channel_rules(&self) -> Vec<Vec<u8>> {
        if self.has_all_channels {
            return vec![b"&*".to_vec()];
        }
        self.channels.iter().map(|pattern| [b"&", &pattern[..]].concat()).collect()
    }

    /// The rules on commands.
    pub fn command_rules(&self) -> Vec<Vec<u8>> {
        let first: &[u8] = if self.begins_with_all { b"+@all" } else { b"-@all" };
        std::iter::once(first.to_vec()).chain(self.rules.iter().cloned()).collect()
    }

    /// All rules, which make the same selector out of a new one.
    pub fn describe(&self) -> Vec<Vec<u8>> {
        let mut rules = self.key_rules();
        if !self.has_all_channels {
            rules.push(b"resetchannels".to_vec());
        }
        rules.extend(self.channel_rules());
        rules.extend(self.command_rules());
        rules
    }
}

/// The command or subcommand (`config|get`) of this name.
fn find(table: &Table, name: &[u8]) -> Option<Found> {
    let mut parts = name.splitn(2, |&byte| byte == b'|');
    let found = table.find(parts.next()?)?;
    match parts.next() {
        None => Some(found),
        Some(part) => table.find_subcommand(found, part),
    }
}

/// What stands between `%` and `~`, and what follows. Where nothing follows, Redis does without the
/// tilde.
fn split_rights(mut rule: &[u8]) -> Result<(u8, &[u8]), RuleError> {
    let mut rights = 0;
    loop {
        (rights, rule) = match rule {
            [b'r' | b'R', rest @ ..] if rights & right::READ == 0 => (rights | right::READ, rest),
            [b'w' | b'W', rest @ ..] if rights & right::WRITE == 0 => (rights | right::WRITE, rest),
            [b'~', pattern @ ..] if rights != 0 => return Ok((rights, pattern)),
            [] if rights != 0 => return Ok((rights, rule)),
            _ => return Err(RuleError::Syntax),
        };
    }
}

/// A rule ends at a blank, so that no pattern can hold one.
fn refuse_blanks(pattern: &[u8]) -> Result<(), RuleError> {
    if pattern.iter().any(|&byte| is_blank(byte)) { Err(RuleError::Syntax) } else { Ok(()) }
}
