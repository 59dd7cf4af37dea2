//! The engine: a state machine without I/O. Bytes and a time go in; bytes and the next time it
//! wants to be called come out. It never names a command: the table is handed to it.
//!
//! One turn of the server: `tick`, then `feed` whole requests, then flush what `next_dirty` names,
//! in that order: who was answered last is written to first, as in Redis. So whom a push has served
//! hears of it before the pusher does.
//!
//! Parked clients are served inside `feed`, `run`, `tick` and `resume`, after each command. While
//! there is nothing else to do, `work_while_idle` does what `has_idle_work` asks for.

pub mod acl;
pub mod aftermath;
mod alarms;
pub mod changed_keys;
pub mod client;
pub mod client_line;
pub mod closing;
pub mod compaction;
pub mod context;
pub mod dispatch;
pub mod dollars;
pub mod effect;
pub mod eviction;
pub mod facts;
pub mod failover;
mod feed;
pub mod fixture;
pub mod following;
pub mod handing_over;
pub mod hash_slot;
pub mod journal;
pub mod keys;
pub mod keyspace;
pub mod latency;
pub mod parking;
pub mod pause;
pub mod persistence;
pub mod pubsub;
mod pushes;
pub mod replication;
pub mod rest;
pub mod row;
pub mod script;
pub mod settings;
pub mod stats;
pub mod table;
pub mod time;
pub mod tracking;
pub mod transaction;
pub mod waiters;

use crate::config::{self, Config};
use crate::proto::{Args, Outbox};
use crate::util::rng::Rng;
use acl::Acl;
use aftermath::{Event, Notice};
use alarms::{Alarm, Alarms};
use client::{ClientId, Clients, Peer, State, Transport};
use closing::Closing;
use compaction::Compaction;
use effect::Errands;
use eviction::Eviction;
use facts::Facts;
use feed::Input;
use keyspace::Keyspace;
use pause::Pauses;
use persistence::Persistence;
use pubsub::PubSub;
use pushes::Pushes;
use replication::Replication;
use script::Scripts;
use stats::Stats;
use table::Table;
use time::{Deadline, Now};
use tracking::{Author, Own};

pub use context::{Ctx, Empty, Timeout, Wait};
pub use parking::Attempt;
pub use waiters::{On, Woken};

/// What a look at a client's input came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Bytes at the front that have been dealt with.
    pub used: usize,
    pub state: State,
    /// The turn's budget was spent before the input: feed again, after others.
    pub has_more: bool,
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    pub state: State,
    /// It was not begun: to be run again once the client is Ready, after others.
    pub is_postponed: bool,
}

/// Each part keeps its insides to itself; what several of them do together are methods of the
/// engine, in the file of that topic.
pub struct Engine {
    pub table: Table,
    pub acl: Acl,
    pub config: Config,
    pub keyspace: Keyspace,
    pub clients: Clients,
    pub pubsub: PubSub,
    pub stats: Stats,
    pub facts: Box<dyn Facts>,
    pub scripts: Scripts,
    pub pauses: Pauses,
    pub persistence: Persistence,
    pub replication: Replication,
    pub compaction: Compaction,
    /// Names this server in INFO: 40 hexadecimal digits, new at each start.
    pub run_id: String,
    pub started: Now,
    /// A bug that the simulation switches on to show that it would see it (tests/sim.rs). None in
    /// a server: only a test can set it.
    pub fault: Option<parking::Fault>,
    alarms: Alarms,
    closing: Closing,
    errands: Errands,
    eviction: Eviction,
    fixture: fixture::Place,
    input: Input,
    pushes: Pushes,
}

impl Engine {
    /// An empty server. `now` is the first moment it knows; what is random follows from `facts`.
    pub fn new(table: Table, config: Config, facts: Box<dyn Facts>, now: Now) -> Self {
        let mut rng = Rng::from_seed(facts.entropy());
        let (run_id, history) = (rng.hex_name(), rng.hex_name());
        let stats = Stats::new(table.count(), facts.allocated_bytes());
        let mut keyspace = Keyspace::new(config.databases, config.limits.clone(), rng, now);
        keyspace.aftermath.classes = config.notify_keyspace_events;
        let closing = Closing::new(facts.memory().total);
        let acl = Acl::new(&table);
        let mut engine = Self {
            table,
            acl,
            config,
            keyspace,
            clients: Clients::default(),
            pubsub: PubSub::default(),
            stats,
            facts,
            scripts: Scripts::default(),
            pauses: Pauses::default(),
            persistence: Persistence::new(now),
            replication: Replication::new(history),
            compaction: Compaction::default(),
            run_id,
            started: now,
            fault: None,
            alarms: Alarms::new(now),
            closing,
            errands: Errands::default(),
            eviction: Eviction::default(),
            fixture: fixture::Place::default(),
            input: Input::default(),
            pushes: Pushes::default(),
        };
        engine.set_default_password(engine.config.requirepass.clone().as_ref());
        engine.find_what_is_slow();
        engine.watch_save_rules();
        engine.settle_authority();
        if let Some((host, port)) = engine.config.replica.primary() {
            let host = host.to_owned();
            engine.follow_server(&host, port);
        }
        if engine.config.timeout_s > 0 {
            engine.look_for_idle_clients();
        }
        engine
    }

    /// A client has come. Its answer to `maxclients` and protected mode, if it is refused, is in
    /// its outbox, and its state is Closing.
    pub fn connect(&mut self, peer: Peer, now: Now) -> ClientId {
        self.set_now(now);
        let refusal = self.refusal(&peer);
        let is_stranger = peer.transport == Transport::Http && refusal.is_none();
        let id = self.clients.add(peer, self.acl.default_user(), now);
        self.clients.mark_stranger(id, is_stranger);
        // Who came before a password was set stays, as in Redis.
        self.clients[id].is_authenticated = !self.acl.needs_login();
        self.stats.connections += 1;
        if let Some(text) = refusal {
            self.stats.rejected_connections += 1;
            self.clients[id].state = State::Closing;
            self.answer_with(id, |reply| reply.error_text(text));
        }
        id
    }

    /// A client has gone.
    pub fn disconnect(&mut self, id: ClientId, now: Now) {
        self.set_now(now);
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.state == State::Running || self.errands.halts_for(id) {
            client.is_gone = true;
            return;
        }
        self.unpark(id);
        self.release_pushes(id);
        self.leave_replication(id);
        self.leave_link(id);
        self.leave_handing_over(id);
        self.unsubscribe_all(id);
        self.unwatch(id);
        if self.keyspace.aftermath.tracking.is_some() {
            self.leave_tracking(id);
        }
        self.clients.remove(id);
    }

    /// Nobody comes between the slices of a script until it is known to be busy, nor between the
    /// commands of an EXEC.
    fn is_closed(&self) -> bool {
        self.scripts.is_running() && !self.is_busy() || self.errands.halts()
    }

    /// As `feed` for one request of a transport that has parsed it itself.
    pub fn run(&mut self, id: ClientId, args: Args, now: Now) -> Ran {
        self.run_with(id, now, |engine| engine.request(id, args))
    }

    /// Runs what `request` does in a client's name, unless it is to be done later.
    fn run_with(&mut self, id: ClientId, now: Now, request: impl FnOnce(&mut Self)) -> Ran {
        self.set_now(now);
        if self.is_closed() {
            return Ran { state: self.state(id), is_postponed: true };
        }
        self.start_lap();
        self.stats.reads += 1;
        request(self);
        self.settle();
        self.end_turn();
        Ran { state: self.state(id), is_postponed: self.is_held(id) }
    }

    /// A busy server, too, frees what was removed.
    fn end_turn(&mut self) {
        if self.keyspace.has_doomed() {
            self.keyspace.free_some();
        }
        self.stir_compaction();
    }

    /// Whether `work_while_idle` has something to do.
    pub fn has_idle_work(&self) -> bool {
        self.keyspace.has_doomed() || self.is_passing()
    }

    /// To be called while nobody asks for anything: frees some of what was removed, or goes on with
    /// compaction.
    pub fn work_while_idle(&mut self, now: Now) {
        self.set_now(now);
        if self.keyspace.has_doomed() {
            self.keyspace.free_some();
        } else {
            self.go_on_passing();
        }
    }

    /// Fires what is due: expired keys, blocked clients whose time is up, the end of a pause. Where
    /// more is due than a turn may fire, `next_deadline` is not after `now` afterwards.
    pub fn tick(&mut self, now: Now) {
        self.set_now(now);
        if self.scripts.is_running() || self.errands.halts() {
            return;
        }
        self.keyspace.aftermath.author = Author::NOBODY;
        self.timed(latency::LatencyEvent::ExpireCycle, |engine| {
            engine.keyspace.expire_due(config::TURN_EXPIRIES_MAX)
        });
        let due = self.alarms.take_due(now);
        if !due.is_empty() {
            self.start_lap();
        }
        for alarm in due {
            match alarm {
                Alarm::Client(id) => self.time_out(id),
                Alarm::Pause => self.settle_pauses(),
                Alarm::Eviction => self.go_on_evicting(),
                Alarm::IdleClients => self.close_idle_clients(),
                Alarm::Compaction => self.begin_pass(),
                Alarm::SaveRules => self.look_at_save_rules(),
                Alarm::Replicas => self.look_at_replicas(),
                Alarm::Failover => self.look_at_failover(),
                Alarm::Acknowledged => self.serve_acknowledged(),
                Alarm::SoftLimit(id) => self.check_output_limit(id),
                Alarm::Fixture => self.fixture.is_due = true,
            }
        }
        self.settle();
        if self.fixture.is_due {
            self.tell_fixture();
        }
    }

    /// When `tick` is next wanted. Not while a script is suspended, which it would leave alone.
    pub fn next_deadline(&self) -> Deadline {
        if self.scripts.is_running() {
            return Deadline::default();
        }
        let stands_still = self.fixture.stops_clock;
        let comes = |at_ms: &i64| !stands_still || *at_ms <= self.keyspace.now.wall_ms;
        Deadline {
            wall_ms: self.keyspace.next_expiry_ms().filter(comes),
            mono_us: self.alarms.next_deadline_us(),
        }
    }

    /// What a client is still to be sent.
    #[inline]
    pub fn outbox(&mut self, id: ClientId) -> Option<&mut Outbox> {
        self.clients.get_mut(id).map(|client| &mut client.outbox)
    }

    /// Writes bytes that are no reply into a client's outbox.
    pub fn write_out(&mut self, id: ClientId, bytes: &[u8]) {
        self.clients.write_out(id, bytes);
    }

    /// Gives a client a name, as CLIENT SETNAME does.
    pub fn name_client(&mut self, id: ClientId, name: &[u8]) {
        if let Some(client) = self.clients.get_mut(id) {
            client.name = name.into();
        }
    }

    /// A client of the server's own that sees what all others ask for, as MONITOR does. What it is
    /// shown stays in its outbox, within the limit of those who listen; `disconnect` ends it.
    pub fn add_monitor(&mut self, name: &[u8]) -> ClientId {
        let id = self.clients.add_monitor(self.acl.default_user(), self.keyspace.now);
        self.name_client(id, name);
        id
    }

    pub fn state(&self, id: ClientId) -> State {
        self.clients.get(id).map_or(State::Closing, |client| client.state)
    }

    /// The next client whose outbox has grown since it was last named here: the last that was
    /// answered. One that let too much pile up is closed, with nothing left to send.
    pub fn next_dirty(&mut self) -> Option<ClientId> {
        self.broadcast();
        let id = self.clients.dirty.pop()?;
        if let Some(client) = self.clients.get_mut(id) {
            client.is_dirty = false;
        }
        if self.fixture.heeds_replies {
            self.show_answer(id);
        }
        self.check_output_limit(id);
        self.weigh(id);
        Some(id)
    }

    /// Clients whose next request can run although nothing new has arrived from them.
    pub fn take_runnable(&mut self) -> Vec<ClientId> {
        let runnable = std::mem::take(&mut self.clients.runnable);
        for &id in &runnable {
            if let Some(client) = self.clients.get_mut(id) {
                client.is_runnable = false;
            }
        }
        runnable
    }

    /// The socket took this many bytes of a client's outbox.
    pub fn sent(&mut self, id: ClientId, count: usize) {
        self.stats.bytes_out += count as u64;
        self.stats.writes += 1;
        let now_us = self.keyspace.now.mono_us;
        if let Some(client) = self.clients.get_mut(id) {
            client.active_us = now_us;
            client.bytes_out += count as u64;
            client.outbox.consume(count);
        }
        self.weigh(id);
    }

    /// All that a client is still to be sent, for a transport that sends it whole.
    pub fn take_output(&mut self, id: ClientId) -> Vec<u8> {
        self.take_from(id, Outbox::take)
    }

    /// The first part of it, for one that sends what comes as long as it comes.
    pub fn take_chunk(&mut self, id: ClientId) -> Vec<u8> {
        self.take_from(id, Outbox::take_chunk)
    }

    fn take_from(&mut self, id: ClientId, take: fn(&mut Outbox) -> Vec<u8>) -> Vec<u8> {
        let Some(client) = self.clients.get_mut(id) else { return Vec::new() };
        let output = take(&mut client.outbox);
        client.bytes_out += output.len() as u64;
        self.stats.writes += 1;
        self.stats.bytes_out += output.len() as u64;
        output
    }

    /// A client has taken some of what it is sent, which is not idle.
    pub fn stir(&mut self, id: ClientId, now: Now) {
        if let Some(client) = self.clients.get_mut(id) {
            client.active_us = now.mono_us;
        }
    }

    /// Ends the watching of keys.
    pub fn unwatch(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        client.transaction.is_broken = false;
        for (db, key) in std::mem::take(&mut client.transaction.watched) {
            self.keyspace.aftermath.unwatch(db, &key, id);
        }
    }

    /// What follows each request: the end of its unit in the journal, broken transactions, keyspace
    /// events, parked clients.
    #[inline]
    fn settle(&mut self) {
        if self.keyspace.has_news() && !self.errands.halts() {
            self.settle_news();
        }
    }

    #[inline(never)]
    fn settle_news(&mut self) {
        // A suspended script's unit goes on, whatever others do meanwhile.
        let has_ended = !self.scripts.is_running();
        if has_ended {
            self.end_unit();
        }
        self.settle_aftermath();
        while has_ended && self.keyspace.aftermath.waiters.has_ready() {
            self.serve_ready();
            self.end_unit();
            self.settle_aftermath();
        }
        if has_ended && self.keyspace.aftermath.has_heard() {
            self.tell_fixture();
        }
    }

    /// Ends a unit: what was found to be over goes, with what the unit did.
    #[inline]
    pub(super) fn end_unit(&mut self) {
        self.keyspace.aftermath.author = Author::NOBODY;
        self.keyspace.remove_noted();
        self.keyspace.aftermath.journal.end_unit();
    }

    fn settle_aftermath(&mut self) {
        while let Some(id) = self.keyspace.aftermath.broken.pop() {
            if let Some(client) = self.clients.get_mut(id) {
                client.transaction.is_broken = true;
            }
        }
        self.tell_notices();
    }

    /// Tells whoever wants to hear of it what has happened. A client hears of its own changes last,
    /// as in Redis.
    fn tell_notices(&mut self) {
        if self.keyspace.aftermath.notices.is_empty() {
            return;
        }
        let mut own = Own::new();
        for notice in std::mem::take(&mut self.keyspace.aftermath.notices) {
            match notice {
                Notice::Event(event) => self.publish_event(&event),
                Notice::Invalidation(change) => self.tell_of_change(change, &mut own),
            }
        }
        self.tell_own(own);
    }

    fn publish_event(&mut self, event: &Event) {
        let classes = self.keyspace.aftermath.classes;
        if classes.contains(config::EventClasses::KEYSPACE) {
            let channel = [format!("__keyspace@{}__:", event.db).as_bytes(), &event.key].concat();
            self.publish(&channel, event.name.as_bytes());
        }
        if classes.contains(config::EventClasses::KEYEVENT) {
            let channel = format!("__keyevent@{}__:{}", event.db, event.name);
            self.publish(channel.as_bytes(), &event.key);
        }
    }

    #[inline]
    fn set_now(&mut self, now: Now) {
        if self.stats.advance(now.wall_ms) {
            self.note_peak();
        }
        if !self.scripts.is_running() {
            self.keyspace.now = now;
        }
    }

    /// Looks how much memory is in use; returns it.
    pub fn note_peak(&mut self) -> u64 {
        let allocated = self.facts.allocated_bytes();
        self.stats.peak_allocated = self.stats.peak_allocated.max(allocated);
        allocated
    }
}
