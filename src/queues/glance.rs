//! A look at a database that leaves no trace: nothing is thawed, touched, counted or found to be
//! over by it, so that whoever only watches changes nothing.

use crate::data::{Hash, List, Set, Str, Stream, Typed, Value, Zset};
use crate::engine::Engine;
use crate::engine::client::Client;
use crate::util::zstd::Zstd;
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

/// One database of a server.
#[derive(Clone, Copy)]
pub struct Glance<'e> {
    pub engine: &'e Engine,
    pub db: usize,
    /// What makes values whole that rest. Without it each look makes its own, which costs more than
    /// the look.
    zstd: Option<&'e RefCell<Zstd>>,
}

impl<'e> Glance<'e> {
    pub fn new(engine: &'e Engine, db: usize) -> Self {
        Self { engine, db, zstd: None }
    }

    /// For who looks at many values, one after another.
    pub fn with_zstd(self, zstd: &'e RefCell<Zstd>) -> Self {
        Self { zstd: Some(zstd), ..self }
    }

    /// The wall clock.
    pub fn now_ms(self) -> i64 {
        self.engine.keyspace.now.wall_ms
    }

    fn value(self, key: &[u8]) -> Option<&'e Value> {
        self.engine.keyspace.glance(self.db, key).map(|entry| &entry.value)
    }

    fn of<T: Typed>(self, key: &[u8]) -> Option<&'e T> {
        self.value(key).and_then(T::of)
    }

    pub fn exists(self, key: &[u8]) -> bool {
        self.value(key).is_some()
    }

    /// None if there is no such key, or it holds something else; so with the others.
    pub fn list(self, key: &[u8]) -> Option<&'e List> {
        self.of(key)
    }

    /// None as for `list`.
    pub fn set(self, key: &[u8]) -> Option<&'e Set> {
        self.of(key)
    }

    /// None as for `list`.
    pub fn zset(self, key: &[u8]) -> Option<&'e Zset> {
        self.of(key)
    }

    /// None as for `list`.
    pub fn stream(self, key: &[u8]) -> Option<&'e Stream> {
        self.of(key)
    }

    /// A hash or a string, made whole for this look alone if it rests.
    fn whole<T: Typed + Clone>(self, key: &[u8]) -> Option<Cow<'e, T>> {
        self.whole_of(self.value(key)?)
    }

    /// The same of a value that was found already.
    pub fn whole_of<T: Typed + Clone>(self, value: &'e Value) -> Option<Cow<'e, T>> {
        match value {
            Value::Cold(cold) => {
                let thawed = match self.zstd {
                    Some(zstd) => cold.thaw(&mut zstd.borrow_mut()),
                    None => cold.thaw(&mut Zstd::default()),
                };
                T::of(&thawed).cloned().map(Cow::Owned)
            }
            value => T::of(value).map(Cow::Borrowed),
        }
    }

    /// A string.
    pub fn text(self, key: &[u8]) -> Option<Vec<u8>> {
        Some(self.whole::<Str>(key)?.bytes().to_vec())
    }

    /// None as for `list`.
    pub fn hash(self, key: &[u8]) -> Option<Cow<'e, Hash>> {
        self.whole(key)
    }

    /// A field of a hash; None if there is none.
    pub fn field(self, key: &[u8], field: &str) -> Option<Vec<u8>> {
        Some(self.hash(key)?.get(field.as_bytes())?.to_vec())
    }

    /// Elements, members or fields; 0 if there is no such key, or a string.
    pub fn len(self, key: &[u8]) -> usize {
        match self.value(key) {
            None | Some(Value::Str(_)) => 0,
            Some(Value::Cold(cold)) if cold.is_str() => 0,
            Some(value) => value.size(),
        }
    }

    /// Some of what a list, a set or a sorted set holds, in its own order.
    pub fn members(self, key: &[u8], range: Range<usize>) -> Vec<Vec<u8>> {
        let (start, count) = (range.start, range.len());
        match self.value(key) {
            Some(Value::List(list)) if start < list.len() => {
                list.iter_from(start).take(count).map(|item| item.to_vec()).collect()
            }
            Some(Value::Set(set)) => {
                set.iter().skip(start).take(count).map(|item| item.to_vec()).collect()
            }
            Some(Value::Zset(zset)) => {
                let ranks = start..range.end.min(zset.len());
                ranks.map(|rank| zset.at(rank).0.to_vec()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether a set or a sorted set has this member.
    pub fn has_member(self, key: &[u8], member: &[u8]) -> bool {
        self.zset(key).is_some_and(|zset| zset.score(member).is_some())
            || self.set(key).is_some_and(|set| set.contains(member))
    }

    /// Whether a list has such an element: it is walked.
    pub fn has_element(self, key: &[u8], is_it: &dyn Fn(&[u8]) -> bool) -> bool {
        self.list(key).is_some_and(|list| list.iter().any(|item| is_it(&item)))
    }

    /// The first members of a sorted set with their scores, at most so many.
    pub fn scored(self, key: &[u8], most: usize) -> Vec<(Vec<u8>, f64)> {
        let Some(zset) = self.zset(key) else { return Vec::new() };
        let all = (0..zset.len().min(most)).map(|rank| zset.at(rank));
        all.map(|(member, score)| (member.to_vec(), score)).collect()
    }

    /// The lowest score of a sorted set.
    pub fn lowest(self, key: &[u8]) -> Option<f64> {
        self.zset(key).map(|zset| zset.at(0).1)
    }

    /// The wall clock's last millisecond at which a key still exists, if it has a TTL.
    pub fn expires_ms(self, key: &[u8]) -> Option<i64> {
        let entry = self.engine.keyspace.glance(self.db, key)?;
        self.engine.keyspace.db(self.db).expires_ms(entry)
    }

    /// Clients that wait for this key.
    pub fn parked_on(self, key: &[u8]) -> impl Iterator<Item = &'e Client> {
        let waiters = &self.engine.keyspace.aftermath.waiters;
        let (db, key) = (self.db, key.to_vec());
        let first = waiters.next(db, &key, None);
        let all = std::iter::successors(first, move |place| waiters.next(db, &key, Some(place.0)));
        all.filter_map(|(_, client, _)| self.engine.clients.get(client))
    }
}
