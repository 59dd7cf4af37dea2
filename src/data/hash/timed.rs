//! A hash of which some field has a TTL: its fields, as any hash keeps them, and their deadlines.
//!
//! **Where the TTLs lie.** Beside the fields, in `Deadlines`, by the index of the field. So fields
//! and values keep their layouts, and code for hashes without TTLs knows nothing of this. A hash
//! becomes a `Timed` when a field of it gets its first deadline, and is a plain one again when the
//! command that took the last one ends.
//!
//! **Who holds the earliest deadline.** This does, and the keyspace hangs it into a timer wheel
//! (engine/keyspace/fields.rs): one timer a hash, whose name lies here, since few hashes have one.
//!
//! **Who removes.** Nobody in here. A field exists through its deadline's millisecond. Before
//! anybody looks inside, the keyspace says what time it is (`show`), and fields that are over are
//! hidden from then on: not found, not counted, not walked over. They are removed by the timer, at
//! the end of the unit that met them, or before a command changes the hash. So a change never meets
//! a hidden field, but COPY and DUMP take them along.

use crate::config::Limits;
use crate::data::item::Item;
use crate::util::wheel::TimerId;

use super::deadlines::Deadlines;
use super::{HAD_TTLS, Hash, Iter, Large, Table, Walk};
use crate::data::either::{Either, View, ViewMut};
use crate::data::images::{PieceWalk, Walked};
use crate::data::string::Str;

#[derive(Debug)]
pub(super) struct Timed {
    fields: Hash,
    deadlines: Deadlines,
    /// Deadlines before this millisecond have passed.
    shown_ms: i64,
    timer: Option<TimerId>,
    /// Over the fields with their deadlines, if there was one when the walk began.
    walk: Walked<usize, (Str, Option<i64>)>,
}

impl Clone for Timed {
    /// Without the timer, which is that of the key where this lies, and without a walk.
    fn clone(&self) -> Self {
        Self {
            fields: self.fields.clone(),
            deadlines: self.deadlines.clone(),
            shown_ms: self.shown_ms,
            timer: None,
            walk: Walked::NONE,
        }
    }
}

/// A field, its value, and the last millisecond at which it still exists.
pub struct PairExpiry<'a> {
    pub field: Item<'a>,
    pub value: Item<'a>,
    pub expires_ms: Option<i64>,
}

/// What has to do with TTLs. Costs a hash that has none a look at its layout.
impl Hash {
    fn timed(&self) -> Option<&Timed> {
        match self.0.view() {
            View::Large(Large::Timed(timed)) => Some(timed),
            _ => None,
        }
    }

    fn timed_mut(&mut self) -> Option<&mut Timed> {
        match self.0.view_mut() {
            ViewMut::Large(Large::Timed(timed)) => Some(timed),
            _ => None,
        }
    }

    /// Whether it keeps deadlines: some field has a TTL, or had one before this command.
    #[inline]
    pub fn has_ttls(&self) -> bool {
        self.timed().is_some()
    }

    /// The first moment at which some field exists for the last time. None if no field has a TTL.
    pub fn earliest_ms(&self) -> Option<i64> {
        self.timed()?.deadlines.earliest_ms()
    }

    /// The last millisecond at which a field still exists; None within if it has no TTL, and
    /// without if there is no such field.
    pub fn expires_ms(&self, field: &[u8]) -> Option<Option<i64>> {
        match self.timed() {
            Some(timed) => {
                let at = timed.index_of(field)?;
                Some(timed.deadlines.get(at))
            }
            None => self.contains(field).then_some(None),
        }
    }

    /// Sets the last millisecond at which a field still exists, or lets it stay. False if there is
    /// no such field.
    pub fn set_expiry(&mut self, field: &[u8], at_ms: Option<i64>) -> bool {
        let Some(at) = self.index_of(field) else { return false };
        if at_ms.is_some() && !self.has_ttls() {
            let mut fields = std::mem::take(self);
            fields.expect_ttls();
            let deadlines = Deadlines::new(fields.len());
            let (shown_ms, timer, walk) = (i64::MIN, None, Walked::NONE);
            let timed = Timed { fields, deadlines, shown_ms, timer, walk };
            self.0 = Either::large(Large::Timed(timed));
        }
        if let Some(timed) = self.timed_mut() {
            timed.note(at);
            timed.deadlines.set(at, at_ms);
        }
        true
    }

    /// Moves the deadlines of all fields that have one. There must be no walk.
    pub fn postpone(&mut self, by_ms: i64) {
        if let Some(timed) = self.timed_mut() {
            debug_assert!(timed.walk.is_none(), "it would have to note all fields");
            timed.deadlines.postpone(by_ms);
        }
    }

    /// Redis has another encoding from the first command on that may set a TTL, if it sets one or
    /// not.
    pub fn expect_ttls(&mut self) {
        self.flag(HAD_TTLS);
    }

    /// Fields whose last millisecond is before this one are hidden from now on, and no others.
    pub fn show(&mut self, now_ms: i64) {
        if let Some(timed) = self.timed_mut() {
            timed.shown_ms = now_ms;
        }
    }

    /// Whether some field is hidden.
    pub fn hides_some(&self) -> bool {
        self.timed().is_some_and(Timed::hides_some)
    }

    /// Whether no field is left that is not hidden.
    pub fn hides_all(&self) -> bool {
        self.timed().is_some_and(|timed| timed.len() == 0)
    }

    /// Removes the hidden field that has been over for longest, and returns its name. None if none
    /// is hidden.
    pub fn pop_hidden(&mut self) -> Option<Vec<u8>> {
        let timed = self.timed_mut().filter(|timed| timed.hides_some())?;
        let (field, _) = timed.fields.at(timed.deadlines.earliest()?)?;
        let field = field.to_vec();
        timed.remove(&field);
        Some(field)
    }

    /// All fields with their deadlines, hidden ones too, in their order.
    pub fn iter_with_expiry(&self) -> impl Iterator<Item = PairExpiry<'_>> {
        let mut deadlines = self.timed().map(|timed| timed.deadlines.iter());
        let fields = self.timed().map_or(self, |timed| &timed.fields);
        fields.iter().map(move |(field, value)| {
            let expires_ms = deadlines.as_mut().and_then(|all| all.next().flatten());
            PairExpiry { field, value, expires_ms }
        })
    }

    /// How many fields there are, hidden ones too: a walk that begins now goes over so many.
    pub fn len_with_hidden(&self) -> usize {
        self.timed().map_or_else(|| self.len(), |timed| timed.fields.len())
    }

    /// Its timer, if it hangs in a wheel: whoever owns the key hangs it there, by `earliest_ms`.
    pub fn timer(&self) -> Option<TimerId> {
        self.timed()?.timer
    }

    /// Notes its timer. Without one, and without TTLs, it is a plain hash again.
    pub fn set_timer(&mut self, timer: Option<TimerId>) {
        let Some(timed) = self.timed_mut() else { return };
        timed.timer = timer;
        self.settle();
    }

    /// Makes a plain hash of it if nothing needs it to be more.
    pub(super) fn settle(&mut self) {
        let Some(timed) = self.timed_mut() else { return };
        let is_plain = timed.timer.is_none() && timed.deadlines.earliest_ms().is_none();
        if is_plain && timed.walk.is_none() {
            *self = std::mem::take(&mut timed.fields);
        }
    }
}

impl Timed {
    pub fn fields(&self) -> &Hash {
        &self.fields
    }

    pub fn fields_mut(&mut self) -> &mut Hash {
        &mut self.fields
    }

    /// It is not looked into any more.
    pub fn crumble(&mut self, count: usize) {
        self.fields.crumble(count);
    }

    pub fn len(&self) -> usize {
        let hidden = if self.hides_some() { self.deadlines.count_before(self.shown_ms) } else { 0 };
        self.fields.len() - hidden
    }

    fn hides_some(&self) -> bool {
        self.deadlines.earliest_ms().is_some_and(|at_ms| at_ms < self.shown_ms)
    }

    /// Of a field that is not hidden.
    fn index_of(&self, field: &[u8]) -> Option<usize> {
        self.fields.index_of(field).filter(|at| !self.hides(*at))
    }

    fn hides(&self, at: usize) -> bool {
        self.deadlines.get(at).is_some_and(|at_ms| at_ms < self.shown_ms)
    }

    /// None if there is no such field, or if it is hidden.
    pub fn get(&self, field: &[u8]) -> Option<Item<'_>> {
        if self.hides_some() {
            self.index_of(field)?;
        }
        self.fields.get(field)
    }

    pub fn set(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        if let Some(at) = self.place_for(field) {
            self.deadlines.set(at, None);
        }
        self.fields.set(field, value, limits)
    }

    pub fn set_keeping_ttl(&mut self, field: &[u8], value: &[u8], limits: &Limits) -> bool {
        self.place_for(field);
        self.fields.set(field, value, limits)
    }

    /// Where a field stands that is about to change; None for a new one, which has no deadline.
    fn place_for(&mut self, field: &[u8]) -> Option<usize> {
        let place = self.fields.index_of(field);
        match (place, self.walk.get_mut()) {
            (Some(at), _) => self.note(at),
            (None, Some(walk)) => walk.images.note(field, || None),
            (None, None) => {}
        }
        if place.is_none() {
            self.deadlines.push();
        }
        place
    }

    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(at) = self.fields.index_of(field) else { return false };
        let with_last = self.table().is_some_and(|table| table.pairs.fills_gaps_with_last());
        self.note(at);
        let last = with_last.then(|| self.fields.len() - 1);
        let moved = self.walk.get_mut().and_then(|walk| walk.note_gap(at, last));
        moved.into_iter().for_each(|at| self.note(at));
        self.deadlines.remove(at, with_last);
        self.fields.remove(field)
    }

    /// Its fields, if they are many.
    fn table(&self) -> Option<&Table> {
        match self.fields.0.view() {
            View::Large(Large::Table(table)) => Some(table),
            _ => None,
        }
    }

    pub fn begin_walk(&mut self, number: u32) -> bool {
        let is_large = self.table().is_some();
        if is_large {
            self.walk.begin(number, 0);
        }
        is_large
    }

    /// That which began with deadlines, or the one that its fields had before.
    pub fn walk(&self) -> Option<&dyn PieceWalk> {
        if self.walk.is_none() { self.fields.walk() } else { Some(&self.walk) }
    }

    /// As `walk`.
    pub fn walk_mut(&mut self) -> Option<&mut dyn PieceWalk> {
        if self.walk.is_none() { self.fields.walk_mut() } else { Some(&mut self.walk) }
    }

    pub fn walk_on(&mut self, count: usize, visit: &mut dyn FnMut(PairExpiry)) -> bool {
        let Some(walk) = self.walk.get_mut() else { return self.fields.walk_on(count, visit) };
        let View::Large(Large::Table(table)) = self.fields.0.view() else { return true };
        let entries = table.pairs.entries();
        let Some(places) = walk.next_places(entries.len(), count) else {
            return walk.images.read(count, |field, (value, expires_ms)| {
                let (field, value, expires_ms) =
                    (Item::of_bytes(field), value.bytes(), *expires_ms);
                visit(PairExpiry { field, value, expires_ms });
            });
        };
        for at in places {
            let (field, value) = &entries[at];
            let field = field.bytes();
            if !walk.images.has(&field) {
                let (value, expires_ms) = (value.bytes(), self.deadlines.get(at));
                visit(PairExpiry { field, value, expires_ms });
            }
        }
        false
    }

    /// What a walk would find of a field is about to change.
    fn note(&mut self, at: usize) {
        let Some(walk) = self.walk.get_mut() else { return };
        let View::Large(Large::Table(table)) = self.fields.0.view() else { return };
        let (field, value) = &table.pairs.entries()[at];
        walk.note(at, &field.bytes(), || (value.clone(), self.deadlines.get(at)));
    }

    pub fn iter(&self) -> Iter<'_> {
        let pairs = self.fields.iter();
        if !self.hides_some() {
            return pairs;
        }
        let deadlines = Box::new(self.deadlines.iter());
        Iter(Walk::Sifted(Box::new(Sifted { pairs, deadlines, shown_ms: self.shown_ms })))
    }

    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(Item<'a>, Item<'a>),
    ) -> u64 {
        let hides_some = self.hides_some();
        self.fields.scan(cursor, count, &mut |field, value| {
            if !hides_some || self.index_of(&field).is_some() {
                visit(field, value);
            }
        })
    }

    /// Without the room that it takes itself.
    pub fn heap_size(&self) -> usize {
        self.fields.heap_size() + self.deadlines.heap_size()
    }
}

/// The pairs that are not hidden.
pub(super) struct Sifted<'a> {
    pairs: Iter<'a>,
    deadlines: Box<dyn Iterator<Item = Option<i64>> + 'a>,
    shown_ms: i64,
}

impl<'a> Iterator for Sifted<'a> {
    type Item = (Item<'a>, Item<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (pair, at_ms) = (self.pairs.next()?, self.deadlines.next()?);
            if at_ms.is_none_or(|at_ms| at_ms >= self.shown_ms) {
                return Some(pair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;
    use std::collections::BTreeMap;

    type Model = Vec<(Vec<u8>, Vec<u8>, Option<i64>)>;

    /// All that can be read is what the model has that is not over.
    fn check(hash: &Hash, model: &Model, now_ms: i64) {
        let is_there = |at_ms: Option<i64>| at_ms.is_none_or(|at_ms| at_ms >= now_ms);
        let left: Vec<_> = model.iter().filter(|it| is_there(it.2)).collect();
        assert_eq!((hash.len(), hash.is_empty()), (left.len(), model.is_empty()));
        assert_eq!(hash.hides_some(), left.len() < model.len());
        let mut read: Vec<_> = hash.iter().map(|(a, b)| (a.to_vec(), b.to_vec())).collect();
        let mut scanned = Vec::new();
        assert_eq!(hash.scan(0, usize::MAX, &mut |a, b| scanned.push((a.to_vec(), b.to_vec()))), 0);
        let mut expected: Vec<_> = left.iter().map(|it| (it.0.clone(), it.1.clone())).collect();
        [&mut read, &mut scanned, &mut expected].into_iter().for_each(|all| all.sort());
        assert_eq!(read, expected);
        assert_eq!(scanned, expected);
        for (field, value, at_ms) in model {
            let shown = is_there(*at_ms).then_some(&value[..]);
            assert_eq!(hash.get(field).as_deref(), shown);
            assert_eq!(hash.expires_ms(field), shown.map(|_| *at_ms));
        }
        assert_eq!(hash.iter_with_expiry().count(), model.len());
        assert_eq!(hash.earliest_ms(), model.iter().filter_map(|it| it.2).min());
    }

    #[test]
    fn random_operations_agree_with_a_list_of_triples() {
        for seed in 0..40 {
            let mut rng = Rng::from_seed(seed);
            let (mut hash, mut model, mut now_ms) = (Hash::new(), Model::new(), 0);
            let names = [5, 100, 1_000][rng.below(3)];
            for step in 0..1_500usize {
                let field = format!("field {}", rng.below(names)).into_bytes();
                let value = step.to_string().into_bytes();
                let at = model.iter().position(|it| it.0 == field);
                match (rng.below(9), at) {
                    (0, at) => {
                        assert_eq!(hash.remove(&field), at.is_some());
                        at.map(|at| model.remove(at));
                    }
                    (1..=3, at) => {
                        let at_ms = [None, Some(now_ms + rng.below(400) as i64)][rng.below(2)];
                        assert_eq!(hash.set_expiry(&field, at_ms), at.is_some());
                        at.into_iter().for_each(|at| model[at].2 = at_ms);
                    }
                    (4, Some(at)) => {
                        assert!(!hash.set_keeping_ttl(&field, &value, &Limits::DEFAULT));
                        model[at].1 = value;
                    }
                    (_, Some(at)) => {
                        assert!(!hash.set(&field, &value, &Limits::DEFAULT));
                        (model[at].1, model[at].2) = (value, None);
                    }
                    (_, None) => {
                        assert!(hash.set(&field, &value, &Limits::DEFAULT));
                        model.push((field, value, None));
                    }
                }
                // As the keyspace does: what is over is hidden, then removed, then it settles.
                if step % 5 == 0 {
                    now_ms += rng.below(30) as i64;
                    hash.show(now_ms);
                    if step % 50 == 0 {
                        check(&hash, &model, now_ms);
                        check(&hash.clone(), &model, now_ms);
                    }
                    let mut last_ms = i64::MIN;
                    while let Some(field) = hash.pop_hidden() {
                        let at = model.iter().position(|it| it.0 == field).expect("it was there");
                        let at_ms = model.remove(at).2.expect("it had a TTL");
                        assert!((last_ms..now_ms).contains(&at_ms));
                        last_ms = at_ms;
                    }
                    hash.set_timer(None);
                    let has_ttls = model.iter().any(|it| it.2.is_some());
                    assert_eq!(hash.has_ttls(), has_ttls, "seed {seed}");
                }
            }
            check(&hash, &model, now_ms);
        }
    }

    #[test]
    fn a_walk_finds_fields_and_deadlines_as_they_were_when_it_began() {
        for seed in 0..300 {
            let mut rng = Rng::from_seed(seed);
            let (mut hash, mut before) = (Hash::new(), BTreeMap::new());
            // Gaps are closed in two ways; sometimes the last deadline goes meanwhile.
            let len = 400 + rng.below(300);
            let timed = [1, 2, len][rng.below(3)];
            for number in 0..len {
                let field = format!("f{number}").into_bytes();
                let at_ms = (number < timed).then(|| 100 + rng.below(100) as i64);
                hash.set(&field, b"before", &Limits::DEFAULT);
                hash.set_expiry(&field, at_ms);
                before.insert(field, (b"before".to_vec(), at_ms));
            }
            hash.show(120);
            assert!(hash.begin_walk(7));
            assert_eq!(hash.len_with_hidden(), len);
            let (mut found, mut is_done) = (BTreeMap::new(), false);
            let changes = rng.below(60);
            while !is_done {
                assert_eq!(hash.walk().and_then(PieceWalk::number), Some(7));
                is_done = hash.walk_on(1 + rng.below(50), &mut |pair| {
                    let is = (pair.value.to_vec(), pair.expires_ms);
                    assert_eq!(found.insert(pair.field.to_vec(), is), None, "seed {seed}");
                });
                for _ in 0..rng.below(changes + 1) {
                    let field = format!("f{}", rng.below(len + 100)).into_bytes();
                    match rng.below(6) {
                        0 => _ = hash.set(&field, b"set", &Limits::DEFAULT),
                        1 => _ = hash.set_keeping_ttl(&field, b"kept", &Limits::DEFAULT),
                        2 => _ = hash.set_expiry(&field, Some(300)),
                        3 => _ = hash.set_expiry(&field, None),
                        4 => _ = hash.pop_hidden(),
                        _ => _ = hash.remove(&field),
                    }
                    hash.set_timer(None);
                }
            }
            assert_eq!(found, before, "seed {seed}");
            hash.end_walk();
            assert_eq!(hash.has_ttls(), hash.earliest_ms().is_some());
        }
    }
}
