//! A rule: which requests it is about, how often it hits one of them, and with what.

use super::action::{ARGUMENTS, Action, Arguments};
use super::kinds::{READONLY, has};
use crate::engine::Engine;
use crate::engine::client::{Client, ClientId};
use crate::engine::row::Flag;
use crate::engine::table::Found;
use crate::proto::{Args, Error, Result};
use crate::queues;
use crate::util::glob::{self, Case};
use crate::util::rng::Rng;
use crate::util::span;
use std::collections::{BTreeMap, BTreeSet};

/// A rule, as its words say it.
pub struct Rule {
    pub name: String,
    /// The words, for LIST.
    pub told: String,
    pub action: Action,
    /// What is answered, if that is not the action's own text.
    pub text: Option<String>,
    /// Patterns of commands' names, in small letters; none: all.
    commands: Vec<String>,
    /// Patterns of scripts' names; none: whatever is asked for.
    scripts: Vec<String>,
    /// Patterns by what they are held against: `client`, `key`, `addr`, `user`.
    patterns: BTreeMap<&'static str, String>,
    db: Option<usize>,
    share: f64,
    after: u64,
    every: u64,
    /// How often it may still hit.
    pub left: Option<u64>,
    /// The end of its life, on the monotonic clock.
    until_us: Option<u64>,
    /// Once hit, a connection stays hit.
    stays: bool,
    hit: BTreeSet<ClientId>,
    /// Connections that it has looked at, if it is one of connections.
    known: BTreeSet<ClientId>,
    /// Those are new that came after this one.
    since: u64,
    /// Requests that it fitted.
    seen: u64,
    pub hits: u64,
    rng: Rng,
}

/// A request that rules are held against.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub engine: &'a Engine,
    pub client: &'a Client,
    pub found: Found,
    pub words: &'a [&'a [u8]],
}

impl Asked<'_> {
    /// What the script that it runs may be called: as its library does, and as the request does.
    fn script_names(&self) -> Vec<String> {
        if !self.found.row.flags.runs_script() {
            return Vec::new();
        }
        let name = queues::script_name(self.engine, self.found, &Args::new(self.words));
        let given = self.words.get(1).filter(|_| !has(self.found, Flag::ScriptByText));
        let given = given.map(|word| String::from_utf8_lossy(word).into_owned());
        name.into_iter().chain(given).collect()
    }
}

/// The words of a rule that are patterns.
const PATTERNS: [&str; 4] = ["addr", "client", "key", "user"];

/// What a rule's words may be, for those who have misspelt one.
const WORDS: &str = "cmd, script, client, key, db, addr, user, prob, seed, after, every, count, ttl, for, \
                     name, action, at, \
                     data, down, ms, text and then";

impl Rule {
    /// Reads words `what=value`, in any order.
    pub fn parse(words: &[String], number: u64, engine: &Engine) -> Result<Self> {
        let now_us = engine.keyspace.now.mono_us;
        let mut rule = Self {
            name: format!("fault-{number}"),
            told: words.join(" "),
            action: Action::Error,
            text: None,
            commands: Vec::new(),
            scripts: Vec::new(),
            patterns: BTreeMap::new(),
            db: None,
            share: 1.0,
            after: 0,
            every: 1,
            left: None,
            until_us: None,
            stays: false,
            hit: BTreeSet::new(),
            known: BTreeSet::new(),
            since: engine.clients.last_id,
            seen: 0,
            hits: 0,
            rng: Rng::from_seed(number),
        };
        let (mut action, mut arguments) = (None, Arguments::new());
        for word in words {
            let (what, value) = word.split_once('=').ok_or_else(|| {
                let why =
                    format!("ERR '{word}' is no word of a fault: say what=value, with {WORDS}");
                Error::new(why)
            })?;
            if what == "action" {
                action = Some(value);
            } else if let Some(argument) = ARGUMENTS.into_iter().find(|word| *word == what) {
                arguments.insert(argument, value.to_owned());
            } else {
                rule.take(what, value, now_us)?;
            }
        }
        let Some(action) = action else {
            let names = Action::names();
            return Err(Error::new(format!("ERR a fault wants an action: one of {names}")));
        };
        rule.action = Action::named(action, &arguments)?;
        rule.left = rule.left.or(rule.action.is_of_server().then_some(1));
        rule.text = arguments.remove("text").filter(|text| !text.is_empty());
        Ok(rule)
    }

    /// Takes a word that says whom it hits, or how often.
    fn take(&mut self, what: &str, value: &str, now_us: u64) -> Result {
        match what {
            "name" => self.name = value.to_owned(),
            "cmd" => {
                let names = value.split(',').map(str::to_ascii_lowercase);
                self.commands = names.collect();
            }
            "script" => self.scripts = value.split(',').map(str::to_owned).collect(),
            "db" => self.db = Some(count(what, value)? as usize),
            "prob" => self.share = share(value)?,
            "seed" => self.rng = Rng::from_seed(count(what, value)?),
            "after" => self.after = count(what, value)?,
            "every" => self.every = count(what, value)?.max(1),
            "count" => self.left = Some(count(what, value)?),
            "ttl" => {
                let ms = span::parse_ms(value).ok_or_else(|| {
                    Error::new(format!("ERR ttl wants a duration such as 2s, not '{value}'"))
                })?;
                self.until_us = Some(now_us.saturating_add(ms.saturating_mul(1000)));
            }
            "for" if value == "conn" => self.stays = true,
            _ => match PATTERNS.into_iter().find(|pattern| *pattern == what) {
                Some(pattern) => _ = self.patterns.insert(pattern, value.to_owned()),
                None => {
                    return Err(Error::new(format!(
                        "ERR a fault has no word '{what}={value}'. It has {WORDS}; for=conn"
                    )));
                }
            },
        }
        Ok(())
    }

    /// Whether it is about everybody, and each time, so that nothing need be waited for.
    pub fn is_unconditional(&self) -> bool {
        let has_whom = !self.commands.is_empty() || !self.scripts.is_empty();
        let is_of_all = !has_whom && self.patterns.is_empty() && self.db.is_none();
        is_of_all && self.after == 0 && self.every == 1 && self.share >= 1.0
    }

    /// From now on, and for so long, it refuses everybody's writes.
    pub fn become_readonly(&mut self, down_ms: u64, now_us: u64) {
        self.commands.clear();
        self.scripts.clear();
        self.patterns.clear();
        (self.db, self.share, self.after, self.every) = (None, 1.0, 0, 1);
        self.left = None;
        self.until_us = Some(now_us.saturating_add(down_ms.saturating_mul(1000)));
        self.action = Action::Kind(&READONLY);
    }

    /// Whether it is about such a request at all.
    pub fn fits(&self, asked: &Asked) -> bool {
        let Asked { client, found, words, .. } = asked;
        let name = found.full_name();
        let is_named = |pattern: &String| is_like(pattern, name.as_bytes());
        let matches = |(what, pattern): (&&str, &String)| match *what {
            "client" => names_of(client).iter().any(|name| is_like(pattern, name)),
            "addr" => is_like(pattern, client.peer.addr.as_bytes()),
            "user" => is_like(pattern, &client.user.name),
            _ => has_key_like(*found, words, pattern),
        };
        let runs = |pattern: &String| {
            asked.script_names().iter().any(|name| is_like(pattern, name.as_bytes()))
        };
        (self.commands.is_empty() || self.commands.iter().any(is_named))
            && (self.scripts.is_empty() || self.scripts.iter().any(runs))
            && self.db.is_none_or(|db| db == client.db)
            && self.patterns.iter().all(matches)
    }

    /// Whether it hits a request that it fits, by what it says of how often.
    pub fn strikes(&mut self, id: ClientId) -> bool {
        let is_of_connections = self.action.is_of_connections();
        if !((self.stays || is_of_connections) && self.hit.contains(&id)) {
            if is_of_connections && (id.0 <= self.since || !self.known.insert(id)) {
                return false;
            }
            // One that is used up is there for those alone whom it has hit.
            if self.left == Some(0) || !self.is_turn() {
                return false;
            }
            self.left = self.left.map(|left| left - 1);
            self.hit.insert(id);
        }
        self.hits += 1;
        true
    }

    fn is_turn(&mut self) -> bool {
        self.seen += 1;
        let is_turn = self.seen > self.after && (self.seen - self.after).is_multiple_of(self.every);
        is_turn && (self.share >= 1.0 || self.rng.next_f64() < self.share)
    }

    /// Whether it may hit again. `is_there` tells of a connection whether it is.
    pub fn lives(&self, now_us: u64, is_there: impl Fn(ClientId) -> bool) -> bool {
        let is_used_up = self.left == Some(0);
        let has_whom = || self.stays && self.hit.iter().any(|id| is_there(*id));
        self.until_us.is_none_or(|until_us| now_us < until_us) && (!is_used_up || has_whom())
    }

    /// A number from `least` to `most`, drawn from its seed.
    pub fn draw(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below((most - least) as usize + 1) as u64
    }
}

fn is_like(pattern: &str, text: &[u8]) -> bool {
    glob::matches(pattern.as_bytes(), text, Case::Sensitive)
}

/// What a connection may be called: its name, and the queue in it if a library has named it.
fn names_of(client: &Client) -> Vec<Vec<u8>> {
    [Some(client.name.to_vec()), queues::name_in(&client.name)].into_iter().flatten().collect()
}

fn has_key_like(found: Found, words: &[&[u8]], pattern: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::table::Table;
    use crate::engine::time::Now;
    use crate::facts::FixedFacts;

    /// Which of a hundred requests a rule hits, and how late their replies come.
    fn course(line: &str) -> Vec<Option<u64>> {
        let facts = Box::new(FixedFacts::default());
        let engine = Engine::new(Table::new(&[]), Config::default(), facts, Now::default());
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut rule = Rule::parse(&words, 1, &engine).expect("a good rule");
        let Action::Delay(least, most) = rule.action else { panic!("{line}") };
        let mut hit = |_| rule.strikes(ClientId(1)).then(|| rule.draw(least, most));
        (0..100).map(&mut hit).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_course() {
        let one = course("action=delay ms=200-400 prob=0.3 seed=7");
        assert_eq!(one, course("prob=0.3 action=delay seed=7 ms=200-400"));
        assert_ne!(one, course("action=delay ms=200-400 prob=0.3 seed=8"));
        let drawn: BTreeSet<u64> = one.iter().flatten().copied().collect();
        assert!((10..60).contains(&drawn.len()), "{drawn:?}");
        assert!(drawn.iter().all(|ms| (200..=400).contains(ms)), "{drawn:?}");
        // Without one, it follows from the number of the rule.
        let unseeded = "action=delay ms=200-400 prob=0.3";
        assert_eq!(course(unseeded), course(unseeded));
    }
}
