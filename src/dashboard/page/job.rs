//! A job: what it is, where it stands, and what has happened to it.

use super::shown::{Shown, ShownBytes};
use super::{Drawn, Frame, Page, buttons, class_of, dot, moment, text};
use crate::dashboard::courses::Happened;
use crate::dashboard::watch::Watch;
use crate::dashboard::{Trouble, actions::Offers, ids};
use crate::engine::Engine;
use crate::queues::{Job, JobState, Queue, Role};
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// Bytes of a text that are shown.
const TEXT_LEN_MAX: usize = 1 << 20;

/// Nodes of JSON that are shown one by one.
const NODES_MAX: usize = 200;

/// Children that are counted.
const CHILDREN_MAX: usize = 100;

/// A job and its past.
pub struct JobPage {
    queue: Queue,
    queue_id: String,
    job: Job,
    state: Option<&'static JobState>,
    due_ms: Option<i64>,
    steps: Vec<Happened>,
    /// Whether something can be done to it.
    offers: Offers,
    /// How many jobs it waits for, or waited for, of which not all are counted.
    children: usize,
}

/// The job that a view shows; None of other views.
pub fn followed(watch: &Watch, path: &str) -> Option<(Queue, Vec<u8>)> {
    let (queue, id) = path.strip_prefix("job/")?.split_once('/')?;
    Some((watch.queue(queue)?, percent_decode_str(id).collect()))
}

impl JobPage {
    /// # Errors
    /// There is no such job.
    pub fn new(
        watch: &Watch,
        engine: &Engine,
        queue: Queue,
        segment: &str,
    ) -> Result<Self, Trouble> {
        let id: Vec<u8> = percent_decode_str(segment).collect();
        let name = text::lossy(queue.name());
        let told = text::excerpt(&id, 60);
        let job = queue.job(engine, &id).ok_or_else(|| {
            Trouble::Absent(format!("there is no job {told} in {name}, or not any more"))
        })?;
        let state = queue.state_of(engine, &id);
        let due_ms = state.and_then(|state| queue.due_ms(engine, state, &id));
        let steps = watch.courses.of(&queue, &id).to_vec();
        let offers = Offers::of(engine, &queue);
        let children = queue.children_of(engine, &id, CHILDREN_MAX).len();
        let queue_id = ids::of_queue(&queue);
        Ok(Self { queue_id, queue, job, state, due_ms, steps, offers, children })
    }

    fn head(&self) -> Markup {
        let name = text::lossy(self.queue.name());
        html! {
            div class="head" data-key="head" {
                div {
                    p class="crumbs" {
                        a href="#/overview" { "Queues" } " / "
                        a href={ "#/queue/" (self.queue_id) } { (name) } " / "
                    }
                    h1 {
                        (text::excerpt(&self.job.name, 80)) " "
                        span class="faint" { (text::excerpt(&self.job.id, 60)) }
                        @if let Some(state) = self.state {
                            span class={ "tag " (class_of(state.role)) } {
                                (dot(class_of(state.role))) (state.name)
                            }
                        }
                    }
                    @if let Some(ms) = self.due_ms {
                        p class="sub" { "due in " (moment(ms, "left")) }
                    }
                }
                @if let Some(state) = self.state.filter(|_| !self.offers.is_empty()) {
                    div class="actions" { (self.buttons(state)) }
                }
            }
        }
    }

    fn buttons(&self, state: &JobState) -> Markup {
        let id = ids::segment(&self.job.id);
        let (shown, mut more) =
            buttons::of_jobs(self.offers, &self.queue_id, state.name, state.role, &id);
        if !self.job.deduplication.is_empty() && self.offers.has("deduplication") {
            let place = format!("{}/deduplication?ids={id}", self.queue_id);
            more.push(buttons::ask(&place, "", "Let others like it come"));
        }
        html! {
            @for button in &shown { (button) }
            @if !more.is_empty() { (buttons::more(&more)) }
        }
    }

    fn error(&self) -> Markup {
        html! {
            div data-key="error" {
                @if !self.job.failed_reason.is_empty() {
                    p class="error-line" { (text::excerpt(&self.job.failed_reason, 500)) }
                }
            }
        }
    }

    /// From its events, or where those are trimmed from its own times.
    fn timeline(&self) -> Markup {
        let start_ms = self.steps.first().map(|step| step.at_ms).or(self.job.added_ms);
        let since = |ms: i64| {
            let ms = (ms - start_ms.unwrap_or(ms)).max(0) as u64;
            text::span_text(ms)
        };
        let own: Vec<(&str, Option<i64>)> = vec![
            ("added", self.job.added_ms),
            ("active", self.job.started_ms),
            (
                if self.job.failed_reason.is_empty() { "completed" } else { "failed" },
                self.job.ended_ms,
            ),
        ];
        html! {
            section class="card" data-key="timeline" {
                header {
                    h2 { "Timeline" }
                    span class="side-note" {
                        @if self.steps.is_empty() { "from the job's own times" }
                        @else { "from " (self.steps.len()) " events" }
                    }
                }
                ol class="steps" {
                    @for step in &self.steps {
                        li {
                            span class="at" { "+" (since(step.at_ms)) }
                            span class="rail" { (dot(class_of_step(step.what))) }
                            span {
                                (step.what)
                                @if let Some(ms) = step.due_ms { " until " (moment(ms, "clock")) }
                                @if !step.reason.is_empty() { " " code { (step.reason) } }
                            }
                            span class="who" {
                                (moment(step.at_ms, "clock"))
                                @if !step.prev.is_empty() { " from " (step.prev) }
                            }
                        }
                    }
                    @if self.steps.is_empty() {
                        @for (what, ms) in own {
                            @if let Some(ms) = ms {
                                li {
                                    span class="at" { "+" (since(ms)) }
                                    span class="rail" { (dot(class_of_step(what))) }
                                    span { (what) }
                                    span class="who" { (moment(ms, "clock")) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn facts(&self, frame: &Frame) -> Markup {
        let job = &self.job;
        let span = match (job.started_ms, job.ended_ms) {
            (Some(start), Some(end)) => Some(text::span_text((end - start).max(0) as u64)),
            _ => None,
        };
        html! {
            section class="card" data-key="facts" {
                header {
                    h2 { "Facts" }
                    button type="button" class="btn quiet small side-note" data-copy={
                        "job/" (self.queue_id) "/" (ids::segment(&self.job.id))
                    } { "Copy as JSON" }
                }
                dl class="facts" {
                    (fact("Attempts", html! { (job.attempts_made) " of " (job.attempts_max) }))
                    @if let Some(ms) = job.added_ms { (fact("Added", moment(ms, "clock"))) }
                    @if let Some(span) = &span { (fact("Ran", html! { (span) })) }
                    @if !job.worker.is_empty() {
                        (fact("Worker", html! { (text::excerpt(&job.worker, 80)) }))
                    }
                    @if !job.progress.is_empty() && job.progress != b"0" {
                        (fact("Progress", html! { (text::excerpt(&job.progress, 80)) }))
                    }
                    @if !job.parent.is_empty() {
                        (fact("Parent", html! { code { (text::excerpt(&job.parent, 120)) } }))
                    }
                    @if self.children > 0 || !job.parent.is_empty() {
                        (fact("Flow", html! {
                            a class="under" href={
                                "#/flow/" (self.queue_id) "/" (ids::segment(&job.id))
                            } {
                                @if self.children > 0 { (text::number(self.children)) " children" }
                                @else { "parent and siblings" }
                            }
                        }))
                    }
                    (fact("Key", html! {
                        code { (text::lossy(&self.queue.base)) ":" (text::excerpt(&job.id, 80)) }
                        small { (frame.monitored(&job.id, "who asks for it")) }
                    }))
                }
            }
        }
    }

    fn traces(&self) -> Markup {
        html! {
            section class="card" data-key="traces" hidden[self.job.stacktrace.is_empty()] {
                header { h2 { "Stack traces" } }
                @for (at, trace) in self.job.stacktrace.iter().enumerate().rev() {
                    details open[at + 1 == self.job.stacktrace.len()] {
                        summary { "Attempt " (at + 1) }
                        @let shown = &trace.as_bytes()[..trace.len().min(TEXT_LEN_MAX)];
                        pre class="trace" { (text::lossy(shown)) }
                    }
                }
            }
        }
    }
}

/// A fact, and what it is about.
pub fn fact(title: &str, value: Markup) -> Markup {
    html! { div { dt { (title) } dd { (value) } } }
}

fn class_of_step(what: &str) -> &'static str {
    match what {
        "active" | "progress" => "active",
        "completed" => "done",
        "failed" | "stalled" => "failed",
        "delayed" => "delayed",
        "waiting-children" => "children",
        _ => "waiting",
    }
}

/// Bytes that may be anything: of JSON the nodes fold.
pub fn value(title: &str, key: &str, text: &[u8]) -> Markup {
    let reading = ShownBytes::of(text);
    html! {
        section class="card" data-key=(key) hidden[text.is_empty()] {
            header {
                h2 { (title) }
                span class="side-note" {
                    (text::number(text.len())) " bytes"
                    @if let Some(kind) = reading.kind() { ", " (kind) }
                }
            }
            div class="json" {
                @match &reading.shown {
                    Shown::Json(json) => { (node(json, &mut 0)) }
                    Shown::Text(told) | Shown::Pickle(told) | Shown::Bytes(told) => {
                        (text::excerpt_lines(told, TEXT_LEN_MAX))
                    }
                }
            }
        }
    }
}

fn node(json: &Json, count: &mut usize) -> Markup {
    *count += 1;
    if *count > NODES_MAX {
        return html! { span class="p" { (text::excerpt(json.to_string().as_bytes(), 2_000)) } };
    }
    match json {
        Json::Object(fields) if !fields.is_empty() => html! {
            details open { summary class="p" { "{" (fields.len()) "}" }
                ul { @for (name, value) in fields {
                    li { span class="k" { (name) } ": " (node(value, count)) }
                } }
            }
        },
        Json::Array(items) if !items.is_empty() => html! {
            details open { summary class="p" { "[" (items.len()) "]" }
                ul { @for value in items { li { (node(value, count)) } } }
            }
        },
        Json::String(text) => html! { span class="s" { "\"" (text) "\"" } },
        Json::Number(number) => html! { span class="d" { (number.to_string()) } },
        other => html! { span class="p" { (other.to_string()) } },
    }
}

impl Page for JobPage {
    fn title(&self) -> String {
        format!("{} {}", text::excerpt(&self.job.name, 60), text::excerpt(&self.job.id, 40))
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let parts = [
            ("head", self.head()),
            ("error", self.error()),
            ("timeline", self.timeline()),
            ("traces", self.traces()),
            ("data", value("Data", "data", &self.job.data)),
            ("result", value("Result", "result", &self.job.result)),
            ("facts", self.facts(frame)),
            ("options", value("Options", "options", &self.job.opts)),
        ];
        let body = html! {
            (parts[0].1) (parts[1].1)
            div class="two" {
                div { @for (_, html) in &parts[2..6] { (html) } }
                div { (parts[6].1) (parts[7].1) }
            }
        };
        let drawn = Drawn::new(frame, body);
        parts.into_iter().fold(drawn, |drawn, (key, html)| drawn.with_part(key, html))
    }

    fn json(&self) -> Json {
        let job = &self.job;
        let steps: Vec<Json> =
            self.steps.iter().map(|step| json!([step.at_ms, step.what])).collect();
        json!({
            "id": text::lossy(&job.id), "name": text::lossy(&job.name),
            "state": self.state.map(|state| state.name), "due": self.due_ms.unwrap_or(0),
            "data": text::lossy(&job.data), "result": text::lossy(&job.result),
            "error": text::lossy(&job.failed_reason), "attempts": job.attempts_made,
            "added": job.added_ms.unwrap_or(0), "started": job.started_ms.unwrap_or(0),
            "ended": job.ended_ms.unwrap_or(0), "steps": steps,
            "options": text::lossy(&job.opts), "stacktrace": job.stacktrace,
            "worker": text::lossy(&job.worker), "progress": text::lossy(&job.progress),
            "parent": text::lossy(&job.parent), "queue": text::lossy(self.queue.name()),
            "is_blocked": self.state.is_some_and(|state| state.role == Role::Blocked),
        })
    }
}
