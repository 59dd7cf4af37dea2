//! The workers of all queues: which are connected, what each does, and who gets the next job.
//! Queues that nobody works on come first.

use super::{Drawn, Frame, Page, Row, dot, moment, text};
use crate::dashboard::{ids, watch::Watch};
use crate::engine::Engine;
use crate::engine::client::{Client, ClientId};
use crate::queues::{Glance, Job, Queue, Role};
use maud::{Markup, html};
use serde_json::json;

/// As many rows are shown.
const SHOWN_MAX: usize = 200;

/// Jobs of a queue that run, of which is told.
const ACTIVE_MAX: usize = 200;

/// Jobs of a worker that are named.
const NAMED_MAX: usize = 3;

/// Keys that workers wait on, behind a queue's base.
const WAITED_ON: &[&str] = &[":marker", ":wait"];

/// All workers.
pub struct WorkersPage {
    lines: Vec<Line>,
    count: usize,
}

struct Line {
    key: String,
    queue_id: String,
    queue: String,
    name: String,
    address: String,
    since_ms: Option<i64>,
    doing: Doing,
}

enum Doing {
    /// Nobody is connected, and so many jobs wait.
    Nobody(usize),
    /// It waits for a job, and so many others come before it.
    Waits(usize),
    /// It has these jobs, of which each has its lock until then.
    Runs(Vec<Running>),
    /// Workers without names, and how many of them are at a job.
    Several { count: usize, at_work: usize },
    /// Nothing that could be told.
    Connected,
    /// Jobs whose lock is gone: their worker is, too.
    Lost(Vec<Running>),
}

struct Running {
    job: Job,
    lock_ms: Option<i64>,
}

impl WorkersPage {
    pub fn new(watch: &Watch, engine: &Engine) -> Self {
        let mut lines: Vec<Line> =
            watch.queues().iter().flat_map(|queue| of_queue(engine, queue)).collect();
        let count = lines.iter().map(|line| line.doing.workers()).sum();
        // The order of queues stays as it is.
        lines.sort_by_key(|line| match line.doing {
            Doing::Nobody(_) => 0,
            Doing::Lost(_) => 1,
            _ => 2,
        });
        lines.truncate(SHOWN_MAX);
        Self { lines, count }
    }
}

impl Doing {
    fn workers(&self) -> usize {
        match self {
            Doing::Nobody(_) | Doing::Lost(_) => 0,
            Doing::Several { count, .. } => *count,
            _ => 1,
        }
    }
}

impl Running {
    /// How far it is, if it says so as a number.
    fn percent(&self) -> Option<u8> {
        let text = std::str::from_utf8(&self.job.progress).ok()?;
        text.parse().ok().filter(|percent| (1..=100).contains(percent))
    }
}

/// The jobs of a queue that run.
fn running(engine: &Engine, queue: &Queue) -> Vec<Running> {
    let view = Glance::new(engine, queue.db);
    let states = queue.library.states.iter().filter(|state| state.role == Role::Working);
    let ids = states.flat_map(|state| queue.ids(engine, state, 0..ACTIVE_MAX));
    let jobs = ids.filter_map(|id| {
        let lock = queue.library.lock.map(|end| {
            let key = [&queue.base, &b":"[..], &id, end.as_bytes()].concat();
            view.expires_ms(&key)
        });
        Some(Running { job: queue.job(engine, &id)?, lock_ms: lock.flatten() })
    });
    jobs.collect()
}

fn of_queue(engine: &Engine, queue: &Queue) -> Vec<Line> {
    let look = queue.look(engine);
    let queue_id = ids::of_queue(queue);
    let line = |what: &str, name: String, address: String, since_ms, doing| Line {
        key: format!("worker-{queue_id}-{what}"),
        queue_id: queue_id.clone(),
        queue: text::lossy(queue.name()),
        name,
        address,
        since_ms,
        doing,
    };
    let (none, is_named) = (String::new(), queue.library.lock.is_some());
    let mut lines = Vec::new();
    if look.workers.count == 0 {
        let queued = look.waiting + look.held;
        lines.push(line("none", "no worker".into(), none.clone(), None, Doing::Nobody(queued)));
    }
    let clients = queue.worker_clients(engine);
    if clients.is_empty() && look.workers.count > 0 {
        let (count, at_work) = (look.workers.count, look.workers.at_work);
        let doing = Doing::Several { count, at_work };
        lines.push(line("all", "without names".into(), none.clone(), None, doing));
    }
    let (mut jobs, lost): (Vec<_>, Vec<_>) = running(engine, queue)
        .into_iter()
        .partition(|running| !is_named || running.lock_ms.is_some());
    if !lost.is_empty() {
        lines.push(line("lost", "gone".into(), none, None, Doing::Lost(lost)));
    }
    let turn = waiting_order(engine, queue);
    let now = engine.keyspace.now;
    for client in clients {
        let name = worker_name(client);
        let (own, rest): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|it| it.job.worker == name);
        jobs = rest;
        let doing = match turn.iter().position(|id| *id == client.id) {
            _ if !own.is_empty() => Doing::Runs(own),
            Some(before) => Doing::Waits(before),
            None => Doing::Connected,
        };
        let shown = if name.is_empty() { "without a name".into() } else { text::lossy(&name) };
        let library = [&client.lib_name, &client.lib_version].map(|it| text::lossy(it));
        let address = format!("{} {}", client.peer.addr, library.join(" "));
        let since_ms = now.wall_ms - (now.mono_us.saturating_sub(client.created_us) / 1000) as i64;
        let key = client.id.0.to_string();
        lines.push(line(&key, shown, address.trim_end().into(), Some(since_ms), doing));
    }
    lines
}

/// The name that a worker was given; empty if none.
fn worker_name(client: &Client) -> Vec<u8> {
    let at = client.name.windows(3).position(|three| three == b":w:");
    at.map_or_else(Vec::new, |at| client.name[at + 3..].to_vec())
}

/// The connections that wait for a job, in the order in which they get one.
fn waiting_order(engine: &Engine, queue: &Queue) -> Vec<ClientId> {
    let view = Glance::new(engine, queue.db);
    let keys = WAITED_ON.iter().map(|end| [&queue.base, end.as_bytes()].concat());
    keys.flat_map(|key| view.parked_on(&key).map(|it| it.id).collect::<Vec<_>>()).collect()
}

impl Line {
    fn row(&self) -> Markup {
        html! {
            tr data-key=(self.key) {
                td class="c-name" {
                    @match self.doing {
                        Doing::Nobody(queued) => {
                            span class=(if queued > 0 { "warn" } else { "faint" }) { (self.name) }
                        }
                        Doing::Lost(_) => { span class="bad" { (self.name) } }
                        _ => { b { (self.name) } }
                    }
                    " "
                    a class="tag" href={ "#/queue/" (self.queue_id) } { (self.queue) }
                }
                td { (self.doing()) }
                td class="hide-m faint mono" { (self.address) }
                td class="num hide-s" {
                    @if let Some(ms) = self.since_ms { (moment(ms, "ago")) }
                }
            }
        }
    }

    fn doing(&self) -> Markup {
        match &self.doing {
            Doing::Nobody(0) => html! { span class="faint" { "nothing waits" } },
            Doing::Nobody(queued) => html! { span class="warn" { (text::jobs(*queued)) " wait" } },
            Doing::Waits(0) => html! { (dot("waiting")) " gets the next job" },
            Doing::Waits(before) => html! { (dot("waiting")) " waits, " (before) " before it" },
            Doing::Connected => {
                html! { (dot("hollow waiting")) " " span class="faint" { "takes no job now" } }
            }
            Doing::Several { count, at_work } => html! {
                (dot("waiting")) " " (count) " connected, " (at_work) " at work"
            },
            Doing::Runs(jobs) => html! { (dot("active")) " runs " (self.jobs(jobs)) },
            Doing::Lost(jobs) => html! {
                (dot("failed")) " " (self.jobs(jobs))
                " run without a lock: the next check gives them to others"
            },
        }
    }

    fn jobs(&self, jobs: &[Running]) -> Markup {
        let lock_ms = jobs.iter().filter_map(|it| it.lock_ms).min();
        html! {
            @for (at, running) in jobs.iter().take(NAMED_MAX).enumerate() {
                @if at > 0 { ", " }
                a href={ "#/job/" (self.queue_id) "/" (ids::segment(&running.job.id)) } {
                    (text::excerpt(&running.job.name, 40)) " "
                    span class="faint" { (text::excerpt(&running.job.id, 40)) }
                }
                @if let Some(percent) = running.percent() {
                    " " span class="faint" { (percent) " %" }
                }
            }
            @if jobs.len() > NAMED_MAX { " and " (jobs.len() - NAMED_MAX) " more" }
            @if let Some(ms) = lock_ms {
                " " span class="faint hide-s" { "lock for " (moment(ms, "left")) }
            }
        }
    }
}

impl Page for WorkersPage {
    fn title(&self) -> String {
        "Workers".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.lines.iter().map(|line| Row { key: line.key.clone(), html: line.row() });
        let said = html! {
            (text::number(self.count)) " on all queues"
        };
        let heads = html! {
            th { "Worker" } th { "Now" } th class="hide-m" { "Address" }
            th class="num hide-s" { "Connected" }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("workers", rows.collect()))
    }

    fn json(&self) -> serde_json::Value {
        let all: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let runs: Vec<String> = match &line.doing {
                    Doing::Runs(jobs) | Doing::Lost(jobs) => {
                        jobs.iter().map(|it| text::lossy(&it.job.id)).collect()
                    }
                    _ => Vec::new(),
                };
                let waits = if let Doing::Waits(before) = line.doing { Some(before) } else { None };
                json!({ "name": line.name, "queue": line.queue, "runs": runs, "before": waits })
            })
            .collect();
        json!({ "workers": all, "count": self.count })
    }
}
