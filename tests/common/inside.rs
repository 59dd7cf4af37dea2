//! An engine in this process, with virtual time and no socket.

use super::compare::Dialect;
use super::facts::FixedFacts;
use super::reply::Reply;
use super::run::Server;
use super::tcp::encode;
use super::transcript::{Case, Target};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State, Transport};
use toril::engine::effect::{Effect, Outcome, Problem, Reading, Reloading};
use toril::engine::persistence::SnapshotKind;
use toril::engine::time::{Deadline, Now};
use toril::persist::{LoadOptions, Loader};
use toril::rdb::crc64;
use toril::testing;

/// Some moment; what matters is that it is always the same.
const START: Now = Now::new(1_800_000_000_000, 1_000_000);

/// A script that is suspended goes on this often before others have their turn: enough for one that
/// ends, and little enough for one that does not.
const SLICES_MAX: usize = 64;

pub struct InsideServer {
    dialect: Dialect,
    engine: Engine,
    now: Now,
    reading: Reading,
    stopwatch_us: Rc<Cell<u64>>,
    clients: BTreeMap<usize, Client>,
    /// What was saved.
    file: Vec<u8>,
}

struct Client {
    id: ClientId,
    /// Requests that the engine has yet to take.
    input: Vec<u8>,
    /// Replies that nobody has received yet.
    output: Vec<u8>,
    is_closed: bool,
}

impl InsideServer {
    pub fn new(dialect: Dialect) -> InsideServer {
        let stopwatch_us = Rc::default();
        let engine = start(&stopwatch_us);
        InsideServer {
            dialect,
            engine,
            now: START,
            reading: Reading::default(),
            stopwatch_us,
            clients: BTreeMap::new(),
            file: Vec::new(),
        }
    }

    fn client(&mut self, number: usize) -> &mut Client {
        if !self.clients.contains_key(&number) {
            let peer = Peer {
                transport: Transport::Tcp,
                addr: format!("127.0.0.1:{}", 50_000 + number),
                laddr: "127.0.0.1:6379".into(),
                fd: 10 + number as i32,
                is_loopback: true,
            };
            let id = self.engine.connect(peer, self.now);
            let client = Client { id, input: Vec::new(), output: Vec::new(), is_closed: false };
            self.clients.insert(number, client);
            if self.dialect == Dialect::Resp3 {
                self.send(number, &[vec![b"HELLO".to_vec(), b"3".to_vec()]]);
                self.client(number).output.clear();
            }
        }
        self.clients.get_mut(&number).expect("it is there by now")
    }

    /// Goes on until nobody can: what a server does between two looks at its sockets.
    fn work(&mut self) {
        let mut slices = 0;
        loop {
            let mut has_moved = false;
            for client in self.clients.values_mut().filter(|client| !client.is_closed) {
                match self.engine.state(client.id) {
                    State::Ready if !client.input.is_empty() => {
                        let fed = self.engine.feed(client.id, &client.input, self.now);
                        client.input.drain(..fed.used);
                        has_moved |= fed.used > 0;
                    }
                    State::Running if slices < SLICES_MAX => {
                        self.engine.resume(client.id, self.now);
                        slices += 1;
                        has_moved = true;
                    }
                    _ => {}
                }
            }
            for effect in self.engine.take_effects() {
                self.perform(effect);
                has_moved = true;
            }
            while self.engine.next_dirty().is_some() {}
            self.engine.take_runnable();
            for client in self.clients.values_mut().filter(|client| !client.is_closed) {
                client.output.append(&mut self.engine.take_output(client.id));
                if self.engine.state(client.id) == State::Closing {
                    self.engine.disconnect(client.id, self.now);
                    client.is_closed = true;
                    has_moved = true;
                }
            }
            if !has_moved {
                return;
            }
        }
    }

    /// The moment so much later, as the clock goes that a test may have moved.
    fn later(&self, micros: u64) -> Now {
        let mono_us = self.now.mono_us + micros;
        let wall_ms = self.reading.frozen_ms.unwrap_or(real_ms(mono_us) + self.reading.ahead_ms);
        Now::new(wall_ms, mono_us)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Sleep { client, micros } => {
                self.now = self.later(micros);
                self.stopwatch_us.update(|shown| shown + micros);
                self.engine.answer(client, Outcome::Done, self.now);
            }
            Effect::Shutdown { .. } => {
                self.clients.values_mut().for_each(|client| client.is_closed = true);
            }
            Effect::StandStill { micros } => self.now = self.later(micros),
            Effect::Close { client } | Effect::Reset { client } => {
                let closed = self.clients.values_mut().find(|it| it.id == client && !it.is_closed);
                if let Some(closed) = closed {
                    closed.is_closed = true;
                    self.engine.disconnect(client, self.now);
                }
            }
            Effect::Listen { client, .. } => {
                self.engine.answer(client, Outcome::Done, self.now);
            }
            Effect::Save { client } => {
                self.save();
                self.engine.answer(client, Outcome::Done, self.now);
            }
            Effect::SaveAside { .. } => self.save(),
            Effect::Rewrite => unreachable!("nothing is appended"),
            // Nobody is there.
            Effect::Follow => {}
            Effect::Synchronise => unreachable!("nobody follows in a transcript"),
            Effect::Reload { client, how } => {
                let outcome = match self.reload(how) {
                    Ok(()) => Outcome::Done,
                    Err(_) => Outcome::Failed(
                        "ERR Error trying to load the RDB dump, check server logs.".into(),
                    ),
                };
                self.engine.answer(client, outcome, self.now);
            }
            // There is nobody to speak to.
            Effect::RewriteConfig { .. } => unreachable!("there is no configuration file"),
            Effect::Converse(it) => {
                let outcome =
                    Outcome::Answers { lines: Vec::new(), problem: Some(Problem::Writing) };
                self.engine.answer(it.client, outcome, self.now);
            }
            Effect::Reach { client, .. } => {
                let outcome = Outcome::Failed("ERR nobody is there".into());
                self.engine.answer(client, outcome, self.now);
            }
            // Nor is there a file.
            Effect::ReadFile { client, refusal, .. }
            | Effect::WriteFile { client, refusal, .. } => {
                self.engine.answer(client, Outcome::Failed(refusal), self.now);
            }
            Effect::MoveClock(to) => {
                let real_ms = real_ms(self.now.mono_us);
                self.reading = self.reading.after(to, self.now.wall_ms, real_ms);
                self.now = self.later(0);
                self.engine.clock_moved(Ok(self.reading), self.now);
            }
            Effect::Absent { .. } | Effect::Reconfigure => {}
        }
    }
}

/// There is a file after all, of snapshots.
impl InsideServer {
    fn save(&mut self) {
        self.file.clear();
        let written: Result<(), ()> = self.engine.save_whole(SnapshotKind::Alone, |bytes| {
            self.file.extend_from_slice(bytes);
            Ok(())
        });
        self.file.extend(crc64(0, &self.file).to_le_bytes());
        self.engine.end_saving(written.is_ok(), self.now);
    }

    fn reload(&mut self, how: Reloading) -> Result<(), String> {
        if how.saves {
            self.save();
        }
        if how.flushes {
            self.engine.forget_all();
        }
        let options = LoadOptions { merges: how.merges, ..LoadOptions::default() };
        let mut blocks = [self.file.clone(), Vec::new()].into_iter();
        Loader::new(options)
            .read_whole(&mut self.engine, || Ok(blocks.next().expect("the last one ends it")))
    }
}

fn start(stopwatch_us: &Rc<Cell<u64>>) -> Engine {
    let lines = "save \"\"\nenable-debug-command yes\n";
    let (config, _) = Config::from_lines(lines, &mut |_| unreachable!("nothing is included"))
        .expect("good lines");
    let facts = FixedFacts { stopwatch_us: stopwatch_us.clone(), ..FixedFacts::default() };
    let mut engine = Engine::new(table(), config, Box::new(facts), START);
    engine.offer_fixture(testing::make);
    engine
}

/// The wall clock that no test has moved.
fn real_ms(mono_us: u64) -> i64 {
    START.wall_ms + ((mono_us - START.mono_us) / 1000) as i64
}

/// How long until the deadline; a deadline that is past is due at once.
fn micros_until(deadline: Deadline, now: Now) -> Option<u64> {
    let mono = deadline.mono_us.map(|us| us.saturating_sub(now.mono_us));
    let wall = deadline.wall_ms.map(|ms| (ms - now.wall_ms).max(0) as u64 * 1000);
    mono.into_iter().chain(wall).min()
}

impl Server for InsideServer {
    fn target(&self) -> Target {
        Target::Toril
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn begin(&mut self, _case: &Case) {
        *self = InsideServer::new(self.dialect);
    }

    fn send(&mut self, client: usize, requests: &[Vec<Vec<u8>>]) {
        let bytes = encode(requests);
        self.client(client).input.extend_from_slice(&bytes);
        self.work();
    }

    fn settle(&mut self, _client: usize) {}

    fn receive(&mut self, client: usize, _is_wanted: bool) -> Reply {
        let open = self.client(client);
        match Reply::decode(&open.output) {
            Some((reply, len)) => {
                open.output.drain(..len);
                reply
            }
            None if open.is_closed => {
                // It would connect anew.
                self.clients.remove(&client);
                Reply::Closed
            }
            None => Reply::Nothing,
        }
    }

    fn leftover(&mut self) -> Option<(usize, Reply)> {
        let has_more = |client: &Client| client.is_closed || !client.output.is_empty();
        let (&number, _) = self.clients.iter().find(|(_, client)| has_more(client))?;
        Some((number, self.receive(number, false)))
    }

    /// From deadline to deadline, as the server's timer would wake it; never past one.
    fn advance(&mut self, span: Duration) -> bool {
        // A test may move the wall clock meanwhile.
        let end_us = self.now.mono_us + span.as_micros() as u64;
        while self.now.mono_us < end_us {
            let left = end_us - self.now.mono_us;
            let step = micros_until(self.engine.next_deadline(), self.now).unwrap_or(left);
            // A deadline that stays due although it has been served waits for a script to end.
            self.now = self.later(step.clamp(125, left.max(125)).min(left));
            self.engine.tick(self.now);
            self.work();
        }
        true
    }
}
