//! What a search has found: queues by name, jobs by id, and jobs by their text.

use super::query::field;
use super::{Drawn, Frame, Page, Row, class_of, dot, text};
use crate::dashboard::search::query::{Query, find};
use crate::dashboard::search::{Excerpt, HITS, HITS_MAX, Hit, HitState};
use crate::dashboard::{ids, watch::Watch};
use crate::engine::Engine;
use crate::queues::Queue;
use maud::{Markup, html};
use serde_json::json;

/// As many queues are shown whose name has the word.
const QUEUES_MAX: usize = 5;

/// Characters of a job's name and id.
const NAME_LEN_MAX: usize = 60;
const ID_LEN_MAX: usize = 40;

/// What may be typed beside words.
const PLACES: [(&str, &str); 6] = [
    ("\"no such box\"", "these words in a row"),
    ("name:welcome", "in the name; so with id:, error: and data:"),
    ("data.to:ada", "at this path of the data"),
    ("state:failed", "jobs in this state"),
    ("queue:mail*", "jobs of these queues"),
    ("library:rq", "jobs of this library"),
];

pub struct SearchPage {
    query: Query,
    most: usize,
    /// How much of the keys has been looked at for queues, in percent.
    walked_percent: usize,
    queues: Vec<(String, String)>,
    lines: Vec<Line>,
    /// Jobs looked at, and all there are.
    searched: usize,
    count: usize,
    is_done: bool,
    is_full: bool,
    has_missed: bool,
    /// Bytes of the index.
    index_size: usize,
}

/// A job that was found.
struct Line {
    queue: String,
    queue_id: String,
    id: Vec<u8>,
    name: Excerpt,
    told_id: Excerpt,
    text: Excerpt,
    /// Its name and its colour; None while nobody knows, and empty if it is in none.
    state: Option<(&'static str, &'static str)>,
}

/// The question that an address asks, and how many hits it wants.
pub fn searched(query: &str) -> (String, usize) {
    let most = field(query, "most").parse().unwrap_or(HITS);
    (field(query, "q"), most.clamp(1, HITS_MAX))
}

impl SearchPage {
    pub fn new(watch: &Watch, engine: &Engine, query: &str) -> Self {
        let (asked, most) = searched(query);
        let query = Query::read(&asked);
        let known = watch.queues();
        let search = watch.searches.of(&asked);
        let hits = search.map_or(&[][..], |search| &search.hits);
        let searched = search.map_or(0, |search| search.searched);
        let states = |queue: &Queue| -> usize {
            queue.library.states.iter().map(|state| queue.count(engine, state)).sum()
        };
        let count: usize = known.iter().map(states).sum();
        let is_done = search.is_some_and(|search| search.is_done());
        // Jobs that have come since are looked at as they come.
        let searched = if is_done { searched.max(count) } else { searched };
        Self {
            walked_percent: watch.walked_percent(engine),
            queues: queues_called(&known, &query),
            lines: hits.iter().take(most).map(|hit| Line::new(hit, &query)).collect(),
            searched,
            // Jobs that are in no state are found all the same.
            count: if is_done { searched } else { count.max(searched) },
            is_done,
            is_full: hits.len() >= most,
            has_missed: search.is_some_and(|search| search.has_missed),
            index_size: watch.searches.index_size(),
            query,
            most,
        }
    }

    fn form(&self) -> Markup {
        html! {
            form class="seek" data-search="yes" role="search" {
                input type="search" name="q" id="q" value=(self.query.text) autocomplete="off"
                    autocapitalize="off" spellcheck="false" maxlength="1000" enterkeyhint="search"
                    placeholder="an id, or words in data, name or error" aria-label="Search jobs";
            }
        }
    }

    /// What can be typed, while nothing is.
    fn hints(&self) -> Markup {
        html! {
            div data-key="hints" {
                @if self.query.is_empty() {
                    dl class="facts card hints" {
                        @for (typed, meant) in PLACES {
                            div { dt { code { (typed) } } dd { (meant) } }
                        }
                    }
                }
            }
        }
    }

    /// Where the question goes on, with more hits.
    fn further(&self) -> String {
        let text = ids::segment(self.query.text.as_bytes());
        format!("#/search?q={text}&most={}", (self.most + HITS).min(HITS_MAX))
    }

    /// How far it has come.
    fn progress(&self) -> Markup {
        let (found, is_empty) = (self.lines.len(), self.query.is_empty());
        let percent = (self.searched * 100).checked_div(self.count).unwrap_or(100).min(100);
        let is_under_way = !is_empty && !self.is_done && !self.is_full;
        html! {
            div class="foot-line" data-key="progress" hidden[is_empty] {
                @if is_under_way {
                    svg class="meter wide waiting" viewBox="0 0 100 6" preserveAspectRatio="none"
                        aria-hidden="true" {
                        rect width=(percent) height="6" {}
                    }
                }
                span role="status" {
                    @if self.walked_percent < 100 {
                        "looking for queues first, " (self.walked_percent) " %"
                    } @else if is_under_way {
                        (text::number(found)) " found, searched " (text::number(self.searched))
                        " of " (text::jobs(self.count))
                    } @else if self.is_full && !self.is_done {
                        "the first " (text::number(found)) ", searched "
                        (text::number(self.searched)) " of " (text::jobs(self.count))
                    } @else {
                        (if found == 0 { "nothing".to_owned() } else { text::number(found) })
                        " found in " (text::jobs(self.count))
                    }
                    @if self.has_missed { "; others have changed meanwhile: search again" }
                }
                span class="pages" {
                    @if self.is_full && self.most < HITS_MAX {
                        a class="btn small" href=(self.further()) { "Go on" }
                    }
                }
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let queues = self.queues.iter().map(|(id, name)| {
            let html = html! {
                tr data-key={ "hit-queue-" (id) } {
                    td class="c-state" { "queue" }
                    td class="c-name" { a href={ "#/queue/" (id) } { b { (name) } } }
                    td class="clip" {}
                    td class="soft hide-s" {}
                }
            };
            Row { key: format!("hit-queue-{id}"), html }
        });
        queues.chain(self.lines.iter().map(Line::row)).collect()
    }
}

/// The queues whose name has the word that is asked for, with their ids.
fn queues_called(known: &[Queue], query: &Query) -> Vec<(String, String)> {
    let Some(word) = query.id() else { return Vec::new() };
    let word = word.to_ascii_lowercase();
    let called = known.iter().filter(|it| find(it.name(), word.as_bytes()).is_some());
    let called = called.filter(|queue| query.admits(queue)).take(QUEUES_MAX);
    called.map(|queue| (ids::of_queue(queue), text::lossy(queue.name()))).collect()
}

/// A text with what was found in it marked.
fn marked(text: &Excerpt) -> Markup {
    html! {
        (text.before)
        @if !text.found.is_empty() { mark { (text.found) } }
        (text.behind)
    }
}

impl Line {
    fn new(hit: &Hit, query: &Query) -> Self {
        let words: Vec<&[u8]> = query.words().collect();
        let short = |it: &[u8], len| Excerpt::of(text::excerpt(it, len).as_bytes(), &words);
        Self {
            queue: text::lossy(hit.queue.name()),
            queue_id: ids::of_queue(&hit.queue),
            id: hit.id.clone(),
            name: short(&hit.name, NAME_LEN_MAX),
            told_id: short(&hit.id, ID_LEN_MAX),
            text: hit.text.clone(),
            state: match hit.state {
                HitState::Unknown => None,
                HitState::Known(None) => Some(("", "")),
                HitState::Known(Some(state)) => Some((state.name, class_of(state.role))),
            },
        }
    }

    fn address(&self) -> String {
        format!("job/{}/{}", self.queue_id, ids::segment(&self.id))
    }

    fn row(&self) -> Row {
        let key = format!("hit-{}-{}", self.queue_id, ids::segment(&self.id));
        let html = html! {
            tr data-key=(key) {
                td class="c-state" {
                    @if let Some((name, class)) = self.state {
                        @if !name.is_empty() { (dot(class)) " " (name) }
                    }
                }
                td class="c-name" {
                    a href={ "#/" (self.address()) } {
                        b { (marked(&self.name)) } " "
                        span class="faint" { (marked(&self.told_id)) }
                    }
                }
                td class="clip mono soft" { (marked(&self.text)) }
                td class="soft hide-s" {
                    a href={ "#/queue/" (self.queue_id) } { (self.queue) }
                }
            }
        };
        Row { key, html }
    }
}

impl Page for SearchPage {
    fn title(&self) -> String {
        "Search".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let (rows, hints, progress) = (self.rows(), self.hints(), self.progress());
        let body = html! {
            div class="head" { div { h1 { "Search" } } }
            (self.form())
            (hints)
            div class="card" hidden[self.query.is_empty()] {
                table class="table hits" {
                    thead { tr {
                        th { "State" } th { "Job" } th { "Found" } th class="hide-s" { "Queue" }
                    } }
                    tbody data-list="hits" { @for row in &rows { (row.html) } }
                }
                (progress)
            }
        };
        Drawn::new(frame, body)
            .with_part("hints", hints)
            .with_part("progress", progress)
            .with_rows("hits", rows)
    }

    fn json(&self) -> serde_json::Value {
        let hits = self.lines.iter().map(|line| {
            json!({
                "queue": line.queue, "id": text::lossy(&line.id), "address": line.address(),
                "name": line.name.whole(),
                "state": line.state.map(|(name, _)| name),
                "text": line.text.whole(), "found": line.text.found,
            })
        });
        let queues = self.queues.iter().map(|(_, name)| name);
        json!({
            "q": self.query.text, "hits": hits.collect::<Vec<_>>(),
            "queues": queues.collect::<Vec<_>>(), "searched": self.searched, "of": self.count,
            "done": self.is_done, "full": self.is_full, "index": self.index_size,
            // A job's state may take a moment longer than the job.
            "settled": (self.is_done || self.is_full)
                && self.lines.iter().all(|line| line.state.is_some()),
        })
    }
}
