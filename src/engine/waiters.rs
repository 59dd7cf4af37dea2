//! Which clients are parked on which keys, and which keys have become ready.
//!
//! Each key has a queue of waiters in order of arrival; a client that waits on several keys stands
//! in several queues. Joining, leaving and finding the first are O(1), so that one push to a queue
//! of four thousand parked workers costs what it costs with one.

use super::client::ClientId;
use crate::data::Value;
use crate::util::hash::hash;
use crate::util::slab::Slab;
use crate::util::table::IndexTable;
use std::collections::{HashMap, VecDeque};

/// What a parked client can be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    List,
    Zset,
    Stream,
    /// A stream's group, which goes with the stream.
    Group,
    /// Never served: only its time runs out.
    Nothing,
}

/// What has become of a key that a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// It holds what the client can be served from.
    Ready,
    /// It is no longer there.
    Gone,
    /// It holds something else.
    TypeChanged,
}

impl On {
    /// What a key that holds `value` is to who waits so.
    pub fn woken_by(self, value: Option<&Value>) -> Woken {
        match (value, self) {
            (None, _) => Woken::Gone,
            (Some(Value::List(_)), On::List)
            | (Some(Value::Zset(_)), On::Zset)
            | (Some(Value::Stream(_)), On::Stream | On::Group) => Woken::Ready,
            (Some(_), _) => Woken::TypeChanged,
        }
    }

    /// Whether who waits so is to be told. A reader waits on for what comes later; one of a group
    /// that goes with its key could not.
    pub fn heeds(self, woken: Woken) -> bool {
        match self {
            On::List | On::Zset | On::Stream => woken == Woken::Ready,
            On::Group => true,
            On::Nothing => false,
        }
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Standing {
    client: ClientId,
    on: On,
    queue: u32,
    before: u32,
    after: u32,
    /// The client's place in its next queue.
    sibling: u32,
}

#[derive(Debug)]
struct Queue {
    db: usize,
    key: Box<[u8]>,
    first: u32,
    last: u32,
    /// Those in it who heed that the key is gone.
    heedful: u32,
    /// Whether the key stands in `ready`.
    is_ready: bool,
}

#[derive(Default)]
pub struct Waiters {
    places: Slab<Standing>,
    queues: Slab<Queue>,
    /// Queues by the hash of their keys.
    by_key: IndexTable,
    /// Each client's first place; the others follow by `sibling`.
    clients: HashMap<ClientId, u32, ahash::RandomState>,
    ready: VecDeque<(usize, Box<[u8]>)>,
}

impl Waiters {
    /// Parks a client on keys, behind those already there.
    pub fn join(&mut self, client: ClientId, on: On, db: usize, keys: &[&[u8]]) {
        assert!(!self.clients.contains_key(&client), "a client parks once");
        let mut sibling = NONE;
        for (number, key) in keys.iter().enumerate() {
            if keys[..number].contains(key) {
                continue;
            }
            let queue = self.find(db, key).unwrap_or_else(|| self.open(db, key));
            let before = self.queues[queue].last;
            let place = Standing { client, on, queue, before, after: NONE, sibling };
            let index = self.places.insert(place);
            self.queues[queue].last = index;
            self.queues[queue].heedful += u32::from(on.heeds(Woken::Gone));
            match before {
                NONE => self.queues[queue].first = index,
                before => self.places[before].after = index,
            }
            sibling = index;
        }
        self.clients.insert(client, sibling);
    }

    fn find(&self, db: usize, key: &[u8]) -> Option<u32> {
        self.by_key.find(hash(key), |index| {
            let queue = &self.queues[index];
            queue.db == db && *queue.key == *key
        })
    }

    fn open(&mut self, db: usize, key: &[u8]) -> u32 {
        let queue =
            Queue { db, key: key.into(), first: NONE, last: NONE, heedful: 0, is_ready: false };
        let index = self.queues.insert(queue);
        self.by_key.insert(hash(key), index);
        index
    }

    /// Takes a client out of all its queues.
    pub fn leave(&mut self, client: ClientId) {
        let mut at = self.clients.remove(&client).unwrap_or(NONE);
        while at != NONE {
            let place = self.places.remove(at);
            let queue = &mut self.queues[place.queue];
            queue.heedful -= u32::from(place.on.heeds(Woken::Gone));
            match place.before {
                NONE => queue.first = place.after,
                before => self.places[before].after = place.after,
            }
            match place.after {
                NONE => queue.last = place.before,
                after => self.places[after].before = place.before,
            }
            if queue.first == NONE {
                self.by_key.remove(hash(&queue.key), place.queue);
                self.queues.remove(place.queue);
            }
            at = place.sibling;
        }
    }

    /// A key has changed: whoever waits for it may be served once the command has ended.
    #[inline]
    pub fn signal(&mut self, db: usize, key: &[u8]) {
        if !self.queues.is_empty() {
            self.signal_queue(db, key);
        }
    }

    fn signal_queue(&mut self, db: usize, key: &[u8]) {
        if let Some(index) = self.find(db, key)
            && !std::mem::replace(&mut self.queues[index].is_ready, true)
        {
            self.ready.push_back((db, key.into()));
        }
    }

    /// The key that has been ready for longest.
    pub fn next_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        let (db, key) = self.ready.pop_front()?;
        if let Some(index) = self.find(db, &key) {
            self.queues[index].is_ready = false;
        }
        Some((db, key))
    }

    /// The first waiter of a key, or the one behind `after`, with what it waits on.
    pub fn next(&self, db: usize, key: &[u8], after: Option<u32>) -> Option<(u32, ClientId, On)> {
        let index = match after {
            Some(index) => self.places[index].after,
            None => self.queues[self.find(db, key)?].first,
        };
        self.at(index)
    }

    /// Whether anybody is to be told that a key is gone.
    pub fn heeds_loss(&self, db: usize, key: &[u8]) -> bool {
        self.find(db, key).is_some_and(|index| self.queues[index].heedful > 0)
    }

    /// Who waits at a place.
    pub fn at(&self, index: u32) -> Option<(u32, ClientId, On)> {
        let place = self.places.get(index)?;
        Some((index, place.client, place.on))
    }

    /// The place of the last waiter of a key: those who come later were not there when it became
    /// ready.
    pub fn last(&self, db: usize, key: &[u8]) -> Option<u32> {
        self.find(db, key).map(|index| self.queues[index].last)
    }

    pub fn contains(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// Keys of a database that somebody waits for.
    pub fn keys_of(&self, db: usize) -> Vec<Box<[u8]>> {
        let here = self.queues.iter().filter(|(_, queue)| queue.db == db);
        here.map(|(_, queue)| queue.key.clone()).collect()
    }

    /// Parked clients.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Keys that somebody waits for.
    pub fn key_count(&self) -> usize {
        self.queues.len()
    }

    #[inline]
    pub fn has_ready(&self) -> bool {
        self.ready_len() > 0
    }

    /// Keys that became ready and were not looked at yet.
    #[inline]
    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{List, Typed, Zset};

    fn queue(waiters: &Waiters, key: &[u8]) -> Vec<u64> {
        let (mut found, mut after) = (Vec::new(), None);
        while let Some((index, client, _)) = waiters.next(0, key, after) {
            found.push(client.0);
            after = Some(index);
        }
        found
    }

    #[test]
    fn readers_heed_what_they_can_be_served_from() {
        let list = List::default().wrap();
        let zset = Zset::default().wrap();
        let told = |on: On, value| (on.woken_by(value), on.heeds(on.woken_by(value)));
        assert_eq!(told(On::List, Some(&list)), (Woken::Ready, true));
        assert_eq!(told(On::Zset, Some(&list)), (Woken::TypeChanged, false));
        assert_eq!(told(On::Zset, Some(&zset)), (Woken::Ready, true));
        assert_eq!(told(On::Stream, None), (Woken::Gone, false));
        assert_eq!(told(On::Group, None), (Woken::Gone, true));
        assert_eq!(told(On::Group, Some(&list)), (Woken::TypeChanged, true));
        assert_eq!(told(On::Nothing, Some(&list)), (Woken::TypeChanged, false));
    }

    #[test]
    fn waiters_keep_their_order() {
        let mut waiters = Waiters::default();
        waiters.join(ClientId(1), On::List, 0, &[b"a", b"b", b"a"]);
        waiters.join(ClientId(2), On::List, 0, &[b"b"]);
        waiters.join(ClientId(3), On::List, 0, &[b"b", b"a"]);
        assert_eq!((queue(&waiters, b"a"), queue(&waiters, b"b")), (vec![1, 3], vec![1, 2, 3]));
        waiters.signal(0, b"b");
        waiters.signal(0, b"b");
        waiters.signal(0, b"unwaited");
        assert_eq!(waiters.next_ready(), Some((0, Box::from(*b"b"))));
        assert_eq!(waiters.next_ready(), None);
        waiters.leave(ClientId(1));
        waiters.leave(ClientId(2));
        assert_eq!((queue(&waiters, b"a"), queue(&waiters, b"b")), (vec![3], vec![3]));
        waiters.leave(ClientId(3));
        assert_eq!((waiters.len(), waiters.key_count()), (0, 0));
    }
}
