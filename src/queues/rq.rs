//! RQ 3, with its own scheduler and rq-scheduler. A queue's states are keys of their own, each with
//! the queue's name at its end; moments are in seconds.

use super::glance::Glance;
use super::library::{InHand, Job, PLAIN, QueueLibrary, Role::*, Told, Workers, state};
use crate::util::calendar;

const JOB: &[u8] = b"rq:job:";
const QUEUE: &[u8] = b"rq:queue:";

/// Where workers move a job's id through.
const ON_THE_WAY: &[u8] = b":intermediate";

/// Keys that name a queue behind them.
const NAMING: &[&[u8]] = &[
    b"rq:wip:",
    b"rq:scheduled:",
    b"rq:deferred:",
    b"rq:finished:",
    b"rq:failed:",
    b"rq:workers:",
];

/// Jobs of rq-scheduler, of all queues, by the second at which it puts them into theirs.
const SCHEDULED_JOBS: &[u8] = b"rq:scheduler:scheduled_jobs";

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "RQ",
    kept: &["rq:worker:*", "rq:scheduler-lock:*", "rq:scheduler_instance:*", "rq:scheduler_lock"],
    states: &[
        state("started", Working, "rq:wip:", ""),
        state("on its way", Working, "rq:queue:", ":intermediate"),
        state("queued", Ready, "rq:queue:", ""),
        state("scheduled", Later, "rq:scheduled:", ""),
        state("deferred", Blocked, "rq:deferred:", ""),
        state("finished", Completed, "rq:finished:", ""),
        state("failed", Failed, "rq:failed:", ""),
    ],
    bases: |_, key| {
        let of_queue = key.strip_prefix(QUEUE);
        let of_queue = of_queue.map(|name| name.strip_suffix(ON_THE_WAY).unwrap_or(name));
        let mut others = NAMING.iter().filter_map(|before| key.strip_prefix(*before));
        of_queue.or_else(|| others.next()).map(<[u8]>::to_vec).into_iter().collect()
    },
    is_queue: |view, base| {
        let is_listed = |set: &[u8], member: &[u8]| {
            view.set(set).is_some_and(|members| members.contains(member))
        };
        is_listed(b"rq:queues", &[QUEUE, base].concat())
            || view.exists(&[b"rq:workers:", base].concat())
    },
    due_ms,
    is_paused: |view, _| view.exists(b"rq:suspended"),
    workers,
    in_hand,
    job,
    told: |view, key, _| told(view, key).into_iter().collect(),
    ..PLAIN
};

fn due_ms(score: f64) -> i64 {
    (score * 1000.0).ceil() as i64
}

/// The jobs of a queue that rq-scheduler holds.
fn in_hand(view: Glance, base: &[u8]) -> Vec<InHand> {
    let Some(zset) = view.zset(SCHEDULED_JOBS) else { return Vec::new() };
    let all = (0..zset.len()).map(|rank| zset.at(rank));
    let of_queue = all.filter(|(id, _)| {
        view.field(&[JOB, id].concat(), "origin").is_some_and(|origin| origin == base)
    });
    of_queue.map(|(id, score)| InHand { id: id.to_vec(), due_ms: Some(due_ms(score)) }).collect()
}

/// What RQ calls the states of a job, and what has happened then.
const STATUSES: &[(&str, &str)] = &[
    ("queued", "waiting"),
    ("started", "active"),
    ("finished", "completed"),
    ("failed", "failed"),
    ("scheduled", "delayed"),
    ("deferred", "waiting-children"),
    ("canceled", "removed"),
    ("stopped", "failed"),
];

/// A job says its state and its queue itself.
fn told(view: Glance, key: &[u8]) -> Option<Told> {
    let id = key.strip_prefix(JOB)?;
    let (base, status) = (view.field(key, "origin")?, view.field(key, "status")?);
    let (_, what) = STATUSES.iter().find(|(name, _)| name.as_bytes() == status)?;
    Some(Told { base, id: id.into(), what, reason: Vec::new() })
}

/// RQ's workers say of themselves what they do.
fn workers(view: Glance, base: &[u8]) -> Workers {
    let Some(names) = view.set(&[b"rq:workers:", base].concat()) else {
        return Workers::default();
    };
    let states = names.iter().filter_map(|worker| view.field(&worker, "state"));
    let states: Vec<Vec<u8>> = states.collect();
    let at_work = states.iter().filter(|state| **state == b"busy").count();
    Workers { count: states.len(), at_work }
}

fn job(view: Glance, _: &[u8], member: &[u8]) -> Option<Job> {
    // In `rq:wip:` a job's id stands before that of its execution.
    let id = member.split(|&byte| byte == b':').next().unwrap_or(member);
    let key = [JOB, id].concat();
    let hash = view.hash(&key)?;
    let text = |field: &str| hash.get(field.as_bytes()).map(|item| item.to_vec());
    let moment = |field: &str| calendar::parse_iso(std::str::from_utf8(&text(field)?).ok()?);
    let reason = text("exc_info").unwrap_or_default();
    Some(Job {
        id: id.to_vec(),
        name: text("description").unwrap_or_default(),
        attempts_max: 1,
        attempts_made: 1,
        added_ms: moment("created_at"),
        started_ms: moment("started_at"),
        ended_ms: moment("ended_at"),
        failed_reason: reason,
        worker: text("worker_name").unwrap_or_default(),
        ..Job::default()
    })
}
