//! What the page's buttons do. An action is a small script of ours, which the engine runs in the
//! name of the page's user as it runs anybody's: it is journaled, watched and told of like others.
//!
//! Of a whole state a script takes a piece at a time, so that nobody waits for it; the page asks
//! for the next piece until nothing is left. A library is one file here.

/// The parts of a script, behind what all have in common: files of this folder.
macro_rules! script {
    ($($part:literal),+) => { &[$(include_str!(concat!($part, ".lua"))),+] };
}

mod arq;
mod bee;
mod bull;
mod bullmq;
mod celery;
pub mod commands;
mod dramatiq;
mod fields;
mod rq;
mod sidekiq;

use super::page::text;
use super::{Trouble, ids, may_run};
use crate::engine::Engine;
use crate::engine::acl::user::User;
use crate::queues::{JobPlace, JobState, Queue, Role};
use crate::util::span;
pub use commands::PageCommand;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// What the scripts for BullMQ call, and are called by: who may not run one of these sees no
/// buttons. What those of other libraries call beside these is asked for when one is to be run.
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

/// As many jobs of a state a script is given at once.
const PIECE: usize = 250;

/// As many jobs can be named at once.
const IDS_MAX: usize = 200;

/// No span is longer: moments behind that are no numbers any more to some of the libraries.
const SPAN_MS_MAX: u64 = 100 * 366 * 86_400_000;

/// No number is larger: those behind it are not told apart by scripts.
const NUMBER_MAX: u64 = 1 << 53;

/// What all scripts have in common.
const SHARED: &str = include_str!("shared.lua");

/// An action of a library.
pub struct PageAction {
    pub name: &'static str,
    script: &'static [&'static str],
    /// What the script is given beside the queue and the time. The error says what is wrong.
    words: fn(&Order) -> Result<Vec<Vec<u8>>, String>,
    /// What is said when it is done, with `{jobs}`, `{queue}` and `{id}` in it.
    done: &'static str,
    /// States of these roles alone; empty: all for which such an action makes sense.
    roles: &'static [Role],
    /// What its button says, where that is not what it mostly says.
    label: Option<&'static str>,
}

/// A row of a library's table.
const fn row(
    name: &'static str,
    script: &'static [&'static str],
    words: fn(&Order) -> Result<Vec<Vec<u8>>, String>,
    done: &'static str,
) -> PageAction {
    PageAction { name, script, words, done, roles: &[], label: None }
}

/// A row of an action for states of some roles.
const fn row_on(
    name: &'static str,
    roles: &'static [Role],
    script: &'static [&'static str],
    words: fn(&Order) -> Result<Vec<Vec<u8>>, String>,
    done: &'static str,
) -> PageAction {
    PageAction { roles, ..row(name, script, words, done) }
}

impl PageAction {
    const fn called(self, label: &'static str) -> Self {
        Self { label: Some(label), ..self }
    }

    /// Its script as it is run. The first line says what it is called.
    fn text(&self) -> Vec<u8> {
        format!("-- toril: {}\n{SHARED}{}", self.name, self.script.concat()).into_bytes()
    }

    /// The commands that its script calls, in capitals or not.
    fn calls(&self) -> impl Iterator<Item = &'static str> {
        [SHARED].into_iter().chain(self.script.iter().copied()).flat_map(called_by)
    }

    fn is_for(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }
}

/// What can be done to a queue: nothing where the library's keys are only read.
#[derive(Clone, Copy)]
pub struct Offers {
    actions: &'static [PageAction],
    /// The scripts of Bull and BullMQ do.
    tells_jobs_apart: bool,
}

impl Offers {
    pub fn of(engine: &Engine, queue: &Queue) -> Self {
        let library = queue.library.name;
        let actions = match library {
            "BullMQ" if bullmq::era(engine, queue) >= bullmq::ERA_MIN => bullmq::ACTIONS,
            "arq" => arq::ACTIONS,
            "bee-queue" => bee::ACTIONS,
            "Bull" => bull::ACTIONS,
            "Celery" => celery::ACTIONS,
            "dramatiq" => dramatiq::ACTIONS,
            "RQ" => rq::ACTIONS,
            "Sidekiq" => sidekiq::ACTIONS,
            _ => &[],
        };
        let tells_jobs_apart = matches!(library, "Bull" | "BullMQ") && !actions.is_empty();
        Self { actions, tells_jobs_apart }
    }

    pub fn is_empty(self) -> bool {
        self.actions.is_empty()
    }

    /// Whether jobs of a state can be told by their error or name.
    pub fn can_narrow(self) -> bool {
        self.tells_jobs_apart
    }

    fn find(self, name: &str) -> Option<&'static PageAction> {
        self.actions.iter().find(|action| action.name == name)
    }

    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether it can be done to jobs in a state of a role.
    pub fn has_for(self, name: &str, role: Role) -> bool {
        self.find(name).is_some_and(|action| action.is_for(role))
    }

    /// What the button of an action says.
    pub fn label(self, name: &str, usual: &'static str) -> &'static str {
        self.find(name).and_then(|action| action.label).unwrap_or(usual)
    }
}

/// Why a queue has no buttons.
pub fn only_looked_at(engine: &Engine, queue: &Queue) -> String {
    let library = queue.library.name;
    match library {
        "BullMQ" => {
            let (era, first) = (bullmq::era(engine, queue), bullmq::ERA_MIN);
            format!(
                "queues of BullMQ {era} can only be looked at: buttons are there from {first} on"
            )
        }
        _ => format!("queues of {library} can only be looked at"),
    }
}

/// The commands that a part of a script calls.
fn called_by(script: &str) -> impl Iterator<Item = &str> {
    let calls = script.split("call(").skip(1);
    let args = calls.filter_map(|call| call.split(',').next());
    args.flat_map(|arg| arg.split('\'').skip(1).step_by(2))
}

/// What somebody wants done.
pub struct Order<'e> {
    engine: &'e Engine,
    user: &'e User,
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
    pub fn read(
        engine: &'e Engine,
        user: &'e User,
        queue: Queue,
        body: Json,
    ) -> Result<Self, Trouble> {
        let named = body["ids"].as_array().cloned().unwrap_or_default();
        if named.len() > IDS_MAX {
            let count = named.len();
            return Err(Trouble::Wrong(format!("{count} ids are too many: {IDS_MAX} at most")));
        }
        let mut ids: Vec<Vec<u8>> = Vec::with_capacity(named.len());
        for id in &named {
            let text = id.as_str().ok_or_else(|| {
                Trouble::Wrong(format!("ids are texts, such as \"{id}\" in place of {id}"))
            })?;
            let id = percent_decode_str(text).collect();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(Self { engine, user, ids, queue, body })
    }

    /// The script that does it.
    ///
    /// # Errors
    /// There is no such action, or something that it wants is missing or wrong.
    pub fn script(self, name: &str) -> Result<PageScript, Trouble> {
        let offers = Offers::of(self.engine, &self.queue);
        let action = offers.find(name).ok_or_else(|| {
            let known: Vec<&str> = offers.actions.iter().map(|action| action.name).collect();
            Trouble::Absent(match known.is_empty() {
                true => only_looked_at(self.engine, &self.queue),
                false => format!("there is no action '{name}': {}", known.join(", ")),
            })
        })?;
        let may = |name: &&str| may_run(self.engine, self.user, &[name.as_bytes(), b"x", b"x"]);
        if let Some(refused) = action.calls().find(|name| !may(name)) {
            return Err(Trouble::Forbidden(format!("this user may not {refused}, as this does")));
        }
        self.check_roles(action).map_err(Trouble::Wrong)?;
        let own = (action.words)(&self).map_err(Trouble::Wrong)?;
        let base = self.key();
        let now_ms = self.engine.keyspace.now.wall_ms;
        let era = match self.queue.library.name {
            "BullMQ" => bullmq::era(self.engine, &self.queue),
            _ => 0,
        };
        let shared = [era.to_string(), self.queue.db.to_string(), now_ms.to_string()];
        let mut words: Vec<Vec<u8>> = vec![b"EVAL".to_vec(), action.text(), b"1".to_vec(), base];
        words.extend(shared.map(String::into_bytes));
        words.extend(own);
        let before = self.number("before").map_err(Trouble::Wrong)?.unwrap_or(0) as usize;
        Ok(PageScript { queue: self.queue, action, before, words })
    }

    /// The key that names the queue to a script: what its jobs wait in, but for Bull and BullMQ.
    fn key(&self) -> Vec<u8> {
        let Queue { library, base, .. } = &self.queue;
        let waits = library.states.iter().find(|state| state.role == Role::Ready);
        match library.name {
            "BullMQ" | "Bull" => [base, &b":meta"[..]].concat(),
            _ => waits.map_or_else(|| base.to_vec(), |state| state.key(base)),
        }
    }

    /// # Errors
    /// A job that is meant is in a state for which there is no such action.
    fn check_roles(&self, action: &PageAction) -> Result<(), String> {
        let by_id = self.ids.iter().filter_map(|id| self.queue.state_of(self.engine, id));
        let named = self.named_state().filter(|_| self.ids.is_empty());
        match by_id.chain(named).find(|state| !action.is_for(state.role)) {
            Some(state) => Err(format!("there is no {} of what is {}", action.name, state.name)),
            None => Ok(()),
        }
    }

    fn named_state(&self) -> Option<&'static JobState> {
        self.queue.library.states.iter().find(|state| state.name == self.text("state"))
    }

    /// What is meant, as it stands in its keys: how many there are from the first that is meant on,
    /// how many were passed over before, and then for each job its id, the key (empty if it has
    /// gone), what stands there, and what `more` makes of that.
    ///
    /// # Errors
    /// Neither ids are named nor a count of a state.
    fn standing(&self, more: &dyn Fn(&[u8]) -> Vec<u8>) -> Result<Vec<Vec<u8>>, String> {
        let (engine, queue) = (self.engine, &self.queue);
        if let Some(field) = ["error", "name", "older"].iter().find(|it| !self.text(it).is_empty())
        {
            return Err(format!("jobs of {} are not chosen by '{field}'", queue.library.name));
        }
        let gone = |id: &Vec<u8>| JobPlace { id: id.clone(), ..JobPlace::default() };
        let stand = |id: &Vec<u8>| queue.stand_of(engine, id).unwrap_or_else(|| gone(id));
        let mut skip = 0;
        let (total, all) = if self.ids.is_empty() {
            let state = self.named_state().ok_or("say which jobs: 'ids', or a 'state'")?;
            let count = self.number("count")?.ok_or("say how many: a 'count' of the state")?;
            skip = self.number("skip")?.unwrap_or(0) as usize;
            let total = queue.count(engine, state).saturating_sub(skip);
            (total, queue.stands(engine, state, skip..skip + PIECE.min(count as usize)))
        } else {
            (self.ids.len(), self.ids.iter().map(stand).collect())
        };
        let mut words = vec![total.to_string().into_bytes(), skip.to_string().into_bytes()];
        for JobPlace { id, key, member } in all {
            let more = more(&member);
            words.extend([id, key, member, more]);
        }
        Ok(words)
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
    /// It is something else, or too large.
    fn number(&self, field: &str) -> Result<Option<u64>, String> {
        let given = match (&self.body[field], self.text(field).trim()) {
            (Json::Null, _) => return Ok(None),
            (Json::String(_), "") => return Ok(None),
            (Json::String(_), text) => text.to_owned(),
            (other, _) => other.to_string(),
        };
        let is_whole = given.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<u64> = given.parse().ok();
        match number.filter(|&number| number <= NUMBER_MAX) {
            Some(number) => Ok(Some(number)),
            None if is_whole => Err(format!("{field} is {NUMBER_MAX} at most, not {given}")),
            None => Err(format!("{field} is a whole number, not {}", self.body[field])),
        }
    }

    /// A span in milliseconds.
    ///
    /// # Errors
    /// It is none.
    fn span_ms(&self, field: &str) -> Result<u64, String> {
        match &self.body[field] {
            Json::Null => Ok(0),
            Json::String(text) => span_of(text, field),
            other => {
                Err(format!("{field} is a span such as \"30s\", \"5m\" or \"2h\", not {other}"))
            }
        }
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

/// What is meant, as it stands.
fn standing(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    order.standing(&|_| Vec::new())
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
        text => match span::parse_ms(text) {
            Some(span_ms) if span_ms <= SPAN_MS_MAX => Ok(span_ms),
            None if !is_span_but_for_its_size(text) => {
                Err(format!("{name} is a span such as 30s, 5m or 2h, not '{text}'"))
            }
            _ => Err(format!("{name} is a hundred years at most, not '{text}'")),
        },
    }
}

/// Whether what is no span would be one of a few.
fn is_span_but_for_its_size(text: &str) -> bool {
    let mut digits = 0;
    let few: String = text
        .chars()
        .filter(|it| {
            digits = if it.is_ascii_digit() { digits + 1 } else { 0 };
            digits <= 1
        })
        .collect();
    span::parse_ms(&few).is_some()
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
            "free" => format!("{job} has no lock: the next look for stalled jobs takes it up"),
            "odd" => format!("{job} is left as it is: {}", note[2]),
            "running" => format!("{} run: say that they may go as well", note[2]),
            "held" => format!("{job} is with a worker already"),
            "unheard" => "No worker is there that could be told".into(),
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
            called.extend(action.calls().map(str::to_lowercase));
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
