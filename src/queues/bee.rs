//! bee-queue 2. A queue's jobs are texts of JSON in one hash, `jobs`.

use super::bull_keys::key;
use super::glance::Glance;
use super::library::{
    Job, LOOKED_AT_MAX, PLAIN, QueueLibrary, Remembered, Role::*, Told, Workers, after_last_colon,
    base_before, state,
};
use serde_json::Value as Json;
use std::collections::BTreeSet;

const PARTS: &[&str] =
    &["id", "jobs", "waiting", "active", "delayed", "succeeded", "failed", "stallBlock"];

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "bee-queue",
    kept: &["*:stallBlock"],
    states: &[
        state("active", Working, "", ":active"),
        state("waiting", Ready, "", ":waiting"),
        state("delayed", Later, "", ":delayed"),
        state("succeeded", Completed, "", ":succeeded"),
        state("failed", Failed, "", ":failed"),
    ],
    bases: |_, key| base_before(key, PARTS),
    is_queue: |view, base| {
        let has = |what| view.exists(&key(base, what));
        has("jobs") || has("stallBlock") || has("waiting")
    },
    display: after_last_colon,
    workers: |view, base| {
        let count = view.parked_on(&key(base, "waiting")).count();
        Workers { count, at_work: 0 }
    },
    job,
    told,
    wake_call: Some((":earlierDelayed", "0")),
    ..PLAIN
};

fn job(view: Glance, base: &[u8], id: &[u8]) -> Option<Job> {
    let text = view.field(&key(base, "jobs"), std::str::from_utf8(id).ok()?)?;
    let job: Json = serde_json::from_slice(&text).ok()?;
    let options = &job["options"];
    let stacktrace: Vec<String> = options["stacktraces"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|trace| trace.as_str().map(String::from))
        .collect();
    let reason = stacktrace.first().and_then(|trace| trace.lines().next()).unwrap_or_default();
    Some(Job {
        id: id.to_vec(),
        data: job["data"].to_string().into_bytes(),
        attempts_made: stacktrace.len() as u64,
        attempts_max: options["retries"].as_u64().unwrap_or(0) + stacktrace.len() as u64,
        added_ms: options["timestamp"].as_i64(),
        failed_reason: reason.as_bytes().to_vec(),
        stacktrace,
        ..Job::default()
    })
}

/// A change of any key of a queue may be that of a job's state: all are looked at that are there or
/// were. Of one that is removed as soon as it has ended, nothing tells how it has.
fn told(view: Glance, changed: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    let Some(base) = base_before(changed, PARTS).pop() else { return Vec::new() };
    if !(LIBRARY.is_queue)(view, &base) {
        return Vec::new();
    }
    let members = |what: &str| -> BTreeSet<Vec<u8>> {
        view.members(&key(&base, what), 0..LOOKED_AT_MAX).into_iter().collect()
    };
    let [active, waiting, delayed] = ["active", "waiting", "delayed"].map(members);
    let is_in =
        |what: &str, id: &[u8]| view.set(&key(&base, what)).is_some_and(|set| set.contains(id));
    let is_there = |id: &[u8]| {
        let id = std::str::from_utf8(id).ok();
        id.is_some_and(|id| view.field(&key(&base, "jobs"), id).is_some())
    };
    let mut ids: BTreeSet<Vec<u8>> = remembered.unended(&base).into_iter().collect();
    ids.extend([&active, &waiting, &delayed].into_iter().flatten().cloned());
    let told = ids.into_iter().filter_map(|id| {
        let what = match () {
            () if active.contains(&id) => "active",
            () if waiting.contains(&id) => "waiting",
            () if delayed.contains(&id) => "delayed",
            () if is_in("succeeded", &id) => "completed",
            () if is_in("failed", &id) => "failed",
            () if !is_there(&id) => "removed",
            // On its way from one to another.
            () => return None,
        };
        Some(Told { base: base.clone(), id, what, reason: Vec::new() })
    });
    told.collect()
}
