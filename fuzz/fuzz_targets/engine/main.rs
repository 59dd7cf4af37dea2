//! The engine on whatever several clients may ask of it, in virtual time.
//!
//! Each byte of the input decides something: what happens next, whose turn it is, which row of the
//! command table, which of the words that the row's syntax allows. Nothing may panic, every reply
//! must be one, no collection may stay when it is empty, no deadline may stay when it is past, and
//! users must be the same when they have been saved and loaded.
//!
//! A new command changes what the kept inputs mean; they are as good as before.

#![no_main]

#[path = "../../../tests/common/facts.rs"]
mod facts;
mod grammar;
#[path = "../../../tests/common/reply.rs"]
#[allow(dead_code, reason = "transcripts use the rest")]
mod reply;

use facts::FixedFacts;
use grammar::{Choices, Grammar};
use libfuzzer_sys::fuzz_target;
use reply::Reply;
use toril::command::table::table;
use toril::config::{Config, Protected};
use toril::data::Value;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State, Transport};
use toril::engine::effect::{Effect, Outcome, Problem};
use toril::engine::keyspace::SavingStep;
use toril::engine::persistence::SnapshotKind;
use toril::engine::time::Now;
use toril::engine::tracking::Tracking;
use toril::persist::{LoadOptions, Loader};

const CLIENTS: usize = 4;

/// Enough for a script that ends; one that does not keeps the engine busy until it is killed.
const SLICES_MAX: usize = 8;

/// How long a slice takes, and from when on a script makes the engine busy.
const SLICE_MS: u64 = 2;
const BUSY_AFTER_MS: i64 = 5;

/// How clients begin to keep copies of what they read.
const TRACKING: [&str; 6] =
    ["", "NOLOOP", "OPTOUT", "BCAST", "BCAST NOLOOP PREFIX a PREFIX b", "REDIRECT 2"];

/// So few that some have to go.
const TRACKED_KEYS_MAX: usize = 2;

const SPANS_MS: [u64; 4] = [1, 40, 1500, 3_600_000];

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut world = World::new();
    thread_local!(static GRAMMAR: Grammar = Grammar::new(&table()));
    while !choices.are_over() {
        match choices.next() {
            0 => world.leave(choices.index(CLIENTS)),
            1 => world.hang_up(choices.index(CLIENTS)),
            2..16 => world.pass(SPANS_MS[choices.index(SPANS_MS.len())]),
            // Somebody sets the machine's clock back.
            16 => world.now.wall_ms -= 60_000,
            17..20 => world.track(choices.index(CLIENTS), choices.index(TRACKING.len())),
            op => {
                let at = choices.index(CLIENTS);
                let request = GRAMMAR.with(|grammar| grammar.request(&mut choices));
                world.ask(at, &request);
                if op < 64 {
                    // Sent with the next one.
                    continue;
                }
            }
        }
        world.work();
        world.check();
    }
});

struct World {
    engine: Engine,
    facts: FixedFacts,
    now: Now,
    clients: Vec<Client>,
}

struct Client {
    id: ClientId,
    /// Requests that the engine has yet to take.
    input: Vec<u8>,
    /// Replies that have not been read.
    output: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let now = Now::new(1_800_000_000_000, 1_000_000);
        let facts = FixedFacts::default();
        let mut config = Config::default();
        config.busy_reply_threshold_ms = BUSY_AFTER_MS;
        config.enable_debug_command = Protected::Yes;
        config.tracking_table_max_keys = TRACKED_KEYS_MAX;
        let mut engine = Engine::new(table(), config, Box::new(facts.clone()), now);
        engine.keyspace.aftermath.journal.listen();
        let mut world = Self { engine, facts, now, clients: Vec::new() };
        world.clients = (0..CLIENTS).map(|_| world.arrival()).collect();
        world
    }

    fn arrival(&mut self) -> Client {
        let peer = Peer {
            transport: Transport::Tcp,
            addr: "127.0.0.1:50000".into(),
            laddr: "127.0.0.1:6379".into(),
            fd: 10,
            is_loopback: true,
        };
        let id = self.engine.connect(peer, self.now);
        Client { id, input: Vec::new(), output: Vec::new() }
    }

    /// Another client comes in its place.
    fn leave(&mut self, at: usize) {
        self.engine.disconnect(self.clients[at].id, self.now);
        self.clients[at] = self.arrival();
    }

    /// Its FIN has arrived, but the server has yet to read it.
    fn hang_up(&mut self, at: usize) {
        self.facts.hung_up.borrow_mut().insert(self.clients[at].id);
    }

    fn pass(&mut self, span_ms: u64) {
        self.now.mono_us += span_ms * 1000;
        self.now.wall_ms += span_ms as i64;
    }

    fn ask(&mut self, at: usize, request: &[Vec<u8>]) {
        if self.facts.hung_up.borrow().contains(&self.clients[at].id) {
            self.leave(at);
        }
        let input = &mut self.clients[at].input;
        input.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for word in request {
            input.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            input.extend_from_slice(word);
            input.extend_from_slice(b"\r\n");
        }
    }

    /// A client that is to hear of what it has read changing, which only RESP3 can tell it.
    fn track(&mut self, at: usize, how: usize) {
        for line in ["HELLO 3", &format!("CLIENT TRACKING ON {}", TRACKING[how])] {
            let words: Vec<_> = line.split_whitespace().map(|word| word.into()).collect();
            self.ask(at, &words);
        }
    }

    /// Goes on until nobody can: what a server does between two looks at its sockets.
    fn work(&mut self) {
        let mut slices = 0;
        self.engine.tick(self.now);
        loop {
            let mut has_moved = false;
            if let Some(script) = self.engine.scripts.running().filter(|_| slices < SLICES_MAX) {
                let id = script.client;
                self.pass(SLICE_MS);
                self.engine.resume(id, self.now);
                slices += 1;
                has_moved = true;
            }
            for client in &mut self.clients {
                if self.engine.state(client.id) == State::Ready && !client.input.is_empty() {
                    let fed = self.engine.feed(client.id, &client.input, self.now);
                    client.input.drain(..fed.used);
                    has_moved |= fed.used > 0;
                }
            }
            for effect in self.engine.take_effects() {
                self.perform(effect);
                has_moved = true;
            }
            self.engine.stream();
            self.engine.keyspace.aftermath.journal.forget_whole_units();
            while self.engine.next_dirty().is_some() {}
            self.engine.take_runnable();
            for at in 0..CLIENTS {
                self.flush(at);
                if self.engine.state(self.clients[at].id) == State::Closing {
                    self.leave(at);
                    has_moved = true;
                }
            }
            if !has_moved {
                return;
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Sleep { client, .. } | Effect::Listen { client, .. } => {
                self.engine.answer(client, Outcome::Done, self.now)
            }
            Effect::Shutdown { client: Some(client), .. } => {
                let outcome = Outcome::Failed("ERR Errors trying to SHUTDOWN".into());
                self.engine.answer(client, outcome, self.now);
            }
            Effect::Save { client } => {
                self.save();
                self.engine.answer(client, Outcome::Done, self.now);
            }
            Effect::SaveAside { .. } => self.save(),
            Effect::Rewrite => unreachable!("nothing is appended"),
            // Nobody is there.
            Effect::Follow => {}
            Effect::Synchronise => self.synchronise(),
            Effect::Reload { client, .. } => {
                self.save();
                let outcome = Outcome::Failed("ERR not here".into());
                self.engine.answer(client, outcome, self.now);
            }
            Effect::Close { client } => {
                if let Some(at) = self.clients.iter().position(|it| it.id == client) {
                    self.leave(at);
                }
            }
            Effect::RewriteConfig { .. } => unreachable!("there is no configuration file"),
            Effect::Converse(it) => {
                let outcome =
                    Outcome::Answers { lines: Vec::new(), problem: Some(Problem::Reading) };
                self.engine.answer(it.client, outcome, self.now);
            }
            Effect::Reach { client, .. } => {
                let outcome = Outcome::Failed("ERR nobody is there".into());
                self.engine.answer(client, outcome, self.now);
            }
            Effect::ReadFile { client, refusal, .. }
            | Effect::WriteFile { client, refusal, .. } => {
                self.engine.answer(client, Outcome::Failed(refusal), self.now);
            }
            Effect::Reset { .. }
            | Effect::StandStill { .. }
            | Effect::Absent { .. }
            | Effect::MoveClock(_) => unreachable!("there is no fixture"),
            Effect::Shutdown { client: None, .. } | Effect::Reconfigure => {}
        }
    }

    /// Gives replicas that wait for one a snapshot.
    fn synchronise(&mut self) {
        if self.engine.begin_saving_for_replicas().is_some() {
            while !self.engine.keyspace.save_some(SavingStep::LONG) {}
            let bytes = self.engine.keyspace.take_saved();
            self.engine.send_payload(&bytes, true);
            self.engine.end_saving(true, self.now);
        }
        self.engine.end_payload();
    }

    /// What is saved is what there is.
    fn save(&mut self) {
        let mut file = Vec::new();
        let written: Result<(), ()> = self.engine.save_whole(SnapshotKind::Alone, |bytes| {
            file.extend_from_slice(bytes);
            Ok(())
        });
        let keys = self.engine.keyspace.saving().map(|saving| saving.keys);
        assert_eq!(keys, Some(self.engine.keyspace.len()));
        self.engine.end_saving(written.is_ok(), self.now);
        file.extend([0; 8]);
        let mut other = Engine::new(
            table(),
            self.engine.config.clone(),
            Box::new(FixedFacts::default()),
            self.now,
        );
        let mut blocks = [file, Vec::new()].into_iter();
        let options = LoadOptions { keeps_expired: true, ..LoadOptions::default() };
        Loader::new(options)
            .read_whole(&mut other, || Ok(blocks.next().expect("the last one ends it")))
            .expect("what was written is read");
        // Of a hash all fields may be over.
        assert!(other.keyspace.len() <= self.engine.keyspace.len());
    }

    /// Reads replies, of which only a suspended script may leave a half.
    fn flush(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.output.append(&mut self.engine.take_output(client.id));
        while let Some((_, len)) = Reply::decode(&client.output) {
            client.output.drain(..len);
        }
        let is_whole = client.output.is_empty() || self.engine.state(client.id) == State::Running;
        assert!(is_whole, "half a reply: {}", client.output.escape_ascii());
    }

    fn check(&mut self) {
        let keyspace = &self.engine.keyspace;
        for db in 0..keyspace.databases() {
            for entry in keyspace.db(db).iter() {
                let is_empty = match &entry.value {
                    Value::Str(_) | Value::Stream(_) => false,
                    Value::List(list) => list.is_empty(),
                    Value::Hash(hash) => hash.is_empty(),
                    Value::Set(set) => set.is_empty(),
                    Value::Zset(zset) => zset.is_empty(),
                    Value::Cold(_) => false,
                };
                assert!(!is_empty, "{} is empty", entry.key.text().escape_ascii());
            }
        }
        let tracking = keyspace.aftermath.tracking.as_deref();
        let clients = self.engine.clients.iter().filter(|client| client.tracking.is_some());
        assert_eq!(tracking.map_or(0, Tracking::client_count), clients.count());
        assert!(tracking.is_none_or(|it| it.key_count() <= it.reader_count()));
        self.engine.keyspace.aftermath.journal.forget_whole_units();
        if self.engine.acl.all().count() > 1 {
            // What is saved makes the same users when it is loaded.
            let saved = self.engine.acl.save();
            self.engine.load_users("users.acl", &saved, None).expect("it was saved");
            assert_eq!(self.engine.acl.save(), saved);
        }
        if self.engine.scripts.is_running() {
            // It holds up whatever is due.
            return;
        }
        self.engine.tick(self.now);
        let deadline = self.engine.next_deadline();
        let is_ahead = deadline.mono_us.is_none_or(|mono_us| mono_us > self.now.mono_us)
            && deadline.wall_ms.is_none_or(|wall_ms| wall_ms > self.now.wall_ms);
        assert!(is_ahead, "{deadline:?} is past at {:?}", self.now);
    }
}
