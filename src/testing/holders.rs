//! Who holds the locks of jobs: the connection that has set each last. A lock whose connection has
//! gone is renewed by nobody: it ages when time is moved, and its end is a moment to go to. So a
//! job whose worker was killed is found stalled on the way, as it would be after a real while.
//!
//! A worker that lives may have lost its connection and not renewed its locks since. It is known by
//! a connection of its queue that does not wait for a job; while there is one, no lock counts as
//! left behind. What is not seen is such a worker that takes several jobs at once.

use super::lookout::Standing;
use crate::engine::Engine;
use crate::engine::client::ClientId;
use crate::engine::fixture::Heard;
use crate::queues::{self, Glance, Look};
use std::collections::BTreeMap;

/// When so many are remembered, those that have gone are forgotten.
const LOCKS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Holders {
    /// Whose request is being done.
    asker: Option<ClientId>,
    /// By database and key of the lock.
    of: BTreeMap<(usize, Box<[u8]>), ClientId>,
}

impl Holders {
    pub fn note_asker(&mut self, id: ClientId) {
        self.asker = Some(id);
    }

    pub fn hear(&mut self, engine: &Engine, heard: &[Heard]) {
        let Some(asker) = self.asker else { return };
        for it in heard {
            match it {
                Heard::Flushed => self.of.clear(),
                // One that has run out is remembered: nobody has let go of it.
                Heard::Changed { db, key }
                    if queues::job_of_lock(key).is_some()
                        && Glance::new(engine, *db).exists(key) =>
                {
                    self.of.insert((*db, key.clone()), asker);
                }
                _ => {}
            }
        }
        if self.of.len() > LOCKS_MAX {
            self.of.retain(|(db, key), _| Glance::new(engine, *db).exists(key));
        }
    }

    fn is_left(&self, engine: &Engine, db: usize, lock: &[u8]) -> bool {
        let Some((base, _)) = queues::job_of_lock(lock) else { return false };
        let holder = self.of.get(&(db, lock.into()));
        holder.is_some_and(|id| engine.clients.get(*id).is_none())
            && queues::all_workers_wait(engine, db, base)
    }

    /// Whether all that a queue still has to do are jobs whose workers have gone.
    pub fn are_gone(&self, engine: &Engine, standing: &Standing, until_ms: i64) -> bool {
        let Standing { queue, look, .. } = standing;
        let locks = queue.locks(engine);
        look.active > 0
            && locks.len() == look.active
            && !Look { active: 0, ..look.clone() }.is_busy(until_ms)
            && locks.iter().all(|lock| self.is_left(engine, queue.db, lock))
    }

    /// Whether a key that workers renew ages nevertheless: a lock that was left behind, and what
    /// keeps others from looking for it.
    pub fn lets_age(&self, engine: &Engine, db: usize, key: &[u8]) -> bool {
        let Some(base) = queues::base_of_stall_check(key) else {
            return self.is_left(engine, db, key);
        };
        let mut locks = self.of.keys().filter(|(of, lock)| {
            *of == db && queues::job_of_lock(lock).is_some_and(|(of, _)| of == base)
        });
        locks.any(|(_, lock)| self.is_left(engine, db, lock))
    }

    /// When something ends next that keeps the jobs of a queue from being found.
    pub fn due_ms(&self, engine: &Engine, standing: &Standing) -> Option<i64> {
        let queue = &standing.queue;
        let view = Glance::new(engine, queue.db);
        let keys = queue.locks(engine).into_iter().chain(queue.stall_check());
        // A key still exists in the last millisecond of its life.
        keys.filter_map(|key| view.expires_ms(&key)).map(|last| last + 1).min()
    }
}
