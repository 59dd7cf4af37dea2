//! Celery 5 on kombu's transport for Redis. A queue is a list of messages in JSON, with three more
//! for its priorities; what workers hold, of all queues, stands in the hash `unacked`. A task with
//! an ETA waits inside of a worker, and so in that hash. A task leaves it when it is acknowledged:
//! at its end with `acks_late`, else at its beginning, after which no key tells that it runs.

use super::glance::Glance;
use super::library::{
    IN_HAND_MAX, InHand, Job, LOOKED_AT_MAX, PLAIN, QueueLibrary, Remembered, Role::*, Told,
    Workers, has_asked, in_hand, state,
};
use crate::util::calendar;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

/// Before it stands the prefix of all keys, where `global_keyprefix` gives one.
const BINDING: &[u8] = b"_kombu.binding.";
const SEPARATOR: &[u8] = b"\x06\x16";

/// Queues of the machinery itself.
const CONTROL: &[&str] = &["celeryev", "reply.celery.pidbox"];
const CONTROL_END: &[u8] = b".pidbox";

const UNACKED: &[u8] = b"unacked";

/// Where the backend for results keeps what became of a task.
const RESULT: &[u8] = b"celery-task-meta-";

/// What it calls that.
const STATUSES: &[(&str, &str)] = &[
    ("STARTED", "active"),
    ("RETRY", "delayed"),
    ("SUCCESS", "completed"),
    ("FAILURE", "failed"),
    ("REVOKED", "failed"),
];

/// What workers hold, in their own words for it: what they do or are about to do, and what waits
/// for its ETA with them.
const RESERVED: &str = "reserved";
const SCHEDULED: &str = "scheduled";

/// How workers ask for tasks.
const ASKS: &[&str] = &["brpop"];

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "Celery",
    kept: &["*mutex*"],
    states: &[
        state("waiting", Ready, "", ""),
        state("waiting (3)", Ready, "", "\x06\x163"),
        state("waiting (6)", Ready, "", "\x06\x166"),
        state("waiting (9)", Ready, "", "\x06\x169"),
        in_hand(RESERVED, Working),
        in_hand(SCHEDULED, Later),
    ],
    bases,
    // Its bindings say so.
    is_queue: |_, _| true,
    workers,
    in_hand: with_workers,
    job,
    is_job: |_, _, member, id| serde_json::from_slice(member).is_ok_and(|it| id_of(&it) == id),
    told,
    ..PLAIN
};

/// The queues of an exchange, from its bindings.
fn bases(view: Glance, key: &[u8]) -> Vec<Vec<u8>> {
    let Some(at) = key.windows(BINDING.len()).position(|it| it == BINDING) else {
        return Vec::new();
    };
    let bindings = view.set(key);
    let names = bindings.into_iter().flat_map(|bindings| bindings.iter()).map(|binding| {
        let at = binding.windows(SEPARATOR.len()).rposition(|two| two == SEPARATOR);
        binding[at.map_or(0, |at| at + SEPARATOR.len())..].to_vec()
    });
    names.filter(|name| !is_control(name)).map(|name| [&key[..at], &name].concat()).collect()
}

/// The channel on which the workers of a queue hear orders.
pub fn orders(view: Glance, base: &[u8]) -> Vec<u8> {
    let channel = format!("/{}.celery.pidbox", view.db).into_bytes();
    [&base[..prefix_len(view, base)], &channel].concat()
}

/// How much of a queue's base is the prefix of all keys: an exchange that is named as the queue is
/// tells, as there mostly is one.
fn prefix_len(view: Glance, base: &[u8]) -> usize {
    let is_it = |at: &usize| view.exists(&[&base[..*at], BINDING, &base[*at..]].concat());
    (0..base.len()).find(is_it).unwrap_or(0)
}

fn is_control(name: &[u8]) -> bool {
    name.ends_with(CONTROL_END) || CONTROL.iter().any(|it| name.starts_with(it.as_bytes()))
}

/// A worker waits on all its lists at once. Between what it was given and its next wait, what it
/// was given stands nowhere: who has asked and does not wait may have a task of any queue.
fn workers(view: Glance, base: &[u8]) -> Workers {
    let clients = view.engine.clients.iter().filter(|client| client.db == view.db);
    let at_work = clients.filter(|client| has_asked(client, ASKS) && !client.is_blocked()).count();
    Workers { count: view.parked_on(base).count() + at_work, at_work }
}

/// The messages of a queue that workers hold.
fn held(view: Glance, base: &[u8]) -> Vec<Json> {
    let (prefix, name) = base.split_at(prefix_len(view, base));
    let Some(unacked) = view.hash(&[prefix, UNACKED].concat()) else { return Vec::new() };
    let messages = unacked.iter().take(IN_HAND_MAX).filter_map(|(_, text)| {
        let [message, _, routing_key]: [Json; 3] = serde_json::from_slice(&text).ok()?;
        let is_of_queue = routing_key.as_str().is_some_and(|key| key.as_bytes() == name);
        is_of_queue.then_some(message)
    });
    messages.collect()
}

fn with_workers(view: Glance, base: &[u8]) -> Vec<InHand> {
    let in_hand = held(view, base).into_iter().map(|message| {
        let due_ms = due_ms(&message);
        let state = if due_ms.is_some() { SCHEDULED } else { RESERVED };
        InHand { state, id: id_of(&message), due_ms }
    });
    in_hand.collect()
}

fn id_of(message: &Json) -> Vec<u8> {
    message["headers"]["id"].as_str().unwrap_or_default().into()
}

fn due_ms(message: &Json) -> Option<i64> {
    message["headers"]["eta"].as_str().and_then(calendar::parse_iso)
}

/// The messages of a queue that wait in its lists, the newest of each list first.
fn waiting(view: Glance, base: &[u8]) -> impl Iterator<Item = Json> {
    let lists = LIBRARY.states.iter().filter(|state| !state.is_in_hand);
    let keys = lists.map(move |state| state.key(base));
    let texts = keys.flat_map(move |key| view.members(&key, 0..LOOKED_AT_MAX));
    texts.filter_map(|text| serde_json::from_slice(&text).ok())
}

/// In its list stands the whole message.
fn job(view: Glance, base: &[u8], id: &[u8]) -> Option<Job> {
    let message = serde_json::from_slice(id).ok().filter(Json::is_object).or_else(|| {
        let mut messages = held(view, base).into_iter().chain(waiting(view, base));
        messages.find(|message| id_of(message) == id)
    })?;
    let headers = &message["headers"];
    let body = message["body"].as_str().and_then(|text| BASE64.decode(text).ok());
    let body: Option<Json> = body.and_then(|text| serde_json::from_slice(&text).ok());
    // Arguments by position, arguments by name, and what is none of the task's business.
    let data = body.map(|body| serde_json::json!({ "args": body[0], "kwargs": body[1] }));
    Some(Job {
        id: id_of(&message),
        name: headers["task"].as_str().unwrap_or_default().into(),
        data: data.map(|data| data.to_string().into_bytes()).unwrap_or_default(),
        attempts_made: headers["retries"].as_u64().unwrap_or(0) + 1,
        ..Job::default()
    })
}

/// What ended tells the backend for results alone: without one, a task stays active.
fn told(view: Glance, changed: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    if let Some(id) = changed.strip_prefix(RESULT) {
        return result(view, changed, id, remembered).into_iter().collect();
    }
    let told = |base: &[u8], message: &Json, what| Told {
        base: base.into(),
        id: id_of(message),
        what,
        reason: Vec::new(),
    };
    if changed == UNACKED {
        let Some(unacked) = view.hash(UNACKED) else { return Vec::new() };
        let messages = unacked.iter().filter_map(|(_, text)| {
            let [message, _, routing_key]: [Json; 3] = serde_json::from_slice(&text).ok()?;
            // Acknowledged late: its result is there before.
            if has_ended(view, &id_of(&message)) {
                return None;
            }
            let is_later = due_ms(&message).is_some_and(|at| at > view.now_ms());
            let what = if is_later { "delayed" } else { "active" };
            Some(told(routing_key.as_str()?.as_bytes(), &message, what))
        });
        return messages.collect();
    }
    // A list: a message that is added is its first.
    let Some(text) = view.list(changed).and_then(|list| list.iter().next().map(|it| it.to_vec()))
    else {
        return Vec::new();
    };
    let Ok(message) = serde_json::from_slice::<Json>(&text) else { return Vec::new() };
    let key = message["properties"]["delivery_info"]["routing_key"].as_str();
    let is_new =
        key.is_some_and(|base| !remembered.unended(base.as_bytes()).contains(&id_of(&message)));
    match key {
        Some(base) if is_new && !is_control(base.as_bytes()) => {
            vec![told(base.as_bytes(), &message, "waiting")]
        }
        _ => Vec::new(),
    }
}

fn has_ended(view: Glance, id: &[u8]) -> bool {
    let text = view.text(&[RESULT, id].concat()).unwrap_or_default();
    let result: Json = serde_json::from_slice(&text).unwrap_or_default();
    let what = STATUSES.iter().find(|(name, _)| result["status"] == *name).map(|(_, what)| *what);
    matches!(what, Some("completed" | "failed"))
}

fn result(view: Glance, key: &[u8], id: &[u8], remembered: &dyn Remembered) -> Option<Told> {
    let result: Json = serde_json::from_slice(&view.text(key)?).ok()?;
    let status = result["status"].as_str()?;
    let (_, what) = STATUSES.iter().find(|(name, _)| *name == status)?;
    let reason = result["result"]["exc_message"].to_string();
    let reason = if *what == "failed" { reason.into_bytes() } else { Vec::new() };
    Some(Told { base: remembered.base_of(id)?, id: id.into(), what, reason })
}
