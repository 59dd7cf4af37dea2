//! Sets: integers in ascending order, a few texts in the order they came, or an index.
//!
//! The layouts change hands by bounds of their own. What OBJECT ENCODING says follows Redis: from
//! "intset" to "listpack" to "hashtable" by limits that can be set, and never back.

use crate::config::Limits;
use crate::data::either::{Either, View, ViewMut};
use crate::data::images::PieceWalk;
use crate::data::indexed::Indexed;
use crate::data::item::Item;
use crate::data::packed::{self, Head, Packed};
use crate::data::string::Str;
use crate::util::chunked;
use crate::util::fetch::Fetch;
use crate::util::hash::hash;
use crate::util::number;
use crate::util::rng::Rng;
use crate::util::table;

/// As many as Redis keeps in ascending order; adding one moves half of them, 2 KB.
const INTEGERS_LEN_MAX: usize = 512;

const INTEGER_BYTES: usize = size_of::<i64>();

#[derive(Clone, Debug, Default)]
pub struct Set(Either<Large>);

#[derive(Clone, Debug)]
struct Large {
    members: Indexed<()>,
    encoding: Encoding,
}

/// What a packed set says of itself.
#[derive(Clone, Copy, Debug)]
struct Tally {
    encoding: Encoding,
    /// Whether it is laid out as texts: since a member came that is no integer, or since Redis
    /// keeps integers in a listpack.
    has_texts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Intset,
    Listpack,
    Hashtable,
}

enum Layout<'a> {
    Integers(&'a [[u8; INTEGER_BYTES]]),
    Texts(&'a Packed),
    Large(&'a Large),
}

impl Set {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        match self.layout() {
            Layout::Integers(integers) => integers.len(),
            Layout::Texts(packed) => packed.head().count.into(),
            Layout::Large(large) => large.members.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See `Value::pieces`.
    pub(super) fn pieces(&self) -> usize {
        match self.0.view() {
            View::Packed(_) => 0,
            View::Large(large) => large.members.len(),
        }
    }

    pub(super) fn crumble(&mut self, count: usize) {
        if let ViewMut::Large(large) = self.0.view_mut() {
            large.members.crumble(count);
        }
    }

    /// See `Value::begin_walk`.
    pub(super) fn begin_walk(&mut self, number: u32) -> bool {
        let ViewMut::Large(large) = self.0.view_mut() else { return false };
        large.members.begin_walk(number);
        true
    }

    /// None if it is too small for one.
    pub(super) fn walk(&self) -> Option<&dyn PieceWalk> {
        match self.0.view() {
            View::Packed(_) => None,
            View::Large(large) => Some(large.members.walk()),
        }
    }

    /// As `walk`.
    pub(super) fn walk_mut(&mut self) -> Option<&mut dyn PieceWalk> {
        match self.0.view_mut() {
            ViewMut::Packed(_) => None,
            ViewMut::Large(large) => Some(large.members.walk_mut()),
        }
    }

    /// Goes on with the walk, by so many members at most. True at the end.
    pub fn walk_on(&mut self, count: usize, visit: &mut dyn FnMut(&[u8])) -> bool {
        let ViewMut::Large(large) = self.0.view_mut() else { return true };
        large.members.walk_on(count, &mut |member, ()| visit(member))
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        match self.layout() {
            Layout::Integers(integers) => {
                number::parse_i64(member).is_some_and(|member| search(integers, member).is_ok())
            }
            Layout::Texts(packed) => packed.find(member, 1).is_some(),
            Layout::Large(large) => large.members.find(member).is_some(),
        }
    }

    /// Its members if they are looked up by a table. If not, asks for them.
    pub(super) fn large_or_fetch(&self) -> Option<&Indexed<()>> {
        match self.0.view() {
            View::Packed(packed) => {
                packed.fetch(());
                None
            }
            View::Large(large) => Some(&large.members),
        }
    }

    /// Announces so many members, of which this is the first. Redis chooses the encoding by them
    /// even if some are the same.
    pub fn expect(&mut self, first: &[u8], count: usize, limits: &Limits) {
        let encoding = match self.encoding_now() {
            Encoding::Intset if self.is_empty() => {
                let is_integer = number::parse_i64(first).is_some();
                if is_integer && count <= limits.set_intset_entries_max {
                    Encoding::Intset
                } else if count <= limits.set_entries_max {
                    Encoding::Listpack
                } else {
                    Encoding::Hashtable
                }
            }
            Encoding::Intset if count > limits.set_intset_entries_max => Encoding::Hashtable,
            Encoding::Listpack if count > limits.set_entries_max => Encoding::Hashtable,
            encoding => encoding,
        };
        self.note(encoding);
    }

    /// Whether the member is new.
    pub fn add(&mut self, member: &[u8], limits: &Limits) -> bool {
        if self.contains(member) {
            return false;
        }
        self.note(self.encoding_with(member, limits));
        self.make_room(member);
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let tally = Tally::read(packed);
                if tally.has_texts {
                    packed.push_text(member);
                    tally.write(packed, 1);
                } else if let Some(integer) = number::parse_i64(member) {
                    let (Ok(index) | Err(index)) = search(integers(packed), integer);
                    let at = index * INTEGER_BYTES;
                    packed.splice(at..at, &[&integer.to_le_bytes()]);
                }
            }
            ViewMut::Large(large) => large.members.push(member, ()),
        }
        true
    }

    fn is_walked_over(&self) -> bool {
        self.walk().is_some_and(|walk| walk.number().is_some())
    }

    /// What remains after SPOP has taken most of it: Redis puts that into a new set. One that a
    /// walk goes over stays as it is.
    pub fn repack(&mut self, limits: &Limits) {
        if self.encoding_now() == Encoding::Hashtable && !self.is_walked_over() {
            let mut packed = Self::new();
            packed.note(Encoding::Listpack);
            self.iter().for_each(|member| _ = packed.add(&member, limits));
            *self = packed;
        }
    }

    /// Whether the member was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let found = match self.layout() {
            Layout::Integers(integers) => {
                number::parse_i64(member).and_then(|member| search(integers, member).ok())
            }
            Layout::Texts(packed) => packed.texts().position(|text| *text == *member),
            Layout::Large(large) => large.members.find(member),
        };
        found.is_some_and(|index| {
            self.remove_at(index);
            true
        })
    }

    /// Members in the order of `at`.
    pub fn iter(&self) -> Iter<'_> {
        Iter(match self.layout() {
            Layout::Integers(integers) => Walk::Integers(integers.iter()),
            Layout::Texts(packed) => Walk::Texts { packed, offset: 0 },
            Layout::Large(large) => Walk::Large(large.members.entries().iter()),
        })
    }

    /// The member of an index below `len`.
    pub fn at(&self, index: usize) -> Option<Item<'_>> {
        self.iter().nth(index)
    }

    /// A member, each as likely as another. None if the set is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<Item<'_>> {
        if self.is_empty() { None } else { self.at(rng.below(self.len())) }
    }

    /// Removes a member, each as likely as another. None if the set is empty.
    pub fn pop_random(&mut self, rng: &mut Rng) -> Option<Str> {
        if self.is_empty() { None } else { Some(self.remove_at(rng.below(self.len()))) }
    }

    /// Visits about `count` members and returns the cursor for the next ones, 0 after the last. A
    /// set that Redis would have packed is visited whole, as there.
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: &mut dyn FnMut(Item<'a>)) -> u64 {
        if self.encoding_now() != Encoding::Hashtable {
            self.iter().for_each(visit);
            return 0;
        }
        match self.0.view() {
            View::Packed(_) => {
                let members = self.iter().map(|member| (hash(&member), member));
                table::scan_few(cursor, count, members, visit)
            }
            View::Large(large) => {
                large.members.scan(cursor, count, &mut |(member, ())| visit(member.bytes()))
            }
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self.encoding_now() {
            Encoding::Intset => "intset",
            Encoding::Listpack => "listpack",
            Encoding::Hashtable => "hashtable",
        }
    }

    pub fn heap_size(&self) -> usize {
        match self.0.view() {
            View::Packed(packed) => packed.heap_size(),
            View::Large(large) => {
                let texts = large.members.entries().iter().map(|(member, ())| member.heap_size());
                size_of::<Large>() + large.members.heap_size() + texts.sum::<usize>()
            }
        }
    }

    fn layout(&self) -> Layout<'_> {
        match self.0.view() {
            View::Packed(packed) if Tally::read(packed).has_texts => Layout::Texts(packed),
            View::Packed(packed) => Layout::Integers(integers(packed)),
            View::Large(large) => Layout::Large(large),
        }
    }

    fn encoding_now(&self) -> Encoding {
        match self.0.view() {
            View::Packed(packed) => Tally::read(packed).encoding,
            View::Large(large) => large.encoding,
        }
    }

    /// Redis's rules: what the encoding is when this member has come, which is new.
    fn encoding_with(&self, member: &[u8], limits: &Limits) -> Encoding {
        let len = self.len();
        let fits = |len_max: usize| {
            len < limits.set_entries_max && len_max.max(member.len()) <= limits.set_value_bytes_max
        };
        let is_within = match self.encoding_now() {
            Encoding::Intset if number::parse_i64(member).is_some() => {
                return match len < limits.set_intset_entries_max {
                    true => Encoding::Intset,
                    false => Encoding::Hashtable,
                };
            }
            // The first text makes the integers before it texts as well.
            Encoding::Intset => {
                fits(0) && fits(self.iter().map(|member| member.len()).max().unwrap_or(0))
            }
            Encoding::Listpack => fits(0),
            Encoding::Hashtable => false,
        };
        if is_within { Encoding::Listpack } else { Encoding::Hashtable }
    }

    /// Integers in a listpack stand in the order they come, so as texts.
    fn note(&mut self, encoding: Encoding) {
        if encoding == self.encoding_now() {
            return;
        }
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let mut tally = Tally::read(packed);
                tally.encoding = encoding;
                tally.has_texts |= encoding == Encoding::Listpack && packed.body().is_empty();
                tally.write(packed, 0);
            }
            ViewMut::Large(large) => large.encoding = encoding,
        }
    }

    /// Changes the layout where the present one cannot take the member.
    fn make_room(&mut self, member: &[u8]) {
        let layout = self.layout();
        let has_room = match layout {
            Layout::Integers(integers) if number::parse_i64(member).is_some() => {
                integers.len() < INTEGERS_LEN_MAX
            }
            Layout::Integers(integers) => {
                if integers.len() < packed::COUNT_MAX {
                    self.0 = Either::packed(self.as_texts());
                    return self.make_room(member);
                }
                false
            }
            Layout::Texts(packed) => {
                usize::from(packed.head().count) < packed::COUNT_MAX
                    && packed.body().len() + member.len() <= packed::BYTES_MAX
            }
            Layout::Large(_) => true,
        };
        if !has_room {
            let mut members = Indexed::new();
            self.iter().for_each(|member| members.push(&member, ()));
            self.0 = Either::large(Large { members, encoding: self.encoding_now() });
        }
    }

    fn as_texts(&self) -> Packed {
        let mut packed = Packed::default();
        self.iter().for_each(|member| packed.push_text(&member));
        let tally = Tally { encoding: self.encoding_now(), has_texts: true };
        tally.write(&mut packed, self.len() as i8);
        packed
    }

    /// Removes the member of an index below `len`.
    fn remove_at(&mut self, index: usize) -> Str {
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let tally = Tally::read(packed);
                if !tally.has_texts {
                    let integer = integers(packed)[index];
                    let at = index * INTEGER_BYTES;
                    packed.splice(at..at + INTEGER_BYTES, &[]);
                    return Str::of_integer(i64::from_le_bytes(integer));
                }
                let start = (0..index).fold(0, |offset, _| packed.skip(offset));
                let (text, end) = packed.text(start);
                let removed = Str::of_bytes(&text);
                packed.splice(start..end, &[]);
                tally.write(packed, -1);
                removed
            }
            ViewMut::Large(large) => large.members.remove(index).0,
        }
    }
}

fn integers(packed: &Packed) -> &[[u8; INTEGER_BYTES]] {
    packed.body().as_chunks().0
}

fn search(integers: &[[u8; INTEGER_BYTES]], member: i64) -> Result<usize, usize> {
    integers.binary_search_by_key(&member, |bytes| i64::from_le_bytes(*bytes))
}

impl Tally {
    const ENCODINGS: [Encoding; 3] = [Encoding::Intset, Encoding::Listpack, Encoding::Hashtable];
    const ENCODING: u8 = 3;
    const HAS_TEXTS: u8 = 4;

    fn read(packed: &Packed) -> Self {
        let flags = packed.head().flags;
        Self {
            encoding: Self::ENCODINGS[usize::from(flags & Self::ENCODING)],
            has_texts: flags & Self::HAS_TEXTS != 0,
        }
    }

    /// Texts that came or went are counted in passing.
    fn write(self, packed: &mut Packed, change: i8) {
        let flags = self.encoding as u8 | (u8::from(self.has_texts) * Self::HAS_TEXTS);
        let count = packed.head().count.wrapping_add_signed(change);
        packed.set_head(Head { flags, count });
    }
}

pub struct Iter<'a>(Walk<'a>);

enum Walk<'a> {
    Integers(std::slice::Iter<'a, [u8; INTEGER_BYTES]>),
    Texts { packed: &'a Packed, offset: usize },
    Large(chunked::Iter<'a, (Str, ())>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.nth(0)
    }

    fn nth(&mut self, count: usize) -> Option<Item<'a>> {
        match &mut self.0 {
            Walk::Integers(integers) => {
                integers.nth(count).map(|bytes| Item::of_integer(i64::from_le_bytes(*bytes)))
            }
            Walk::Texts { packed, offset } => {
                let len = packed.body().len();
                for _ in 0..count {
                    if *offset < len {
                        *offset = packed.skip(*offset);
                    }
                }
                if *offset == len {
                    return None;
                }
                let (text, end) = packed.text(*offset);
                *offset = end;
                Some(text)
            }
            Walk::Large(members) => members.nth(count).map(|(member, ())| member.bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn members(set: &Set) -> Vec<Vec<u8>> {
        set.iter().map(|member| member.to_vec()).collect()
    }

    #[test]
    fn random_operations_agree_with_a_sorted_set() {
        for seed in 0..100 {
            let mut rng = Rng::from_seed(seed);
            let mut set = Set::new();
            let mut model: BTreeSet<Vec<u8>> = BTreeSet::new();
            let names = 1 + rng.below(1_500);
            // Integers only, mostly integers, texts from the start.
            let texts_percent = [0, 1, 50][rng.below(3)];
            for _ in 0..1_500 {
                let mut member = (rng.below(names) as i64 - 20).to_string();
                if rng.below(100) < texts_percent {
                    member = format!("member:{member}").repeat(1 + rng.below(3));
                }
                let member = member.as_bytes();
                assert_eq!(set.contains(member), model.contains(member));
                if rng.below(5) == 0 {
                    assert_eq!(set.remove(member), model.remove(member));
                } else {
                    assert_eq!(set.add(member, &Limits::DEFAULT), model.insert(member.to_vec()));
                }
                assert_eq!(set.len(), model.len());
            }
            assert!(members(&set).into_iter().collect::<BTreeSet<_>>() == model, "seed {seed}");
            assert_eq!(members(&set.clone()), members(&set));
            let at = |index: usize| set.at(index).map(|member| member.to_vec());
            assert!((0..set.len()).map(|index| at(index).unwrap()).eq(members(&set)));
            assert_eq!(at(set.len()), None);
            while let Some(popped) = set.pop_random(&mut rng) {
                assert!(model.remove(&*popped.bytes()));
                assert_eq!(set.len(), model.len());
                if let Some(member) = set.random(&mut rng) {
                    assert!(model.contains(&*member));
                }
            }
            assert!(model.is_empty() && set.random(&mut rng).is_none());
        }
    }

    /// Recorded from Redis 7.4.1: SMEMBERS.
    #[test]
    fn integers_ascend_until_a_text_comes() {
        let mut set = Set::new();
        let check = |set: &Set, expect: &str| {
            assert_eq!(members(set).join(&b' '), expect.as_bytes());
        };
        ["5", "3", "1", "-7"]
            .iter()
            .for_each(|member| assert!(set.add(member.as_bytes(), &Limits::DEFAULT)));
        check(&set, "-7 1 3 5");
        ["z", "4"].iter().for_each(|member| assert!(set.add(member.as_bytes(), &Limits::DEFAULT)));
        check(&set, "-7 1 3 5 z 4");
        set.remove(b"1");
        set.add(b"1", &Limits::DEFAULT);
        check(&set, "-7 3 5 z 4 1");
    }

    #[test]
    fn a_walk_pages_through_what_redis_would_index() {
        let check = |count: usize, name: fn(usize) -> String, pages_expected: usize| {
            let mut set = Set::new();
            (0..count)
                .for_each(|number| assert!(set.add(name(number).as_bytes(), &Limits::DEFAULT)));
            let (mut cursor, mut pages, mut seen) = (0, 0, BTreeSet::new());
            loop {
                cursor = set.scan(cursor, 50, &mut |member| _ = seen.insert(member.to_vec()));
                pages += 1;
                if cursor == 0 {
                    break;
                }
            }
            assert_eq!((pages, seen.len()), (pages_expected, count));
        };
        check(65, |number| format!("m{number}"), 1);
        check(128, |number| format!("m{number}"), 1);
        check(129, |number| format!("m{number}"), 3);
        check(512, |number| number.to_string(), 1);
        check(513, |number| number.to_string(), 11);
    }

    /// Integers, texts or an index: the cursor stays good.
    #[test]
    fn a_walk_sees_what_stays_whatever_the_layout_becomes() {
        for seed in 0..100 {
            let mut rng = Rng::from_seed(seed);
            let limits = Limits { set_intset_entries_max: 0, ..Limits::default() };
            let stay = 1 + rng.below(500);
            let mut set = Set::new();
            (0..stay).for_each(|number| assert!(set.add(number.to_string().as_bytes(), &limits)));
            let texts = ["", "text"][rng.below(2)];
            let count = 1 + rng.below(100);
            let (mut cursor, mut coming, mut seen) = (0, stay, BTreeSet::new());
            loop {
                let before = seen.len();
                cursor =
                    set.scan(cursor, count, &mut |member| assert!(seen.insert(member.to_vec())));
                assert!(seen.len() <= before + count, "seed {seed}");
                if cursor == 0 {
                    break;
                }
                if rng.below(2) == 0 {
                    let come = coming..coming + rng.below(100);
                    let name = |number: usize| format!("{texts}{number}");
                    come.clone()
                        .for_each(|number| assert!(set.add(name(number).as_bytes(), &limits)));
                    coming = come.end;
                } else {
                    let name = |number: usize| format!("{texts}{number}");
                    (stay..coming).for_each(|number| _ = set.remove(name(number).as_bytes()));
                }
            }
            assert!((0..stay).all(|number| seen.contains(number.to_string().as_bytes())));
        }
    }

    /// Recorded from Redis 7.4.1.
    #[test]
    fn encodings_are_those_of_redis() {
        let of = |numbers: usize, texts: &[&str]| {
            let mut set = Set::new();
            (0..numbers).for_each(|it| _ = set.add(it.to_string().as_bytes(), &Limits::DEFAULT));
            texts.iter().for_each(|text| _ = set.add(text.as_bytes(), &Limits::DEFAULT));
            set
        };
        let long = "x".repeat(65);
        for (numbers, texts, expect) in [
            (3, &[][..], "intset"),
            (512, &[], "intset"),
            (513, &[], "hashtable"),
            (1, &["a"], "listpack"),
            (127, &["a"], "listpack"),
            (128, &["a"], "hashtable"),
            (200, &["a"], "hashtable"),
            (0, &[&long[..64]], "listpack"),
            (0, &[&long], "hashtable"),
        ] {
            assert_eq!(of(numbers, texts).encoding(), expect, "{numbers} {texts:?}");
        }

        // Never back, whatever goes.
        let mut set = of(1, &["a"]);
        set.remove(b"a");
        assert_eq!(set.encoding(), "listpack");
        set.add(long.as_bytes(), &Limits::DEFAULT);
        set.remove(long.as_bytes());
        assert_eq!(set.encoding(), "hashtable");

        // A lower limit is heeded when a member comes, and only then.
        let low = &Limits {
            set_entries_max: 2,
            set_value_bytes_max: 1,
            set_intset_entries_max: 2,
            ..Limits::DEFAULT
        };
        for (numbers, texts, member) in [(3, &[][..], "7"), (1, &["a", "b"], "c")] {
            let mut set = of(numbers, texts);
            let before = set.encoding();
            assert!(!set.add(b"0", low));
            assert_eq!(set.encoding(), before);
            assert!(set.add(member.as_bytes(), low));
            assert_eq!(set.encoding(), "hashtable");
        }
        // Integers set before count for their digits once they are texts.
        let low = &Limits { set_value_bytes_max: 1, ..Limits::DEFAULT };
        for (numbers, expect) in [(10, "listpack"), (11, "hashtable")] {
            let mut set = of(numbers, &[]);
            set.add(b"a", low);
            assert_eq!(set.encoding(), expect);
        }
    }

    /// Recorded from Redis 7.4.1: SADD's arguments count, whether they are different or not.
    #[test]
    fn expected_members_decide_as_in_redis() {
        let check = |before: &[&str], first: &str, count: usize, limits: &Limits, expect: &str| {
            let mut set = Set::new();
            before.iter().for_each(|member| _ = set.add(member.as_bytes(), limits));
            set.expect(first.as_bytes(), count, limits);
            set.add(first.as_bytes(), limits);
            assert_eq!(set.encoding(), expect, "{before:?} {first} {count}");
        };
        let limits = &Limits::DEFAULT;
        check(&[], "a", 128, limits, "listpack");
        check(&[], "a", 129, limits, "hashtable");
        check(&[], "1", 129, limits, "intset");
        check(&[], "1", 512, limits, "intset");
        check(&[], "1", 513, limits, "hashtable");
        check(&["a"], "a", 129, limits, "hashtable");
        check(&["1"], "a", 200, limits, "listpack");
        check(&["1"], "1", 513, limits, "hashtable");
        let limits = &Limits { set_intset_entries_max: 0, ..Limits::DEFAULT };
        check(&[], "1", 1, limits, "listpack");
        check(&[], "1", 129, limits, "hashtable");

        // Integers in a listpack stand in the order they come.
        let mut set = Set::new();
        set.expect(b"3", 3, limits);
        ["3", "1", "2"].iter().for_each(|member| assert!(set.add(member.as_bytes(), limits)));
        assert_eq!(members(&set).concat(), b"312");
    }

    #[test]
    fn what_most_was_taken_from_is_packed_again() {
        let mut set = Set::new();
        (0..200).for_each(|it| _ = set.add(format!("m{it}").as_bytes(), &Limits::DEFAULT));
        (20..200).for_each(|it| _ = set.remove(format!("m{it}").as_bytes()));
        assert_eq!(set.encoding(), "hashtable");
        let before = set.heap_size();
        set.repack(&Limits::DEFAULT);
        assert_eq!(set.encoding(), "listpack");
        assert!(set.heap_size() < before / 10 && set.len() == 20 && set.contains(b"m7"));
        set.repack(&Limits { set_entries_max: 3, ..Limits::DEFAULT });
        assert_eq!(set.encoding(), "listpack");
    }

    #[test]
    fn small_sets_are_one_block() {
        assert_eq!(size_of::<Set>(), 8);
        let mut set = Set::new();
        set.add(b"7", &Limits::DEFAULT);
        assert_eq!(set.heap_size(), 4 + 2 + 8);
        set.add(b"seven", &Limits::DEFAULT);
        assert_eq!(set.heap_size(), 4 + 2 + 1 + (1 + 5));
    }
}
