//! RQ 3, with its own scheduler and rq-scheduler. A queue's states are keys of their own, each with
//! the queue's name at its end; moments are in seconds.

use super::glance::Glance;
use super::library::{
    IN_HAND_MAX, InHand, Job, JobHash, JobPlace, PLAIN, QueueLibrary, Role::*, Told, Workers,
    exception, in_hand, printed, state,
};
use crate::data::stream::StreamId;
use crate::util::calendar;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

const JOB: &[u8] = b"rq:job:";
const QUEUE: &[u8] = b"rq:queue:";

/// Arguments are pickled and compressed; the description has them as Python prints them.
const JOB_HASH: JobHash = JobHash {
    before: "rq:job:",
    queue: "origin",
    mark: "created_at",
    name: "description",
    data: "",
    error: "exc_info",
};

/// Where workers move a job's id through.
const ON_THE_WAY: &[u8] = b":intermediate";

/// What is longer is not shown.
const UNPACKED_LEN_MAX: usize = 1 << 20;

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

/// What their state is called here.
const WITH_SCHEDULER: &str = "with rq-scheduler";

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "RQ",
    kept: &["rq:worker:*", "rq:scheduler-lock:*", "rq:scheduler_instance:*", "rq:scheduler_lock"],
    states: &[
        state("started", Working, "rq:wip:", ""),
        state("on its way", Working, "rq:queue:", ":intermediate"),
        state("queued", Ready, "rq:queue:", ""),
        state("scheduled", Later, "rq:scheduled:", ""),
        in_hand(WITH_SCHEDULER, Later),
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
    takes_first: true,
    in_hand: with_scheduler,
    stands: |view, base, _| {
        let ids = with_scheduler(view, base).into_iter().map(|job| job.id);
        let stand =
            |id: Vec<u8>| JobPlace { id: id.clone(), key: SCHEDULED_JOBS.into(), member: id };
        ids.map(stand).collect()
    },
    job,
    is_job: |_, _, member, id| id_of(member) == id,
    job_hash: Some(JOB_HASH),
    told: |view, key, _| told(view, key).into_iter().collect(),
    ..PLAIN
};

fn due_ms(score: f64) -> i64 {
    (score * 1000.0).ceil() as i64
}

/// The jobs of a queue that rq-scheduler holds.
fn with_scheduler(view: Glance, base: &[u8]) -> Vec<InHand> {
    let all = view.scored(SCHEDULED_JOBS, IN_HAND_MAX).into_iter();
    let of_queue = all.filter(|(id, _)| {
        view.field(&[JOB, id].concat(), "origin").is_some_and(|origin| origin == base)
    });
    let in_hand = of_queue.map(|(id, score)| InHand {
        state: WITH_SCHEDULER,
        id,
        due_ms: Some(due_ms(score)),
    });
    in_hand.collect()
}

/// In `rq:wip:` a job's id stands before that of its execution.
fn id_of(member: &[u8]) -> &[u8] {
    member.split(|&byte| byte == b':').next().unwrap_or(member)
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

/// What is told in base64 of the last run that has ended.
fn last_run(view: Glance, id: &[u8], field: &str) -> Option<Vec<u8>> {
    let stream = view.stream(&[b"rq:results:", id].concat())?;
    let last = stream.range(stream.last_id(), StreamId::MAX).next()?;
    let (_, text) = last.fields().find(|(name, _)| *name == field.as_bytes())?;
    BASE64.decode(text).ok()
}

/// What stands in zlib's format.
fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    decompress_to_vec_zlib_with_limit(packed, UNPACKED_LEN_MAX).ok()
}

fn job(view: Glance, _: &[u8], member: &[u8]) -> Option<Job> {
    let id = id_of(member);
    let key = [JOB, id].concat();
    let hash = view.hash(&key)?;
    let text = |field: &str| hash.get(field.as_bytes()).map(|item| item.to_vec());
    let moment = |field: &str| calendar::parse_iso(std::str::from_utf8(&text(field)?).ok()?);
    let traceback = last_run(view, id, "exc_string").and_then(|packed| unpacked(&packed));
    let traceback = traceback.and_then(|text| String::from_utf8(text).ok());
    Some(Job {
        id: id.to_vec(),
        name: text("description").unwrap_or_default(),
        attempts_max: 1,
        attempts_made: 1,
        added_ms: moment("created_at"),
        started_ms: moment("started_at"),
        ended_ms: moment("ended_at"),
        failed_reason: traceback.as_deref().map(exception).unwrap_or_default().into(),
        stacktrace: traceback.into_iter().collect(),
        worker: text("worker_name").unwrap_or_default(),
        data: text("data").and_then(|packed| unpacked(&packed)).map(printed).unwrap_or_default(),
        result: last_run(view, id, "return_value").map(printed).unwrap_or_default(),
        ..Job::default()
    })
}
