//! What has happened to jobs, also to those that are gone: each queue keeps its last 1,000 events,
//! each with the job as it was then. BullMQ writes events itself, into a stream; of the others a
//! job's own key tells. Where neither does, nothing is kept.

use crate::data::stream::StreamId;
use crate::engine::Engine;
use crate::engine::client::Client;
use crate::engine::fixture::Heard;
use crate::queues::{self, Glance, Job, Known, Learned, Queue, Told};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

/// Events that a queue keeps.
pub const EVENTS_MAX: usize = 1_000;

/// Bytes of a job's data that are kept.
const DATA_LEN_MAX: usize = 64 * 1024;

/// What becomes of a job at last.
const ENDS: [&str; 3] = ["completed", "failed", "removed"];

/// Something that has happened to a job.
#[derive(Clone, Debug)]
pub struct Happening {
    /// The monotonic clock: people count real time.
    pub at_us: u64,
    pub what: &'static str,
    pub id: Box<[u8]>,
    /// None if the job had gone before anybody looked.
    pub job: Option<Rc<Job>>,
    pub reason: Box<[u8]>,
    /// Counts all events of the server.
    pub number: u64,
}

/// The past of one queue.
#[derive(Default)]
pub struct Past {
    pub events: VecDeque<Happening>,
    /// The jobs of these events as they were last seen.
    jobs: HashMap<Box<[u8]>, Rc<Job>>,
    /// What was last told of each of them.
    last: HashMap<Box<[u8]>, &'static str>,
    read_up_to: StreamId,
    /// A worker has waited for a job of this queue.
    pub has_had_workers: bool,
    /// Jobs that have ended since idleness was last told.
    pub completed: usize,
    pub failed: usize,
}

/// The queues that are known, and what has happened in them.
pub struct History {
    known: Known,
    pasts: BTreeMap<(usize, Box<[u8]>), Past>,
    count: u64,
}

/// The pasts of one database, as libraries ask for them.
struct Memory<'h> {
    pasts: &'h BTreeMap<(usize, Box<[u8]>), Past>,
    db: usize,
}

impl queues::Remembered for Memory<'_> {
    fn unended(&self, base: &[u8]) -> Vec<Vec<u8>> {
        let Some(past) = self.pasts.get(&(self.db, base.into())) else { return Vec::new() };
        let jobs = past.last.iter().filter(|(_, what)| !ENDS.contains(what));
        jobs.map(|(id, _)| id.to_vec()).collect()
    }

    fn base_of(&self, id: &[u8]) -> Option<Vec<u8>> {
        let mut pasts = self.pasts.iter().filter(|((db, _), _)| *db == self.db);
        pasts.find(|(_, past)| past.last.contains_key(id)).map(|((_, base), _)| base.to_vec())
    }
}

impl History {
    /// Begins with what is there.
    pub fn new(engine: &Engine) -> Self {
        let mut history = Self { known: Known::find(engine), pasts: BTreeMap::new(), count: 0 };
        for client in engine.clients.iter() {
            history.meet_worker(client);
        }
        for queue in history.queues() {
            let (_, last) = queue.events_since(engine, StreamId::MIN);
            history.past_mut(&queue).read_up_to = last;
        }
        history
    }

    /// The queues that are known.
    pub fn queues(&self) -> Vec<Queue> {
        self.known.queues()
    }

    /// None if nothing has happened in it.
    pub fn past(&self, queue: &Queue) -> Option<&Past> {
        self.pasts.get(&(queue.db, queue.base.clone()))
    }

    fn past_mut(&mut self, queue: &Queue) -> &mut Past {
        self.pasts.entry((queue.db, queue.base.clone())).or_default()
    }

    /// Jobs that have ended well and badly since `take_counts`.
    pub fn counts(&self, queue: &Queue) -> (usize, usize) {
        self.past(queue).map_or((0, 0), |past| (past.completed, past.failed))
    }

    /// The same, and counts anew from now on.
    pub fn take_counts(&mut self, queue: &Queue) -> (usize, usize) {
        let past = self.past_mut(queue);
        (std::mem::take(&mut past.completed), std::mem::take(&mut past.failed))
    }

    /// Takes in what has happened.
    pub fn hear(&mut self, engine: &Engine, heard: &[Heard]) {
        let mut learned = Learned::default();
        for it in heard {
            match it {
                Heard::Flushed => {
                    *self = Self { count: self.count, ..Self::new(engine) };
                }
                Heard::Parked(id) => {
                    if let Some(client) = engine.clients.get(*id) {
                        self.meet_worker(client);
                    }
                }
                Heard::Changed { db, key } => {
                    let view = Glance::new(engine, *db);
                    self.known.learn(view, key, &mut learned);
                    let remembered = Memory { pasts: &self.pasts, db: *db };
                    for told in queues::told(view, key, &remembered) {
                        self.note_told(engine, *db, told);
                    }
                }
            }
        }
        for queue in self.known.queues().iter().filter(|queue| queue.library.events.is_some()) {
            self.read_events(engine, queue);
        }
    }

    fn meet_worker(&mut self, client: &Client) {
        if let Some(base) = self.known.meet_worker(client) {
            let past = self.pasts.entry((client.db, base.into())).or_default();
            past.has_had_workers = true;
        }
    }

    fn read_events(&mut self, engine: &Engine, queue: &Queue) {
        let last = self.past_mut(queue).read_up_to;
        let (told, last) = queue.events_since(engine, last);
        self.past_mut(queue).read_up_to = last;
        for it in told {
            self.note(engine, queue, it);
        }
    }

    /// What a job's key tells is news only if it tells something else than before.
    fn note_told(&mut self, engine: &Engine, db: usize, told: Told) {
        let queue = self.queues().into_iter().find(|it| it.db == db && *it.base == *told.base);
        let Some(queue) = queue else { return };
        let past = self.past_mut(&queue);
        let before = past.last.get(&*told.id).copied();
        let mut told = told;
        if told.what == "removed" {
            // A job that goes while a worker has it was to be removed once it is done.
            told.what = match before {
                Some("active") => "completed",
                None => return,
                Some(what) if ENDS.contains(&what) => return,
                Some(_) => "removed",
            };
        }
        if before == Some(told.what) {
            return;
        }
        if before.is_none() {
            self.note(engine, &queue, Told { what: "added", ..told.clone() });
        }
        self.note(engine, &queue, told);
    }

    fn note(&mut self, engine: &Engine, queue: &Queue, told: Told) {
        let now = engine.keyspace.now;
        self.count += 1;
        let number = self.count;
        let past = self.past_mut(queue);
        let id: Box<[u8]> = told.id.into();
        let seen = queue.job(engine, &id).map(|mut job| {
            job.data.truncate(DATA_LEN_MAX);
            Rc::new(job)
        });
        let job = seen.or_else(|| past.jobs.get(&id).cloned());
        if let Some(job) = &job {
            past.jobs.insert(id.clone(), job.clone());
        }
        past.last.insert(id.clone(), told.what);
        past.completed += usize::from(told.what == "completed");
        past.failed += usize::from(told.what == "failed");
        let reason = match (&job, &*told.reason) {
            (Some(job), b"") => job.failed_reason.clone(),
            _ => told.reason,
        };
        let reason = reason.into();
        past.events.push_back(Happening {
            at_us: now.mono_us,
            what: told.what,
            id,
            job,
            reason,
            number,
        });
        if past.events.len() > EVENTS_MAX {
            past.events.pop_front();
            past.forget_jobs();
        }
    }
}

impl Past {
    /// Jobs of which no event is kept any more: looked for only when there are many.
    fn forget_jobs(&mut self) {
        if self.last.len() <= 2 * EVENTS_MAX {
            return;
        }
        let kept: std::collections::HashSet<&[u8]> = self.events.iter().map(|it| &*it.id).collect();
        self.jobs.retain(|id, _| kept.contains(&**id));
        self.last.retain(|id, _| kept.contains(&**id));
    }

    /// The last failures, newest first.
    pub fn failures(&self) -> impl Iterator<Item = &Happening> {
        self.events.iter().rev().filter(|event| event.what == "failed")
    }
}
