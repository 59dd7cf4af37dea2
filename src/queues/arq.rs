//! arq. A queue is one sorted set of ids by the millisecond at which they are due; a job stays in
//! it until it has ended. Its workers look twice a second, so none is ever parked.
//!
//! Jobs and results are pickled dictionaries, which are not read but looked into: a key of one
//! letter stands there in a form of its own, and a short text or a truth value behind it.

use super::glance::Glance;
use super::library::{
    Job, LOOKED_AT_MAX, PLAIN, QueueLibrary, Remembered, Role::*, Told, Workers, number, printed,
    state,
};
use std::collections::BTreeSet;

const JOB: &[u8] = b"arq:job:";
const IN_PROGRESS: &[u8] = b"arq:in-progress:";
const RESULT: &[u8] = b"arq:result:";
const RETRY: &[u8] = b"arq:retry:";
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
    is_queue,
    workers: |view, base| {
        let count = usize::from(view.exists(&[base, HEALTH].concat()));
        Workers { count, at_work: 0 }
    },
    job,
    told,
    ..PLAIN
};

fn is_queue(view: Glance, base: &[u8]) -> bool {
    let first = view.zset(base).map(|zset| [JOB, &zset.at(0).0].concat());
    first.is_some_and(|job| view.exists(&job)) || view.exists(&[base, HEALTH].concat())
}

/// What stands in a pickled dictionary behind a key of one letter.
fn behind(pickled: &[u8], letter: u8) -> Option<&[u8]> {
    let key = [0x8c, 1, letter, 0x94];
    let at = pickled.windows(key.len()).position(|it| it == key)?;
    Some(&pickled[at + key.len()..])
}

/// A text of less than 256 bytes behind such a key.
fn text_behind(pickled: &[u8], letter: u8) -> Option<Vec<u8>> {
    match behind(pickled, letter)? {
        [0x8c, len, text @ ..] => text.get(..usize::from(*len)).map(<[u8]>::to_vec),
        _ => None,
    }
}

/// Whether a result is that of success.
fn is_success(pickled: &[u8]) -> bool {
    const TRUE: u8 = 0x88;
    behind(pickled, b's').is_some_and(|rest| rest.first() == Some(&TRUE))
}

fn job(view: Glance, _: &[u8], id: &[u8]) -> Option<Job> {
    let pickled = [JOB, RESULT].iter().find_map(|before| view.text(&[*before, id].concat()))?;
    Some(Job {
        id: id.to_vec(),
        name: text_behind(&pickled, b'f').unwrap_or_default(),
        attempts_made: number(view.text(&[RETRY, id].concat())).unwrap_or(1),
        data: printed(pickled),
        ..Job::default()
    })
}

/// Of a job whose result is not kept, nothing tells how it has ended.
fn told(view: Glance, changed: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    let id = [IN_PROGRESS, RESULT].iter().find_map(|before| changed.strip_prefix(*before));
    let base = match id {
        Some(id) => remembered.base_of(id),
        // Emptied, it is known by its worker's mark.
        None => Some(changed.to_vec()).filter(|base| is_queue(view, base)),
    };
    let Some(base) = base else { return Vec::new() };
    let mut ids: BTreeSet<Vec<u8>> = remembered.unended(&base).into_iter().collect();
    ids.extend(view.members(&base, 0..LOOKED_AT_MAX));
    let told = ids.into_iter().map(|id| {
        let score = view.zset(&base).and_then(|zset| zset.score(&id));
        let result = view.text(&[RESULT, &id].concat());
        let what = match (score, result) {
            (Some(_), _) if view.exists(&[IN_PROGRESS, &id].concat()) => "active",
            (Some(at_ms), _) if at_ms as i64 > view.now_ms() => "delayed",
            (Some(_), _) => "waiting",
            (None, Some(pickled)) if is_success(&pickled) => "completed",
            (None, Some(_)) => "failed",
            (None, None) => "removed",
        };
        Told { base: base.clone(), id, what, reason: Vec::new() }
    });
    told.collect()
}
