//! TORIL FAULT: faults on request. A rule says which requests it hits, how often, and what becomes
//! of these; the oldest rule that fits decides, and one that is used up is gone.
//!
//! An error stands where its cause would: what a full memory or a read-only replica refuses is
//! refused before it is queued or run, a script at its first such call. What befalls a reply
//! befalls EXEC's if the request is part of a transaction. TORIL itself is never hit, nor a
//! connection whose name is `toril`, so that a test can always end a fault.
//!
//! ```text
//! rule     whom, and how often
//! action   what: the words of each action
//! kinds    errors that have a cause in Redis
//! wire     replies that come late, in part or never
//! outage   what befalls the whole server
//! ```

mod action;
mod kinds;
mod outage;
mod rule;
mod wire;

use super::{Testing, is_of_test};
use crate::engine::client::{Client, ClientId, State, Transport};
use crate::engine::closing;
use crate::engine::effect::Effect;
use crate::engine::fixture::{Ruling, Stage};
use crate::engine::row::Flag;
use crate::engine::script::Realm;
use crate::engine::table::Found;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};
use action::{Action, Ending, Moment};
use kinds::{Kind, has};
use rule::{Asked, Rule};
use std::collections::BTreeMap;
use wire::{Deed, Wires};

/// The rules that are in force, oldest first, and what they have set off.
#[derive(Default)]
pub struct Faults {
    rules: Vec<Rule>,
    count: u64,
    /// Clients that run scripts whose calls may be hit.
    armed: BTreeMap<ClientId, Armed>,
    wires: Wires,
}

/// What may hit a script's calls. A script that makes no such call uses up no rule.
#[derive(Default)]
struct Armed {
    /// Rules that have yet to say whether they hit it, oldest first.
    by: Vec<String>,
    /// What does, from its first such call on.
    hit: Option<(&'static Kind, Error)>,
}

/// How a rule may hit a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// The request itself.
    Request,
    /// The calls of its scripts.
    Calls,
}

impl Faults {
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.armed.is_empty() && self.wires.is_empty()
    }

    /// Whether replies are to be looked at before they are sent.
    pub fn heeds_replies(&self) -> bool {
        !self.wires.is_empty()
    }

    /// A client's outbox is about to be sent.
    pub fn answered(&mut self, engine: &mut Engine, id: ClientId) {
        self.wires.look(engine, id);
    }

    /// A moment has come, or something has happened.
    pub fn look(&mut self, engine: &mut Engine) {
        self.wires.release(engine);
    }

    /// What a request is refused with at this stage, or what else becomes of it, if a rule hits it.
    pub fn before(
        &mut self,
        engine: &mut Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Result<Ruling> {
        match stage {
            Stage::Called => {
                return self.before_call(engine, id, found).map(|()| Ruling::GoOn);
            }
            Stage::Named => {
                // The script before has ended.
                self.armed.remove(&id);
                if self.wires.look(engine, id) {
                    return Ok(Ruling::Swallow);
                }
            }
            Stage::Allowed | Stage::Admitted => {}
        }
        loop {
            match self.pick(engine, id, found, args, stage) {
                // It is read-only from now on, and for this one as well.
                Some((Action::Failover { .. }, _)) => outage::fail_over(engine),
                Some((action, text)) => return self.perform(engine, id, found, action, text),
                None => return Ok(Ruling::GoOn),
            }
        }
    }

    /// Rules go that cannot hit any more.
    fn forget_dead(&mut self, engine: &Engine) {
        let is_there = |id| engine.clients.get(id).is_some();
        self.rules.retain(|rule| rule.lives(engine.keyspace.now.mono_us, is_there));
    }

    /// The action of the rule that hits a request at this stage, and its text.
    fn pick(
        &mut self,
        engine: &Engine,
        id: ClientId,
        found: Found,
        args: &Args,
        stage: Stage,
    ) -> Option<(Action, Option<String>)> {
        let client = engine.clients.get(id)?;
        if is_spared(engine, client, found, args.all()) {
            return None;
        }
        let now_us = engine.keyspace.now.mono_us;
        self.forget_dead(engine);
        let asked = Asked { engine, client, found, words: args.all() };
        let queue = client.transaction.queue.as_deref().filter(|_| has(found, Flag::RunsQueue));
        let queue = queue.unwrap_or_default();
        let words: Vec<Vec<&[u8]>> = queue.iter().map(|request| request.words.words()).collect();
        let queued = queue.iter().zip(&words);
        let queued = queued.map(|(request, words)| Asked { found: request.found, words, ..asked });
        let all: Vec<Asked> = std::iter::once(asked).chain(queued).collect();
        let mut hit = None;
        for (at, rule) in self.rules.iter_mut().enumerate() {
            match reach(rule, &all, stage) {
                None => {}
                Some(Reach::Calls) => {
                    self.armed.entry(id).or_default().by.push(rule.name.clone());
                }
                Some(Reach::Request) if rule.strikes(id) => {
                    hit = Some(at);
                    break;
                }
                Some(Reach::Request) => {}
            }
        }
        let rule = &mut self.rules[hit?];
        let text = rule.text.clone();
        let action = match rule.action {
            Action::Delay(least, most) => {
                let ms = rule.draw(least, most);
                Action::Delay(ms, ms)
            }
            Action::Failover { down_ms } => {
                rule.become_readonly(down_ms, now_us);
                Action::Failover { down_ms }
            }
            action => action,
        };
        self.forget_dead(engine);
        Some((action, text))
    }

    fn perform(
        &mut self,
        engine: &mut Engine,
        id: ClientId,
        found: Found,
        action: Action,
        text: Option<String>,
    ) -> Result<Ruling> {
        let text = text.map(Error::new);
        let deed = match action {
            Action::Error => return Err(text.unwrap_or(Error::Syntax)),
            Action::Kind(kind) => {
                if kind.forgets_scripts {
                    engine.scripts.forget(Realm::Scripts);
                    // What EXEC runs finds that out by itself.
                    if has(found, Flag::RunsQueue) {
                        return Ok(Ruling::GoOn);
                    }
                }
                return Err(text.unwrap_or_else(kind.error));
            }
            Action::End(how, Moment::Before) => {
                self.wires.end(engine, id, how);
                return Ok(Ruling::Swallow);
            }
            Action::Blackhole => {
                self.wires.mute(engine, id);
                return Ok(Ruling::Swallow);
            }
            Action::Refuse => {
                self.wires.end(engine, id, Ending::Reset);
                return Ok(Ruling::Swallow);
            }
            Action::MaxClients => {
                let client = engine.clients.get_mut(id);
                // Over HTTP one that closes is not answered.
                if let Some(client) = client.filter(|it| it.peer.transport != Transport::Http) {
                    client.state = State::Closing;
                }
                return Err(text.unwrap_or_else(|| Error::new(closing::TOO_MANY_CLIENTS)));
            }
            Action::Restart { keeps_data, down_ms } => {
                outage::restart(engine, id, keeps_data, down_ms);
                return Ok(Ruling::Swallow);
            }
            Action::Failover { .. } => return Ok(Ruling::GoOn),
            Action::End(how, Moment::After) => Deed::End(how),
            Action::Half(then) => Deed::Half(then),
            Action::Delay(ms, _) => Deed::Hold(ms),
            // The reply that stands is not sent before the server stands still. Over HTTP none is.
            Action::Slow(ms) => {
                engine.ask(Effect::StandStill { micros: ms * 1000 });
                if engine.clients[id].peer.transport == Transport::Http {
                    return Ok(Ruling::GoOn);
                }
                Deed::Hold(ms)
            }
        };
        self.wires.expect(engine, id, deed);
        Ok(Ruling::GoOn)
    }

    /// What a call of a script is refused with.
    fn before_call(&mut self, engine: &Engine, id: ClientId, found: Found) -> Result {
        let Some(armed) = self.armed.get_mut(&id) else { return Ok(()) };
        let has_written = engine.scripts.running().is_some_and(|script| script.has_written);
        let hits = |kind: &Kind| (kind.hits)(found) && !(kind.spares_writers && has_written);
        if armed.hit.is_none() {
            let mut hit = None;
            armed.by.retain(|name| {
                let rule = self.rules.iter_mut().find(|rule| rule.name == *name);
                let Some(rule) = rule.filter(|_| hit.is_none()) else { return false };
                let Action::Kind(kind) = rule.action else { return false };
                if hits(kind) && rule.strikes(id) {
                    hit = Some((kind, rule.text.clone().map_or_else(kind.error, Error::new)));
                }
                !hits(kind)
            });
            armed.hit = hit;
        }
        match &armed.hit {
            Some((kind, error)) if hits(kind) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

/// How a rule may hit, at this stage, the first of these requests: EXEC comes with those that are
/// queued. What befalls a reply befalls EXEC's, and so do calls of scripts that are queued.
fn reach(rule: &Rule, all: &[Asked], stage: Stage) -> Option<Reach> {
    let (action, asked) = (rule.action, &all[0]);
    if stage != action.stage() || !action.is_for(asked.client.peer.transport) {
        return None;
    }
    let is_queued = asked.client.transaction.is_open() && !has(asked.found, Flag::PassesQueue);
    let any =
        |is_meant: &dyn Fn(Found) -> bool| all.iter().any(|it| is_meant(it.found) && rule.fits(it));
    let reach = match action {
        Action::Kind(kind) if any(&kind.hits) => Reach::Request,
        Action::Kind(kind) if kind.spares_scripts && !is_queued => {
            any(&|found| found.row.flags.runs_script()).then_some(Reach::Calls)?
        }
        Action::Kind(_) => return None,
        _ if action.is_of_reply() => (!is_queued && any(&|_| true)).then_some(Reach::Request)?,
        _ => rule.fits(asked).then_some(Reach::Request)?,
    };
    Some(reach)
}

/// Whether a request is a test's own, or one without which nobody can say so.
fn is_spared(engine: &Engine, client: &Client, found: Found, words: &[&[u8]]) -> bool {
    let is_login = || has(found, Flag::NoAuth) && engine.acl.needs_login();
    let names_itself = || ["client|setname", "hello"].contains(&&*found.full_name());
    let says_so = || {
        let is_so =
            |pair: &[&[u8]]| pair[0].eq_ignore_ascii_case(b"setname") && pair[1] == b"toril";
        names_itself() && words.windows(2).any(is_so)
    };
    is_of_test(client, found) || !client.is_authenticated && is_login() || says_so()
}

/// What stands behind TORIL FAULT.
pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let faults = &mut testing.faults;
    let verb = args.given();
    match (&verb.to_ascii_lowercase()[..], args.remaining()) {
        (b"add", words @ [_, ..]) => {
            let mut rule = Rule::parse(&split(words), faults.count + 1, cx.server())?;
            if faults.rules.iter().any(|known| known.name == rule.name) {
                let name = rule.name;
                return Err(Error::new(format!("ERR there is a fault '{name}': REMOVE it first")));
            }
            faults.count += 1;
            reply.bulk(rule.name.as_bytes());
            if rule.action.is_of_server() && rule.is_unconditional() {
                rule.strikes(cx.client);
                happen_at_once(&mut rule, cx);
            }
            faults.rules.push(rule);
        }
        (b"list", []) => {
            let engine = cx.server();
            faults.forget_dead(engine);
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

/// What befalls the whole server need not wait for a request.
fn happen_at_once(rule: &mut Rule, cx: &mut Ctx) {
    let (asking, now_us) = (cx.client, cx.now().mono_us);
    match rule.action {
        Action::Restart { keeps_data, down_ms } => {
            outage::restart(cx.engine_of_fixture(), asking, keeps_data, down_ms);
        }
        Action::Failover { down_ms } => {
            outage::fail_over(cx.engine_of_fixture());
            rule.become_readonly(down_ms, now_us);
        }
        _ => {}
    }
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
