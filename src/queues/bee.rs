//! bee-queue 2. A queue's jobs are texts of JSON in one hash, `jobs`.

use super::bull_keys::key;
use super::glance::Glance;
use super::library::{
    Job, PLAIN, QueueLibrary, Role::*, Workers, after_last_colon, base_before, state,
};
use serde_json::Value as Json;

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
