//! How a long way is gone: from one due moment to the next, and at each until all is idle. One jump
//! over three hours would run an hourly scheduler once, since queues do not make up for what they
//! have missed.

use super::history::History;
use super::holders::Holders;
use super::lookout::{Lookout, Outlook, Standing};
use super::report;
use crate::engine::Engine;
use crate::queues::{self, Queue};
use crate::util::{calendar, span};

/// The way of TORIL CLOCK ADVANCE, or of AUTO.
#[derive(Default)]
pub struct Course {
    pub target_ms: i64,
    begun_ms: i64,
    /// How long is waited for idleness at each moment.
    timeout_ms: u64,
    lookout: Lookout,
    deadline_us: u64,
    /// When sleepers are woken if they leave what is due.
    nudge_us: u64,
    /// How often it was waited until workers look for jobs whose workers have gone.
    searches: u32,
}

/// Workers look for such jobs every so often, and take at the second look what they have met at the
/// first.
const SEARCH_EVERY_MS: i64 = 30_000;
const SEARCHES_MAX: u32 = 10;

/// How long workers may leave a job that is due. One that has read its clock before a jump and has
/// begun to wait after it sleeps for as long as it would have slept before.
const NUDGE_AFTER_US: u64 = 100_000;

/// What comes next on a course.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Work is being done: look again at this moment of the monotonic clock at the latest.
    Wait(u64),
    /// The same, after workers have been told to look.
    Nudge(u64),
    /// Nothing is left to do before so many milliseconds have passed.
    Ahead(u64),
    /// The target is reached, and nothing is left to do there.
    Arrived,
    /// Work is still being done after all this time.
    Stuck(String),
}

impl Course {
    pub fn new(engine: &Engine, target_ms: i64, timeout_ms: u64) -> Self {
        let begun_ms = engine.keyspace.now.wall_ms;
        let mut course = Self { target_ms, begun_ms, timeout_ms, ..Self::default() };
        course.rest(engine);
        course
    }

    /// A moment is reached: what is due now is done first.
    pub fn rest(&mut self, engine: &Engine) {
        let now_us = engine.keyspace.now.mono_us;
        self.deadline_us = now_us.saturating_add(self.timeout_ms.saturating_mul(1000));
        self.nudge_us = now_us + NUDGE_AFTER_US;
        self.lookout.rest();
    }

    /// Until when is waited for idleness here.
    pub fn deadline_us(&self) -> u64 {
        self.deadline_us
    }

    pub fn next(&mut self, history: &History, holders: &Holders, engine: &Engine) -> Next {
        let now = engine.keyspace.now;
        let (outlook, standings) = self.lookout.look(history, Some(holders), engine);
        match outlook {
            Outlook::Busy(next_us) if now.mono_us < self.deadline_us => {
                let is_left = |it: &Standing| it.look.next_ms.is_some_and(|at| at <= now.wall_ms);
                let left = standings.iter().any(|it| it.is_busy && is_left(it));
                if left && now.mono_us >= self.nudge_us {
                    self.nudge_us = now.mono_us + NUDGE_AFTER_US;
                    return Next::Nudge(self.nudge_us.min(self.deadline_us));
                }
                let next_us = next_us.into_iter().chain(left.then_some(self.nudge_us));
                Next::Wait(next_us.fold(self.deadline_us, u64::min))
            }
            Outlook::Busy(_) => Next::Stuck(self.complaint(&standings, engine)),
            // Who has no workers yet may have some at the target.
            Outlook::Idle | Outlook::Forsaken if now.wall_ms >= self.target_ms => Next::Arrived,
            Outlook::Idle | Outlook::Forsaken => {
                let served = standings.into_iter().filter(|standing| !standing.is_busy);
                let served: Vec<Standing> = served.collect();
                let left_ms = self.search_ms(&served, holders, engine);
                let queues: Vec<Queue> = served.into_iter().map(|it| it.queue).collect();
                let due_ms = queues::next_due_ms(engine, &queues).into_iter().chain(left_ms);
                let due_ms = due_ms.filter(|&at| at > now.wall_ms);
                let until_ms = due_ms.fold(self.target_ms, i64::min);
                Next::Ahead((until_ms - now.wall_ms) as u64)
            }
        }
    }

    /// When jobs may be found whose workers have gone: those that an idle queue is at. None if
    /// there are none, or nobody has found them.
    fn search_ms(&mut self, idle: &[Standing], holders: &Holders, engine: &Engine) -> Option<i64> {
        let now_ms = engine.keyspace.now.wall_ms;
        let left = || idle.iter().filter(|standing| standing.look.active > 0);
        let ends_ms = left().filter_map(|standing| holders.due_ms(engine, standing));
        let is_searched = left().any(|standing| standing.look.workers.count > 0);
        let end_ms = ends_ms.filter(|&at| at > now_ms).min();
        if end_ms.is_some() || !is_searched || self.searches == SEARCHES_MAX {
            return end_ms;
        }
        self.searches += 1;
        Some(now_ms + SEARCH_EVERY_MS)
    }

    fn complaint(&self, standings: &[Standing], engine: &Engine) -> String {
        let now_ms = engine.keyspace.now.wall_ms;
        let told = |from_ms: i64, to_ms: i64| span::text((to_ms - from_ms).max(0) as u64);
        format!(
            "not idle after {} ms, at {}, {} of {} gone: {}. End the handler, or ADVANCE ... JUMP",
            self.timeout_ms,
            calendar::iso(now_ms),
            told(self.begun_ms, now_ms),
            told(self.begun_ms, self.target_ms),
            report::first_busy(standings, engine)
        )
    }
}
