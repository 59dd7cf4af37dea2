//! Sidekiq 6 and later. A queue is a list of jobs in JSON, the next at its end. What comes later,
//! is tried again or has failed for good stands in three sorted sets of all queues, by seconds. A
//! job that is taken stands in no key: its process tells of it every ten seconds.

use super::glance::Glance;
use super::library::{
    IN_HAND_MAX, InHand, Job, JobPlace, PLAIN, QueueLibrary, Remembered, Role::*, Told, Workers,
    in_hand, state,
};
use serde_json::Value as Json;

const QUEUE: &[u8] = b"queue:";

/// The names of the queues that jobs were pushed to.
const QUEUES: &[u8] = b"queues";

/// Sorted sets of the jobs of all queues, and what each is called.
const OF_ALL: &[(&str, &str)] =
    &[("schedule", "scheduled"), ("retry", "retries"), ("dead", "dead")];

/// What workers hold, as their processes tell it.
const BUSY: &str = "busy";

/// The keys of what the threads of a process do, in versions from 6.5 on and before.
const WORK: &[&str] = &[":work", ":workers"];

/// Of so many jobs that come later a queue is learned which has had none to do yet.
const FIRST_MAX: usize = 100;

pub const LIBRARY: QueueLibrary = QueueLibrary {
    name: "Sidekiq",
    states: &[
        in_hand(BUSY, Working),
        state("enqueued", Ready, "", ""),
        in_hand("scheduled", Later),
        in_hand("retries", Later),
        in_hand("dead", Failed),
    ],
    bases,
    is_queue: |view, base| {
        let name = after_queue(base);
        view.set(QUEUES).is_some_and(|names| names.contains(name))
            || view.members(base, 0..1).iter().any(|text| read(text).is_some())
            || later_queues(view).iter().any(|it| it == base)
    },
    display: after_queue,
    workers,
    in_hand: elsewhere,
    stands: |view, base, state| {
        let key = OF_ALL.iter().find(|(_, name)| *name == state.name).map(|(key, _)| *key);
        let all = key.into_iter().flat_map(|key| {
            let of_key = of_queue(view, base, key).into_iter();
            of_key.map(move |(text, _)| (key, text))
        });
        let stands = all.filter_map(|(key, member)| {
            Some(JobPlace { id: id_of(&read(&member)?), key: key.into(), member })
        });
        stands.collect()
    },
    job,
    is_job: |_, _, member, id| has_id(member, id),
    told,
    ..PLAIN
};

fn after_queue(base: &[u8]) -> &[u8] {
    base.strip_prefix(QUEUE).unwrap_or(base)
}

/// None if it is no job of this library.
fn read(text: &[u8]) -> Option<Json> {
    let is_one = |it: &Json| it["jid"].is_string() && it["class"].is_string();
    serde_json::from_slice(text).ok().filter(is_one)
}

fn id_of(job: &Json) -> Vec<u8> {
    job["jid"].as_str().unwrap_or_default().into()
}

/// Whether it is the job with an id.
fn has_id(text: &[u8], id: &[u8]) -> bool {
    read(text).is_some_and(|job| id_of(&job) == id)
}

/// The queue of a job. None if it names none.
fn base_of(job: &Json) -> Option<Vec<u8>> {
    job["queue"].as_str().map(|name| base_named(name.as_bytes()))
}

fn base_named(name: &[u8]) -> Vec<u8> {
    [QUEUE, name].concat()
}

/// Moments are seconds, and since version 8 milliseconds.
fn moment_ms(moment: f64) -> i64 {
    const LAST_OF_SECONDS: f64 = 1e11;
    (if moment < LAST_OF_SECONDS { moment * 1_000.0 } else { moment }).ceil() as i64
}

fn bases(view: Glance, key: &[u8]) -> Vec<Vec<u8>> {
    if key.starts_with(QUEUE) {
        return vec![key.to_vec()];
    }
    if key == QUEUES {
        let names = view.set(QUEUES).into_iter().flat_map(|names| names.iter());
        return names.map(|name| base_named(&name)).collect();
    }
    if key == b"schedule" { later_queues(view) } else { Vec::new() }
}

/// The queues of what comes next.
fn later_queues(view: Glance) -> Vec<Vec<u8>> {
    let first = view.scored(b"schedule", FIRST_MAX).into_iter();
    let mut bases: Vec<_> = first.filter_map(|(text, _)| base_of(&read(&text)?)).collect();
    bases.sort();
    bases.dedup();
    bases
}

/// The processes that take jobs of a queue, each with how many threads of it do.
fn processes(view: Glance, base: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let names = view.set(b"processes").into_iter().flat_map(|names| names.iter());
    let all = names.filter_map(|name| {
        let told: Json = serde_json::from_slice(&view.field(&name, "info")?).ok()?;
        let is_it =
            |queue: &Json| queue.as_str().is_some_and(|it| it.as_bytes() == after_queue(base));
        let takes = told["queues"].as_array()?.iter().any(is_it);
        takes.then(|| (name.to_vec(), told["concurrency"].as_u64().unwrap_or(0) as usize))
    });
    all.collect()
}

/// The names of the processes that take jobs of a queue.
pub fn process_names(view: Glance, base: &[u8]) -> Vec<Vec<u8>> {
    processes(view, base).into_iter().map(|(name, _)| name).collect()
}

/// A thread without a job waits on all its lists at once.
fn workers(view: Glance, base: &[u8]) -> Workers {
    let parked = view.parked_on(base).count();
    let threads: usize = processes(view, base).iter().map(|(_, threads)| threads).sum();
    let count = threads.max(parked);
    Workers { count, at_work: count - parked }
}

/// What the threads of the processes do for a queue: jobs, and when each began.
fn busy(view: Glance, base: &[u8]) -> Vec<(Vec<u8>, i64)> {
    let mut all = Vec::new();
    for (name, _) in processes(view, base) {
        let hashes = WORK.iter().filter_map(|end| view.hash(&[&*name, end.as_bytes()].concat()));
        for hash in hashes {
            for (_, text) in hash.iter() {
                let work: Json = serde_json::from_slice(&text).unwrap_or_default();
                // Since version 7.2 it is a text of JSON in JSON.
                let payload = &work["payload"];
                let told = payload.as_str().map_or_else(|| payload.to_string(), String::from);
                if is_of(told.as_bytes(), base) {
                    let began_ms = moment_ms(work["run_at"].as_f64().unwrap_or_default());
                    all.push((told.into_bytes(), began_ms));
                }
            }
        }
    }
    all
}

fn is_of(text: &[u8], base: &[u8]) -> bool {
    read(text).is_some_and(|job| base_of(&job).as_deref() == Some(base))
}

/// The jobs of a queue in one of the sorted sets of all queues, each with its score.
fn of_queue(view: Glance, base: &[u8], key: &str) -> Vec<(Vec<u8>, f64)> {
    let mut all = view.scored(key.as_bytes(), IN_HAND_MAX);
    all.retain(|(text, _)| is_of(text, base));
    all
}

fn elsewhere(view: Glance, base: &[u8]) -> Vec<InHand> {
    let in_hand =
        |state, text: &[u8], due_ms| Some(InHand { state, id: id_of(&read(text)?), due_ms });
    let mut all: Vec<InHand> =
        busy(view, base).iter().filter_map(|(text, _)| in_hand(BUSY, text, None)).collect();
    for (key, state) in OF_ALL {
        for (text, score) in of_queue(view, base, key) {
            let due_ms = Some(moment_ms(score)).filter(|_| *state != "dead");
            all.extend(in_hand(state, &text, due_ms));
        }
    }
    all
}

/// In its list stands the whole job.
fn job(view: Glance, base: &[u8], member: &[u8]) -> Option<Job> {
    if read(member).is_some() {
        return job_of(member, None);
    }
    let busy = busy(view, base).into_iter().map(|(text, began_ms)| (text, Some(began_ms)));
    let others = OF_ALL.iter().flat_map(|(key, _)| of_queue(view, base, key));
    let waiting = view.members(base, 0..IN_HAND_MAX).into_iter();
    let at_rest = others.map(|(text, _)| text).chain(waiting).map(|text| (text, None));
    let (text, began_ms) = busy.chain(at_rest).find(|(text, _)| has_id(text, member))?;
    job_of(&text, began_ms)
}

fn job_of(text: &[u8], started_ms: Option<i64>) -> Option<Job> {
    let job = read(text)?;
    let told = |field: &str| job[field].as_str().unwrap_or_default();
    let moment = |field: &str| job[field].as_f64().map(moment_ms);
    let has_failed = job["error_class"].is_string();
    let reason = format!("{}: {}", told("error_class"), told("error_message"));
    Some(Job {
        id: id_of(&job),
        name: told("class").into(),
        data: job["args"].to_string().into_bytes(),
        // The first failure is followed by retry 0.
        attempts_made: job["retry_count"].as_u64().map_or(0, |count| count + 1),
        added_ms: moment("created_at"),
        started_ms,
        ended_ms: moment("failed_at"),
        failed_reason: if has_failed { reason.into_bytes() } else { Vec::new() },
        ..Job::default()
    })
}

/// What was pushed, and what has failed. Of a job that has ended well no key tells.
fn told(view: Glance, changed: &[u8], remembered: &dyn Remembered) -> Vec<Told> {
    let tell = |text: &[u8], what| {
        let job = read(text)?;
        let (base, id) = (base_of(&job)?, id_of(&job));
        let reason = job["error_message"].as_str().unwrap_or_default().into();
        let is_new = what != "waiting" || !remembered.unended(&base).contains(&id);
        is_new.then_some(Told { base, id, what, reason })
    };
    if changed.starts_with(QUEUE) {
        // A job that is added is its first.
        return view.members(changed, 0..1).iter().filter_map(|it| tell(it, "waiting")).collect();
    }
    let what = match changed {
        b"schedule" | b"retry" => "delayed",
        b"dead" => "failed",
        _ => return Vec::new(),
    };
    let all = view.scored(changed, FIRST_MAX).into_iter();
    all.filter_map(|(text, _)| tell(&text, what)).collect()
}
