//! What the page does to keys and clients: one plain command each, as the page's user may run it.
//!
//! An element is named by where it stands, and by the digest of what was shown there: what has
//! changed meanwhile is left as it is.

use super::super::page::text;
use super::super::{Trouble, may_run};
use super::span_of;
use crate::data::Value;
use crate::engine::Engine;
use crate::engine::acl::user::User;
use crate::lua::Sha;
use crate::queues::Glance;
use crate::util::number;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};

/// A command that is ready to be run.
pub struct PageCommand {
    pub db: usize,
    pub words: Vec<Vec<u8>>,
    told: String,
}

/// What can be done to an element, or to a key as a whole.
pub struct KeyAction {
    pub name: &'static str,
    /// The command for each type that has one.
    commands: &'static [(&'static str, &'static str)],
    words: fn(&KeyOrder) -> Result<Vec<Vec<u8>>, String>,
    done: &'static str,
}

const fn row(
    name: &'static str,
    commands: &'static [(&'static str, &'static str)],
    words: fn(&KeyOrder) -> Result<Vec<Vec<u8>>, String>,
    done: &'static str,
) -> KeyAction {
    KeyAction { name, commands, words, done }
}

/// Of any type.
const ANY: &str = "";

#[rustfmt::skip]
const ACTIONS: &[KeyAction] = &[
    row("add",    &[("list", "RPUSH"), ("hash", "HSET"), ("set", "SADD"), ("zset", "ZADD"), ("stream", "XADD")], add, "Added it to {key}"),
    row("delete", &[(ANY, "DEL")],                                                                               delete, "Deleted {key}"),
    row("edit",   &[("string", "SET"), ("list", "LSET"), ("hash", "HSET"), ("zset", "ZADD")],                    edit, "Changed {key}"),
    row("expire", &[(ANY, "PEXPIRE")],                                                                           expire, "Changed when {key} expires"),
    row("drop",   &[("list", "LREM"), ("hash", "HDEL"), ("set", "SREM"), ("zset", "ZREM"), ("stream", "XDEL")],  drop_one, "Removed it from {key}"),
];

/// What somebody wants done to a key.
struct KeyOrder<'e> {
    engine: &'e Engine,
    db: usize,
    key: Vec<u8>,
    type_name: &'static str,
    command: &'static str,
    body: Json,
}

/// Whether a user may do something to a key of a type.
pub fn may(engine: &Engine, user: &User, action: &str, type_name: &str, key: &[u8]) -> bool {
    let command = command(action, type_name).unwrap_or_default();
    !command.is_empty() && may_run(engine, user, &[command.as_bytes(), key, b"x", b"x"])
}

/// None if a type has no such action.
fn command(action: &str, type_name: &str) -> Option<&'static str> {
    let action = ACTIONS.iter().find(|it| it.name == action)?;
    let of_type = action.commands.iter().find(|(of, _)| *of == ANY || *of == type_name)?;
    Some(of_type.1)
}

/// The command that does something to a key; `body` says which.
///
/// # Errors
/// There is no such action or key, or something is missing or wrong.
pub fn on_key(
    engine: &Engine,
    user: &User,
    name: &str,
    body: Json,
) -> Result<PageCommand, Trouble> {
    let wrong = |text: String| Trouble::Wrong(text);
    let key: Vec<u8> = percent_decode_str(body["key"].as_str().unwrap_or_default()).collect();
    let db = body["db"].as_u64().unwrap_or(0) as usize;
    let entry = Some(db).filter(|db| *db < engine.keyspace.databases());
    let entry = entry.and_then(|db| engine.keyspace.glance(db, &key));
    let told = text::excerpt(&key, 60);
    let entry =
        entry.ok_or_else(|| Trouble::Absent(format!("there is no key {told}, or not any more")))?;
    let type_name = entry.value.type_name();
    let action = ACTIONS.iter().find(|it| it.name == name).zip(command(name, type_name));
    let (action, command) = action.ok_or_else(|| {
        let known: Vec<&str> = ACTIONS.iter().map(|it| it.name).collect();
        Trouble::Absent(format!("a {type_name} has no action '{name}': {}", known.join(", ")))
    })?;
    if db != 0 && !may_run(engine, user, &[b"SELECT", b"1"]) {
        return Err(Trouble::Forbidden("this user may not SELECT another database".into()));
    }
    let order = KeyOrder { engine, db, key, type_name, command, body };
    let words = (action.words)(&order).map_err(wrong)?;
    Ok(PageCommand { db, words, told: action.done.replace("{key}", &told) })
}

/// The command that closes a client's connection.
///
/// # Errors
/// None is named.
pub fn on_client(name: &str, body: &Json) -> Result<PageCommand, Trouble> {
    if name != "kill" {
        return Err(Trouble::Absent(format!("there is no action '{name}' of clients: kill")));
    }
    let id =
        body["id"].as_u64().ok_or_else(|| Trouble::Wrong("say which client: its id".into()))?;
    let words = ["CLIENT".into(), "KILL".into(), "ID".into(), id.to_string()];
    let told = format!("Closed the connection of client {id}");
    Ok(PageCommand { db: 0, words: words.map(String::into_bytes).into(), told })
}

impl PageCommand {
    /// What is to be said of what the command has answered.
    pub fn outcome(&self, answer: &Json) -> Json {
        let is_done = *answer != json!(0);
        let told = if is_done { &*self.told } else { "" };
        json!({ "done": u8::from(is_done), "told": told, "refused": [], "left": 0, "looked": 0 })
    }
}

/// What stands at a place of a key: in a list by its index, in a hash by its field; of a sorted set
/// the score of a member. None if nothing does.
pub fn element(engine: &Engine, db: usize, key: &[u8], at: &[u8]) -> Option<Vec<u8>> {
    let view = Glance::new(engine, db);
    match &engine.keyspace.glance(db, key)?.value {
        Value::Str(_) => view.text(key),
        Value::Cold(cold) if cold.is_str() => view.text(key),
        Value::List(_) => {
            let index: usize = std::str::from_utf8(at).ok()?.parse().ok()?;
            view.members(key, index..index + 1).pop()
        }
        Value::Hash(_) | Value::Cold(_) => Some(view.hash(key)?.get(at)?.to_vec()),
        Value::Set(set) => set.contains(at).then(|| at.to_vec()),
        Value::Zset(zset) => Some(number::format_double(zset.score(at)?).to_vec()),
        Value::Stream(_) => Some(at.to_vec()),
    }
}

/// What tells whether something is still what it was.
pub fn digest(bytes: &[u8]) -> String {
    Sha::of(bytes).to_string()
}

impl KeyOrder<'_> {
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }

    /// Where the element stands.
    fn at(&self) -> Vec<u8> {
        percent_decode_str(self.text("at")).collect()
    }

    /// What stands there, if it is what was shown.
    ///
    /// # Errors
    /// It is something else by now.
    fn standing(&self) -> Result<Vec<u8>, String> {
        let now = element(self.engine, self.db, &self.key, &self.at());
        now.filter(|now| digest(now) == self.text("was"))
            .ok_or_else(|| "it has changed meanwhile, and is left as it is: look again".into())
    }

    fn command(&self, words: &[&[u8]]) -> Vec<Vec<u8>> {
        let before = [self.command.as_bytes(), &self.key];
        before.iter().chain(words).map(|word| word.to_vec()).collect()
    }
}

fn delete(order: &KeyOrder) -> Result<Vec<Vec<u8>>, String> {
    Ok(order.command(&[]))
}

/// Without a span it never expires.
fn expire(order: &KeyOrder) -> Result<Vec<Vec<u8>>, String> {
    let ms = span_of(order.text("span"), "the span")?;
    match ms {
        0 => Ok(vec![b"PERSIST".to_vec(), order.key.clone()]),
        ms => Ok(order.command(&[ms.to_string().as_bytes()])),
    }
}

fn score(order: &KeyOrder) -> Result<Vec<u8>, String> {
    let text = order.text("score").trim();
    let number: Option<f64> = text.parse().ok().filter(|it: &f64| !it.is_nan());
    number
        .map(|_| text.as_bytes().to_vec())
        .ok_or_else(|| format!("a score is a number, not '{text}'"))
}

fn add(order: &KeyOrder) -> Result<Vec<Vec<u8>>, String> {
    let (name, text) = (order.text("name").as_bytes(), order.text("text").as_bytes());
    if matches!(order.type_name, "hash" | "stream") && name.is_empty() {
        return Err("the field wants a name".into());
    }
    Ok(match order.type_name {
        "hash" => order.command(&[name, text]),
        "zset" => order.command(&[b"NX", &score(order)?, text]),
        "stream" => order.command(&[b"*", name, text]),
        _ => order.command(&[text]),
    })
}

fn edit(order: &KeyOrder) -> Result<Vec<Vec<u8>>, String> {
    order.standing()?;
    let (at, text) = (order.at(), order.text("text").as_bytes());
    let keeps_ttl = || {
        let hash = Glance::new(order.engine, order.db).hash(&order.key);
        hash.is_some_and(|hash| hash.expires_ms(&at).flatten().is_some())
    };
    Ok(match order.type_name {
        "string" => order.command(&[text, b"XX", b"KEEPTTL"]),
        "zset" => order.command(&[b"XX", &score(order)?, &at]),
        "hash" if keeps_ttl() => {
            let words: [&[u8]; 7] = [b"HSETEX", &order.key, b"KEEPTTL", b"FIELDS", b"1", &at, text];
            words.map(<[u8]>::to_vec).into()
        }
        _ => order.command(&[&at, text]),
    })
}

/// Of equal elements of a list the first goes, or the last if that is the one.
fn drop_one(order: &KeyOrder) -> Result<Vec<Vec<u8>>, String> {
    let standing = order.standing()?;
    if order.type_name != "list" {
        return Ok(order.command(&[&order.at()]));
    }
    let last = Glance::new(order.engine, order.db).len(&order.key) - 1;
    let is_last = order.text("at") == last.to_string();
    Ok(order.command(&[if is_last { b"-1" } else { b"1" }, &standing]))
}
