//! Celery 5 on kombu's transport for Redis. A queue is a list of messages in JSON, with three more
//! for its priorities; what workers hold, of all queues, stands in the hash `unacked`. A task with
//! an ETA waits inside of a worker, and so in that hash. A task leaves it when it is acknowledged:
//! at its end with `acks_late`, else at its beginning, after which no key tells that it runs.

use super::glance::Glance;
use super::library::{InHand, PLAIN, QueueLibrary, Role::*, Workers, has_asked, state};
use crate::util::calendar;
use serde_json::Value as Json;

const BINDING: &[u8] = b"_kombu.binding.";
const SEPARATOR: &[u8] = b"\x06\x16";

/// Queues of the machinery itself.
const CONTROL: &[&str] = &["celeryev", "reply.celery.pidbox"];
const CONTROL_END: &[u8] = b".pidbox";

const UNACKED: &[u8] = b"unacked";

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
    ],
    bases,
    // Its bindings say so.
    is_queue: |_, _| true,
    workers,
    in_hand,
    ..PLAIN
};

/// The queues of an exchange, from its bindings.
fn bases(view: Glance, key: &[u8]) -> Vec<Vec<u8>> {
    let bindings = view.set(key).filter(|_| key.starts_with(BINDING));
    let names = bindings.into_iter().flat_map(|bindings| bindings.iter()).map(|binding| {
        let at = binding.windows(SEPARATOR.len()).rposition(|two| two == SEPARATOR);
        binding[at.map_or(0, |at| at + SEPARATOR.len())..].to_vec()
    });
    names.filter(|name| !is_control(name)).collect()
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
fn in_hand(view: Glance, base: &[u8]) -> Vec<InHand> {
    let Some(unacked) = view.hash(UNACKED) else { return Vec::new() };
    let messages = unacked.iter().filter_map(|(_, text)| {
        let [message, _, routing_key]: [Json; 3] = serde_json::from_slice(&text).ok()?;
        let is_of_queue = routing_key.as_str().is_some_and(|key| key.as_bytes() == base);
        is_of_queue.then(|| InHand {
            id: message["headers"]["id"].as_str().unwrap_or_default().into(),
            due_ms: message["headers"]["eta"].as_str().and_then(calendar::parse_iso),
        })
    });
    messages.collect()
}
