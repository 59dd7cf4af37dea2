//! The simulation of queues: workers that take and end jobs, in virtual time and from one seed, and
//! looks at whether all is idle, at random moments. What the server answers is compared with a book
//! that is kept beside it, of which it knows nothing.
//!
//! A failure names its seed.

mod common;

use common::facts::FixedFacts;
use std::collections::BTreeSet;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State};
use toril::engine::time::Now;
use toril::proto::Args;
use toril::testing;
use toril::util::rng::Rng;

const SEEDS: u64 = 50;
const LOOKS: usize = 200;
const WORKERS: usize = 3;

const QUEUES: [&str; 2] = ["bull:mail", "bull:other"];
/// As their workers' connections call themselves.
const WORKER_NAMES: [&str; 2] = ["bull:bWFpbA==", "bull:b3RoZXI="];

/// What a worker does next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    /// It waits for the marker.
    Waits,
    /// It is about to look for a job.
    Looks,
    /// It has this job.
    Works(u64),
}

/// A worker: its connection that waits, and the one by which it takes and ends jobs.
struct Worker {
    queue: usize,
    waiting: ClientId,
    acting: ClientId,
    doing: Doing,
}

/// What is so, whatever the server's keys say.
#[derive(Default)]
struct Book {
    waiting: Vec<u64>,
    active: BTreeSet<u64>,
    /// Moments and ids.
    delayed: BTreeSet<(i64, u64)>,
    is_paused: bool,
}

struct Sim {
    engine: Engine,
    now: Now,
    rng: Rng,
    tester: ClientId,
    /// One that waits for idleness for as long as it takes.
    patient: ClientId,
    waits: bool,
    workers: Vec<Worker>,
    books: [Book; 2],
    ids: u64,
    /// Ends jobs a moment before they have ended: to see that the simulation sees.
    lies: bool,
}

impl Sim {
    fn new(seed: u64, lies: bool) -> Self {
        let now = Now::new(1_790_000_000_000, 5_000_000);
        let facts = FixedFacts { seed, ..FixedFacts::default() };
        let mut engine = Engine::new(table(), Config::default(), Box::new(facts), now);
        engine.offer_fixture(testing::make);
        let mut connect = || engine.connect(Peer::inside(), now);
        let (tester, patient) = (connect(), connect());
        let mut workers = Vec::new();
        for queue in 0..QUEUES.len() {
            for _ in 0..WORKERS {
                let (waiting, acting) = (connect(), connect());
                workers.push(Worker { queue, waiting, acting, doing: Doing::Looks });
            }
        }
        let books = [Book::default(), Book::default()];
        let rng = Rng::from_seed(seed);
        let mut sim =
            Self { engine, now, rng, tester, patient, waits: false, workers, books, ids: 0, lies };
        for (at, base) in QUEUES.iter().enumerate() {
            sim.ask(tester, &format!("HSET {base}:meta opts.maxLenEvents 10000"));
            for worker in 0..sim.workers.len() {
                let Worker { queue, waiting, .. } = sim.workers[worker];
                if queue == at {
                    sim.ask(waiting, &format!("CLIENT SETNAME {}", WORKER_NAMES[at]));
                }
            }
        }
        sim
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.below(bound as usize) as u64
    }

    /// Sends a request of words between blanks; what comes back at once.
    fn ask(&mut self, client: ClientId, request: &str) -> String {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        self.engine.run(client, Args::new(&words), self.now);
        self.heard(client)
    }

    fn heard(&mut self, client: ClientId) -> String {
        self.engine.take_output(client).escape_ascii().to_string()
    }

    /// Several requests that take place at once.
    fn at_once(&mut self, client: ClientId, requests: &[String]) {
        self.ask(client, "MULTI");
        for request in requests {
            self.ask(client, request);
        }
        let answer = self.ask(client, "EXEC");
        assert!(!answer.contains("-ERR"), "{requests:?}: {answer}");
    }

    fn step(&mut self) {
        let queue = self.below(2) as usize;
        let base = QUEUES[queue];
        let tester = self.tester;
        match self.below(20) {
            0 | 1 => {
                self.ids += 1;
                let id = self.ids;
                let add = format!("LPUSH {base}:wait {id}");
                self.at_once(tester, &[add, format!("ZADD {base}:marker 0 0")]);
                self.books[queue].waiting.push(id);
            }
            2 => {
                self.ids += 1;
                let (id, due_ms) = (self.ids, self.now.wall_ms + self.below(400) as i64);
                self.ask(tester, &format!("ZADD {base}:delayed {} {id}", due_ms * 4096));
                self.books[queue].delayed.insert((due_ms, id));
            }
            3 if self.below(4) == 0 => {
                let word = if self.books[queue].is_paused { "HDEL" } else { "HSET" };
                let value = if word == "HSET" { " 1" } else { "" };
                let set = format!("{word} {base}:meta paused{value}");
                self.at_once(tester, &[set, format!("ZADD {base}:marker 0 0")]);
                self.books[queue].is_paused ^= true;
            }
            4 | 5 => {
                let micros = self.below(60_000);
                self.now.mono_us += micros;
                self.now.wall_ms += (micros / 1000) as i64;
                self.engine.tick(self.now);
            }
            _ => {
                let worker = self.below(self.workers.len() as u64) as usize;
                self.act(worker);
            }
        }
    }

    fn act(&mut self, at: usize) {
        let Worker { queue, waiting, acting, doing } = self.workers[at];
        let base = QUEUES[queue];
        let next = match doing {
            // It is told when the marker comes.
            Doing::Waits if self.engine.state(waiting) == State::Parked => Doing::Waits,
            Doing::Waits => {
                assert!(self.heard(waiting).contains("marker"));
                Doing::Looks
            }
            Doing::Looks => self.take(queue, waiting, acting),
            Doing::Works(id) => {
                let end = format!("LREM {base}:active 1 {id}");
                let tell = format!("XADD {base}:events * event completed jobId {id}");
                self.at_once(acting, &[end, tell]);
                if !self.lies || self.below(8) > 0 {
                    self.books[queue].active.remove(&id);
                }
                Doing::Looks
            }
        };
        self.workers[at].doing = next;
    }

    /// As a worker looks for a job: what is due waits, then one is taken, or the marker waited for.
    fn take(&mut self, queue: usize, waiting: ClientId, acting: ClientId) -> Doing {
        let base = QUEUES[queue];
        let now_ms = self.now.wall_ms;
        let book = &mut self.books[queue];
        let later = book.delayed.split_off(&(now_ms + 1, 0));
        let due = std::mem::replace(&mut book.delayed, later);
        let mut requests = Vec::new();
        for (_, id) in due {
            requests.push(format!("ZREM {base}:delayed {id}"));
            requests.push(format!("LPUSH {base}:wait {id}"));
            book.waiting.push(id);
        }
        if book.is_paused || book.waiting.is_empty() {
            self.at_once(acting, &requests);
            self.ask(waiting, &format!("BZPOPMIN {base}:marker 0"));
            let is_told = self.engine.state(waiting) != State::Parked;
            return if is_told { Doing::Looks } else { Doing::Waits };
        }
        let id = book.waiting.remove(0);
        book.active.insert(id);
        requests.push(format!("RPOPLPUSH {base}:wait {base}:active"));
        self.at_once(acting, &requests);
        Doing::Works(id)
    }

    /// Why a queue is not idle, within a horizon.
    fn business(&self, queue: usize, horizon_ms: i64) -> Option<&'static str> {
        let book = &self.books[queue];
        let until_ms = self.now.wall_ms + horizon_ms;
        let first = book.delayed.first();
        // Who has never waited is not known to be a worker that should.
        let is_at_work = |worker: &Worker| {
            let client = &self.engine.clients[worker.waiting];
            let has_asked = client.last_command.is_some_and(|it| it.row.name == "bzpopmin");
            worker.queue == queue && has_asked && !client.is_blocked()
        };
        match () {
            () if !book.active.is_empty() => Some("a job is active"),
            () if !book.waiting.is_empty() && !book.is_paused => Some("a job waits"),
            () if !book.is_paused && first.is_some_and(|(due_ms, _)| *due_ms <= until_ms) => {
                Some("a job is due")
            }
            () if self.workers.iter().any(is_at_work) => Some("a worker is at work"),
            () => None,
        }
    }

    /// Asks whether all is idle, or one queue, and compares.
    fn look(&mut self) -> bool {
        let horizon_ms = if self.below(3) == 0 { self.below(300) as i64 } else { 0 };
        let named = self.below(3) as usize;
        let queues: Vec<usize> = if named < 2 { vec![named] } else { vec![0, 1] };
        let name = if named < 2 { format!(" {}", QUEUES[named]) } else { String::new() };
        let request = format!("TORIL WAIT IDLE{name} TIMEOUT 0 HORIZON {horizon_ms}");
        let answer = self.ask(self.tester, &request);
        let business = queues.iter().find_map(|&queue| self.business(queue, horizon_ms));
        let is_idle = answer.contains(r"idle\r\n:1\r\n");
        assert_eq!(is_idle, business.is_none(), "{request}: {business:?}, but {answer}");
        is_idle
    }

    /// Whoever waits is answered in the step in which all becomes idle, and in no other.
    fn check_patient(&mut self) {
        let business = (0..QUEUES.len()).find_map(|queue| self.business(queue, 0));
        let answer = self.heard(self.patient);
        let is_answered = answer.contains(r"idle\r\n:1\r\n");
        assert!(is_answered || answer.is_empty(), "{answer}");
        if self.waits {
            assert_eq!(is_answered, business.is_none(), "{business:?}, and {answer}");
            self.waits = !is_answered;
        } else if business.is_some() && self.below(10) == 0 {
            self.ask(self.patient, "TORIL WAIT IDLE TIMEOUT 1000d");
            self.waits = true;
        }
    }
}

/// Counts looks, and how many of them found all idle.
fn run(seed: u64, lies: bool) -> (usize, usize) {
    let mut sim = Sim::new(seed, lies);
    let (mut looks, mut idle) = (0, 0);
    while looks < LOOKS {
        sim.step();
        sim.check_patient();
        if sim.below(3) == 0 {
            looks += 1;
            idle += usize::from(sim.look());
        }
    }
    (looks, idle)
}

#[test]
fn ten_thousand_looks_never_err() {
    let (mut looks, mut idle) = (0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let (all, found) = run(seed, false);
        looks += all;
        idle += found;
    }
    println!("{looks} looks, {idle} of them idle");
    assert!(looks >= 10_000);
    assert!(idle > looks / 20 && idle < looks / 2, "{idle} of {looks}: too few of one kind");
}

#[test]
#[should_panic(expected = "a job is active")]
fn an_answer_that_errs_is_seen() {
    for seed in 0..SEEDS {
        run(seed, true);
    }
}
