//! BullMQ, versions 3 to 6. A queue is told by its hash `meta`, in which each version writes how
//! long the stream of events may become, and which Bull has as well, but only to pause.

use super::bull_keys::{self, key};
use super::family;
use super::glance::Glance;
use super::library::after_last_colon;
use super::library::{JobState, PLAIN, QueueLibrary, Role::*, base_before, state};

/// Parents that are looked at for children that are gone.
const PARENTS_MAX: usize = 1_000;

/// Version 4 puts these into `wait` to wake workers: they are no jobs.
const MARKER: &[u8] = b"0:";

/// How workers of version 5 and later ask for jobs, and those before.
const ASKS: &[&str] = &["bzpopmin", "brpoplpush", "blmove"];

/// Last parts of keys that only a queue's own keys have.
const PARTS: &[&str] = &[
    "meta",
    "marker",
    "events",
    "wait",
    "active",
    "prioritized",
    "delayed",
    "waiting-children",
    "completed",
    "failed",
    "paused",
    "limiter",
    "id",
    "pc",
    "stalled-check",
    "repeat",
];

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "BullMQ",
    kept: &["*:lock", "*:stalled-check"],
    states: &[
        state("active", Working, "", ":active"),
        state("waiting", Ready, "", ":wait"),
        state("prioritized", Ready, "", ":prioritized"),
        state("paused", Held, "", ":paused"),
        state("delayed", Later, "", ":delayed"),
        state("waiting-children", Blocked, "", ":waiting-children"),
        state("completed", Completed, "", ":completed"),
        state("failed", Failed, "", ":failed"),
    ],
    bases: |_, key| base_before(key, PARTS),
    is_queue,
    display: after_last_colon,
    version: |view, base| {
        let version = view.field(&key(base, "meta"), "version")?;
        version.strip_prefix(b"bullmq:").map(<[u8]>::to_vec)
    },
    no_jobs,
    due_ms: bull_keys::due_ms,
    is_paused: |view, base| view.field(&key(base, "meta"), "paused").is_some(),
    limited_until_ms: bull_keys::limited_until_ms,
    lock: Some(bull_keys::LOCK),
    stall_check: Some(bull_keys::STALL_CHECK),
    asks: ASKS,
    workers: |view, base| bull_keys::workers(view, ASKS, base),
    job: bull_keys::job,
    brief: Some(bull_keys::brief),
    job_hash: Some(bull_keys::JOB_HASH),
    stranded,
    children,
    schedules: family::schedules,
    count_schedules: family::count_schedules,
    children_of: family::children_of,
    count_pending: family::count_pending,
    events: Some(":events"),
    ..PLAIN
};

fn is_queue(view: Glance, base: &[u8]) -> bool {
    let meta = key(base, "meta");
    view.field(&meta, "opts.maxLenEvents").is_some()
        || view.field(&meta, "version").is_some()
        || view.exists(&key(base, "marker"))
        || view.exists(&key(base, "events"))
}

/// They stand at either end of `wait`.
fn no_jobs(view: Glance, state: &JobState, base: &[u8]) -> usize {
    if state.after != ":wait" {
        return 0;
    }
    let wait = state.key(base);
    let Some(list) = view.list(&wait) else { return 0 };
    let ends = [list.get(0), list.get(-1).filter(|_| list.len() > 1)];
    ends.iter().flatten().filter(|id| id.starts_with(MARKER)).count()
}

/// Parents in `waiting-children` whose children have all gone without a word.
fn stranded(view: Glance, base: &[u8]) -> Vec<Vec<u8>> {
    let parents = view.members(&key(base, "waiting-children"), 0..PARENTS_MAX);
    let has_child = |parent: &Vec<u8>| {
        let dependencies = [base, b":", parent, b":dependencies"].concat();
        let Some(children) = view.set(&dependencies) else { return false };
        children.iter().any(|child| view.exists(&child))
    };
    parents.into_iter().filter(|parent| !has_child(parent)).collect()
}

/// The bases of queues in which children of parents here are left.
fn children(view: Glance, base: &[u8]) -> Vec<Vec<u8>> {
    let mut bases = Vec::new();
    for parent in view.members(&key(base, "waiting-children"), 0..PARENTS_MAX) {
        let dependencies = [base, b":", &*parent, b":dependencies"].concat();
        for child in view.set(&dependencies).into_iter().flat_map(|set| set.iter()) {
            let end = child.iter().rposition(|&byte| byte == b':').unwrap_or(0);
            bases.push(child[..end].to_vec());
        }
    }
    bases
}
