//! dramatiq 2 on its broker for Redis. A queue is a list of ids, and a hash of messages in JSON by
//! them; what is delayed, or has failed for good, stands in two more hashes. Each time that a
//! message is given to the list again it gets another id there, so jobs go by the message's own.

use super::glance::Glance;
use super::library::{
    IN_HAND_MAX, InHand, Job, JobPlace, LOOKED_AT_MAX, PLAIN, QueueLibrary, Remembered, Role::*,
    Told, Workers, after_last_colon, exception, in_hand, state,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The ends of the keys that hold messages: those that wait or are taken, delayed ones, dead ones.
const MESSAGES: &str = ".msgs";
const DELAYED: &str = ".DQ.msgs";
const DEAD: &str = ".XQ.msgs";

/// What a message can stand in beside its queue's list: a state, the key of its id there, and that
/// of the message. From delayed ones workers take what they keep until it is due.
const BESIDE: &[(&str, &str, &str)] = &[("delayed", ".DQ", DELAYED), ("dead", ".XQ", DEAD)];

/// A process that has not been heard of for so long has no workers: they ask at least that often.
const HEARTBEAT_MS: i64 = 10_000;

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "dramatiq",
    states: &[
        in_hand("taken", Working),
        state("waiting", Ready, "", ""),
        in_hand("delayed", Later),
        in_hand("dead", Failed),
    ],
    takes_first: true,
    bases: |_, key| {
        let base =
            [DELAYED, DEAD, MESSAGES].iter().find_map(|end| key.strip_suffix(end.as_bytes()));
        base.filter(|base| base.contains(&b':')).map(<[u8]>::to_vec).into_iter().collect()
    },
    is_queue: |view, base| {
        [MESSAGES, DELAYED, DEAD].iter().any(|end| {
            let hash = view.hash(&[base, end.as_bytes()].concat());
            hash.is_some_and(|hash| hash.iter().next().is_some_and(|(_, it)| read(&it).is_some()))
        })
    },
    display: after_last_colon,
    workers,
    in_hand: with_workers,
    stands: |view, base, state| {
        let beside = BESIDE.iter().filter(|(name, ..)| *name == state.name);
        let all = beside.flat_map(|(_, key, end)| {
            let key = [base, key.as_bytes()].concat();
            let texts = messages(view, base, end, IN_HAND_MAX).into_iter();
            texts.filter_map(move |text| {
                let message = read(&text)?;
                let member = message["options"]["redis_message_id"].as_str()?.into();
                Some(JobPlace { id: id_of(&message), key: key.clone(), member })
            })
        });
        all.collect()
    },
    job,
    is_job: |view, base, member, id| {
        message_at(view, base, MESSAGES, member).is_some_and(|text| has_id(&text, id))
    },
    told,
    ..PLAIN
};

/// None if it is no message of this library.
fn read(text: &[u8]) -> Option<Json> {
    let is_one = |it: &Json| it["message_id"].is_string() && it["actor_name"].is_string();
    serde_json::from_slice(text).ok().filter(is_one)
}

fn id_of(message: &Json) -> Vec<u8> {
    message["message_id"].as_str().unwrap_or_default().into()
}

/// Whether it is the message with an id.
fn has_id(text: &[u8], id: &[u8]) -> bool {
    read(text).is_some_and(|message| id_of(&message) == id)
}

fn reason_of(message: &Json) -> Vec<u8> {
    exception(message["options"]["traceback"].as_str().unwrap_or_default()).into()
}

fn message_at(view: Glance, base: &[u8], end: &str, id: &[u8]) -> Option<Vec<u8>> {
    Some(view.hash(&[base, end.as_bytes()].concat())?.get(id)?.to_vec())
}

/// A message that is delayed, by the id that stands for it in a list.
pub fn delayed_message(view: Glance, base: &[u8], id: &[u8]) -> Option<Vec<u8>> {
    message_at(view, base, DELAYED, id)
}

/// What stands in one of the three hashes, at most so much.
fn messages(view: Glance, base: &[u8], end: &str, most: usize) -> Vec<Vec<u8>> {
    let hash = view.hash(&[base, end.as_bytes()].concat());
    hash.map(|hash| hash.iter().take(most).map(|(_, it)| it.to_vec()).collect()).unwrap_or_default()
}

/// The key `NAMESPACE:__PART__` beside a queue's.
fn beside(base: &[u8], part: &str) -> Vec<u8> {
    let namespace = &base[..base.len() - after_last_colon(base).len()];
    [namespace, part.as_bytes()].concat()
}

/// The ids that a process has taken from a queue: what it does, and what it will do next.
fn acks(base: &[u8], process: &[u8]) -> Vec<u8> {
    let before = beside(base, "__acks__.");
    [&before, process, b".", after_last_colon(base)].concat()
}

/// Processes are heard of whenever they ask, those that only add messages as well.
fn workers(view: Glance, base: &[u8]) -> Workers {
    let heard = view.scored(&beside(base, "__heartbeats__"), IN_HAND_MAX).into_iter();
    let since_ms = view.now_ms() - HEARTBEAT_MS;
    let count = heard.filter(|(_, heard_ms)| *heard_ms as i64 >= since_ms).count();
    Workers { count, at_work: 0 }
}

fn with_workers(view: Glance, base: &[u8]) -> Vec<InHand> {
    let mut all = Vec::new();
    let mut tell = |state, text: &[u8]| {
        if let Some(message) = read(text) {
            let due_ms = message["options"]["eta"].as_i64().filter(|_| state == "delayed");
            all.push(InHand { state, id: id_of(&message), due_ms });
        }
    };
    for (process, _) in view.scored(&beside(base, "__heartbeats__"), IN_HAND_MAX) {
        for id in view.members(&acks(base, &process), 0..IN_HAND_MAX) {
            tell("taken", &message_at(view, base, MESSAGES, &id).unwrap_or_default());
        }
    }
    for (state, _, end) in BESIDE {
        messages(view, base, end, IN_HAND_MAX).iter().for_each(|text| tell(state, text));
    }
    all
}

fn job(view: Glance, base: &[u8], member: &[u8]) -> Option<Job> {
    let mut ends = [MESSAGES, DELAYED, DEAD].into_iter();
    let by_member = message_at(view, base, MESSAGES, member);
    let text = by_member.or_else(|| {
        ends.find_map(|end| {
            let mut all = messages(view, base, end, IN_HAND_MAX).into_iter();
            all.find(|text| has_id(text, member))
        })
    })?;
    let message = read(&text)?;
    let options = &message["options"];
    let data = serde_json::json!({ "args": message["args"], "kwargs": message["kwargs"] });
    let traceback = options["traceback"].as_str().map(String::from);
    Some(Job {
        id: id_of(&message),
        name: message["actor_name"].as_str().unwrap_or_default().into(),
        data: data.to_string().into_bytes(),
        attempts_made: options["retries"].as_u64().unwrap_or(0),
        attempts_max: options["max_retries"].as_u64().map_or(0, |retries| retries + 1),
        added_ms: message["message_timestamp"].as_i64(),
        failed_reason: reason_of(&message),
        stacktrace: traceback.into_iter().collect(),
        ..Job::default()
    })
}

/// Where each message stands by now, and what has become of those that stood somewhere. That one
/// which is gone has ended well is only said while all that there are can be looked at.
fn told(view: Glance, changed: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    let Some(base) = (LIBRARY.bases)(view, changed).pop() else { return Vec::new() };
    let mut standing: BTreeMap<Vec<u8>, (&str, Vec<u8>)> = BTreeMap::new();
    let mut sees_all = true;
    // Later ones count: a message that is tried again later is in two places for a moment.
    for (end, what) in [(MESSAGES, "waiting"), (DELAYED, "delayed"), (DEAD, "failed")] {
        let texts = messages(view, &base, end, LOOKED_AT_MAX);
        sees_all &= texts.len() < LOOKED_AT_MAX;
        for message in texts.iter().filter_map(|text| read(text)) {
            let reason = if what == "failed" { reason_of(&message) } else { Vec::new() };
            standing.insert(id_of(&message), (what, reason));
        }
    }
    for taken in with_workers(view, &base).into_iter().filter(|job| job.state == "taken") {
        if let Some(place) = standing.get_mut(&taken.id).filter(|place| place.0 == "waiting") {
            place.0 = "active";
        }
    }
    let gone = remembered.unended(&base).into_iter().filter(|id| !standing.contains_key(id));
    let gone: Vec<Vec<u8>> = gone.filter(|_| sees_all).collect();
    let ended = gone.into_iter().map(|id| (id, ("completed", Vec::new())));
    let all = standing.into_iter().chain(ended);
    all.map(|(id, (what, reason))| Told { base: base.clone(), id, what, reason }).collect()
}
