//! The commands that were called: how often, in all and of late, how long they took, and what share
//! of all time that was. The first takes most.

use super::clients::spoken;
use super::{Drawn, Frame, Page, Row, text};
use crate::dashboard::watch::Watch;
use crate::engine::Engine;
use crate::engine::stats::Calls;
use crate::engine::table::Found;
use maud::{Markup, html};
use serde_json::json;

pub struct CommandsPage {
    lines: Vec<Line>,
    per_second: u64,
}

struct Line {
    name: String,
    calls: u64,
    /// Of late; None if that is not known yet.
    per_second: Option<f64>,
    micros: u64,
    /// Of those that were timed, which scripts' calls are not; None if none was.
    mean_us: Option<f64>,
    /// Calls that were refused, or answered an error.
    errors: u64,
    /// What a half of the calls, and 99 of 100, do not exceed; None if it is not kept.
    quantiles_us: Option<[f64; 2]>,
    share: f64,
}

/// The commands that somebody has called.
fn called(engine: &Engine) -> impl Iterator<Item = (Found, &Calls)> {
    let all = engine.table.all().map(|found| (found, &engine.stats.calls[found.index]));
    all.filter(|(_, calls)| calls.calls > 0 || calls.rejected > 0)
}

fn mean_us(calls: &Calls) -> Option<f64> {
    let timed = calls.latency.as_ref().map_or(calls.calls, |latency| latency.count());
    (calls.micros > 0 && timed > 0).then(|| calls.micros as f64 / timed as f64)
}

impl CommandsPage {
    pub fn new(watch: &Watch, engine: &Engine) -> Self {
        let all_us: u64 = called(engine).map(|(_, calls)| calls.micros).sum();
        let mut lines: Vec<Line> = called(engine)
            .map(|(found, calls)| Line {
                name: spoken(&found.full_name()),
                calls: calls.calls,
                per_second: watch.rates.per_second(found.index),
                micros: calls.micros,
                mean_us: mean_us(calls),
                errors: calls.rejected + calls.failed,
                quantiles_us: calls.latency.as_ref().map(|latency| {
                    [50.0, 99.0].map(|percent| latency.percentile_nanos(percent) as f64 / 1000.0)
                }),
                share: calls.micros as f64 / all_us.max(1) as f64,
            })
            .collect();
        lines.sort_by_key(|line| std::cmp::Reverse((line.micros, line.calls)));
        Self { lines, per_second: engine.stats.per_second()[0] }
    }
}

impl Line {
    fn key(&self) -> String {
        format!("command-{}", self.name.replace(' ', "-"))
    }

    fn row(&self) -> Markup {
        html! {
            tr data-key=(self.key()) {
                td class="c-name" { code { (self.name) } }
                td class="num" { (text::number(self.calls as usize)) }
                td class="num" {
                    @match self.per_second {
                        Some(0.0) | None => { span class="faint" { "–" } }
                        Some(rate @ ..10.0) => { (format!("{rate:.1}")) }
                        Some(rate) => { (text::number(rate as usize)) }
                    }
                }
                td class="num" { (micros(self.mean_us)) }
                @for at in 0..2 {
                    td class="num hide-s" { (micros(self.quantiles_us.map(|told| told[at]))) }
                }
                td class="num hide-s" { (format!("{:.1} %", self.share * 100.0)) }
                td class="num hide-s" {
                    span class=(if self.errors > 0 { "err" } else { "faint" }) {
                        (text::number(self.errors as usize))
                    }
                }
            }
        }
    }
}

fn micros(told: Option<f64>) -> Markup {
    match told {
        Some(micros) => html! { (text::micros(micros)) },
        None => html! { span class="faint" { "–" } },
    }
}

impl Page for CommandsPage {
    fn title(&self) -> String {
        "Commands".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows = self.lines.iter().map(|line| Row { key: line.key(), html: line.row() });
        let said = html! {
            (text::number(self.per_second as usize)) " calls in the last second"
        };
        let heads = html! {
            th { "Command" } th class="num" { "Calls" } th class="num" { "A second" }
            th class="num" { "Mean" }
            th class="num hide-s" { "Median" } th class="num hide-s" { "p99" }
            th class="num hide-s" { "Share of time" } th class="num hide-s" { "Errors" }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("commands", rows.collect()))
    }

    fn json(&self) -> serde_json::Value {
        let told = |line: &Line| {
            json!({
                "name": line.name, "calls": line.calls, "second": line.per_second,
                "us": line.micros, "errors": line.errors,
                "quantiles": line.quantiles_us, "share": line.share,
            })
        };
        let all: Vec<_> = self.lines.iter().map(told).collect();
        json!({ "commands": all, "second": self.per_second })
    }
}
