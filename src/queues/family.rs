//! Schedulers, and jobs that wait for others, as BullMQ keeps them.

use super::bull_keys::key;
use super::glance::Glance;
use super::library::{Relative, Schedule, number};

/// As many schedulers of a queue are told of.
const SCHEDULES_MAX: usize = 200;

/// Where children of a job stand, each with whether they have ended.
const CHILDREN: &[&str] = &[":dependencies", ":processed", ":failed", ":unsuccessful"];

/// By when they run next.
pub fn schedules(view: Glance, base: &[u8]) -> Vec<Schedule> {
    let repeat = key(base, "repeat");
    let Some(zset) = view.zset(&repeat) else { return Vec::new() };
    let all = (0..zset.len().min(SCHEDULES_MAX)).map(|rank| {
        let (id, next) = zset.at(rank);
        let hash = view.hash(&[&*repeat, b":", &id].concat());
        let text = |field: &str| Some(hash.as_ref()?.get(field.as_bytes())?.to_vec());
        Schedule {
            name: text("name").unwrap_or_default(),
            pattern: text("pattern").unwrap_or_default(),
            every_ms: number(text("every")),
            zone: text("tz").unwrap_or_default(),
            next_ms: next as i64,
            runs: number(text("ic")).unwrap_or(0),
            id: id.to_vec(),
        }
    });
    all.collect()
}

/// How many there are.
pub fn count_schedules(view: Glance, base: &[u8]) -> usize {
    view.len(&key(base, "repeat"))
}

/// The children of a job, at most so many.
pub fn children_of(view: Glance, base: &[u8], id: &[u8], most: usize) -> Vec<Relative> {
    let job = [base, b":", id].concat();
    let mut all: Vec<Relative> = Vec::new();
    for end in CHILDREN {
        let place = [&*job, end.as_bytes()].concat();
        let mut keys = view.members(&place, 0..most);
        if let Some(hash) = view.hash(&place) {
            keys.extend(hash.iter().take(most).map(|(name, _)| name.to_vec()));
        }
        all.extend(keys.iter().filter_map(|key| Relative::of_key(key)));
    }
    all.truncate(most);
    all
}

/// How many children a job waits for.
pub fn count_pending(view: Glance, base: &[u8], id: &[u8]) -> usize {
    view.len(&[base, b":", id, b":dependencies"].concat())
}
