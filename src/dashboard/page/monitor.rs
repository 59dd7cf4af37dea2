//! What all clients ask for, as MONITOR tells it, recorded from a click on.

use super::{Drawn, Frame, Page, Row, card, moment, query, text};
use crate::dashboard::recording::{COMMANDS_MAX, HeardCommand, Recording, Wish};
use crate::dashboard::watch::Watch;
use crate::engine::Engine;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

/// As many are shown, the newest first.
const SHOWN_MAX: usize = 200;

/// What of a recording is to be shown: empty texts let everything through.
struct Filter {
    /// A part of the client's name or address.
    client: String,
    /// The name of a command.
    command: String,
    /// A part of its other words.
    words: String,
    /// What scripts call is left out.
    skips_scripts: bool,
}

impl Filter {
    fn read(query: &str) -> Self {
        Self {
            client: query::field(query, "client"),
            command: query::field(query, "command").to_uppercase(),
            words: query::field(query, "words"),
            skips_scripts: query::field(query, "scripts") == "no",
        }
    }

    fn admits(&self, heard: &HeardCommand) -> bool {
        let is_script = heard.address.is_empty();
        (self.command.is_empty() || heard.command == self.command)
            && (!is_script || !self.skips_scripts)
            && (heard.client.contains(&self.client) || heard.address.contains(&self.client))
            && heard.words.contains(&self.words)
    }

    /// The address of a recording that is filtered so.
    fn place(&self, wish: Wish) -> String {
        let mut place = format!("#/monitor?on={}", wish.number);
        let scripts = if self.skips_scripts { "no" } else { "" };
        for (name, value) in [
            ("client", &*self.client),
            ("command", &self.command),
            ("words", &self.words),
            ("scripts", scripts),
            ("stop", if wish.is_over { "yes" } else { "" }),
            ("keep", if wish.goes_on { "yes" } else { "" }),
        ] {
            if !value.is_empty() {
                place += &format!("&{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
            }
        }
        place
    }
}

/// What the address of a view wants of a recording; None for other views.
pub fn wish(path: &str) -> Option<Wish> {
    let query = path.strip_prefix("monitor")?.strip_prefix('?').unwrap_or_default();
    Some(Wish {
        number: query::field(query, "on").parse().unwrap_or(0),
        goes_on: query::field(query, "keep") == "yes",
        is_over: query::field(query, "stop") == "yes",
    })
}

pub struct MonitorPage {
    filter: Filter,
    lines: Vec<HeardCommand>,
    /// How many of those that were kept fit.
    fit: usize,
    count: usize,
    passed_over: usize,
    number: usize,
    is_on: bool,
    ends_ms: Option<i64>,
}

impl MonitorPage {
    pub fn new(watch: &Watch, engine: &Engine, query: &str) -> Self {
        let recording: &Recording = &watch.recording;
        let filter = Filter::read(query);
        let fitting = recording.heard.iter().rev().filter(|heard| filter.admits(heard));
        Self {
            lines: fitting.clone().take(SHOWN_MAX).cloned().collect(),
            fit: fitting.count(),
            filter,
            count: recording.count,
            passed_over: recording.passed_over,
            number: recording.number,
            is_on: recording.is_on(),
            ends_ms: recording.ends_ms(engine),
        }
    }

    fn said(&self) -> Markup {
        html! {
            @if self.number == 0 {
                "shows what all clients ask for, for half a minute or "
                (text::number(COMMANDS_MAX)) " commands"
            } @else {
                (text::number(self.count)) " commands"
                @if self.fit != self.count { ", of which " (text::number(self.fit)) " fit" }
                @if self.fit > SHOWN_MAX { ": the last " (SHOWN_MAX) }
                @if self.passed_over > 0 {
                    "; " (text::number(self.passed_over)) " came too fast to be read"
                }
                @match (self.is_on, self.ends_ms) {
                    (true, Some(ms)) => { " · stops in " (moment(ms, "left")) }
                    (true, None) => { " · goes on while somebody looks" }
                    (false, _) => { " · has stopped" }
                }
            }
        }
    }

    fn buttons(&self) -> Markup {
        let this = Wish { number: self.number, ..Wish::default() };
        let link = |wish: Wish| self.filter.place(wish);
        let next = Wish { number: self.number + 1, ..this };
        html! {
            div class="actions" data-key="buttons" {
                @if self.is_on {
                    @if self.ends_ms.is_some() {
                        a class="btn" href=(link(Wish { goes_on: true, ..this })) { "Keep going" }
                    }
                    a class="btn" href=(link(Wish { is_over: true, ..this })) { "Stop" }
                } @else {
                    a class="btn" href=(link(next)) {
                        @if self.number == 0 { "Start" } @else { "Start anew" }
                    }
                }
            }
        }
    }

    fn form(&self) -> Markup {
        html! {
            form class="seek wide" data-go="monitor" role="search" {
                input type="hidden" name="on" value=(self.number);
                input name="client" value=(self.filter.client) autocomplete="off" spellcheck="false"
                    placeholder="client: name or address" aria-label="Client";
                input name="command" value=(self.filter.command) autocomplete="off"
                    spellcheck="false" placeholder="command" aria-label="Command";
                input name="words" value=(self.filter.words) autocomplete="off" spellcheck="false"
                    placeholder="key, or another word of it" aria-label="Words";
                label class="check" {
                    input type="checkbox" name="scripts" value="no"
                        checked[self.filter.skips_scripts];
                    "without what scripts call"
                }
                button class="btn" { "Filter" }
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let row = |heard: &HeardCommand| {
            let key = format!("heard-{}", heard.number);
            let html = html! {
                tr data-key=(key) {
                    td class="c-name clip wide" {
                        code { (heard.command) } " "
                        span class="mono" { (text::excerpt(heard.words.as_bytes(), 200)) }
                    }
                    td class="soft" {
                        @if heard.address.is_empty() { span class="faint" { "a script" } }
                        @else if heard.client.is_empty() { span class="mono" { (heard.address) } }
                        @else { (text::excerpt(heard.client.as_bytes(), 60)) }
                    }
                    td class="num hide-s" { (heard.db) }
                    td class="num" { (moment(heard.at_us / 1000, "clock")) }
                }
            };
            Row { key, html }
        };
        self.lines.iter().map(row).collect()
    }
}

impl Page for MonitorPage {
    fn title(&self) -> String {
        "Monitor".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.rows();
        let sub = html! { p class="sub" data-key="sub" { (self.said()) } };
        let buttons = self.buttons();
        let heads = html! {
            th { "Command" } th { "Client" } th class="num hide-s" { "Database" }
            th class="num" { "At" }
        };
        let body = html! {
            div class="head" { div { h1 { (self.title()) } (sub) } (buttons) }
            (frame.server_tabs())
            (self.form())
            (card(&heads, ("heard", &rows), &html! {}))
        };
        Drawn::new(frame, body)
            .with_part("sub", sub)
            .with_part("buttons", buttons)
            .with_rows("heard", rows)
    }

    fn json(&self) -> serde_json::Value {
        let told = |heard: &HeardCommand| {
            json!({
                "at": heard.at_us / 1000, "db": heard.db, "address": heard.address,
                "client": heard.client, "command": heard.command, "words": heard.words,
            })
        };
        let all: Vec<_> = self.lines.iter().map(told).collect();
        json!({
            "commands": all, "count": self.count, "fit": self.fit, "on": self.number,
            "going": self.is_on, "ends": self.ends_ms.unwrap_or(0), "missed": self.passed_over,
        })
    }
}
