//! Random requests, made by the table's own syntax, to toril and to Redis 7.4.1 side by side: each
//! reply must be the same, and at the end of each episode each key.
//!
//! An episode is some hundred requests of a few clients on empty servers, and follows from its
//! seed. One that ends in a difference is told again with as few requests as show it.
//!
//! ```text
//! cargo test --test differential              what CI runs
//! cargo test --test differential -- 17        the episode of seed 17
//! cargo test --test differential -- 0 10000   so many, from that one on
//! ```
//!
//! docs/differences.md lists where toril answers otherwise on purpose.

#[path = "../common/mod.rs"]
mod common;
mod grammar;
mod sameness;
mod users;
mod values;

use common::compare::Dialect;
use common::notation;
use common::reply::Reply;
use common::tcp::{self, TcpServer};
use common::transcript::Target;
use grammar::{Made, Node};
use sameness::Sameness;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use toril::command::table::table;
use toril::engine::row::{Category, Flag};
use toril::engine::table::Found;
use toril::util::rng::Rng;
use values::Pool;

const EPISODES: u64 = 500;
const REQUESTS_PER_EPISODE: usize = 400;
const CLIENTS: usize = 3;
/// A request has this long to be answered or parked.
const UNTIL_PARKED: Duration = Duration::from_secs(5);
/// Longer than the time that `expiry` leaves a key.
const MOMENT: Duration = Duration::from_millis(4);
/// Tries to leave requests out of an episode that ends in a difference.
const SHRINKS_MAX: usize = 400;

/// A request, who sends it, and how its reply is compared.
#[derive(Clone)]
struct Step {
    client: usize,
    words: Vec<Vec<u8>>,
    sameness: Sameness,
    may_park: bool,
    /// A moment passes before it.
    is_later: bool,
}

impl Step {
    /// A request whose replies are the same, and in which nobody waits.
    fn of(client: usize, words: Vec<Vec<u8>>) -> Self {
        Self { client, words, sameness: Sameness::Exact, may_park: false, is_later: false }
    }

    fn plain(client: usize, words: &[&[u8]]) -> Self {
        Self::of(client, words.iter().map(|word| word.to_vec()).collect())
    }
}

/// A command that is tried.
struct Candidate {
    found: Found,
    syntax: Node,
    sameness: Sameness,
    pool: Pool,
}

fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|it| it.parse().ok()).collect();
    let (first, count) = match numbers[..] {
        [] => (0, EPISODES),
        [seed] => (seed, 1),
        [first, count, ..] => (first, count),
    };
    let Some(redis) = tcp::oracle("redis-7.4") else {
        println!("differential: NOT RUN: redis-7.4 is missing: tests/oracles.sh installs it");
        return ExitCode::SUCCESS;
    };
    let toril = Path::new(env!("CARGO_BIN_EXE_toril"));
    let candidates = candidates();
    let (mut differences, mut parked) = (0, 0);
    for dialect in [Dialect::Resp2, Dialect::Resp3] {
        let mut pair = Pair {
            toril: TcpServer::start(toril, Target::Toril, dialect),
            redis: TcpServer::start(&redis, Target::Redis74, dialect),
            parked_count: 0,
        };
        // Each seed has its protocol.
        let is_resp3 = dialect == Dialect::Resp3;
        for seed in (first..first + count).filter(|seed| (seed % 2 == 1) == is_resp3) {
            let steps = episode(seed, &candidates);
            if pair.play(&steps).is_none() {
                continue;
            }
            differences += 1;
            let steps = pair.shrink(steps);
            println!("\nseed {seed}, {dialect:?}:");
            for step in &steps {
                println!("{}", shown(step));
            }
            println!("{}", pair.play(&steps).unwrap_or_else(|| "not seen again".to_owned()));
        }
        parked += pair.parked_count;
    }
    let requests = count * REQUESTS_PER_EPISODE as u64;
    println!(
        "\n{requests} requests of {} commands, {parked} of them parked: {differences} differences",
        candidates.len()
    );
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn candidates() -> Vec<Candidate> {
    let found: Vec<Found> = table().all().collect();
    found.into_iter().filter_map(candidate).collect()
}

fn candidate(found: Found) -> Option<Candidate> {
    let row = found.row;
    let prefix = match found.category {
        Category::String => 's',
        Category::List => 'l',
        Category::Hash => 'h',
        Category::Set => 'e',
        Category::Zset => 'z',
        Category::Stream => 'x',
        Category::Generic => '*',
        Category::Bitmap => 'b',
        Category::HyperLogLog => 'p',
        Category::Geo => 'g',
        _ => return None,
    };
    let acts_on_keys = [Flag::Read, Flag::Write].into_iter().any(|flag| row.flags.has(flag));
    let is_newer = row.since.starts_with('8');
    let is_left_out =
        row.is_container() || !acts_on_keys || is_newer || LEFT_OUT.contains(&row.name);
    let sameness = Sameness::of(&found).filter(|_| !is_left_out)?;
    let syntax = Node::parse(row.syntax).without(&NEWER)?;
    Some(Candidate { found, syntax, sameness, pool: Pool { prefix } })
}

/// Options that Redis 7.4 does not know.
const NEWER: [&str; 7] = ["ACKED", "ANDOR", "DELREF", "DIFF", "DIFF1", "KEEPREF", "ONE"];

const SORTS: [&str; 2] = ["sort", "sort_ro"];

/// Random in what they do, not in their reply alone; told by a clock or a cursor; or tried by tests
/// of their own.
const LEFT_OUT: [&str; 12] = [
    "spop",
    "randomkey",
    "scan",
    "hscan",
    "sscan",
    "zscan",
    "restore",
    "dump",
    "migrate",
    "xpending",
    "pfselftest",
    "pfdebug",
];

fn episode(seed: u64, candidates: &[Candidate]) -> Vec<Step> {
    let mut rng = Rng::from_seed(seed);
    let mut steps = Vec::new();
    // One client of every third episode is a user's who may not do everything.
    let has_user = seed.is_multiple_of(3);
    if has_user {
        users::log_in(candidates, &mut rng, &mut steps);
    }
    while steps.len() < REQUESTS_PER_EPISODE {
        if has_user && rng.below(25) == 0 {
            users::change(candidates, &mut rng, &mut steps);
        }
        let client = 1 + rng.below(CLIENTS);
        if client > 1 && rng.below(20) == 0 {
            steps.push(request(client, candidates, &mut rng, Wanted::Waiting));
        } else if rng.below(30) == 0 {
            transaction(client, candidates, &mut rng, &mut steps);
        } else if rng.below(60) == 0 {
            expiry(client, &mut rng, &mut steps);
        } else {
            let step = request(client, candidates, &mut rng, Wanted::Plain);
            steps.push(if rng.below(10) == 0 { scripted(step) } else { step });
        }
    }
    steps
}

fn transaction(client: usize, candidates: &[Candidate], rng: &mut Rng, steps: &mut Vec<Step>) {
    steps.push(Step::plain(client, &[b"MULTI"]));
    for _ in 0..rng.below(5) {
        let mut step = request(client, candidates, rng, Wanted::InTransaction);
        step.sameness = Sameness::Exact;
        steps.push(step);
    }
    let ends: [&[u8]; 4] = [b"EXEC", b"EXEC", b"EXEC", b"DISCARD"];
    steps.push(Step::plain(client, &[ends[rng.below(4)]]));
}

/// A key whose time has come a moment later. Redis removes it at the latest when somebody looks for
/// it; here it has gone by itself.
fn expiry(client: usize, rng: &mut Rng, steps: &mut Vec<Step>) {
    let pool = Pool { prefix: ['s', 'l', 'h', 'e', 'z', 'x'][rng.below(6)] };
    let key = values::make("key", &pool, rng);
    steps.push(Step::plain(client, &[b"PEXPIRE", &key, b"1"]));
    steps.push(Step { is_later: true, ..Step::plain(client, &[b"EXISTS", &key]) });
}

/// Where a request stands.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Plain,
    InTransaction,
    /// Its client may be parked by it, for as long as nobody wakes it.
    Waiting,
}

fn request(client: usize, candidates: &[Candidate], rng: &mut Rng, wanted: Wanted) -> Step {
    loop {
        let candidate = &candidates[rng.below(candidates.len())];
        let waits = candidate.found.row.flags.has(Flag::Blocking);
        // In a transaction nobody waits; and replies in any order would lie in EXEC's.
        let fits = match wanted {
            Wanted::Plain => !waits,
            Wanted::InTransaction => {
                let is_sorted = SORTS.contains(&candidate.found.row.name);
                candidate.sameness == Sameness::Exact && !is_sorted
            }
            Wanted::Waiting => waits,
        };
        if !fits {
            continue;
        }
        let mut pool = candidate.pool;
        if pool.prefix == '*' {
            pool.prefix = ['s', 'l', 'h', 'e', 'z', 'x'][rng.below(6)];
        }
        let is_lexical = candidate.found.row.name.contains("lex");
        let may_be_lexical = ["zadd", "zrange"].contains(&candidate.found.row.name);
        if is_lexical || may_be_lexical && rng.below(4) == 0 {
            pool.prefix = values::SAME_SCORES;
        }
        let mut made: Vec<Made> = Vec::new();
        candidate.syntax.make(&pool, rng, &mut made);
        grammar::agree(&mut made, &pool, rng);
        let mut sameness = candidate.sameness;
        if SORTS.contains(&candidate.found.row.name) && made.iter().any(|it| it.text == b"BY") {
            // Elements of equal weight come as they lie in a hash table: in the reply alone.
            sameness = Sameness::AnyOrder;
            made.truncate(made.iter().position(|it| it.text == b"STORE").unwrap_or(made.len()));
            if let Some(at) = made.iter().position(|it| it.text == b"LIMIT") {
                made.drain(at..at + 3);
            }
        }
        if candidate.found.row.name == "pfmerge" && made.len() == 1 {
            // Redis does not ask then whether a user may write the key.
            made.push(made[0].clone());
        }
        if wanted == Wanted::Waiting {
            let spans =
                made.iter_mut().filter(|it| ["timeout", "milliseconds"].contains(&&*it.kind));
            spans.for_each(|it| it.text = b"0".to_vec());
        }
        let name = candidate.found.full_name().to_uppercase();
        let mut words: Vec<Vec<u8>> = name.split('|').map(|it| it.as_bytes().to_vec()).collect();
        words.extend(made.into_iter().map(|made| made.text));
        return Step { sameness, may_park: wanted == Wanted::Waiting, ..Step::of(client, words) };
    }
}

/// The same request, made by a script.
fn scripted(mut step: Step) -> Step {
    let call: [&[u8]; 3] = [b"EVAL", b"return redis.pcall(unpack(ARGV))", b"0"];
    step.words.splice(0..0, call.map(<[u8]>::to_vec));
    step
}

fn shown(step: &Step) -> String {
    let client = if step.client == 1 { String::new() } else { step.client.to_string() };
    let words: Vec<String> = step
        .words
        .iter()
        .map(|word| {
            let is_plain = !word.is_empty() && word.iter().all(|it| it.is_ascii_graphic());
            let text = word.escape_ascii().to_string();
            if is_plain { text } else { format!("\"{text}\"") }
        })
        .collect();
    format!("{client}> {}", words.join(" "))
}

/// Both servers.
struct Pair {
    toril: TcpServer,
    redis: TcpServer,
    /// How often a client was parked.
    parked_count: u64,
}

impl Pair {
    /// Plays an episode on empty servers; tells of the first difference.
    fn play(&mut self, steps: &[Step]) -> Option<String> {
        for server in [&mut self.toril, &mut self.redis] {
            server.begin_anew();
            server.ask(&["ACL", "DELUSER", users::NAME]);
        }
        // Who waits, and sends nothing meanwhile.
        let mut parked: Vec<usize> = Vec::new();
        for step in steps {
            if parked.contains(&step.client) {
                continue;
            }
            if step.is_later {
                std::thread::sleep(MOMENT);
            }
            let difference = match step.may_park && self.parks(step, parked.len()) {
                true => {
                    parked.push(step.client);
                    self.parked_count += 1;
                    self.compare_parked(&mut parked)
                }
                false => {
                    if !step.may_park {
                        self.send(step.client, &step.words);
                    }
                    let [toril, redis] = self.replies(step.client);
                    let is_same = step.sameness.holds(&toril, &redis);
                    let difference = (!is_same).then(|| told(&toril, &redis));
                    difference.or_else(|| self.compare_parked(&mut parked))
                }
            };
            if let Some(difference) = difference {
                return Some(format!("{}\n{difference}", shown(step)));
            }
        }
        self.compare_keys()
    }

    fn ask(&mut self, client: usize, words: &[Vec<u8>]) -> [Reply; 2] {
        self.send(client, words);
        self.replies(client)
    }

    fn send(&mut self, client: usize, words: &[Vec<u8>]) {
        [&mut self.toril, &mut self.redis].into_iter().for_each(|it| it.send_to(client, words));
    }

    fn replies(&mut self, client: usize) -> [Reply; 2] {
        [&mut self.toril, &mut self.redis].map(|server| server.reply_of(client))
    }

    /// Sends a request; whether Redis parks its client.
    fn parks(&mut self, step: &Step, parked: usize) -> bool {
        self.send(step.client, &step.words);
        let deadline = Instant::now() + UNTIL_PARKED;
        while Instant::now() < deadline {
            if self.redis.blocked() > parked {
                return true;
            }
            if self.redis.has_reply(step.client) {
                return false;
            }
        }
        false
    }

    /// Reads what has come to parked clients; tells of the first difference.
    fn compare_parked(&mut self, parked: &mut Vec<usize>) -> Option<String> {
        if parked.is_empty() {
            return None;
        }
        let redis = self.redis.blocked();
        let mut toril = self.toril.blocked();
        // What was sent to two sockets may be read in another order.
        let deadline = Instant::now() + UNTIL_PARKED;
        while toril != redis && Instant::now() < deadline {
            toril = self.toril.blocked();
        }
        if toril != redis {
            return Some(format!("parked: toril {toril}, redis {redis}"));
        }
        let mut at = 0;
        while parked.len() > redis && at < parked.len() {
            let client = parked[at];
            let reply = self.redis.reply_to_parked(client);
            if reply == Reply::Nothing {
                at += 1;
                continue;
            }
            let toril = self.toril.reply_of(client);
            if toril != reply {
                return Some(format!("to client {client}\n{}", told(&toril, &reply)));
            }
            parked.remove(at);
        }
        (parked.len() != redis).then(|| "nobody was answered who is no longer parked".to_owned())
    }

    fn compare_keys(&mut self) -> Option<String> {
        let keys = self.ask(1, &[b"KEYS".to_vec(), b"*".to_vec()]);
        if !Sameness::AnyOrder.holds(&keys[0], &keys[1]) {
            return Some(format!("KEYS *\n{}", told(&keys[0], &keys[1])));
        }
        let Reply::Array(keys) = &keys[0] else { return None };
        for key in keys.iter().filter_map(Reply::text) {
            for (command, sameness) in STATE {
                let mut words: Vec<Vec<u8>> =
                    command.split(' ').map(|word| word.as_bytes().to_vec()).collect();
                words.push(key.clone());
                let [toril, redis] = self.ask(1, &words);
                if !sameness.holds(&toril, &redis) {
                    let key = key.escape_ascii();
                    return Some(format!("{command} {key}\n{}", told(&toril, &redis)));
                }
            }
        }
        None
    }

    /// The episode without what its difference does not need.
    fn shrink(&mut self, mut steps: Vec<Step>) -> Vec<Step> {
        let mut size = steps.len() / 2;
        let mut tries = 0;
        while size > 0 && tries < SHRINKS_MAX {
            let mut at = 0;
            while at < steps.len() && tries < SHRINKS_MAX {
                let mut fewer = steps.clone();
                fewer.drain(at..(at + size).min(steps.len()));
                tries += 1;
                if self.play(&fewer).is_some() {
                    steps = fewer;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        steps
    }
}

/// What is compared of each key that is left.
const STATE: [(&str, Sameness); 4] = [
    ("TYPE", Sameness::Exact),
    ("OBJECT ENCODING", Sameness::Exact),
    ("PTTL", Sameness::About),
    ("DEBUG DIGEST-VALUE", Sameness::Exact),
];

fn told(toril: &Reply, redis: &Reply) -> String {
    let print = |reply| notation::print(reply, 100);
    format!("toril: {}\nredis: {}", print(toril), print(redis))
}
