//! Celery 5 on kombu's transport for Redis. A queue is a list of messages in JSON, with three more
//! for its priorities; what workers hold, of all queues, stands in the hash `unacked`. A task with
//! an ETA waits inside of a worker, and so in that hash.

use super::library::{InHand, Library, PLAIN, Role::*, Workers, state};
use super::view::View;
use crate::util::calendar;
use serde_json::Value as Json;

const BINDING: &[u8] = b"_kombu.binding.";
const SEPARATOR: &[u8] = b"\x06\x16";

/// Queues of the machinery itself.
const CONTROL: &[&str] = &["celeryev", "reply.celery.pidbox"];
const CONTROL_END: &[u8] = b".pidbox";

const UNACKED: &[u8] = b"unacked";

pub const LIBRARY: Library = Library {
    name: "Celery",
    kept: &["*mutex*"],
    states: &[
        state("waiting", Ready, "", ""),
        state("waiting (3)", Ready, "", "\x06\x163"),
        state("waiting (6)", Ready, "", "\x06\x166"),
        state("waiting (9)", Ready, "", "\x06\x169"),
    ],
    bases: |view, key, found| {
        if !key.starts_with(BINDING) {
            return;
        }
        let Some(bindings) = view.set(key) else { return };
        for binding in bindings.iter() {
            let at = binding.windows(SEPARATOR.len()).rposition(|two| two == SEPARATOR);
            let name = at.map_or(&binding[..], |at| &binding[at + SEPARATOR.len()..]);
            if !is_control(name) {
                found(name);
            }
        }
    },
    // Its bindings say so.
    is_queue: |_, _| true,
    workers: |view, base| {
        let parked = view.parked_on(base).count();
        Workers { count: parked, parked }
    },
    in_hand,
    ..PLAIN
};

fn is_control(name: &[u8]) -> bool {
    name.ends_with(CONTROL_END) || CONTROL.iter().any(|it| name.starts_with(it.as_bytes()))
}

/// The messages of a queue that workers hold.
fn in_hand(view: View, base: &[u8]) -> Vec<InHand> {
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
