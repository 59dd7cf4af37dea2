//! Values that rest are compressed while the server is idle, and nobody can tell by what they read.

mod common;

use common::facts::FixedFacts;
use common::program::{Running, ask, until};
use common::reply::Reply;
use toril::command::table::table;
use toril::config::Config;
use toril::data::Value;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;
use toril::proto::Args;
use toril::util::rng::Rng;

/// More than a dictionary is learnt from.
const JOBS: usize = 2_000;

/// An engine on which time passes as the test says.
struct Bench {
    engine: Engine,
    client: ClientId,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let now = Now::new(1_790_000_000_000, 0);
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(table(), Config::default(), facts, now);
        let client = engine.connect(Peer::inside(), now);
        Self { engine, client, now }
    }

    fn ask(&mut self, words: &[&str]) -> Reply {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.engine.run(self.client, Args::new(&words), self.now);
        let outbox = self.engine.outbox(self.client).expect("it is connected");
        Reply::decode(&outbox.take()).expect("a reply").0
    }

    /// Lets time pass, and the engine rest as it likes; returns in how many slices it did.
    fn idle(&mut self, seconds: u64) -> usize {
        let mut slices = 0;
        for _ in 0..seconds {
            self.now.wall_ms += 1_000;
            self.now.mono_us += 1_000_000;
            self.engine.tick(self.now);
            while self.engine.has_idle_work() {
                self.engine.work_while_idle(self.now);
                slices += 1;
            }
        }
        slices
    }

    fn cold(&self) -> usize {
        let entries = self.engine.keyspace.db(0).iter();
        entries.filter(|entry| matches!(entry.value, Value::Cold(_))).count()
    }

    fn add_jobs(&mut self, prefix: &str) {
        for number in 0..JOBS {
            let key = format!("{prefix}{number}");
            self.ask(&["HSET", &key, "name", "paint", "data", &json(number), "delay", "0"]);
        }
    }
}

/// The data of a job: of one shape, with values that do not repeat.
fn json(number: usize) -> String {
    let mut rng = Rng::from_seed(number as u64);
    let (id, customer) = (rng.next_u64(), rng.next_u64());
    format!(
        r#"{{"orderId":"{id:016x}","customer":"{customer:x}","address":"Main Street {number}",
        "items":[{{"sku":"apple","quantity":1}},{{"sku":"pear","quantity":2}}],"paid":true}}"#
    )
}

#[test]
fn what_is_not_touched_for_ten_seconds_is_frozen_and_thaws_when_it_is_read() {
    let mut bench = Bench::new();
    bench.add_jobs("bull:q:");
    bench.ask(&["SET", "bull:q:note", &json(7)]);
    bench.ask(&["SET", "bull:q:count", "12"]);
    let sizes: Vec<usize> = bench.engine.keyspace.db(0).iter().map(|entry| entry.size()).collect();
    assert_eq!(bench.idle(9), 0);
    assert_eq!(bench.cold(), 0);
    // The jobs, and the text that is as long as theirs.
    bench.idle(2);
    assert_eq!(bench.cold(), JOBS + 1);
    let cold_sizes = bench.engine.keyspace.db(0).iter().map(|entry| entry.size());
    assert!(cold_sizes.sum::<usize>() * 2 < sizes.iter().sum());

    // What is told from outside.
    let type_of = |bench: &mut Bench, key| bench.ask(&["TYPE", key]);
    assert_eq!(type_of(&mut bench, "bull:q:5"), Reply::Simple(b"hash".to_vec()));
    assert_eq!(type_of(&mut bench, "bull:q:note"), Reply::Simple(b"string".to_vec()));
    let encoding = bench.ask(&["OBJECT", "ENCODING", "bull:q:5"]);
    assert_eq!(encoding, Reply::Bulk(b"hashtable".to_vec()));
    bench.ask(&["EXPIRE", "bull:q:6", "1000"]);
    bench.ask(&["RENAME", "bull:q:6", "bull:q:six"]);
    assert_eq!(bench.cold(), JOBS + 1);

    // What is read.
    for number in (0..JOBS).filter(|&number| number != 6) {
        let data = bench.ask(&["HGET", &format!("bull:q:{number}"), "data"]);
        assert_eq!(data, Reply::Bulk(json(number).into_bytes()));
    }
    assert_eq!(bench.ask(&["HGET", "bull:q:six", "data"]), Reply::Bulk(json(6).into_bytes()));
    assert_eq!(bench.ask(&["GETRANGE", "bull:q:note", "0", "-1"]), {
        Reply::Bulk(json(7).into_bytes())
    });
    assert_eq!(bench.cold(), 0);
    let warm_sizes: Vec<usize> = bench.engine.keyspace.db(0).iter().map(|it| it.size()).collect();
    assert!(warm_sizes.iter().sum::<usize>() >= sizes.iter().sum());
}

#[test]
fn it_sleeps_when_there_is_nothing_new() {
    let mut bench = Bench::new();
    bench.add_jobs("bull:q:");
    assert!(bench.idle(60) > 0);
    assert_eq!(bench.engine.next_deadline().mono_us, None);
    // Reading what is warm, or nothing, changes nothing.
    bench.ask(&["PING"]);
    bench.ask(&["GET", "nosuch"]);
    assert_eq!(bench.idle(60), 0);
    bench.ask(&["HGET", "bull:q:3", "data"]);
    assert!(bench.idle(60) > 0);
    assert_eq!(bench.cold(), JOBS);
    // Switched off, it lets values be.
    bench.ask(&["CONFIG", "SET", "compact-idle-after", "0"]);
    bench.ask(&["HGET", "bull:q:3", "data"]);
    assert_eq!(bench.idle(60), 0);
    assert_eq!(bench.cold(), JOBS - 1);
}

#[test]
fn what_did_not_compress_is_not_tried_again() {
    let mut bench = Bench::new();
    let mut rng = Rng::from_seed(5);
    for number in 0..JOBS {
        let noise: String = (0..150).map(|_| char::from(rng.below(94) as u8 + 33)).collect();
        bench.ask(&["SET", &format!("noise:{number}"), &noise]);
    }
    bench.idle(60);
    // But for those that the dictionary was made of.
    assert!(bench.cold() < JOBS / 20);
    bench.ask(&["SET", "other", "1"]);
    // One slice looks at all keys and works on none.
    assert!(bench.idle(60) <= 2);
}

#[test]
fn many_queues_have_their_own_dictionaries_and_prefixes_of_one_key_do_not_matter() {
    let mut bench = Bench::new();
    for number in 0..JOBS {
        bench.ask(&["SET", &format!("session:{number}:data"), &json(number)]);
    }
    for queue in 0..5 {
        bench.add_jobs(&format!("bull:q{queue}:"));
    }
    bench.idle(60);
    assert_eq!(bench.cold(), 5 * JOBS);
    // What went takes nothing along.
    bench.ask(&["FLUSHALL"]);
    bench.add_jobs("bull:q1:");
    bench.idle(60);
    assert_eq!(bench.cold(), JOBS);
    assert_eq!(bench.ask(&["HGET", "bull:q1:9", "data"]), Reply::Bulk(json(9).into_bytes()));
}

#[test]
fn an_idle_process_compresses_by_itself() {
    let server = Running::start(&["--compact-idle-after", "1"]);
    let usage = |key: &str| ask(server.port, &format!("MEMORY USAGE {key}"));
    let fill = "EVAL \"for i = 1, 2000 do redis.call('HSET', 'job:' .. i, 'data', \
                string.rep('a text that repeats, ', 15) .. i) end\" 0";
    ask(server.port, fill);
    let digest = "EVAL \"local all = '' for i = 1, 2000 do local job = redis.call('HGETALL', \
                  'job:' .. i) all = redis.sha1hex(all .. job[1] .. job[2]) end \
                  return {ok = all}\" 0";
    let before = (usage("job:7"), ask(server.port, digest));
    until("compaction", || usage("job:7") != before.0);
    let size = |text: &str| text[1..].parse::<usize>().expect("a number");
    until("compaction of the last", || 2 * size(&usage("job:2000")) < size(&before.0));
    assert_eq!(ask(server.port, digest), before.1);
    assert_eq!(usage("job:7"), before.0);
}
