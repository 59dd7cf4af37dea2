//! What BullMQ and Bull, its predecessor, have in common: the keys below `PREFIX:NAME:`, the names
//! of their workers' connections, and a job's hash.

use super::glance::Glance;
use super::library::{Brief, Job, JobHash, Workers, after_last_colon, has_asked, number};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

/// How the key of a job's lock ends, and that of the mark that jobs were looked for.
pub const LOCK: &str = ":lock";
pub const STALL_CHECK: &str = ":stalled-check";

/// `PREFIX:NAME:ID`. That of a scheduler has no moment at which it was added.
pub const JOB_HASH: JobHash = JobHash {
    before: "",
    queue: "",
    mark: "timestamp",
    name: "name",
    data: "data",
    error: "failedReason",
};

/// `PREFIX:NAME:WHAT`.
pub fn key(base: &[u8], what: &str) -> Vec<u8> {
    [base, b":", what.as_bytes()].concat()
}

/// A delayed job's score is its moment times 4096, and a count of those of the same millisecond.
pub fn due_ms(score: f64) -> i64 {
    (score / 4096.0).floor() as i64
}

/// Until when jobs that a limiter counts are held back; None if it counts none.
pub fn limited_until_ms(view: Glance, base: &[u8]) -> Option<i64> {
    view.expires_ms(&key(base, "limiter"))
}

/// What the connection that a worker waits on calls itself: `PREFIX:base64(NAME)`, and `:w:` with
/// the worker's own name behind it if it has one.
pub fn is_worker_name(name: &[u8], base: &[u8]) -> bool {
    let queue = after_last_colon(base);
    let prefix = &base[..base.len() - queue.len()];
    let Some(rest) = name.strip_prefix(prefix) else { return false };
    let Some(rest) = rest.strip_prefix(BASE64.encode(queue).as_bytes()) else { return false };
    rest.is_empty() || rest.starts_with(b":w:")
}

/// The queue that a worker's connection is named for.
pub fn base_of_worker(name: &[u8]) -> Option<Vec<u8>> {
    let name = match name.windows(3).position(|three| three == b":w:") {
        Some(at) => &name[..at],
        None => name,
    };
    let encoded = after_last_colon(name);
    let prefix = &name[..name.len() - encoded.len()];
    let queue = BASE64.decode(encoded).ok()?;
    (!prefix.is_empty() && !queue.is_empty()).then(|| [prefix, &queue].concat())
}

/// The workers in the database of a queue.
pub fn workers(view: Glance, asks: &[&str], base: &[u8]) -> Workers {
    let mut workers = Workers::default();
    for client in view.engine.clients.iter().filter(|client| client.db == view.db) {
        if is_worker_name(&client.name, base) {
            workers.count += 1;
            workers.at_work += usize::from(has_asked(client, asks) && !client.is_blocked());
        }
    }
    workers
}

/// None if its hash is gone.
pub fn job(view: Glance, base: &[u8], id: &[u8]) -> Option<Job> {
    let hash = view.hash(&[base, b":", id].concat())?;
    let text = |field: &str| hash.get(field.as_bytes()).map(|item| item.to_vec());
    let opts: Option<Json> = text("opts").and_then(|it| serde_json::from_slice(&it).ok());
    let opts = opts.unwrap_or_default();
    let stacktrace = text("stacktrace").and_then(|it| serde_json::from_slice(&it).ok());
    Some(Job {
        id: id.to_vec(),
        name: text("name").unwrap_or_default(),
        data: text("data").unwrap_or_default(),
        attempts_made: number(text("atm").or_else(|| text("attemptsMade"))).unwrap_or(0),
        attempts_max: opts["attempts"].as_u64().unwrap_or(0).max(1),
        added_ms: number(text("timestamp")),
        started_ms: number(text("processedOn")),
        ended_ms: number(text("finishedOn")),
        failed_reason: text("failedReason").unwrap_or_default(),
        stacktrace: stacktrace.unwrap_or_default(),
        worker: text("pb").unwrap_or_default(),
        progress: text("progress").unwrap_or_default(),
        result: text("returnvalue").unwrap_or_default(),
        parent: text("parentKey").unwrap_or_default(),
        opts: text("opts").unwrap_or_default(),
        priority: number(text("priority")).unwrap_or(0),
        deduplication: text("deid").unwrap_or_default(),
    })
}

/// None as for `job`.
pub fn brief(view: Glance, base: &[u8], id: &[u8]) -> Option<Brief> {
    let hash = view.hash(&[base, b":", id].concat())?;
    let text = |field: &str| hash.get(field.as_bytes()).map(|it| it.to_vec()).unwrap_or_default();
    Some(Brief { name: text("name"), failed_reason: text("failedReason") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_the_name_of_its_connection() {
        let check = |name: &str, base: &str, expect: bool| {
            assert_eq!(is_worker_name(name.as_bytes(), base.as_bytes()), expect, "{name} {base}");
        };
        check("bull:bWFpbA==", "bull:mail", true);
        check("bull:bWFpbA==:w:first", "bull:mail", true);
        check("app:prod:bull:bWFpbA==", "app:prod:bull:mail", true);
        check("bull:bWFpbA==:qe", "bull:mail", false);
        check("bull:bWFpbA==", "bull:mails", false);
        check("bull:mail", "bull:mail", false);
        check("other:bWFpbA==", "bull:mail", false);
    }

    #[test]
    fn the_name_of_a_connection_tells_its_queue() {
        let base = |name: &str| base_of_worker(name.as_bytes());
        assert_eq!(base("bull:bWFpbA=="), Some(b"bull:mail".to_vec()));
        assert_eq!(base("a:b:bWFpbA==:w:x"), Some(b"a:b:mail".to_vec()));
        assert_eq!(base("bull:bWFpbA==:qe"), None);
        assert_eq!(base("someone"), None);
    }

    #[test]
    fn a_score_tells_the_moment() {
        let ms = 1_764_435_600_123_i64;
        assert_eq!(due_ms(ms as f64 * 4096.0), ms);
        assert_eq!(due_ms(ms as f64 * 4096.0 + 4095.0), ms);
    }
}
