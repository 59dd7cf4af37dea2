//! `maxmemory`: which keys go when memory is short.

use super::Engine;
use super::keyspace::{Entry, Keyspace};
use crate::config::{EventClasses, Policy};

/// At most so many keys go before one command, so that lowering `maxmemory` cannot stop the world.
const EVICTIONS_MAX: usize = 64;

impl Engine {
    /// Makes room up to `maxmemory` as the policy allows, or goes on at the next command. False if
    /// memory is short and there is nothing to evict.
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
            if !self.keyspace.remove(db, &key) {
                continue; // Its time had come anyway.
            }
            self.keyspace.ledger.journal.append(db, &[b"DEL", &key]);
            self.keyspace.changed(db, &key, EventClasses::EVICTED, "evicted");
            self.stats.evicted += 1;
        }
        true
    }

    /// The worst of a few keys picked at random: in each database, or of those that have a TTL.
    fn choose_victim(&mut self) -> Option<(usize, Box<[u8]>)> {
        let policy = self.config.maxmemory_policy;
        if policy == Policy::NoEviction {
            return None;
        }
        let mut rng = self.keyspace.rng.clone();
        let keyspace = &self.keyspace;
        let samples = 0..self.config.maxmemory_samples;
        let mut worst: Option<(u64, usize, &Entry)> = None;
        let mut look = |db, entry, random| {
            let badness = badness(policy, keyspace, entry, random);
            if worst.is_none_or(|(most, ..)| badness > most) {
                worst = Some((badness, db, entry));
            }
        };
        if policy.is_volatile() {
            for _ in samples {
                let (db, entry) = keyspace.sample_expiring(&mut rng)?;
                look(db, entry, rng.next_u64());
            }
        } else {
            for db in 0..keyspace.databases() {
                for _ in samples.clone() {
                    let Some(entry) = keyspace.db(db).random(&mut rng) else { break };
                    look(db, entry, rng.next_u64());
                }
            }
        }
        let victim = worst.map(|(_, db, entry)| (db, Box::from(&*entry.key.text())));
        self.keyspace.rng = rng;
        victim
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
