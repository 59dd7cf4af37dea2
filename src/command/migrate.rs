//! MIGRATE: keys move to another server, as DUMP, RESTORE there and DEL here would move them.
//!
//! The server carries the bytes over and brings the answers back. The client waits for them, and
//! others are served meanwhile: a key that they changed is not deleted then, for their change would
//! be lost. (Redis serves nobody until all is done.)

use super::dump::payload_of;
use super::prelude::*;
use crate::engine::effect::{Answered, Conversation, Effect, Outcome, Problem};
use crate::proto::request;
use crate::util::number;

/// One key, or all behind the last option.
const KEYS: Keys = Keys::one(3).pops().and(
    Keys::spec(Begin::Behind("KEYS", -2), Find::Range { last: -1, step: 1, limit: 0 })
        .pops()
        .with(access::INCOMPLETE),
);

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("migrate", "2.6.0", AtLeast(6), KEYS, &[Write, Dangerous, NoScript, SecretPassword], migrate, "host port <key | \"\"> destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] [KEYS key [key ...]]", "Moves keys to another server.").tips(&[VARIES]),
]);

/// In place of a timeout that is none.
const TIMEOUT_MS_DEFAULT: u64 = 1000;

/// What follows MIGRATE's fixed words.
#[derive(Default)]
struct Options<'a> {
    copies: bool,
    replaces: bool,
    /// A password, or a user and a password.
    login: &'a [&'a [u8]],
    keys: Option<&'a [&'a [u8]]>,
}

impl<'a> Options<'a> {
    fn read(mut args: Args<'a>, key: &[u8]) -> Result<Self> {
        let mut options = Self::default();
        while args.left() > 0 {
            if args.accept("copy") {
                options.copies = true;
            } else if args.accept("replace") {
                options.replaces = true;
            } else if args.accept("auth") {
                options.login = args.take_words(1)?;
            } else if args.accept("auth2") {
                options.login = args.take_words(2)?;
            } else if args.accept("keys") {
                if !key.is_empty() {
                    return Err(Error::new(
                        "ERR When using MIGRATE KEYS option, the key argument must be set to the \
                         empty string",
                    ));
                }
                options.keys = Some(args.take_words(args.left())?);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }
}

fn migrate(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let all = args;
    let (host, port, key) = (args.given(), args.given(), args.given());
    let (db, timeout) = (args.given(), args.given());
    let options = Options::read(args, key)?;
    let timeout_ms = number::parse_i64(timeout).ok_or(Error::NotInteger)?;
    let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
    number::parse_i64(db).ok_or(Error::NotInteger)?;

    let mut bytes = Vec::new();
    if !options.login.is_empty() {
        request::write(&[&[&b"AUTH"[..]], options.login].concat(), &mut bytes);
    }
    request::write(&[b"SELECT", db], &mut bytes);
    let mut sent = Vec::new();
    for key in options.keys.unwrap_or(&[key]) {
        sent.extend(send(cx, key, options.replaces, &mut bytes));
    }
    if sent.is_empty() {
        reply.status("NOKEY");
        return Ok(());
    }
    let greetings = 1 + usize::from(!options.login.is_empty());
    let conversation = Conversation {
        client: cx.client,
        host: String::from_utf8_lossy(host).into_owned(),
        port: number::parse_u64_loosely(port).and_then(|it| it.try_into().ok()).unwrap_or(0),
        timeout_ms: if timeout_ms == 0 { TIMEOUT_MS_DEFAULT } else { timeout_ms },
        bytes,
        answers: greetings + sent.len(),
    };
    let moving = Moving { sent, greetings, copies: options.copies };
    cx.await_answers(Effect::Converse(conversation.into()), all, moving);
    Ok(())
}

/// Writes the request that makes a key on the other server. None if there is no such key.
fn send(cx: &mut Ctx, key: &[u8], replaces: bool, bytes: &mut Vec<u8>) -> Option<Sent> {
    let expires_ms = cx.expires_ms(key);
    let ttl_ms = expires_ms.map_or(0, |at_ms| (at_ms - cx.now_ms()).max(1));
    let payload = payload_of(cx, key)?;
    let mut buffer = itoa::Buffer::new();
    let words: [&[u8]; 5] =
        [b"RESTORE", key, buffer.format(ttl_ms).as_bytes(), &payload, b"REPLACE"];
    request::write(&words[..if replaces { 5 } else { 4 }], bytes);
    Some(Sent { key: key.into(), seal: seal_of(&payload), expires_ms })
}

/// A checksum is what a payload ends in.
fn seal_of(payload: &[u8]) -> [u8; 8] {
    *payload.last_chunk().expect("a payload has a checksum")
}

/// A key as it was when it was sent.
#[derive(Debug)]
struct Sent {
    key: Box<[u8]>,
    seal: [u8; 8],
    expires_ms: Option<i64>,
}

impl Sent {
    fn is_unchanged(&self, cx: &mut Ctx) -> bool {
        cx.expires_ms(&self.key) == self.expires_ms
            && payload_of(cx, &self.key).is_some_and(|payload| seal_of(&payload) == self.seal)
    }
}

/// What is still to be done once the other server has answered.
#[derive(Debug)]
struct Moving {
    sent: Vec<Sent>,
    /// Answers before those to the keys.
    greetings: usize,
    copies: bool,
}

impl Answered for Moving {
    fn go_on(&self, cx: &mut Ctx, outcome: &Outcome, reply: &mut Reply) -> Result {
        let Outcome::Answers { lines, problem } = outcome else { return Ok(()) };
        let refusal = |line: &&Vec<u8>| line.starts_with(b"-");
        let greeting = lines.iter().take(self.greetings).find(refusal);
        let answers = lines.iter().skip(self.greetings);
        let refused = greeting.or_else(|| answers.clone().find(refusal));
        let (mut deleted, mut changed) = (Vec::new(), 0);
        if greeting.is_none() && !self.copies {
            let taken = self.sent.iter().zip(answers).filter(|(_, line)| !refusal(line));
            for (sent, _) in taken {
                if !sent.is_unchanged(cx) {
                    changed += 1;
                } else if cx.remove(&sent.key, "del") {
                    deleted.push(&*sent.key);
                }
            }
        }
        if !deleted.is_empty() {
            cx.journal_as(&[&[&b"DEL"[..]], &deleted[..]].concat());
        }
        let error = match (refused, problem) {
            (Some(line), _) => {
                let start = b"ERR Target instance replied with error: ";
                Some(Error::new([&start[..], &line[1..]].concat()))
            }
            (None, Some(problem)) => Some(failure(*problem)),
            (None, None) if changed > 0 => Some(Error::new(format!(
                "ERR {changed} of the keys were changed while they were sent, and stay here as well"
            ))),
            (None, None) => None,
        };
        match error {
            None => reply.ok(),
            Some(error) if deleted.is_empty() => return Err(error),
            // Some keys have moved, so that the command has not failed as a whole.
            Some(error) => reply.error(&error),
        }
        Ok(())
    }
}

fn failure(problem: Problem) -> Error {
    Error::new(match problem {
        Problem::Connecting => "IOERR error or timeout connecting to the client",
        Problem::Writing => "IOERR error or timeout writing to target instance",
        Problem::Reading => "IOERR error or timeout reading from target instance",
    })
}
