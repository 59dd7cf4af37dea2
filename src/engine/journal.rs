//! The journal: what a file or a replica needs to reach the same data, as bytes.
//!
//! An *effect* is one command in RESP that does the same at any time and anywhere: times are
//! absolute, ids explicit, random choices named. A *unit* is what took place at once: a request, an
//! EXEC, a script, a waiter that was served, a key that expired or was evicted. Its first effect
//! begins it and `end_unit` ends it. One effect stands bare; with the second, MULTI is put in front
//! of them, and EXEC follows the last. SELECT stands ahead of an effect in another database.
//!
//! Whoever carries the journal on takes `whole_units` after each turn. Of a unit under way, say of
//! a suspended script, nothing is taken: a crash loses all of it, or nothing.
//!
//! An effect is written once, into memory that is kept: it allocates nothing. Without a file that
//! is appended to nobody listens, and a command pays one branch.
//!
//! A handler that panics after a change has had an effect that no command tells. With a listener
//! that ends the process, as a panic in the middle of a change does: what was taken before is true,
//! the unit under way is lost, and so is its answer. The request in its place would be a lie.

use crate::proto::request;

/// The commands that the engine itself writes, or runs in a caller's name.
pub(super) const DEL: &[u8] = b"DEL";
pub(super) const HDEL: &[u8] = b"HDEL";
pub(super) const MULTI: &[u8] = b"MULTI";
pub(super) const EXEC: &[u8] = b"EXEC";
const SELECT: &[u8] = b"SELECT";

/// MULTI as it stands in the journal.
const MULTI_BYTES: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// Memory that is kept for the next turn, at most.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Whom bytes of the journal are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Files and replicas: a change.
    All,
    /// Replicas: what their clients are to hear, and a file has no use for.
    Replicas,
}

/// Bytes of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where they begin among the bytes that were not yet forgotten.
    pub offset: usize,
    pub len: usize,
    pub class: Class,
}

#[derive(Debug, Default)]
pub struct Journal {
    is_on: bool,
    /// What was written since `forget_whole_units`.
    bytes: Vec<u8>,
    /// Bytes for files since the start.
    file_offset: u64,
    /// All bytes by their class, in order, with no gap.
    stretches: Vec<Stretch>,
    /// Where the unit under way begins: what lies before is whole.
    unit_start: usize,
    /// Its first stretch.
    unit_stretch: usize,
    /// Its effects so far.
    effects_in_unit: usize,
    /// The database that was selected last.
    db: Option<usize>,
    /// What the running command wants written in its own place, and how many effects that is.
    instead: Vec<u8>,
    effects_instead: usize,
}

impl Journal {
    /// Begins to write.
    pub fn listen(&mut self) {
        self.is_on = true;
    }

    /// What follows goes to another place, where no database is selected yet.
    pub fn begin_anew(&mut self) {
        self.db = None;
    }

    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The bytes of all units that have ended, and whom they are for.
    pub fn whole_units(&self) -> (&[u8], &[Stretch]) {
        (&self.bytes[..self.unit_start], &self.stretches[..self.unit_stretch])
    }

    /// Forgets them.
    pub fn forget_whole_units(&mut self) {
        self.bytes.drain(..self.unit_start);
        self.stretches.drain(..self.unit_stretch);
        self.stretches.iter_mut().for_each(|stretch| stretch.offset -= self.unit_start);
        (self.unit_start, self.unit_stretch) = (0, 0);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }

    /// Bytes for files since the start, whether somebody has taken them or not.
    pub fn file_offset(&self) -> u64 {
        self.file_offset
    }

    /// Effects of the unit under way; 0 if there is none.
    #[inline]
    pub fn effects_in_unit(&self) -> usize {
        self.effects_in_unit
    }

    /// Whether a unit is under way.
    #[inline]
    pub fn has_unit(&self) -> bool {
        self.effects_in_unit > 0
    }

    /// Writes an effect that no command tells: of time, or of a lack of memory.
    #[inline]
    pub fn append(&mut self, db: usize, words: &[&[u8]]) {
        if self.is_on {
            self.write(Class::All, db, 1, |bytes| request::write(words, bytes));
        }
    }

    /// The running command is written as these words, not as it was received. Called again, it adds
    /// a further command.
    pub fn instead(&mut self, words: &[&[u8]]) {
        if self.is_on {
            request::write(words, &mut self.instead);
            self.effects_instead += 1;
        }
    }

    /// Ends a command: writes it for a class, or forgets what it wanted written.
    pub fn end_command(&mut self, db: usize, words: &[&[u8]], class: Option<Class>) {
        match (class, std::mem::take(&mut self.effects_instead)) {
            (None, 0) => {}
            (None, _) => self.instead.clear(),
            (Some(class), 0) => self.write(class, db, 1, |bytes| request::write(words, bytes)),
            (Some(class), effects) => {
                let mut instead = std::mem::take(&mut self.instead);
                self.write(class, db, effects, |bytes| bytes.append(&mut instead));
                self.instead = instead;
            }
        }
    }

    /// Writes effects at the end of the unit under way, or begins one with them.
    fn write(&mut self, class: Class, db: usize, effects: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let is_second = self.effects_in_unit < 2 && self.effects_in_unit + effects > 1;
        self.effects_in_unit += effects;
        if is_second {
            self.put_multi_in_front();
        }
        // What is for replicas alone is of no database.
        if class == Class::All && self.db != Some(db) {
            self.db = Some(db);
            let number = itoa::Buffer::new().format(db).to_owned();
            self.grow(class, |bytes| request::write(&[SELECT, number.as_bytes()], bytes));
        }
        self.grow(class, write);
    }

    fn grow(&mut self, class: Class, write: impl FnOnce(&mut Vec<u8>)) {
        let offset = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - offset;
        if class == Class::All {
            self.file_offset += len as u64;
        }
        match self.stretches[self.unit_stretch..].last_mut() {
            Some(last) if last.class == class => last.len += len,
            _ => self.stretches.push(Stretch { offset, len, class }),
        }
    }

    /// As in Redis, MULTI and EXEC are for files as well, whatever stands between them.
    fn put_multi_in_front(&mut self) {
        let (start, len) = (self.unit_start, MULTI_BYTES.len());
        self.bytes.splice(start..start, MULTI_BYTES.iter().copied());
        self.file_offset += len as u64;
        let unit = &mut self.stretches[self.unit_stretch..];
        unit.iter_mut().for_each(|stretch| stretch.offset += len);
        match unit.first_mut() {
            Some(first) if first.class == Class::All => {
                first.offset = start;
                first.len += len;
            }
            _ => {
                let multi = Stretch { offset: start, len, class: Class::All };
                self.stretches.insert(self.unit_stretch, multi);
            }
        }
    }

    /// Ends the unit under way, if there is one.
    #[inline]
    pub fn end_unit(&mut self) {
        if self.has_unit() {
            self.close_unit();
        }
    }

    fn close_unit(&mut self) {
        if std::mem::take(&mut self.effects_in_unit) > 1 {
            self.grow(Class::All, |bytes| request::write(&[EXEC], bytes));
        }
        if let Some(before) = self.unit_stretch.checked_sub(1)
            && self.stretches[before].class == self.stretches[self.unit_stretch].class
        {
            self.stretches[before].len += self.stretches.remove(self.unit_stretch).len;
        }
        (self.unit_start, self.unit_stretch) = (self.bytes.len(), self.stretches.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes units, each a list of effects by class and database, and compares what stands there
    /// afterwards, a line per stretch.
    fn check(units: &[&[(Class, usize, &str)]], expect: &[(Class, &str)]) {
        let mut journal = Journal::default();
        journal.listen();
        for unit in units {
            for &(class, db, effect) in *unit {
                let words: Vec<&[u8]> = effect.split(' ').map(str::as_bytes).collect();
                journal.end_command(db, &words, Some(class));
                let (whole, _) = journal.whole_units();
                assert_eq!(whole.len(), journal.unit_start, "of a unit under way nothing is seen");
            }
            journal.end_unit();
        }
        let (bytes, stretches) = journal.whole_units();
        let mut end = 0;
        let found: Vec<(Class, String)> = stretches
            .iter()
            .map(|stretch| {
                assert_eq!(stretch.offset, end, "there is no gap");
                end += stretch.len;
                let text = String::from_utf8_lossy(&bytes[stretch.offset..end]).into_owned();
                let is_word = |line: &&str| !line.starts_with(['*', '$']) && !line.is_empty();
                (stretch.class, text.split("\r\n").filter(is_word).collect::<Vec<_>>().join(" "))
            })
            .collect();
        assert_eq!(end, bytes.len());
        let expect: Vec<_> = expect.iter().map(|&(class, text)| (class, text.to_owned())).collect();
        assert_eq!(found, expect);
        journal.forget_whole_units();
        assert_eq!(journal.whole_units(), (&[][..], &[][..]));
    }

    #[test]
    fn one_effect_is_bare_and_several_are_a_transaction() {
        use Class::{All, Replicas};
        check(&[], &[]);
        check(&[&[(All, 0, "A")], &[(All, 0, "B")]], &[(All, "SELECT 0 A B")]);
        check(
            &[&[(All, 0, "A")], &[(All, 1, "B"), (All, 0, "C"), (All, 0, "D")]],
            &[(All, "SELECT 0 A MULTI SELECT 1 B SELECT 0 C D EXEC")],
        );
        check(&[&[(Replicas, 3, "P")], &[(Replicas, 0, "Q")]], &[(Replicas, "P Q")]);
        check(
            &[&[(All, 0, "A"), (Replicas, 0, "P")], &[(All, 0, "B")]],
            &[(All, "MULTI SELECT 0 A"), (Replicas, "P"), (All, "EXEC B")],
        );
        check(
            &[&[(Replicas, 0, "P"), (All, 0, "A"), (Replicas, 0, "Q")]],
            &[(All, "MULTI"), (Replicas, "P"), (All, "SELECT 0 A"), (Replicas, "Q"), (All, "EXEC")],
        );
    }

    #[test]
    fn a_unit_under_way_outlives_what_is_taken_before_it() {
        let mut journal = Journal::default();
        journal.listen();
        journal.append(0, &[b"A"]);
        journal.end_unit();
        journal.append(0, &[b"B"]);
        assert!(journal.whole_units().0.ends_with(b"A\r\n"));
        journal.forget_whole_units();
        assert!(journal.whole_units().0.is_empty() && journal.has_unit());
        journal.append(0, &[b"C"]);
        journal.end_unit();
        let (bytes, _) = journal.whole_units();
        assert!(bytes.starts_with(MULTI_BYTES) && bytes.ends_with(b"EXEC\r\n"));
    }

    #[test]
    fn what_a_command_wants_written_is_forgotten_if_it_changes_nothing() {
        let mut journal = Journal::default();
        journal.listen();
        journal.instead(&[b"NO"]);
        journal.end_command(0, &[b"A"], None);
        journal.end_command(0, &[b"A"], None);
        assert!(!journal.has_unit());
        journal.instead(&[b"B"]);
        journal.instead(&[b"C"]);
        journal.end_command(0, &[b"A"], Some(Class::All));
        journal.end_unit();
        assert!(journal.whole_units().0.starts_with(MULTI_BYTES));
    }
}
