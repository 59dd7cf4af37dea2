//! Whether queues are idle: nothing of them runs or could begin, and each worker waits for the next
//! job. The queues of parents and children of a queue's jobs belong to it.
//!
//! Two things do not show at once. Whoever is only now connecting as a worker is not missing yet.
//! And a limit may still allow the job that a worker is about to take: how many it allows, only the
//! worker knows; or the worker has yet to read that it is to sleep until the limit ends, which it
//! would do too late if the clock moved before. Both are settled when nothing has changed for a
//! while.

use super::history::History;
use super::holders::Holders;
use crate::engine::Engine;
use crate::queues::{Look, Queue};
use std::collections::{BTreeMap, BTreeSet};

/// How long it is waited for the first worker of jobs that wait.
const WORKER_GRACE_US: u64 = 250_000;

/// How long a queue must stay as it is until its workers are known to heed its limit, or to have
/// looked for jobs that were left behind.
const LIMIT_GRACE_US: u64 = 100_000;

/// A queue, by database and base.
type Place = (usize, Box<[u8]>);

fn place(queue: &Queue) -> Place {
    (queue.db, queue.base.clone())
}

/// How a queue stands.
pub struct Standing {
    pub queue: Queue,
    pub look: Look,
    pub is_busy: bool,
}

impl Standing {
    /// Jobs wait or are due, and nobody will come for them.
    fn is_forsaken(&self) -> bool {
        let Look { active, workers, limited_until_ms, .. } = self.look;
        self.is_busy && active == 0 && workers.count == 0 && limited_until_ms.is_none()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    Idle,
    /// Something goes on. Look again at this moment of the monotonic clock, even if nothing has
    /// happened.
    Busy(Option<u64>),
    /// All that is left are jobs that nobody will take.
    Forsaken,
}

/// The queues that somebody waits for, and what was seen of them.
#[derive(Default)]
pub struct Lookout {
    /// None: all queues.
    names: Vec<Vec<u8>>,
    /// How far ahead a delayed job counts as due.
    pub horizon_ms: u64,
    related: BTreeSet<Place>,
    /// Since when queues have had jobs and nobody to take them.
    forsaken: BTreeMap<Place, u64>,
    /// Queues that may not have come to rest, as they were seen first, and when that was.
    settling: BTreeMap<Place, (Look, u64)>,
}

impl Lookout {
    pub fn new(names: Vec<Vec<u8>>, horizon_ms: u64) -> Self {
        Self { names, horizon_ms, ..Self::default() }
    }

    /// With the holders of locks, a job whose worker has gone keeps nobody: it is time that it
    /// needs to be found.
    pub fn look(
        &mut self,
        history: &History,
        holders: Option<&Holders>,
        engine: &Engine,
    ) -> (Outlook, Vec<Standing>) {
        let now = engine.keyspace.now;
        let queues = history.queues();
        self.relate(&queues, engine);
        let until_ms = now.wall_ms.saturating_add_unsigned(self.horizon_ms);
        let mut next_us = None;
        let mut standings = Vec::new();
        for queue in queues {
            if !self.concerns(&queue) {
                continue;
            }
            let look = queue.look(engine);
            let is_busy = look.is_busy(until_ms);
            let mut standing = Standing { queue, look, is_busy };
            let Standing { queue, look, .. } = &standing;
            let is_limited = !is_busy && look.limited_until_ms.is_some() && look.may_go_on();
            let is_left = || holders.is_some_and(|it| it.are_gone(engine, &standing, until_ms));
            if is_limited || is_left() {
                let settled_us = self.settled_us(queue, look, now.mono_us);
                standing.is_busy = settled_us > now.mono_us;
                let again_us = standing.is_busy.then_some(settled_us);
                next_us = next_us.into_iter().chain(again_us).min();
            }
            standings.push(standing);
        }
        self.note_forsaken(&standings, now.mono_us);
        let busy: Vec<&Standing> = standings.iter().filter(|it| it.is_busy).collect();
        if busy.is_empty() {
            return (Outlook::Idle, standings);
        }
        if !busy.iter().all(|standing| standing.is_forsaken()) {
            return (Outlook::Busy(next_us), standings);
        }
        let since_us = self.forsaken.values().max().copied().unwrap_or(now.mono_us);
        let given_up_us = since_us + WORKER_GRACE_US;
        let is_over = given_up_us <= now.mono_us;
        (if is_over { Outlook::Forsaken } else { Outlook::Busy(Some(given_up_us)) }, standings)
    }

    /// The clock was moved: what settles begins anew. A queue that nobody works for is still that.
    pub fn rest(&mut self) {
        self.settling.clear();
    }

    fn note_forsaken(&mut self, standings: &[Standing], now_us: u64) {
        let now: BTreeSet<Place> =
            standings.iter().filter(|it| it.is_forsaken()).map(|it| place(&it.queue)).collect();
        self.forsaken.retain(|place, _| now.contains(place));
        for place in now {
            self.forsaken.entry(place).or_insert(now_us);
        }
    }

    /// From when on a queue that stays as it is counts as idle.
    fn settled_us(&mut self, queue: &Queue, look: &Look, now_us: u64) -> u64 {
        let seen = self.settling.entry(place(queue)).or_default();
        if seen.0 != *look {
            *seen = (look.clone(), now_us);
        }
        seen.1 + LIMIT_GRACE_US
    }

    fn concerns(&self, queue: &Queue) -> bool {
        self.names.is_empty()
            || self.names.iter().any(|name| queue.is_called(name))
            || self.related.contains(&place(queue))
    }

    /// Adds the queues of parents and children, which stay while it is waited.
    fn relate(&mut self, queues: &[Queue], engine: &Engine) {
        if self.names.is_empty() {
            return;
        }
        let named: Vec<Place> =
            queues.iter().filter(|queue| self.concerns(queue)).map(place).collect();
        self.related.extend(named);
        let of_queue = |queue: &Queue| {
            let parent = place(queue);
            let children = queue.children(engine).into_iter();
            let edges = children.map(|child| [parent.clone(), (parent.0, child.into())]);
            edges.collect::<Vec<_>>()
        };
        let edges: Vec<[Place; 2]> = queues.iter().flat_map(of_queue).collect();
        let mut count = 0;
        while self.related.len() > count {
            count = self.related.len();
            for pair in &edges {
                if pair.iter().any(|place| self.related.contains(place)) {
                    self.related.extend(pair.iter().cloned());
                }
            }
        }
    }
}
