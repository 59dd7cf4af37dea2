//! What can be done to queues of BullMQ, versions 4 to 6: each action does to the keys what the
//! library's own would. tests/clients/http/actions.test.js compares the two on twin queues.

use super::{Order, PageAction, compact_json, row};
use crate::engine::Engine;
use crate::queues::{JobState, Queue, Role};
use serde_json::{Map, Value as Json};

/// Versions before have other keys for priorities.
pub const ERA_MIN: u32 = 4;

/// Options of a job that mean something to one that is made after it.
const OPTIONS_KEPT: &[&str] = &[
    "attempts",
    "backoff",
    "lifo",
    "keepLogs",
    "kl",
    "removeOnComplete",
    "removeOnFail",
    "sizeLimit",
    "stackTraceLimit",
];

/// The major version of a queue's library. Old ones do not write it: what only they have tells
/// them.
pub fn era(engine: &Engine, queue: &Queue) -> u32 {
    if let Some(version) = queue.version(engine) {
        let major = version.split(|&byte| byte == b'.').next().unwrap_or_default();
        return String::from_utf8_lossy(major).parse().unwrap_or(6);
    }
    match () {
        () if queue.has_markers(engine) => 4,
        () if queue.has_key(engine, "paused") => 5,
        () => 6,
    }
}

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("add",           script!("bullmq/common", "bullmq/add"),                                      add,        "Added job {id} to {queue}"),
    row("clean",         script!("bullmq/common", "bullmq/meant", "bullmq/removal", "bullmq/clean"),  of_state,   "Removed {jobs} of {queue}"),
    row("data",          script!("bullmq/common", "bullmq/data"),                                     data,       "Changed the data of a job of {queue}"),
    row("deduplication", script!("bullmq/common", "bullmq/deduplication"),                            one,        "Jobs like this one may come again to {queue}"),
    row("delay",         script!("bullmq/common", "bullmq/delay"),                                    delay,      "Changed when {jobs} of {queue} will run"),
    row("drain",         script!("bullmq/common", "bullmq/removal", "bullmq/drain"),                  drain,      "Removed {jobs} of {queue}"),
    row("limits",        script!("bullmq/common", "bullmq/limits"),                                   limits,     "Changed the limits of {queue}"),
    row("obliterate",    script!("bullmq/common", "bullmq/removal", "emptied", "bullmq/obliterate"),  obliterate, "Removed {queue} and {jobs}"),
    row("pause",         script!("bullmq/common", "bullmq/pause"),                                    nothing,    "Paused {queue}"),
    row("priority",      script!("bullmq/common", "bullmq/priority"),                                 priority,   "Changed the priority of {jobs} of {queue}"),
    row("promote",       script!("bullmq/common", "bullmq/meant", "bullmq/promote"),                  promote,    "Let {jobs} of {queue} run now"),
    row("remove",        script!("bullmq/common", "bullmq/meant", "bullmq/removal", "bullmq/remove"), remove,     "Removed {jobs} of {queue}"),
    row("resume",        script!("bullmq/common", "bullmq/resume"),                                   nothing,    "Resumed {queue}"),
    row("retry",         script!("bullmq/common", "bullmq/meant", "bullmq/retry"),                    retry,      "Retried {jobs} of {queue}"),
    row("run",           script!("bullmq/common", "bullmq/run"),                                      scheduler,  "Let a scheduler of {queue} run now"),
    row("unlimit",       script!("bullmq/common", "bullmq/unlimit"),                                  nothing,    "The rate of {queue} is counted anew"),
    row("unlock",        script!("bullmq/common", "bullmq/unlock"),                                   one,        "Dropped the lock of a job of {queue}"),
    row("unschedule",    script!("bullmq/common", "bullmq/removal", "bullmq/unschedule"),             scheduler,  "Removed a scheduler of {queue}"),
];

/// # Errors
/// There are none.
pub fn nothing(_: &Order) -> Result<Vec<Vec<u8>>, String> {
    Ok(Vec::new())
}

fn one(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    Ok(vec![order.id()?.to_vec()])
}

/// The end of a state's key.
fn part(state: &JobState) -> Vec<u8> {
    state.after.trim_start_matches(':').into()
}

/// The state that is named.
pub fn state(order: &Order) -> Result<&'static JobState, String> {
    let states = order.queue.library.states;
    let name = order.text("state");
    states.iter().find(|state| state.name == name).ok_or_else(|| {
        let names: Vec<&str> = states.iter().map(|state| state.name).collect();
        format!("there is no state '{name}': {}", names.join(", "))
    })
}

/// Some jobs by their ids, or as many of a state as were asked for.
pub fn meant(order: &Order, state: &JobState) -> Result<Vec<Vec<u8>>, String> {
    if !order.ids.is_empty() {
        let named = [part(state), Vec::new()].into_iter().chain(order.ids.iter().cloned());
        return Ok(named.collect());
    }
    let count = order.number("count")?.ok_or("say which jobs: 'ids', or a 'count' of the state")?;
    let skip = order.number("skip")?.unwrap_or(0);
    let (field, value) = match (order.text("error"), order.text("name")) {
        ("", "") => ("", ""),
        ("", name) => ("name", name),
        (error, _) => ("failedReason", error),
    };
    let older_ms = order.span_ms("older")?;
    let before = match older_ms {
        0 => String::new(),
        _ => (order.engine.keyspace.now.wall_ms - older_ms as i64).to_string(),
    };
    if older_ms > 0 && !matches!(state.role, Role::Completed | Role::Failed) {
        return Err("only jobs that have ended can be told by their age".into());
    }
    let words = [count.to_string(), skip.to_string(), before, field.into(), value.into()];
    Ok([part(state)].into_iter().chain(words.map(String::into_bytes)).collect())
}

/// # Errors
/// Such jobs are not removed so, or nothing says which are meant.
pub fn of_state(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let state = state(order)?;
    if state.role == Role::Blocked {
        return Err("jobs that wait for their children are removed one by one".into());
    }
    meant(order, state)
}

fn retry(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let state = state(order)?;
    if !matches!(state.role, Role::Completed | Role::Failed) {
        return Err(format!("only jobs that have ended are retried, not {} ones", state.name));
    }
    meant(order, state)
}

/// # Errors
/// Nothing says which are meant.
pub fn promote(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let is_delayed = |state: &&JobState| state.role == Role::Later;
    let delayed = order.queue.library.states.iter().find(is_delayed);
    meant(order, delayed.expect("jobs can be delayed"))
}

/// # Errors
/// No job is named.
pub fn remove(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let named = order.ids()?.iter().cloned();
    Ok([Vec::new(), Vec::new()].into_iter().chain(named).collect())
}

fn flag(is_set: bool) -> Vec<u8> {
    if is_set { b"1".to_vec() } else { b"0".to_vec() }
}

/// # Errors
/// There are none.
pub fn drain(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    Ok(vec![flag(order.is_checked("delayed"))])
}

/// A queue goes only to who has said its name.
pub fn obliterate(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let name = String::from_utf8_lossy(order.queue.name());
    if order.text("confirm") != name {
        return Err(format!("type the queue's name, {name}, to remove all of it"));
    }
    Ok(vec![flag(order.is_checked("force"))])
}

/// # Errors
/// No job is named, or no span.
pub fn delay(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let delay = order.span_ms("delay")?.to_string().into_bytes();
    Ok([delay].into_iter().chain(order.ids()?.iter().cloned()).collect())
}

/// The lowest priority, which is the highest number.
const PRIORITY_MAX: u64 = 2_097_152;

fn priority_in(order: &Order) -> Result<u64, String> {
    let priority = order.number("priority")?.unwrap_or(0);
    match priority {
        0..PRIORITY_MAX => Ok(priority),
        _ => Err(format!("priority is below {PRIORITY_MAX}, and 1 comes first")),
    }
}

fn priority(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let priority = priority_in(order)?.to_string().into_bytes();
    Ok([priority].into_iter().chain(order.ids()?.iter().cloned()).collect())
}

/// # Errors
/// No job is named, or the data is no JSON.
pub fn data(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    Ok(vec![order.id()?.to_vec(), compact_json(order.text("data"))?])
}

fn limits(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let text = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
    let (max, duration_ms) = (order.number("max")?, order.span_ms("duration")?);
    if order.number("concurrency")? == Some(0) {
        return Err("concurrency is 1 at least: pause the queue to let nothing run".into());
    }
    if max.is_some() != (duration_ms > 0) || max == Some(0) {
        return Err("a rate is a number of jobs and a span: both of them, or neither".into());
    }
    let duration = if max.is_some() { duration_ms.to_string() } else { String::new() };
    let words = [text(order.number("concurrency")?), text(max), duration];
    Ok(words.map(String::into_bytes).into())
}

/// A scheduler by its id.
fn scheduler(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    match order.text("scheduler") {
        "" => Err("say which 'scheduler'".into()),
        id => Ok(vec![percent_encoding::percent_decode_str(id).collect()]),
    }
}

/// Keys of a queue of Bull or BullMQ that are no jobs, behind the queue's name.
const KEYS: &[&str] = &[
    "active",
    "completed",
    "delayed",
    "events",
    "failed",
    "id",
    "limiter",
    "marker",
    "meta",
    "meta-paused",
    "paused",
    "pc",
    "prioritized",
    "priority",
    "repeat",
    "stalled",
    "stalled-check",
    "wait",
    "waiting-children",
];

/// A job of its own, or one that is like another.
///
/// # Errors
/// It has no name, or something that it cannot have.
pub fn add(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let name = order.text("name");
    if name.is_empty() {
        return Err("the job wants a name".into());
    }
    let data = match order.text("data").trim() {
        "" => b"{}".to_vec(),
        text => compact_json(text)?,
    };
    let like = order.ids.first().and_then(|id| order.queue.job(order.engine, id));
    let opts: Option<Json> = like.and_then(|job| serde_json::from_slice(&job.opts).ok());
    let mut opts: Map<String, Json> = match opts {
        Some(Json::Object(opts)) => {
            opts.into_iter().filter(|(name, _)| OPTIONS_KEPT.contains(&&**name)).collect()
        }
        _ => Map::new(),
    };
    let (delay, priority) = (order.span_ms("delay")?, priority_in(order)?);
    // Bull writes out what is as it mostly is, too.
    let is_full = order.queue.library.name == "Bull";
    let attempts = order.number("attempts")?.unwrap_or(0).max(is_full.into());
    opts.insert("attempts".into(), attempts.into());
    if is_full {
        opts.insert("timestamp".into(), order.engine.keyspace.now.wall_ms.into());
        opts.insert("delay".into(), 0.into());
    }
    for (name, value) in [("delay", delay), ("priority", priority)] {
        if value > 0 {
            opts.insert(name.into(), value.into());
        }
    }
    let is_next = opts.get("lifo") == Some(&Json::Bool(true));
    let opts = Json::Object(opts).to_string().into_bytes();
    let id = order.text("jobId");
    if id.contains(':') || !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("an id of your own has no colon, and is no number".into());
    }
    if KEYS.contains(&id) {
        return Err(format!("a job '{id}' would lie where the library keeps something of its own"));
    }
    let (delay, priority) = (delay.to_string().into_bytes(), priority.to_string().into_bytes());
    Ok(vec![id.into(), name.into(), data, opts, delay, priority, flag(is_next)])
}
