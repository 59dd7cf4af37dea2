//! `maxmemory`: which keys go when memory is short.
//!
//! Room in the tables of keys that nothing has taken yet does not count: they grow by many keys at
//! once, and what must go for that would be many keys as well, or, where too few may go, every
//! write would be refused, although evicting has left room.

use super::Engine;
use super::alarms::Alarm;
use super::keyspace::{Db, KeyValue};
use super::latency::LatencyEvent;
use super::time::Now;
use crate::config::Policy;

/// At most so many keys go at once, so that lowering `maxmemory` cannot stop the world. The others
/// go as time goes by.
const EVICTIONS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Eviction {
    /// When the request under way was admitted, more was in use than `maxmemory`, and nothing was
    /// left to evict.
    is_memory_short: bool,
    /// More keys are to go as time goes by.
    goes_on: bool,
}

impl Engine {
    /// Makes room for a request that is about to run; what is found here holds for all that it
    /// runs.
    #[inline]
    pub(super) fn look_for_memory(&mut self) {
        self.eviction.is_memory_short = self.config.maxmemory > 0 && !self.evict_to_fit();
    }

    /// Whether there was none when the request under way was admitted.
    #[inline]
    pub(super) fn is_memory_short(&self) -> bool {
        self.eviction.is_memory_short
    }

    /// Makes room up to `maxmemory` as the policy allows, or goes on later. False if memory is
    /// short and there is nothing to evict.
    #[inline]
    fn evict_to_fit(&mut self) -> bool {
        self.facts.allocated_bytes() <= self.config.maxmemory
            || self.timed(LatencyEvent::EvictionCycle, Self::evict)
    }

    #[cold]
    fn evict(&mut self) -> bool {
        // Who follows another does what that one tells.
        if self.pauses.all.is_some() || self.replication.is_following() {
            return true;
        }
        for _ in 0..EVICTIONS_MAX {
            let spare = self.keyspace.spare_bytes() as u64;
            if self.facts.allocated_bytes().saturating_sub(spare) <= self.config.maxmemory {
                return true;
            }
            if self.keyspace.has_doomed() {
                self.keyspace.free_some();
                continue;
            }
            let Some((db, key)) = self.choose_victim() else { return false };
            if self.keyspace.evict(db, &key) {
                self.stats.evicted += 1;
                self.tell_notices();
            } else {
                // Its time had come anyway.
                self.end_unit();
            }
        }
        self.evict_later();
        true
    }

    /// Lets keys go although nobody may send a command.
    pub(super) fn evict_later(&mut self) {
        if !std::mem::replace(&mut self.eviction.goes_on, true) {
            self.alarms.set_soon(self.keyspace.now, Alarm::Eviction);
        }
    }

    /// Goes on where a command has left off.
    pub(super) fn go_on_evicting(&mut self) {
        self.eviction.goes_on = false;
        if self.config.maxmemory > 0 {
            self.evict_to_fit();
        }
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
        let mut worst: Option<(u64, usize, &KeyValue)> = None;
        let mut look = |db, entry, random| {
            let badness = badness(policy, keyspace.now, keyspace.db(db), entry, random);
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
fn badness(policy: Policy, now: Now, db: &Db, entry: &KeyValue, random: u64) -> u64 {
    let idle_s = u64::from(entry.usage.idle_s(now));
    match policy {
        Policy::AllKeysLru | Policy::VolatileLru => idle_s,
        // A rarely used key goes first; among equals the one that rested longest.
        Policy::AllKeysLfu | Policy::VolatileLfu => {
            u64::from(u8::MAX - entry.usage.frequency(now)) << 32 | idle_s
        }
        Policy::VolatileTtl => u64::MAX - db.expires_ms(entry).unwrap_or(0) as u64,
        Policy::AllKeysRandom | Policy::VolatileRandom => random,
        Policy::NoEviction => 0,
    }
}
