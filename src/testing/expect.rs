//! TORIL EXPECT: whether something has become of a job, or does so in time. It looks back as well,
//! also at jobs that are gone, as far as a queue's history goes (history.rs). It is asked in words
//! and answers a map, or is given the same words as JSON, and answers JSON.

use super::history::{Happening, History, Past};
use super::report;
use super::waits::Awaiting;
use super::{TIMEOUT_MS, Testing};
use crate::engine::client::ClientId;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};
use crate::queues::{Job, Queue};
use crate::util::{calendar, number, span};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What may be expected of a job.
const STATES: &[&str] = &["added", "active", "completed", "failed", "delayed"];

const WORDS: &[&str] = &["queue", "name", "data", "state", "count", "within", "by", "never"];

/// What somebody expects.
struct Expectation {
    queue: String,
    name: Option<String>,
    /// What a job's data must hold; it may hold more.
    data: Option<Json>,
    state: &'static str,
    /// So many jobs, and no more. None: at least one.
    count: Option<u64>,
    /// Real time.
    within_ms: u64,
    /// A moment of the clock that tests move, in place of `within_ms`.
    by_ms: Option<i64>,
    never: bool,
}

impl Expectation {
    fn of_json(text: &[u8]) -> Result<Self> {
        match parse_json("an expectation", text)? {
            Json::Object(words) => Self::of_words(&words),
            _ => Err(refused("an expectation is an object, such as {\"queue\":\"mail\"}".into())),
        }
    }

    fn of_args(args: &mut Args) -> Result<Self> {
        let mut words = Map::new();
        while let Some(word) = args.next() {
            let word = report::text(word).to_lowercase();
            if word == "never" {
                words.insert(word, Json::Bool(true));
                continue;
            }
            let value = args.next().ok_or_else(|| refused(format!("{word} wants a value")))?;
            let value = match word.as_str() {
                "data" => parse_json("data", value)?,
                "count" => Json::from(number::parse_i64(value).ok_or_else(|| {
                    refused(format!("count is a whole number, not '{}'", report::text(value)))
                })?),
                "by" => number::parse_i64(value)
                    .map_or_else(|| Json::String(report::text(value)), Json::from),
                _ => Json::String(report::text(value)),
            };
            words.insert(word, value);
        }
        Self::of_words(&words)
    }

    fn of_words(words: &Map<String, Json>) -> Result<Self> {
        if let Some(unknown) = words.keys().find(|word| !WORDS.contains(&word.as_str())) {
            let known = WORDS.join(", ");
            return Err(refused(format!("an expectation has no '{unknown}': it has {known}")));
        }
        let never = flag(words)?;
        let state = words.get("state").unwrap_or(&Json::Null);
        let state = match state {
            Json::Null => STATES[0],
            state => STATES
                .iter()
                .find(|it| state == **it)
                .ok_or_else(|| refused(format!("state is {}, not {state}", STATES.join(", "))))?,
        };
        let by_ms = words.get("by").map(moment).transpose()?;
        if by_ms.is_some() && words.contains_key("within") {
            return Err(refused("within and by exclude each other".into()));
        }
        if never && words.contains_key("count") {
            return Err(refused("never and count exclude each other".into()));
        }
        let within_ms = words.get("within").map(span_of).transpose()?;
        Ok(Self {
            queue: text_of(words, "queue")?
                .ok_or_else(|| refused("an expectation names its queue".into()))?,
            name: text_of(words, "name")?,
            data: words.get("data").cloned(),
            state,
            count: count_of(words)?,
            within_ms: within_ms.unwrap_or(if never { 0 } else { TIMEOUT_MS }),
            by_ms,
            never,
        })
    }

    /// Whether this is a job of the kind that is expected.
    fn fits(&self, job: Option<&Job>) -> bool {
        let Some(job) = job else { return self.name.is_none() && self.data.is_none() };
        let has_name = self.name.as_ref().is_none_or(|name| name.as_bytes() == job.name);
        let differs = |data: &Json| difference(data, &data_of(job), "data").is_some();
        has_name && !self.data.as_ref().is_some_and(differs)
    }

    /// `completed job "welcome" {"to":"ada@example.com"} in mail`.
    fn text(&self) -> String {
        let mut text = format!("{} job", self.state);
        if let Some(name) = &self.name {
            let _ = write!(text, " \"{name}\"");
        }
        if let Some(data) = &self.data {
            let _ = write!(text, " {data}");
        }
        let _ = write!(text, " in {}", self.queue);
        text
    }
}

fn refused(text: String) -> Error {
    Error::new(format!("ERR {text}"))
}

/// None if it is not said.
fn text_of(words: &Map<String, Json>, word: &str) -> Result<Option<String>> {
    match words.get(word) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(refused(format!("{word} is a text, not {other}"))),
    }
}

/// None if it is not said.
fn count_of(words: &Map<String, Json>) -> Result<Option<u64>> {
    let Some(value) = words.get("count") else { return Ok(None) };
    let count = value.as_u64();
    count.map(Some).ok_or_else(|| refused(format!("count is a whole number, not {value}")))
}

fn span_of(value: &Json) -> Result<u64> {
    let ms = value.as_u64().or_else(|| span::parse_ms(value.as_str()?));
    ms.ok_or_else(|| {
        refused(format!("within is milliseconds, or a duration such as \"5s\", not {value}"))
    })
}

fn parse_json(what: &str, text: &[u8]) -> Result<Json> {
    serde_json::from_slice(text).map_err(|problem| refused(format!("{what} is JSON: {problem}")))
}

fn flag(words: &Map<String, Json>) -> Result<bool> {
    match words.get("never") {
        None => Ok(false),
        Some(Json::Bool(never)) => Ok(*never),
        Some(other) => Err(refused(format!("never is true or false, not {other}"))),
    }
}

fn moment(value: &Json) -> Result<i64> {
    let ms = value.as_i64().or_else(|| calendar::parse_iso(value.as_str()?));
    ms.ok_or_else(|| {
        refused(format!(
            "by is a moment, such as \"2026-11-29T09:00:00Z\" or milliseconds since 1970, not \
             {value}"
        ))
    })
}

/// A job's data, or as a text what is no JSON.
fn data_of(job: &Job) -> Json {
    serde_json::from_slice(&job.data).unwrap_or_else(|_| Json::String(report::text(&job.data)))
}

/// Where some data first miss what they should hold; None if they miss nothing.
fn difference(wanted: &Json, found: &Json, path: &str) -> Option<String> {
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let path = format!("{path}.{key}");
            match found.get(key) {
                None => Some(format!("{path}: expected {value}, was absent")),
                Some(found) => difference(value, found, &path),
            }
        }),
        (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
            let mut pairs = wanted.iter().zip(found).enumerate();
            pairs
                .find_map(|(at, (value, found))| difference(value, found, &format!("{path}[{at}]")))
        }
        _ => (wanted != found).then(|| format!("{path}: expected {wanted}, was {found}")),
    }
}

/// In how many places some data miss what they should hold.
fn distance(wanted: &Json, found: &Json) -> usize {
    match (wanted, found) {
        (Json::Object(wanted), Json::Object(found)) => {
            let gap = |(key, value)| found.get(key).map_or(1, |found| distance(value, found));
            wanted.iter().map(gap).sum()
        }
        (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
            wanted.iter().zip(found).map(|(value, found)| distance(value, found)).sum()
        }
        _ => usize::from(wanted != found),
    }
}

/// A client that waits for what it expects.
pub struct Expecting {
    client: ClientId,
    expectation: Expectation,
    /// It asked in JSON, and is answered so.
    is_json: bool,
    started_us: u64,
}

/// What came of an expectation.
pub struct Judgement {
    is_met: bool,
    ids: Vec<String>,
    /// What a person reads if it is not met.
    why: Option<String>,
}

impl Judgement {
    fn write(&self, is_json: bool, reply: &mut Reply) {
        let Self { is_met, ids, why } = self;
        if is_json {
            let mut answer = json!({ "met": is_met, "count": ids.len(), "ids": ids });
            if let Some(why) = why {
                answer["why"] = Json::from(why.as_str());
            }
            return reply.bulk(answer.to_string().as_bytes());
        }
        reply.map(3 + usize::from(why.is_some()));
        reply.bulk(b"met");
        reply.int(i64::from(*is_met));
        reply.bulk(b"count");
        reply.count(ids.len());
        reply.bulk(b"ids");
        reply.bulks(ids);
        if let Some(why) = why {
            reply.bulk(b"why");
            reply.bulk(why.as_bytes());
        }
    }
}

impl Awaiting for Expecting {
    type Answer = Judgement;

    fn client(&self) -> ClientId {
        self.client
    }

    fn look(
        &mut self,
        history: &mut History,
        engine: &Engine,
    ) -> std::result::Result<Judgement, u64> {
        let now = engine.keyspace.now;
        let Expectation { count, never, .. } = self.expectation;
        let deadline_us = self.deadline_us(engine);
        let is_over = deadline_us <= now.mono_us;
        let queues = history.queues();
        let queues: Vec<&Queue> =
            queues.iter().filter(|it| it.is_called(self.expectation.queue.as_bytes())).collect();
        let pasts: Vec<&Past> = queues.iter().filter_map(|queue| history.past(queue)).collect();
        let found: BTreeSet<&[u8]> = pasts
            .iter()
            .flat_map(|past| &past.events)
            .filter(|event| {
                event.what == self.expectation.state && self.expectation.fits(event.job.as_deref())
            })
            .map(|event| &*event.id)
            .collect();
        let total = found.len() as u64;
        let is_exceeded = count.is_some_and(|count| total > count) || never && total > 0;
        let is_reached = if never { is_over } else { total >= count.unwrap_or(1) };
        if !is_exceeded && !is_reached && !is_over {
            return Err(deadline_us);
        }
        let ids: Vec<String> = found.iter().map(|id| report::text(id)).collect();
        if is_reached && !is_exceeded {
            return Ok(Judgement { is_met: true, ids, why: None });
        }
        let waited_ms = (now.mono_us - self.started_us) / 1_000;
        let why = Some(self.why(&ids, waited_ms, &pasts, history, now.mono_us));
        Ok(Judgement { is_met: false, ids, why })
    }

    fn write(&self, outcome: Judgement, reply: &mut Reply) {
        outcome.write(self.is_json, reply);
    }
}

impl Expecting {
    fn deadline_us(&self, engine: &Engine) -> u64 {
        let now = engine.keyspace.now;
        match self.expectation.by_ms {
            None => self.started_us.saturating_add(self.expectation.within_ms.saturating_mul(1000)),
            Some(by_ms) => {
                let left_ms = by_ms.saturating_sub(now.wall_ms).max(0) as u64;
                now.mono_us.saturating_add(left_ms.saturating_mul(1000))
            }
        }
    }

    /// What a person reads.
    fn why(
        &self,
        ids: &[String],
        waited_ms: u64,
        pasts: &[&Past],
        history: &History,
        now_us: u64,
    ) -> String {
        let Expectation { count, never, .. } = self.expectation;
        let (text, waited) = (self.expectation.text(), span::text(waited_ms));
        if never {
            let time_line = ids.first().map(|id| time_line(id, pasts, now_us)).unwrap_or_default();
            return format!("expected no {text}, was job {}{time_line}", ids.join(", job "));
        }
        let wanted = count.unwrap_or(1);
        let mut why = format!("expected {wanted} {text}, was {} after {waited}", ids.len());
        if ids.len() as u64 > wanted {
            let _ = write!(why, ": job {}", ids.join(", job "));
            return why;
        }
        if pasts.is_empty() {
            let queues = history.queues();
            if !queues.iter().any(|it| it.is_called(self.expectation.queue.as_bytes())) {
                let _ = write!(why, "\n{}", report::no_queue(&self.expectation.queue, &queues));
                return why;
            }
        }
        match self.nearest(ids, pasts) {
            None => why.push_str("\nno other job has been there"),
            Some((id, job)) => {
                let _ = write!(why, "\nnearest: {}", report::describe(id, job));
                let _ = write!(why, "\n{}", self.what_differs(job));
                why.push_str(&time_line(&report::text(id), pasts, now_us));
            }
        }
        why
    }

    /// The job that comes closest among those that do not fit: the one that differs least, of those
    /// the latest. None if there was none.
    fn nearest<'p>(
        &self,
        ids: &[String],
        pasts: &[&'p Past],
    ) -> Option<(&'p [u8], Option<&'p Job>)> {
        let mut latest: BTreeMap<&[u8], &Happening> = BTreeMap::new();
        for event in pasts.iter().flat_map(|past| &past.events) {
            latest.insert(&event.id, event);
        }
        let others = latest.into_values().filter(|event| !ids.contains(&report::text(&event.id)));
        let nearest = others.min_by_key(|event| {
            let job = event.job.as_deref();
            let has_name = self
                .expectation
                .name
                .as_ref()
                .is_none_or(|name| job.is_some_and(|job| job.name == name.as_bytes()));
            let apart = self
                .expectation
                .data
                .as_ref()
                .map_or(0, |data| job.map_or(usize::MAX, |job| distance(data, &data_of(job))));
            (!has_name, apart, std::cmp::Reverse(event.number))
        })?;
        Some((&nearest.id, nearest.job.as_deref()))
    }

    fn what_differs(&self, job: Option<&Job>) -> String {
        let Expectation { name, data, state, .. } = &self.expectation;
        let Some(job) = job else { return "its data had gone before anybody looked".into() };
        if let Some(name) = name.as_ref().filter(|name| name.as_bytes() != job.name) {
            return format!("name: expected \"{name}\", was \"{}\"", report::text(&job.name));
        }
        let differs = data.as_ref().and_then(|data| difference(data, &data_of(job), "data"));
        differs.unwrap_or_else(|| format!("state: expected {state}, was never"))
    }
}

/// What has become of a job, oldest first, as a line of its own.
fn time_line(id: &str, pasts: &[&Past], now_us: u64) -> String {
    let events = pasts.iter().flat_map(|past| &past.events);
    let told = events.filter(|event| *event.id == *id.as_bytes()).map(|event| {
        let ago = span::text((now_us - event.at_us) / 1_000);
        let reason = report::text(&event.reason);
        match event.what {
            "failed" if !reason.is_empty() => format!("failed {ago} ago ({reason})"),
            what => format!("{what} {ago} ago"),
        }
    });
    format!("\njob {id}: {}", told.collect::<Vec<_>>().join("; "))
}

pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let is_json = args.left() == 1;
    let expectation = match is_json {
        true => Expectation::of_json(args.given())?,
        false => Expectation::of_args(&mut args)?,
    };
    let started_us = cx.now().mono_us;
    let waiting = Expecting { client: cx.client, expectation, is_json, started_us };
    testing.expectations.begin(waiting, &mut testing.history, cx, args, reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_differs_is_named() {
        let check = |wanted: &str, found: &str, expect: Option<&str>| {
            let json = |text| serde_json::from_str::<Json>(text).expect("it is JSON");
            let (wanted, found) = (json(wanted), json(found));
            assert_eq!(difference(&wanted, &found, "data").as_deref(), expect);
            assert_eq!(distance(&wanted, &found) > 0, expect.is_some());
        };
        let ada = r#"{"to":"ada@example.com"}"#;
        check(ada, ada, None);
        check(ada, r#"{"from":1,"to":"ada@example.com"}"#, None);
        let differs = r#"data.to: expected "ada@example.com", was "bob@example.com""#;
        check(ada, r#"{"to":"bob@example.com"}"#, Some(differs));
        check(ada, "{}", Some(r#"data.to: expected "ada@example.com", was absent"#));
        check(
            r#"{"a":[1,{"b":2}]}"#,
            r#"{"a":[1,{"b":3}]}"#,
            Some("data.a[1].b: expected 2, was 3"),
        );
        check(r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, Some("data.a: expected [1], was [1,2]"));
        check("1", "2", Some("data: expected 1, was 2"));
    }
}
