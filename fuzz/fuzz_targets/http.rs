//! Requests over HTTP, whatever their path, query and body say: no more runs than was asked for,
//! and whoever asked can read the answer.
//!
//! The input's first line is the answer's form (`base64`, `resp2`, anything else means plain JSON),
//! a space, and the target; the rest is the body. MONITOR tells what ran.

#![no_main]

#[path = "../../tests/common/facts.rs"]
mod facts;
#[path = "../../tests/common/reply.rs"]
#[allow(dead_code, reason = "transcripts use the rest")]
mod reply;

use facts::FixedFacts;
use libfuzzer_sys::fuzz_target;
use reply::Reply;
use serde_json::Value;
use toril::command::table::table;
use toril::config::{Config, HTTP_COMMANDS_MAX};
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State, Transport};
use toril::engine::effect::{Effect, Outcome};
use toril::engine::time::Now;
use toril::proto::rest::{self, Command, Route};
use toril::proto::{Args, JsonStyle, Outbox};
use toril::util::words;

type Words = Vec<Vec<u8>>;

/// A script that has had so many slices is killed. It makes the engine busy after some of them.
const SLICES_MAX: usize = 8;
const SLICE_MS: u64 = 2;
const BUSY_AFTER_MS: i64 = 5;

/// Where the caller is, as MONITOR has it.
const CALLER: &str = "127.0.0.1:50000";

/// A key of each type, so that there is something to ask for.
const DATA: &[u8] = b"SET s 10\r\nRPUSH l a b \"\\xff\"\r\nSADD t a b\r\nHSET h f v g \"\"\r\n\
    ZADD z 1 a 2.5 b\r\nXADD x 1-1 f v\r\nMONITOR\r\n";

fuzz_target!(|data: &[u8]| {
    let Some(request) = Request::read(data) else { return };
    let mut world = World::new(false);
    if let Some(answer) = world.ask(&request) {
        request.check(&answer);
    }
    world.check_what_ran(request.asked());

    let mut world = World::new(true);
    let changes = world.engine.keyspace.aftermath.changes;
    world.ask(&request);
    assert_eq!(world.engine.keyspace.aftermath.changes, changes, "a reader has changed something");
});

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json { base64: bool },
    Resp2,
}

struct Request<'a> {
    form: Form,
    route: Route<'a>,
    /// What is wrong with the body as a whole, or with each command.
    commands: Result<Vec<Command<'a>>, String>,
}

impl<'a> Request<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let end = data.iter().position(|&byte| byte == b'\n')?;
        let (form, target) = std::str::from_utf8(&data[..end]).ok()?.split_once(' ')?;
        let body = &data[end + 1..];
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        // Whatever it finds, it is nothing to run.
        rest::token(query);
        let route = rest::route(path, query);
        let form = match form {
            "resp2" if route != Route::MultiExec => Form::Resp2,
            form => Form::Json { base64: form == "base64" },
        };
        let commands = match &route {
            Route::Command => Ok(vec![rest::command(path, query, body)]),
            Route::Pipeline | Route::MultiExec => rest::commands(body, HTTP_COMMANDS_MAX),
            Route::Stream(words) => Ok(vec![Ok(words.clone())]),
        };
        Some(Self { form, route, commands })
    }

    /// All that may run, in order.
    fn asked(&self) -> Vec<Words> {
        let Ok(commands) = &self.commands else { return Vec::new() };
        let good = commands.iter().flatten();
        let mut asked: Vec<Words> =
            good.map(|words| words.iter().map(|word| word.to_vec()).collect()).collect();
        if self.route == Route::MultiExec {
            if asked.len() < commands.len() {
                return Vec::new();
            }
            asked.insert(0, vec![b"MULTI".to_vec()]);
            asked.push(vec![b"EXEC".to_vec()]);
        }
        asked
    }

    /// Holds an answer against the form that was asked for.
    fn check(&self, answer: &[u8]) {
        let Ok(commands) = &self.commands else { return };
        // A script may put an error into an array, where it is plain.
        let runs_script = self.asked().iter().any(|words| {
            [&b"eval"[..], b"fcall"]
                .iter()
                .any(|name| words[0].to_ascii_lowercase().starts_with(name))
        });
        let base64 = self.form == Form::Json { base64: true } && !runs_script;
        match (&self.route, self.form) {
            (Route::Stream(_), _) => check_events(answer),
            (_, Form::Resp2) => check_resp2(answer, commands.len()),
            (Route::Command, Form::Json { .. }) => check_envelope(&json(answer), base64),
            (_, Form::Json { .. }) => match json(answer) {
                Value::Array(items) => {
                    assert_eq!(items.len(), commands.len(), "one answer a command");
                    items.iter().for_each(|item| check_envelope(item, base64));
                }
                refusal => {
                    assert!(self.route == Route::MultiExec, "a pipeline answers each");
                    assert!(refusal["error"].is_string(), "neither answers nor a refusal");
                }
            },
        }
    }
}

/// An engine, someone who asks over HTTP, and someone who looks on.
struct World {
    engine: Engine,
    now: Now,
    caller: ClientId,
    monitor: ClientId,
}

impl World {
    fn new(only_reads: bool) -> Self {
        let now = Now::new(1_800_000_000_000, 1_000_000);
        let mut config = Config::default();
        config.busy_reply_threshold_ms = BUSY_AFTER_MS;
        let mut engine = Engine::new(table(), config, Box::new(FixedFacts::default()), now);
        let mut connect = |transport, addr: &str| {
            let peer = Peer {
                transport,
                addr: addr.into(),
                laddr: "127.0.0.1:6379".into(),
                fd: 10,
                is_loopback: true,
            };
            engine.connect(peer, now)
        };
        let caller = connect(Transport::Http, CALLER);
        let monitor = connect(Transport::Tcp, "127.0.0.1:50001");
        let acl = &engine.acl;
        let user = if only_reads { acl.reader() } else { acl.default_user() }.clone();
        engine.trust(caller, &user);
        engine.feed(monitor, DATA, now);
        engine.take_output(monitor);
        Self { engine, now, caller, monitor }
    }

    /// The answer, unless the request was refused as a whole or has no end.
    fn ask(&mut self, request: &Request) -> Option<Vec<u8>> {
        let commands = request.commands.as_ref().ok()?;
        let is_pipeline = request.route == Route::Pipeline;
        *self.outbox() = match (&request.route, request.form) {
            (Route::Stream(_), _) => Outbox::events(),
            (_, Form::Resp2) => Outbox::default(),
            (route, Form::Json { base64 }) => {
                Outbox::json(JsonStyle { base64, transaction: *route == Route::MultiExec })
            }
        };
        if request.route == Route::MultiExec {
            let good: Vec<Vec<&[u8]>> = commands
                .iter()
                .map(|command| Some(command.as_ref().ok()?.iter().map(AsRef::as_ref).collect()))
                .collect::<Option<_>>()?;
            let requests: Vec<Args> = good.iter().map(|words| Args::new(words)).collect();
            self.engine.run_transaction(self.caller, &requests, self.now);
            self.finish()?;
            return Some(self.engine.take_output(self.caller));
        }
        let between = |world: &mut World, text: &[u8]| {
            if is_pipeline && request.form != Form::Resp2 {
                world.outbox().raw(text);
            }
        };
        between(self, b"[");
        for (at, command) in commands.iter().enumerate() {
            if at > 0 {
                between(self, b",");
            }
            match command {
                Ok(words) => {
                    let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
                    let args = Args::new(&words);
                    match request.route {
                        Route::Stream(_) => self.engine.run(self.caller, args, self.now),
                        _ => self.engine.run_rest(self.caller, args, self.now),
                    };
                    self.finish()?;
                }
                Err(problem) => self.outbox().reply().error_text(problem),
            }
        }
        between(self, b"]");
        Some(self.engine.take_output(self.caller))
    }

    fn outbox(&mut self) -> &mut Outbox {
        self.engine.outbox(self.caller).expect("the caller is connected")
    }

    /// Lets a request come to its end; None if it can only be ended with the server.
    fn finish(&mut self) -> Option<()> {
        for slice in 0.. {
            // What follows in a transaction may ask for another.
            let mut effects = self.engine.take_effects();
            while let Some(effect) = effects.pop() {
                let outcome = match effect {
                    Effect::Sleep { .. } | Effect::Listen { .. } => Outcome::Done,
                    Effect::Shutdown { client: Some(_), .. }
                    | Effect::Save { .. }
                    | Effect::Reload { .. } => Outcome::Failed("ERR not now".into()),
                    _ => continue,
                };
                self.engine.answer(self.caller, outcome, self.now);
                effects.extend(self.engine.take_effects());
            }
            match self.engine.state(self.caller) {
                State::Ready => break,
                State::Closing => return None,
                State::Parked => panic!("nothing over HTTP ever waits"),
                State::Running => {}
            }
            match slice {
                SLICES_MAX => drop(self.engine.feed(self.monitor, b"SCRIPT KILL\r\n", self.now)),
                // It has written, so that it cannot be killed.
                _ if slice > SLICES_MAX + 2 => return None,
                _ => {}
            }
            self.now.mono_us += SLICE_MS * 1000;
            self.now.wall_ms += SLICE_MS as i64;
            self.engine.resume(self.caller, self.now);
        }
        Some(())
    }

    /// Holds what MONITOR shows against what was asked for, which may have been refused.
    fn check_what_ran(&mut self, asked: Vec<Words>) {
        let count = self.engine.clients[self.caller].commands;
        assert!(count <= asked.len() as u64, "{count} commands ran of {}", asked.len());
        let output = self.engine.take_output(self.monitor);
        let mut asked = asked.iter();
        for line in output.split(|&byte| byte == b'\n') {
            // The time, the database, who asked, and the request.
            let mut parts = line.splitn(4, |&byte| byte == b' ').skip(2);
            let (Some(who), Some(request)) = (parts.next(), parts.next()) else { continue };
            if who.strip_suffix(b"]") == Some(CALLER.as_bytes()) {
                let (bytes, spans) = words::split(request).expect("MONITOR quotes its words");
                let ran: Vec<&[u8]> = spans.iter().map(|&(from, to)| &bytes[from..to]).collect();
                let is_expected = asked.any(|words| is_shown_as(words, &ran));
                assert!(is_expected, "not asked for: {}", request.escape_ascii());
            }
        }
    }
}

/// Whether MONITOR shows a request in this way: passwords are withheld.
fn is_shown_as(words: &Words, shown: &[&[u8]]) -> bool {
    let is_same = |(word, shown): (&Vec<u8>, &&[u8])| word == shown || *shown == b"(redacted)";
    words.len() == shown.len() && words.iter().zip(shown).all(is_same)
}

fn json(text: &[u8]) -> Value {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // A script's reply may nest deeper than serde_json takes on its own.
    deserializer.disable_recursion_limit();
    let value = serde::Deserialize::deserialize(&mut deserializer);
    let value = value.and_then(|value| deserializer.end().map(|()| value));
    value.unwrap_or_else(|problem| panic!("{problem}: {}", text.escape_ascii()))
}

fn check_envelope(item: &Value, base64: bool) {
    let fields = item.as_object().expect("an answer is an object");
    assert_eq!(fields.len(), 1, "an answer is a result or an error: {item}");
    match fields.iter().next() {
        Some((key, value)) if key == "error" => assert!(value.is_string(), "{item}"),
        Some((key, value)) if key == "result" => {
            if value != "OK" {
                check_value(value, base64);
            }
        }
        _ => panic!("neither a result nor an error: {item}"),
    }
}

/// Only what RESP2 has, or clients would take it for something else.
fn check_value(value: &Value, base64: bool) {
    match value {
        Value::Null => {}
        Value::Number(number) => assert!(number.is_i64(), "{number} is no integer"),
        Value::String(text) => assert!(!base64 || is_base64(text), "{text} is not encoded"),
        Value::Array(items) => items.iter().for_each(|item| check_value(item, base64)),
        Value::Bool(_) | Value::Object(_) => panic!("RESP2 has no {value}"),
    }
}

fn is_base64(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len() % 4 == 0 && text.trim_end_matches('=').bytes().all(is_letter)
}

fn check_resp2(mut answer: &[u8], count: usize) {
    for _ in 0..count {
        let (reply, len) = Reply::decode(answer).expect("a reply for each command");
        assert!(is_resp2(&reply), "RESP2 has no {reply:?}");
        answer = &answer[len..];
    }
    assert!(answer.is_empty(), "more than was asked for: {}", answer.escape_ascii());
}

fn is_resp2(reply: &Reply) -> bool {
    match reply {
        Reply::Simple(_) | Reply::Error(_) | Reply::Integer(_) | Reply::Bulk(_) => true,
        Reply::Null | Reply::NullArray => true,
        Reply::Array(items) => items.iter().all(is_resp2),
        _ => false,
    }
}

/// Each event is one line; a refusal is JSON.
fn check_events(answer: &[u8]) {
    if answer.starts_with(b"{") {
        assert!(json(answer)["error"].is_string());
        return;
    }
    let text = std::str::from_utf8(answer).expect("events are UTF-8");
    let events = text.strip_suffix("\n\n").expect("the last event ends");
    for event in events.split("\n\n") {
        let line = event.strip_prefix("data: ").expect("an event is data");
        assert!(!line.contains(['\r', '\n']), "an event is one line: {line:?}");
    }
}
