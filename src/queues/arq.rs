//! arq. A queue is one sorted set of ids by the millisecond at which they are due; a job stays in
//! it until it has ended. Its workers look twice a second, so none is ever parked.

use super::library::{PLAIN, QueueLibrary, Role::*, Workers, state};

const JOB: &[u8] = b"arq:job:";
const HEALTH: &[u8] = b":health-check";

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "arq",
    kept: &["arq:*health-check", "arq:in-progress:*"],
    states: &[state("queued", Later, "", "")],
    bases: |view, key| match key.strip_suffix(HEALTH) {
        Some(base) => vec![base.to_vec()],
        None if view.zset(key).is_some() => vec![key.to_vec()],
        None => Vec::new(),
    },
    is_queue: |view, base| {
        let first = view.zset(base).map(|zset| [JOB, &zset.at(0).0].concat());
        first.is_some_and(|job| view.exists(&job)) || view.exists(&[base, HEALTH].concat())
    },
    workers: |view, base| {
        let count = usize::from(view.exists(&[base, HEALTH].concat()));
        Workers { count, at_work: 0 }
    },
    ..PLAIN
};
