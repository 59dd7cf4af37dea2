//! How many keys of a database begin alike, and what they weigh: those below a prefix, by what
//! stands up to the next colon. Keys are counted in slices while a page shows it; what was counted
//! stays as it is until it is counted anew.

use super::FORGOTTEN_US;
use crate::data::Value;
use crate::engine::Engine;
use crate::engine::keyspace::KeyValue;
use std::collections::BTreeMap;

/// As many beginnings are told apart. Keys with others are counted together.
const BRANCHES_MAX: usize = 10_000;

/// Keys between two looks at the clock.
const KEYS_A_LOOK: usize = 64;

/// Of a collection with more elements so many are weighed, and stand for all.
const WEIGHED_MAX: usize = 4_096;
const SAMPLE: usize = 64;
/// What an element takes beside its bytes, about.
const BESIDE: usize = 32;

/// It is counted anew when so much time has passed since, and so many times as long as it took.
const REST_US: u64 = 5_000_000;
const SHARE: u64 = 100;

/// Keys, and the bytes that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub keys: usize,
    pub bytes: usize,
}

impl Weight {
    fn add(&mut self, bytes: usize) {
        self.keys += 1;
        self.bytes += bytes;
    }
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct CountedKeys {
    /// All that begin with the prefix.
    pub all: Weight,
    /// By what stands behind the prefix up to a colon, with that. Keys without one are in none.
    pub branches: BTreeMap<Vec<u8>, Weight>,
    /// Those of beginnings that are too many.
    pub others: Weight,
}

/// What is counted: a database and a prefix.
type Place = (usize, Vec<u8>);

#[derive(Default)]
pub struct Census {
    place: Place,
    /// The last that was counted whole.
    counted: Option<CountedKeys>,
    /// What is being counted, where that has come to, how many keys that were and how long it took.
    counting: Option<(CountedKeys, u64, usize, u64)>,
    asked_us: u64,
    /// When it may be counted anew.
    rests_until_us: u64,
}

impl Census {
    /// A page shows what begins so.
    pub fn ask(&mut self, engine: &Engine, db: usize, prefix: &[u8]) {
        let now_us = engine.keyspace.now.mono_us;
        let is_other = self.place.0 != db || self.place.1 != prefix;
        if is_other {
            *self = Self { place: (db, prefix.to_vec()), ..Self::default() };
        }
        let is_due = self.counting.is_none() && now_us >= self.rests_until_us;
        if is_due {
            self.counting = Some((CountedKeys::default(), 0, 0, 0));
        }
        self.asked_us = now_us;
    }

    /// What was counted of a place, or so far. And how far that is, in percent.
    pub fn of(&self, engine: &Engine, db: usize, prefix: &[u8]) -> Option<(&CountedKeys, usize)> {
        if self.place.0 != db || self.place.1 != prefix {
            return None;
        }
        if let Some(counted) = &self.counted {
            return Some((counted, 100));
        }
        let (counted, _, visited, _) = self.counting.as_ref()?;
        let all = engine.keyspace.db(db).len();
        Some((counted, (visited * 100 / all.max(1)).min(99)))
    }

    pub fn has_work(&self) -> bool {
        self.counting.is_some()
    }

    /// Forgets what no page shows any more.
    pub fn forget(&mut self, now_us: u64) {
        if now_us - self.asked_us > FORGOTTEN_US {
            *self = Self::default();
        }
    }

    /// Counts on for so long.
    pub fn work(&mut self, engine: &Engine, slice_us: u64) {
        let Some((mut counted, mut cursor, mut visited, took_us)) = self.counting.take() else {
            return;
        };
        let start_us = engine.facts.stopwatch_us();
        let (db, prefix) = &self.place;
        let keys = engine.keyspace.db(*db);
        loop {
            cursor = keys.scan(cursor, KEYS_A_LOOK, &mut |entry| {
                visited += 1;
                if !engine.keyspace.is_over(*db, entry) {
                    counted.count(prefix, entry);
                }
            });
            let spent_us = engine.facts.stopwatch_us() - start_us;
            if cursor == 0 {
                let rest_us = ((took_us + spent_us) * SHARE).max(REST_US);
                self.rests_until_us = engine.keyspace.now.mono_us + rest_us;
                self.counted = Some(counted);
                return;
            }
            if spent_us > slice_us {
                self.counting = Some((counted, cursor, visited, took_us + spent_us));
                return;
            }
        }
    }
}

impl CountedKeys {
    fn count(&mut self, prefix: &[u8], entry: &KeyValue) {
        let name = entry.key.text();
        let Some(rest) = name.strip_prefix(prefix) else { return };
        let bytes = weigh(entry);
        self.all.add(bytes);
        let Some(at) = rest.iter().position(|&byte| byte == b':') else { return };
        let branch = &rest[..=at];
        let has_room = self.branches.len() < BRANCHES_MAX;
        let weight = match self.branches.get_mut(branch) {
            Some(weight) => weight,
            None if has_room => self.branches.entry(branch.to_vec()).or_default(),
            None => &mut self.others,
        };
        weight.add(bytes);
    }

    /// The branches, those that weigh most first.
    pub fn heaviest(&self) -> Vec<(&[u8], Weight)> {
        let mut all: Vec<(&[u8], Weight)> =
            self.branches.iter().map(|(name, weight)| (&**name, *weight)).collect();
        all.sort_by_key(|(_, weight)| std::cmp::Reverse((weight.bytes, weight.keys)));
        all
    }
}

/// The bytes that a key takes. Those of a large hash or set are estimated: to add them up would
/// keep everybody waiting.
fn weigh(entry: &KeyValue) -> usize {
    let count = entry.value.size();
    let of_sample = |bytes: usize| bytes * count / SAMPLE + count * BESIDE;
    match &entry.value {
        Value::Hash(hash) if count > WEIGHED_MAX => {
            let sample = hash.iter().take(SAMPLE);
            of_sample(sample.map(|(field, value)| field.len() + value.len()).sum())
        }
        Value::Set(set) if count > WEIGHED_MAX => {
            of_sample(set.iter().take(SAMPLE).map(|member| member.len()).sum())
        }
        _ => entry.size(),
    }
}
