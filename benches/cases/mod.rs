//! What the parts of a job do, in process: no socket, no kernel. `engine.rs` takes their time,
//! `instructions.rs` counts their instructions.

pub mod bullmq;
#[path = "../../tests/common/facts.rs"]
mod facts;

use facts::FixedFacts;
use std::hint::black_box;
use toril::command::table::table;
use toril::config::{Config, Limits};
use toril::data::Zset;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;
use toril::proto::request::{Batch, Parsed, Parser, RequestLimits};
use toril::util::rng::Rng;
use toril::util::wheel::Wheel;

/// Whoever measures: runs what it is given as often as it likes.
pub trait Measure {
    fn case(&mut self, name: &str, run: &mut dyn FnMut());

    /// Whether it is worth to prepare this case, where that takes long.
    fn wants(&self, _: &str) -> bool {
        true
    }
}

pub fn all(measure: &mut dyn Measure) {
    parsing(measure);
    commands(measure);
    scripts(measure);
    bullmq::cases(measure);
    timers(measure);
    sorted_sets(measure);
}

const NOW: Now = Now::new(1_790_000_000_000, 1_000_000);

fn request(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

fn engine() -> (Engine, ClientId) {
    let mut engine = Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), NOW);
    let id = engine.connect(Peer::inside(), NOW);
    (engine, id)
}

/// Feeds a request and takes the reply.
fn ask(engine: &mut Engine, id: ClientId, bytes: &[u8]) -> Vec<u8> {
    engine.feed(id, bytes, NOW);
    let outbox = engine.outbox(id).expect("it is connected");
    outbox.take()
}

/// Feeds a request and forgets the reply, and what others were told.
fn feed(engine: &mut Engine, id: ClientId, bytes: &[u8]) {
    engine.feed(id, bytes, NOW);
    while let Some(id) = engine.next_dirty() {
        let outbox = engine.outbox(id).expect("it is connected");
        let len = black_box(outbox.pending()).len();
        outbox.consume(len);
    }
}

fn parsing(measure: &mut dyn Measure) {
    let limits = RequestLimits::authenticated(1 << 20);
    let mut parse = |name: &str, bytes: Vec<u8>| {
        let mut parser = Parser::default();
        let mut spare = Batch::default();
        measure.case(name, &mut || {
            let mut batch = std::mem::take(&mut spare).recycle();
            let found = parser.find(black_box(&bytes), limits, &mut batch);
            assert!(matches!(found, Parsed::Request(_)));
            spare = batch.recycle();
        });
    };
    parse("parse SET", request(&["SET", "bull:queue:1", "value"]));
    let mut words = vec!["EVALSHA", "0123456789012345678901234567890123456789", "14"];
    words.extend(["bull:queue:some-key"; 23]);
    parse("parse EVALSHA of 26 words", request(&words));
}

fn commands(measure: &mut dyn Measure) {
    let (mut engine, id) = engine();
    let mut run = |name: &str, words: &[&str]| {
        let bytes = request(words);
        measure.case(name, &mut || feed(&mut engine, id, &bytes));
    };
    run("SET", &["SET", "bull:queue:1", "value"]);
    run("GET", &["GET", "bull:queue:1"]);
    run("SET PX", &["SET", "bull:queue:1:lock", "token", "PX", "30000"]);
    engine.keyspace.aftermath.journal.listen();
    let bytes = request(&["SET", "bull:queue:1", "value"]);
    measure.case("SET, journaled", &mut || {
        feed(&mut engine, id, &bytes);
        black_box(engine.keyspace.aftermath.journal.whole_units());
        engine.keyspace.aftermath.journal.forget_whole_units();
    });
}

/// As many calls of the same kinds as BullMQ's moveToFinished makes to end one job and fetch the
/// next; the data it leaves is the data it found.
const FINISH: &str = "
local job, next = KEYS[1], KEYS[2]
redis.call('EXISTS', job)
redis.call('SCARD', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('GET', KEYS[5])
redis.call('DEL', KEYS[5])
redis.call('SREM', KEYS[6], ARGV[1])
redis.call('HMGET', KEYS[7], 'opts.maxLenEvents', 'paused')
redis.call('LREM', KEYS[8], -1, ARGV[1])
redis.call('HGET', KEYS[7], 'opts.maxLenEvents')
redis.call('XTRIM', KEYS[9], 'MAXLEN', '~', 100)
redis.call('HINCRBY', job, 'atm', 1)
redis.call('ZADD', KEYS[10], ARGV[2], ARGV[1])
redis.call('HSET', job, 'returnvalue', ARGV[3], 'finishedOn', ARGV[2])
redis.call('XADD', KEYS[9], '*', 'event', 'completed', 'jobId', ARGV[1], 'returnvalue', ARGV[3])
redis.call('HMGET', KEYS[7], 'max', 'duration')
redis.call('ZRANGEBYSCORE', KEYS[11], 0, ARGV[2], 'LIMIT', 0, 1000)
redis.call('LPUSH', KEYS[12], ARGV[1])
local id = redis.call('RPOPLPUSH', KEYS[12], KEYS[8])
redis.call('SET', KEYS[5], ARGV[4], 'PX', 30000)
redis.call('XADD', KEYS[9], '*', 'event', 'active', 'jobId', id, 'prev', 'waiting')
redis.call('HMSET', next, 'processedOn', ARGV[2], 'name', 'job')
redis.call('HINCRBY', next, 'ats', 1)
redis.call('ZADD', KEYS[13], 0, '0')
return redis.call('HGETALL', next)";

fn scripts(measure: &mut dyn Measure) {
    let (mut engine, id) = engine();
    let data = "d".repeat(200);
    for job in ["bull:q:1", "bull:q:2"] {
        let fields = ["name", "job", "data", &data, "opts", "{}", "timestamp", "1", "delay", "0"];
        let words = [&["HSET", job], &fields[..]].concat();
        feed(&mut engine, id, &request(&words));
    }
    let names = "1 2 limiter stalled-max 1:lock stalled meta active events completed delayed wait \
                 marker";
    let keys: Vec<String> = names.split(' ').map(|name| format!("bull:q:{name}")).collect();
    // Clients name a script that the server knows.
    let load = request(&["SCRIPT", "LOAD", FINISH]);
    let sha = String::from_utf8(ask(&mut engine, id, &load)).expect("a SHA is digits");
    let sha = sha.lines().nth(1).expect("a bulk string has two lines");
    let mut words = vec!["EVALSHA", sha, "13"];
    words.extend(keys.iter().map(String::as_str));
    words.extend(["1", "1790000000000", "\"result\"", "token:1"]);
    let bytes = request(&words);
    let reply = String::from_utf8_lossy(&ask(&mut engine, id, &bytes)).into_owned();
    assert!(reply.starts_with('*'), "the script fails: {reply}");
    measure.case("script of 24 calls", &mut || feed(&mut engine, id, &bytes));
}

const MILLION: u64 = 1_000_000;

fn timers(measure: &mut dyn Measure) {
    let (change, ask) =
        ("wheel of 1 M timers: cancel and insert", "wheel of 1 M timers: next deadline");
    if !measure.wants(change) && !measure.wants(ask) {
        return;
    }
    let mut rng = Rng::from_seed(1);
    let mut wheel = Wheel::new(0);
    let mut ids: Vec<_> =
        (0..MILLION).map(|n| wheel.insert(1 + rng.next_u64() % (1 << 30), n)).collect();
    measure.case(change, &mut || {
        let at = rng.below(ids.len());
        wheel.cancel(ids[at]);
        ids[at] = wheel.insert(1 + rng.next_u64() % (1 << 30), at as u64);
    });
    measure.case(ask, &mut || {
        black_box(wheel.next_deadline());
    });
}

fn sorted_sets(measure: &mut dyn Measure) {
    let (rank, change) = ("zset of 1 M members: rank", "zset of 1 M members: change a score");
    if !measure.wants(rank) && !measure.wants(change) {
        return;
    }
    let mut rng = Rng::from_seed(1);
    let mut zset = Zset::new();
    for member in 0..MILLION {
        zset.insert(
            member.to_string().as_bytes(),
            (rng.next_u64() % MILLION) as f64,
            &Limits::DEFAULT,
        );
    }
    measure.case(rank, &mut || {
        black_box(zset.rank((rng.next_u64() % MILLION).to_string().as_bytes()));
    });
    measure.case(change, &mut || {
        let member = (rng.next_u64() % MILLION).to_string();
        zset.insert(member.as_bytes(), (rng.next_u64() % MILLION) as f64, &Limits::DEFAULT);
    });
}
