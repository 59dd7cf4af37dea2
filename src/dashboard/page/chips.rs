//! What the jobs of a state have in common: chips with the errors and the names of the newest, each
//! a way to those jobs alone.

use super::query::field;
use super::{dot, text};
use crate::dashboard::ids;
use crate::engine::Engine;
use crate::queues::{Brief, JobState, Queue, Role};
use maud::{Markup, html};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// The newest, of which chips tell.
const SAMPLE: usize = 200;

/// Chips of each kind, those of most jobs first.
const CHIPS_MAX: usize = 6;

/// What is longer is no part of an address.
const TEXT_LEN_MAX: usize = 500;

/// Which jobs of a state are shown: those with an error, or with a name; else all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Like {
    error: String,
    name: String,
}

impl Like {
    pub fn read(query: &str) -> Self {
        let (error, name) = (field(query, "error"), field(query, "name"));
        Self { name: if error.is_empty() { name } else { String::new() }, error }
    }

    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    pub fn admits(&self, job: &Brief) -> bool {
        (self.error.is_empty() || text::lossy(&job.failed_reason) == self.error)
            && (self.name.is_empty() || text::lossy(&job.name) == self.name)
    }

    /// As it stands in an address, behind other fields.
    pub fn query(&self) -> String {
        match (&*self.error, &*self.name) {
            ("", "") => String::new(),
            ("", name) => format!("&name={}", ids::segment(name.as_bytes())),
            (error, _) => format!("&error={}", ids::segment(error.as_bytes())),
        }
    }

    /// An order that is meant for these alone.
    pub fn narrow(&self, mut order: Json) -> Json {
        for (name, text) in [("error", &self.error), ("name", &self.name)] {
            if !text.is_empty() {
                order[name] = json!(text);
            }
        }
        order
    }
}

/// A chip: how many of the newest have it.
struct Chip {
    like: Like,
    told: String,
    count: usize,
}

pub struct Chips(Vec<Chip>);

impl Chips {
    /// Of jobs that have keys of their own: others would have to be read whole.
    pub fn of(engine: &Engine, queue: &Queue, state: &JobState, newest_last: bool) -> Self {
        if state.is_in_hand || !queue.has_job_keys() {
            return Self(Vec::new());
        }
        let len = queue.count(engine, state);
        let start = if newest_last { len.saturating_sub(SAMPLE) } else { 0 };
        let ids = queue.ids(engine, state, start..start + SAMPLE);
        let (mut errors, mut names) = (BTreeMap::new(), BTreeMap::new());
        for job in ids.iter().filter_map(|id| queue.brief(engine, id)) {
            *errors.entry(text::lossy(&job.failed_reason)).or_insert(0) += 1;
            *names.entry(text::lossy(&job.name)).or_insert(0) += 1;
        }
        let mut chips = Vec::new();
        if state.role == Role::Failed {
            let error = |error| Like { error, ..Like::default() };
            chips.extend(
                most(errors).map(|(text, count)| Chip::new(error(text.clone()), text, count)),
            );
        }
        if names.len() > 1 {
            let name = |name| Like { name, ..Like::default() };
            chips.extend(
                most(names).map(|(text, count)| Chip::new(name(text.clone()), text, count)),
            );
        }
        Self(chips)
    }

    /// `place` is the address of the state.
    pub fn draw(&self, place: &str, shown: &Like) -> Markup {
        html! {
            div data-key="chips" {
                @if self.0.len() > 1 || !shown.is_all() {
                    div class="chips" {
                        @if !shown.is_all() { a class="chip" href=(place) { "All jobs" } }
                        @for chip in &self.0 {
                            @let is_shown = chip.like == *shown;
                            a class="chip" href={ (place) "?from=0" (chip.like.query()) }
                                aria-current=[is_shown.then_some("true")] {
                                @if !chip.like.error.is_empty() { (dot("failed")) }
                                span { (text::excerpt(chip.told.as_bytes(), 70)) }
                                b { (text::number(chip.count)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Chip {
    fn new(like: Like, told: String, count: usize) -> Self {
        Self { like, told, count }
    }
}

/// Those of most jobs.
fn most(counts: BTreeMap<String, usize>) -> impl Iterator<Item = (String, usize)> {
    let fits = |(text, _): &(String, usize)| !text.is_empty() && text.len() <= TEXT_LEN_MAX;
    let mut all: Vec<(String, usize)> = counts.into_iter().filter(fits).collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    all.into_iter().take(CHIPS_MAX)
}
