//! Sorted sets: members in the order of their scores, and under their names.
//!
//! A small one is a sorted array that is searched from its start. A larger one is a counted B+tree
//! (`tree`), beside which a hash table leads from a member to the leaf that holds it.
//!
//! Redis packs small ones in a listpack and never unpacks the others again; what OBJECT ENCODING
//! answers is remembered apart from all this.

mod members;
mod tree;
mod walk;

use std::cmp::Ordering;
use std::ops::{Bound, Range};

use crate::config::Limits;
use crate::data::images::Walked;
use crate::data::item::Item;
use crate::util::fetch::Fetch;
use crate::util::table::{self, IndexTable};

use members::{MemberKey, MemberProbe, Members};
use tree::{EntryPlace, Scored, Tree};
use walk::LastRead;

/// Up to here looking at all members takes less time than keeping a tree and a table.
const ARRAY_LEN_MAX: usize = 128;

#[derive(Clone, Debug, Default)]
pub struct Zset {
    body: Box<Body>,
}

#[derive(Clone, Debug, Default)]
struct Body {
    members: Members,
    order: Order,
    is_skiplist: bool,
}

#[derive(Clone, Debug)]
enum Order {
    Array(Vec<Scored>),
    Tree(Box<IndexedTree>),
}

impl Default for Order {
    fn default() -> Self {
        Order::Array(Vec::new())
    }
}

#[derive(Clone, Debug)]
struct IndexedTree {
    tree: Tree,
    /// From a member's hash to its leaf.
    leaves: IndexTable,
    walk: Walked<Option<LastRead>, f64>,
}

/// A step on the way to a member, and on to where another score would bring it: see `ahead`.
pub struct ZsetStep<'a> {
    to: To<'a>,
    /// Sought once the member's way has ended.
    score: Option<f64>,
}

enum To<'a> {
    Leaf(MemberProbe<'a>),
    Slot(MemberProbe<'a>, u32),
    Text(MemberKey),
    ScoresLeaf(f64),
    /// A member of the same score has its text compared.
    ScoresSlot(f64, u32),
}

/// What became of a member that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    Added,
    Updated,
    Unchanged,
}

impl Zset {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        match &self.body.order {
            Order::Array(entries) => entries.len(),
            Order::Tree(it) => it.tree.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// See `Value::pieces`.
    pub(super) fn pieces(&self) -> usize {
        self.body.members.text_count()
    }

    pub(super) fn crumble(&mut self, count: usize) {
        self.body.members.crumble(count);
    }

    /// Where to look first on the way to a member, and to the place of a score if one is given.
    /// None if the set is packed: there is nothing to fetch ahead.
    pub(super) fn first_step<'a>(
        &self,
        member: &'a [u8],
        score: Option<f64>,
    ) -> Option<ZsetStep<'a>> {
        let Order::Tree(it) = &self.body.order else { return None };
        let probe = MemberProbe::new(member);
        it.leaves.fetch(probe.key.hash());
        Some(ZsetStep { to: To::Leaf(probe), score })
    }

    /// Where to look next. None once all that the way leads through has been asked for.
    pub(super) fn take_step<'a>(&self, step: ZsetStep<'a>) -> Option<ZsetStep<'a>> {
        let Order::Tree(it) = &self.body.order else { return None };
        let score = step.score;
        match it.take_step(&self.body.members, step.to) {
            Some(to) => Some(ZsetStep { to, score }),
            None => score.map(|score| ZsetStep { to: To::ScoresLeaf(score), score: None }),
        }
    }

    /// None if there is no such member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let body = &*self.body;
        body.find(MemberProbe::new(member)).map(|place| body.entry(place).score)
    }

    /// How many members come before this one.
    pub fn rank(&self, member: &[u8]) -> Option<usize> {
        let body = &*self.body;
        body.find(MemberProbe::new(member)).map(|place| body.rank(place))
    }

    /// Adds a member or gives it another score, which is not NaN.
    pub fn insert(&mut self, member: &[u8], score: f64, limits: &Limits) -> Inserted {
        let probe = MemberProbe::new(member);
        let found = self.body.find(probe);
        if found.is_none() {
            self.expect(self.len() + 1, member.len(), limits);
        }
        let body = &mut *self.body;
        // Redis's listpack stores a zero as the integer, which has no sign.
        let score = if body.is_skiplist { score } else { score + 0.0 };
        let Some(place) = found else {
            body.note(member, None);
            let key = body.members.add(probe);
            body.put(Scored { score, key }, member);
            return Inserted::Added;
        };
        let before = body.entry(place).score;
        if before == score {
            return Inserted::Unchanged;
        }
        body.note(member, Some(before));
        body.rescore(place, score, member);
        Inserted::Updated
    }

    /// Returns the score that the member had.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let place = self.body.find(MemberProbe::new(member))?;
        let entry = self.body.take(place);
        self.body.note(member, Some(entry.score));
        self.body.members.remove(entry.key);
        Some(entry.score)
    }

    pub fn remove_range(&mut self, ranks: Range<usize>) {
        for _ in ranks.clone() {
            let place = self.body.at_rank(ranks.start);
            let entry = self.body.take(place);
            self.body.note_entry(entry);
            self.body.members.remove(entry.key);
        }
    }

    /// The member of a rank, which is below `len`.
    pub fn at(&self, rank: usize) -> (Item<'_>, f64) {
        let entry = self.body.entry(self.body.at_rank(rank));
        (self.body.members.get(entry.key), entry.score)
    }

    /// The members of these ranks, from either end.
    pub fn range(
        &self,
        ranks: Range<usize>,
    ) -> impl DoubleEndedIterator<Item = (Item<'_>, f64)> + ExactSizeIterator {
        let body = &*self.body;
        let entries = match &body.order {
            Order::Array(entries) => Entries::Array(entries[ranks].iter()),
            Order::Tree(it) => Entries::Tree(it.tree.range(ranks)),
        };
        entries.map(|entry| (body.members.get(entry.key), entry.score))
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Item<'_>, f64)> + ExactSizeIterator {
        self.range(0..self.len())
    }

    /// The ranks of the members whose scores are within these bounds.
    pub fn ranks_by_score(&self, min: Bound<f64>, max: Bound<f64>) -> Range<usize> {
        let order = |entry: Scored, bound: &f64| {
            entry.score.partial_cmp(bound).expect("neither scores nor bounds are NaN")
        };
        self.body.ranks(min, max, order)
    }

    /// The ranks of the members within these bounds, where all scores are equal. (Where they are
    /// not, no order by members exists, and the answer is as arbitrary as in Redis.)
    pub fn ranks_by_member(&self, min: Bound<&[u8]>, max: Bound<&[u8]>) -> Range<usize> {
        let members = &self.body.members;
        self.body.ranks(min, max, |entry, bound| members.compare(entry.key, bound))
    }

    /// Visits about `count` members and returns the cursor for the next ones, 0 after the last. A
    /// sorted set that Redis would have packed is visited whole, as there. A walk visits each
    /// member that is there all the time.
    pub fn scan<'a>(
        &'a self,
        cursor: u64,
        count: usize,
        visit: &mut dyn FnMut(Item<'a>, f64),
    ) -> u64 {
        if self.is_compact() {
            self.iter().for_each(|(member, score)| visit(member, score));
            return 0;
        }
        let body = &*self.body;
        let mut show = |entry: &Scored| visit(body.members.get(entry.key), entry.score);
        match &body.order {
            Order::Array(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.hash(), entry));
                table::scan_few(cursor, count, entries, &mut show)
            }
            Order::Tree(it) => it.leaves.scan_tags(cursor, count, &mut |tag, leaf| {
                let entries = it.tree.entries(leaf).iter();
                entries.filter(|entry| entry.key.tag() == tag).for_each(&mut show);
            }),
        }
    }

    /// Announces so many members, and how long one of them is. Redis chooses the encoding by the
    /// arguments of a command, even if some of them name the same member: a listpack up to its
    /// bounds, and once beyond them never one again.
    pub fn expect(&mut self, len: usize, member_len: usize, limits: &Limits) {
        self.body.is_skiplist |=
            len > limits.zset_entries_max || member_len > limits.zset_value_bytes_max;
    }

    /// As SORT does in Redis.
    pub fn unpack(&mut self) {
        self.body.is_skiplist = true;
    }

    /// Whether Redis would keep it in a listpack.
    pub fn is_compact(&self) -> bool {
        !self.body.is_skiplist
    }

    pub fn encoding(&self) -> &'static str {
        if self.is_compact() { "listpack" } else { "skiplist" }
    }

    pub fn heap_size(&self) -> usize {
        let order = match &self.body.order {
            Order::Array(entries) => entries.capacity() * size_of::<Scored>(),
            Order::Tree(it) => {
                size_of::<IndexedTree>() + it.tree.heap_size() + it.leaves.heap_size()
            }
        };
        size_of::<Body>() + self.body.members.heap_size() + order
    }
}

impl Body {
    fn find(&self, probe: MemberProbe) -> Option<EntryPlace> {
        let position =
            |entries: &[Scored]| entries.iter().position(|entry| self.members.is(entry.key, probe));
        match &self.order {
            Order::Array(entries) => position(entries).map(|at| EntryPlace { leaf: 0, at }),
            Order::Tree(it) => {
                let mut at = None;
                let leaf = it.leaves.find(probe.key.hash(), |leaf| {
                    at = position(it.tree.entries(leaf));
                    at.is_some()
                })?;
                at.map(|at| EntryPlace { leaf, at })
            }
        }
    }

    fn entry(&self, place: EntryPlace) -> Scored {
        match &self.order {
            Order::Array(entries) => entries[place.at],
            Order::Tree(it) => it.tree.get(place),
        }
    }

    fn rank(&self, place: EntryPlace) -> usize {
        match &self.order {
            Order::Array(_) => place.at,
            Order::Tree(it) => it.tree.rank(place),
        }
    }

    fn at_rank(&self, rank: usize) -> EntryPlace {
        match &self.order {
            Order::Array(_) => EntryPlace { leaf: 0, at: rank },
            Order::Tree(it) => it.tree.at_rank(rank),
        }
    }

    fn seek(&self, comes_before: impl Fn(Scored) -> bool) -> EntryPlace {
        match &self.order {
            Order::Array(entries) => {
                EntryPlace { leaf: 0, at: entries.partition_point(|&entry| comes_before(entry)) }
            }
            Order::Tree(it) => it.tree.seek(comes_before),
        }
    }

    fn ranks<T>(
        &self,
        min: Bound<T>,
        max: Bound<T>,
        order: impl Fn(Scored, &T) -> Ordering,
    ) -> Range<usize> {
        let start = self.seek(|entry| match &min {
            Bound::Included(min) => order(entry, min).is_lt(),
            Bound::Excluded(min) => order(entry, min).is_le(),
            Bound::Unbounded => false,
        });
        let end = self.seek(|entry| match &max {
            Bound::Included(max) => order(entry, max).is_le(),
            Bound::Excluded(max) => order(entry, max).is_lt(),
            Bound::Unbounded => true,
        });
        let start = self.rank(start);
        start..self.rank(end).max(start)
    }

    /// Puts a member that is in `members` where it belongs.
    fn put(&mut self, entry: Scored, text: &[u8]) {
        if matches!(&self.order, Order::Array(entries) if entries.len() == ARRAY_LEN_MAX) {
            self.plant();
        }
        let comes_before = entry.order(&self.members, text);
        match &mut self.order {
            Order::Array(entries) => {
                entries.insert(entries.partition_point(|&it| comes_before(it)), entry);
            }
            Order::Tree(it) => it.insert(it.tree.seek(comes_before), entry),
        }
    }

    /// Gives a member another score.
    fn rescore(&mut self, place: EntryPlace, score: f64, text: &[u8]) {
        let entry = Scored { score, ..self.entry(place) };
        let comes_before = entry.order(&self.members, text);
        match &mut self.order {
            Order::Array(entries) => {
                entries.remove(place.at);
                entries.insert(entries.partition_point(|&it| comes_before(it)), entry);
            }
            Order::Tree(it) => it.replace(place, entry, comes_before),
        }
    }

    /// Takes a member out of the order; it stays in `members`.
    fn take(&mut self, place: EntryPlace) -> Scored {
        match &mut self.order {
            Order::Array(entries) => entries.remove(place.at),
            Order::Tree(it) => it.remove(place),
        }
    }

    /// Turns the array into a tree.
    fn plant(&mut self) {
        let mut it =
            IndexedTree { tree: Tree::new(), leaves: IndexTable::new(), walk: Walked::NONE };
        if let Order::Array(entries) = &self.order {
            for &entry in entries {
                let place = it.tree.seek(|_| true);
                it.insert(place, entry);
            }
        }
        self.order = Order::Tree(Box::new(it));
    }
}

impl Scored {
    /// Which entries come before this one, whose member is `text`.
    fn order(self, members: &Members, text: &[u8]) -> impl Fn(Scored) -> bool {
        move |other| {
            if other.score == self.score {
                return members.compare(other.key, text).is_lt();
            }
            other.score < self.score
        }
    }
}

impl IndexedTree {
    fn take_step<'a>(&self, members: &Members, to: To<'a>) -> Option<To<'a>> {
        let key = match to {
            To::Leaf(probe) => {
                let leaf = self.leaves.find(probe.key.hash(), |_| true)?;
                self.tree.fetch(leaf);
                return Some(To::Slot(probe, leaf));
            }
            To::ScoresLeaf(score) => {
                let leaf = self.tree.seek_leaf(|entry| entry.score < score);
                self.tree.fetch(leaf);
                return Some(To::ScoresSlot(score, leaf));
            }
            To::Slot(probe, leaf) => {
                let mut entries = self.tree.entries(leaf).iter();
                entries.find(|entry| probe.resembles(entry.key))?.key
            }
            To::ScoresSlot(score, leaf) => {
                let entries = self.tree.entries(leaf);
                let at = entries.partition_point(|entry| entry.score < score);
                entries.get(at).filter(|entry| entry.score == score)?.key
            }
            To::Text(key) => {
                members.fetch_text(key);
                return None;
            }
        };
        members.fetch_slot(key).then_some(To::Text(key))
    }

    fn insert(&mut self, place: EntryPlace, entry: Scored) {
        let leaf = self.insert_into_tree(place, entry);
        self.leaves.insert(entry.key.hash(), leaf);
    }

    fn remove(&mut self, place: EntryPlace) -> Scored {
        let entry = self.remove_from_tree(place);
        self.leaves.remove(entry.key.hash(), place.leaf);
        entry
    }

    /// Takes an entry out and puts another one of the same member in.
    fn replace(&mut self, place: EntryPlace, entry: Scored, comes_before: impl Fn(Scored) -> bool) {
        self.remove_from_tree(place);
        let leaf = self.insert_into_tree(self.tree.seek(comes_before), entry);
        if leaf != place.leaf {
            self.leaves.replace(entry.key.hash(), place.leaf, leaf);
        }
    }

    /// Returns the entry's leaf.
    fn insert_into_tree(&mut self, place: EntryPlace, entry: Scored) -> u32 {
        let leaves = &mut self.leaves;
        self.tree.insert(place, entry, &mut |entry, from, to| {
            leaves.replace(entry.key.hash(), from, to);
        })
    }

    fn remove_from_tree(&mut self, place: EntryPlace) -> Scored {
        let leaves = &mut self.leaves;
        self.tree.remove(place, &mut |entry, from, to| {
            leaves.replace(entry.key.hash(), from, to);
        })
    }
}

#[derive(Clone)]
enum Entries<'a> {
    Array(std::slice::Iter<'a, Scored>),
    Tree(tree::Iter<'a>),
}

impl Iterator for Entries<'_> {
    type Item = Scored;

    fn next(&mut self) -> Option<Scored> {
        match self {
            Entries::Array(entries) => entries.next().copied(),
            Entries::Tree(entries) => entries.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Entries::Array(entries) => entries.size_hint(),
            Entries::Tree(entries) => entries.size_hint(),
        }
    }
}

impl DoubleEndedIterator for Entries<'_> {
    fn next_back(&mut self) -> Option<Scored> {
        match self {
            Entries::Array(entries) => entries.next_back().copied(),
            Entries::Tree(entries) => entries.next_back(),
        }
    }
}

impl ExactSizeIterator for Entries<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::ops::RangeBounds;

    use crate::util::rng::Rng;

    use super::*;

    /// Members with their scores, and nothing else.
    type Model = BTreeMap<Vec<u8>, f64>;

    fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> =
            model.iter().map(|(member, score)| (member.clone(), *score)).collect();
        // Stable, so that equal scores stay in the order of members.
        all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap());
        all
    }

    fn owned((member, score): (Item, f64)) -> (Vec<u8>, f64) {
        (member.to_vec(), score)
    }

    fn check_equal(zset: &Zset, model: &Model) {
        let expect = sorted(model);
        assert_eq!(zset.len(), model.len());
        assert!(zset.iter().map(owned).eq(expect.iter().cloned()));
        assert!(zset.iter().rev().map(owned).eq(expect.iter().rev().cloned()));
        for (rank, (member, score)) in expect.iter().enumerate() {
            assert_eq!(zset.score(member), Some(*score));
            assert_eq!(zset.rank(member), Some(rank));
        }
        if let Order::Tree(it) = &zset.body.order {
            it.tree.check();
            assert_eq!(it.leaves.len(), model.len());
        }
        let texts = model.keys().filter(|member| crate::data::item::as_number(member).is_none());
        assert_eq!(zset.body.members.text_bytes, texts.map(|text| text.len()).sum::<usize>());
    }

    fn member(rng: &mut Rng, variety: usize) -> Vec<u8> {
        let number = rng.below(variety);
        match rng.below(4) {
            0 => format!("job:{number}").into_bytes(),
            1 => format!("-{number}").into_bytes(),
            _ => number.to_string().into_bytes(),
        }
    }

    fn score(rng: &mut Rng, clock: &mut f64) -> f64 {
        *clock += 1.0;
        match rng.below(8) {
            0 => rng.below(5) as f64,
            1 => -(rng.below(5) as f64),
            2 => [f64::INFINITY, f64::NEG_INFINITY, 0.1, 1e300][rng.below(4)],
            // What BullMQ gives a delayed job: all 53 bits count.
            3..6 => *clock + 1_785_000_000_000.0 * 4096.0,
            _ => rng.below(10_000) as f64 / 3.0,
        }
    }

    fn bound<T>(rng: &mut Rng, value: T) -> Bound<T> {
        match rng.below(5) {
            0 => Bound::Unbounded,
            1..3 => Bound::Excluded(value),
            _ => Bound::Included(value),
        }
    }

    #[test]
    fn sorted_sets_do_what_a_map_that_is_sorted_does() {
        for seed in 0..24 {
            let mut rng = Rng::from_seed(seed);
            let (mut zset, mut model) = (Zset::new(), Model::new());
            let mut clock = 0.0;
            let variety = [30, 200, 1_000, 20_000][seed as usize % 4];
            for _ in 0..8 {
                let removals = rng.below(10);
                for _ in 0..rng.below(2_500) {
                    let member = member(&mut rng, variety);
                    if rng.below(10) < removals {
                        assert_eq!(zset.remove(&member), model.remove(&member));
                        continue;
                    }
                    let score = score(&mut rng, &mut clock);
                    let expect = match model.insert(member.clone(), score) {
                        None => Inserted::Added,
                        Some(old) if old == score => Inserted::Unchanged,
                        Some(_) => Inserted::Updated,
                    };
                    assert_eq!(zset.insert(&member, score, &Limits::DEFAULT), expect);
                }
                if rng.below(3) == 0 {
                    let start = rng.below(model.len() + 1);
                    let end = start + rng.below(model.len() - start + 1);
                    sorted(&model)[start..end].iter().for_each(|(member, _)| {
                        model.remove(member);
                    });
                    zset.remove_range(start..end);
                }
                check_equal(&zset, &model);
                check_equal(&zset.clone(), &model);
                check_ranges(&zset, &model, &mut rng, &mut clock);
            }
        }
    }

    fn check_ranges(zset: &Zset, model: &Model, rng: &mut Rng, clock: &mut f64) {
        let all = sorted(model);
        for _ in 0..30 {
            let (a, b) = (score(rng, clock), score(rng, clock));
            let (min, max) = (bound(rng, a), bound(rng, b));
            let expect = all.iter().filter(|it| (min, max).contains(&it.1));
            let ranks = zset.ranks_by_score(min, max);
            assert!(zset.range(ranks).map(owned).eq(expect.cloned()));

            let start = rng.below(all.len() + 1);
            let end = start + rng.below(all.len() - start + 1);
            assert!(zset.range(start..end).map(owned).eq(all[start..end].iter().cloned()));
            let back = zset.range(start..end).rev().map(owned);
            assert!(back.eq(all[start..end].iter().rev().cloned()));
            if start < all.len() {
                assert_eq!(owned(zset.at(start)), all[start]);
            }
        }
    }

    #[test]
    fn members_of_equal_score_are_ordered_as_bytes() {
        for len in [50, 500] {
            let mut zset = Zset::new();
            let mut all: Vec<String> = (0..len).map(|it| it.to_string()).collect();
            all.extend((0..len).map(|it| format!("{it}a")));
            all.iter().for_each(|member| _ = zset.insert(member.as_bytes(), 0.0, &Limits::DEFAULT));
            all.sort();
            let mut rng = Rng::from_seed(len);
            for _ in 0..300 {
                let (a, b) = (&all[rng.below(all.len())], &all[rng.below(all.len())]);
                let (min, max) = (bound(&mut rng, a.as_bytes()), bound(&mut rng, b.as_bytes()));
                let ranks = zset.ranks_by_member(min, max);
                let found = zset.range(ranks).map(|(member, _)| member.to_vec());
                let expect = all.iter().map(|it| it.as_bytes());
                let expect = expect.filter(|it| RangeBounds::<&[u8]>::contains(&(min, max), it));
                assert!(found.eq(expect.map(<[u8]>::to_vec)), "{min:?} {max:?}");
            }
        }
    }

    #[test]
    fn a_walk_visits_all_that_stay() {
        for (len, compact, name) in [
            (0, true, "m"),
            (128, true, "m"),
            (1_000, true, "m"),
            (129, false, "m"),
            (9_000, false, "m"),
            (9_000, false, ""),
        ] {
            // Those that come during the walk may, too.
            let limits = Limits {
                zset_entries_max: if compact { 2 * len } else { 128 },
                ..Limits::default()
            };
            let mut zset = Zset::new();
            (0..len).for_each(|it| {
                _ = zset.insert(format!("{name}{it}").as_bytes(), it as f64, &limits)
            });
            assert_eq!(zset.is_compact(), compact);
            let (mut seen, mut cursor, mut calls) = (HashSet::new(), 0, 0);
            loop {
                calls += 1;
                let before = seen.len();
                cursor = zset.scan(cursor, 10, &mut |member, _| _ = seen.insert(member.to_vec()));
                if cursor == 0 {
                    break;
                }
                // Whoever is seen has not been seen before, but for the one that comes again.
                let page = seen.len() - before;
                assert!((9..=11).contains(&page), "{page}");
                // Whoever is visited leaves, others change their score and come.
                if calls % 3 == 0 {
                    seen.iter().for_each(|member| _ = zset.remove(member));
                    zset.insert(format!("{name}{}", len - 1).as_bytes(), f64::from(calls), &limits);
                    zset.insert(format!("9{calls}{name}").as_bytes(), -1.0, &limits);
                }
            }
            assert!((0..len).all(|it| seen.contains(format!("{name}{it}").as_bytes())));
            assert_eq!(calls == 1, compact || len == 0, "{len}");
        }
    }

    #[test]
    fn a_walk_over_an_array_keeps_to_its_count_and_goes_on_in_a_tree() {
        for name in ["", "m"] {
            let mut zset = Zset::new();
            let member = |number: usize| format!("{name}{number}").into_bytes();
            (0..100).for_each(|it| _ = zset.insert(&member(it), it as f64, &Limits::DEFAULT));
            zset.unpack();
            let mut seen = HashSet::new();
            let mut cursor = zset.scan(0, 50, &mut |member, _| _ = seen.insert(member.to_vec()));
            assert_eq!(seen.len(), 50);
            (100..300).for_each(|it| {
                _ = zset.insert(&member(it), (it * 7 % 100) as f64, &Limits::DEFAULT)
            });
            while cursor != 0 {
                cursor = zset.scan(cursor, 50, &mut |member, _| _ = seen.insert(member.to_vec()));
            }
            assert!((0..100).all(|it| seen.contains(&member(it))));
        }
    }

    /// As Redis 7.4.1 answers to OBJECT ENCODING.
    #[test]
    fn encodings_change_where_those_of_redis_do() {
        let limits = &Limits::DEFAULT;
        let mut zset = Zset::new();
        (0..128).for_each(|it| _ = zset.insert(it.to_string().as_bytes(), 1.0, limits));
        assert_eq!(zset.encoding(), "listpack");
        zset.insert(b"128", 1.0, limits);
        assert_eq!(zset.encoding(), "skiplist");
        zset.remove_range(1..129);
        assert_eq!(zset.encoding(), "skiplist");

        for (len, encoding) in [(64, "listpack"), (65, "skiplist")] {
            let mut zset = Zset::new();
            zset.insert(&vec![b'x'; len], 1.0, limits);
            assert_eq!(zset.encoding(), encoding);
        }
        let mut zset = Zset::new();
        zset.expect(129, 0, limits);
        zset.insert(b"m", 1.0, limits);
        assert_eq!(zset.encoding(), "skiplist");

        // A lower limit is heeded when a member comes, of which only its own length counts.
        let low = &Limits { zset_entries_max: 2, zset_value_bytes_max: 1, ..Limits::DEFAULT };
        for (before, member, encoding) in [
            (&["a", "b", "c"][..], "a", "listpack"),
            (&["a", "b", "c"], "d", "skiplist"),
            (&["long"], "long", "listpack"),
            (&["long"], "a", "listpack"),
            (&["a"], "long", "skiplist"),
        ] {
            let mut zset = Zset::new();
            before.iter().for_each(|member| _ = zset.insert(member.as_bytes(), 1.0, limits));
            zset.insert(member.as_bytes(), 2.0, low);
            assert_eq!(zset.encoding(), encoding, "{before:?} {member}");
        }
    }

    /// As Redis 7.4.1 answers to ZSCORE.
    #[test]
    fn a_listpack_forgets_the_sign_of_zero() {
        let limits = &Limits::DEFAULT;
        let mut zset = Zset::new();
        zset.insert(b"a", -0.0, limits);
        zset.insert(&[b'x'; 65], 1.0, limits);
        zset.insert(b"b", -0.0, limits);
        let is_negative = |member| zset.score(member).map(f64::is_sign_negative);
        assert_eq!((is_negative(b"a"), is_negative(b"b")), (Some(false), Some(true)));
    }

    #[test]
    fn ids_in_the_order_of_their_scores_take_less_than_thirty_bytes() {
        let mut zset = Zset::new();
        assert!(zset.heap_size() < 200, "{}", zset.heap_size());
        for id in 0..200_000 {
            zset.insert(id.to_string().as_bytes(), f64::from(id) * 4096.0, &Limits::DEFAULT);
        }
        let size = zset.heap_size() as f64 / 200_000.0;
        assert!(size < 30.0, "{size}");
    }
}
