//! Consumer groups: how far each has read, and what was delivered and is not acknowledged yet.
//!
//! What is pending stands twice: in the group by id, with its owner, and in its owner by id alone.
//! So acknowledging finds the owner, and a consumer's own entries are found without its
//! colleagues': both in O(log n).

use std::collections::BTreeMap;

use crate::util::slab::Slab;

use super::StreamId;
use super::log::StreamLog;
use super::pending::{IdMap, tree_size};

/// A stream's groups by name.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    by_name: BTreeMap<Box<[u8]>, Group>,
}

/// An entry that was delivered to a consumer and not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: ConsumerId,
    /// The wall clock's milliseconds.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub count: u64,
}

/// A consumer within its group, for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerId(u32);

#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_id: StreamId,
    /// How many entries were ever added up to `last_id`, where that is known.
    pub entries_read: Option<u64>,
    pending: IdMap<Pending>,
    consumers: Slab<Consumer>,
    by_name: BTreeMap<Box<[u8]>, ConsumerId>,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: Box<[u8]>,
    /// When it asked last: the wall clock's milliseconds.
    pub seen_ms: i64,
    /// When it was given something last.
    pub active_ms: Option<i64>,
    /// Which entries of the group's pending ones are its own.
    pending: IdMap<()>,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// None if there is no group of that name.
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.by_name.get(name)
    }

    /// None if there is no group of that name.
    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.by_name.get_mut(name)
    }

    /// Adds a group; there is none of that name.
    pub fn add(&mut self, name: &[u8], last_id: StreamId, entries_read: Option<u64>) {
        let group = Group { last_id, entries_read, ..Group::default() };
        self.by_name.insert(name.into(), group);
    }

    /// Whether it was there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.by_name.remove(name).is_some()
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.by_name.iter().map(|(name, group)| (&**name, group))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&[u8], &mut Group)> {
        self.by_name.iter_mut().map(|(name, group)| (&**name, group))
    }

    /// Whether an entry is still needed: some group has it pending, or has yet to read it. Costs a
    /// look at each.
    pub fn need(&self, id: StreamId) -> bool {
        self.by_name.values().any(|group| group.last_id < id || group.pending.get(id).is_some())
    }

    /// An entry is pending in no group any more.
    pub fn forget(&mut self, id: StreamId) {
        for group in self.by_name.values_mut() {
            group.acknowledge(id);
        }
    }

    /// What all groups have pending.
    pub fn pending_count(&self) -> usize {
        self.by_name.values().map(|group| group.pending.len()).sum()
    }

    pub fn pieces(&self) -> usize {
        self.by_name.values().map(Group::pieces).sum()
    }

    /// Frees about so many pieces of what is pending. They are good for nothing else from then on.
    pub fn crumble(&mut self, count: usize) {
        let mut left = count;
        for group in self.by_name.values_mut() {
            while left > 0 && group.crumble() {
                left -= 1;
            }
        }
    }

    pub fn heap_size(&self) -> usize {
        let groups = self.by_name.iter().map(|(name, group)| name.len() + group.heap_size());
        tree_size::<Box<[u8]>, Group>(self.len()) + groups.sum::<usize>()
    }
}

impl Group {
    /// What is delivered and not acknowledged.
    pub fn pending(&self) -> &IdMap<Pending> {
        &self.pending
    }

    /// None if there is no consumer of that name.
    pub fn consumer(&self, name: &[u8]) -> Option<ConsumerId> {
        self.by_name.get(name).copied()
    }

    /// The consumer behind an id that this group gave out.
    ///
    /// # Panics
    /// If it was removed.
    pub fn of(&self, id: ConsumerId) -> &Consumer {
        self.consumers.get(id.0).expect("consumers go with what they have pending")
    }

    /// As `of`, to be changed.
    ///
    /// # Panics
    /// As `of`.
    pub fn of_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        self.consumers.get_mut(id.0).expect("consumers go with what they have pending")
    }

    /// In the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.by_name.values().map(|&id| self.of(id))
    }

    /// Adds a consumer; there is none of that name.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: i64) -> ConsumerId {
        let (name, pending) = (Box::from(name), IdMap::default());
        let consumer = Consumer { name, seen_ms: now_ms, active_ms: None, pending };
        let name = consumer.name.clone();
        let id = ConsumerId(self.consumers.insert(consumer));
        self.by_name.insert(name, id);
        id
    }

    /// Removes a consumer with all that it has pending, and returns how much that was.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(self.by_name.remove(name)?.0);
        for (id, ()) in consumer.pending.iter() {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Makes an entry a consumer's own, whoever had it.
    pub fn assign(&mut self, id: StreamId, pending: Pending) {
        let before = self.pending.insert(id, pending).map(|before| before.consumer);
        if before != Some(pending.consumer) {
            if let Some(before) = before {
                self.of_mut(before).pending.remove(id);
            }
            self.of_mut(pending.consumer).pending.insert(id, ());
        }
    }

    /// Counts a further delivery of an entry to its owner.
    pub fn deliver_again(&mut self, id: StreamId, now_ms: i64) -> Option<Pending> {
        let pending = self.pending.get_mut(id)?;
        pending.delivered_ms = now_ms;
        pending.count = pending.count.saturating_add(1);
        Some(*pending)
    }

    /// Whether the entry was pending.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        self.of_mut(pending.consumer).pending.remove(id);
        true
    }

    /// Goes on behind an entry that was delivered: the next one that is there. As in Redis 7.4 one
    /// that was deleted before it is not counted; 8.2 counts anew then.
    pub fn advance(&mut self, id: StreamId, log: &StreamLog) {
        self.entries_read = match self.entries_read {
            Some(count) if !log.has_gap_behind(id) => Some(count + 1),
            _ => log.count_up_to(id),
        };
        self.last_id = id;
    }

    /// How many entries are still to be delivered, where that is known.
    pub fn lag(&self, log: &StreamLog) -> Option<i64> {
        if log.entries_added() == 0 {
            return Some(0);
        }
        let read = match self.entries_read {
            Some(count) if !log.has_gap_behind(self.last_id) => count,
            _ => {
                // All that is there comes behind what was read, and what was deleted before it.
                let before = self.last_id.max(log.max_deleted_id());
                if log.first_id().is_some_and(|first| before < first) {
                    return Some(log.len() as i64);
                }
                log.count_up_to(self.last_id)?
            }
        };
        Some(log.entries_added().wrapping_sub(read) as i64)
    }

    fn pieces(&self) -> usize {
        let consumers = self.consumers.iter().map(|(_, consumer)| consumer.pending.pieces());
        self.pending.pieces() + consumers.sum::<usize>()
    }

    fn crumble(&mut self) -> bool {
        if self.pending.crumble() {
            return true;
        }
        let Some((name, id)) = self.by_name.pop_first() else { return false };
        if self.of_mut(id).pending.crumble() {
            self.by_name.insert(name, id);
        }
        true
    }

    pub fn heap_size(&self) -> usize {
        let consumers = self.consumers.iter().map(|(_, consumer)| {
            // The name stands in the tree as well.
            2 * consumer.name.len() + consumer.pending.heap_size()
        });
        self.pending.heap_size()
            + self.consumers.heap_size()
            + tree_size::<Box<[u8]>, ConsumerId>(self.by_name.len())
            + consumers.sum::<usize>()
    }
}

impl Consumer {
    /// The ids of what it has pending.
    pub fn pending(&self) -> &IdMap<()> {
        &self.pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    /// By id: whose it is, when it was delivered, and how often.
    type Model = BTreeMap<StreamId, (Box<[u8]>, i64, u64)>;

    fn agree(group: &Group, model: &Model, names: &[&[u8]]) {
        let found = group.pending().iter().map(|(id, pending)| {
            let name = group.of(pending.consumer).name.clone();
            (id, (name, pending.delivered_ms, pending.count))
        });
        assert!(found.eq(model.iter().map(|(id, it)| (*id, it.clone()))));
        let there = names.iter().filter(|name| group.consumer(name).is_some());
        assert!(group.consumers().map(|it| &*it.name).eq(there.copied()));
        for consumer in group.consumers() {
            let own = model.iter().filter(|(_, (name, ..))| *name == consumer.name);
            assert!(consumer.pending().iter().map(|(id, ())| id).eq(own.map(|(id, _)| *id)));
        }
    }

    #[test]
    fn a_group_does_what_a_map_of_owners_does() {
        let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        for seed in 0..20 {
            let mut rng = Rng::from_seed(seed);
            let (mut group, mut model) = (Group::default(), Model::new());
            for step in 0..1500 {
                let id = StreamId::new(rng.below(300) as u64, 0);
                let name = names[rng.below(names.len())];
                match rng.below(20) {
                    0 if rng.below(5) == 0 => {
                        let own = model.values().filter(|it| *it.0 == *name).count();
                        let was_there = group.consumer(name).is_some();
                        assert_eq!(group.remove_consumer(name), was_there.then_some(own));
                        model.retain(|_, it| *it.0 != *name);
                    }
                    0..8 => assert_eq!(group.acknowledge(id), model.remove(&id).is_some()),
                    8..10 => {
                        let again = model.get_mut(&id).map(|it| {
                            (it.1, it.2) = (step, it.2 + 1);
                            it.2
                        });
                        assert_eq!(group.deliver_again(id, step).map(|it| it.count), again);
                    }
                    _ => {
                        let consumer =
                            group.consumer(name).unwrap_or_else(|| group.add_consumer(name, step));
                        let count = rng.below(9) as u64;
                        group.assign(id, Pending { consumer, delivered_ms: step, count });
                        model.insert(id, (name.into(), step, count));
                    }
                }
                if step % 20 == 0 {
                    agree(&group, &model, &names);
                    agree(&group.clone(), &model, &names);
                }
            }
        }
    }

    #[test]
    fn what_is_pending_takes_60_bytes() {
        let mut groups = Groups::default();
        groups.add(b"g", StreamId::MIN, None);
        let group = groups.get_mut(b"g").unwrap();
        let consumers = [b"a", b"b"].map(|name| group.add_consumer(name, 0));
        for number in 0..10_000 {
            let consumer = consumers[number as usize % 2];
            group.assign(StreamId::new(number, 0), Pending { consumer, delivered_ms: 0, count: 1 });
        }
        let size = groups.heap_size() / 10_000;
        assert!(size <= 60, "{size}");
        while groups.pieces() > 0 {
            groups.crumble(100);
        }
        assert!(groups.heap_size() < 4_000);
    }
}
