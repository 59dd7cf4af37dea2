//! What a person reads who waits for queues: why they are not idle, and what came of their jobs.

use super::history::{Happening, History};
use super::lookout::Standing;
use crate::engine::Engine;
use crate::engine::client::Client;
use crate::proto::Reply;
use crate::queues::{Job, Look, Queue, Role, Workers};
use crate::util::{calendar, span};
use std::fmt::Write as _;

/// Failed jobs that are told of, and events.
const FAILURES_MAX: usize = 3;
const EVENTS_MAX: usize = 5;

/// Characters of a job's data that are shown.
const DATA_CHARS_MAX: usize = 120;

/// Bytes as a person reads them.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One queue of a report.
struct Line {
    label: String,
    completed: usize,
    failed: usize,
    look: Look,
}

/// The answer of TORIL WAIT IDLE.
pub struct Report {
    is_idle: bool,
    waited_ms: u64,
    lines: Vec<Line>,
    failures: Vec<String>,
    findings: Vec<String>,
    /// Why the queues are not idle.
    why: String,
}

impl Report {
    /// Takes the counts of jobs that have ended, which begin anew if this is idleness.
    pub fn new(
        is_idle: bool,
        waited_ms: u64,
        horizon_ms: u64,
        standings: &[Standing],
        history: &mut History,
        engine: &Engine,
    ) -> Self {
        let queues: Vec<&Queue> = standings.iter().map(|standing| &standing.queue).collect();
        let scene = Scene { engine, history, horizon_ms, standings };
        let why = if is_idle { String::new() } else { scene.why(waited_ms, &queues) };
        let failures = scene.failures(&queues);
        let findings = scene.findings(&queues);
        let mut lines = Vec::new();
        for standing in standings {
            let (completed, failed) = match is_idle {
                true => history.take_counts(&standing.queue),
                false => history.counts(&standing.queue),
            };
            let label = label(&standing.queue, &queues);
            lines.push(Line { label, completed, failed, look: standing.look.clone() });
        }
        Self { is_idle, waited_ms, lines, failures, findings, why }
    }

    pub fn write(&self, reply: &mut Reply) {
        let is_idle = self.is_idle;
        let optional = [!self.failures.is_empty(), !self.findings.is_empty(), !is_idle];
        reply.map(3 + optional.iter().filter(|it| **it).count());
        reply.bulk(b"idle");
        reply.int(i64::from(is_idle));
        reply.bulk(b"waited_ms");
        reply.int(self.waited_ms as i64);
        reply.bulk(b"queues");
        reply.map(self.lines.len());
        for line in &self.lines {
            line.write(reply);
        }
        for (name, texts) in [("failures", &self.failures), ("findings", &self.findings)] {
            if !texts.is_empty() {
                reply.bulk(name.as_bytes());
                reply.bulks(texts);
            }
        }
        if !is_idle {
            reply.bulk(b"why");
            reply.bulk(self.why.as_bytes());
        }
    }
}

impl Line {
    fn write(&self, reply: &mut Reply) {
        let Look { active, waiting, held, delayed, next_ms, is_paused, limited_until_ms, .. } =
            self.look;
        let mut fields: Vec<(&str, Field)> = vec![
            ("completed", Field::Count(self.completed)),
            ("failed", Field::Count(self.failed)),
            ("delayed", Field::Count(delayed)),
        ];
        fields.extend(next_ms.map(|ms| ("next", Field::Moment(ms))));
        for (name, count) in [("active", active), ("waiting", waiting + held)] {
            fields.extend((count > 0).then_some((name, Field::Count(count))));
        }
        fields.extend(is_paused.then_some(("paused", Field::Count(1))));
        fields.extend(limited_until_ms.map(|ms| ("limited_until", Field::Moment(ms))));
        reply.bulk(self.label.as_bytes());
        reply.map(fields.len());
        for (name, field) in fields {
            reply.bulk(name.as_bytes());
            match field {
                Field::Count(count) => reply.count(count),
                Field::Moment(ms) => reply.bulk(calendar::iso(ms).as_bytes()),
            }
        }
    }
}

enum Field {
    Count(usize),
    Moment(i64),
}

/// What a queue is called beside these: by its name, if no other has it.
pub fn label(queue: &Queue, queues: &[&Queue]) -> String {
    let is_alone = queues.iter().filter(|other| other.name() == queue.name()).count() < 2;
    let same_base = queues.iter().filter(|other| other.base == queue.base).count();
    match (is_alone, same_base) {
        (true, _) => text(queue.name()),
        (false, 0 | 1) => text(&queue.base),
        _ => format!("{} (db {})", text(&queue.base), queue.db),
    }
}

/// That there is no such queue, and which there are.
pub fn no_queue(name: &str, queues: &[Queue]) -> String {
    let mut there: Vec<String> =
        queues.iter().map(|queue| format!("'{}'", text(queue.name()))).collect();
    there.sort_unstable();
    there.dedup();
    match &*there {
        [] => format!("no queue '{name}': there is none yet"),
        _ => format!("no queue '{name}': there are {}", there.join(", ")),
    }
}

/// `job 7 "welcome" {"to":"ada@example.com"}`.
pub fn describe(id: &[u8], job: Option<&Job>) -> String {
    let mut told = format!("job {}", short_id(own_id(id, job)));
    let Some(job) = job else { return told };
    if !job.name.is_empty() {
        let _ = write!(told, " \"{}\"", text(&job.name));
    }
    let data = text(&job.data);
    if data.chars().count() > DATA_CHARS_MAX {
        let cut: String = data.chars().take(DATA_CHARS_MAX).collect();
        let _ = write!(told, " {cut}...");
    } else if !data.is_empty() {
        let _ = write!(told, " {data}");
    }
    told
}

/// What a job itself says that it is called: a state may hold the id of one of its runs.
fn own_id<'a>(id: &'a [u8], job: Option<&'a Job>) -> &'a [u8] {
    job.map(|job| &*job.id).filter(|own| !own.is_empty()).unwrap_or(id)
}

/// The id of a scheduler's job without the moment at its end.
fn short_id(id: &[u8]) -> String {
    let id = text(id);
    match id.strip_prefix("repeat:").and_then(|rest| rest.rsplit_once(':')) {
        Some((scheduler, _)) => format!("repeat:{scheduler}"),
        None => id,
    }
}

/// What the first queue that is not idle is doing, in one line: `mail: job 7 (welcome) active for
/// 5.0 s in worker 127.0.0.1:50412`.
pub fn first_busy(standings: &[Standing], engine: &Engine) -> String {
    let queues: Vec<&Queue> = standings.iter().map(|standing| &standing.queue).collect();
    let Some(Standing { queue, look, .. }) = standings.iter().find(|it| it.is_busy) else {
        return String::new();
    };
    let label = label(queue, &queues);
    let (role, what) = match look {
        Look { active: 1.., .. } => (Role::Working, "active"),
        Look { waiting: 1.., .. } => (Role::Ready, "waiting"),
        _ => (Role::Later, "due"),
    };
    let Some(id) = queue.first(engine, role) else {
        let Workers { count, at_work } = look.workers;
        return format!("{label}: {at_work} of {count} workers at work");
    };
    let job = queue.job(engine, &id);
    let mut told = format!("{label}: job {}", short_id(own_id(&id, job.as_ref())));
    let job = job.unwrap_or_default();
    if !job.name.is_empty() {
        let _ = write!(told, " ({})", text(&job.name));
    }
    let _ = write!(told, " {what}");
    if let Some(started_ms) = job.started_ms.filter(|_| role == Role::Working) {
        let span_ms = engine.keyspace.now.wall_ms.saturating_sub(started_ms).max(0);
        let _ = write!(told, " for {}", span::text(span_ms as u64));
    }
    if let Some(address) = address(queue, engine).filter(|_| role == Role::Working) {
        let _ = write!(told, " in worker {address}");
    }
    told
}

/// Where the worker is that is at work, if there is no doubt which one it is.
fn address<'e>(queue: &Queue, engine: &'e Engine) -> Option<&'e str> {
    let clients = queue.worker_clients(engine);
    let at_work: Vec<&Client> =
        clients.iter().copied().filter(|client| !client.is_blocked()).collect();
    match (&*clients, &*at_work) {
        ([client], _) | (_, [client]) => Some(&client.peer.addr),
        _ => None,
    }
}

/// All that a report is made from.
struct Scene<'a> {
    engine: &'a Engine,
    history: &'a History,
    horizon_ms: u64,
    standings: &'a [Standing],
}

impl Scene<'_> {
    fn now_ms(&self) -> i64 {
        self.engine.keyspace.now.wall_ms
    }

    /// The whole text, a line for each queue.
    fn why(&self, waited_ms: u64, queues: &[&Queue]) -> String {
        let busy = self.standings.iter().filter(|standing| standing.is_busy).count();
        let total = self.standings.len();
        let queue_word = if total == 1 { "queue" } else { "queues" };
        let mut why =
            format!("not idle after {}: {busy} of {total} {queue_word}", span::text(waited_ms));
        let rows: Vec<[String; 3]> = self.standings.iter().map(|it| self.row(it, queues)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let (first, second) = (width(0).unwrap_or(0), width(1).unwrap_or(0));
        for [label, state, detail] in &rows {
            let line = format!("  {label:first$}  {state:second$}  {detail}");
            let _ = write!(why, "\n{}", line.trim_end());
        }
        for finding in self.findings(queues) {
            let _ = write!(why, "\n{finding}");
        }
        let last = self.last_events(queues);
        if !last.is_empty() {
            let _ = write!(why, "\nlast events: {}", last.join("; "));
        }
        why
    }

    fn row(&self, standing: &Standing, queues: &[&Queue]) -> [String; 3] {
        let Standing { queue, look, is_busy } = standing;
        let (state, detail) = match look {
            Look { active: 1.., .. } => (format!("{} active", look.active), self.active(standing)),
            Look { waiting: 1.., .. } if *is_busy => {
                (format!("{} waiting", look.waiting), self.waiting(standing))
            }
            _ if !is_busy => ("idle".to_owned(), self.idle(standing)),
            Look { next_ms: Some(next_ms), .. } if *next_ms <= self.until_ms() => {
                (format!("{} delayed", look.delayed), self.due(queue, *next_ms))
            }
            Look { workers, .. } => {
                let detail = format!(
                    "{} of {} not waiting for the next job",
                    workers.at_work,
                    counted(workers.count, "worker", "workers")
                );
                ("0 active".to_owned(), detail)
            }
        };
        [label(queue, queues), state, detail]
    }

    fn until_ms(&self) -> i64 {
        self.now_ms().saturating_add_unsigned(self.horizon_ms)
    }

    /// `job 7 "welcome" {...} for 5.0 s, attempt 2 of 3, worker pid? 127.0.0.1:50412`.
    fn active(&self, standing: &Standing) -> String {
        let Some((id, job)) = self.first(&standing.queue, Role::Working) else {
            return String::new();
        };
        let mut told = describe(&id, job.as_ref());
        if let Some(job) = &job {
            if let Some(started_ms) = job.started_ms {
                let span_ms = self.now_ms().saturating_sub(started_ms).max(0);
                let _ = write!(told, " for {}", span::text(span_ms as u64));
            }
            let attempt = job.attempts_made + 1;
            let _ = write!(told, ", attempt {attempt} of {}", job.attempts_max.max(attempt));
            let name = if job.worker.is_empty() { "pid?".into() } else { text(&job.worker) };
            let _ = write!(told, ", worker {name}");
            if let Some(address) = address(&standing.queue, self.engine) {
                let _ = write!(told, " {address}");
            }
        }
        if standing.look.active > 1 {
            let _ = write!(told, "; and {} more", standing.look.active - 1);
        }
        told
    }

    fn waiting(&self, standing: &Standing) -> String {
        let Workers { count, at_work } = standing.look.workers;
        if count == 0 {
            return self.no_worker(&standing.queue);
        }
        let first = self.first(&standing.queue, Role::Ready);
        let first = first.map(|(id, job)| describe(&id, job.as_ref())).unwrap_or_default();
        let workers = counted(count, "worker", "workers");
        let verb = if count == 1 { "is" } else { "are" };
        format!("{first}; {workers} {verb} connected, {at_work} of them at work")
    }

    /// `no worker is connected: none has ever asked for this queue. Is its name spelled "invoice"?
    /// (1 worker there)`.
    fn no_worker(&self, queue: &Queue) -> String {
        let has_asked = self.history.past(queue).is_some_and(|past| past.has_had_workers);
        let told = if has_asked {
            "no worker is connected: the last one has left."
        } else {
            "no worker is connected: none has ever asked for this queue."
        };
        let others = self.history.queues();
        let alike = others.iter().filter(|other| {
            other.base != queue.base && are_alike(&text(other.name()), &text(queue.name()))
        });
        let mut alike = alike.map(|other| (other, other.look(self.engine).workers.count));
        match alike.find(|(_, count)| *count > 0) {
            Some((other, count)) => format!(
                "{told} Is its name spelled \"{}\"? ({} there)",
                text(other.name()),
                counted(count, "worker", "workers")
            ),
            None => told.to_owned(),
        }
    }

    /// What an idle queue has left.
    fn idle(&self, standing: &Standing) -> String {
        let Standing { queue, look, .. } = standing;
        let mut parts = Vec::new();
        let left = look.waiting + look.held;
        if look.is_paused {
            parts.push(format!("paused: {left} waiting"));
        } else if let Some(until_ms) = look.limited_until_ms.filter(|_| left > 0) {
            parts.push(format!("limited until {}: {left} waiting", calendar::iso(until_ms)));
        }
        if let Some(next_ms) = look.next_ms {
            let id = self.first(queue, Role::Later).map(|(id, _)| id).unwrap_or_default();
            let in_ms = next_ms.saturating_sub(self.now_ms()).max(0) as u64;
            let horizon = match self.horizon_ms {
                0 => "0".to_owned(),
                ms => span::text(ms),
            };
            parts.push(format!(
                "next: job {} at {}, in {} (beyond HORIZON {horizon})",
                short_id(&id),
                calendar::iso(next_ms),
                span::text(in_ms)
            ));
        }
        parts.join("; ")
    }

    fn due(&self, queue: &Queue, next_ms: i64) -> String {
        let first = self.first(queue, Role::Later);
        let first = first.map(|(id, job)| describe(&id, job.as_ref())).unwrap_or_default();
        let ago_ms = self.now_ms() - next_ms;
        let when = if ago_ms >= 0 {
            format!("for {}", span::text(ago_ms as u64))
        } else {
            format!("in {}", span::text(ago_ms.unsigned_abs()))
        };
        let workers = match queue.look(self.engine).workers.count {
            0 => self.no_worker(queue),
            count => format!("{} there", counted(count, "worker", "workers")),
        };
        format!("{first} is due {when}; {workers}")
    }

    /// The oldest job with this role.
    fn first(&self, queue: &Queue, role: Role) -> Option<(Vec<u8>, Option<Job>)> {
        let id = queue.first(self.engine, role)?;
        let job = queue.job(self.engine, &id);
        Some((id, job))
    }

    fn findings(&self, queues: &[&Queue]) -> Vec<String> {
        let of_queue = |queue: &&Queue| {
            let label = label(queue, queues);
            let stranded = queue.stranded(self.engine).into_iter();
            let told = stranded.map(|id| {
                format!("{label}: job {} waits for children, none of which is left", text(&id))
            });
            told.collect::<Vec<_>>()
        };
        queues.iter().flat_map(of_queue).collect()
    }

    /// Jobs that have failed since idleness was last told, with the first line of where.
    fn failures(&self, queues: &[&Queue]) -> Vec<String> {
        let mut failures = Vec::new();
        for queue in queues {
            let Some(past) = self.history.past(queue) else { continue };
            for event in past.failures().take(past.failed) {
                failures.push(failure(&label(queue, queues), event));
            }
        }
        failures.truncate(FAILURES_MAX);
        failures
    }

    /// `mail 5.1 s ago active 7`, newest first.
    fn last_events(&self, queues: &[&Queue]) -> Vec<String> {
        let now_us = self.engine.keyspace.now.mono_us;
        let mut events: Vec<(&Queue, &Happening)> = Vec::new();
        for queue in queues {
            let past = self.history.past(queue).into_iter();
            events.extend(past.flat_map(|past| {
                past.events.iter().rev().take(EVENTS_MAX).map(move |event| (*queue, event))
            }));
        }
        events.sort_by_key(|(_, event)| std::cmp::Reverse(event.number));
        let told = events.into_iter().take(EVENTS_MAX).map(|(queue, event)| {
            let ago = span::text((now_us - event.at_us) / 1_000);
            format!("{} {ago} ago {} {}", label(queue, queues), event.what, text(&event.id))
        });
        told.collect()
    }
}

fn failure(label: &str, event: &Happening) -> String {
    let job = event.job.as_deref();
    let mut told = format!("{label}: {} failed", describe(&event.id, job));
    if let Some(job) = job {
        let made = job.attempts_made.max(1);
        let _ = write!(told, ", attempt {made} of {}", job.attempts_max.max(made));
    }
    let _ = write!(told, ": {}", text(&event.reason));
    let trace = job.and_then(|job| job.stacktrace.last());
    let place = trace.and_then(|trace| trace.lines().find(|it| it.trim_start().starts_with("at ")));
    if let Some(place) = place {
        let _ = write!(told, "\n    {}", place.trim());
    }
    told
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Whether one name may be a slip of the other: two letters apart at most, and not all of it.
fn are_alike(left: &str, right: &str) -> bool {
    let (left, right): (Vec<char>, Vec<char>) =
        (left.to_lowercase().chars().collect(), right.to_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, letter) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    let apart = row[right.len()];
    apart <= 2 && apart < left.len().min(right.len())
}

#[cfg(test)]
mod tests {
    use super::are_alike;

    #[test]
    fn names_that_may_be_slips_are_alike() {
        for (left, right) in
            [("invoices", "invoice"), ("mail", "mails"), ("Mail", "mail"), ("emial", "email")]
        {
            assert!(are_alike(left, right), "{left} {right}");
        }
        for (left, right) in [("mail", "reports"), ("a", "b"), ("mail", "jobs")] {
            assert!(!are_alike(left, right), "{left} {right}");
        }
    }
}
