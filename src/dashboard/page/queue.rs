//! A queue: how it stands, and the jobs of one of its states, page by page.

use super::chips::{Chips, Like};
use super::overview::library_name;
use super::{
    Drawn, Frame, MEDIAN, Page, Row, buttons, chart, class_of, delayed_figure, dot, figure, moment,
    span_figure, text,
};
use crate::dashboard::actions::{Offers, only_looked_at};
use crate::dashboard::rings::{Minute, SECONDS};
use crate::dashboard::{Trouble, ids, watch::Watch};
use crate::engine::Engine;
use crate::queues::{Job, JobState, Look, Queue, Role};
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::ops::Range;

/// Jobs of a page.
const JOBS_MAX: usize = 50;

/// As many jobs are looked at for those that are like what was asked for.
const LOOKED_MAX: usize = 2_000;

/// Characters of a job's data in its row.
const DATA_LEN_MAX: usize = 160;

/// A queue and some of its jobs.
pub struct QueuePage {
    queue: Queue,
    id: String,
    library: String,
    look: Look,
    /// The jobs in each state.
    counts: Vec<usize>,
    state: &'static JobState,
    /// Places of the jobs shown, counted from the first that is shown at all.
    from: usize,
    /// Which jobs are shown, and how many were looked at for them.
    like: Like,
    looked: usize,
    chips: Chips,
    jobs: Vec<Listed>,
    minute: Minute,
    now_ms: i64,
    /// Whether something can be done to it.
    offers: Offers,
    only_looked_at: Option<String>,
}

/// A job in a state.
struct Listed {
    id: Vec<u8>,
    /// None if its id stands in the state, and its data is gone.
    job: Option<Job>,
    /// When it is due, of one that is delayed.
    due_ms: Option<i64>,
}

/// Whether the last of a state's key comes first: what has ended last, and what a worker takes next
/// from the right end of a list.
fn is_reversed(queue: &Queue, state: &JobState) -> bool {
    match state.role {
        Role::Completed | Role::Failed => true,
        Role::Ready | Role::Held | Role::Working => {
            state.name != "prioritized" && !queue.library.takes_first
        }
        Role::Later | Role::Blocked => false,
    }
}

impl QueuePage {
    /// The jobs of a state, or of the first that has some.
    ///
    /// # Errors
    /// The library has no such state.
    pub fn new(
        watch: &Watch,
        engine: &Engine,
        queue: Queue,
        wanted: Option<&str>,
        query: &str,
    ) -> Result<Self, Trouble> {
        let states = queue.library.states;
        let counts: Vec<usize> = states.iter().map(|state| queue.count(engine, state)).collect();
        let fullest = || {
            let first = [Role::Failed, Role::Working, Role::Ready, Role::Later, Role::Completed];
            let filled = |role: Role| {
                states.iter().zip(&counts).find(|(state, count)| state.role == role && **count > 0)
            };
            first.into_iter().find_map(filled).map_or(&states[0], |(state, _)| state)
        };
        let state = match wanted {
            None => fullest(),
            Some(segment) => named(states, segment).ok_or_else(|| {
                let name = text::lossy(&percent_decode_str(segment).collect::<Vec<u8>>());
                let names: Vec<&str> = states.iter().map(|state| state.name).collect();
                Trouble::Absent(format!("there is no state '{name}': {}", names.join(", ")))
            })?,
        };
        let from = query.split('&').find_map(|it| it.strip_prefix("from=")?.parse().ok());
        let from: usize = from.unwrap_or(0);
        let like = Like::read(query);
        let (jobs, looked) = listed_from(engine, &queue, state, from, &like);
        let offers = Offers::of(engine, &queue);
        Ok(Self {
            id: ids::of_queue(&queue),
            library: library_name(engine, &queue),
            look: queue.look(engine),
            counts,
            chips: Chips::of(engine, &queue, state, is_reversed(&queue, state)),
            state,
            from,
            like,
            looked,
            jobs,
            minute: watch.minute(&queue, engine.keyspace.now.wall_ms),
            now_ms: engine.keyspace.now.wall_ms,
            offers,
            only_looked_at: offers.is_empty().then(|| only_looked_at(engine, &queue)),
            queue,
        })
    }

    /// The address of what is shown.
    fn place(&self) -> String {
        self.place_of(self.state)
    }

    fn place_of(&self, state: &JobState) -> String {
        format!("#/queue/{}/{}", self.id, ids::segment(state.name.as_bytes()))
    }

    fn len(&self) -> usize {
        let at = self.queue.library.states.iter().position(|it| it.name == self.state.name);
        at.map_or(0, |at| self.counts[at])
    }

    fn head(&self, frame: &Frame) -> Markup {
        let all: usize = self.counts.iter().sum();
        html! {
            div class="head" data-key="head" {
                div {
                    p class="crumbs" { a href="#/overview" { "Queues" } " / " }
                    h1 {
                        (text::lossy(self.queue.name()))
                        span class="tag" { (self.library) }
                        @if self.look.is_paused { span class="tag paused" { "paused" } }
                    }
                    p class="sub" {
                        code { (text::lossy(&self.queue.base)) ":*" }
                        " · " (text::number(all)) " jobs"
                        @if self.queue.db > 0 { " · database " (self.queue.db) }
                        " · " (frame.monitored(&self.queue.base, "commands"))
                        @if let Some(ms) = self.look.limited_until_ms {
                            " · held back by its limit for " (moment(ms, "left"))
                        }
                        @if let Some(why) = &self.only_looked_at { " · " (why) }
                    }
                }
                @if !self.offers.is_empty() { div class="actions" { (self.buttons()) } }
            }
        }
    }

    /// What can be done to the queue as a whole.
    fn buttons(&self) -> Markup {
        let offers = self.offers;
        let place = |action: &str| format!("{}/{action}", self.id);
        let (action, label) =
            if self.look.is_paused { ("resume", "Resume") } else { ("pause", "Pause") };
        let nothing = json!({});
        let asks = [
            ("limits", "Limits"),
            ("drain", "Drain"),
            ("clear", "Clear the queue"),
            ("quiet", "Quiet its processes"),
            ("obliterate", "Remove the queue"),
        ];
        let asks = asks.iter().filter(|(name, _)| offers.has(name));
        let mut more: Vec<Markup> =
            asks.map(|(name, label)| buttons::ask(&place(name), "", label)).collect();
        if self.look.limited_until_ms.is_some() && offers.has("unlimit") {
            more.push(buttons::act(&place("unlimit"), &nothing, "", None, "Count the rate anew"));
        }
        html! {
            @if offers.has("add") { (buttons::ask(&place("add"), "", "Add a job")) }
            @if offers.has(action) {
                (buttons::act(&place(action), &nothing, "", Some("p"), offers.label(action, label)))
            }
            @if !more.is_empty() { (buttons::more(&more)) }
        }
    }

    /// What can be done to all jobs of the state that is shown.
    fn tools(&self) -> Markup {
        let (state, count) = (self.state, self.len());
        html! {
            div data-key="tools" {
                @if !self.offers.is_empty() && count > 0 && state.role != Role::Blocked {
                    div class="tools" {
                        @let all = (state.name, state.role, count);
                        @for button in buttons::of_state(self.offers, &self.id, all, &self.like) {
                            (button)
                        }
                    }
                }
            }
        }
    }

    /// What can be done to the jobs that are chosen. It shows once some are.
    fn chosen(&self) -> Markup {
        let (id, state) = (&self.id, self.state);
        let (shown, more) = buttons::of_jobs(self.offers, id, state.name, state.role, "");
        html! {
            div class="foot-line chosen" id="chosen" hidden {
                span { b { "0" } " chosen" }
                span class="pages" { @for button in shown.iter().chain(&more) { (button) } }
            }
        }
    }

    fn figures(&self) -> Markup {
        let all: u32 = self.minute.ended.iter().map(|it| it.0).sum();
        let rate = format!("{:.1}", f64::from(all) / SECONDS as f64);
        let line = chart::spark(&self.minute.ended, self.now_ms, 150);
        let workers = self.look.workers;
        let parked = workers.count.saturating_sub(workers.at_work);
        html! {
            dl class="figures card" data-key="figures" {
                (figure("Finished", &rate, "jobs/s", line))
                (span_figure("Wait for a worker, p95", &self.minute.waits, &[MEDIAN]))
                (span_figure("Lateness, p95", &self.minute.lates, &[MEDIAN]))
                (figure("Active", &text::number(self.look.active), "jobs", html! {
                    (text::number(self.look.waiting)) " wait for a worker"
                }))
                (delayed_figure(self.look.delayed, self.look.next_ms))
                (figure("Workers", &text::number(workers.count), "", html! {
                    @if workers.count == 0 { "none is connected" }
                    @else if parked == 0 { "none is waiting for a job" }
                    @else { (parked) " waiting for a job" }
                }))
            }
        }
    }

    fn tabs(&self) -> Markup {
        html! {
            div class="tabs" role="tablist" data-key="tabs" {
                @for (state, count) in self.queue.library.states.iter().zip(&self.counts) {
                    @let is_open = state.name == self.state.name;
                    // What only older versions have is shown where it holds something.
                    @if *count > 0 || is_open || state.role != Role::Held {
                        a role="tab" aria-selected=(is_open)
                            href=(self.place_of(state)) {
                            (dot(class_of(state.role)))
                            (text::heading(state.name))
                            span class="n" { (text::number(*count)) }
                        }
                    }
                }
            }
        }
    }

    fn columns(&self) -> &'static [&'static str] {
        match self.state.role {
            Role::Working => &["Worker", "Progress", "Running since"],
            Role::Later => &["Added", "Due"],
            Role::Failed => &["Error", "Attempts", "Ran", "Failed"],
            Role::Completed => &["Result", "Ran", "Completed"],
            Role::Ready | Role::Held | Role::Blocked => &["Added"],
        }
    }

    fn cells(&self, listed: &Listed, job: &Job) -> Vec<Markup> {
        let ago = |ms: Option<i64>| html! { @if let Some(ms) = ms { (moment(ms, "ago")) } };
        let ran = match (job.started_ms, job.ended_ms) {
            (Some(start), Some(end)) => text::span_text((end - start).max(0) as u64),
            _ => "–".into(),
        };
        let told = |bytes: &[u8]| html! { (text::excerpt(bytes, DATA_LEN_MAX)) };
        match self.state.role {
            Role::Working => vec![
                told(&job.worker),
                told(if job.progress == b"0" { b"" } else { &job.progress }),
                ago(job.started_ms),
            ],
            Role::Later => {
                let due = html! { @if let Some(ms) = listed.due_ms { (moment(ms, "left")) } };
                vec![ago(job.added_ms), due]
            }
            Role::Failed => {
                let attempts = html! {
                    (job.attempts_made) span class="faint" { " / " (job.attempts_max) }
                };
                let error = html! { span class="err" { (told(&job.failed_reason)) } };
                vec![error, attempts, html! { (ran) }, ago(job.ended_ms)]
            }
            Role::Completed => vec![told(&job.result), html! { (ran) }, ago(job.ended_ms)],
            Role::Ready | Role::Held | Role::Blocked => vec![ago(job.added_ms)],
        }
    }

    fn row(&self, listed: &Listed) -> Row {
        let id = ids::segment(&listed.id);
        let columns = self.columns();
        let html = html! {
            tr data-key={ "job-" (id) } {
                @if !self.offers.is_empty() {
                    td class="c-check" {
                        input type="checkbox" data-id=(id)
                            aria-label={ "Choose " (text::excerpt(&listed.id, 40)) };
                    }
                }
                @match &listed.job {
                    None => {
                        td class="c-name" { span class="faint" { (text::lossy(&listed.id)) } }
                        td colspan=(columns.len() + 1) class="faint" { "its data is gone" }
                    }
                    Some(job) => {
                        td class="c-name" {
                            a href={ "#/job/" (self.id) "/" (id) } {
                                b { (text::excerpt(&job.name, 60)) } " "
                                span class="faint" { (text::excerpt(&listed.id, 40)) }
                            }
                        }
                        td class="clip c-data" { code { (text::excerpt(&job.data, DATA_LEN_MAX)) } }
                        @for (title, cell) in columns.iter().zip(self.cells(listed, job)) {
                            td class=(class_of_column(title)) { (cell) }
                        }
                    }
                }
            }
        };
        Row { key: format!("job-{id}"), html }
    }

    fn pages(&self) -> Markup {
        let len = self.len();
        let last = (self.from + self.looked).min(len);
        let place = |from: usize| format!("{}?from={from}{}", self.place(), self.like.query());
        html! {
            div class="foot-line" data-key="pages" {
                @if !self.like.is_all() {
                    span {
                        (text::number(self.jobs.len())) " like this among "
                        (text::number(self.looked)) " of " (text::number(len))
                    }
                } @else if self.jobs.is_empty() { span { "no jobs here" } }
                @else {
                    span {
                        (text::number(self.from + 1)) "–" (text::number(last))
                        " of " (text::number(len))
                    }
                }
                span class="pages" {
                    @if self.from > 0 && !self.like.is_all() {
                        a class="btn small" href=(place(0)) { "From the start" }
                    } @else if self.from > 0 {
                        @let before = self.from.saturating_sub(JOBS_MAX);
                        a class="btn small" href=(place(before)) { "Before" }
                    }
                    @if last < len { a class="btn small" href=(place(last)) { "After" } }
                }
            }
        }
    }
}

/// The state that a segment of an address names.
fn named(states: &'static [JobState], segment: &str) -> Option<&'static JobState> {
    let name = percent_decode_str(segment).decode_utf8().ok()?;
    states.iter().find(|state| state.name == name)
}

/// Jobs of a state that are like these, from a place on, as many as a page shows, and how many
/// were looked at.
fn listed_from(
    engine: &Engine,
    queue: &Queue,
    state: &JobState,
    from: usize,
    like: &Like,
) -> (Vec<Listed>, usize) {
    let (len, is_reversed) = (queue.count(engine, state), is_reversed(queue, state));
    let looked_max = if like.is_all() { JOBS_MAX } else { LOOKED_MAX };
    let (mut listed, mut looked) = (Vec::new(), 0);
    while looked < looked_max && listed.len() < JOBS_MAX {
        let places = places(len, from + looked, is_reversed);
        if places.is_empty() {
            break;
        }
        let mut standing = queue.standing(engine, state, places);
        if is_reversed {
            standing.reverse();
        }
        for (member, due_ms) in standing {
            let is_like = || queue.brief(engine, &member).is_some_and(|job| like.admits(&job));
            let is_like = like.is_all() || is_like();
            // Where the page is full, the next one begins with the first that has no room here.
            if is_like && listed.len() == JOBS_MAX {
                break;
            }
            looked += 1;
            if is_like {
                listed.push(Listed::of(engine, queue, member, due_ms));
            }
        }
    }
    (listed, looked)
}

impl Listed {
    /// What a member of a state stands for.
    fn of(engine: &Engine, queue: &Queue, member: Vec<u8>, due_ms: Option<i64>) -> Self {
        let job = queue.job(engine, &member);
        let id = job.as_ref().map_or(member, |job| job.id.clone());
        Self { id, job, due_ms }
    }
}

/// Those of so many places that are shown, from one on.
fn places(len: usize, from: usize, is_reversed: bool) -> Range<usize> {
    let (start, end) = (from.min(len), (from + JOBS_MAX).min(len));
    if is_reversed { len - end..len - start } else { start..end }
}

fn class_of_column(title: &str) -> &'static str {
    match title {
        "Error" | "Result" => "clip c-err",
        "Worker" | "Progress" => "soft hide-s",
        "Failed" | "Completed" | "Due" | "Running since" => "num c-when",
        _ => "num hide-s",
    }
}

impl Page for QueuePage {
    fn title(&self) -> String {
        text::lossy(self.queue.name())
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows: Vec<Row> = self.jobs.iter().map(|listed| self.row(listed)).collect();
        let (head, figures, tabs, pages) =
            (self.head(frame), self.figures(), self.tabs(), self.pages());
        let (tools, chips) = (self.tools(), self.chips.draw(&self.place(), &self.like));
        let body = html! {
            (head) (figures)
            div class="card" {
                (tabs) (chips) (tools)
                table class="table jobs" {
                    thead { tr {
                        @if !self.offers.is_empty() {
                            th class="c-check" {
                                input type="checkbox" id="all" aria-label="Choose all";
                            }
                        }
                        th { "Job" } th { "Data" }
                        @for title in self.columns() {
                            th class=(class_of_column(title)) { (title) }
                        }
                    } }
                    tbody data-list="jobs" { @for row in &rows { (row.html) } }
                }
                @if !self.offers.is_empty() { (self.chosen()) }
                (pages)
            }
        };
        Drawn::new(frame, body)
            .with_part("head", head)
            .with_part("figures", figures)
            .with_part("tabs", tabs)
            .with_part("chips", chips)
            .with_part("tools", tools)
            .with_part("pages", pages)
            .with_rows("jobs", rows)
    }

    fn json(&self) -> serde_json::Value {
        let states = self.queue.library.states.iter().zip(&self.counts);
        let counts: serde_json::Map<_, _> =
            states.map(|(state, count)| (state.name.to_owned(), json!(count))).collect();
        let jobs: Vec<_> = self
            .jobs
            .iter()
            .map(|listed| {
                let job = listed.job.clone().unwrap_or_default();
                json!({
                    "id": text::lossy(&listed.id), "gone": listed.job.is_none(),
                    "name": text::lossy(&job.name), "data": text::lossy(&job.data),
                    "error": text::lossy(&job.failed_reason), "due": listed.due_ms.unwrap_or(0),
                    "attempts": job.attempts_made,
                })
            })
            .collect();
        json!({
            "name": self.title(), "kind": self.library, "paused": self.look.is_paused,
            "state": self.state.name, "counts": counts, "from": self.from, "jobs": jobs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn a_page_is_counted_from_the_end_that_comes_first() {
        assert_eq!(places(120, 0, false), 0..50);
        assert_eq!(places(120, 100, false), 100..120);
        assert_eq!(places(120, 0, true), 70..120);
        assert_eq!(places(120, 100, true), 0..20);
        assert_eq!(places(10, 100, true), 0..0);
        assert_eq!(places(0, 0, true), 0..0);
    }
}
