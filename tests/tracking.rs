//! Client-side caching against a naive model: clients that keep what they read until they are told
//! to forget it, and others that write, with transactions, scripts, waits, expiry and flushes among
//! it. At the end of each turn nothing that a client keeps may differ from what the server has.
//!
//! A failure names its seed; `TORIL_TRACKING_SEED=17 cargo test --test tracking` runs that one and
//! prints what was sent.

mod common;

use common::compare::Dialect;
use common::inside::InsideServer;
use common::reply::Reply;
use common::run::Server;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use toril::util::rng::Rng;

const SEEDS: u64 = 300;
const STEPS: usize = 250;
/// Those that keep copies, one for each of `MODES`.
const READERS: usize = MODES.len();
const WRITERS: usize = 2;
/// Looks at what the server has, and tracks nothing.
const JUDGE: usize = READERS + WRITERS;

const KEYS: [&str; 6] = ["a1", "a2", "b1", "b2", "l1", "l2"];

/// How each reader tracks, as CLIENT TRACKING is told it.
const MODES: [&str; 8] = [
    "",
    "NOLOOP",
    "OPTIN",
    "OPTIN NOLOOP",
    "OPTOUT",
    "BCAST",
    "BCAST NOLOOP",
    "BCAST PREFIX a PREFIX l NOLOOP",
];

/// A request on its way: what its reply means to the client that sent it.
#[derive(Clone, Debug)]
enum Asked {
    /// A read of these keys, and whether the reply may be kept.
    Read {
        words: Vec<String>,
        keys: Vec<String>,
        is_kept: bool,
    },
    /// It may change these keys.
    Write {
        keys: Vec<String>,
    },
    /// It changes and reads nothing.
    Other,
    Exec(Vec<Asked>),
}

#[derive(Default)]
struct Client {
    asked: VecDeque<Asked>,
    /// Requests with the keys that they read, and the replies.
    cache: BTreeMap<Vec<String>, (Vec<String>, Reply)>,
}

impl Client {
    fn forget(&mut self, key: &str) {
        self.cache.retain(|_, (keys, _)| !keys.iter().any(|read| read == key));
    }
}

struct Sim {
    server: InsideServer,
    rng: Rng,
    clients: Vec<Client>,
    /// Copies that were compared with the server's values, and messages that came.
    compared: usize,
    told: usize,
    is_loud: bool,
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn text(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(bytes) | Reply::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("{other:?} is no text"),
    }
}

impl Sim {
    fn new(seed: u64) -> Self {
        let mut sim = Self {
            server: InsideServer::new(Dialect::Resp3),
            rng: Rng::from_seed(seed),
            clients: Vec::new(),
            compared: 0,
            told: 0,
            is_loud: std::env::var("TORIL_TRACKING_SEED").is_ok(),
        };
        sim.clients.resize_with(JUDGE + 1, Client::default);
        if seed.is_multiple_of(3) {
            sim.send(JUDGE, &["CONFIG SET tracking-table-max-keys 3".into()], vec![Asked::Other]);
        }
        for (at, mode) in MODES.iter().enumerate() {
            sim.send(at, &[format!("CLIENT TRACKING ON {mode}")], vec![Asked::Other]);
        }
        // Another database: a key is the same key there, and its copies go in vain.
        sim.send(READERS, &["SELECT 1".into()], vec![Asked::Other]);
        sim
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.rng.below(from.len())]
    }

    /// Sends requests in one write.
    fn send(&mut self, at: usize, lines: &[String], asked: Vec<Asked>) {
        if self.is_loud {
            println!("{at} {} > {}", MODES.get(at).unwrap_or(&""), lines.join(" ; "));
        }
        self.clients[at].asked.extend(asked);
        let requests: Vec<Vec<Vec<u8>>> = lines
            .iter()
            .map(|line| words(line).into_iter().map(String::into_bytes).collect())
            .collect();
        self.server.send(at, &requests);
    }

    /// Has every client take what it was sent.
    fn take_all(&mut self) {
        while let Some((at, reply)) = self.server.leftover() {
            if self.is_loud {
                println!("{at} < {reply:?}");
            }
            match reply {
                Reply::Push(push) => self.hear(at, &push),
                reply => {
                    let asked = self.clients[at].asked.pop_front().expect("it was asked");
                    self.learn(at, asked, reply);
                }
            }
        }
    }

    fn hear(&mut self, at: usize, push: &[Reply]) {
        assert_eq!(text(&push[0]), "invalidate");
        self.told += 1;
        match &push[1] {
            Reply::Null => self.clients[at].cache.clear(),
            Reply::Array(keys) => keys.iter().for_each(|key| self.clients[at].forget(&text(key))),
            other => panic!("{other:?} names no keys"),
        }
    }

    fn learn(&mut self, at: usize, asked: Asked, reply: Reply) {
        let client = &mut self.clients[at];
        match (asked, reply) {
            (Asked::Read { words, keys, is_kept: true }, reply) => {
                client.cache.insert(words, (keys, reply));
            }
            (Asked::Write { keys }, _) if MODES.get(at).is_some_and(|it| it.contains("NOLOOP")) => {
                keys.iter().for_each(|key| client.forget(key));
            }
            (Asked::Exec(parts), Reply::Array(replies)) => {
                assert_eq!(parts.len(), replies.len());
                for (part, reply) in parts.into_iter().zip(replies) {
                    self.learn(at, part, reply);
                }
            }
            _ => {}
        }
    }

    /// Nothing that is kept is stale. The judge's looks change nothing but what has expired.
    fn check(&mut self) {
        let kept: BTreeSet<Vec<String>> =
            self.clients.iter().flat_map(|client| client.cache.keys().cloned()).collect();
        for request in kept {
            let bytes = request.iter().map(|word| word.clone().into_bytes()).collect();
            self.server.send(JUDGE, &[bytes]);
            let fresh = self.server.receive(JUDGE, true);
            for (at, client) in self.clients.iter().enumerate() {
                let Some((_, copy)) = client.cache.get(&request) else { continue };
                self.compared += 1;
                assert_eq!(copy, &fresh, "client {at} ({}) kept {request:?}", MODES[at]);
            }
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0 => {
                let span = [1, 20, 300][self.rng.below(3)];
                if self.is_loud {
                    println!("{span} ms pass");
                }
                self.server.advance(Duration::from_millis(span));
            }
            1 => {
                let at = self.rng.below(JUDGE);
                let flush = self.pick(&["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"]).to_owned();
                self.write_of(at, flush, &KEYS);
            }
            2..6 => {
                let at = READERS + self.rng.below(WRITERS);
                let (line, keys) = self.write();
                self.send(at, &[line], vec![Asked::Write { keys }]);
            }
            6..8 => {
                let at = self.rng.below(READERS);
                let (line, keys) = self.write();
                self.send(at, &[line], vec![Asked::Write { keys }]);
            }
            8 => self.transact(),
            9 => self.run_script(),
            10 => self.pipeline(),
            _ => {
                let at = self.rng.below(READERS);
                let (lines, asked) = self.read(at);
                self.send(at, &lines, asked);
            }
        }
        self.take_all();
        self.check();
    }

    fn write_of(&mut self, at: usize, line: String, keys: &[&str]) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        self.send(at, &[line], vec![Asked::Write { keys }]);
    }

    /// A change, and the keys that it may change.
    fn write(&mut self) -> (String, Vec<String>) {
        let (text, other) = (self.pick(&KEYS[..4]), self.pick(&KEYS[..4]));
        let (list, target) = (self.pick(&KEYS[4..]), self.pick(&KEYS[4..]));
        let any = self.pick(&KEYS);
        let number = self.rng.below(1000);
        let (line, keys): (String, &[&str]) = match self.rng.below(18) {
            0..3 => (format!("SET {text} {number}"), &[text]),
            3 => (format!("SET {text} {number} PX {}", 1 + number), &[text]),
            4 => (format!("MSET {text} {number} {other} {number}"), &[text, other]),
            5 => (format!("INCR {text}"), &[text]),
            6 => (format!("DEL {any} {text}"), &[any, text]),
            7 => (format!("PEXPIRE {any} {}", number as i64 - 100), &[any]),
            8 => (format!("PERSIST {any}"), &[any]),
            9 => (format!("RENAME {text} {other}"), &[text, other]),
            10 => (format!("COPY {text} {other} REPLACE"), &[other]),
            11 => (format!("RPUSH {list} {number}"), &[list]),
            12 => (format!("LPOP {list}"), &[list]),
            13 => (format!("LMOVE {list} {target} LEFT RIGHT"), &[list, target]),
            14 => (format!("SORT {list} STORE {target}"), &[target]),
            15 => (format!("SETRANGE {text} 0 {number}"), &[text]),
            16 => (format!("GETDEL {text}"), &[text]),
            _ => (format!("MOVE {any} 1"), &[any]),
        };
        (line, keys.iter().map(|&key| key.to_owned()).collect())
    }

    /// A read, with what the client's mode wants said before it.
    fn read(&mut self, at: usize) -> (Vec<String>, Vec<Asked>) {
        let (text, other) = (self.pick(&KEYS[..4]), self.pick(&KEYS[..4]));
        let (list, any) = (self.pick(&KEYS[4..]), self.pick(&KEYS));
        let (line, keys): (String, &[&str]) = match self.rng.below(7) {
            0..3 => (format!("GET {text}"), &[text]),
            3 => (format!("MGET {text} {other}"), &[text, other]),
            4 => (format!("EXISTS {any} {text}"), &[any, text]),
            5 => (format!("LRANGE {list} 0 -1"), &[list]),
            _ => (format!("TYPE {any}"), &[any]),
        };
        let says = self.rng.below(2) == 0;
        let (before, is_kept) = match MODES[at].split(' ').next() {
            Some("OPTIN") => (says.then_some("CLIENT CACHING YES"), says),
            Some("OPTOUT") => (says.then_some("CLIENT CACHING NO"), !says),
            // Keys without the prefix are nobody's business.
            _ if MODES[at].contains("PREFIX a") => {
                (None, keys.iter().all(|key| !key.starts_with('b')))
            }
            _ => (None, true),
        };
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        let read = Asked::Read { words: words(&line), keys, is_kept };
        match before {
            Some(before) => (vec![before.into(), line], vec![Asked::Other, read]),
            None => (vec![line], vec![read]),
        }
    }

    fn transact(&mut self) {
        let at = self.rng.below(READERS);
        let (mut lines, mut asked, mut parts) =
            (vec!["MULTI".to_owned()], vec![Asked::Other], Vec::new());
        // Not in a mode in which CACHING decides: it holds to the transaction's end.
        let may_keep = !MODES[at].starts_with("OPT");
        for _ in 0..1 + self.rng.below(4) {
            let (line, part) = if self.rng.below(2) == 0 {
                let (line, keys) = self.write();
                (line, Asked::Write { keys })
            } else {
                let (mut lines, mut asked) = self.read(at);
                let part = match asked.pop().expect("a read") {
                    Asked::Read { words, keys, is_kept } => {
                        Asked::Read { words, keys, is_kept: is_kept && may_keep }
                    }
                    other => other,
                };
                (lines.pop().expect("a read"), part)
            };
            lines.push(line);
            asked.push(Asked::Other);
            parts.push(part);
        }
        lines.push("EXEC".into());
        asked.push(Asked::Exec(parts));
        self.send(at, &lines, asked);
    }

    /// A script that writes, then reads what its caller keeps.
    fn run_script(&mut self) {
        let at = self.rng.below(READERS);
        let (text, other) = (self.pick(&KEYS[..4]), self.pick(&KEYS[..4]));
        let number = self.rng.below(1000);
        let source = format!(
            "redis.call('set',KEYS[2],{number})redis.pcall('get',KEYS[1])return(redis.call('get',\
             KEYS[1]))"
        );
        let line = format!("EVAL {source} 2 {text} {other}");
        let is_unheard = MODES[at].contains("PREFIX a") && text.starts_with('b');
        let is_kept = !is_unheard && !MODES[at].starts_with("OPT");
        let keys = vec![text.to_owned()];
        // The write came first, so the copy is good.
        let read = Asked::Read { words: words(&format!("GET {text}")), keys, is_kept };
        if MODES[at].contains("NOLOOP") {
            self.clients[at].forget(other);
        }
        self.send(at, &[line], vec![read]);
    }

    /// Several requests of one client in one turn.
    fn pipeline(&mut self) {
        let at = self.rng.below(READERS);
        let (mut lines, mut asked) = (Vec::new(), Vec::new());
        for _ in 0..2 + self.rng.below(4) {
            if self.rng.below(2) == 0 {
                let (line, keys) = self.write();
                lines.push(line);
                asked.push(Asked::Write { keys });
            } else {
                let (more, of_them) = self.read(at);
                lines.extend(more);
                asked.extend(of_them);
            }
        }
        self.send(at, &lines, asked);
    }
}

fn run(seed: u64) -> (usize, usize) {
    let mut sim = Sim::new(seed);
    sim.take_all();
    for _ in 0..STEPS {
        sim.step();
    }
    (sim.compared, sim.told)
}

#[test]
fn no_copy_is_stale_at_the_end_of_a_turn() {
    let seeds = match std::env::var("TORIL_TRACKING_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("a number"),
        Err(_) => 0..SEEDS,
    };
    let (mut compared, mut told) = (0, 0);
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        let (more_compared, more_told) = outcome.unwrap_or_else(|_| panic!("seed {seed}"));
        compared += more_compared;
        told += more_told;
    }
    println!("{compared} copies compared, {told} messages");
    assert!(compared > 1000 && told > 100);
}
