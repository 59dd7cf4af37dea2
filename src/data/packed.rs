//! A small collection in one block: a head, then the elements one behind the other.
//!
//! Texts stand in the order they came, each in its code (`Code`): names of fields that many hashes
//! have as one byte, decimal integers as the bytes of the number, all others behind their length.
//! Looking one up walks past those before it, about a nanosecond each, which for a dozen costs less
//! than hashing. A value of a hash that many hashes have may be held in common with them (`share`).

use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};

use crate::data::field_names::{WORDS, word_of};
use crate::data::holder::{HELD_MAX, Holder};
use crate::data::item::Item;
use crate::util::fetch::Fetch;
use crate::util::number;
use crate::util::shared::Recent;

pub use crate::data::holder::Head;

/// More elements, or a larger block, and the collection gets an index instead. A change moves what
/// stands behind it, so the size bounds its cost. Lengths of elements do not matter.
pub const COUNT_MAX: usize = 128;
pub const BYTES_MAX: usize = 16 * 1024;

/// Shorter ones are hardly larger than a pointer, longer ones seldom the same.
const SHARED_LENS: RangeInclusive<usize> = 16..=160;

/// `Either` relies on its being a block and nothing else.
#[repr(transparent)]
#[derive(Clone, Debug, Default)]
pub struct Packed(Holder);

impl Packed {
    /// All of it, to be kept elsewhere: texts instead of their numbers, for bytes hold nothing.
    pub fn plain(&self) -> Cow<'_, [u8]> {
        if let Some(bytes) = self.0.as_plain() {
            return Cow::Borrowed(bytes);
        }
        let mut copy = Self::default();
        self.texts().for_each(|text| copy.push_text(&text));
        copy.set_head(self.head());
        Cow::Owned(copy.0.as_plain().unwrap_or_default().to_vec())
    }

    /// The pairs of which these bytes are the `plain` form; none if they are anything else, down to
    /// a text that is not in its own code. That no field is there twice is left to the caller.
    pub fn of_plain_pairs(bytes: &[u8]) -> Option<Self> {
        let [flags, count, body @ ..] = bytes else {
            return bytes.is_empty().then(Self::default);
        };
        let head = Head { flags: *flags, count: *count };
        let packed = Self(Holder::new(head, body));
        let (mut offset, mut count) = (0, 0);
        while offset < body.len() {
            let first = body[offset];
            let is_word = (WORD..SHARED).contains(&first);
            if (SHARED..TINY).contains(&first)
                || (is_word && usize::from(first - WORD) >= WORDS.len())
                || body.get(extent(body, offset)).is_none()
            {
                return None;
            }
            let (text, end) = packed.text(offset);
            if !Code::of(&text).is(&body[offset..end]) {
                return None;
            }
            (offset, count) = (end, count + 1);
        }
        (packed.head() == head && count == 2 * usize::from(head.count)).then_some(packed)
    }

    /// Of pairs in their order, in a block that is allocated once; none if two fields are the same.
    pub fn of_pairs(pairs: &[[&[u8]; 2]], head: Head) -> Option<Self> {
        let texts = pairs.as_flattened();
        let len_max = texts.iter().map(|text| CODE_HEAD_LEN_MAX + text.len()).sum::<usize>();
        let mut body = Vec::with_capacity(len_max);
        for [field, value] in pairs {
            let field = Code::of(field);
            if field.find(&body, 2).is_some() {
                return None;
            }
            for code in [field, Code::of(value)] {
                body.extend_from_slice(code.head());
                body.extend_from_slice(code.tail);
            }
        }
        Some(Self(Holder::new(head, &body)))
    }

    pub fn head(&self) -> Head {
        self.0.head()
    }

    pub fn set_head(&mut self, head: Head) {
        self.0.set_head(head);
    }

    /// The elements' bytes; offsets count from their begin.
    #[inline]
    pub fn body(&self) -> &[u8] {
        self.0.body()
    }

    /// The text at an offset, and the offset behind it.
    #[inline]
    pub fn text(&self, offset: usize) -> (Item<'_>, usize) {
        let body = self.body();
        let first = body[offset];
        let Range { start, end } = extent(body, offset);
        let item = match first {
            ..INTEGER | LONG..=HUGE => Item::of_bytes(&body[start..end]),
            SHARED..TINY => {
                let text = self.0.held(first - SHARED);
                Item::of_bytes(text.expect("a text is held as long as a code names it"))
            }
            INTEGER..LONG => {
                let mut bytes = [0; size_of::<i64>()];
                bytes[..end - start].copy_from_slice(&body[start..end]);
                let magnitude = i64::from_le_bytes(bytes);
                Item::of_integer(if first & NEGATIVE == 0 { magnitude } else { !magnitude })
            }
            WORD..SHARED => Item::of_bytes(WORDS[usize::from(first - WORD)]),
            TINY.. => Item::of_number((first & !TINY).into()),
        };
        (item, end)
    }

    /// The offset behind the text at an offset.
    #[inline]
    pub fn skip(&self, offset: usize) -> usize {
        extent(self.body(), offset).end
    }

    pub fn texts(&self) -> impl Iterator<Item = Item<'_>> {
        let mut offset = 0;
        std::iter::from_fn(move || {
            if offset == self.body().len() {
                return None;
            }
            let (text, end) = self.text(offset);
            offset = end;
            Some(text)
        })
    }

    /// The place of a text among the first, the one `stride` behind it, and so on.
    #[inline]
    pub fn find(&self, text: &[u8], stride: usize) -> Option<Range<usize>> {
        Code::of(text).find(self.body(), stride)
    }

    pub fn push_text(&mut self, text: &[u8]) {
        let end = self.body().len();
        self.replace_text(end..end, text);
    }

    pub fn push_pair(&mut self, field: &[u8], value: &[u8]) {
        let end = self.body().len();
        let (field, value) = (Code::of(field), Code::of(value));
        self.splice(end..end, &[field.head(), field.tail, value.head(), value.tail]);
    }

    pub fn replace_text(&mut self, range: Range<usize>, text: &[u8]) {
        let code = Code::of(text);
        self.splice(range, &[code.head(), code.tail]);
    }

    /// Replaces bytes of the body.
    #[inline]
    pub fn splice(&mut self, range: Range<usize>, parts: &[&[u8]]) {
        if self.0.holds_some() {
            self.release(range.clone());
        }
        self.0.splice(range, parts);
    }

    /// Holds values of pairs that came of late in other collections too in common with them. Fields
    /// stay, for they are sought by their codes.
    pub fn share(&mut self, recent: &mut Recent) {
        let mut field = 0;
        while field < self.body().len() {
            let value = self.skip(field);
            let text = extent(self.body(), value);
            let is_text = matches!(self.body()[value], ..INTEGER | LONG..=HUGE);
            if is_text
                && SHARED_LENS.contains(&text.len())
                && let Some(shared) = recent.share(&self.body()[text.clone()])
            {
                self.0.hold(shared, value..text.end, |number| SHARED + number);
            }
            field = self.skip(value);
        }
    }

    /// Without texts that are held in common.
    pub fn heap_size(&self) -> usize {
        self.0.heap_size()
    }

    /// Holds the texts no longer that a range names, which is about to go.
    #[cold]
    fn release(&mut self, range: Range<usize>) {
        let mut offset = range.start;
        while offset < range.end {
            let first = self.body()[offset];
            offset = extent(self.body(), offset).end;
            if (SHARED..TINY).contains(&first) {
                self.0.release(first - SHARED);
            }
        }
    }
}

impl Fetch for Packed {
    type By = ();

    fn fetch(&self, (): ()) {
        self.0.fetch(());
    }
}

/// A text as it is written. Its first byte tells how to read it:
///
/// | first byte | then | stands for |
/// |---|---|---|
/// | `00` to `5f` | so many bytes | the bytes |
/// | `60` to `67` | 1 to 8 bytes of a number, the lowest first | its digits |
/// | `68` to `6f` | the same with all bits inverted | the digits of the negative number |
/// | `70` to `7e` | a length's low byte; its high bits are in the first | so many bytes |
/// | `7f` | a length in 4 bytes, the lowest first | so many bytes |
/// | `80` to `af` | | a word |
/// | `b0` to `bf` | | the text that the block holds by the number 0 to 15 |
/// | `c0` to `ff` | | the digits of 0 to 63 |
///
/// Each text has one code: words before integers, the shortest form before longer ones. What the
/// block holds is no part of it: `share` leads to that.
struct Code<'a> {
    head: [u8; CODE_HEAD_LEN_MAX],
    head_len: usize,
    tail: &'a [u8],
}

const INTEGER: u8 = 0x60;
const NEGATIVE: u8 = 0x08;
const LONG: u8 = 0x70;
const HUGE: u8 = 0x7f;
const WORD: u8 = 0x80;
const SHARED: u8 = 0xb0;
const TINY: u8 = 0xc0;

const _: () = assert!(WORDS.len() <= (SHARED - WORD) as usize);
const _: () = assert!(HELD_MAX <= (TINY - SHARED) as usize);

const SHORT_LEN_MAX: usize = INTEGER as usize - 1;
const LONG_LEN_MAX: usize = (((HUGE - LONG) as usize) << 8) - 1;
const TINY_MAX: i64 = (u8::MAX - TINY) as i64;

/// A number of eight bytes behind the first.
const CODE_HEAD_LEN_MAX: usize = 9;

impl<'a> Code<'a> {
    #[inline]
    fn of(text: &'a [u8]) -> Self {
        if let Some(word) = word_of(text) {
            return Self::new(WORD | word, &[], b"");
        }
        if let Some(integer) = number::parse_i64(text) {
            if (0..=TINY_MAX).contains(&integer) {
                return Self::new(TINY | integer as u8, &[], b"");
            }
            let (magnitude, sign) =
                if integer < 0 { (!integer as u64, NEGATIVE) } else { (integer as u64, 0) };
            // At least one, for -1 has no bit set.
            let len = (u64::BITS - (magnitude | 1).leading_zeros()).div_ceil(8);
            let bytes = &magnitude.to_le_bytes()[..len as usize];
            return Self::new(INTEGER | sign | (len as u8 - 1), bytes, b"");
        }
        let len = text.len();
        let [low, high, ..] = (len as u32).to_le_bytes();
        if len <= SHORT_LEN_MAX {
            Self::new(low, &[], text)
        } else if len <= LONG_LEN_MAX {
            Self::new(LONG | high, &[low], text)
        } else {
            Self::new(HUGE, &(len as u32).to_le_bytes(), text)
        }
    }

    fn new(first: u8, rest: &[u8], tail: &'a [u8]) -> Self {
        let mut head = [first; CODE_HEAD_LEN_MAX];
        head[1..=rest.len()].copy_from_slice(rest);
        Self { head, head_len: 1 + rest.len(), tail }
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }

    /// As `Packed::find`. A text has one code, so that codes are compared, and none is read.
    #[inline]
    fn find(&self, body: &[u8], stride: usize) -> Option<Range<usize>> {
        let mut start = 0;
        while start < body.len() {
            let mut end = extent(body, start).end;
            if body[start] == self.head[0] && self.is(&body[start..end]) {
                return Some(start..end);
            }
            (1..stride).for_each(|_| end = extent(body, end).end);
            start = end;
        }
        None
    }

    fn is(&self, bytes: &[u8]) -> bool {
        bytes.strip_prefix(self.head()).is_some_and(|tail| tail == self.tail)
    }
}

/// The bytes behind what tells how many they are. Where the body is broken off, or the offset is of
/// no text, it may be any range that does not begin before the offset.
#[inline(always)]
fn extent(body: &[u8], offset: usize) -> Range<usize> {
    let first = body[offset];
    let (start, len) = match first {
        ..INTEGER => (offset + 1, usize::from(first)),
        INTEGER..LONG => (offset + 1, usize::from(first & 7) + 1),
        LONG..HUGE => {
            let low = body.get(offset + 1).copied().unwrap_or_default();
            (offset + 2, usize::from(first - LONG) << 8 | usize::from(low))
        }
        HUGE => {
            let len = body[offset + 1..].first_chunk().map_or(0, |len| u32::from_le_bytes(*len));
            (offset + 5, len as usize)
        }
        WORD.. => (offset + 1, 0),
    };
    start..start + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use crate::util::shared::SHARED_BYTES;

    /// The text comes back from between its neighbours, is found there, and takes so many bytes.
    fn check(text: &[u8], len: usize) {
        let mut packed = Packed::default();
        [b"before", text, b"behind"].iter().for_each(|text| packed.push_text(text));
        let start = packed.skip(0);
        let (item, end) = packed.text(start);
        assert_eq!((&*item, end - start), (text, len), "{}", text.escape_ascii());
        assert_eq!(packed.find(text, 1), Some(start..end));
        assert_eq!(&*packed.text(end).0, b"behind");
    }

    #[test]
    fn words_and_integers_are_short() {
        for (number, word) in WORDS.iter().enumerate() {
            assert_eq!(word_of(word), Some(number as u8));
            check(word, 1);
            check(&word[1..], word.len());
        }
        for (text, len) in [
            ("0", 1),
            ("63", 1),
            ("64", 2),
            ("255", 2),
            ("256", 3),
            ("3600000", 4),
            ("1785556642040", 7),
            ("9223372036854775807", 9),
            ("9223372036854775808", 20),
            ("-1", 2),
            ("-256", 2),
            ("-257", 3),
            ("-9223372036854775808", 9),
            ("-9223372036854775809", 21),
            ("-0", 3),
            ("-", 2),
            ("", 1),
            ("00", 3),
            ("+1", 3),
            ("1.0", 4),
            ("1e3", 4),
            (" 1", 3),
        ] {
            check(text.as_bytes(), len);
        }
    }

    #[test]
    fn texts_of_any_length_come_back() {
        for (len, head_len) in
            [(0, 1), (95, 1), (96, 2), (256, 2), (3_839, 2), (3_840, 5), (70_000, 5)]
        {
            check(&vec![b'x'; len], head_len + len);
        }
    }

    #[test]
    fn random_texts_come_back() {
        for seed in 0..200 {
            let mut rng = Rng::from_seed(seed);
            // Mostly nearly integers.
            let mut text = || -> Vec<u8> {
                let bytes: &[u8] = [&b"0123456789"[..], b"-0019", b"nameid.e+ "][rng.below(3)];
                (0..rng.below(24)).map(|_| bytes[rng.below(bytes.len())]).collect()
            };
            let mut texts: Vec<_> = (0..20).map(|_| text()).collect();
            let mut packed = Packed::default();
            texts.chunks(2).for_each(|pair| packed.push_pair(&pair[0], &pair[1]));
            let (start, end) = (packed.skip(0), packed.skip(packed.skip(0)));
            texts[1] = text();
            packed.replace_text(start..end, &texts[1]);
            assert!(packed.texts().map(|it| it.to_vec()).eq(texts.iter().cloned()), "seed {seed}");
            for stride in [1, 2] {
                for text in &texts {
                    let at = texts.iter().step_by(stride).position(|other| other == text);
                    let start = at.map(|at| (0..at * stride).fold(0, |at, _| packed.skip(at)));
                    assert_eq!(packed.find(text, stride).map(|range| range.start), start);
                }
            }
        }
    }

    #[test]
    fn pairs_at_once_are_as_pairs_one_by_one() {
        let head = Head { flags: 1, count: 3 };
        let long = [b'x'; 400];
        let pairs: [[&[u8]; 2]; 3] = [[b"name", b"-12"], [b"other", &long], [b"", b""]];
        let mut one_by_one = Packed::default();
        pairs.iter().for_each(|[field, value]| one_by_one.push_pair(field, value));
        one_by_one.set_head(head);
        assert_eq!(Packed::of_pairs(&pairs, head).unwrap().plain(), one_by_one.plain());
        assert!(Packed::of_pairs(&[pairs[0], pairs[1], pairs[0]], head).is_none());
    }

    #[test]
    fn what_came_before_is_shared() {
        let opts = br#"{"delay":3600000,"attempts":0}"#;
        let mut recent = Recent::default();
        let mut job = || {
            let mut packed = Packed::default();
            packed.push_pair(b"opts", opts);
            packed.push_pair(b"a field as long as a value", &[b'x'; 300]);
            packed.push_pair(b"timestamp", b"1785556642040");
            packed.set_head(Head { flags: 3, count: 3 });
            packed.share(&mut recent);
            packed
        };
        let (first, second, third) = (job(), job(), job());
        assert_eq!(second.heap_size(), first.heap_size() + SHARED_BYTES - opts.len());
        assert_eq!(second.head(), first.head());
        assert_eq!(second.find(b"a field as long as a value", 2).map(|it| it.start), Some(2));
        assert!(second.texts().map(|it| it.to_vec()).eq(first.texts().map(|it| it.to_vec())));
        let text = |packed: &Packed| packed.text(1).0.as_ptr();
        assert_eq!(text(&second), text(&third));

        assert_eq!(*second.plain(), *first.plain());

        // Each is a holder for itself, and what stays is read when the others have gone.
        let mut copy = third.clone();
        drop((first, second, recent));
        assert_eq!(text(&copy), text(&third));
        drop(third);
        assert_eq!(&*copy.text(1).0, opts);
        copy.replace_text(1..copy.skip(1), b"other");
        assert_eq!(&*copy.text(1).0, b"other");
        assert_eq!(copy.head(), Head { flags: 3, count: 3 });
    }

    /// The test of `of_plain_pairs`: only what `plain` gives is taken, byte for byte.
    fn check_foreign(bytes: &[u8]) {
        if let Some(packed) = Packed::of_plain_pairs(bytes) {
            let texts: Vec<_> = packed.texts().map(|it| it.to_vec()).collect();
            let mut again = Packed::default();
            texts.iter().for_each(|text| again.push_text(text));
            again.set_head(packed.head());
            assert_eq!((&*packed.plain(), &*again.plain()), (bytes, bytes));
        }
    }

    #[test]
    fn foreign_bytes_are_refused_or_harmless() {
        let pairs: [[&[u8]; 2]; 4] = [
            [b"name", b"1785556642040"],
            [b"other", &[b'x'; 200]],
            [b"-7", b"12"],
            [b"", &[SHARED; 30]],
        ];
        let plain = Packed::of_pairs(&pairs, Head { flags: 1, count: 4 }).unwrap();
        let plain = plain.plain();
        assert!(Packed::of_plain_pairs(&plain).is_some() && Packed::of_plain_pairs(b"").is_some());
        assert!((1..plain.len()).all(|len| Packed::of_plain_pairs(&plain[..len]).is_none()));

        // Pointers of anybody's choice: as a text, in front of the texts, and both.
        let mut body = vec![SHARED];
        body.extend([0x41; SHARED_BYTES]);
        for flags in [0, 1, 0x10, 0x11, 0x80, 0xf0, 0xff] {
            for head in [&[flags, 0][..], &[flags, 1], &[flags, 2]] {
                for body in [&body[..], &body[1..], &[SHARED, 0xc0], &[0x80, SHARED]] {
                    assert!(Packed::of_plain_pairs(&[head, body].concat()).is_none());
                }
            }
        }
        // A word that there is not, and texts in another code than theirs.
        let pair = |code: &[u8]| [&[0, 1, 0xc0], code].concat();
        assert!(Packed::of_plain_pairs(&pair(&[0xc1])).is_some());
        for code in [&[0xaf][..], &[0x60, 9], &[1, b'7'], &[0x70, 1, b'x'], &[0x7f, 0, 0, 0, 0]] {
            assert!(Packed::of_plain_pairs(&pair(code)).is_none(), "{code:x?}");
        }

        let mut rng = Rng::from_seed(1);
        for _ in 0..20_000 {
            let mut bytes = plain.to_vec();
            for _ in 0..=rng.below(3) {
                let at = rng.below(bytes.len());
                bytes[at] = rng.next_u64() as u8;
            }
            check_foreign(&bytes);
            let noise: Vec<u8> = (0..rng.below(12)).map(|_| rng.next_u64() as u8).collect();
            check_foreign(&[&[0, rng.below(4) as u8], &noise[..]].concat());
        }
    }

    #[test]
    fn the_head_stays() {
        let mut packed = Packed::default();
        assert_eq!(packed.head(), Head::default());
        packed.push_text(b"text");
        let head = Head { flags: 3, count: 200 };
        packed.set_head(head);
        packed.push_text(b"other");
        assert_eq!(packed.head(), head);
        packed.splice(0..packed.body().len(), &[]);
        assert_eq!((packed.head(), packed.texts().count()), (head, 0));
    }
}
