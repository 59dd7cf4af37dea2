//! The slow log: commands that took long, the newest first, with the names of their scripts.

use super::{Drawn, Frame, Page, Row, moment, text};
use crate::engine::Engine;
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
}

struct Line {
    entry: SlowEntry,
    /// What its script calls itself.
    script: Option<String>,
}

impl SlowlogPage {
    pub fn new(engine: &Engine) -> Self {
        let entries = &engine.stats.slowlog.entries;
        let lines = entries
            .iter()
            .take(SHOWN_MAX)
            .map(|entry| Line { script: script_of(engine, &entry.args), entry: entry.clone() });
        Self {
            lines: lines.collect(),
            count: entries.len(),
            from_us: engine.config.slowlog_log_slower_than_us,
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
        };
        let heads = html! {
            th { "Command" } th class="num" { "Took" } th class="hide-m" { "Client" }
            th class="num hide-s" { "When" }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("slowlog", rows.collect()))
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
        json!({ "entries": all, "count": self.count })
    }
}
