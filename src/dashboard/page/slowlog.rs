//! The slow log: commands that took long, the newest first, with the names of their scripts; beside
//! it, for who keeps them, the moments that LATENCY tells of.

use super::{Drawn, Frame, Page, Row, Viewer, card, moment, text};
use crate::engine::Engine;
use crate::engine::latency::{LatencyEvent, Spike};
use crate::engine::script::Realm;
use crate::engine::stats::SlowEntry;
use crate::lua::{Sha, title_of};
use maud::{Markup, html};
use serde_json::json;

/// As many are shown, the newest.
const SHOWN_MAX: usize = 100;

/// So much of a command is shown.
const CHARS_MAX: usize = 200;

pub struct SlowlogPage {
    lines: Vec<Line>,
    count: usize,
    /// From how many microseconds on a command is kept; negative if none is.
    from_us: i64,
    /// None for who may not ask for them.
    moments: Option<Moments>,
}

/// What LATENCY keeps.
struct Moments {
    /// From how many milliseconds on; 0 if nothing is kept.
    from_ms: u64,
    events: Vec<Event>,
}

/// What took long, when it last did, and how long it ever took.
struct Event {
    event: LatencyEvent,
    last: Spike,
    worst_ms: u64,
    count: usize,
}

struct Line {
    entry: SlowEntry,
    /// What its script calls itself.
    script: Option<String>,
}

impl SlowlogPage {
    pub fn new(viewer: &Viewer) -> Self {
        let engine = viewer.engine;
        let entries = &engine.stats.slowlog.entries;
        let lines = entries
            .iter()
            .take(SHOWN_MAX)
            .map(|entry| Line { script: script_of(engine, &entry.args), entry: entry.clone() });
        Self {
            lines: lines.collect(),
            count: entries.len(),
            from_us: engine.config.slowlog_log_slower_than_us,
            moments: viewer.may(&["LATENCY", "LATEST"]).then(|| Moments::of(engine)),
        }
    }
}

impl Moments {
    fn of(engine: &Engine) -> Self {
        let events = engine.stats.latencies.iter().filter_map(|(event, spikes)| {
            let last = *spikes.all.back()?;
            let (worst_ms, count) = (spikes.worst_ms, spikes.all.len());
            Some(Event { event: *event, last, worst_ms, count })
        });
        let from_ms = engine.config.latency_monitor_threshold_ms;
        Self { from_ms, events: events.collect() }
    }
}

impl Event {
    fn key(&self) -> String {
        format!("latency-{}", self.event.name())
    }

    fn row(&self) -> Markup {
        html! {
            tr data-key=(self.key()) {
                td class="c-name" { (self.event.name()) }
                td class="num" { (text::span_text(self.last.millis)) }
                td class="num hide-s" { (text::span_text(self.worst_ms)) }
                td class="num hide-s" { (text::number(self.count)) }
                td class="num hide-s" { (moment(self.last.time_s * 1000, "ago")) }
            }
        }
    }
}

/// The title of the script that a command runs. None if it runs none, or one without a title.
fn script_of(engine: &Engine, words: &[Vec<u8>]) -> Option<String> {
    let (name, script) = (words.first()?.to_ascii_lowercase(), words.get(1)?);
    match &*name {
        b"eval" | b"eval_ro" => title_of(script),
        b"evalsha" | b"evalsha_ro" => {
            let lua = engine.scripts.loaded(Realm::Scripts)?;
            Some(lua.script(&Sha::parse(script)?)?.title.as_deref()?.to_owned())
        }
        b"fcall" | b"fcall_ro" => Some(text::lossy(script)),
        _ => None,
    }
}

impl Line {
    fn key(&self) -> String {
        format!("slow-{}", self.entry.id)
    }

    fn client(&self) -> String {
        match self.entry.client_name.is_empty() {
            true => self.entry.client_addr.clone(),
            false => text::excerpt(&self.entry.client_name, 40),
        }
    }

    fn row(&self) -> Markup {
        let command = text::excerpt(&self.entry.args.join(&b' '), CHARS_MAX);
        html! {
            tr data-key=(self.key()) {
                td class="c-name clip" {
                    @if let Some(script) = &self.script { b { (script) } " " }
                    code { (command) }
                }
                td class="num" { (text::micros(self.entry.micros as f64)) }
                td class="hide-m faint mono" { (self.client()) }
                td class="num hide-s" { (moment(self.entry.time_s * 1000, "ago")) }
            }
        }
    }
}

impl Page for SlowlogPage {
    fn title(&self) -> String {
        "Slow log".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.lines.iter().map(|line| Row { key: line.key(), html: line.row() });
        let said = html! {
            @match self.from_us {
                ..0 => { "nothing is kept: " code { "slowlog-log-slower-than" } " is negative" }
                us => { (text::number(self.count)) " took " (text::micros(us as f64)) " or more" }
            }
            @if self.count > SHOWN_MAX { ", the newest " (SHOWN_MAX) " of them" }
            @if self.moments.as_ref().is_some_and(|it| it.from_ms == 0 && it.events.is_empty()) {
                ". Moments that took long are kept from " code { "latency-monitor-threshold" } " on"
            }
        };
        let heads = html! {
            th { "Command" } th class="num" { "Took" } th class="hide-m" { "Client" }
            th class="num hide-s" { "When" }
        };
        let drawn = Drawn::table(frame, &self.title(), &said, &heads, ("slowlog", rows.collect()));
        let events = self.moments.iter().flat_map(|it| &it.events);
        let rows: Vec<Row> =
            events.map(|event| Row { key: event.key(), html: event.row() }).collect();
        if rows.is_empty() {
            return drawn;
        }
        let heads = html! {
            th { "Moments that took long" } th class="num" { "Last" }
            th class="num hide-s" { "Worst" } th class="num hide-s" { "Times" }
            th class="num hide-s" { "When" }
        };
        let below = card(&heads, ("latency", &rows), &html! {});
        drawn.and(&below).with_rows("latency", rows)
    }

    fn json(&self) -> serde_json::Value {
        let told = |line: &Line| {
            let words: Vec<String> = line.entry.args.iter().map(|word| text::lossy(word)).collect();
            json!({
                "id": line.entry.id, "at": line.entry.time_s * 1000, "us": line.entry.micros,
                "words": words, "script": line.script, "client": line.client(),
            })
        };
        let all: Vec<_> = self.lines.iter().map(told).collect();
        let moments = self.moments.iter().flat_map(|it| &it.events).map(|it| {
            json!({
                "event": it.event.name(), "at": it.last.time_s * 1000, "ms": it.last.millis,
                "worst": it.worst_ms, "count": it.count,
            })
        });
        let moments: Vec<_> = moments.collect();
        json!({ "entries": all, "count": self.count, "moments": moments })
    }
}
