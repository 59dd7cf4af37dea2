//! TORIL FAULT: errors on request. A rule says which requests it hits, how often, and what these
//! are answered; the oldest rule that fits decides, and one that is used up is gone.
//!
//! An error stands where its cause would: what a full memory or a read-only replica refuses is
//! refused before it is queued or run, a script at its first such call. TORIL itself is never hit,
//! nor a connection whose name is `toril`, so that a test can always end a fault.

use super::Testing;
use crate::engine::client::{Client, ClientId};
use crate::engine::fixture::Stage;
use crate::engine::row::{Flag, Flags};
use crate::engine::table::Found;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};
use crate::queues;
use crate::util::glob::{self, Case};
use crate::util::rng::Rng;
use crate::util::span;
use std::collections::{BTreeMap, BTreeSet};

/// An error that has a cause in Redis, and whom the cause would hit.
struct Kind {
    name: &'static str,
    error: fn() -> Error,
    hits: fn(Found) -> bool,
    /// A script runs, and only its calls are hit.
    spares_scripts: bool,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "busy",
        error: || Error::Busy,
        hits: |found| !has(found, Flag::AllowBusy),
        spares_scripts: false,
    },
    Kind {
        name: "loading",
        error: || Error::Loading,
        hits: |found| !has(found, Flag::Loading),
        spares_scripts: false,
    },
    Kind {
        name: "misconf",
        error: || Error::MisConf,
        hits: |found| has(found, Flag::Write) || found.row.name == "ping",
        spares_scripts: true,
    },
    Kind {
        name: "noauth",
        error: || Error::NoAuth,
        hits: |found| !has(found, Flag::NoAuth),
        spares_scripts: false,
    },
    Kind {
        name: "noscript",
        error: || Error::NoScript,
        hits: |found| has(found, Flag::ScriptBySha),
        spares_scripts: false,
    },
    Kind {
        name: "oom",
        error: || Error::OutOfMemory,
        hits: |found| has(found, Flag::DenyOom),
        spares_scripts: true,
    },
    Kind {
        name: "readonly",
        error: || Error::ReadOnly,
        hits: |found| has(found, Flag::Write),
        spares_scripts: true,
    },
];

/// What runs a script, whose calls are looked at one by one.
const SCRIPTS: [Flag; 3] = [Flag::ScriptByText, Flag::ScriptBySha, Flag::FunctionByName];

fn has(found: Found, flag: Flag) -> bool {
    found.row.flags.has(flag)
}

fn is_script(flags: Flags) -> bool {
    SCRIPTS.into_iter().any(|flag| flags.has(flag))
}

/// What becomes of a request that is hit.
#[derive(Clone, Copy)]
enum Action {
    /// This text, just before it would run.
    Error,
    Kind(&'static Kind),
}

/// A rule, as its words say it.
struct Rule {
    name: String,
    /// The words, for LIST.
    told: String,
    action: Action,
    text: String,
    /// Patterns of commands' names, in small letters; none: all.
    commands: Vec<String>,
    /// Patterns by what they are held against: `client`, `key`, `addr`, `user`.
    patterns: BTreeMap<&'static str, String>,
    db: Option<usize>,
    share: f64,
    after: u64,
    every: u64,
    /// How often it may still hit.
    left: Option<u64>,
    /// The end of its life, on the monotonic clock.
    until_us: Option<u64>,
    /// Once hit, a connection stays hit.
    stays: bool,
    hit: BTreeSet<ClientId>,
    /// Requests that it fitted, and those that it hit.
    seen: u64,
    hits: u64,
    rng: Rng,
}

/// The words of a rule that are patterns.
const PATTERNS: [&str; 4] = ["addr", "client", "key", "user"];

/// What a rule's words may be, for those who have misspelt one.
const WORDS: &str = "cmd, client, key, db, addr, user, prob, seed, after, every, count, ttl, for, \
                     name, action and text";

impl Rule {
    /// Reads words `what=value`, in any order.
    fn parse(words: &[String], number: u64, now_us: u64) -> Result<Self> {
        let mut rule = Self {
            name: format!("fault-{number}"),
            told: words.join(" "),
            action: Action::Error,
            text: String::new(),
            commands: Vec::new(),
            patterns: BTreeMap::new(),
            db: None,
            share: 1.0,
            after: 0,
            every: 1,
            left: None,
            until_us: None,
            stays: false,
            hit: BTreeSet::new(),
            seen: 0,
            hits: 0,
            rng: Rng::from_seed(number),
        };
        let mut has_action = false;
        for word in words {
            let (what, value) = word.split_once('=').ok_or_else(|| {
                let why =
                    format!("ERR '{word}' is no word of a fault: say what=value, with {WORDS}");
                Error::new(why)
            })?;
            match what {
                "name" => rule.name = value.to_owned(),
                "cmd" => {
                    let names = value.split(',').map(str::to_ascii_lowercase);
                    rule.commands = names.collect();
                }
                "db" => rule.db = Some(count(what, value)? as usize),
                "prob" => rule.share = share(value)?,
                "seed" => rule.rng = Rng::from_seed(count(what, value)?),
                "after" => rule.after = count(what, value)?,
                "every" => rule.every = count(what, value)?.max(1),
                "count" => rule.left = Some(count(what, value)?),
                "ttl" => {
                    let ms = span::parse_ms(value).ok_or_else(|| {
                        Error::new(format!("ERR ttl wants a duration such as 2s, not '{value}'"))
                    })?;
                    rule.until_us = Some(now_us.saturating_add(ms.saturating_mul(1000)));
                }
                "for" if value == "conn" => rule.stays = true,
                "text" => rule.text = value.to_owned(),
                "action" => {
                    rule.action = action(value)?;
                    has_action = true;
                }
                _ => match PATTERNS.into_iter().find(|pattern| *pattern == what) {
                    Some(pattern) => _ = rule.patterns.insert(pattern, value.to_owned()),
                    None => {
                        return Err(Error::new(format!(
                            "ERR a fault has no word '{word}'. It has {WORDS}; for=conn"
                        )));
                    }
                },
            }
        }
        rule.settle(has_action)?;
        Ok(rule)
    }

    /// Puts the text in place, or says what is missing.
    fn settle(&mut self, has_action: bool) -> Result {
        match self.action {
            _ if !has_action => {
                let kinds = kinds();
                Err(Error::new(format!("ERR a fault wants an action: error or one of {kinds}")))
            }
            Action::Error if self.text.is_empty() => {
                Err(Error::new("ERR action=error wants its text, such as text=ERR boom"))
            }
            Action::Kind(kind) if self.text.is_empty() => {
                self.text = (kind.error)().to_string();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Whether it is about such a request at all.
    fn fits(&self, client: &Client, found: Found, args: &Args) -> bool {
        let name = found.full_name();
        let is_named = |pattern: &String| is_like(pattern, name.as_bytes());
        let matches = |(what, pattern): (&&str, &String)| match *what {
            "client" => names_of(client).iter().any(|name| is_like(pattern, name)),
            "addr" => is_like(pattern, client.peer.addr.as_bytes()),
            "user" => is_like(pattern, &client.user.name),
            _ => has_key_like(found, args, pattern),
        };
        (self.commands.is_empty() || self.commands.iter().any(is_named))
            && self.db.is_none_or(|db| db == client.db)
            && self.patterns.iter().all(matches)
    }

    /// Whether it hits a request that it fits, by what it says of how often.
    fn strikes(&mut self, id: ClientId) -> bool {
        if self.stays && self.hit.contains(&id) {
            return true;
        }
        self.seen += 1;
        let is_turn = self.seen > self.after && (self.seen - self.after).is_multiple_of(self.every);
        if !is_turn || (self.share < 1.0 && self.rng.next_f64() >= self.share) {
            return false;
        }
        self.hits += 1;
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.hit.insert(id);
        true
    }
}

fn is_like(pattern: &str, text: &[u8]) -> bool {
    glob::matches(pattern.as_bytes(), text, Case::Sensitive)
}

/// What a connection may be called: its name, and the queue in it if a library has named it.
fn names_of(client: &Client) -> Vec<Vec<u8>> {
    [Some(client.name.to_vec()), queues::name_in(&client.name)].into_iter().flatten().collect()
}

fn has_key_like(found: Found, args: &Args, pattern: &str) -> bool {
    let words = args.all();
    let mut is_there = false;
    let _ = found.row.keys.visit(words, |at, _| is_there |= is_like(pattern, words[at]));
    is_there
}

fn count(what: &str, value: &str) -> Result<u64> {
    value.parse().map_err(|_| Error::new(format!("ERR {what} wants a number, not '{value}'")))
}

fn share(value: &str) -> Result<f64> {
    let share = value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| Error::new(format!("ERR prob wants a number from 0 to 1, not '{value}'")))
}

fn kinds() -> String {
    KINDS.iter().map(|kind| kind.name).collect::<Vec<_>>().join(", ")
}

fn action(value: &str) -> Result<Action> {
    if value == "error" {
        return Ok(Action::Error);
    }
    let kind = KINDS.iter().find(|kind| kind.name == value);
    kind.map(Action::Kind).ok_or_else(|| {
        Error::new(format!("ERR there is no action '{value}': there are error, {}", kinds()))
    })
}

/// The rules that are in force, oldest first.
#[derive(Default)]
pub struct Faults {
    rules: Vec<Rule>,
    count: u64,
    /// Clients whose script is hit at its calls, and with what.
    armed: BTreeMap<ClientId, &'static Kind>,
}

impl Faults {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.armed.is_empty()
    }

    /// What a request is refused with at this stage, if a rule hits it.
    pub fn before(
        &mut self,
        engine: &Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result {
        let Some(client) = engine.clients.get(id) else { return Ok(()) };
        match stage {
            Stage::Called => return self.before_call(id, found),
            // The script before has ended.
            Stage::Named => _ = self.armed.remove(&id),
            Stage::Allowed | Stage::Admitted => {}
        }
        if has(found, Flag::ForTests) || *client.name == *b"toril" {
            return Ok(());
        }
        let now_us = engine.keyspace.now.mono_us;
        self.rules.retain(|rule| rule.until_us.is_none_or(|until_us| now_us < until_us));
        let runs_script = is_script(found.row.flags);
        let is_concerned = |rule: &Rule| match rule.action {
            Action::Error => stage == Stage::Admitted,
            Action::Kind(kind) => {
                stage == Stage::Allowed
                    && ((kind.hits)(found) || kind.spares_scripts && runs_script)
            }
        };
        let mut fitting = self
            .rules
            .iter_mut()
            .filter(|rule| is_concerned(rule) && rule.fits(client, found, args));
        let Some(rule) = fitting.find_map(|rule| rule.strikes(id).then_some(rule)) else {
            return Ok(());
        };
        let (action, text) = (rule.action, rule.text.clone());
        self.rules.retain(|rule| rule.left != Some(0) || rule.stays);
        match action {
            Action::Kind(kind) if kind.spares_scripts && runs_script => {
                self.armed.insert(id, kind);
                Ok(())
            }
            Action::Error | Action::Kind(_) => Err(Error::new(text)),
        }
    }

    /// What a call of a script is refused with.
    fn before_call(&self, id: ClientId, found: Found) -> Result {
        match self.armed.get(&id) {
            Some(kind) if (kind.hits)(found) => Err((kind.error)()),
            _ => Ok(()),
        }
    }
}

/// What stands behind TORIL FAULT.
pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let faults = &mut testing.faults;
    let verb = args.given();
    match (&verb.to_ascii_lowercase()[..], args.remaining()) {
        (b"add", words @ [_, ..]) => {
            let rule = Rule::parse(&split(words), faults.count + 1, cx.now().mono_us)?;
            if faults.rules.iter().any(|known| known.name == rule.name) {
                let name = rule.name;
                return Err(Error::new(format!("ERR there is a fault '{name}': REMOVE it first")));
            }
            faults.count += 1;
            reply.bulk(rule.name.as_bytes());
            faults.rules.push(rule);
        }
        (b"list", []) => {
            reply.array(faults.rules.len());
            faults.rules.iter().for_each(|rule| tell(rule, reply));
        }
        (b"remove", [name]) => {
            let before = faults.rules.len();
            faults.rules.retain(|rule| rule.name.as_bytes() != *name);
            if faults.rules.len() == before {
                let names: Vec<&str> = faults.rules.iter().map(|rule| &*rule.name).collect();
                let there = if names.is_empty() {
                    "there is none".to_owned()
                } else {
                    format!("there are {}", names.join(", "))
                };
                return Err(Error::quoting("ERR no fault '", name, &format!("': {there}")));
            }
            reply.ok();
        }
        (b"clear", []) => {
            faults.rules.clear();
            faults.armed.clear();
            reply.ok();
        }
        _ => return Err(Error::misused(verb, "TORIL")),
    }
    Ok(())
}

/// The words of a rule; a single one may hold all of them, and `text` takes what is behind it.
fn split(words: &[&[u8]]) -> Vec<String> {
    let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
    let [line] = words else { return words.iter().map(text).collect() };
    let line = text(line);
    let (before, told) = match line.find("text=") {
        Some(at) => line.split_at(at),
        None => (&*line, ""),
    };
    let told = Some(told.to_owned()).filter(|told| !told.is_empty());
    before.split_whitespace().map(str::to_owned).chain(told).collect()
}

fn tell(rule: &Rule, reply: &mut Reply) {
    reply.map(4);
    reply.bulk(b"name");
    reply.bulk(rule.name.as_bytes());
    reply.bulk(b"rule");
    reply.bulk(rule.told.as_bytes());
    reply.bulk(b"hits");
    reply.int(rule.hits as i64);
    reply.bulk(b"left");
    match rule.left {
        Some(left) => reply.int(left as i64),
        None => reply.null(),
    }
}
