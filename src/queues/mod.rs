//! What the keys of queue libraries mean: which queues there are, how many jobs of each are in
//! which state, when the next is due, and what its workers do. A library is one file and one row of
//! `LIBRARIES`. All of it only looks, and leaves no trace of that (glance.rs).

mod arq;
mod bee;
mod bull;
mod bull_keys;
mod bullmq;
mod celery;
mod dramatiq;
mod family;
mod glance;
mod known;
mod library;
mod rq;
mod scripts;
mod searched;
mod sidekiq;

use crate::data::stream::{StreamEntry, StreamId};
use crate::engine::Engine;
use crate::engine::client::Client;
use crate::engine::table::Found;
use crate::proto::Args;
use crate::util::glob::{Case, matches};
use std::ops::Range;

pub use celery::orders as celery_orders;
pub use dramatiq::delayed_message;
pub use glance::Glance;
pub use known::{Known, Learned};
pub use library::{
    Brief, HAPPENINGS, InHand, Job, JobPlace, JobState, JobStep, QueueLibrary, Relative,
    Remembered, Role, Schedule, Told, Workers,
};
pub use scripts::{known_script, name_of, script_name};
pub use searched::JobText;
pub use sidekiq::process_names as sidekiq_processes;

/// Bull comes last of those whose keys are alike: it is told by what it shares with them.
const LIBRARIES: &[&QueueLibrary] = &[
    &bullmq::LIBRARY,
    &bee::LIBRARY,
    &bull::LIBRARY,
    &rq::LIBRARY,
    &celery::LIBRARY,
    &arq::LIBRARY,
    &dramatiq::LIBRARY,
    &sidekiq::LIBRARY,
];

/// Of so many jobs that workers are at, locks are looked for.
const ACTIVE_MAX: usize = 1_000;

/// A queue of one of the libraries.
#[derive(Clone)]
pub struct Queue {
    pub library: &'static QueueLibrary,
    pub db: usize,
    /// What its keys have in common: `bull:mail`; where that is nothing but a name, the name.
    pub base: Box<[u8]>,
}

/// How a queue stands at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    pub active: usize,
    /// Jobs that a worker could take.
    pub waiting: usize,
    /// Jobs that wait in a queue that is paused.
    pub held: usize,
    pub delayed: usize,
    /// Jobs that wait for others.
    pub blocked: usize,
    /// When the first of those delayed is due.
    pub next_ms: Option<i64>,
    pub is_paused: bool,
    pub limited_until_ms: Option<i64>,
    pub workers: Workers,
}

impl Look {
    /// Whether a job runs, or could begin at this moment; `until_ms` is the last that counts as
    /// this one.
    pub fn is_busy(&self, until_ms: i64) -> bool {
        let is_due = !self.is_paused && self.next_ms.is_some_and(|next| next <= until_ms);
        let is_limited = self.limited_until_ms.is_some();
        let waits = self.waiting > 0 && !is_limited;
        let is_at_work = self.workers.at_work > 0 && !is_limited;
        self.active > 0 || waits || is_due || is_at_work
    }

    /// Whether a worker may be about to do something, as far as its connection tells.
    pub fn may_go_on(&self) -> bool {
        self.waiting > 0 || self.workers.at_work > 0
    }
}

impl Queue {
    /// What people call it.
    pub fn name(&self) -> &[u8] {
        (self.library.display)(&self.base)
    }

    /// What its keys have in common with those of the library's other queues: `bull`. None if
    /// nothing.
    pub fn prefix(&self) -> Option<&[u8]> {
        let end = self.base.iter().rposition(|&byte| byte == b':')?;
        Some(&self.base[..end])
    }

    /// Whether jobs were added to it, where they are numbered. It is known by then whose it is:
    /// before, keys of BullMQ and Bull look alike.
    pub fn has_had_jobs(&self, engine: &Engine) -> bool {
        Glance::new(engine, self.db).exists(&bull_keys::key(&self.base, "id"))
    }

    /// Whether somebody may mean this queue by a name: its own, with its prefix, or the key that
    /// its jobs wait in.
    pub fn is_called(&self, name: &[u8]) -> bool {
        let waits = |state: &JobState| state.role == Role::Ready && state.key(&self.base) == name;
        self.name() == name || *self.base == *name || self.library.states.iter().any(waits)
    }

    /// The oldest job in a state of this role, of that which is due first.
    pub fn first(&self, engine: &Engine, role: Role) -> Option<Vec<u8>> {
        let view = Glance::new(engine, self.db);
        let states = self.library.states.iter().filter(|state| state.role == role);
        let (in_hand, keyed): (Vec<&JobState>, Vec<&JobState>) =
            states.partition(|state| state.is_in_hand);
        let standing = keyed.iter().find_map(|state| {
            let key = state.key(&self.base);
            let last = view.list(&key).map_or(0, |list| list.len() - 1);
            let at = if self.library.takes_first { 0 } else { last };
            view.members(&key, at..at + 1).pop()
        });
        standing.or_else(|| {
            let jobs = in_hand.iter().flat_map(|state| self.in_hand(view, state));
            jobs.min_by_key(|job| job.due_ms).map(|job| job.id)
        })
    }

    /// The locks of the jobs that workers are at, where the library has some.
    pub fn locks(&self, engine: &Engine) -> Vec<Vec<u8>> {
        let Some(end) = self.library.lock else { return Vec::new() };
        let states = self.library.states.iter().filter(|state| state.role == Role::Working);
        let ids = states.flat_map(|state| self.ids(engine, state, 0..ACTIVE_MAX));
        ids.map(|id| [&self.base, &b":"[..], &id, end.as_bytes()].concat()).collect()
    }

    /// The mark that jobs which were left behind have been looked for.
    pub fn stall_check(&self) -> Option<Vec<u8>> {
        self.library.stall_check.map(|end| [&self.base, end.as_bytes()].concat())
    }

    /// The connections of its workers, where the library names them.
    pub fn worker_clients<'e>(&self, engine: &'e Engine) -> Vec<&'e Client> {
        let of_db = engine.clients.iter().filter(|client| client.db == self.db);
        of_db.filter(|client| bull_keys::is_worker_name(&client.name, &self.base)).collect()
    }

    pub fn look(&self, engine: &Engine) -> Look {
        let view = Glance::new(engine, self.db);
        let (library, base) = (self.library, &*self.base);
        let is_paused = (library.is_paused)(view, base);
        let limited_until_ms = (library.limited_until_ms)(view, base);
        let workers = (library.workers)(view, base);
        let mut look = Look { is_paused, limited_until_ms, workers, ..Look::default() };
        let in_hand = (library.in_hand)(view, base);
        for state in library.states {
            let key = state.key(base);
            let jobs = if state.is_in_hand {
                let of_state = in_hand.iter().filter(|job| job.state == state.name);
                of_state.inspect(|job| look.be_due(job.due_ms)).count()
            } else {
                view.len(&key) - (library.no_jobs)(view, state, base)
            };
            match state.role {
                Role::Working => look.active += jobs,
                Role::Ready if is_paused => look.held += jobs,
                Role::Ready => look.waiting += jobs,
                Role::Held => look.held += jobs,
                Role::Blocked => look.blocked += jobs,
                Role::Later => {
                    look.delayed += jobs;
                    look.be_due(view.lowest(&key).map(library.due_ms));
                }
                Role::Completed | Role::Failed => {}
            }
        }
        look
    }

    /// The jobs of a state that no key of the queue is.
    fn in_hand(&self, view: Glance, state: &JobState) -> Vec<InHand> {
        let mut all = (self.library.in_hand)(view, &self.base);
        all.retain(|job| job.state == state.name);
        all
    }

    /// How many jobs are in a state.
    pub fn count(&self, engine: &Engine, state: &JobState) -> usize {
        let view = Glance::new(engine, self.db);
        if state.is_in_hand {
            return self.in_hand(view, state).len();
        }
        view.len(&state.key(&self.base)) - (self.library.no_jobs)(view, state, &self.base)
    }

    /// Some ids of the jobs in a state, or what stands for them, in the order of its key.
    pub fn ids(&self, engine: &Engine, state: &JobState, range: Range<usize>) -> Vec<Vec<u8>> {
        self.standing(engine, state, range).into_iter().map(|(member, _)| member).collect()
    }

    /// What stands for jobs in a state, in the order of its key, where it can be taken out of that.
    pub fn stands(&self, engine: &Engine, state: &JobState, range: Range<usize>) -> Vec<JobPlace> {
        let view = Glance::new(engine, self.db);
        if state.is_in_hand {
            let all = (self.library.stands)(view, &self.base, state).into_iter();
            return all.skip(range.start).take(range.len()).collect();
        }
        let key = state.key(&self.base);
        let members = view.members(&key, range).into_iter();
        let stands = members.map(|member| {
            let id = self.job(engine, &member).map_or_else(|| member.clone(), |job| job.id);
            JobPlace { id, key: key.clone(), member }
        });
        stands.collect()
    }

    /// What stands for a job, by its id. None if nothing does, or nothing that could be taken out.
    pub fn stand_of(&self, engine: &Engine, id: &[u8]) -> Option<JobPlace> {
        let (view, state) = (Glance::new(engine, self.db), self.state_of(engine, id)?);
        let key = state.key(&self.base);
        if !state.is_in_hand && view.has_member(&key, id) {
            return Some(JobPlace { id: id.into(), key, member: id.into() });
        }
        let is_it = |stands: &JobPlace| stands.id == id;
        self.stands(engine, state, 0..library::IN_HAND_MAX).into_iter().find(is_it)
    }

    /// The same, each with when it is due in a state of `Role::Later`.
    pub fn standing(
        &self,
        engine: &Engine,
        state: &JobState,
        range: Range<usize>,
    ) -> Vec<(Vec<u8>, Option<i64>)> {
        let view = Glance::new(engine, self.db);
        if state.is_in_hand {
            let all = self.in_hand(view, state).into_iter().map(|job| (job.id, job.due_ms));
            return all.skip(range.start).take(range.len()).collect();
        }
        let members = view.members(&state.key(&self.base), range).into_iter();
        members.map(|member| (member.clone(), self.due_ms(engine, state, &member))).collect()
    }

    /// When a job in a state of `Role::Later` is due; None in other states.
    pub fn due_ms(&self, engine: &Engine, state: &JobState, id: &[u8]) -> Option<i64> {
        let view = Glance::new(engine, self.db);
        if state.is_in_hand {
            return self.in_hand(view, state).into_iter().find(|job| job.id == id)?.due_ms;
        }
        if state.role != Role::Later {
            return None;
        }
        let score = view.zset(&state.key(&self.base))?.score(id)?;
        Some((self.library.due_ms)(score))
    }

    /// The state that a job is in. Sorted sets and sets are asked first, since lists are walked.
    pub fn state_of(&self, engine: &Engine, id: &[u8]) -> Option<&'static JobState> {
        let view = Glance::new(engine, self.db);
        let states = self.library.states.iter().filter(|state| !state.is_in_hand);
        let by_member = states.clone().find(|it| view.has_member(&it.key(&self.base), id));
        let in_hand = || {
            let all = (self.library.in_hand)(view, &self.base);
            let name = all.into_iter().find(|job| job.id == id)?.state;
            self.library.states.iter().find(|it| it.name == name)
        };
        let is_it = |member: &[u8]| (self.library.is_job)(view, &self.base, member, id);
        let by_element = || states.clone().find(|it| view.has_element(&it.key(&self.base), &is_it));
        by_member.or_else(in_hand).or_else(by_element)
    }

    /// A job by its id, or by what stands for it in a state; None if nothing is known of it.
    pub fn job(&self, engine: &Engine, id: &[u8]) -> Option<Job> {
        self.listed(Glance::new(engine, self.db), id)
    }

    /// What it is called and why it failed. None as for `job`.
    pub fn brief(&self, engine: &Engine, id: &[u8]) -> Option<Brief> {
        match self.library.brief {
            Some(brief) => brief(Glance::new(engine, self.db), &self.base, id),
            None => self
                .job(engine, id)
                .map(|Job { name, failed_reason, .. }| Brief { name, failed_reason }),
        }
    }

    /// What has happened since an entry of the library's own stream of events, and where that has
    /// come to. Nothing where it has none.
    pub fn events_since(&self, engine: &Engine, last: StreamId) -> (Vec<Told>, StreamId) {
        let mut all = Vec::new();
        let end = self.steps_since(engine, last, &mut |step| {
            let (id, reason) = (step.id.to_vec(), step.reason.to_vec());
            all.push(Told { base: self.base.to_vec(), id, what: step.what, reason });
        });
        (all, end)
    }

    /// Shows the steps since an entry of that stream, oldest first; returns where it has come to.
    pub fn steps_since(
        &self,
        engine: &Engine,
        last: StreamId,
        visit: &mut dyn FnMut(JobStep),
    ) -> StreamId {
        let view = Glance::new(engine, self.db);
        let stream =
            self.library.events.and_then(|end| view.stream(&[&self.base, end.as_bytes()].concat()));
        let Some(stream) = stream else { return last };
        // A stream that was made anew has come less far.
        let last = last.min(stream.last_id());
        if let Some(start) = last.next() {
            for entry in stream.range(start, StreamId::MAX) {
                visit_step(&entry, visit);
            }
        }
        stream.last_id()
    }

    /// Whether there still is such a queue, or a worker of one.
    pub fn is_there(&self, engine: &Engine) -> bool {
        (self.library.is_queue)(Glance::new(engine, self.db), &self.base)
            || !self.worker_clients(engine).is_empty()
    }

    /// The version of its library, if its keys tell it.
    pub fn version(&self, engine: &Engine) -> Option<Vec<u8>> {
        (self.library.version)(Glance::new(engine, self.db), &self.base)
    }

    /// Whether it has a key `BASE:WHAT`.
    pub fn has_key(&self, engine: &Engine, what: &str) -> bool {
        Glance::new(engine, self.db).exists(&bull_keys::key(&self.base, what))
    }

    /// Whether ids that are none of jobs stand among those that wait, to wake workers.
    pub fn has_markers(&self, engine: &Engine) -> bool {
        let view = Glance::new(engine, self.db);
        self.library.states.iter().any(|it| (self.library.no_jobs)(view, it, &self.base) > 0)
    }

    /// Its schedulers.
    pub fn schedules(&self, engine: &Engine) -> Vec<Schedule> {
        (self.library.schedules)(Glance::new(engine, self.db), &self.base)
    }

    pub fn count_schedules(&self, engine: &Engine) -> usize {
        (self.library.count_schedules)(Glance::new(engine, self.db), &self.base)
    }

    /// The jobs that one waits for, or waited for: at most so many.
    pub fn children_of(&self, engine: &Engine, id: &[u8], most: usize) -> Vec<Relative> {
        (self.library.children_of)(Glance::new(engine, self.db), &self.base, id, most)
    }

    /// How many jobs one waits for.
    pub fn count_pending(&self, engine: &Engine, id: &[u8]) -> usize {
        (self.library.count_pending)(Glance::new(engine, self.db), &self.base, id)
    }

    /// The queues of jobs that jobs of this one wait for.
    pub fn children(&self, engine: &Engine) -> Vec<Vec<u8>> {
        (self.library.children)(Glance::new(engine, self.db), &self.base)
    }

    /// Jobs that wait for others, of which none is left.
    pub fn stranded(&self, engine: &Engine) -> Vec<Vec<u8>> {
        (self.library.stranded)(Glance::new(engine, self.db), &self.base)
    }
}

impl Look {
    fn be_due(&mut self, due_ms: Option<i64>) {
        self.next_ms = self.next_ms.into_iter().chain(due_ms).min();
    }
}

/// Reads an entry of a stream of events; one that is of no job, or unknown, is passed over.
fn visit_step(entry: &StreamEntry, visit: &mut dyn FnMut(JobStep)) {
    let [mut event, mut id, mut prev, mut delay, mut reason] = [None; 5];
    for (name, text) in entry.fields() {
        match name {
            b"event" => event = Some(text),
            b"jobId" => id = Some(text),
            b"prev" => prev = Some(text),
            b"delay" => delay = Some(text),
            b"failedReason" => reason = Some(text),
            _ => {}
        }
    }
    let what = HAPPENINGS.iter().find(|what| Some(what.as_bytes()) == event);
    let (Some(what), Some(id)) = (what, id) else { return };
    visit(JobStep {
        at_ms: entry.id.ms as i64,
        what,
        id,
        prev: prev.unwrap_or_default(),
        due_ms: library::number(delay.map(<[u8]>::to_vec)),
        reason: reason.unwrap_or_default(),
    });
}

/// When something is due next in any of these queues, in milliseconds of the wall clock: a delayed
/// job or the end of a limit. What is due already counts as well. None if nothing is.
pub fn next_due_ms(engine: &Engine, queues: &[Queue]) -> Option<i64> {
    let of_queues = queues.iter().flat_map(|queue| {
        let look = queue.look(engine);
        // A limit ends with its key, which still exists in this millisecond.
        let limit_ms = look.limited_until_ms.filter(|_| look.waiting > 0).map(|last| last + 1);
        [look.next_ms.filter(|_| !look.is_paused), limit_ms]
    });
    of_queues.flatten().min()
}

/// What a connection's name says of its queue, where a library has made it: `mail`, and of a worker
/// that has a name of its own `mail:w:NAME`. None for other names.
pub fn name_in(client: &[u8]) -> Option<Vec<u8>> {
    let base = bull_keys::base_of_worker(client)?;
    let worker =
        client.windows(3).position(|three| three == b":w:").map_or(&[][..], |at| &client[at..]);
    Some([library::after_last_colon(&base), worker].concat())
}

/// Whether a request is about a queue: it runs a library's script, or touches a key of a queue that
/// is there.
pub fn is_of_queue(engine: &Engine, db: usize, found: Found, args: &Args) -> bool {
    let view = Glance::new(engine, db);
    let is_of = |library: &&QueueLibrary, key: &[u8]| {
        (library.bases)(view, key).iter().any(|base| (library.is_queue)(view, base))
    };
    let mut is_one = scripts::runs_known(engine, found, args);
    let _ = found.row.keys.visit(args.all(), |at, _| {
        is_one = is_one || LIBRARIES.iter().any(|library| is_of(library, args.all()[at]));
    });
    is_one
}

/// The queue's base and the id of the job that a key is the lock of.
pub fn job_of_lock(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut ends = LIBRARIES.iter().filter_map(|library| library.lock);
    let job = ends.find_map(|end| key.strip_suffix(end.as_bytes()))?;
    let at = job.iter().rposition(|&byte| byte == b':')?;
    Some((&job[..at], &job[at + 1..]))
}

/// The base of the queue that a key is the stall check of.
pub fn base_of_stall_check(key: &[u8]) -> Option<&[u8]> {
    let mut ends = LIBRARIES.iter().filter_map(|library| library.stall_check);
    ends.find_map(|end| key.strip_suffix(end.as_bytes()))
}

/// Whether each connection that is named as a worker's of this queue waits for a job.
pub fn all_workers_wait(engine: &Engine, db: usize, base: &[u8]) -> bool {
    let mut of_db = engine.clients.iter().filter(|client| client.db == db);
    of_db.all(|client| client.is_blocked() || !bull_keys::is_worker_name(&client.name, base))
}

/// The messages at which workers of these queues look for what is due, each with its channel.
pub fn wake_calls(queues: &[Queue]) -> Vec<(Vec<u8>, &'static str)> {
    let calls = queues.iter().filter_map(|queue| {
        let (end, message) = queue.library.wake_call?;
        Some(([&queue.base, end.as_bytes()].concat(), message))
    });
    calls.collect()
}

/// What a changed key tells of jobs, of whichever library.
pub fn told(view: Glance, key: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    let all = LIBRARIES.iter().map(|library| (library.told)(view, key, remembered));
    all.into_iter().find(|told| !told.is_empty()).unwrap_or_default()
}

/// Keys that living processes renew in real time, as globs: locks, and marks that somebody lives.
pub fn kept_patterns() -> Vec<&'static str> {
    let mut patterns: Vec<&str> = LIBRARIES.iter().flat_map(|it| it.kept).copied().collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// Whether a key is one of those that living processes renew.
pub fn is_kept(key: &[u8]) -> bool {
    let is_like = |glob: &&str| matches(glob.as_bytes(), key, Case::Sensitive);
    LIBRARIES.iter().flat_map(|library| library.kept).any(is_like)
}

#[cfg(test)]
mod tests;
