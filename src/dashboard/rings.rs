//! The last minute of a queue, second by second: how many jobs have ended, how long they waited for
//! a worker, and how late those that were delayed came.
//!
//! It is read from the stream of events that the library itself writes, so there is a minute of
//! history the moment somebody looks.

use crate::data::stream::StreamId;
use crate::engine::Engine;
use crate::queues::{JobStep, Queue};
use std::collections::HashMap;

/// How far back is looked.
pub const SECONDS: usize = 60;

/// Jobs whose last event is remembered: those beyond are not counted among the waits.
const PENDING_MAX: usize = 10_000;

/// Four buckets for each doubling of a span in milliseconds.
const BUCKETS: usize = 96;

/// How many spans of which length there were.
#[derive(Clone)]
pub struct Spans([u32; BUCKETS]);

impl Default for Spans {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Spans {
    fn bucket(ms: u64) -> usize {
        if ms < 4 {
            return ms as usize;
        }
        let octave = 63 - ms.leading_zeros() as usize;
        let quarter = (ms >> (octave - 2)) as usize & 3;
        (octave * 4 + quarter - 4).min(BUCKETS - 1)
    }

    /// The longest span of a bucket.
    fn longest(bucket: usize) -> u64 {
        if bucket < 4 {
            return bucket as u64;
        }
        let (octave, quarter) = ((bucket + 4) / 4, (bucket + 4) % 4);
        ((5 + quarter as u64) << (octave - 2)) - 1
    }

    fn count(&mut self, ms: u64) {
        self.0[Self::bucket(ms)] += 1;
    }

    /// Takes in others.
    pub fn join(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own += other);
    }

    /// The span that this share of all are no longer than, to a quarter of its octave; None if
    /// there are none.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let all: u32 = self.0.iter().sum();
        let wanted = (f64::from(all) * share).ceil().max(1.0) as u32;
        let mut seen = 0;
        let at = self.0.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Self::longest(at))
    }
}

/// What has happened within one second.
#[derive(Clone, Default)]
struct Second {
    /// Since 1970.
    at: i64,
    completed: u32,
    failed: u32,
    waits: Spans,
    lates: Spans,
}

/// Since when a job waits.
struct Pending {
    since_ms: i64,
    due_ms: Option<i64>,
}

/// One queue's last minute.
#[derive(Default)]
pub struct Ring {
    /// In order of time; those in which nothing has happened are left out.
    seconds: Vec<Second>,
    pending: HashMap<Vec<u8>, Pending>,
    read_up_to: Option<StreamId>,
}

impl Ring {
    /// Reads on in the queue's events.
    pub fn read(&mut self, engine: &Engine, queue: &Queue) {
        let now_ms = engine.keyspace.now.wall_ms;
        let from_ms = (now_ms - SECONDS as i64 * 1000).max(0) as u64;
        let since = self.read_up_to.unwrap_or(StreamId { ms: from_ms, seq: 0 });
        self.read_up_to = Some(queue.steps_since(engine, since, &mut |step| self.note(&step)));
        let first = now_ms / 1000 - SECONDS as i64;
        self.seconds.retain(|second| second.at > first);
        if self.pending.len() > PENDING_MAX {
            self.pending.clear();
        }
    }

    fn note(&mut self, step: &JobStep) {
        match step.what {
            "added" | "waiting" => {
                let before = self.pending.get(step.id).and_then(|pending| pending.due_ms);
                // A job that was delayed waits from when it was due.
                if let Some(due_ms) = before.filter(|_| step.what == "waiting") {
                    self.second(step.at_ms).lates.count((step.at_ms - due_ms).max(0) as u64);
                    self.remember(step, due_ms, None);
                } else {
                    self.remember(step, step.at_ms, before);
                }
            }
            "delayed" => self.remember(step, step.due_ms.unwrap_or(step.at_ms), step.due_ms),
            "active" => {
                if let Some(pending) = self.pending.remove(step.id) {
                    let ms = (step.at_ms - pending.since_ms).max(0) as u64;
                    self.second(step.at_ms).waits.count(ms);
                }
            }
            "completed" => self.second(step.at_ms).completed += 1,
            "failed" => self.second(step.at_ms).failed += 1,
            _ => {}
        }
    }

    fn remember(&mut self, step: &JobStep, since_ms: i64, due_ms: Option<i64>) {
        self.pending.insert(step.id.to_vec(), Pending { since_ms, due_ms });
    }

    fn second(&mut self, at_ms: i64) -> &mut Second {
        let at = at_ms / 1000;
        if self.seconds.last().is_none_or(|last| last.at < at) {
            self.seconds.push(Second { at, ..Second::default() });
        }
        self.seconds.last_mut().expect("one is there")
    }

    /// The minute that ends now.
    pub fn minute(&self, now_ms: i64) -> Minute {
        let first = now_ms / 1000 - SECONDS as i64 + 1;
        let mut minute = Minute::default();
        for second in self.seconds.iter().filter(|second| second.at >= first) {
            minute.waits.join(&second.waits);
            minute.lates.join(&second.lates);
            if let Some(place) = minute.ended.get_mut((second.at - first) as usize) {
                *place = (second.completed + second.failed, second.failed);
            }
        }
        minute
    }
}

/// What has happened within a minute.
#[derive(Clone)]
pub struct Minute {
    /// Jobs that have ended in each second, and how many of them badly, oldest first.
    pub ended: Vec<(u32, u32)>,
    /// How long jobs have waited for a worker.
    pub waits: Spans,
    /// How late jobs that were delayed could be taken.
    pub lates: Spans,
}

impl Default for Minute {
    fn default() -> Self {
        let [waits, lates] = Default::default();
        Self { ended: vec![(0, 0); SECONDS], waits, lates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_a_quarter_of_an_octave() {
        for ms in (0..5_000).chain([65_535, 65_536, 1 << 20]) {
            let longest = Spans::longest(Spans::bucket(ms));
            assert!(longest >= ms && longest <= ms + ms / 4, "{ms}: {longest}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut spans = Spans::default();
        assert_eq!(spans.quantile(0.5), None);
        (1..=100).for_each(|ms| spans.count(ms));
        assert_eq!(spans.quantile(0.5), Some(55));
        assert_eq!(spans.quantile(1.0), Some(111));
    }
}
