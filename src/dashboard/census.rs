//! How many keys of a database begin alike, and what they weigh: those below a prefix, by what
//! stands up to the next colon.

use super::key_walk::Gather;
use crate::data::Value;
use crate::engine::keyspace::KeyValue;
use std::collections::BTreeMap;

/// As many beginnings are told apart. Keys with others are counted together.
const BRANCHES_MAX: usize = 10_000;

/// Of a collection with more elements so many are weighed, and stand for all.
const WEIGHED_MAX: usize = 4_096;
const SAMPLE: usize = 64;
/// What an element takes beside its bytes, about.
const BESIDE: usize = 32;

/// It is counted anew when so much time has passed since.
const REST_US: u64 = 5_000_000;

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

/// A prefix is wanted.
impl Gather for CountedKeys {
    type Wanted = Vec<u8>;
    const REST_US: u64 = REST_US;

    fn take_in(&mut self, prefix: &Vec<u8>, entry: &KeyValue) {
        self.count(prefix, entry);
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
