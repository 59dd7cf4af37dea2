//! What has happened to the jobs that pages show, as the library's own stream of events tells it. A
//! stream is read whole once, and from then on from where that came to.

use super::FORGOTTEN_US;
use super::page::text;
use crate::data::stream::StreamId;
use crate::engine::Engine;
use crate::queues::Queue;

/// Jobs whose course is kept: the one that was shown longest ago makes room.
const COURSES_MAX: usize = 16;

/// Characters of a reason that are kept.
const REASON_MAX: usize = 200;

/// A step of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    pub at_ms: i64,
    pub what: &'static str,
    pub prev: String,
    pub due_ms: Option<i64>,
    pub reason: String,
}

/// All steps of a job so far.
struct JobCourse {
    db: usize,
    base: Box<[u8]>,
    id: Vec<u8>,
    steps: Vec<Happened>,
    /// How far the stream was read.
    last: StreamId,
    shown_us: u64,
}

#[derive(Default)]
pub struct Courses(Vec<JobCourse>);

impl Courses {
    /// A page shows a job: its course is brought up to now.
    pub fn follow(&mut self, engine: &Engine, queue: &Queue, id: &[u8]) {
        let now_us = engine.keyspace.now.mono_us;
        let is_it = |it: &JobCourse| it.db == queue.db && it.base == queue.base && it.id == id;
        let at = self.0.iter().position(is_it).unwrap_or_else(|| {
            if self.0.len() == COURSES_MAX {
                let oldest = self.0.iter().enumerate().min_by_key(|(_, it)| it.shown_us);
                let oldest = oldest.map_or(0, |(at, _)| at);
                self.0.swap_remove(oldest);
            }
            self.0.push(JobCourse {
                db: queue.db,
                base: queue.base.clone(),
                id: id.to_vec(),
                steps: Vec::new(),
                last: StreamId::MIN,
                shown_us: now_us,
            });
            self.0.len() - 1
        });
        self.0[at].shown_us = now_us;
        self.0[at].read_on(engine, queue);
    }

    /// The steps of a job that is followed; none of others.
    pub fn of(&self, queue: &Queue, id: &[u8]) -> &[Happened] {
        let is_it = |it: &&JobCourse| it.db == queue.db && it.base == queue.base && it.id == id;
        self.0.iter().find(is_it).map_or(&[], |it| &it.steps)
    }

    /// Forgets what no page shows any more.
    pub fn forget(&mut self, now_us: u64) {
        self.0.retain(|it| now_us - it.shown_us < FORGOTTEN_US);
    }
}

impl JobCourse {
    fn read_on(&mut self, engine: &Engine, queue: &Queue) {
        let from = self.last;
        self.last = queue.steps_since(engine, from, &mut |step| {
            if step.id == self.id {
                self.steps.push(Happened {
                    at_ms: step.at_ms,
                    what: step.what,
                    prev: text::lossy(step.prev),
                    due_ms: step.due_ms,
                    reason: text::excerpt(step.reason, REASON_MAX),
                });
            }
        });
        // The stream was made anew: what was read was of another.
        if self.last < from {
            self.steps.clear();
            self.last = StreamId::MIN;
            self.read_on(engine, queue);
        }
    }
}
