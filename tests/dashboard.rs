//! The page over the queues, on an engine on which time passes as the test says: what it finds, and
//! that it costs nothing while nobody looks.

mod common;

use common::facts::FixedFacts;
use toril::command::table::table;
use toril::config::Config;
use toril::dashboard::{Board, Form};
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;
use toril::proto::{Args, Outbox};

struct Bench {
    engine: Engine,
    board: Board,
    client: ClientId,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let now = Now::new(1_790_000_000_000, 0);
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(table(), Config::default(), facts, now);
        let client = engine.connect(Peer::inside(), now);
        Self { engine, board: Board::default(), client, now }
    }

    fn ask(&mut self, words: &[&str]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.engine.run(self.client, Args::new(&words), self.now);
        let outbox = self.engine.outbox(self.client).expect("it is connected");
        assert!(!outbox.take().starts_with(b"-"));
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now::new(self.now.wall_ms + ms as i64, self.now.mono_us + ms * 1000);
        self.engine.tick(self.now);
    }

    fn view(&mut self, path: &str) -> serde_json::Value {
        let user = self.engine.acl.default_user().clone();
        let shown = self.board.view(&mut self.engine, &user, path, Form::Json);
        serde_json::from_str(&shown.expect("it is shown")).expect("it is JSON")
    }

    /// The names of the queues that the overview shows.
    fn queues(&mut self) -> Vec<String> {
        let view = self.view("overview");
        let queues = view["queues"].as_array().expect("a list");
        queues.iter().map(|queue| queue["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Whether the engine notes which keys change.
    fn notes_changes(&mut self) -> bool {
        let _ = self.engine.keyspace.aftermath.take_changed_keys();
        self.ask(&["set", "noted", "x"]);
        !self.engine.keyspace.aftermath.take_changed_keys().is_empty()
    }
}

const META: &str = "opts.maxLenEvents";

#[test]
fn five_seconds_after_the_last_look_nothing_is_noted() {
    let mut bench = Bench::new();
    assert!(!bench.notes_changes());
    assert_eq!(bench.board.next_tick_us(), None);
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail"]);
    assert!(bench.notes_changes());
    bench.pass(4_900);
    bench.board.tick(&mut bench.engine);
    assert!(bench.board.next_tick_us().is_some());
    bench.pass(200);
    bench.board.tick(&mut bench.engine);
    assert_eq!(bench.board.next_tick_us(), None);
    assert!(!bench.notes_changes());
    // A second look finds what has come meanwhile.
    bench.ask(&["hset", "bull:other:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail", "other"]);
}

#[test]
fn an_open_page_keeps_it_awake_and_is_sent_what_has_changed() {
    let mut bench = Bench::new();
    let reader = bench.engine.connect(Peer::inside(), bench.now);
    let user = bench.engine.acl.default_user().clone();
    let opened = bench.board.open(&mut bench.engine, &user, reader, "overview");
    assert_eq!(opened, Ok(()));
    let frames = |bench: &mut Bench| {
        bench.board.tick(&mut bench.engine);
        let taken = bench.engine.outbox(reader).map(Outbox::take).unwrap_or_default();
        String::from_utf8(taken).expect("it is text")
    };
    assert!(frames(&mut bench).contains("No queue yet"));
    for _ in 0..30 {
        bench.pass(250);
        bench.board.tick(&mut bench.engine);
        let _ = frames(&mut bench);
    }
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    bench.ask(&["lpush", "bull:mail:wait", "1"]);
    bench.pass(250);
    assert!(frames(&mut bench).contains("MABidWxsOm1haWw"));
    // The same again is not sent again.
    bench.ask(&["set", "unrelated", "1"]);
    bench.pass(250);
    assert_eq!(frames(&mut bench), "");
    bench.engine.disconnect(reader, bench.now);
    bench.pass(5_300);
    bench.board.tick(&mut bench.engine);
    assert_eq!(bench.board.next_tick_us(), None);
}

#[test]
fn a_page_that_does_not_read_is_not_sent_a_backlog() {
    let mut bench = Bench::new();
    let reader = bench.engine.connect(Peer::inside(), bench.now);
    let user = bench.engine.acl.default_user().clone();
    bench.board.open(&mut bench.engine, &user, reader, "overview").expect("it is opened");
    let waiting = |bench: &mut Bench| bench.engine.outbox(reader).map_or(0, |it| it.len());
    bench.board.tick(&mut bench.engine);
    let first = waiting(&mut bench);
    assert!(first > 0);
    for number in 0..100 {
        bench.ask(&["hset", &format!("bull:{number}:meta"), META, "10000"]);
        bench.pass(250);
        bench.board.tick(&mut bench.engine);
        assert_eq!(waiting(&mut bench), first);
    }
    let _ = bench.engine.outbox(reader).map(Outbox::take);
    bench.pass(1_000);
    bench.board.tick(&mut bench.engine);
    let frame = bench.engine.outbox(reader).map(Outbox::take).expect("it is connected");
    assert!(String::from_utf8_lossy(&frame).contains("resync"));
}

#[test]
fn queues_come_and_go_with_their_keys() {
    let mut bench = Bench::new();
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail"]);
    bench.ask(&["rpush", "rq:queue:reports", "id"]);
    bench.ask(&["sadd", "rq:queues", "rq:queue:reports"]);
    assert_eq!(bench.queues(), ["mail", "reports"]);
    bench.ask(&["del", "bull:mail:meta"]);
    assert_eq!(bench.queues(), ["reports"]);
    bench.ask(&["flushall"]);
    assert!(bench.queues().is_empty());
}

#[test]
fn a_minute_of_history_is_there_at_the_first_look() {
    let mut bench = Bench::new();
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    let event = |bench: &mut Bench, at_ms: i64, fields: &[&str]| {
        let id = format!("{at_ms}-0");
        bench.ask(&[&["xadd", "bull:mail:events", &id, "event"], fields].concat());
    };
    let at = bench.now.wall_ms - 30_000;
    let due = (at + 100).to_string();
    event(&mut bench, at, &["delayed", "jobId", "7", "delay", &due]);
    event(&mut bench, at + 103, &["waiting", "jobId", "7", "prev", "delayed"]);
    event(&mut bench, at + 107, &["active", "jobId", "7", "prev", "waiting"]);
    event(&mut bench, at + 200, &["completed", "jobId", "7"]);
    let view = bench.view("overview");
    assert_eq!(view["queues"][0]["late"], 3, "{view}");
    assert_eq!(view["queues"][0]["wait"], 7, "{view}");
    // Ninety seconds later that is no more the last minute.
    bench.pass(90_000);
    let view = bench.view("overview");
    assert!(view["queues"][0]["late"].is_null(), "{view}");
}
