//! The schedulers of all queues: what they run and when, how the last run ended, and the next.

use super::{Drawn, Frame, Page, Row, buttons, class_of, dot, moment, text};
use crate::dashboard::{actions::Offers, ids, watch::Watch};
use crate::engine::Engine;
use crate::queues::{Job, Queue, Role, Schedule};
use maud::{Markup, html};
use serde_json::json;
use std::collections::BTreeMap;

/// As many are shown.
const SHOWN_MAX: usize = 200;

/// Among so many jobs that ended last, of each queue and state, runs of schedulers are looked for.
const ENDED_MAX: usize = 100;

/// All schedulers, the one that runs next first.
pub struct SchedulersPage {
    lines: Vec<Line>,
    count: usize,
}

struct Line {
    schedule: Schedule,
    queue_id: String,
    queue: String,
    is_paused: bool,
    /// It is past its moment: nobody has taken the run before.
    is_late: bool,
    last: Option<(Role, Job)>,
    can_act: bool,
}

impl SchedulersPage {
    pub fn new(watch: &Watch, engine: &Engine) -> Self {
        let now_ms = engine.keyspace.now.wall_ms;
        let mut lines = Vec::new();
        for queue in watch.queues() {
            let schedules = queue.schedules(engine);
            if schedules.is_empty() {
                continue;
            }
            let mut last = last_runs(engine, &queue);
            let is_paused = queue.look(engine).is_paused;
            let can_act = Offers::of(engine, &queue).has("run");
            lines.extend(schedules.into_iter().map(|schedule| Line {
                last: last.remove(&schedule.id).map(|(_, role, job)| (role, job)),
                queue_id: ids::of_queue(&queue),
                queue: text::lossy(queue.name()),
                is_late: schedule.next_ms < now_ms,
                is_paused,
                can_act,
                schedule,
            }));
        }
        lines.sort_by_key(|line| line.schedule.next_ms);
        let count = lines.len();
        lines.truncate(SHOWN_MAX);
        Self { lines, count }
    }
}

/// The run of each scheduler that ended last: when it was due, how it ended, and the job.
fn last_runs(engine: &Engine, queue: &Queue) -> BTreeMap<Vec<u8>, (i64, Role, Job)> {
    let mut last: BTreeMap<Vec<u8>, (i64, Role, Vec<u8>)> = BTreeMap::new();
    for state in queue.library.states {
        if !matches!(state.role, Role::Completed | Role::Failed) {
            continue;
        }
        let len = queue.count(engine, state);
        for id in queue.ids(engine, state, len.saturating_sub(ENDED_MAX)..len) {
            let Some((scheduler, due_ms)) = scheduler_of(&id) else { continue };
            let known = last.get(&scheduler);
            if known.is_none_or(|(before_ms, ..)| *before_ms < due_ms) {
                last.insert(scheduler, (due_ms, state.role, id));
            }
        }
    }
    let jobs = last.into_iter().filter_map(|(scheduler, (due_ms, role, id))| {
        Some((scheduler, (due_ms, role, queue.job(engine, &id)?)))
    });
    jobs.collect()
}

/// The scheduler that a run belongs to, and when it was due: `repeat:ID:MS`.
fn scheduler_of(id: &[u8]) -> Option<(Vec<u8>, i64)> {
    let rest = id.strip_prefix(b"repeat:")?;
    let at = rest.iter().rposition(|&byte| byte == b':')?;
    let due_ms = std::str::from_utf8(&rest[at + 1..]).ok()?.parse().ok()?;
    Some((rest[..at].to_vec(), due_ms))
}

impl Line {
    fn key(&self) -> String {
        format!("scheduler-{}-{}", self.queue_id, ids::segment(&self.schedule.id))
    }

    fn row(&self) -> Markup {
        let Schedule { id, name, runs, next_ms, .. } = &self.schedule;
        let segment = ids::segment(id);
        html! {
            tr data-key=(self.key()) {
                td class="c-name" {
                    b { (text::excerpt(id, 60)) } " "
                    a class="tag" href={ "#/queue/" (self.queue_id) } { (self.queue) }
                }
                td { (self.pattern()) }
                td class="hide-m soft" { (text::excerpt(name, 40)) }
                td class="num hide-s" { (text::number(*runs as usize)) }
                td class="hide-s" { (self.last()) }
                td class="num" {
                    @if self.is_paused { span class="warn" { "queue is paused" } }
                    @else if self.is_late { span class="warn" { "due " (moment(*next_ms, "ago")) } }
                    @else { "in " (moment(*next_ms, "left")) }
                }
                td class="num acts" {
                    @if self.can_act {
                        (buttons::act(&format!("{}/run", self.queue_id),
                            &json!({ "scheduler": segment }), "quiet small", None, "Run now"))
                        (buttons::ask(&format!("{}/unschedule?scheduler={segment}", self.queue_id),
                            "quiet small", "Remove"))
                    }
                }
            }
        }
    }

    fn pattern(&self) -> Markup {
        let Schedule { pattern, every_ms, zone, .. } = &self.schedule;
        html! {
            @match every_ms {
                Some(ms) => { "every " (text::span_text(*ms)) }
                None => { code { (text::excerpt(pattern, 40)) } }
            }
            @if !zone.is_empty() { " " span class="faint" { (text::excerpt(zone, 40)) } }
        }
    }

    fn last(&self) -> Markup {
        let Some((role, job)) = &self.last else {
            return html! { span class="faint" { "none is kept" } };
        };
        let ran = match (job.started_ms, job.ended_ms) {
            (Some(start), Some(end)) => text::span_text((end - start).max(0) as u64),
            _ => String::new(),
        };
        html! {
            a href={ "#/job/" (self.queue_id) "/" (ids::segment(&job.id)) } {
                (dot(class_of(*role))) " "
                @if *role == Role::Failed { span class="err" { "failed" } " " }
                (ran)
            }
            @if let Some(ms) = job.ended_ms { " " span class="faint" { (moment(ms, "ago")) } }
        }
    }
}

impl Page for SchedulersPage {
    fn title(&self) -> String {
        "Schedulers".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.lines.iter().map(|line| Row { key: line.key(), html: line.row() });
        let said = html! {
            (text::number(self.count)) " in all queues"
            @if self.count > SHOWN_MAX { ", the next " (SHOWN_MAX) " of them" }
        };
        let heads = html! {
            th { "Scheduler" } th { "Runs" } th class="hide-m" { "Job" }
            th class="num hide-s" { "So far" } th class="hide-s" { "Last" }
            th class="num" { "Next" }
            th class="hide-s" { span class="visually-hidden" { "Actions" } }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("schedulers", rows.collect()))
    }

    fn json(&self) -> serde_json::Value {
        let all: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                json!({
                    "id": text::lossy(&line.schedule.id), "queue": line.queue,
                    "pattern": text::lossy(&line.schedule.pattern),
                    "every": line.schedule.every_ms.unwrap_or(0),
                    "zone": text::lossy(&line.schedule.zone), "runs": line.schedule.runs,
                    "next": line.schedule.next_ms, "late": line.is_late,
                })
            })
            .collect();
        json!({ "schedulers": all, "count": self.count })
    }
}
