//! Who does not follow the clock: a client whose requests tell the real time while the server shows
//! another. A queue's "now" is its client's, so that its jobs would not become due, or at the wrong
//! time.

use crate::engine::Engine;
use crate::engine::client::{Client, ClientId};
use crate::proto::Reply;
use crate::util::calendar::{Civil, DAY_MS};
use crate::util::number;
use std::collections::BTreeMap;

/// What differs by less is the same time.
const NEAR_MS: i64 = 60_000;

/// Commands that tell their clients' time: of others a number may be anything.
const TELLING: &[&str] = &["eval", "evalsha", "zadd"];

/// What clients have said since the clock was moved.
#[derive(Debug, Default)]
pub struct Laggards {
    /// The last time that each of them told, in milliseconds, and whether it was the server's.
    told: BTreeMap<ClientId, (i64, bool)>,
    /// What the real time was when the clock was last moved: whoever tells an earlier one has not
    /// known of the move when it did.
    moved_ms: i64,
}

impl Laggards {
    /// Looks for times among the words of a request: 13 digits are milliseconds since 1970, 10 are
    /// seconds. `ahead_ms` is how far the server's clock is ahead.
    pub fn note(
        &mut self,
        engine: &Engine,
        id: ClientId,
        command: &str,
        words: &[&[u8]],
        ahead_ms: i64,
    ) {
        if ahead_ms < 2 * NEAR_MS || !TELLING.contains(&command) {
            return;
        }
        let now_ms = engine.keyspace.now.wall_ms;
        let real_ms = now_ms - ahead_ms;
        let times = || words.iter().filter_map(|word| time(word));
        if times().any(|told_ms| (told_ms - now_ms).abs() <= NEAR_MS) {
            self.told.insert(id, (now_ms, true));
        } else if let Some(told_ms) = times().find(|told_ms| (told_ms - real_ms).abs() <= NEAR_MS)
            && told_ms > self.moved_ms
        {
            self.told.insert(id, (told_ms, false));
        }
    }

    /// The clock has been moved, at this moment of the real time.
    pub fn clock_moved(&mut self, real_ms: i64) {
        self.moved_ms = real_ms;
    }

    /// Forgets all: the clock is the real one again.
    pub fn clear(&mut self) {
        self.told.clear();
    }

    /// What to say of the first who does not follow and is still there.
    pub fn complaint(&self, engine: &Engine) -> Option<String> {
        let (client, told_ms) = self.lagging(engine).next()?;
        Some(format!(
            "{} said it is {} when it is {} here: it does not follow. Start it with node --import \
             toril/clock. Its jobs were not made due",
            describe(client),
            clock_and_day(told_ms),
            day(engine.keyspace.now.wall_ms)
        ))
    }

    fn lagging<'e>(&'e self, engine: &'e Engine) -> impl Iterator<Item = (&'e Client, i64)> {
        let lagging = self.told.iter().filter(|(_, (_, follows))| !follows);
        lagging.filter_map(|(&id, &(told_ms, _))| Some((engine.clients.get(id)?, told_ms)))
    }

    /// Two fields of TORIL CLOCK.
    pub fn tell(&self, engine: &Engine, reply: &mut Reply) {
        let lagging: Vec<_> = self.lagging(engine).collect();
        let follows = |id: &ClientId, is_right: bool| is_right && engine.clients.get(*id).is_some();
        let followers =
            self.told.iter().filter(|(id, (_, is_right))| follows(id, *is_right)).count();
        reply.bulk(b"followers");
        reply.count(followers);
        reply.bulk(b"laggards");
        reply.array(lagging.len());
        for (client, _) in lagging {
            reply.bulk(describe(client).as_bytes());
        }
    }
}

/// A word that is a time, in milliseconds since 1970.
fn time(word: &[u8]) -> Option<i64> {
    match word.len() {
        13 => number::parse_i64(word),
        10 => number::parse_i64(word).map(|seconds| seconds * 1000),
        _ => None,
    }
}

/// `mail's worker (id=12 addr=127.0.0.1:50412)`, by the name that the libraries give their
/// connections.
fn describe(client: &Client) -> String {
    let name = String::from_utf8_lossy(&client.name);
    let who = if name.is_empty() { "a client".to_owned() } else { format!("'{name}'") };
    format!("{who} (id={} addr={})", client.id.0, client.peer.addr)
}

/// `Nov 28`
fn day(ms: i64) -> String {
    let civil = Civil::of_ms(ms);
    format!("{} {}", civil.month_name(), civil.day)
}

/// `20:44:01 on Nov 28`
fn clock_and_day(ms: i64) -> String {
    let seconds = ms.rem_euclid(DAY_MS) / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hour:02}:{minute:02}:{second:02} on {}", day(ms))
}
