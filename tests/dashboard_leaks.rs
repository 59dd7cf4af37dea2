//! Pages that stay open for an hour, ten at once, while jobs come and go: what they hold does not
//! grow, and afterwards all of it is gone.

#[path = "common/facts.rs"]
mod facts;

use facts::FixedFacts;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use toril::command::table::table;
use toril::config::Config;
use toril::dashboard::Board;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer};
use toril::engine::time::Now;
use toril::proto::{Args, Outbox};

struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
}

// SAFETY: it passes on to the system's allocator what it is given.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The queue `mail` of BullMQ, as the page's addresses name it.
const MAIL: &str = "MABidWxsOm1haWw";

struct Bench {
    engine: Engine,
    board: Board,
    client: ClientId,
    now: Now,
    jobs: usize,
}

impl Bench {
    fn new() -> Self {
        let now = Now::new(1_790_000_000_000, 0);
        let facts = Box::new(FixedFacts::default());
        let mut engine = Engine::new(table(), Config::default(), facts, now);
        let peer = Peer { addr: "127.0.0.1:50001".into(), ..Peer::inside() };
        let client = engine.connect(peer, now);
        Self { engine, board: Board::default(), client, now, jobs: 0 }
    }

    fn ask(&mut self, words: &[&str]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.engine.run(self.client, Args::new(&words), self.now);
        let answer = self.engine.outbox(self.client).expect("it is connected").take();
        assert!(!answer.starts_with(b"-"), "{}", answer.escape_ascii());
    }

    fn open(&mut self, path: &str) -> ClientId {
        let reader = self.engine.connect(Peer::inside(), self.now);
        let user = self.engine.acl.default_user().clone();
        self.board.open(&mut self.engine, &user, reader, path).expect("it is opened");
        reader
    }

    /// Jobs come, are done and go, a second long; the pages read what they are sent.
    fn second(&mut self, readers: &[ClientId]) {
        self.jobs += 1;
        let (id, gone) = (self.jobs.to_string(), self.jobs.saturating_sub(100).to_string());
        let job = format!("bull:mail:{id}");
        let events = ["xadd", "bull:mail:events", "maxlen", "100", "*", "event"];
        self.ask(&["hset", "bull:mail:meta", "opts.maxLenEvents", "100"]);
        self.ask(&["hset", &job, "name", "welcome", "data", r#"{"to":"ada@example.com"}"#]);
        self.ask(&["zadd", "bull:mail:completed", &id, &id]);
        self.ask(&[&events[..], &["completed", "jobId", &id, "prev", "active"]].concat());
        self.ask(&["zrem", "bull:mail:completed", &gone]);
        self.ask(&["del", &format!("bull:mail:{gone}")]);
        for _ in 0..2 {
            self.now = Now::new(self.now.wall_ms + 500, self.now.mono_us + 500_000);
            self.engine.tick(self.now);
            self.board.tick(&mut self.engine);
            for &reader in readers {
                let _ = self.engine.outbox(reader).map(Outbox::take);
            }
        }
    }

    fn seconds(&mut self, count: usize, readers: &[ClientId]) -> isize {
        for _ in 0..count {
            self.second(readers);
        }
        HELD.get()
    }
}

#[test]
fn ten_pages_that_are_open_for_an_hour_hold_no_more_than_at_first() {
    let mut bench = Bench::new();
    let before = bench.seconds(300, &[]);
    let readers: Vec<ClientId> = [
        "overview".into(),
        format!("queue/{MAIL}"),
        format!("queue/{MAIL}/completed"),
        format!("job/{MAIL}/250"),
        "search?q=welcome".into(),
        "search?q=ada%40example".into(),
        "keys?db=0&match=bull&type=hash".into(),
        "key/0/bull%3Amail%3Aevents".into(),
        "clients".into(),
        "monitor?on=1&keep=yes".into(),
    ]
    .iter()
    .map(|path| bench.open(path))
    .collect();
    // A recording is full after so many commands.
    let early = bench.seconds(2_000, &readers);
    assert!(early > before, "{before} {early}");
    let late = bench.seconds(3_600 - 2_000, &readers);
    assert!(late - early < 32_768, "{before} {early} {late}");
    for reader in readers {
        bench.engine.disconnect(reader, bench.now);
    }
    bench.seconds(70, &[]);
    assert_eq!(bench.board.next_tick_us(), None);
    let after = bench.seconds(100, &[]);
    assert!((after - before).abs() < 16_384, "{before} {early} {late} {after}");
}
