//! Hashes: fields with values, packed into one block while they are few, indexed beyond.
//!
//! BullMQ keeps each job in a hash of a dozen fields, so that the packed layout is a job's memory.
//! One long value does not end it: only many fields or a large block do. Both layouts keep fields
//! in the order they came.
//!
//! A hash of which a field has a TTL is a third layout, `Timed`: one of the other two and the
//! deadlines beside it. A hash without TTLs pays for that with a look at which layout it has.
//!
//! What OBJECT ENCODING says is a matter of its own: Redis goes from "listpack" to "hashtable" by
//! limits that can be set, from "listpack" to "listpackex" with the first TTL, and never back.

mod deadlines;
mod timed;

use std::borrow::Cow;
use std::ops::Range;

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
use crate::util::rng::Rng;
use crate::util::shared::Recent;
use crate::util::table;
use timed::Timed;

pub use timed::PairExpiry;

#[derive(Clone, Debug, Default)]
pub struct Hash(Either<Large>);

#[derive(Clone, Debug)]
enum Large {
    Table(Table),
    /// The fields that it holds are no `Timed` in their turn.
    Timed(Timed),
}

#[derive(Clone, Debug)]
struct Table {
    pairs: Indexed<Str>,
    flags: u8,
}

/// The last millisecond of Unix time at which a field can still exist, as in Redis: 46 bits.
pub const EXPIRES_MS_MAX: i64 = (1 << 46) - 1;

/// The flag of a hash that Redis would keep in a hashtable.
const IS_HASHTABLE: u8 = 1;

/// The flag of a hash of which a field has or had a TTL.
const HAD_TTLS: u8 = 2;

/// Where a field stands in the packed layout.
struct PairPlace {
    field: usize,
    value: usize,
    end: usize,
}

impl Hash {
    pub fn new() -> Self {
        Self::default()
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self.0.view() {
            View::Packed(packed) => packed.head().count.into(),
            View::Large(Large::Table(table)) => table.pairs.len(),
            View::Large(Large::Timed(timed)) => timed.len(),
        }
    }

    /// Fields that are over but not yet removed count: it has a key as long as one is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self.0.view() {
            View::Large(Large::Timed(timed)) => timed.fields().is_empty(),
            _ => self.len() == 0,
        }
    }

    /// See `Value::pieces`.
    pub(super) fn pieces(&self) -> usize {
        match self.0.view() {
            View::Packed(_) => 0,
            View::Large(Large::Table(table)) => table.pairs.len(),
            View::Large(Large::Timed(timed)) => timed.fields().pieces(),
        }
    }

    pub(super) fn crumble(&mut self, count: usize) {
        match self.0.view_mut() {
            ViewMut::Packed(_) => {}
            ViewMut::Large(Large::Table(table)) => table.pairs.crumble(count),
            ViewMut::Large(Large::Timed(timed)) => timed.crumble(count),
        }
    }

    /// See `Value::begin_walk`. One that gets its first TTL meanwhile is walked over as before.
    pub(super) fn begin_walk(&mut self, number: u32) -> bool {
        match self.0.view_mut() {
            ViewMut::Packed(_) => return false,
            ViewMut::Large(Large::Table(table)) => table.pairs.begin_walk(number),
            ViewMut::Large(Large::Timed(timed)) => return timed.begin_walk(number),
        }
        true
    }

    /// See `Value::end_walk`.
    pub(super) fn end_walk(&mut self) {
        self.walk_mut().into_iter().for_each(PieceWalk::end);
        self.settle();
    }

    /// None if it is too small for one.
    pub(super) fn walk(&self) -> Option<&dyn PieceWalk> {
        match self.0.view() {
            View::Packed(_) => None,
            View::Large(Large::Table(table)) => Some(table.pairs.walk()),
            View::Large(Large::Timed(timed)) => timed.walk(),
        }
    }

    /// As `walk`.
    fn walk_mut(&mut self) -> Option<&mut dyn PieceWalk> {
        match self.0.view_mut() {
            ViewMut::Packed(_) => None,
            ViewMut::Large(Large::Table(table)) => Some(table.pairs.walk_mut()),
            ViewMut::Large(Large::Timed(timed)) => timed.walk_mut(),
        }
    }

    /// Goes on with the walk, by so many fields at most, hidden ones too. True at the end.
    pub fn walk_on(&mut self, count: usize, visit: &mut dyn FnMut(PairExpiry)) -> bool {
        match self.0.view_mut() {
            ViewMut::Packed(_) => true,
            ViewMut::Large(Large::Table(table)) => {
                table.pairs.walk_on(count, &mut |field, value| {
                    visit(PairExpiry {
                        field: Item::of_bytes(field),
                        value: value.bytes(),
                        expires_ms: None,
                    });
                })
            }
            ViewMut::Large(Large::Timed(timed)) => timed.walk_on(count, visit),
        }
    }

    /// Its fields if they are looked up by a table. If not, asks for them.
    pub(super) fn large_or_fetch(&self) -> Option<&Indexed<Str>> {
        match self.0.view() {
            View::Packed(packed) => {
                packed.fetch(());
                None
            }
            View::Large(Large::Table(table)) => Some(&table.pairs),
            View::Large(Large::Timed(timed)) => timed.fields().large_or_fetch(),
        }
    }

    /// The value of a field. None if there is no such field.
    #[inline]
    pub fn get(&self, field: &[u8]) -> Option<Item<'_>> {
        match self.0.view() {
            View::Packed(packed) => find(packed, field).map(|place| packed.text(place.value).0),
            View::Large(Large::Table(table)) => {
                table.pairs.find(field).map(|at| table.pairs.entries()[at].1.bytes())
            }
            View::Large(Large::Timed(timed)) => timed.get(field),
        }
    }

    pub fn contains(&self, field: &[u8]) -> bool {
        match self.0.view() {
            View::Packed(packed) => find(packed, field).is_some(),
            View::Large(Large::Table(table)) => table.pairs.find(field).is_some(),
            View::Large(Large::Timed(timed)) => timed.get(field).is_some(),
        }
    }

    /// All that a packed hash is, head and all.
    pub fn packed_text(&self) -> Option<Cow<'_, [u8]>> {
        match self.0.view() {
            View::Packed(packed) => Some(packed.plain()),
            View::Large(_) => None,
        }
    }

    /// The hash whose `packed_text` this is; none if it is not one's. That no field is there twice
    /// is the caller's to know.
    pub fn of_packed_text(text: &[u8]) -> Option<Self> {
        Packed::of_plain_pairs(text).map(|packed| Self(Either::packed(packed)))
    }

    /// Whether the field is new. It has no TTL from then on.
    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let place = find(packed, field);
                if !has_room(packed, place.as_ref(), field, value) {
                    let mut table = Table::of(packed);
                    let is_new = table.set(field, value, limits);
                    self.0 = Either::large(Large::Table(table));
                    return is_new;
                }
                match &place {
                    Some(place) => packed.replace_text(place.value..place.end, value),
                    None => packed.push_pair(field, value),
                }
                let mut head = packed.head();
                head.count += u8::from(place.is_none());
                if is_beyond(limits, head.count.into(), field, value) {
                    head.flags |= IS_HASHTABLE;
                }
                packed.set_head(head);
                place.is_none()
            }
            ViewMut::Large(Large::Table(table)) => table.set(field, value, limits),
            ViewMut::Large(Large::Timed(timed)) => timed.set(field, value, limits),
        }
    }

    /// As `set`, but a field that is there keeps its TTL.
    pub fn set_keeping_ttl(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        match self.0.view_mut() {
            ViewMut::Large(Large::Timed(timed)) => timed.set_keeping_ttl(field, value, limits),
            _ => self.set(field, value, limits),
        }
    }

    /// Sets fields and returns how many of them are new. The first ones of a hash, as those of a
    /// job, cost half as much together as one by one. Redis expects all of them to be different.
    pub fn set_all(&mut self, pairs: &[[&[u8]; 2]], limits: &Limits) -> usize {
        if pairs.len() > 1
            && self.is_empty()
            && let Some(packed) = packed_of(pairs, limits)
        {
            self.0 = Either::packed(packed);
            return pairs.len();
        }
        let added = pairs.iter().filter(|[field, value]| self.set(field, value, limits)).count();
        if pairs.len() > limits.hash_entries_max {
            self.unpack();
        }
        added
    }

    /// Sets the field only if it is new, and tells whether it was.
    pub fn set_nx(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        !self.contains(field) && self.set(field, value, limits)
    }

    fn unpack(&mut self) {
        self.flag(IS_HASHTABLE);
    }

    fn flag(&mut self, flag: u8) {
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let mut head = packed.head();
                head.flags |= flag;
                packed.set_head(head);
            }
            ViewMut::Large(Large::Table(table)) => table.flags |= flag,
            ViewMut::Large(Large::Timed(timed)) => timed.fields_mut().flag(flag),
        }
    }

    fn flags(&self) -> u8 {
        match self.0.view() {
            View::Packed(packed) => packed.head().flags,
            View::Large(Large::Table(table)) => table.flags,
            View::Large(Large::Timed(timed)) => timed.fields().flags(),
        }
    }

    /// Whether the field was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        match self.0.view_mut() {
            ViewMut::Packed(packed) => {
                let Some(place) = find(packed, field) else { return false };
                packed.splice(place.field..place.end, &[]);
                let head = packed.head();
                packed.set_head(Head { count: head.count - 1, ..head });
                true
            }
            ViewMut::Large(Large::Table(table)) => {
                let Some(at) = table.pairs.find(field) else { return false };
                table.pairs.remove(at);
                true
            }
            ViewMut::Large(Large::Timed(timed)) => timed.remove(field),
        }
    }

    /// The index of a field, whether or not its time has come.
    fn index_of(&self, field: &[u8]) -> Option<usize> {
        match self.0.view() {
            View::Packed(packed) => {
                let end = packed.find(field, 2)?.start;
                let mut offset = 0;
                let skip_pair = |offset: &mut usize| {
                    *offset = packed.skip(packed.skip(*offset));
                };
                Some(std::iter::from_fn(|| (offset < end).then(|| skip_pair(&mut offset))).count())
            }
            View::Large(Large::Table(table)) => table.pairs.find(field),
            View::Large(Large::Timed(timed)) => timed.fields().index_of(field),
        }
    }

    /// Fields with their values, in the order of `at`.
    pub fn iter(&self) -> Iter<'_> {
        Iter(match self.0.view() {
            View::Packed(packed) => Walk::Packed { packed, offset: 0 },
            View::Large(Large::Table(table)) => Walk::Table(table.pairs.entries().iter()),
            View::Large(Large::Timed(timed)) => return timed.iter(),
        })
    }

    /// The field and value of an index below `len`.
    pub fn at(&self, index: usize) -> Option<(Item<'_>, Item<'_>)> {
        self.iter().nth(index)
    }

    /// A field and its value, each field as likely as another. None if the hash is empty.
    pub fn random(&self, rng: &mut Rng) -> Option<(Item<'_>, Item<'_>)> {
        let len = self.len();
        if len == 0 { None } else { self.at(rng.below(len)) }
    }

    /// Visits about `count` fields with their values and returns the cursor for the next ones, 0
    /// after the last. A hash that Redis would have packed is visited whole, as there.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(Item<'a>, Item<'a>),
    ) -> u64 {
        if !self.is_hashtable() {
            self.iter().for_each(|(field, value)| visit(field, value));
            return 0;
        }
        match self.0.view() {
            View::Packed(_) => {
                let pairs = self.iter().map(|pair| (hash(&pair.0), pair));
                table::scan_few(cursor, count, pairs, &mut |(field, value)| visit(field, value))
            }
            View::Large(Large::Table(table)) => {
                table
                    .pairs
                    .scan(cursor, count, &mut |(field, value)| visit(field.bytes(), value.bytes()))
            }
            View::Large(Large::Timed(timed)) => timed.scan(cursor, count, visit),
        }
    }

    /// Holds in common with others what came of late in others too. Meant for new hashes: it looks
    /// at all values.
    pub fn share(&mut self, recent: &mut Recent) {
        if let ViewMut::Packed(packed) = self.0.view_mut() {
            packed.share(recent);
        }
    }

    pub fn encoding(&self) -> &'static str {
        match self.flags() {
            flags if flags & IS_HASHTABLE != 0 => "hashtable",
            flags if flags & HAD_TTLS != 0 => "listpackex",
            _ => "listpack",
        }
    }

    pub fn is_hashtable(&self) -> bool {
        self.flags() & IS_HASHTABLE != 0
    }

    pub fn heap_size(&self) -> usize {
        match self.0.view() {
            View::Packed(packed) => packed.heap_size(),
            View::Large(Large::Table(table)) => {
                let pairs = table.pairs.entries().iter();
                let texts = pairs.map(|(field, value)| field.heap_size() + value.heap_size());
                size_of::<Large>() + table.pairs.heap_size() + texts.sum::<usize>()
            }
            View::Large(Large::Timed(timed)) => size_of::<Large>() + timed.heap_size(),
        }
    }
}

/// A new hash of pairs, if they fit and each field is there once.
fn packed_of(pairs: &[[&[u8]; 2]], limits: &Limits) -> Option<Packed> {
    let len: usize = pairs.as_flattened().iter().map(|text| text.len()).sum();
    if pairs.len() > packed::COUNT_MAX || len > packed::BYTES_MAX {
        return None;
    }
    let is_hashtable =
        pairs.iter().any(|[field, value]| is_beyond(limits, pairs.len(), field, value));
    let flags = u8::from(is_hashtable) * IS_HASHTABLE;
    Packed::of_pairs(pairs, Head { flags, count: pairs.len() as u8 })
}

/// Whether Redis would turn a listpack of so many fields into a hashtable as it sets this one. A
/// hashtable stays one.
fn is_beyond(limits: &Limits, len: usize, field: &[u8], value: &[u8]) -> bool {
    len > limits.hash_entries_max || field.len().max(value.len()) > limits.hash_value_bytes_max
}

#[inline]
fn find(packed: &Packed, field: &[u8]) -> Option<PairPlace> {
    let Range { start, end } = packed.find(field, 2)?;
    Some(PairPlace { field: start, value: end, end: packed.skip(end) })
}

#[inline]
fn has_room(packed: &Packed, place: Option<&PairPlace>, field: &[u8], value: &[u8]) -> bool {
    let (count, added) = match place {
        Some(_) => (0, value.len()),
        None => (1, field.len() + value.len()),
    };
    usize::from(packed.head().count) + count <= packed::COUNT_MAX
        && packed.body().len() + added <= packed::BYTES_MAX
}

impl Table {
    fn of(packed: &Packed) -> Self {
        let mut pairs = Indexed::new();
        let mut texts = packed.texts();
        while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
            pairs.push(&field, Str::of_bytes(&value));
        }
        Self { pairs, flags: packed.head().flags }
    }

    fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        let found = self.pairs.find(field);
        match found {
            Some(at) => *self.pairs.value_mut(at) = Str::of_bytes(value),
            None => self.pairs.push(field, Str::of_bytes(value)),
        }
        self.flags |= u8::from(is_beyond(limits, self.pairs.len(), field, value)) * IS_HASHTABLE;
        found.is_none()
    }
}

pub struct Iter<'a>(Walk<'a>);

enum Walk<'a> {
    Packed {
        packed: &'a Packed,
        offset: usize,
    },
    Table(chunked::Iter<'a, (Str, Str)>),
    /// Passes over what is hidden. Seldom there is any.
    Sifted(Box<timed::Sifted<'a>>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.nth(0)
    }

    fn nth(&mut self, count: usize) -> Option<Self::Item> {
        match &mut self.0 {
            Walk::Packed { packed, offset } => {
                for _ in 0..2 * count {
                    if *offset < packed.body().len() {
                        *offset = packed.skip(*offset);
                    }
                }
                if *offset == packed.body().len() {
                    return None;
                }
                let (field, value_at) = packed.text(*offset);
                let (value, end) = packed.text(value_at);
                *offset = end;
                Some((field, value))
            }
            Walk::Table(pairs) => {
                pairs.nth(count).map(|(field, value)| (field.bytes(), value.bytes()))
            }
            Walk::Sifted(sifted) => sifted.nth(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(hash: &Hash) -> Vec<(Vec<u8>, Vec<u8>)> {
        hash.iter().map(|(field, value)| (field.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn random_operations_agree_with_a_list_of_pairs() {
        for seed in 0..60 {
            let mut rng = Rng::from_seed(seed);
            let mut hash = Hash::new();
            let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let names = 1 + rng.below(1_000);
            let value_len_max = [8, 100, 5_000][rng.below(3)];
            for step in 0..1_500usize {
                let field = rng.below(names).to_string().repeat(1 + rng.below(2)).into_bytes();
                let value = step.to_string().repeat(1 + rng.below(value_len_max / 4));
                let value = value.into_bytes();
                let at = model.iter().position(|(other, _)| *other == field);
                assert_eq!(hash.get(&field).as_deref(), at.map(|at| &*model[at].1));
                assert_eq!(hash.contains(&field), at.is_some());
                match (rng.below(5), at) {
                    (0, _) => {
                        assert_eq!(hash.remove(&field), at.is_some());
                        at.map(|at| model.remove(at));
                    }
                    (1, Some(_)) => assert!(!hash.set_nx(&field, &value, &Limits::DEFAULT)),
                    (_, Some(at)) => {
                        assert!(!hash.set(&field, &value, &Limits::DEFAULT));
                        model[at].1 = value;
                    }
                    (_, None) => {
                        assert!(hash.set(&field, &value, &Limits::DEFAULT));
                        model.push((field, value));
                    }
                }
                assert_eq!(hash.len(), model.len());
                if model.len() > 512 {
                    break;
                }
            }
            assert_eq!(pairs(&hash), model, "seed {seed}");
            assert_eq!(pairs(&hash.clone()), model);
            for (index, (field, _)) in model.iter().enumerate() {
                assert_eq!(&*hash.at(index).unwrap().0, field);
                assert_eq!(hash.get(field).as_deref(), Some(&*model[index].1));
            }
            assert!(hash.at(model.len()).is_none());
            while let Some((field, _)) = model.pop() {
                let (picked, value) = hash.random(&mut rng).unwrap();
                assert_eq!(hash.get(&picked).as_deref(), Some(&*value));
                assert!(hash.remove(&field) && !hash.remove(&field));
            }
            assert!(hash.is_empty() && hash.random(&mut rng).is_none());
        }
    }

    #[test]
    fn fields_at_once_are_as_one_by_one() {
        let mut rng = Rng::from_seed(2);
        for variety in [3, 20, 1_000] {
            for _ in 0..100 {
                let texts: Vec<_> = (0..2 * rng.below(200))
                    .map(|_| rng.below(variety).to_string().repeat(1 + rng.below(60)).into_bytes())
                    .collect();
                let all: Vec<[&[u8]; 2]> =
                    texts.chunks(2).map(|pair| [&*pair[0], &*pair[1]]).collect();
                let (mut at_once, mut one_by_one) = (Hash::new(), Hash::new());
                for part in all.chunks(1 + rng.below(all.len() + 1)) {
                    let count = part
                        .iter()
                        .filter(|[field, value]| one_by_one.set(field, value, &Limits::DEFAULT))
                        .count();
                    assert_eq!(at_once.set_all(part, &Limits::DEFAULT), count);
                    assert_eq!(at_once.encoding(), one_by_one.encoding());
                    assert_eq!(pairs(&at_once), pairs(&one_by_one));
                }
            }
        }
    }

    /// As random operations on a hash whose values are shared now and then.
    #[test]
    fn shared_values_change_as_others_do() {
        let mut rng = Rng::from_seed(1);
        let mut recent = Recent::default();
        let mut hashes = vec![(Hash::new(), Vec::new())];
        for _ in 0..3_000 {
            let (mut hash, mut model) = match rng.below(4) {
                0 => hashes[rng.below(hashes.len())].clone(),
                1 if hashes.len() > 20 => hashes.swap_remove(rng.below(hashes.len())),
                _ => Default::default(),
            };
            for _ in 0..rng.below(10) {
                let field = rng.below(6).to_string().repeat(20).into_bytes();
                let value = rng.below(3).to_string().repeat(1 + rng.below(200)).into_bytes();
                model.retain(|(other, _)| *other != field);
                hash.remove(&field);
                if rng.below(4) > 0 {
                    assert!(
                        hash.set(&field, &value, &Limits::DEFAULT)
                            && !hash.set(&field, &value, &Limits::DEFAULT)
                    );
                    model.push((field, value));
                }
            }
            hash.share(&mut recent);
            assert_eq!(pairs(&hash), model);
            for (field, value) in &model {
                assert_eq!(hash.get(field).as_deref(), Some(&**value));
            }
            hashes.push((hash, model));
        }
        drop(recent);
        assert!(hashes.iter().all(|(hash, model)| pairs(hash) == *model));
    }

    #[test]
    fn thousands_of_fields_come_and_go() {
        let mut hash = Hash::new();
        let name = |number: usize| format!("field:{number}").into_bytes();
        (0..20_000).for_each(|number| assert!(hash.set(&name(number), b"value", &Limits::DEFAULT)));
        (0..20_000).step_by(3).for_each(|number| assert!(hash.remove(&name(number))));
        assert!((0..20_000).all(|number| hash.contains(&name(number)) == (number % 3 != 0)));
        (0..20_000).for_each(|number| assert_eq!(hash.remove(&name(number)), number % 3 != 0));
        assert!(hash.is_empty());
    }

    #[test]
    fn a_walk_pages_through_what_redis_would_index() {
        let mut hash = Hash::new();
        let visit_all = |hash: &Hash| {
            let (mut cursor, mut pages, mut seen) = (0, 0, Vec::new());
            loop {
                cursor = hash.scan(cursor, 50, &mut |field, _| seen.push(field.to_vec()));
                pages += 1;
                if cursor == 0 {
                    seen.sort();
                    seen.dedup();
                    return (pages, seen.len());
                }
            }
        };
        for number in 0..512 {
            hash.set(format!("{number}").as_bytes(), b"", &Limits::DEFAULT);
        }
        assert_eq!(visit_all(&hash), (1, 512));
        hash.set(b"one more", b"", &Limits::DEFAULT);
        assert_eq!(visit_all(&hash), (11, 513));
    }

    /// Packed, large, frozen or thawed: the cursor stays good.
    #[test]
    fn a_walk_sees_what_stays_whatever_the_layout_becomes() {
        for seed in 0..100 {
            let mut rng = Rng::from_seed(seed);
            let name = |number: usize| format!("{}:{number}", "x".repeat(80)).into_bytes();
            let stay = 1 + rng.below(128);
            let mut hash = Hash::new();
            (0..stay).for_each(|number| assert!(hash.set(&name(number), b"", &Limits::DEFAULT)));
            let count = 1 + rng.below(40);
            let (mut cursor, mut coming, mut seen) = (0, stay, Vec::new());
            loop {
                let before = seen.len();
                cursor = hash.scan(cursor, count, &mut |field, _| seen.push(field.to_vec()));
                assert!(seen.len() <= before + count);
                if cursor == 0 {
                    break;
                }
                if rng.below(2) == 0 {
                    let come = coming..coming + rng.below(60);
                    come.clone()
                        .for_each(|number| assert!(hash.set(&name(number), b"", &Limits::DEFAULT)));
                    coming = come.end;
                } else {
                    (stay..coming).for_each(|number| _ = hash.remove(&name(number)));
                }
                if let Some(text) = hash.packed_text() {
                    hash = Hash::of_packed_text(&text).unwrap();
                }
            }
            seen.sort();
            assert!(seen.windows(2).all(|two| two[0] != two[1]), "seed {seed}");
            assert!((0..stay).all(|number| seen.binary_search(&name(number)).is_ok()));
        }
    }

    #[test]
    fn a_hash_is_made_of_its_own_text_only() {
        let pairs: &[[&[u8]; 2]] = &[[b"name", b"paint"], [b"data", b"{}"]];
        let mut hash = Hash::new();
        hash.set_all(pairs, &Limits::DEFAULT);
        let text = hash.packed_text().unwrap();
        let again = Hash::of_packed_text(&text).unwrap();
        assert_eq!(again.packed_text().unwrap(), text);
        for at in 0..text.len() {
            let mut broken = text.to_vec();
            // The code of a text that is held elsewhere.
            broken[at] = 0xb0;
            assert!(Hash::of_packed_text(&broken).is_none_or(|hash| hash.iter().count() == 2));
            assert!(Hash::of_packed_text(&text[..at]).is_none_or(|hash| hash.is_empty()));
        }
    }

    /// Recorded from Redis 7.4.1.
    #[test]
    fn encodings_are_those_of_redis() {
        let long = [b'x'; 65];
        let limits = &Limits::DEFAULT;
        let mut hash = Hash::new();
        hash.set(b"a", &long[..64], limits);
        assert_eq!(hash.encoding(), "listpack");
        // Even a long value that was replaced at once counts, and a hash never goes back.
        hash.set(b"a", &long, limits);
        hash.set(b"a", b"1", limits);
        assert_eq!(hash.encoding(), "hashtable");
        assert_eq!(hash.clone().encoding(), "hashtable");

        let mut hash = Hash::new();
        hash.set(&long, b"", limits);
        assert_eq!(hash.encoding(), "hashtable");

        // A lower limit is heeded when any field is set, and not when one goes.
        let low = &Limits { hash_entries_max: 2, hash_value_bytes_max: 3, ..Limits::DEFAULT };
        for (field, value) in [("a", "2"), ("e", "2")] {
            let mut hash = Hash::new();
            ["a", "b", "c", "d"].iter().for_each(|it| _ = hash.set(it.as_bytes(), b"1234", limits));
            assert!(!hash.set_nx(b"a", b"12345", low) && hash.remove(b"d"));
            assert_eq!(hash.encoding(), "listpack");
            hash.set(field.as_bytes(), value.as_bytes(), low);
            assert_eq!(hash.encoding(), "hashtable");
        }
        let mut hash = Hash::new();
        hash.set(b"a", b"1234", limits);
        hash.set(b"b", b"123", low);
        assert_eq!(hash.encoding(), "listpack");

        // As many as one command names, not as many as are different.
        for (count, encoding) in [(512, "listpack"), (513, "hashtable")] {
            let pairs: Vec<[&[u8]; 2]> = (0..count).map(|_| [&b"a"[..], &b"1"[..]]).collect();
            for mut hash in [Hash::new(), hash.clone()] {
                hash.set_all(&pairs, limits);
                assert_eq!(hash.encoding(), encoding);
            }
        }
    }

    #[test]
    fn a_job_takes_one_block() {
        assert_eq!(size_of::<Hash>(), 8);
        let mut hash = Hash::new();
        assert_eq!(hash.heap_size(), 0);
        hash.set(b"name", b"paint", &Limits::DEFAULT);
        hash.set(b"data", &[b'x'; 500], &Limits::DEFAULT);
        hash.set(b"timestamp", b"1785556642040", &Limits::DEFAULT);
        hash.set(b"priority", b"0", &Limits::DEFAULT);
        // The block's header and the head; then a byte for each of these fields, a length before
        // texts, and what a number needs.
        let values = [1 + 5, 2 + 500, 1 + 6, 1];
        assert_eq!(hash.heap_size(), 4 + 2 + values.map(|len| 1 + len).iter().sum::<usize>());
    }
}
