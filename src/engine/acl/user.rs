//! A user: its passwords, whether it may log in, and what it may do.

use super::selector::{Denial, Selector};
use super::{RuleError, Rules};
use crate::engine::table::Found;
use crate::util::{quote, words};
use sha2::{Digest, Sha256};

type Hash = [u8; 32];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: Box<[u8]>,
    /// It is in no list: Upstash's user who may only read.
    pub is_reader: bool,
    pub is_on: bool,
    /// Any password will do.
    pub needs_no_password: bool,
    /// What it RESTOREs is looked at first. toril does so in any case, and keeps the rule.
    is_sanitized: bool,
    /// The SHA-256 of each.
    passwords: Vec<Hash>,
    /// The root, which has no parentheses, then the others.
    selectors: Vec<Selector>,
}

impl User {
    /// One who may neither log in nor do anything.
    pub fn new(name: &[u8], rules: &Rules) -> Self {
        Self {
            name: name.into(),
            is_reader: false,
            is_on: false,
            needs_no_password: false,
            is_sanitized: true,
            passwords: Vec::new(),
            selectors: vec![rules.new_selector()],
        }
    }

    /// Who may only read, and is in no list.
    pub fn reader(name: &[u8], selector: Selector, rules: &Rules) -> Self {
        Self { is_reader: true, selectors: vec![selector], ..Self::new(name, rules) }
    }

    /// Whether there is nothing that it may not do.
    pub fn is_unrestricted(&self) -> bool {
        self.selectors.iter().any(Selector::is_unrestricted)
    }

    pub fn root(&self) -> &Selector {
        &self.selectors[0]
    }

    /// Those in parentheses.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors[1..]
    }

    /// Whether one of its selectors has these rights to every key there may be.
    pub fn has_all_keys(&self, wanted: u8) -> bool {
        self.selectors.iter().any(|selector| selector.allows_all_keys(wanted))
    }

    /// The hashes of its passwords, in hexadecimal digits.
    pub fn passwords(&self) -> Vec<String> {
        self.passwords.iter().map(hex).collect()
    }

    /// Carries out several rules, in which a selector may be spread over several words; if one of
    /// them is wrong, none.
    ///
    /// # Errors
    /// The rule that is wrong, and why.
    pub fn set_all(&mut self, words: &[&[u8]], rules: &Rules) -> Result<(), WrongRule> {
        let mut changed = self.clone();
        for rule in merge_selectors(words)? {
            changed.set(&rule, rules).map_err(|why| WrongRule::Rule(rule, why))?;
        }
        *self = changed;
        Ok(())
    }

    /// Carries out one rule.
    ///
    /// # Errors
    /// If it is wrong; a part of it may have been carried out.
    pub(super) fn set(&mut self, rule: &[u8], rules: &Rules) -> Result<(), RuleError> {
        let is = |word: &str| rule.eq_ignore_ascii_case(word.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.is_on = true,
            _ if is("off") => self.is_on = false,
            _ if is("nopass") => (self.needs_no_password, self.passwords) = (true, Vec::new()),
            _ if is("resetpass") => (self.needs_no_password, self.passwords) = (false, Vec::new()),
            _ if is("skip-sanitize-payload") => self.is_sanitized = false,
            _ if is("sanitize-payload") => self.is_sanitized = true,
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => *self = Self::new(&self.name, rules),
            [b'>', password @ ..] => self.add_password(hash(password)),
            [b'#', digits @ ..] => self.add_password(parse_hash(digits)?),
            [b'<', password @ ..] => self.remove_password(&hash(password))?,
            [b'!', digits @ ..] => self.remove_password(&parse_hash(digits)?)?,
            [b'(', inside @ .., b')'] => {
                // Where a quote stays open Redis sees no words, which allow nothing.
                let (bytes, spans) = words::split(inside).unwrap_or_default();
                let mut selector = rules.new_selector();
                for (start, end) in spans {
                    selector.set(&bytes[start..end], rules.table)?;
                }
                self.selectors.push(selector);
            }
            _ => self.selectors[0].set(rule, rules.table)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let known = self.passwords.iter().position(|known| known == hash);
        self.passwords.remove(known.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// Whether it may log in with this password.
    pub fn admits(&self, password: &[u8]) -> bool {
        self.is_on && (self.needs_no_password || self.has_password(password))
    }

    /// Hashes are compared, so that how long it takes tells nothing of a password.
    pub fn has_password(&self, password: &[u8]) -> bool {
        !self.passwords.is_empty() && self.passwords.contains(&hash(password))
    }

    /// Whether it may run a request.
    ///
    /// # Errors
    /// Why not: what the selector says that came furthest.
    pub fn check(&self, found: Found, words: &[&[u8]]) -> Result<(), Denial> {
        let mut furthest = None;
        for selector in &self.selectors {
            match selector.check(found, words) {
                Ok(()) => return Ok(()),
                denied => furthest = furthest.max(denied.err()),
            }
        }
        Err(furthest.expect("there is a root"))
    }

    /// Whether one of its selectors allows a request, and to do as much to any key there is.
    pub fn may_reach_all(&self, found: Found, words: &[&[u8]], wanted: u8) -> bool {
        let allows = |it: &Selector| it.check(found, words).is_ok() && it.allows_all_keys(wanted);
        self.selectors.iter().any(allows)
    }

    /// Whether it may listen to a channel, or to those that match a pattern.
    pub fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.allows_channel(name, is_pattern))
    }

    /// Whether it may hear all that another may, as far as the lists of patterns tell.
    pub fn hears_all_of(&self, other: &Self) -> bool {
        let patterns = other.selectors.iter().map(Selector::channels);
        patterns.into_iter().all(|patterns| match patterns {
            None => self.selectors.iter().any(|it| it.channels().is_none()),
            Some(patterns) => patterns.iter().all(|it| self.allows_channel(it, true)),
        })
    }

    /// Its flags in Redis's order, as GETUSER tells them.
    pub fn flags(&self) -> Vec<&'static str> {
        let login = if self.is_on { "on" } else { "off" };
        let payload = if self.is_sanitized { "sanitize-payload" } else { "skip-sanitize-payload" };
        let nopass = self.needs_no_password.then_some("nopass");
        [Some(login), nopass, Some(payload)].into_iter().flatten().collect()
    }

    /// The line of a file that makes this user: `user NAME` and its rules.
    pub fn describe(&self) -> Vec<u8> {
        let words = [vec![b"user".to_vec(), self.name.to_vec()], self.rules()].concat();
        words.join(&b' ')
    }

    /// All rules, which make the same user out of a new one.
    pub fn rules(&self) -> Vec<Vec<u8>> {
        let flags = self.flags().into_iter().map(|flag| flag.as_bytes().to_vec());
        let passwords = self.passwords().into_iter().map(|hash| format!("#{hash}").into_bytes());
        let selectors = self.selectors().iter().map(|selector| {
            let rules: Vec<Vec<u8>> = selector.describe().into_iter().map(quoted).collect();
            [b"(", &rules.join(&b' ')[..], b")"].concat()
        });
        let root = self.root().describe();
        flags.chain(passwords).chain(root).chain(selectors).collect()
    }
}

/// Why rules were not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongRule {
    /// This word opens a selector that no other closes.
    Unmatched(Vec<u8>),
    Rule(Vec<u8>, RuleError),
}

/// Rules, of which a selector is one even if blanks have made several words of it.
pub(super) fn merge_selectors(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, WrongRule> {
    let mut rules = Vec::new();
    let mut open: Option<(&[u8], Vec<u8>)> = None;
    for &word in words {
        let closes = word.ends_with(b")");
        open = match open {
            None if word.starts_with(b"(") && !closes => Some((word, word.to_vec())),
            None => {
                rules.push(word.to_vec());
                None
            }
            Some((first, so_far)) => {
                let whole = [&so_far, &b" "[..], word].concat();
                if closes {
                    rules.push(whole);
                    None
                } else {
                    Some((first, whole))
                }
            }
        };
    }
    match open {
        Some((first, _)) => Err(WrongRule::Unmatched(first.to_vec())),
        None => Ok(rules),
    }
}

/// A rule as it stands in parentheses, where quotes and parentheses have a meaning.
fn quoted(rule: Vec<u8>) -> Vec<u8> {
    if !rule.iter().any(|byte| b"\"')".contains(byte)) {
        return rule;
    }
    let mut text = Vec::new();
    quote::quoted(&rule, &mut text);
    text
}

fn hash(password: &[u8]) -> Hash {
    Sha256::digest(password).into()
}

fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 hexadecimal digits in lower case.
fn parse_hash(digits: &[u8]) -> Result<Hash, RuleError> {
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(RuleError::NoHash),
    };
    let mut hash = Hash::default();
    if digits.len() != 2 * hash.len() {
        return Err(RuleError::NoHash);
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(hash)
}
