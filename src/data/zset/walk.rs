//! A walk over a sorted set, piece by piece while it changes: from its end, since who loads what is
//! written puts each member in front.

use crate::data::images::PieceWalk;
use crate::data::item::Item;

use super::tree::{EntryPlace, Scored};
use super::{Body, IndexedTree, Order, Zset};

/// The score and the member that were read last: all that comes behind them was read before.
pub(super) type LastRead = (f64, Box<[u8]>);

fn has_read(last: Option<&LastRead>, score: f64, member: &[u8]) -> bool {
    last.is_some_and(|(at, text)| score > *at || score == *at && *member >= **text)
}

/// See `Value::begin_walk`.
impl Zset {
    pub(in crate::data) fn begin_walk(&mut self, number: u32) -> bool {
        let Order::Tree(it) = &mut self.body.order else { return false };
        it.walk.begin(number, None);
        true
    }

    /// None if it is too small for one.
    pub(in crate::data) fn walk(&self) -> Option<&dyn PieceWalk> {
        match &self.body.order {
            Order::Tree(it) => Some(&it.walk),
            Order::Array(_) => None,
        }
    }

    /// As `walk`.
    pub(in crate::data) fn walk_mut(&mut self) -> Option<&mut dyn PieceWalk> {
        match &mut self.body.order {
            Order::Tree(it) => Some(&mut it.walk),
            Order::Array(_) => None,
        }
    }

    /// Goes on with the walk, by so many members at most. True at the end.
    pub fn walk_on(&mut self, count: usize, visit: &mut dyn FnMut(&[u8], f64)) -> bool {
        let Body { members, order, .. } = &mut *self.body;
        let Order::Tree(it) = order else { return true };
        let IndexedTree { tree, walk, .. } = &mut **it;
        let Some(walk) = walk.get_mut() else { return true };
        let end = match &walk.at {
            None => tree.len(),
            Some((score, text)) => {
                let comes_before = |entry: Scored| {
                    let is_first = || members.compare(entry.key, text).is_lt();
                    entry.score < *score || entry.score == *score && is_first()
                };
                tree.rank(tree.seek(comes_before))
            }
        };
        if walk.images.is_past_members() || end == 0 {
            return walk.images.read(count, |member, score| visit(member, *score));
        }
        let start = end.saturating_sub(count);
        for entry in tree.range(start..end).rev() {
            let member = members.get(entry.key);
            if !walk.images.has(&member) {
                visit(&member, entry.score);
            }
        }
        let EntryPlace { leaf, at } = tree.at_rank(start);
        let last = tree.entries(leaf)[at];
        walk.at = Some((last.score, members.get(last.key).to_vec().into()));
        false
    }
}

impl Body {
    /// A member with this score is about to change or to go, or one without is about to come.
    #[inline]
    pub(super) fn note(&mut self, member: &[u8], before: Option<f64>) {
        if let Order::Tree(it) = &mut self.order
            && !it.walk.is_none()
        {
            it.note(member, before);
        }
    }

    /// As `note`, of an entry that was taken out.
    #[inline]
    pub(super) fn note_entry(&mut self, entry: Scored) {
        if let Order::Tree(it) = &mut self.order
            && !it.walk.is_none()
        {
            let member: Item = self.members.get(entry.key);
            it.note(&member, Some(entry.score));
        }
    }
}

impl IndexedTree {
    #[cold]
    #[inline(never)]
    fn note(&mut self, member: &[u8], before: Option<f64>) {
        let Some(walk) = self.walk.get_mut() else { return };
        let before = before.filter(|score| !has_read(walk.at.as_ref(), *score, member));
        walk.images.note(member, || before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::util::rng::Rng;
    use std::collections::BTreeMap;

    #[test]
    fn a_walk_finds_what_was_there_when_it_began() {
        for seed in 0..300 {
            let mut rng = Rng::from_seed(seed);
            let len = 129 + rng.below(500);
            let mut zset = Zset::new();
            let name = |rng: &mut Rng| format!("{}{}", ["", "m"][rng.below(2)], rng.below(len));
            while zset.len() < len {
                let (name, score) = (name(&mut rng), rng.below(len / 3) as f64);
                zset.insert(name.as_bytes(), score, &Limits::DEFAULT);
            }
            let whole = |zset: &Zset| -> BTreeMap<Vec<u8>, u64> {
                zset.iter().map(|(member, score)| (member.to_vec(), score.to_bits())).collect()
            };
            let before = whole(&zset);
            assert!(zset.begin_walk(7));
            let number = |zset: &Zset| zset.walk().and_then(|walk| walk.number());
            assert_eq!((number(&zset), number(&zset.clone())), (Some(7), None));
            let (mut found, mut is_done) = (BTreeMap::new(), false);
            let changes = rng.below(60);
            while !is_done {
                is_done = zset.walk_on(1 + rng.below(50), &mut |member, score| {
                    let twice = found.insert(member.to_vec(), score.to_bits());
                    assert_eq!(twice, None, "seed {seed}");
                });
                for _ in 0..rng.below(changes + 1) {
                    let (name, score) = (name(&mut rng), rng.below(len / 3) as f64);
                    match rng.below(5) {
                        0 => _ = zset.remove(name.as_bytes()),
                        1 if !zset.is_empty() => {
                            let start = rng.below(zset.len());
                            zset.remove_range(start..zset.len().min(start + rng.below(20)));
                        }
                        _ => _ = zset.insert(name.as_bytes(), score, &Limits::DEFAULT),
                    }
                }
            }
            assert_eq!(found, before, "seed {seed}");
            let noted = zset.walk().map_or(0, |walk| walk.noted_bytes());
            assert!(noted > 0 || before == whole(&zset));
            zset.walk_mut().into_iter().for_each(PieceWalk::end);
            assert_eq!(number(&zset), None);
        }
    }
}
