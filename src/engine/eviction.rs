//! `maxmemory`: which keys go when memory is short.

use super::Engine;
use super::keyspace::{Entry, Keyspace};
use crate::config::{EventClasses, Policy};

/// At most so many keys go before one command, so that lowering `maxmemory` cannot stop the world.
const EVICTIONS_MAX: usize = 64;

impl Engine {
    /// Makes room up to `maxmemory` as the policy allows. False if memory stays short.
    pub(super) fn evict_to_fit(&mut self) -> bool {
        for _ in 0..EVICTIONS_MAX {
            if self.facts.allocated_bytes() <= self.config.maxmemory {
                return true;
            }
            if self.keyspace.has_doomed() {
                self.keyspace.free_some();
                continue;
            }
            let Some((db, key)) = self.choose_victim() else { return false };
            self.keyspace.remove(db, &key);
            self.keyspace.ledger.journal.append(db, &[b"DEL", &key]);
            self.keyspace.changed(db, &key, EventClasses::EVICTED, "evicted");
            self.stats.evicted += 1;
        }
        self.facts.allocated_bytes() <= self.config.maxmemory
    }

    /// The worst of a few keys picked at random in each database.
    fn choose_victim(&mut self) -> Option<(usize, Box<[u8]>)> {
        let policy = self.config.maxmemory_policy;
        if policy == Policy::NoEviction {
            return None;
        }
        let is_volatile = matches!(
            policy,
            Policy::VolatileLru
                | Policy::VolatileLfu
                | Policy::VolatileRandom
                | Policy::VolatileTtl
        );
        let mut rng = self.keyspace.rng.clone();
        let mut worst: Option<(u64, usize, Box<[u8]>)> = None;
        for db in 0..self.keyspace.databases() {
            let inner = self.keyspace.db(db);
            for _ in 0..self.config.maxmemory_samples {
                let Some(entry) = inner.random(&mut rng) else { break };
                if is_volatile && self.keyspace.expires_ms_of(entry).is_none() {
                    continue;
                }
                let badness = badness(policy, &self.keyspace, entry, rng.next_u64());
                if worst.as_ref().is_none_or(|(most, ..)| badness > *most) {
                    worst = Some((badness, db, Box::from(&*entry.key.text())));
                }
            }
        }
        self.keyspace.rng = rng;
        worst.map(|(_, db, key)| (db, key))
    }
}

/// How much a policy would like to see a key go.
fn badness(policy: Policy, keyspace: &Keyspace, entry: &Entry, random: u64) -> u64 {
    let idle_s = u64::from(entry.usage.idle_s(keyspace.now));
    match policy {
        Policy::AllKeysLru | Policy::VolatileLru => idle_s,
        // A rarely used key goes first; among equals the one that rested longest.
        Policy::AllKeysLfu | Policy::VolatileLfu => {
            u64::from(u8::MAX - entry.usage.frequency(keyspace.now)) << 32 | idle_s
        }
        Policy::VolatileTtl => u64::MAX - keyspace.expires_ms_of(entry).unwrap_or(0) as u64,
        Policy::AllKeysRandom | Policy::VolatileRandom => random,
        Policy::NoEviction => 0,
    }
}
