//! Which clients are parked on which keys, and which keys have become ready.
//!
//! Each key has a queue of waiters in order of arrival; a client that waits on several keys stands
//! in several queues. Joining, leaving and finding the first are O(1), so that one push to a queue
//! of four thousand parked workers costs what it costs with one.

use super::client::ClientId;
use crate::util::slab::Slab;
use std::collections::{HashMap, VecDeque};

/// What a parked client can be served from. A key of another type leaves it parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    List,
    Zset,
    Stream,
    /// Never served: only its time runs out.
    Nothing,
}

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Place {
    client: ClientId,
    on: On,
    queue: QueueKey,
    before: u32,
    after: u32,
    /// The client's place in its next queue.
    sibling: u32,
}

type QueueKey = (usize, Box<[u8]>);

#[derive(Debug, Clone, Copy)]
struct Queue {
    first: u32,
    last: u32,
    /// Whether the key stands in `ready`.
    is_ready: bool,
}

#[derive(Default)]
pub struct Waiters {
    places: Slab<Place>,
    queues: HashMap<QueueKey, Queue, ahash::RandomState>,
    /// Each client's first place; the others follow by `sibling`.
    clients: HashMap<ClientId, u32, ahash::RandomState>,
    ready: VecDeque<QueueKey>,
}

impl Waiters {
    /// Parks a client on keys, behind those already there.
    pub fn join(&mut self, client: ClientId, on: On, db: usize, keys: &[Box<[u8]>]) {
        debug_assert!(!self.clients.contains_key(&client), "a client parks once");
        let mut sibling = NONE;
        for (number, key) in keys.iter().enumerate() {
            if keys[..number].contains(key) {
                continue;
            }
            let queue_key = (db, key.clone());
            let queue = self.queues.entry(queue_key.clone()).or_insert(Queue {
                first: NONE,
                last: NONE,
                is_ready: false,
            });
            let place =
                Place { client, on, queue: queue_key, before: queue.last, after: NONE, sibling };
            let index = self.places.insert(place);
            match queue.last {
                NONE => queue.first = index,
                last => self.places[last].after = index,
            }
            queue.last = index;
            sibling = index;
        }
        self.clients.insert(client, sibling);
    }

    /// Takes a client out of all its queues.
    pub fn leave(&mut self, client: ClientId) {
        let mut at = self.clients.remove(&client).unwrap_or(NONE);
        while at != NONE {
            let place = self.places.remove(at);
            let queue = self.queues.get_mut(&place.queue).expect("a place stands in a queue");
            match place.before {
                NONE => queue.first = place.after,
                before => self.places[before].after = place.after,
            }
            match place.after {
                NONE => queue.last = place.before,
                after => self.places[after].before = place.before,
            }
            if queue.first == NONE {
                self.queues.remove(&place.queue);
            }
            at = place.sibling;
        }
    }

    /// A key has changed: whoever waits for it may be served once the command has ended.
    pub fn signal(&mut self, db: usize, key: &[u8]) {
        if self.queues.is_empty() {
            return;
        }
        let queue_key = (db, Box::from(key));
        if let Some(queue) = self.queues.get_mut(&queue_key)
            && !queue.is_ready
        {
            queue.is_ready = true;
            self.ready.push_back(queue_key);
        }
    }

    /// The key that has been ready for longest.
    pub fn next_ready(&mut self) -> Option<(usize, Box<[u8]>)> {
        let key = self.ready.pop_front()?;
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.is_ready = false;
        }
        Some(key)
    }

    /// The first waiter of a key, or the one behind `after`, with what it waits on.
    pub fn next(&self, db: usize, key: &[u8], after: Option<u32>) -> Option<(u32, ClientId, On)> {
        let index = match after {
            Some(index) => self.places[index].after,
            None => self.queues.get(&(db, Box::from(key)))?.first,
        };
        self.at(index)
    }

    /// Who waits at a place.
    pub fn at(&self, index: u32) -> Option<(u32, ClientId, On)> {
        let place = self.places.get(index)?;
        Some((index, place.client, place.on))
    }

    /// The place of the last waiter of a key: those who come later were not there when it became
    /// ready.
    pub fn last(&self, db: usize, key: &[u8]) -> Option<u32> {
        self.queues.get(&(db, Box::from(key))).map(|queue| queue.last)
    }

    pub fn contains(&self, client: ClientId) -> bool {
        self.clients.contains_key(&client)
    }

    /// Keys of a database that somebody waits for.
    pub fn keys_of(&self, db: usize) -> Vec<Box<[u8]>> {
        let here = self.queues.keys().filter(|(queue_db, _)| *queue_db == db);
        here.map(|(_, key)| key.clone()).collect()
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

    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(waiters: &Waiters, key: &[u8]) -> Vec<u64> {
        let (mut found, mut after) = (Vec::new(), None);
        while let Some((index, client, _)) = waiters.next(0, key, after) {
            found.push(client.0);
            after = Some(index);
        }
        found
    }

    #[test]
    fn waiters_keep_their_order() {
        let mut waiters = Waiters::default();
        let keys = |names: &[&str]| -> Vec<Box<[u8]>> {
            names.iter().map(|name| name.as_bytes().into()).collect()
        };
        waiters.join(ClientId(1), On::List, 0, &keys(&["a", "b", "a"]));
        waiters.join(ClientId(2), On::List, 0, &keys(&["b"]));
        waiters.join(ClientId(3), On::List, 0, &keys(&["b", "a"]));
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
