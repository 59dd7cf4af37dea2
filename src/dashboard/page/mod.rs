//! The views, one file each: what a view shows is computed there, and drawn as HTML.
//!
//! A view is made of parts. Each has a `data-key`, so that an open page can be sent those alone
//! that have changed; rows stand in a list with a `data-list`, which has an order of its own.
//! Nothing in a view has a style attribute, and all texts are escaped where they are put in.

mod ask;
mod ask_key;
mod buttons;
mod chart;
mod chips;
mod clients;
mod commands;
mod empty;
mod flow;
mod job;
mod key;
mod keys;
mod monitor;
mod overview;
mod query;
mod queue;
mod schedulers;
mod search;
mod shown;
mod slowlog;
pub mod text;
mod workers;

pub use job::followed;
pub use keys::ask_for_keys;
pub use search::searched;

use super::rings::Spans;
use super::watch::Watch;
use super::{Trouble, actions, ids, may_run};
use crate::engine::Engine;
use crate::engine::acl::user::User;
use crate::queues::{Queue, Role};
use maud::{Markup, PreEscaped, html};
pub use monitor::wish;

/// A view, ready to be drawn.
pub trait Page {
    fn title(&self) -> String;
    fn draw(&self, frame: &Frame) -> Drawn;
    fn json(&self) -> serde_json::Value;
}

/// The view at an address.
///
/// # Errors
/// There is none, what it showed has gone, or the user may not run the command that tells it.
pub fn find(
    watch: &Watch,
    engine: &Engine,
    user: &User,
    path: &str,
) -> Result<Box<dyn Page>, Trouble> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let segments: Vec<&str> = path.split('/').collect();
    let viewer = Viewer { engine, user };
    if let Some(view) = SERVER.iter().find(|view| view.is_at(segments[0])) {
        view.admit(&viewer)?;
    }
    let queue = |id: &str| known_queue(watch, engine, id);
    match *segments {
        ["overview"] => Ok(Box::new(overview::Overview::new(watch, engine))),
        ["queue", id] => {
            Ok(Box::new(queue::QueuePage::new(watch, engine, queue(id)?, None, query)?))
        }
        ["queue", id, state] => {
            Ok(Box::new(queue::QueuePage::new(watch, engine, queue(id)?, Some(state), query)?))
        }
        ["schedulers"] => Ok(Box::new(schedulers::SchedulersPage::new(watch, engine))),
        ["search"] => Ok(Box::new(search::SearchPage::new(watch, engine, query))),
        ["workers"] => Ok(Box::new(workers::WorkersPage::new(watch, engine))),
        ["flows"] => Ok(Box::new(flow::FlowsPage::new(watch, engine))),
        ["flow", id, job] => Ok(Box::new(flow::FlowPage::new(watch, engine, &queue(id)?, job)?)),
        ["keys"] => Ok(Box::new(keys::KeysPage::new(watch, &viewer, query))),
        ["key", db, name] => {
            Ok(Box::new(key::KeyPage::new(&viewer, &watch.queues(), db, name, query)?))
        }
        ["clients"] => Ok(Box::new(clients::ClientsPage::new(&viewer))),
        ["slowlog"] => Ok(Box::new(slowlog::SlowlogPage::new(&viewer))),
        ["monitor"] => Ok(Box::new(monitor::MonitorPage::new(watch, engine, query))),
        ["commands"] => Ok(Box::new(commands::CommandsPage::new(watch, engine))),
        ["job", id, job] => Ok(Box::new(job::JobPage::new(watch, engine, queue(id)?, job)?)),
        _ => Err(Trouble::Absent(format!("there is no view '{path}'"))),
    }
}

/// The dialog before an action: `queues/ID/remove?ids=397`.
///
/// # Errors
/// There is none, or what it would be about has gone.
pub fn ask_before(
    watch: &Watch,
    engine: &Engine,
    user: &User,
    path: &str,
) -> Result<String, Trouble> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let (kind, path) = path.split_once('/').unwrap_or((path, ""));
    let viewer = Viewer { engine, user };
    match kind {
        "keys" => ask_key::draw(&viewer, &watch.queues(), path, query),
        "clients" => ask_key::draw_client(&viewer, path, query),
        _ => {
            let (id, action) = actions::split(path)?;
            ask::draw(engine, &known_queue(watch, engine, id)?, id, action, query)
        }
    }
}

/// The queue that an address names.
///
/// # Errors
/// There is none.
pub fn known_queue(watch: &Watch, engine: &Engine, id: &str) -> Result<Queue, Trouble> {
    let known = watch.queue(id).filter(|queue| queue.is_there(engine));
    known.ok_or_else(|| Trouble::Absent("this queue is gone, or has no keys yet".into()))
}

const SEARCH_ICON: PreEscaped<&str> = PreEscaped(
    "<svg width=\"14\" height=\"14\" viewBox=\"0 0 14 14\" fill=\"none\" stroke=\"currentColor\" \
     stroke-width=\"1.4\" stroke-linecap=\"round\" aria-hidden=\"true\"><circle cx=\"6\" cy=\"6\" \
     r=\"4.2\"/><path d=\"m9.2 9.2 3 3\"/></svg>",
);

/// Beyond so many queues the rest is counted.
const QUEUES_MAX: usize = 200;

/// What stands around every view: the queues at the side.
pub struct Frame {
    port: u16,
    /// The address of the view.
    path: String,
    /// How many queues there are, and the first of them.
    count: usize,
    queues: Vec<Item>,
    /// Schedulers, workers and jobs that wait for others, of all queues.
    across: [usize; 3],
    /// The views of the server that the user may see. They have no counts, which would change with
    /// every request.
    server: Vec<&'static ServerView>,
    /// How much of the keys has been looked at for queues, in percent.
    walked_percent: usize,
}

/// The views of all queues together: the name, its address, and that of what lies below it.
const ACROSS: [(&str, &str, &str); 3] = [
    ("Schedulers", "schedulers", "schedulers"),
    ("Workers", "workers", "workers"),
    ("Flows", "flows", "flow"),
];

/// Who looks at what.
pub struct Viewer<'e> {
    engine: &'e Engine,
    user: &'e User,
}

impl Viewer<'_> {
    /// Whether they may run a command.
    fn may(&self, words: &[&str]) -> bool {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        may_run(self.engine, self.user, &words)
    }
}

/// A view of the server itself, which shows what a command answers.
struct ServerView {
    name: &'static str,
    place: &'static str,
    /// Who may run this may see it.
    words: &'static [&'static str],
}

const SERVER: [ServerView; 5] = [
    ServerView { name: "Keys", place: "keys", words: &["SCAN", "0"] },
    ServerView { name: "Clients", place: "clients", words: &["CLIENT", "LIST"] },
    ServerView { name: "Slow log", place: "slowlog", words: &["SLOWLOG", "GET"] },
    ServerView { name: "Commands", place: "commands", words: &["INFO", "commandstats"] },
    ServerView { name: "Monitor", place: "monitor", words: &["MONITOR"] },
];

impl ServerView {
    /// Whether an address that begins so is this view, or one key of it.
    fn is_at(&self, segment: &str) -> bool {
        segment == self.place || (segment == "key" && self.place == "keys")
    }

    /// # Errors
    /// The user may not see it.
    fn admit(&self, viewer: &Viewer) -> Result<(), Trouble> {
        if viewer.may(self.words) {
            return Ok(());
        }
        Err(Trouble::Forbidden(format!(
            "this user may not see this: it wants the right to {}",
            self.words.join(" ")
        )))
    }
}

/// A queue at the side.
struct Item {
    id: String,
    name: String,
    failed: usize,
    is_paused: bool,
    is_at_work: bool,
}

impl Frame {
    pub fn new(watch: &Watch, engine: &Engine, user: &User, path: &str) -> Self {
        let mut across = [0; 3];
        let mut item = |queue: &Queue| {
            let look = queue.look(engine);
            across[0] += queue.count_schedules(engine);
            across[1] += look.workers.count;
            across[2] += look.blocked;
            Item {
                id: ids::of_queue(queue),
                name: text::lossy(queue.name()),
                failed: count(engine, queue, Role::Failed),
                is_paused: look.is_paused,
                is_at_work: look.active > 0,
            }
        };
        let known = watch.queues();
        let viewer = Viewer { engine, user };
        let server = SERVER.iter().filter(|view| viewer.may(view.words));
        let queues = known.iter().take(QUEUES_MAX).map(&mut item).collect();
        Self {
            port: engine.facts.tcp_port(),
            path: path.to_owned(),
            count: known.len(),
            queues,
            across,
            server: server.collect(),
            walked_percent: watch.walked_percent(engine),
        }
    }

    /// Whether the view is this one, or lies below it.
    fn is_at(&self, place: &str) -> bool {
        self.path == place
            || self.path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '?']))
    }

    fn nav(&self) -> Markup {
        let current = |place: &str| self.is_at(place).then_some("page");
        html! {
            div id="nav" data-key="nav" data-port=(self.port) {
                a class="search" href="#/search" aria-current=[current("search")] {
                    (SEARCH_ICON) "Search jobs" kbd { "/" }
                }
                nav class="nav" aria-label="Queues" {
                    a href="#/overview" aria-current=[current("overview")] {
                        span { "All queues" }
                        span class="n" { (text::number(self.count)) }
                    }
                    @for queue in &self.queues {
                        @let place = format!("queue/{}", queue.id);
                        @let jobs = format!("job/{}", queue.id);
                        @let is_open = self.is_at(&place) || self.is_at(&jobs);
                        a href={ "#/" (place) } aria-current=[is_open.then_some("page")] {
                            (dot(match (queue.is_paused, queue.is_at_work) {
                                (true, _) => "hollow paused",
                                (false, true) => "active",
                                (false, false) => "waiting",
                            }))
                            span { (queue.name) }
                            @if queue.failed > 0 {
                                span class="n bad" title={ (queue.failed) " failed" } {
                                    (text::number(queue.failed))
                                }
                            }
                        }
                    }
                }
                nav class="nav" aria-label="Across queues" {
                    h2 { "Across queues" }
                    @for ((name, place, below), count) in ACROSS.iter().zip(self.across) {
                        @let is_open = self.is_at(place) || self.is_at(below);
                        a href={ "#/" (place) } aria-current=[is_open.then_some("page")] {
                            span { (name) }
                            span class="n" { (text::number(count)) }
                        }
                    }
                }
                @if !self.server.is_empty() {
                    nav class="nav" aria-label="Server" { h2 { "Server" } (self.server_links()) }
                }
            }
        }
    }

    /// The same on a phone, where nothing stands at the side; nothing on other views.
    fn server_tabs(&self) -> Markup {
        html! {
            @if self.server.iter().any(|view| view.is_at(self.place())) {
                nav class="nav across only-s" aria-label="Views of the server" {
                    (self.server_links())
                }
            }
        }
    }

    /// The monitor, of what has to do with keys that begin so; nothing for who may not see it.
    fn monitored(&self, words: &[u8], label: &str) -> Markup {
        html! {
            @if self.server.iter().any(|view| view.place == "monitor") {
                a class="under" href={ "#/monitor?words=" (ids::segment(words)) } { (label) }
            }
        }
    }

    /// What the address begins with.
    fn place(&self) -> &str {
        self.path.split(['/', '?']).next().unwrap_or_default()
    }

    fn server_links(&self) -> Markup {
        html! {
            @for view in &self.server {
                @let is_here = view.is_at(self.place());
                a href={ "#/" (view.place) } aria-current=[is_here.then_some("page")] {
                    span { (view.name) }
                }
            }
        }
    }
}

/// A view as HTML.
pub struct Drawn {
    body: Markup,
    /// What can be replaced alone, by its key.
    pub parts: Vec<(String, String)>,
    /// The keys of the rows of each list, in order.
    pub lists: Vec<(&'static str, Vec<String>)>,
}

/// A table in a card: the heads of its columns, its rows, and what stands below.
fn card(heads: &Markup, (list, rows): (&str, &[Row]), below: &Markup) -> Markup {
    html! {
        div class="card" {
            table class="table sched" {
                thead { tr { (heads) } }
                tbody data-list=(list) { @for row in rows { (row.html) } }
            }
            (below)
        }
    }
}

impl Drawn {
    fn new(frame: &Frame, body: Markup) -> Self {
        let nav = ("nav".to_owned(), frame.nav().into_string());
        Self { body, parts: vec![nav], lists: Vec::new() }
    }

    /// With more below.
    fn and(mut self, more: &Markup) -> Self {
        self.body.0.push_str(&more.0);
        self
    }

    fn with_part(mut self, key: &str, html: Markup) -> Self {
        self.parts.push((key.to_owned(), html.into_string()));
        self
    }

    fn with_rows(mut self, name: &'static str, rows: Vec<Row>) -> Self {
        self.lists.push((name, rows.iter().map(|row| row.key.clone()).collect()));
        self.parts.extend(rows.into_iter().map(|row| (row.key, row.html.into_string())));
        self
    }

    /// A view that is one table: what is said below its title, the heads of its columns, and its
    /// rows, which change one by one.
    fn table(
        frame: &Frame,
        title: &str,
        said: &Markup,
        heads: &Markup,
        (list, rows): (&'static str, Vec<Row>),
    ) -> Self {
        let sub = html! { p class="sub" data-key="sub" { (said) } };
        let body = html! {
            div class="head" { div { h1 { (title) } (sub) } }
            (frame.server_tabs())
            (card(heads, (list, &rows), &html! {}))
        };
        Self::new(frame, body).with_part("sub", sub).with_rows(list, rows)
    }

    /// All of it: what stands at the side, and the view.
    pub fn whole(self, title: String) -> String {
        let nav = &self.parts[0].1;
        html! {
            (PreEscaped(nav))
            main class="main" id="main" tabindex="-1" data-title=(title) { (self.body) }
        }
        .into_string()
    }
}

/// A row of a list.
struct Row {
    key: String,
    html: Markup,
}

/// Jobs in all states of this role.
fn count(engine: &Engine, queue: &Queue, role: Role) -> usize {
    let states = queue.library.states.iter().filter(|state| state.role == role);
    states.map(|state| queue.count(engine, state)).sum()
}

/// The colour of a state, beside its word.
fn dot(class: &str) -> Markup {
    html! { span class={ "dot " (class) } {} }
}

/// The class of what is in a state of this role.
fn class_of(role: Role) -> &'static str {
    match role {
        Role::Ready => "waiting",
        Role::Working => "active",
        Role::Later => "delayed",
        Role::Blocked => "children",
        Role::Held => "paused",
        Role::Completed => "done",
        Role::Failed => "failed",
    }
}

/// A moment, which the page tells in the reader's own time. `form` is `clock`, `ago` or `left`.
fn moment(ms: i64, form: &str) -> Markup {
    html! { time data-ms=(ms) data-form=(form) { (ms) } }
}

/// A figure, and what it is of.
fn figure(title: &str, value: &str, unit: &str, foot: Markup) -> Markup {
    html! {
        div {
            dt { (title) }
            dd { (value) small { (unit) } }
            dd class="foot" { (foot) }
        }
    }
}

/// What a figure of spans tells beside its 95th percentile, and the share that is no longer.
type Quantile = (&'static str, f64);
const MEDIAN: Quantile = ("median", 0.5);
const WORST: Quantile = ("worst", 1.0);

/// The 95th percentile of spans, and others at its foot.
fn span_figure(title: &str, spans: &Spans, others: &[Quantile]) -> Markup {
    let Some(high) = spans.quantile(0.95) else {
        return figure(title, "–", "", html! { "none in the last minute" });
    };
    let (number, unit) = text::span(high);
    let told = others.iter().filter_map(|(name, share)| {
        Some(format!("{name} {}", text::span_text(spans.quantile(*share)?)))
    });
    // A line ends between them at most.
    let told = told.map(|it| it.replace(' ', "\u{a0}"));
    let foot = told.collect::<Vec<_>>().join(", ");
    figure(title, &number, unit, html! { (foot) })
}

/// Jobs that are delayed, and when the first of them is due.
fn delayed_figure(count: usize, next_ms: Option<i64>) -> Markup {
    figure(
        "Delayed",
        &text::number(count),
        "jobs",
        html! {
            @match next_ms {
                Some(ms) => { "next: " (moment(ms, "left")) }
                None => { "none is due" }
            }
        },
    )
}
