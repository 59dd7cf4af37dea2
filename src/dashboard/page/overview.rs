//! All queues: what has happened in the last minute, what wants a look, and a row for each.

use super::{
    Drawn, Frame, MEDIAN, Page, QUEUES_MAX, Row, WORST, buttons, chart, count, delayed_figure, dot,
    figure, span_figure, text,
};
use crate::dashboard::rings::{SECONDS, Spans};
use crate::dashboard::{actions::Offers, ids, watch::Watch};
use crate::engine::Engine;
use crate::queues::{Look, Queue, Role};
use maud::{Markup, html};
use serde_json::json;
use std::collections::BTreeMap;

/// Failed jobs whose reasons are looked at, of each queue
const REASONS_MAX: usize = 50;
/// ... and of all together, which share them.
const ALL_REASONS_MAX: usize = 300;

/// A delayed job that is late by more is told of.
const LATE_MS: u64 = 100;

/// How all queues stand.
pub struct Overview {
    queues: Vec<Line>,
    rest: usize,
    waits: Spans,
    lates: Spans,
    now_ms: i64,
}

/// How one queue stands.
struct Line {
    id: String,
    name: String,
    /// What stands before the name in its keys, unless that is `bull`.
    prefix: Option<String>,
    library: String,
    look: Look,
    completed: usize,
    failed: usize,
    ended: Vec<(u32, u32)>,
    wait_ms: Option<u64>,
    late_ms: Option<u64>,
    /// What its failed jobs say most often, and how often; of those that were looked at.
    reason: Option<(String, usize, usize)>,
    /// Whether something can be done to it.
    offers: Offers,
    /// What the state of jobs that have failed is called.
    failed_state: &'static str,
}

impl Line {
    /// Of its failed jobs so many are read.
    fn new(watch: &Watch, engine: &Engine, queue: &Queue, (now_ms, read): (i64, usize)) -> Self {
        let minute = watch.minute(queue, now_ms);
        let name = text::lossy(queue.name());
        let before = queue.base.len().saturating_sub(queue.name().len() + 1);
        let prefix = text::lossy(&queue.base[..before]);
        Self {
            id: ids::of_queue(queue),
            name,
            prefix: Some(prefix).filter(|it| !it.is_empty() && it != "bull"),
            library: library_name(engine, queue),
            look: queue.look(engine),
            completed: count(engine, queue, Role::Completed),
            failed: count(engine, queue, Role::Failed),
            wait_ms: minute.waits.quantile(0.95),
            late_ms: minute.lates.quantile(0.95),
            ended: minute.ended,
            reason: reason(engine, queue, read),
            offers: Offers::of(engine, queue),
            failed_state: failed_state(queue),
        }
    }
}

impl Line {
    /// A button, if there is such an action.
    fn button(&self, action: &str, order: &serde_json::Value, label: &str) -> Markup {
        let place = format!("{}/{action}", self.id);
        html! { @if self.offers.has(action) {
            (buttons::act(&place, order, "small", None, label))
        } }
    }
}

fn failed_state(queue: &Queue) -> &'static str {
    let failed = queue.library.states.iter().find(|state| state.role == Role::Failed);
    failed.map_or("failed", |state| state.name)
}

/// `BullMQ 6.7`.
pub fn library_name(engine: &Engine, queue: &Queue) -> String {
    let version = queue.version(engine).map(|it| text::lossy(&it)).unwrap_or_default();
    let short: Vec<&str> = version.split('.').take(2).collect();
    format!("{} {}", queue.library.name, short.join(".")).trim_end().to_owned()
}

/// What the newest failed jobs say most often, of so many that are read.
fn reason(engine: &Engine, queue: &Queue, read: usize) -> Option<(String, usize, usize)> {
    let state = queue.library.states.iter().find(|state| state.role == Role::Failed)?;
    let len = queue.count(engine, state);
    let newest = queue.ids(engine, state, len.saturating_sub(read)..len);
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for id in &newest {
        let job = queue.brief(engine, id)?;
        *counts.entry(job.failed_reason).or_default() += 1;
    }
    let (most, times) = counts.into_iter().max_by_key(|(_, times)| *times)?;
    Some((text::excerpt(&most, 120), times, newest.len()))
}

impl Overview {
    pub fn new(watch: &Watch, engine: &Engine) -> Self {
        let now_ms = engine.keyspace.now.wall_ms;
        let known = watch.queues();
        let (mut waits, mut lates) = (Spans::default(), Spans::default());
        for queue in &known {
            let minute = watch.minute(queue, now_ms);
            waits.join(&minute.waits);
            lates.join(&minute.lates);
        }
        let shown = || known.iter().take(QUEUES_MAX);
        let failing = shown().filter(|queue| count(engine, queue, Role::Failed) > 0).count();
        let read = (ALL_REASONS_MAX / failing.max(1)).clamp(1, REASONS_MAX);
        let line = |queue| Line::new(watch, engine, queue, (now_ms, read));
        let queues = shown().map(line).collect();
        let rest = known.len().saturating_sub(QUEUES_MAX);
        Self { queues, rest, waits, lates, now_ms }
    }

    /// What all queues together did in the last minute.
    fn figures(&self) -> Markup {
        let mut ended = vec![(0, 0); SECONDS];
        for line in &self.queues {
            for (sum, it) in ended.iter_mut().zip(&line.ended) {
                *sum = (sum.0 + it.0, sum.1 + it.1);
            }
        }
        let all: u32 = ended.iter().map(|it| it.0).sum();
        let failed: u32 = ended.iter().map(|it| it.1).sum();
        let rate = f64::from(all) / SECONDS as f64;
        let rate = if rate < 10.0 { format!("{rate:.1}") } else { text::number(rate as usize) };
        let waiting: usize = self.queues.iter().map(|line| line.look.waiting).sum();
        let active: usize = self.queues.iter().map(|line| line.look.active).sum();
        let delayed: usize = self.queues.iter().map(|line| line.look.delayed).sum();
        let next_ms = self.queues.iter().filter_map(|line| line.look.next_ms).min();
        html! {
            dl class="figures card" data-key="figures" {
                (figure("Finished", &rate, "jobs/s", chart::spark(&ended, self.now_ms, 150)))
                (figure("Failed", &text::number(failed as usize),
                    &format!("of {}", text::number(all as usize)),
                    html! { (share(failed, all)) }))
                (span_figure("Wait for a worker, p95", &self.waits, &[MEDIAN, WORST]))
                (span_figure("Lateness, p95", &self.lates, &[MEDIAN, WORST]))
                (figure("Waiting", &text::number(waiting), "jobs",
                    html! { (text::number(active)) " active" }))
                (delayed_figure(delayed, next_ms))
            }
        }
    }

    /// What somebody should see to, the worst first. Nothing if all is well.
    fn notes(&self) -> Markup {
        let mut notes: Vec<(usize, Markup)> = Vec::new();
        for line in &self.queues {
            notes.extend(line.notes());
        }
        notes.sort_by_key(|(harm, _)| std::cmp::Reverse(*harm));
        html! {
            div data-key="notes" {
                @if !notes.is_empty() {
                    ul class="notes card" aria-label="Wants a look" {
                        @for (_, note) in &notes { (note) }
                    }
                }
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        self.queues
            .iter()
            .map(|line| Row { key: line.id.clone(), html: line.row(self.now_ms) })
            .collect()
    }
}

fn share(failed: u32, all: u32) -> String {
    match all {
        0 => "none in the last minute".into(),
        _ => format!("{:.1} %", f64::from(failed) * 100.0 / f64::from(all)),
    }
}

impl Line {
    fn notes(&self) -> Vec<(usize, Markup)> {
        let mut notes = Vec::new();
        let mut note = |harm: usize, class: &str, text: Markup, button: Markup| {
            notes.push((
                harm,
                html! {
                    li {
                        (dot(class))
                        p { b { (self.name) } " " (text) }
                        div class="btns" {
                            (button)
                            a class="btn quiet small" href={ "#/queue/" (self.id) } { "Show" }
                        }
                    }
                },
            ));
        };
        let Look { waiting, held, active, workers, is_paused, .. } = self.look;
        let retry = json!({ "state": self.failed_state, "count": self.failed });
        let label = format!("Retry {}", text::number(self.failed));
        let label_of_resume = self.offers.label("resume", "Resume");
        let resume = self.button("resume", &json!({}), label_of_resume);
        if self.failed > 0 {
            note(
                3_000_000 + self.failed,
                "failed",
                html! {
                    (text::number(self.failed)) " failed"
                    @if let Some((reason, times, seen)) = &self.reason {
                        @if times == seen && *seen == self.failed { ", all with " }
                        @else { ", most of the newest with " }
                        code { (reason) }
                    }
                },
                self.button("retry", &retry, &label),
            );
        }
        let queued = waiting + held;
        if is_paused && queued > 0 {
            let alone = workers.count == 0;
            note(
                2_000_000 + queued,
                "paused",
                html! {
                    "is paused: " (text::number(queued)) " wait"
                    @if alone { ", and no worker is connected" }
                },
                resume,
            );
        } else if waiting > 0 && workers.count == 0 && active == 0 {
            note(
                2_500_000 + waiting,
                "waiting",
                html! { (text::number(waiting)) " wait, and no worker is connected" },
                html! {},
            );
        }
        if let Some(late_ms) = self.late_ms.filter(|&ms| ms > LATE_MS) {
            note(
                1_000_000,
                "delayed",
                html! { "delayed jobs came " (text::span_text(late_ms)) " late (p95)" },
                html! {},
            );
        }
        notes
    }

    fn row(&self, now_ms: i64) -> Markup {
        let Look { waiting, held, active, delayed, blocked, workers, is_paused, .. } = self.look;
        html! {
            tr data-key=(self.id) {
                td class="c-name" {
                    a class="qname" href={ "#/queue/" (self.id) } {
                        (self.name)
                        @if is_paused { span class="tag paused" { "paused" } }
                        @if let Some(prefix) = &self.prefix { span class="tag mono" { (prefix) } }
                        span class="tag" { (self.library) }
                    }
                }
                td class="c-spark" { (chart::spark(&self.ended, now_ms, 112)) }
                td class="num" { (plain(waiting + held)) }
                td class="num" { (plain(active)) }
                td class="num" { (plain(delayed)) }
                td class="num hide-m" { (plain(blocked)) }
                td class=(if self.failed > 0 { "num bad" } else { "num" }) { (plain(self.failed)) }
                td class="num soft" { (plain(self.completed)) }
                td class="num" { (span(self.wait_ms)) }
                td class="num hide-m" { (span(self.late_ms)) }
                td class="num" {
                    @if workers.count > 0 { (workers.count) } @else { (no_workers(waiting + held)) }
                }
                td class="c-sum" {
                    @if self.failed > 0 {
                        span class="bad" { (text::number(self.failed)) " failed" } " · "
                    }
                    (text::number(waiting + held)) " waiting · "
                    (text::number(active)) " active · "
                    (text::number(delayed)) " delayed"
                }
            }
        }
    }
}

fn no_workers(queued: usize) -> Markup {
    html! {
        @if queued > 0 { span class="warn" { "none" } } @else { span class="zero" { "0" } }
    }
}

/// A count; zero is faint.
fn plain(count: usize) -> Markup {
    html! {
        @if count == 0 { span class="zero" { "0" } } @else { (text::number(count)) }
    }
}

fn span(ms: Option<u64>) -> Markup {
    html! {
        @match ms.map(text::span) {
            Some((number, unit)) => { (number) span class="faint" { " " (unit) } }
            None => { span class="zero" { "–" } }
        }
    }
}

impl Page for Overview {
    fn title(&self) -> String {
        "Queues".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        if self.queues.is_empty() {
            return super::empty::draw(frame);
        }
        let (figures, notes, rows) = (self.figures(), self.notes(), self.rows());
        let head = html! {
            p class="sub" data-key="sub" {
                (text::number(self.queues.len() + self.rest))
                " queues found by their keys, last minute"
                @if frame.walked_percent < 100 {
                    ", " (frame.walked_percent) " % of the keys looked at"
                }
                @if self.rest > 0 { ", " (text::number(self.rest)) " are not shown" }
            }
        };
        let body = html! {
            div class="head" { div { h1 { "Queues" } (head) } }
            (figures) (notes)
            div class="card" {
                table class="table queues" {
                    thead { tr {
                        th { "Queue" } th { "Finished" }
                        th class="num" { "Waiting" } th class="num" { "Active" }
                        th class="num" { "Delayed" }
                        th class="num hide-m" title="Waiting for children" { "Children" }
                        th class="num" { "Failed" } th class="num" { "Completed" }
                        th class="num" title="From add, or from when it was due, to start" {
                            "Wait p95"
                        }
                        th class="num hide-m" title="From when it was due to when it could start" {
                            "Late p95"
                        }
                        th class="num" { "Workers" }
                    } }
                    tbody data-list="queues" { @for row in &rows { (row.html) } }
                }
            }
        };
        Drawn::new(frame, body)
            .with_part("sub", head)
            .with_part("figures", figures)
            .with_part("notes", notes)
            .with_rows("queues", rows)
    }

    fn json(&self) -> serde_json::Value {
        let queues: Vec<_> = self
            .queues
            .iter()
            .map(|line| {
                json!({
                    "id": line.id, "name": line.name, "prefix": line.prefix, "kind": line.library,
                    "paused": line.look.is_paused,
                    "counts": {
                        "waiting": line.look.waiting + line.look.held, "active": line.look.active,
                        "delayed": line.look.delayed, "children": line.look.blocked,
                        "failed": line.failed, "completed": line.completed,
                    },
                    "workers": line.look.workers.count, "next_due": line.look.next_ms.unwrap_or(0),
                    "wait": line.wait_ms, "late": line.late_ms,
                })
            })
            .collect();
        json!({ "now": self.now_ms, "queues": queues, "more": self.rest })
    }
}
