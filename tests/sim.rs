//! The simulation: many clients on one engine, virtual time, one seed.
//!
//! Each step one client sends something, in pieces or in a pipeline, leaves, or time passes. After
//! each step hold: no parked client could be served; those who were served had waited longest; no
//! deadline was early, late or forgotten; no key outlived its time; no collection is empty; every
//! element that was pushed is in a list or was given to one client that was there; and a replica
//! that only hears the journal, cut where a unit ends, has the same data, although values are
//! compressed meanwhile. Nothing is sent beyond what an outbox may send.
//!
//! A failure names its seed: `TORIL_SIM_SEED=17 cargo test --test sim` runs that one alone and
//! prints its whole trail, `TORIL_SIM_SEEDS=50000` as many from 0 on. Engines that are broken on
//! purpose must be caught, so that we know that the simulation sees.

mod common;

use common::facts::FixedFacts;
use common::journal::commands;
use common::notation;
use common::reply::Reply;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use toril::command::table::table;
use toril::config::Config;
use toril::data::Value;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State};
use toril::engine::compaction::Bounds;
use toril::engine::parking::Fault;
use toril::engine::time::{MONO_TICK_US, Now, mono_tick};
use toril::proto::Args;
use toril::util::rng::Rng;

const SEEDS: u64 = 1000;
const STEPS: usize = 120;
const CLIENTS: usize = 8;
/// Scripts that are suspended for longer answer others with BUSY.
const BUSY_AFTER_MS: i64 = 5;

/// A text that many values share, so that they are compressed while they rest.
const LONG: &str =
    "a-text-that-many-values-share-from-begin-to-end-and-that-is-therefore-compressed";

/// The moment at which a seed begins. For the replica it stays: keys end there when the journal
/// says so, and no sooner.
const REPLICA_NOW: Now = Now::new(1_790_000_000_000, 5_000_000);

/// What a reply of a request means for the elements in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Means {
    /// Elements in the reply have left the server.
    Pop,
    /// Elements in the reply are still there.
    Other,
    /// The reply is made of those that were queued.
    Exec,
}

/// A wait as the simulation expects it.
#[derive(Clone, Debug)]
struct Wait {
    keys: Vec<String>,
    kind: &'static str,
    /// The moment at which it must end unserved.
    ends_us: Option<u64>,
    arrival: u64,
}

struct Client {
    id: ClientId,
    /// Bytes that the server has not used.
    input: Vec<u8>,
    /// What is known of requests that are not yet answered.
    asked: Vec<(Means, Option<Wait>)>,
    wait: Option<Wait>,
    /// MULTI was sent; the server may not have heard it yet.
    in_multi: bool,
    /// What was answered QUEUED.
    queued: Vec<Means>,
}

struct Sim {
    engine: Engine,
    replica: Engine,
    replica_client: ClientId,
    rng: Rng,
    now: Now,
    world: FixedFacts,
    clients: Vec<Client>,
    running: Option<ClientId>,
    /// Whose answers are held back, and for how many steps.
    held: Option<(ClientId, usize)>,
    /// When a slice of a suspended script ended last.
    slice_ended_us: u64,
    elements: u64,
    arrivals: u64,
    /// Elements that were pushed, and whether a client has them.
    pushed: BTreeMap<String, bool>,
    /// Values that were met at rest.
    rested: usize,
    trail: String,
}

impl Sim {
    fn new(seed: u64, fault: Option<Fault>) -> Self {
        let now = REPLICA_NOW;
        let world = FixedFacts { seed, ..FixedFacts::default() };
        let mut config = Config::default();
        config.compact_idle_after_s = 1;
        config.busy_reply_threshold_ms = BUSY_AFTER_MS;
        let mut engine = Engine::new(table(), config.clone(), Box::new(world.clone()), now);
        engine.fault = fault;
        engine.offer_fixture(toril::testing::make);
        engine.compaction.bounds = Bounds { text_len_min: 16, learn_len: 150 };
        engine.keyspace.aftermath.journal.listen();
        let mut replica = Engine::new(table(), config, Box::new(FixedFacts::default()), now);
        let replica_client = replica.connect(Peer::inside(), now);
        let mut sim = Self {
            engine,
            replica,
            replica_client,
            rng: Rng::from_seed(seed),
            now,
            world,
            clients: Vec::new(),
            running: None,
            held: None,
            slice_ended_us: 0,
            elements: 0,
            arrivals: 0,
            pushed: BTreeMap::new(),
            rested: 0,
            trail: String::new(),
        };
        for _ in 0..CLIENTS {
            sim.arrive();
        }
        sim
    }

    fn arrive(&mut self) {
        let id = self.engine.connect(Peer::inside(), self.now);
        self.clients.push(Client {
            id,
            input: Vec::new(),
            asked: Vec::new(),
            wait: None,
            in_multi: false,
            queued: Vec::new(),
        });
    }

    fn step(&mut self) {
        match &mut self.held {
            Some((_, 0)) => self.release(),
            Some((_, steps)) => *steps -= 1,
            None => {}
        }
        match self.rng.below(20) {
            0..=3 => self.pass_time(),
            4 => self.leave(),
            5 if self.running.is_none() && self.rng.below(3) == 0 => self.rest(),
            5 if self.running.is_some() => self.go_on_with_script(),
            6 if self.running.is_none() && self.rng.below(8) == 0 => self.keep_and_bring_back(),
            _ => self.send(),
        }
        // A script that is not yet busy keeps everybody else out.
        while self.running.is_some() && (!self.engine.is_busy() || self.rng.below(3) == 0) {
            self.go_on_with_script();
        }
        // As the server does at the beginning of each turn.
        self.engine.tick(self.now);
        self.feed_runnable();
        self.check();
    }

    fn go_on_with_script(&mut self) {
        let Some(id) = self.running else { return };
        self.now.mono_us += 2000;
        self.now.wall_ms += 2;
        self.slice_ended_us = self.now.mono_us;
        if self.engine.resume(id, self.now) != State::Running {
            self.running = None;
            // Some were not let in while it ran.
            for id in self.clients.iter().map(|client| client.id).collect::<Vec<_>>() {
                self.feed(id, usize::MAX);
            }
        }
        self.feed_runnable();
    }

    fn pass_time(&mut self) {
        let span_us = [300, 5_000, 40_000, 700_000][self.rng.below(4)] + self.rng.below(250) as u64;
        self.advance(span_us);
    }

    fn advance(&mut self, span_us: u64) {
        let _ = writeln!(self.trail, "advance {span_us} us");
        let end_us = self.now.mono_us + span_us;
        while self.running.is_none() {
            let deadline = self.engine.next_deadline();
            let wall_us = deadline.wall_ms.map(|wall_ms| {
                self.now.mono_us + (wall_ms - self.now.wall_ms).max(0) as u64 * 1000
            });
            let next_us = [wall_us, deadline.mono_us].into_iter().flatten().min();
            let Some(next_us) = next_us.filter(|&next_us| next_us <= end_us) else { break };
            self.set_time(next_us.max(self.now.mono_us));
            self.engine.tick(self.now);
            self.feed_runnable();
        }
        self.set_time(end_us);
        self.engine.tick(self.now);
        self.feed_runnable();
    }

    /// Lets values grow cold and rest, and has a client come upon them.
    fn rest(&mut self) {
        self.advance(2_100_000);
        while self.running.is_none() && self.engine.has_idle_work() {
            self.engine.work_while_idle(self.now);
        }
        let kept = self.engine.keyspace.db(0).iter();
        let cold = kept.filter(|entry| matches!(entry.value, Value::Cold(_))).count();
        self.rested += cold;
        let _ = writeln!(self.trail, "{cold} values rest");
        self.send();
    }

    /// Keeps all data, and brings it back at once: nobody can tell, whatever rests or is over.
    fn keep_and_bring_back(&mut self) {
        let _ = writeln!(self.trail, "all data is kept and brought back");
        let id = self.engine.connect(Peer::inside(), self.now);
        for word in ["SNAPSHOT", "RESTORE"] {
            self.engine.run(id, Args::new(&[b"TORIL", word.as_bytes()]), self.now);
        }
        let outbox = self.engine.outbox(id).expect("it is connected");
        assert_eq!(outbox.pending(), b"+OK\r\n+OK\r\n");
        self.engine.disconnect(id, self.now);
        self.feed_runnable();
    }

    fn set_time(&mut self, mono_us: u64) {
        // Both clocks started on a whole millisecond.
        self.now.wall_ms += (mono_us / 1000) as i64 - (self.now.mono_us / 1000) as i64;
        self.now.mono_us = mono_us;
    }

    fn leave(&mut self) {
        let at = self.rng.below(self.clients.len());
        let id = self.clients[at].id;
        if self.running == Some(id) {
            return;
        }
        if self.holds(id) {
            self.release();
        }
        let _ = writeln!(self.trail, "{} leaves", id.0);
        if self.rng.below(2) == 0 {
            // Its FIN has arrived, but the server has yet to read it.
            self.world.hung_up.borrow_mut().insert(id);
            return;
        }
        self.clients.remove(at);
        self.engine.disconnect(id, self.now);
        self.arrive();
        self.feed_runnable();
    }

    fn send(&mut self) {
        let at = self.rng.below(self.clients.len());
        let id = self.clients[at].id;
        if self.world.hung_up.borrow().contains(&id) || self.holds(id) {
            return;
        }
        if self.running.is_none()
            && self.held.is_none()
            && self.rng.below(8) == 0
            && self.engine.state(id) == State::Ready
        {
            self.hold(id);
        }
        for _ in 0..1 + self.rng.below(3) {
            let (request, means, wait) = self.request(at);
            let _ = writeln!(self.trail, "{}> {}", id.0, request.join(" "));
            let client = &mut self.clients[at];
            client.asked.push((means, wait));
            let _ = write!(WriteInto(&mut client.input), "*{}\r\n", request.len());
            for word in &request {
                let _ = write!(WriteInto(&mut client.input), "${}\r\n{word}\r\n", word.len());
            }
        }
        // In two pieces: the cut may fall anywhere.
        let cut = self.rng.below(self.clients[at].input.len() + 1);
        self.feed(id, cut);
        self.feed(id, usize::MAX);
        self.feed_runnable();
    }

    fn feed(&mut self, id: ClientId, len: usize) {
        loop {
            let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
                return;
            };
            if self.engine.state(id) != State::Ready || client.input.is_empty() {
                break;
            }
            let len = len.min(client.input.len());
            let fed = self.engine.feed(id, &client.input[..len], self.now);
            client.input.drain(..fed.used);
            if fed.state == State::Running {
                self.running = Some(id);
            }
            if !fed.has_more || fed.used == 0 {
                break;
            }
        }
        self.read_replies();
    }

    fn feed_runnable(&mut self) {
        self.read_replies();
        loop {
            let runnable = self.engine.take_runnable();
            if runnable.is_empty() {
                break;
            }
            for id in runnable {
                self.feed(id, usize::MAX);
            }
        }
    }

    /// Holds back what a client is answered from here on.
    fn hold(&mut self, id: ClientId) {
        let outbox = self.engine.outbox(id).expect("it is connected");
        outbox.set_ready(outbox.position());
        self.held = Some((id, self.rng.below(4)));
    }

    fn holds(&self, id: ClientId) -> bool {
        self.held.is_some_and(|(held, _)| held == id)
    }

    /// Lets what was held back be sent, and read.
    fn release(&mut self) {
        let outbox = self.held.take().and_then(|(id, _)| self.engine.outbox(id));
        outbox.into_iter().for_each(|outbox| outbox.set_ready(u64::MAX));
        self.read_replies();
    }

    fn element(&mut self) -> String {
        self.elements += 1;
        format!("e{}", self.elements)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.below(from.len())]
    }

    /// A request, what its reply means, and the wait that it may begin.
    fn request(&mut self, at: usize) -> (Vec<String>, Means, Option<Wait>) {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<String>>();
        if self.clients[at].in_multi {
            if self.rng.below(4) == 0 {
                self.clients[at].in_multi = false;
                return (words("EXEC"), Means::Exec, None);
            }
        } else if self.rng.below(15) == 0 {
            self.clients[at].in_multi = true;
            return (words("MULTI"), Means::Other, None);
        }
        let in_multi = self.clients[at].in_multi;
        let (list, other) = (self.pick(&["q1", "q2", "q3"]), self.pick(&["q1", "q2", "q3"]));
        let (zset, key) = (self.pick(&["z1", "z2"]), self.pick(&["k1", "k2", "x1", "s1"]));
        let timeout = self.pick(&["0", "0.001", "0.0305", "0.2", "1"]);
        let (side, to) = (self.pick(&["LEFT", "RIGHT"]), self.pick(&["LEFT", "RIGHT"]));
        let number = self.rng.below(100);
        let waits = |keys: &[&str], kind| Wait {
            keys: keys.iter().map(|&key| key.to_owned()).collect(),
            kind,
            ends_us: Some(timeout)
                .filter(|timeout| *timeout != "0")
                .map(|text| (text.parse::<f64>().expect("a number") * 1000.0).ceil() as u64 * 1000),
            arrival: 0,
        };
        let (request, means, wait) = match self.rng.below(31) {
            0..=3 => {
                let command = self.pick(&["LPUSH", "RPUSH"]);
                let (a, b) = (self.element(), self.element());
                (format!("{command} {list} {a} {b}"), Means::Other, None)
            }
            4 => (format!("LPOP {list}"), Means::Pop, None),
            5 => (format!("RPOP {list} 2"), Means::Pop, None),
            6 => (format!("RPOPLPUSH {list} {other}"), Means::Other, None),
            7..=8 => (
                format!("BLPOP {list} {other} {timeout}"),
                Means::Pop,
                Some(waits(&[list, other], "list")),
            ),
            9 => (format!("BRPOP {list} {timeout}"), Means::Pop, Some(waits(&[list], "list"))),
            10..=11 => (
                format!("BLMOVE {list} {other} {side} {to} {timeout}"),
                Means::Other,
                Some(waits(&[list], "list")),
            ),
            12 => (
                format!("BLMPOP {timeout} 2 {list} {other} {side} COUNT 2"),
                Means::Pop,
                Some(waits(&[list, other], "list")),
            ),
            13 => (format!("ZADD {zset} {number} m{number}"), Means::Other, None),
            14..=15 => {
                (format!("BZPOPMIN {zset} {timeout}"), Means::Other, Some(waits(&[zset], "zset")))
            }
            16 => (format!("XADD x1 * f v{number}"), Means::Other, None),
            17 => {
                let millis = self.pick(&["0", "1", "31", "200"]);
                let mut wait = waits(&["x1"], "stream");
                let span = millis.parse::<u64>().expect("a number");
                wait.ends_us = (span > 0).then_some(span * 1000);
                (format!("XREAD BLOCK {millis} STREAMS x1 $"), Means::Other, Some(wait))
            }
            18 => (format!("SET {key} v{number} PX {}", 1 + number * 3), Means::Other, None),
            19 => (format!("PEXPIRE {key} {number}"), Means::Other, None),
            26..=27 => (format!("SET {key} {number}-{LONG}"), Means::Other, None),
            20 => (format!("DEL {key} z1"), Means::Other, None),
            21 => {
                let field = number % 4;
                let request = format!("HSET h1 f{number} {number} text{field} {number}-{LONG}");
                (request, Means::Other, None)
            }
            22 => (format!("SADD s1 {number} a{number}"), Means::Other, None),
            23 => {
                let command = self.pick(&["SPOP s1", "HDEL h1 f1 f2 f3", "ZPOPMAX z1", "INCR n1"]);
                (command.to_owned(), Means::Other, None)
            }
            24..=25 if self.rng.below(2) == 0 => self.of_group(number),
            24 if !in_multi => {
                let text = self.pick(&["WATCH k1 n1", "UNWATCH", "PERSIST k1", "RENAME k1 k2"]);
                (text.to_owned(), Means::Other, None)
            }
            28..=30 => (self.of_fields(number), Means::Other, None),
            _ => return (self.script(list), Means::Pop, None),
        };
        let wait = wait.filter(|_| !in_multi);
        (words(&request), means, wait)
    }

    /// What consumers of a group ask, and what changes it under them.
    fn of_group(&mut self, number: usize) -> (String, Means, Option<Wait>) {
        let (group, consumer) = (self.pick(&["g1", "g2"]), self.pick(&["c1", "c2"]));
        let options = self.pick(&["", "COUNT 2 ", "NOACK ", "COUNT 1 "]);
        let id = self.pick(&[">", ">", ">", "0"]);
        let first = REPLICA_NOW.wall_ms + 50 * number as i64;
        let request = match self.rng.below(16) {
            0..=6 => format!("XREADGROUP GROUP {group} {consumer} {options}STREAMS x1 {id}"),
            7 => format!("XAUTOCLAIM x1 {group} {consumer} {number} {first} COUNT 3"),
            8 => format!("XAUTOCLAIM x1 {group} {consumer} 0 - JUSTID"),
            9 => format!("XGROUP DELCONSUMER x1 {group} {consumer}"),
            10 => format!("XGROUP SETID x1 {group} {first} ENTRIESREAD {number}"),
            11 => format!("XTRIM x1 MINID {first} {}", self.pick(&["DELREF", "ACKED"])),
            12 if number < 20 => format!("XGROUP DESTROY x1 {group}"),
            13 => {
                let references = self.pick(&["KEEPREF", "DELREF", "ACKED"]);
                format!("XADD x1 {references} MAXLEN 5 * f v{number}")
            }
            _ => format!("XGROUP CREATE x1 {group} 0 MKSTREAM"),
        };
        (request, Means::Other, None)
    }

    /// What sets, takes or meets TTLs of fields; some hashes are large.
    fn of_fields(&mut self, number: usize) -> String {
        let (key, field) = (self.pick(&["h1", "h2"]), self.rng.below(4));
        let other = self.rng.below(4);
        match self.rng.below(14) {
            0..=3 => format!("HPEXPIRE {key} {number} FIELDS 2 f{field} f{other}"),
            4 => format!("HPEXPIRE {key} {} GT FIELDS 2 f{field} text{other}", 10 * number),
            5 => format!("HPERSIST {key} FIELDS 2 f{field} f{other}"),
            6 => format!("HSETEX {key} PX {number} FIELDS 2 f{field} {number} f{other} x"),
            7 => format!("HGETEX {key} PX {number} FIELDS 2 f{field} text{other}"),
            8 => format!("HGETDEL {key} FIELDS 1 f{field}"),
            9 => format!("HINCRBY {key} n{field} 1"),
            10 => format!("HSETNX {key} f{field} {number}"),
            11 => self.pick(&["COPY h1 h2 REPLACE", "RENAME h2 h1", "HGETALL h1"]).to_owned(),
            12 => {
                let pairs = (0..150).map(|at| format!("f{at} {at}")).collect::<Vec<_>>();
                format!("HSETEX h2 PX {} FIELDS 150 {}", 5 * number, pairs.join(" "))
            }
            _ => format!("HINCRBYFLOAT {key} n{field} 0.5"),
        }
    }

    fn script(&mut self, list: &str) -> Vec<String> {
        let (spin, element) = (self.pick(&["10", "10", "10", "900000"]), self.element());
        let source = format!(
            "redis.call('RPUSH', KEYS[1], ARGV[1]) for i = 1, {spin} do end \
             redis.call('SET', 'k1', 'script', 'PX', 50) return redis.call('LPOP', KEYS[1])"
        );
        vec!["EVAL".into(), source, "1".into(), list.into(), element]
    }

    /// Takes what clients were sent and holds it against what they asked.
    fn read_replies(&mut self) {
        // Of who waits it is asked at once whether it should.
        if self.held.is_some_and(|(id, _)| self.engine.state(id) != State::Ready) {
            return self.release();
        }
        let mut served: Vec<(Wait, Vec<String>)> = Vec::new();
        for at in 0..self.clients.len() {
            let id = self.clients[at].id;
            // The reply of an EXEC may have begun.
            if self.running == Some(id) {
                continue;
            }
            let bytes = match self.engine.outbox(id) {
                Some(outbox) => outbox.take(),
                None => continue,
            };
            assert!(bytes.is_empty() || !self.holds(id), "{} was sent what is held back", id.0);
            let mut rest = &bytes[..];
            while let Some((reply, len)) = Reply::decode(rest) {
                rest = &rest[len..];
                self.take_reply(at, reply, &mut served);
            }
            assert!(rest.is_empty(), "half a reply: {:?}", String::from_utf8_lossy(rest));
        }
        // Whoever still waits for a list that somebody was served from must have come later. Only
        // he who waits for several lists may be woken by one and, as in Redis, served from another.
        for (wait, keys) in
            served.iter().filter(|(wait, keys)| wait.keys.iter().all(|key| keys.contains(key)))
        {
            for client in &self.clients {
                let Some(other) = &client.wait else { continue };
                if self.world.hung_up.borrow().contains(&client.id) || other.kind == "stream" {
                    continue;
                }
                let shared = other.keys.iter().any(|key| keys.contains(key));
                assert!(
                    !shared || other.kind != wait.kind || other.arrival > wait.arrival,
                    "{} has waited for {keys:?} since {} and was passed over by one of {}",
                    client.id.0,
                    other.arrival,
                    wait.arrival
                );
            }
        }
        for at in 0..self.clients.len() {
            self.note_wait(at);
        }
    }

    fn take_reply(&mut self, at: usize, reply: Reply, served: &mut Vec<(Wait, Vec<String>)>) {
        let id = self.clients[at].id;
        let _ = writeln!(self.trail, "    {}< {}", id.0, notation::print(&reply, usize::MAX));
        let is_busy = matches!(&reply, Reply::Error(text) if text.starts_with(b"BUSY"));
        assert!(!is_busy || self.engine.is_busy() || self.running.is_none(), "BUSY for nothing");
        let client = &mut self.clients[at];
        assert!(!client.asked.is_empty(), "{} was answered what it had not asked", id.0);
        let (means, _) = client.asked.remove(0);
        let waited = client.wait.take();
        let has_left = self.world.hung_up.borrow().contains(&id);
        let mut popped = Vec::new();
        match (means, &reply) {
            (_, Reply::Simple(text)) if text == b"QUEUED" => client.queued.push(means),
            (Means::Exec, Reply::Array(replies)) => {
                for (means, reply) in std::mem::take(&mut client.queued).iter().zip(replies) {
                    if *means == Means::Pop {
                        collect_elements(reply, &mut popped);
                    }
                }
            }
            (Means::Exec, _) => client.queued.clear(),
            (Means::Pop, reply) => collect_elements(reply, &mut popped),
            _ => {}
        }
        if let Some(wait) = waited {
            match reply {
                Reply::Null | Reply::NullArray => {
                    let ends_us = wait.ends_us.expect("what waits for ever does not time out");
                    let due_us = mono_tick(ends_us) * MONO_TICK_US;
                    // While a script ran, nothing could be fired.
                    let late =
                        self.now.mono_us == self.slice_ended_us && due_us <= self.slice_ended_us;
                    assert!(
                        self.now.mono_us == due_us || late,
                        "{} timed out at {} and not at {due_us}",
                        id.0,
                        self.now.mono_us
                    );
                }
                _ => {
                    assert!(!has_left, "{} was served after it had left", id.0);
                    let keys = match &reply {
                        Reply::Array(items) => items.first().and_then(Reply::text),
                        _ => None,
                    };
                    let keys = match keys {
                        Some(key) => vec![String::from_utf8_lossy(&key).into_owned()],
                        None => wait.keys.clone(),
                    };
                    served.push((wait, keys));
                }
            }
        }
        for element in popped {
            let taken = self.pushed.entry(element.clone()).or_default();
            assert!(!*taken, "{element} was given to two clients");
            *taken = true;
        }
    }

    /// The first unanswered request of a parked client is what it waits for.
    fn note_wait(&mut self, at: usize) {
        let id = self.clients[at].id;
        if self.engine.state(id) != State::Parked || self.clients[at].wait.is_some() {
            return;
        }
        let client = &mut self.clients[at];
        let Some((_, Some(wait))) = client.asked.first() else {
            panic!("{} is parked and should not be", id.0);
        };
        self.arrivals += 1;
        let mut wait = wait.clone();
        wait.arrival = self.arrivals;
        wait.ends_us = wait.ends_us.map(|span_us| self.now.mono_us + span_us);
        client.wait = Some(wait);
    }

    fn check(&mut self) {
        // What a suspended EXEC has taken, its client has yet to be told.
        if self.running.is_some() {
            self.replay();
            return;
        }
        let mut in_lists: HashMap<String, usize> = HashMap::new();
        let keyspace = &self.engine.keyspace;
        for entry in keyspace.db(0).iter() {
            let key = String::from_utf8_lossy(&entry.key.text()).into_owned();
            let expires_ms = keyspace.db(0).expires_ms(entry);
            let overdue = expires_ms.is_some_and(|at_ms| at_ms < self.now.wall_ms);
            assert!(!overdue, "{key} outlived its time");
            let is_empty = match &entry.value {
                Value::Str(_) | Value::Stream(_) => false,
                Value::List(list) => list.is_empty(),
                Value::Hash(hash) => hash.is_empty(),
                Value::Set(set) => set.is_empty(),
                Value::Zset(zset) => zset.is_empty(),
                Value::Cold(_) => false,
            };
            assert!(!is_empty, "{key} is empty");
            if let Value::Hash(hash) = &entry.value {
                let overdue = hash.earliest_ms().is_some_and(|at_ms| at_ms < self.now.wall_ms);
                assert!(!overdue, "a field of {key} outlived its time");
            }
            if let Value::List(list) = &entry.value {
                for item in list.iter() {
                    let text = String::from_utf8_lossy(&item).into_owned();
                    *in_lists.entry(text).or_default() += 1;
                }
            }
        }
        for (element, count) in &in_lists {
            assert_eq!(*count, 1, "{element} is there {count} times");
            assert_ne!(self.pushed.get(element), Some(&true), "{element} is there and was popped");
            self.pushed.insert(element.clone(), false);
        }
        for (element, taken) in &self.pushed {
            let is_told = *taken || self.held.is_some();
            assert!(is_told || in_lists.contains_key(element), "{element} is lost");
        }
        for client in &self.clients {
            self.check_wait(client);
        }
        self.check_replica();
    }

    fn check_wait(&self, client: &Client) {
        let Some(wait) = &client.wait else { return };
        if self.world.hung_up.borrow().contains(&client.id) {
            return;
        }
        if let Some(ends_us) = wait.ends_us {
            let due_us = mono_tick(ends_us) * MONO_TICK_US;
            assert!(due_us > self.now.mono_us, "{} waits beyond its time", client.id.0);
        }
        let types: HashMap<Vec<u8>, &str> = self
            .engine
            .keyspace
            .db(0)
            .iter()
            .map(|entry| (entry.key.text().to_vec(), entry.value.type_name()))
            .collect();
        for key in &wait.keys {
            let could = wait.kind != "stream" && types.get(key.as_bytes()) == Some(&wait.kind);
            assert!(!could, "{} waits for {key}, which it could be served from", client.id.0);
        }
    }

    /// Has the replica run what the journal holds of units that have ended, in two parts: the cut
    /// is at the end of a unit, as it would be when one of the two dies.
    fn replay(&mut self) {
        let journal = &mut self.engine.keyspace.aftermath.journal;
        let bytes = journal.whole_units().0.to_vec();
        journal.forget_whole_units();
        let (mut in_multi, mut unit, mut ends) = (false, Vec::new(), vec![0]);
        for (end, words) in commands(&bytes) {
            let _ = writeln!(self.trail, "    journal: {}", words.join(" "));
            in_multi = if in_multi { words[0] != "EXEC" } else { words[0] == "MULTI" };
            let of_script = words.len() > 2 && words[1..3] == ["k1", "script"];
            let follows_push = unit.iter().any(|command| command == "RPUSH");
            assert!(follows_push || !of_script, "a script's effects stand in one unit");
            unit.push(words[0].clone());
            if !in_multi {
                ends.push(end);
                unit.clear();
            }
        }
        assert_eq!(ends.last(), Some(&bytes.len()), "a unit is whole");
        let cut = ends[self.rng.below(ends.len())];
        for mut part in [&bytes[..cut], &bytes[cut..]] {
            while !part.is_empty() {
                let fed = self.replica.feed(self.replica_client, part, REPLICA_NOW);
                part = &part[fed.used..];
            }
        }
        let outbox = self.replica.outbox(self.replica_client).expect("it stays");
        let replies = String::from_utf8_lossy(&outbox.take()).into_owned();
        assert!(!replies.contains("\r\n-") && !replies.starts_with('-'), "replica: {replies}");
    }

    /// Applies what the journal has heard since, and compares.
    fn check_replica(&mut self) {
        self.replay();
        let now = self.now;
        assert_eq!(
            dump(&mut self.engine, now),
            dump(&mut self.replica, now),
            "the replica differs"
        );
    }
}

/// Strings that are elements of the simulation's lists.
fn collect_elements(reply: &Reply, elements: &mut Vec<String>) {
    match reply {
        Reply::Bulk(text) => {
            let text = String::from_utf8_lossy(text);
            if text.strip_prefix('e').is_some_and(|rest| rest.parse::<u64>().is_ok()) {
                elements.push(text.into_owned());
            }
        }
        Reply::Array(items) => items.iter().for_each(|item| collect_elements(item, elements)),
        _ => {}
    }
}

/// All keys with type, value and time to live, by commands alone.
fn dump(engine: &mut Engine, now: Now) -> BTreeMap<String, String> {
    let id = engine.connect(Peer::inside(), now);
    let mut ask = |words: &[&[u8]]| {
        engine.run(id, Args::new(words), now);
        let outbox = engine.outbox(id).expect("it is connected");
        Reply::decode(&outbox.take()).expect("a reply").0
    };
    let Reply::Array(keys) = ask(&[b"KEYS", b"*"]) else { panic!("KEYS answers an array") };
    let mut dumped = BTreeMap::new();
    for key in keys {
        let key = key.text().expect("a key");
        let kind = ask(&[b"TYPE", &key]).text().expect("a type");
        let value = match &kind[..] {
            b"string" => ask(&[b"GET", &key]),
            b"list" => ask(&[b"LRANGE", &key, b"0", b"-1"]),
            b"hash" => {
                let all = sorted(ask(&[b"HGETALL", &key]), 2);
                let Reply::Array(pairs) = &all else { panic!("HGETALL answers an array") };
                let fields: Vec<_> = pairs.iter().step_by(2).filter_map(Reply::text).collect();
                let count = fields.len().to_string();
                let mut words = vec![&b"HPEXPIRETIME"[..], &key, b"FIELDS", count.as_bytes()];
                words.extend(fields.iter().map(|field| &field[..]));
                let expiries = ask(&words);
                Reply::Array(vec![all, expiries])
            }
            b"set" => sorted(ask(&[b"SMEMBERS", &key]), 1),
            b"zset" => ask(&[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"]),
            _ => Reply::Array(vec![
                ask(&[b"XRANGE", &key, b"-", b"+"]),
                without_times(ask(&[b"XINFO", b"STREAM", &key, b"FULL", b"COUNT", b"0"])),
            ]),
        };
        let expiry = ask(&[b"PEXPIRETIME", &key]);
        let key = String::from_utf8_lossy(&key).into_owned();
        dumped.insert(key, format!("{value:?} until {expiry:?}"));
    }
    engine.disconnect(id, now);
    dumped
}

/// What XINFO tells without times of deliveries, which the replica's clock bounds, and of when a
/// consumer asked, which no journal tells.
fn without_times(reply: Reply) -> Reply {
    match reply {
        Reply::Integer(at_ms) if at_ms >= REPLICA_NOW.wall_ms => Reply::Integer(0),
        Reply::Array(items) => {
            let is_time = |at: usize| {
                at > 0
                    && items[at - 1]
                        .text()
                        .is_some_and(|name| matches!(&name[..], b"seen-time" | b"active-time"))
            };
            let kept = (0..items.len()).filter(|&at| !is_time(at));
            Reply::Array(kept.map(|at| without_times(items[at].clone())).collect())
        }
        other => other,
    }
}

/// A reply whose groups of `width` items come in no order.
fn sorted(reply: Reply, width: usize) -> Reply {
    let Reply::Array(items) = reply else { return reply };
    let mut groups: Vec<&[Reply]> = items.chunks(width).collect();
    groups.sort_by_key(|group| format!("{group:?}"));
    Reply::Array(groups.concat())
}

struct WriteInto<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for WriteInto<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Runs one seed; how many values were met at rest, or what went wrong and how it came to that.
fn run(seed: u64, fault: Option<Fault>) -> Result<usize, String> {
    let mut sim = Sim::new(seed, fault);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..STEPS {
            sim.step();
        }
    }));
    outcome.map(|()| sim.rested).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        let lines: Vec<&str> = sim.trail.lines().collect();
        let shown = if std::env::var("TORIL_SIM_SEED").is_ok() { lines.len() } else { 40 };
        let last = lines[lines.len().saturating_sub(shown)..].join("\n");
        format!("seed {seed}: {}\n{last}", text.unwrap_or_default())
    })
}

#[test]
fn nothing_is_lost_and_nobody_waits_in_vain() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let count = number("TORIL_SIM_SEEDS").unwrap_or(SEEDS);
    let seeds = number("TORIL_SIM_SEED").map_or(0..count, |seed| seed..seed + 1);
    let mut rested = 0;
    for seed in seeds.clone() {
        match run(seed, None) {
            Ok(more) => rested += more,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(seeds.count() == 1 || rested > 1_000, "only {rested} values were met at rest");
}

/// How many of some seeds see a fault; what they say is not printed.
fn seen(fault: Fault) -> usize {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let seen = (0..200).filter(|&seed| run(seed, Some(fault)).is_err()).count();
    std::panic::set_hook(hook);
    seen
}

#[test]
fn broken_engines_are_caught() {
    for fault in [Fault::DropsWakes, Fault::ServesLastFirst, Fault::KeepsDeadlines] {
        assert!(seen(fault) > 0, "{fault:?} went unseen");
    }
}
