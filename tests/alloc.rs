//! How often a command may ask for memory: one budget per command. Commands that queues send by the
//! thousand run on memory that is there already, what they store aside.

#[path = "common/facts.rs"]
mod facts;

use facts::FixedFacts;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;

struct Counting;

thread_local! {
    static REQUESTS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    REQUESTS.set(REQUESTS.get() + 1);
}

// SAFETY: it passes on to the system's allocator what it is given.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Now = Now::new(1_790_000_000_000, 1_000_000);

/// Runs before which buffers may still grow.
const WARM_UP_RUNS: usize = 64;
const RUNS: usize = 256;

/// What is there before, the command that counts, and what it may ask for per hundred runs.
/// `#` is a number that no run has had.
const BUDGETS: [(&str, &str, usize); 25] = [
    ("", "PING", 0),
    ("SET k v", "GET k", 0),
    ("SET k v", "SET k w", 0),
    ("", "SET k:# v", 3),
    ("SET n 1", "INCR n", 0),
    ("SET k v", "EXISTS k", 0),
    ("SET k v", "PEXPIRE k 30000", 100),
    ("", "SET lock token PX 30000", 100),
    ("", "DEL none", 0),
    ("", "LPUSH l #", 3),
    ("RPUSH l a b c", "LRANGE l 0 -1", 0),
    ("RPUSH l a b c", "RPOPLPUSH l l", 100),
    ("HSET h name job data {} opts {}", "HGET h data", 0),
    ("HSET h name job data {} opts {}", "HMGET h name data", 0),
    ("HSET h name job data {} opts {}", "HGETALL h", 0),
    ("HSET h ats 1", "HINCRBY h ats 1", 0),
    ("HSET h name job", "HSET h name other", 0),
    ("SADD s a b c", "SISMEMBER s b", 0),
    ("SADD s a b c", "SCARD s", 0),
    ("ZADD z 1 a 2 b", "ZADD z 3 b", 0),
    ("ZADD z 1 a 2 b", "ZSCORE z b", 0),
    ("ZADD z 1 a 2 b", "ZRANGEBYSCORE z 0 5 LIMIT 0 1", 0),
    ("", "XADD e MAXLEN ~ 100 * event completed jobId 1", 120),
    ("", "EVAL return(1) 0", 200),
    ("HSET h name job", "EVAL return(redis.call('HGET',KEYS[1],'name')) 1 h", 200),
];

#[test]
fn commands_keep_to_their_budgets() {
    let mut above = Vec::new();
    for (before, command, budget) in BUDGETS {
        let mut engine =
            Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), NOW);
        let id = connect(&mut engine);
        if !before.is_empty() {
            feed(&mut engine, id, &request(before, 0));
        }
        let requests: Vec<_> = (0..WARM_UP_RUNS + RUNS).map(|run| request(command, run)).collect();
        let (warm_up, counted) = requests.split_at(WARM_UP_RUNS);
        warm_up.iter().for_each(|request| feed(&mut engine, id, request));
        let started = REQUESTS.get();
        counted.iter().for_each(|request| feed(&mut engine, id, request));
        let count = (REQUESTS.get() - started) * 100 / RUNS;
        println!("{count:4} of {budget:4} per hundred {command}");
        if count > budget {
            above.push(format!("{command}: {count} per hundred, {budget} are allowed"));
        }
    }
    assert!(above.is_empty(), "{}", above.join("\n"));
}

#[test]
fn an_effect_allocates_nothing() {
    let mut engine = Engine::new(table(), Config::default(), Box::new(FixedFacts::default()), NOW);
    let id = connect(&mut engine);
    engine.keyspace.aftermath.journal.listen();
    let requests = ["SET k w", "SET lock token KEEPTTL", "INCR n", "GETSET k v", "HSET h f v"];
    let requests = requests.map(|line| request(line, 0));
    let mut run = |runs: usize| {
        for _ in 0..runs {
            requests.iter().for_each(|request| feed(&mut engine, id, request));
            assert!(!engine.keyspace.aftermath.journal.whole_units().0.is_empty());
            engine.keyspace.aftermath.journal.forget_whole_units();
        }
    };
    run(WARM_UP_RUNS);
    let started = REQUESTS.get();
    run(RUNS);
    assert_eq!(REQUESTS.get() - started, 0);
}

fn connect(engine: &mut Engine) -> ClientId {
    engine.connect(Peer::inside(), NOW)
}

fn request(line: &str, run: usize) -> Vec<u8> {
    let line = line.replace('#', &run.to_string());
    let words: Vec<&str> = line.split(' ').collect();
    let bulks = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
    format!("*{}\r\n{}", words.len(), bulks.collect::<String>()).into_bytes()
}

/// Feeds a request and forgets the reply, which is no error. The turn does not end: what it says
/// about its clients, once per turn, is not a command's.
fn feed(engine: &mut Engine, id: ClientId, request: &[u8]) {
    engine.feed(id, request, NOW);
    let outbox = engine.outbox(id).expect("it is connected");
    let reply = outbox.pending();
    assert!(!reply.is_empty() && reply[0] != b'-', "{}", reply.escape_ascii());
    let len = outbox.pending().len();
    outbox.consume(len);
}
