//! TORIL STRICT: habits of clients that go well here and do harm elsewhere: on a cluster, at a
//! provider, beside others. Each is a check of the setting `strict`, with a level: it is told in
//! the log, told as a warning, or refused. Nothing is looked at that is not switched on.
//!
//! Left alone are TORIL and connections whose name is `toril`, as by faults: tests use them for
//! what applications do not do.

use super::findings::{Example, Findings};
use super::history::History;
use super::lacking;
use super::{Testing, is_of_test};
use crate::config::{Check, Level, Policy, Provider, Strict};
use crate::engine::client::{Client, ClientId};
use crate::engine::fixture::{Failure, Stage};
use crate::engine::hash_slot::{hash_slot, hash_tag};
use crate::engine::row::{Category, Flag};
use crate::engine::table::Found;
use crate::engine::{Ctx, Engine};
use crate::lua::Callable;
use crate::proto::{Args, Error, Reply, Result};
use crate::queues;
use std::collections::{BTreeMap, BTreeSet};

/// What an application should not do to a server that it shares, and why.
const HABITS: &[(&str, &str)] = &[
    ("config|set", "changes the server for everybody"),
    ("flushall", "removes what belongs to everybody"),
    ("keys", "stops everybody while it walks over all keys: use SCAN"),
];

/// A script that says so may touch what it likes, on Dragonfly.
const ALLOWS_UNDECLARED: &str = "allow-undeclared-keys";

/// A request, at one of its stages.
#[derive(Clone, Copy)]
struct Request<'a> {
    engine: &'a Engine,
    client: &'a Client,
    found: Found,
    args: &'a Args<'a>,
}

/// The script under way, and what it has declared.
#[derive(Default)]
struct UnderWay {
    name: String,
    keys: BTreeSet<Vec<u8>>,
    /// It says that it touches others.
    is_open: bool,
}

/// How much was looked at.
#[derive(Default)]
struct Looks {
    requests: u64,
    scripts: u64,
    /// Keys that scripts have touched, each as often as a command of theirs named it.
    touches: u64,
}

#[derive(Default)]
pub struct StrictMode {
    findings: Findings,
    looks: Looks,
    script: UnderWay,
    /// By database, the beginnings of keys that libraries share, and the error that says which.
    shared: BTreeMap<Beginning, Error>,
}

/// A database, and how keys begin in it.
type Beginning = (usize, Vec<u8>);

/// Libraries by their names, each with the base of a queue.
type Bases = BTreeMap<&'static str, Vec<u8>>;

impl Request<'_> {
    fn level(&self, check: Check) -> Level {
        self.engine.config.level(check)
    }

    fn is_on(&self, check: Check) -> bool {
        self.level(check) != Level::Off
    }

    fn keys(&self) -> Vec<&[u8]> {
        keys_of(self.found, self.args.all())
    }

    /// `LPUSH`, `CLIENT LIST`.
    fn command(&self) -> String {
        self.found.full_name().to_uppercase().replace('|', " ")
    }
}

fn keys_of<'a>(found: Found, words: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut keys = Vec::new();
    let _ = found.row.keys.visit(words, |at, _| keys.push(words[at]));
    keys
}

impl StrictMode {
    /// A request is at this stage.
    ///
    /// # Errors
    /// What it is refused with, by a check of the level `error`.
    pub fn before(
        &mut self,
        engine: &Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result {
        let Some(client) = engine.clients.get(id) else { return Ok(()) };
        if is_of_test(client, found) {
            return Ok(());
        }
        let request = Request { engine, client, found, args };
        match stage {
            Stage::Named => {
                self.looks.requests += 1;
                self.check_known(request, None)?;
                self.check_habits(request, None)
            }
            Stage::Allowed => {
                self.check_slots(request)?;
                self.check_policy(request)?;
                self.check_shared(request)
            }
            Stage::Admitted => Ok(()),
            Stage::Called => {
                let script = self.script.name.clone();
                self.check_known(request, Some(&script))?;
                self.check_habits(request, Some(&script))?;
                self.check_declared(request)
            }
        }
    }

    /// Counts what was found, and refuses what is to be refused.
    fn note(
        &mut self,
        request: Request,
        check: Check,
        script: Option<&str>,
        error: Error,
        example: Example,
    ) -> Result {
        let level = request.level(check);
        let script = script.map(str::to_owned).unwrap_or_else(|| {
            let name = queues::script_name(request.engine, request.found, request.args);
            name.unwrap_or_else(|| request.command())
        });
        let place = (check, script, request.client.name.to_vec());
        self.findings.note(place, level, &error, example);
        if level == Level::Error { Err(error) } else { Ok(()) }
    }

    /// `commands`: what the provider does not know.
    fn check_known(&mut self, request: Request, script: Option<&str>) -> Result {
        if !request.is_on(Check::Commands) {
            return Ok(());
        }
        let profile = request.engine.config.profile();
        let Some(refusal) = lacking::refusal(profile, request.found, request.args) else {
            return Ok(());
        };
        let is_unknown = profile.lacks(&request.found.full_name(), request.found.row.since);
        let refusal =
            if script.is_some() && is_unknown { Error::ScriptUnknownCommand } else { refusal };
        // The command is what matters, not who calls it.
        let command = match script {
            Some(script) => format!("{script} ({})", request.command()),
            None => request.command(),
        };
        self.note(request, Check::Commands, Some(&command), refusal, Example::default())
    }

    /// `keys`: what an application should not do.
    fn check_habits(&mut self, request: Request, script: Option<&str>) -> Result {
        if !request.is_on(Check::Keys) {
            return Ok(());
        }
        let name = request.found.full_name();
        let Some((_, why)) = HABITS.iter().find(|(habit, _)| *habit == name) else {
            return Ok(());
        };
        let error =
            Error::new(format!("ERR {} is not for applications: it {why}", request.command()));
        self.note(request, Check::Keys, script, error, Example::default())
    }

    /// `crossslot`: keys of one request, script or transaction in several slots.
    fn check_slots(&mut self, request: Request) -> Result {
        if !request.is_on(Check::CrossSlot) {
            return Ok(());
        }
        let queue = request.client.transaction.queue.as_deref();
        let queue = queue.filter(|_| request.found.row.flags.has(Flag::RunsQueue));
        let queued = queue.unwrap_or_default().iter().map(|it| (it.found, it.words.words()));
        let queued: Vec<_> = queued.collect();
        let of_queue = queued.iter().flat_map(|(found, words)| keys_of(*found, words));
        let keys: Vec<&[u8]> = request.keys().into_iter().chain(of_queue).collect();
        let Some(first) = keys.first() else { return Ok(()) };
        let slot = hash_slot(first);
        let Some(other) = keys.iter().find(|key| hash_slot(key) != slot) else { return Ok(()) };
        let example = Example { key: Some(other.to_vec()), other: Some(first.to_vec()) };
        self.note(request, Check::CrossSlot, None, Error::CrossSlot, example)
    }

    /// `policy`: told once, or each request of a queue is refused.
    fn check_policy(&mut self, request: Request) -> Result {
        let policy = request.engine.config.maxmemory_policy;
        let level = request.level(Check::Policy);
        let is_told = level < Level::Error && self.findings.has(Check::Policy);
        if policy == Policy::NoEviction || level == Level::Off || is_told {
            return Ok(());
        }
        let Request { engine, client, found, args } = request;
        if !queues::is_of_queue(engine, client.db, found, args) {
            return Ok(());
        }
        let error = Error::new(format!(
            "ERR maxmemory-policy is {}: a queue needs noeviction, or its jobs may be evicted",
            policy.word()
        ));
        let key = request.keys().first().map(|key| key.to_vec());
        self.note(request, Check::Policy, None, error, Example { key, other: None })
    }

    /// `prefixless`, where it refuses: keys whose beginning libraries share.
    fn check_shared(&mut self, request: Request) -> Result {
        if request.level(Check::Prefixless) != Level::Error || self.shared.is_empty() {
            return Ok(());
        }
        let db = request.client.db;
        for key in request.keys() {
            let is_of = |((of_db, prefix), _): &(&Beginning, &Error)| {
                *of_db == db && key.strip_prefix(&**prefix).is_some_and(|it| it.starts_with(b":"))
            };
            if let Some((_, error)) = self.shared.iter().find(is_of) {
                let (error, key) = (error.clone(), Some(key.to_vec()));
                let example = Example { key, other: None };
                return self.note(request, Check::Prefixless, None, error, example);
            }
        }
        Ok(())
    }

    /// `foreign` and `undeclared`: keys that a script touches and has not declared.
    fn check_declared(&mut self, request: Request) -> Result {
        let mut keys = request.keys();
        self.looks.touches += keys.len() as u64;
        keys.retain(|key| !self.script.keys.contains(*key));
        for key in keys {
            let script = self.script.name.clone();
            let other = self.script.keys.first().cloned();
            let example = Example { key: Some(key.to_vec()), other };
            let slot = hash_slot(key);
            if request.is_on(Check::Foreign)
                && !self.script.keys.iter().any(|its| hash_slot(its) == slot)
            {
                let error =
                    Error::new("ERR Script attempted to access a non local key in a cluster node");
                self.note(request, Check::Foreign, Some(&script), error, example.clone())?;
            }
            if request.is_on(Check::Undeclared) && !self.counts_as_declared(request, key) {
                let error = Error::new("ERR script tried accessing undeclared key");
                self.note(request, Check::Undeclared, Some(&script), error, example)?;
            }
        }
        Ok(())
    }

    /// Whether the provider takes a key for declared that is not.
    fn counts_as_declared(&self, request: Request, key: &[u8]) -> bool {
        let Some(tag) = hash_tag(key) else {
            return request.engine.config.profile().declares_by_tag && self.script.is_open;
        };
        let has_tag = || self.script.keys.iter().any(|its| hash_tag(its) == Some(tag));
        request.engine.config.profile().declares_by_tag && (self.script.is_open || has_tag())
    }

    /// A script begins, or a function.
    pub fn script_begins(&mut self, callable: &Callable, keys: &[&[u8]]) {
        self.looks.scripts += 1;
        let is_open = match callable {
            Callable::Script(script) => {
                script.title.as_ref().is_some_and(|title| title.contains(ALLOWS_UNDECLARED))
            }
            Callable::Function(_) => false,
        };
        self.script = UnderWay {
            name: queues::name_of(callable, keys.len()),
            keys: keys.iter().map(|key| key.to_vec()).collect(),
            is_open,
        };
    }

    /// `wrongtype`: a command has found a value of another type. It is refused in any case.
    pub fn failed(&mut self, engine: &Engine, id: ClientId, failure: &Failure) {
        let Failure { found, args, db, error } = *failure;
        let Some(client) = engine.clients.get(id) else { return };
        let request = Request { engine, client, found, args };
        if *error != Error::WrongType
            || !request.is_on(Check::WrongType)
            || is_of_test(client, found)
        {
            return;
        }
        let wanted = type_of(found.category);
        let held = request.keys().into_iter().filter_map(|key| {
            let entry = engine.keyspace.glance(db, key)?;
            Some((key, entry.value.type_name()))
        });
        let held: Vec<(&[u8], &str)> = held.collect();
        let is_other = |(_, name): &&(&[u8], &str)| wanted.is_none_or(|wanted| wanted != *name);
        let Some((key, name)) = held.iter().find(is_other).or(held.first()) else { return };
        let command = request.command();
        let place = match engine.scripts.running() {
            Some(_) => format!("{} ({command})", self.script.name),
            None => command,
        };
        let error = Error::new(format!("{error}: it is a {name}"));
        let example = Example { key: Some(key.to_vec()), other: None };
        let _ = self.note(request, Check::WrongType, Some(&place), error, example);
    }

    /// `prefixless`: looks whether queues of two libraries begin alike.
    pub fn look(&mut self, engine: &Engine, history: &History) {
        let level = engine.config.level(Check::Prefixless);
        if level == Level::Off {
            return;
        }
        let queues = history.queues();
        let mut libraries: BTreeMap<Beginning, Bases> = BTreeMap::new();
        for queue in queues.iter().filter(|queue| queue.has_had_jobs(engine)) {
            let Some(prefix) = queue.prefix() else { continue };
            let names = libraries.entry((queue.db, prefix.to_vec())).or_default();
            names.insert(queue.library.name, queue.base.to_vec());
        }
        libraries.retain(|place, names| names.len() > 1 && !self.shared.contains_key(place));
        for ((db, prefix), names) in libraries {
            let told = names.keys().copied().collect::<Vec<_>>().join(" and ");
            let text = format!("' in database {db}: give each library one of its own");
            let start = format!("ERR {told} share the prefix '");
            let error = Error::quoting(&start, &prefix, &text);
            let mut bases = names.into_values();
            let example = Example { key: bases.next(), other: bases.next() };
            let finding = (Check::Prefixless, told, Vec::new());
            self.findings.note(finding, level, &error, example);
            self.shared.insert((db, prefix), error);
        }
    }
}

/// The type that a family's commands want, by the name that TYPE gives it; None of those for
/// several types.
fn type_of(category: Category) -> Option<&'static str> {
    match category {
        Category::String | Category::Bitmap | Category::HyperLogLog => Some("string"),
        Category::List => Some("list"),
        Category::Set => Some("set"),
        Category::Zset | Category::Geo => Some("zset"),
        Category::Hash => Some("hash"),
        Category::Stream => Some("stream"),
        _ => None,
    }
}

/// `STRICT [PROVIDER name] [check=level ...] | REPORT [RESET]`
pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mode = &mut testing.strict;
    if args.left() == 0 {
        tell_levels(cx.server(), reply);
        return Ok(());
    }
    if args.accept("report") {
        let resets = args.accept("reset");
        args.end()?;
        mode.tell(cx.server(), reply);
        if resets {
            mode.findings.clear();
            (mode.looks, mode.shared) = Default::default();
        }
        return Ok(());
    }
    let provider = match args.accept("provider") {
        false => cx.config().provider,
        true => provider(args.next().unwrap_or_default())?,
    };
    let words: Vec<String> =
        args.remaining().iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let strict: Strict = cx.config().strict;
    let strict = strict.read(&words.join(",")).map_err(|why| Error::new(format!("ERR {why}")))?;
    let engine = cx.engine_of_fixture();
    engine.config.strict = strict;
    if provider != engine.config.provider {
        engine.choose_provider(provider);
    }
    reply.ok();
    Ok(())
}

fn provider(word: &[u8]) -> Result<Provider> {
    let name = String::from_utf8_lossy(word).to_ascii_lowercase();
    Provider::from_word(&name).ok_or_else(|| {
        let known = Provider::WORDS.join(", ");
        Error::quoting("ERR there is no provider '", word, &format!("': there are {known}"))
    })
}

fn tell_levels(engine: &Engine, reply: &mut Reply) {
    reply.map(2);
    tell_pair(reply, "provider", engine.config.provider.word());
    reply.bulk(b"checks");
    reply.map(Check::WORDS.len());
    for check in Check::all() {
        tell_pair(reply, check.word(), engine.config.level(check).word());
    }
}

fn tell_pair(reply: &mut Reply, name: &str, text: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(text.as_bytes());
}

impl StrictMode {
    fn tell(&self, engine: &Engine, reply: &mut Reply) {
        reply.map(4);
        tell_pair(reply, "provider", engine.config.provider.word());
        reply.bulk(b"seen");
        reply.map(3);
        let Looks { requests, scripts, touches } = self.looks;
        for (name, count) in [("requests", requests), ("scripts", scripts), ("touches", touches)] {
            reply.bulk(name.as_bytes());
            reply.int(count as i64);
        }
        reply.bulk(b"found");
        self.findings.tell(reply);
        reply.bulk(b"untold");
        reply.int(self.findings.untold() as i64);
    }
}
