//! What the page's buttons do. An action is a small script of ours, which the engine runs in the
//! name of the page's user as it runs anybody's: it is journaled, watched and told of like others.
//!
//! Of a whole state a script takes a piece at a time, so that nobody waits for it; the page asks
//! for the next piece until nothing is left. A library is one file here.

mod bullmq;
pub mod commands;

use super::page::text;
use super::{Trouble, ids};
use crate::engine::Engine;
use crate::queues::Queue;
use crate::util::span;
pub use commands::PageCommand;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// What the scripts call, and are called by.
pub const COMMANDS: &[&str] = &[
    "eval",
    "del",
    "exists",
    "get",
    "hdel",
    "hget",
    "hkeys",
    "hmget",
    "hset",
    "hsetnx",
    "incr",
    "lindex",
    "llen",
    "lpop",
    "lpush",
    "lrange",
    "lrem",
    "ltrim",
    "pttl",
    "rename",
    "rpush",
    "sadd",
    "scard",
    "select",
    "smembers",
    "srem",
    "type",
    "xadd",
    "zadd",
    "zcard",
    "zcount",
    "zrange",
    "zrangebyscore",
    "zrem",
    "zrevrangebyscore",
    "zscore",
];

/// As many jobs can be named at once.
const IDS_MAX: usize = 200;

/// An action of a library.
pub struct PageAction {
    pub name: &'static str,
    script: &'static str,
    /// What the script is given beside the queue and the time. The error says what is wrong.
    words: fn(&Order) -> Result<Vec<Vec<u8>>, String>,
    /// What is said when it is done, with `{jobs}`, `{queue}` and `{id}` in it.
    done: &'static str,
}

/// The actions that there are for a queue: none for a library whose keys are only read.
pub fn of(engine: &Engine, queue: &Queue) -> &'static [PageAction] {
    match queue.library.name {
        "BullMQ" if bullmq::era(engine, queue) >= bullmq::ERA_MIN => bullmq::ACTIONS,
        _ => &[],
    }
}

/// Whether a queue has an action.
pub fn has(engine: &Engine, queue: &Queue, name: &str) -> bool {
    of(engine, queue).iter().any(|action| action.name == name)
}

/// What somebody wants done.
pub struct Order<'e> {
    engine: &'e Engine,
    queue: Queue,
    body: Json,
    /// The jobs that are named.
    ids: Vec<Vec<u8>>,
}

/// A script that is ready to be run.
pub struct PageScript {
    queue: Queue,
    action: &'static PageAction,
    /// Jobs that were done in earlier pieces.
    before: usize,
    words: Vec<Vec<u8>>,
}

impl<'e> Order<'e> {
    /// Reads what is to be done.
    ///
    /// # Errors
    /// It says nothing that could be done.
    pub fn read(engine: &'e Engine, queue: Queue, body: Json) -> Result<Self, Trouble> {
        let named = body["ids"].as_array().cloned().unwrap_or_default();
        if named.len() > IDS_MAX {
            let count = named.len();
            return Err(Trouble::Wrong(format!("{count} ids are too many: {IDS_MAX} at most")));
        }
        let ids = named.iter().filter_map(Json::as_str).map(|id| percent_decode_str(id).collect());
        Ok(Self { engine, ids: ids.collect(), queue, body })
    }

    /// The script that does it.
    ///
    /// # Errors
    /// There is no such action, or something that it wants is missing or wrong.
    pub fn script(self, name: &str) -> Result<PageScript, Trouble> {
        let actions = of(self.engine, &self.queue);
        let action = actions.iter().find(|action| action.name == name).ok_or_else(|| {
            let known: Vec<&str> = actions.iter().map(|action| action.name).collect();
            Trouble::Absent(match known.is_empty() {
                true => format!("queues of {} can only be looked at", self.queue.library.name),
                false => format!("there is no action '{name}': {}", known.join(", ")),
            })
        })?;
        let own = (action.words)(&self).map_err(Trouble::Wrong)?;
        let base = [&self.queue.base, &b":meta"[..]].concat();
        let now_ms = self.engine.keyspace.now.wall_ms;
        let era = bullmq::era(self.engine, &self.queue);
        let shared = [era.to_string(), self.queue.db.to_string(), now_ms.to_string()];
        let mut words: Vec<Vec<u8>> =
            vec![b"EVAL".to_vec(), action.script.into(), b"1".to_vec(), base];
        words.extend(shared.map(String::into_bytes));
        words.extend(own);
        let before = self.body["before"].as_u64().unwrap_or(0) as usize;
        Ok(PageScript { queue: self.queue, action, before, words })
    }

    /// A text of the order; empty if it is not there.
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }

    fn is_checked(&self, field: &str) -> bool {
        self.body[field].as_bool().unwrap_or(false) || self.text(field) == "on"
    }

    /// A whole number, as a number or as text; None if it is not there.
    ///
    /// # Errors
    /// It is something else.
    fn number(&self, field: &str) -> Result<Option<u64>, String> {
        match (&self.body[field], self.text(field).trim()) {
            (Json::Null, _) => Ok(None),
            (Json::Number(number), _) => number.as_u64().ok_or(()).map(Some),
            (_, "") => Ok(None),
            (_, text) => text.parse().map(Some).map_err(|_| ()),
        }
        .map_err(|()| format!("{field} is a whole number, not {}", self.body[field]))
    }

    /// A span in milliseconds.
    ///
    /// # Errors
    /// It is none.
    fn span_ms(&self, field: &str) -> Result<u64, String> {
        span_of(self.text(field), field)
    }

    /// The one job that is meant.
    ///
    /// # Errors
    /// None is named, or several are.
    fn id(&self) -> Result<&[u8], String> {
        match &*self.ids {
            [id] => Ok(id),
            _ => Err("one job is to be named in 'ids'".into()),
        }
    }

    /// The jobs that are meant, of which there is one at least.
    ///
    /// # Errors
    /// None is named.
    fn ids(&self) -> Result<&[Vec<u8>], String> {
        if self.ids.is_empty() { Err("no job is named in 'ids'".into()) } else { Ok(&self.ids) }
    }
}

/// A span in milliseconds, as people write it; 0 if there is none.
///
/// # Errors
/// It is none.
fn span_of(text: &str, name: &str) -> Result<u64, String> {
    let text: String = text.split_whitespace().collect();
    let text = text.replace("min", "m");
    match text.as_str() {
        "" => Ok(0),
        text => span::parse_ms(text)
            .ok_or_else(|| format!("{name} is a span such as 30s, 5m or 2h, not '{text}'")),
    }
}

/// What is to be run in a user's name.
pub enum PageOrder {
    Script(PageScript),
    Command(PageCommand),
}

impl PageOrder {
    pub fn words(&self) -> &[Vec<u8>] {
        match self {
            Self::Script(script) => &script.words,
            Self::Command(command) => &command.words,
        }
    }

    /// The database in which it begins: a script selects its own.
    pub fn db(&self) -> usize {
        match self {
            Self::Script(_) => 0,
            Self::Command(command) => command.db,
        }
    }

    /// What is to be said of the answer.
    pub fn outcome(&self, engine: &Engine, answer: &Json) -> Json {
        match self {
            Self::Script(script) => script.outcome(engine, answer),
            Self::Command(command) => command.outcome(answer),
        }
    }
}

/// What somebody sent, which is JSON or nothing.
///
/// # Errors
/// It is something else.
pub fn read_body(body: &[u8]) -> Result<Json, Trouble> {
    match body {
        [] => Ok(Json::Null),
        _ => serde_json::from_slice(body)
            .map_err(|problem| Trouble::Wrong(format!("the body is no JSON: {problem}"))),
    }
}

impl PageScript {
    /// What is to be said of what the script has answered.
    fn outcome(&self, engine: &Engine, answer: &Json) -> Json {
        let number = |at: usize| answer[at].as_u64().unwrap_or(0) as usize;
        let notes: Vec<&str> = answer.as_array().map_or(Vec::new(), |all| {
            all.iter().skip(4).map(|text| text.as_str().unwrap_or_default()).collect()
        });
        let done = self.before + number(0);
        let mut added = "";
        let mut refused = Vec::new();
        for note in notes.chunks_exact(3) {
            match note[1] {
                "added" => added = note[0],
                _ => refused.push(self.refusal(engine, note)),
            }
        }
        let told = match done {
            0 => String::new(),
            _ => self.told(done, added),
        };
        json!({
            "done": done, "skip": number(1), "left": number(2), "looked": number(3),
            "told": told, "refused": refused, "id": added,
        })
    }

    fn told(&self, done: usize, id: &str) -> String {
        let name = text::lossy(self.queue.name());
        let jobs = text::jobs(done);
        self.action.done.replace("{jobs}", &jobs).replace("{queue}", &name).replace("{id}", id)
    }

    /// Why something was not done to a job.
    fn refusal(&self, engine: &Engine, note: &[&str]) -> String {
        let job = format!("Job {}", text::excerpt(note[0].as_bytes(), 40));
        match note[1] {
            "gone" => format!("{job} is not there any more"),
            "elsewhere" => format!("{job} is in another state by now"),
            "there" => format!("{job} is there already"),
            "scheduled" => {
                format!("{job} is the next run of a scheduler, which would stand still without it")
            }
            "locked" => {
                let worker = self.queue.job(engine, note[0].as_bytes()).map(|job| job.worker);
                let worker = worker.filter(|name| !name.is_empty());
                let worker = worker.map_or("a worker".into(), |name| text::excerpt(&name, 40));
                let ms: u64 = note[2].parse().unwrap_or(0);
                format!("{job} is not removed: {worker} holds its lock for {} more", span::text(ms))
            }
            "running" => format!("{} run: say that they may go as well", note[2]),
            "no-deduplication" => format!("{job} keeps no others away any more"),
            "no-scheduler" => "This scheduler is not there any more".into(),
            other => format!("{job}: {other}"),
        }
    }
}

/// A queue's name in an address, and an action: `ID/retry`.
///
/// # Errors
/// It is nothing of that kind.
pub fn split(path: &str) -> Result<(&str, &str), Trouble> {
    let known = path.split_once('/').filter(|(id, _)| ids::parse(id).is_some());
    known.ok_or_else(|| Trouble::Absent("say which queue, and what to do: ID/retry".into()))
}

/// JSON without the blanks between its parts, as libraries write it; numbers stay as they are.
///
/// # Errors
/// It is no JSON.
fn compact_json(text: &str) -> Result<Vec<u8>, String> {
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|problem| format!("the data is no JSON: {problem}"))?;
    let (mut is_text, mut is_escaped) = (false, false);
    let mut kept = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if is_text || !byte.is_ascii_whitespace() {
            kept.push(byte);
        }
        let is_quote = byte == b'"' && !is_escaped;
        is_text ^= is_quote;
        is_escaped = is_text && byte == b'\\' && !is_escaped;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a user may act is asked before a script is run, of these alone.
    #[test]
    fn scripts_call_what_the_list_says() {
        let mut called = vec!["eval".to_owned()];
        for action in bullmq::ACTIONS {
            let calls = action.script.split("call(").skip(1);
            let args = calls.flat_map(|call| call.split(',').next());
            let names = args.flat_map(|arg| arg.split('\'').skip(1).step_by(2));
            called.extend(names.map(str::to_lowercase));
        }
        called.sort();
        called.dedup();
        let mut listed = COMMANDS.to_vec();
        listed.sort_unstable();
        assert_eq!(called, listed);
    }

    #[test]
    fn json_loses_the_blanks_between_its_parts_alone() {
        let check = |text: &str, expect: &str| {
            assert_eq!(compact_json(text).as_deref(), Ok(expect.as_bytes()), "{text}");
        };
        check("{ \"a b\" : [ 1.50,\n 2 ] }", r#"{"a b":[1.50,2]}"#);
        check(r#"{"q": "\" \\", "r": " "}"#, r#"{"q":"\" \\","r":" "}"#);
        assert!(compact_json("{a}").is_err());
        assert!(compact_json("").is_err());
    }
}
