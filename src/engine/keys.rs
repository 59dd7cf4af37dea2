//! Where a command's keys stand among its words, and what becomes of them.

use crate::proto::args::is_keyword;

/// What a command does to a key: the flags of COMMAND's key specifications.
/// <https://redis.io/docs/latest/develop/reference/key-specs/>
pub mod access {
    pub const RO: u16 = 1 << 0;
    pub const RW: u16 = 1 << 1;
    pub const OW: u16 = 1 << 2;
    pub const RM: u16 = 1 << 3;
    pub const ACCESS: u16 = 1 << 4;
    pub const UPDATE: u16 = 1 << 5;
    pub const INSERT: u16 = 1 << 6;
    pub const DELETE: u16 = 1 << 7;
    pub const NOT_KEY: u16 = 1 << 8;
    pub const INCOMPLETE: u16 = 1 << 9;
    pub const VARIABLE: u16 = 1 << 10;
    /// With `VARIABLE`: it reads alone, if all it is told is to read. Not told by COMMAND.
    pub const MAY_ONLY_READ: u16 = 1 << 11;

    /// Every flag with the name that COMMAND gives it.
    pub const ALL: &[(u16, &str)] = &[
        (RO, "RO"),
        (RW, "RW"),
        (OW, "OW"),
        (RM, "RM"),
        (ACCESS, "access"),
        (UPDATE, "update"),
        (INSERT, "insert"),
        (DELETE, "delete"),
        (NOT_KEY, "not_key"),
        (INCOMPLETE, "incomplete"),
        (VARIABLE, "variable_flags"),
    ];
}

use access::*;

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this word.
    At(usize),
    /// Behind this keyword, looked for from this word on; negative: backwards from the end.
    Behind(&'static str, i64),
    /// The one key behind the last such keyword, wherever that stands among the options: COMMAND
    /// cannot say so and calls it unknown. `GET store` would be taken for it.
    Option(&'static str),
    /// Nobody can say without running the command.
    Unknown,
}

/// Which words from there on are keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` (from the beginning; negative: from the end of the request, -1 its last word),
    /// each `step`th. `limit` 2 takes the first half of what is left, and so on; 0 and 1: all.
    Range {
        last: i64,
        step: usize,
        limit: usize,
    },
    /// The word `at` (from the beginning) counts the keys; the first stands at `first`.
    Counted {
        at: usize,
        first: usize,
        step: usize,
    },
    Unknown,
}

/// One key specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    pub begin: Begin,
    pub find: Find,
    pub access: u16,
}

/// The keys of a command: up to three specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    specs: [Option<Spec>; 3],
}

impl Keys {
    pub const fn none() -> Self {
        Self { specs: [None; 3] }
    }

    /// The word at `index` (1 is the first behind the name).
    pub const fn one(index: usize) -> Self {
        Self::spec(Begin::At(index), Find::Range { last: 0, step: 1, limit: 0 })
    }

    /// From the word at `first` to `last`, which is negative when counted from the end.
    pub const fn span(first: usize, last: i64) -> Self {
        Self::stepped(first, last, 1)
    }

    /// As `span`, each `step`th word.
    pub const fn stepped(first: usize, last: i64, step: usize) -> Self {
        let last = if last < 0 { last } else { last - first as i64 };
        Self::spec(Begin::At(first), Find::Range { last, step, limit: 0 })
    }

    /// The word at `index` says how many keys follow it.
    pub const fn counted(index: usize) -> Self {
        Self::spec(Begin::At(index), Find::Counted { at: 0, first: 1, step: 1 })
    }

    /// The word behind an option.
    pub const fn option(keyword: &'static str) -> Self {
        Self::spec(Begin::Option(keyword), Find::Unknown)
    }

    pub const fn spec(begin: Begin, find: Find) -> Self {
        Self { specs: [Some(Spec { begin, find, access: 0 }), None, None] }
    }

    /// Says what the command does to the keys named so far: flags of `access`.
    pub const fn with(mut self, access: u16) -> Self {
        let mut at = 0;
        while at < self.specs.len() {
            if let Some(spec) = &mut self.specs[at] {
                spec.access |= access;
            }
            at += 1;
        }
        self
    }

    /// Reads what it answers.
    pub const fn reads(self) -> Self {
        self.with(RO | ACCESS)
    }

    /// Looks only at the key's being, type or size.
    pub const fn inspects(self) -> Self {
        self.with(RO)
    }

    pub const fn inserts(self) -> Self {
        self.with(RW | INSERT)
    }

    pub const fn updates(self) -> Self {
        self.with(RW | UPDATE)
    }

    pub const fn deletes(self) -> Self {
        self.with(RW | DELETE)
    }

    /// Answers what it takes out.
    pub const fn pops(self) -> Self {
        self.with(RW | ACCESS | DELETE)
    }

    /// Replaces the value whatever it was.
    pub const fn overwrites(self) -> Self {
        self.with(OW | UPDATE)
    }

    /// Removes the key without looking at its value.
    pub const fn removes(self) -> Self {
        self.with(RM | DELETE)
    }

    /// Adds the keys of `other`.
    pub const fn and(mut self, other: Self) -> Self {
        let mut from = 0;
        while from < other.specs.len() {
            let mut to = 0;
            while to < self.specs.len() && self.specs[to].is_some() {
                to += 1;
            }
            if other.specs[from].is_some() {
                self.specs[to] = other.specs[from];
            }
            from += 1;
        }
        self
    }

    pub fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.specs.iter().flatten()
    }

    pub fn is_none(&self) -> bool {
        self.specs[0].is_none()
    }

    /// Whether only the words tell where all keys stand: COMMAND's flag `movablekeys`.
    pub fn are_movable(&self) -> bool {
        self.specs().any(|spec| {
            spec.access & INCOMPLETE != 0
                || !matches!((spec.begin, spec.find), (Begin::At(_), Find::Range { .. }))
        })
    }

    /// First key, last key and step, as COMMAND has told them since before there were specs.
    pub fn as_range(&self) -> (i64, i64, i64) {
        let mut range = (0, 0, 0);
        for spec in self.specs() {
            let (Begin::At(first), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
                continue;
            };
            let last = if last < 0 { last } else { last + first as i64 };
            range = match range {
                (0, ..) => (first as i64, last, step as i64),
                (start, end, 1) if end >= 0 && end + 1 == first as i64 => (start, last, 1),
                known => known,
            };
        }
        range
    }

    /// Shows the place of each key in `words`, and what this request does to that key: flags of
    /// `access`. None if the words do not fit; those keys that were shown before are none then.
    pub fn visit(&self, words: &[&[u8]], mut show: impl FnMut(usize, u16)) -> Option<()> {
        for spec in self.specs().filter(|spec| spec.access & NOT_KEY == 0) {
            let Some(begin) = spec.begin(words) else { continue };
            let access = spec.access_in(words);
            match spec.find {
                Find::Range { last, step, limit } => {
                    let last = match last {
                        0.. => begin + last as usize,
                        _ if limit > 1 => begin + (words.len() - begin) / limit - 1,
                        _ => words.len().checked_sub(last.unsigned_abs() as usize)?,
                    };
                    if last >= words.len() || begin > last {
                        return None;
                    }
                    (begin..=last).step_by(step).for_each(|at| show(at, access));
                }
                Find::Counted { at, first, step } => {
                    // As C's atoi reads it; the command itself is stricter.
                    let count = words.get(begin + at)?;
                    let digits = count.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let count = crate::util::number::parse_i64(&count[..digits])? as usize;
                    let first = begin + first;
                    if count > words.len().saturating_sub(first).div_ceil(step) {
                        return None;
                    }
                    (0..count).for_each(|key| show(first + key * step, access));
                }
                Find::Unknown => show(begin, access),
            }
        }
        Some(())
    }
}

impl Spec {
    /// What SET and BITFIELD do depends on their options.
    fn access_in(&self, words: &[&[u8]]) -> u16 {
        if self.access & MAY_ONLY_READ != 0 {
            return if only_reads(&words[2..]) { RO | ACCESS } else { RW | ACCESS | UPDATE };
        }
        // SET only looks at what it replaces to answer it.
        let answers = words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
        match self.access & VARIABLE != 0 {
            false => self.access,
            true if answers => RW | ACCESS | UPDATE,
            true => OW | UPDATE,
        }
    }

    fn begin(&self, words: &[&[u8]]) -> Option<usize> {
        match self.begin {
            Begin::At(index) => (index < words.len()).then_some(index),
            Begin::Behind(keyword, from) => {
                let is_it = |&at: &usize| is_keyword(words[at], keyword);
                let place = if from >= 0 {
                    (from as usize..words.len()).find(is_it)
                } else {
                    (1..=words.len().checked_sub(from.unsigned_abs() as usize)?).rev().find(is_it)
                };
                place.map(|at| at + 1).filter(|&at| at < words.len())
            }
            Begin::Option(keyword) => {
                let is_it = |word: &&[u8]| is_keyword(word, keyword);
                let before_last = words.split_last()?.1;
                before_last.iter().rposition(is_it).filter(|&at| at > 1).map(|at| at + 1)
            }
            Begin::Unknown => None,
        }
    }
}

/// Whether all that BITFIELD is told is to read, or how to do what it is not told.
fn only_reads(mut options: &[&[u8]]) -> bool {
    loop {
        options = match options {
            [] => return true,
            [get, _, _, rest @ ..] if get.eq_ignore_ascii_case(b"get") => rest,
            [overflow, _, rest @ ..] if overflow.eq_ignore_ascii_case(b"overflow") => rest,
            _ => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: Keys, line: &str, expect: Option<&[usize]>) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut places = Vec::new();
        let fits = keys.visit(&words, |place, _| places.push(place));
        assert_eq!(fits.map(|()| &places[..]), expect, "{line}");
    }

    #[test]
    fn keys_are_found() {
        check(Keys::one(1), "get k", Some(&[1]));
        check(Keys::span(1, -2), "blpop a b 0", Some(&[1, 2]));
        check(Keys::stepped(1, -1, 2), "mset a 1 b 2", Some(&[1, 3]));
        check(Keys::counted(2), "eval return 2 a b c", Some(&[3, 4]));
        check(Keys::counted(2), "eval return 9 a", None);
        check(Keys::one(1).and(Keys::counted(2)), "zunionstore d 2 a b", Some(&[1, 3, 4]));
        let halves = Find::Range { last: -1, step: 1, limit: 2 };
        let xread = Keys::spec(Begin::Behind("streams", 1), halves);
        check(xread, "xread count 2 streams a b 0 0", Some(&[4, 5]));
        let sort = Keys::one(1).and(Keys::option("store"));
        check(sort, "sort l desc store d", Some(&[1, 4]));
        check(sort, "sort l store a STORE b alpha", Some(&[1, 5]));
        check(sort, "sort store alpha", Some(&[1]));
        check(sort, "sort l store", Some(&[1]));
    }
}
