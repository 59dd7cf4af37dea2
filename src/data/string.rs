//! Strings: an integer, a short text in place, or a block of bytes.
//!
//! Redis reports by which way a string came to its present bytes: an integer that was set is "int",
//! the same digits after APPEND are "raw". So a long text remembers whether it was edited.

use std::ops::Range;

use crate::data::block::Block;
use crate::data::item::Item;
use crate::util::fetch::Fetch;
use crate::util::number;

/// As many as make the whole string 16 bytes large.
const SHORT_LEN_MAX: usize = 14;

/// Redis allocates longer texts apart from their object, and calls them "raw".
const EMBEDDED_LEN_MAX: usize = 44;

#[derive(Clone, Debug)]
pub struct Str(Form);

#[derive(Clone, Debug)]
enum Form {
    Integer(i64),
    Short { len: u8, bytes: [u8; SHORT_LEN_MAX] },
    Long { is_edited: bool, block: Block },
}

impl Str {
    /// The empty text.
    pub fn new() -> Self {
        Self::of_text(b"")
    }

    /// As SET keeps it: a text that spells an integer is kept as one.
    #[inline]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        match number::parse_i64(bytes) {
            Some(integer) => Self::of_integer(integer),
            None => Self::of_text(bytes),
        }
    }

    /// As INCRBYFLOAT keeps its result: never as an integer.
    pub fn of_text(text: &[u8]) -> Self {
        if text.len() > SHORT_LEN_MAX {
            return Self(Form::Long { is_edited: false, block: text.into() });
        }
        let mut bytes = [0; SHORT_LEN_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self(Form::Short { len: text.len() as u8, bytes })
    }

    pub fn of_integer(integer: i64) -> Self {
        Self(Form::Integer(integer))
    }

    /// The text of a string that keeps one in a block of its own.
    pub fn long_text(&self) -> Option<&[u8]> {
        match &self.0 {
            Form::Long { block, .. } => Some(block),
            Form::Integer(_) | Form::Short { .. } => None,
        }
    }

    pub fn is_edited(&self) -> bool {
        matches!(self.0, Form::Long { is_edited: true, .. })
    }

    /// The string whose `long_text` and `is_edited` these are.
    pub fn of_long_text(text: &[u8], is_edited: bool) -> Self {
        Self(Form::Long { is_edited, block: text.into() })
    }

    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> Item<'_> {
        match &self.0 {
            Form::Integer(integer) => Item::of_integer(*integer),
            Form::Short { len, bytes } => Item::of_bytes(&bytes[..usize::from(*len)]),
            Form::Long { block, .. } => Item::of_bytes(block),
        }
    }

    /// The integer that the bytes spell, however they came about.
    pub fn integer(&self) -> Option<i64> {
        match &self.0 {
            Form::Integer(integer) => Some(*integer),
            _ => number::parse_i64(&self.bytes()),
        }
    }

    /// For a key that APPEND has just created, Redis keeps the text as SET would: `of_bytes`.
    pub fn append(&mut self, text: &[u8]) {
        let len = self.len();
        self.edit(len + text.len())[len..].copy_from_slice(text);
    }

    /// Overwrites what is there; a gap before the offset is filled with zero bytes.
    pub fn set_range(&mut self, offset: usize, text: &[u8]) {
        let end = offset + text.len();
        self.edit(end)[offset..end].copy_from_slice(text);
    }

    /// The bytes to be changed in place, lengthened by zero bytes to at least `len_min`.
    pub fn edit(&mut self, len_min: usize) -> &mut [u8] {
        if !matches!(self.0, Form::Long { .. }) {
            let block = Block::from(&*self.bytes());
            self.0 = Form::Long { is_edited: true, block };
        }
        let Form::Long { is_edited, block } = &mut self.0 else {
            unreachable!("the form was just made long");
        };
        *is_edited = true;
        block.grow(len_min);
        block
    }

    /// Shortens what was edited; room to grow stays.
    ///
    /// # Panics
    /// If it was not edited.
    pub fn truncate(&mut self, len: usize) {
        let Form::Long { block, .. } = &mut self.0 else { panic!("only after an edit") };
        block.truncate(len);
    }

    /// The part from index `start` to index `end` inclusive; negative ones count from the end.
    pub fn range(&self, start: i64, end: i64) -> Range<usize> {
        let len = self.len() as i64;
        let resolve = |index: i64| if index < 0 { (len + index).max(0) } else { index };
        // Both before the begin would otherwise be the first byte.
        if start < 0 && end < 0 && start > end {
            return 0..0;
        }
        let (start, end) = (resolve(start), resolve(end).min(len - 1));
        if start > end { 0..0 } else { start as usize..end as usize + 1 }
    }

    pub fn encoding(&self) -> &'static str {
        match &self.0 {
            Form::Integer(_) => "int",
            Form::Short { .. } => "embstr",
            Form::Long { is_edited, block } if *is_edited || block.len() > EMBEDDED_LEN_MAX => {
                "raw"
            }
            Form::Long { .. } => "embstr",
        }
    }

    pub fn heap_size(&self) -> usize {
        match &self.0 {
            Form::Integer(_) | Form::Short { .. } => 0,
            Form::Long { block, .. } => block.heap_size(),
        }
    }
}

/// What reading the bytes needs beyond the string itself.
impl Fetch for Str {
    type By = ();

    fn fetch(&self, (): ()) {
        match &self.0 {
            Form::Integer(_) | Form::Short { .. } => {}
            Form::Long { block, .. } => block.fetch(()),
        }
    }
}

impl Default for Str {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes that are looked for among strings: read once, compared many times.
#[derive(Clone, Copy)]
pub(super) enum StrProbe<'a> {
    Integer(i64),
    Text(&'a [u8]),
}

impl<'a> StrProbe<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        number::parse_i64(bytes).map_or(StrProbe::Text(bytes), StrProbe::Integer)
    }

    /// Holds for strings made by `Str::of_bytes` from the same bytes.
    pub(super) fn matches(&self, string: &Str) -> bool {
        match (self, &string.0) {
            (StrProbe::Integer(probe), Form::Integer(integer)) => probe == integer,
            (StrProbe::Text(probe), Form::Short { len, bytes }) => {
                *probe == &bytes[..usize::from(*len)]
            }
            (StrProbe::Text(probe), Form::Long { block, .. }) => *probe == &**block,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn strings_are_small() {
        assert_eq!(size_of::<Str>(), 16);
        assert_eq!(Str::of_bytes(b"-9223372036854775808").heap_size(), 0);
        assert_eq!(Str::of_bytes(b"fourteen bytes").heap_size(), 0);
        assert_eq!(Str::of_bytes(b"fifteen bytes !").heap_size(), 4 + 15);
    }

    /// Recorded from Redis 7.4.1: OBJECT ENCODING after SET, INCRBYFLOAT, APPEND, SETRANGE.
    #[test]
    fn encodings_tell_how_the_bytes_came_about() {
        let check = |string: Str, expect: &str| assert_eq!(string.encoding(), expect, "{string:?}");
        let edited = |text: &str, edit: fn(&mut Str)| {
            let mut string = Str::of_bytes(text.as_bytes());
            edit(&mut string);
            string
        };
        check(Str::of_bytes(b"10"), "int");
        check(Str::of_bytes(b"9223372036854775807"), "int");
        check(Str::of_bytes(b"9223372036854775808"), "embstr");
        check(Str::of_bytes(b"010"), "embstr");
        check(Str::of_bytes(b""), "embstr");
        check(Str::of_bytes(&[b'x'; 44]), "embstr");
        check(Str::of_bytes(&[b'x'; 45]), "raw");
        check(Str::of_text(b"3"), "embstr");
        check(edited("1", |it| it.append(b"0")), "raw");
        check(edited("10", |it| it.append(b"")), "raw");
        check(edited("abc", |it| it.set_range(0, b"d")), "raw");
        check(edited("", |it| it.set_range(0, b"1")), "raw");
    }

    #[test]
    fn integers_are_read_from_any_form() {
        let mut string = Str::of_bytes(b"1");
        string.append(b"0");
        assert_eq!(string.integer(), Some(10));
        assert_eq!(Str::of_text(b"-7").integer(), Some(-7));
        assert_eq!(Str::of_bytes(b"1e3").integer(), None);
    }

    /// Recorded from Redis 7.4.1: GETRANGE.
    #[test]
    fn ranges_are_clipped() {
        fn check(text: &str, start: i64, end: i64, expect: &str) {
            let string = Str::of_bytes(text.as_bytes());
            assert_eq!(&string.bytes()[string.range(start, end)], expect.as_bytes());
        }
        check("hello", 1, 3, "ell");
        check("hello", 0, -1, "hello");
        check("hello", -3, -2, "ll");
        check("hello", -100, 1, "he");
        check("hello", 3, 100, "lo");
        check("hello", 5, 9, "");
        check("hello", 3, 2, "");
        check("hello", -1, -3, "");
        check("hello", -100, -99, "h");
        check("hello", -99, -100, "");
        check("12345", 1, 2, "23");
        check("", 0, -1, "");
        check("hello", i64::MIN, i64::MAX, "hello");
    }

    #[test]
    fn random_edits_agree_with_a_vector() {
        for seed in 0..100 {
            let mut rng = Rng::from_seed(seed);
            let (mut string, mut model) = (Str::new(), Vec::new());
            for step in 0..60u64 {
                let text = step.to_string().repeat(rng.below(5));
                let text = text.as_bytes();
                match rng.below(4) {
                    0 => {
                        string = Str::of_bytes(text);
                        model = text.to_vec();
                    }
                    1 => {
                        let offset = rng.below(40);
                        string.set_range(offset, text);
                        model.resize(model.len().max(offset + text.len()), 0);
                        model[offset..offset + text.len()].copy_from_slice(text);
                    }
                    _ => {
                        string.append(text);
                        model.extend_from_slice(text);
                    }
                }
                assert_eq!(*string.bytes(), *model);
                assert_eq!(string.len(), model.len());
                assert_eq!(string.integer(), number::parse_i64(&model));
                assert!(StrProbe::new(&model).matches(&Str::of_bytes(&model)));
                assert!(!StrProbe::new(b"other").matches(&string));
            }
        }
    }
}
