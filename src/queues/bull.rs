//! Bull 4. It has no hash that tells its queues; they are known by the keys that all of them have.

use super::bull_keys::{self, key};
use super::glance::Glance;
use super::library::{PLAIN, QueueLibrary, Role::*, Told, after_last_colon, base_before, state};
use super::{bee, bullmq};

const PARTS: &[&str] = &[
    "id",
    "wait",
    "active",
    "delayed",
    "completed",
    "failed",
    "paused",
    "stalled-check",
    "meta-paused",
    "limiter",
];

/// How workers ask for jobs.
const ASKS: &[&str] = &["brpoplpush", "blmove"];

/// A queue has one of these beside whatever else it has.
const TELLING: &[&str] = &["id", "stalled-check"];

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "Bull",
    kept: &["*:lock", "*:stalled-check"],
    states: &[
        state("active", Working, "", ":active"),
        state("waiting", Ready, "", ":wait"),
        state("paused", Held, "", ":paused"),
        state("delayed", Later, "", ":delayed"),
        state("completed", Completed, "", ":completed"),
        state("failed", Failed, "", ":failed"),
    ],
    bases: |_, key| base_before(key, PARTS),
    is_queue,
    display: after_last_colon,
    due_ms: bull_keys::due_ms,
    is_paused: |view, base| view.exists(&key(base, "meta-paused")),
    limited_until_ms: bull_keys::limited_until_ms,
    lock: Some(bull_keys::LOCK),
    stall_check: Some(bull_keys::STALL_CHECK),
    asks: ASKS,
    workers: |view, base| bull_keys::workers(view, ASKS, base),
    job: bull_keys::job,
    brief: Some(bull_keys::brief),
    job_hash: Some(bull_keys::JOB_HASH),
    told: |view, key, _| told(view, key).into_iter().collect(),
    wake_call: Some((":delayed", "1")),
    ..PLAIN
};

/// A job's hash is changed whenever it gets into another state.
fn told(view: Glance, job: &[u8]) -> Option<Told> {
    let end = job.iter().rposition(|&byte| byte == b':')?;
    let (base, id) = (&job[..end], &job[end + 1..]);
    if PARTS.contains(&std::str::from_utf8(id).ok()?) || !is_queue(view, base) {
        return None;
    }
    let is_in = |what: &str| view.zset(&key(base, what)).is_some_and(|it| it.score(id).is_some());
    let runs = || view.list(&key(base, "active")).is_some_and(|it| it.iter().any(|it| *it == *id));
    let what = match () {
        () if !view.exists(job) => "removed",
        () if is_in("completed") => "completed",
        () if is_in("failed") => "failed",
        () if is_in("delayed") => "delayed",
        () if runs() => "active",
        () => "waiting",
    };
    let reason = view.field(job, "failedReason").unwrap_or_default();
    Some(Told { base: base.into(), id: id.into(), what, reason })
}

fn is_queue(view: Glance, base: &[u8]) -> bool {
    let is_anothers = (bullmq::LIBRARY.is_queue)(view, base) || (bee::LIBRARY.is_queue)(view, base);
    !is_anothers && TELLING.iter().any(|what| view.exists(&key(base, what)))
}
