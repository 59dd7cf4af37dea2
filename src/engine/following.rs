//! Following: another server, the primary, leads, and what it streams is done here.
//!
//! The server keeps the link and persist/link.rs reads it. The primary's commands run in the name
//! of a client that no checklist refuses, at a time at which nothing is over: what went because of
//! time is in the stream. Nothing goes by itself, neither for time nor for want of memory; what is
//! over is absent for clients all the same.
//!
//! What was streamed is kept as the backlog and passed on, byte for byte, so that its offsets mean
//! the same to all who follow the same history, and any of them may lead the others one day. Who
//! becomes the leader begins a history of his own, and remembers the name that the one before had,
//! and up to where it is his own.

use super::Engine;
use super::client::{Client, ClientId, ClientPart, Peer, ReplyMode, State};
use super::context::{Ctx, Origin};
use super::dispatch::Called;
use super::effect::Effect;
use super::row::{Flag, Flags};
use super::table::Found;
use super::time::Now;
use crate::proto::{Args, Error, Result};

/// What clients are told that wait for keys when the server begins to follow.
pub const UNBLOCKED: &str = "UNBLOCKED force unblock from blocking operation, instance state changed \
    (master -> replica?)";

const PRIMARY_DOWN: &str = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is \
    set to 'no'.";

const NO_LINK: &str = "NOMASTERLINK Can't SYNC while not connected with my master";

/// How the link to the primary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStage {
    Down,
    Connecting,
    /// Each tells who it is.
    Greets,
    /// A snapshot comes.
    Loads,
    /// The stream comes.
    Up,
}

/// Whom this server follows, and how that goes.
#[derive(Clone, Debug)]
pub struct Following {
    pub host: String,
    pub port: u16,
    pub stage: LinkStage,
    /// The monotonic clock when something came over the link last.
    pub heard_us: u64,
    /// When the stream ended last; None if there was none.
    pub down_since_us: Option<u64>,
    /// Bytes of the snapshot that have come, and of all of it where that is known.
    pub loaded: u64,
    pub to_load: Option<u64>,
    /// The history here cannot be gone on with.
    pub wants_all: bool,
    /// Whose commands run, and the database that they are about.
    client: Option<ClientId>,
    db: usize,
}

impl Following {
    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            stage: LinkStage::Down,
            heard_us: 0,
            down_since_us: None,
            loaded: 0,
            to_load: None,
            wants_all: false,
            client: None,
            db: 0,
        }
    }

    /// Whether what there is here is what the primary had at some byte of its stream.
    pub fn has_history(&self) -> bool {
        !self.wants_all
    }

    /// The database that the stream is about.
    pub fn db(&self) -> usize {
        self.db
    }
}

impl Ctx<'_> {
    /// Follows another server from now on.
    pub fn follow(&mut self, host: &str, port: u16) {
        self.engine.follow_server(host, port);
    }

    /// Follows nobody any more.
    pub fn lead(&mut self) {
        self.engine.lead();
    }

    /// Refuses to be followed while it is not known what there is to be followed.
    ///
    /// # Errors
    /// The link to the primary is down.
    pub fn check_link(&self) -> Result {
        match self.engine.replication.following() {
            Some(it) if it.stage != LinkStage::Up => Err(Error::new(NO_LINK)),
            _ => Ok(()),
        }
    }
}

impl Engine {
    /// Follows another server. What clients wait for here would never come.
    pub fn follow_server(&mut self, host: &str, port: u16) {
        self.leave_primary();
        self.replication.handed_over = None;
        self.replication.following = Some(Box::new(Following::new(host, port)));
        self.config.replica.replicaof = vec![host.to_owned(), port.to_string()];
        self.settle_authority();
        let is_blocked = |client: &&Client| client.is_blocked();
        let blocked = self.clients.iter().filter(is_blocked).map(|client| client.id);
        for id in blocked.collect::<Vec<ClientId>>() {
            self.unblock(id, Some(Error::new(UNBLOCKED)));
            self.clients[id].state = State::Closing;
        }
        self.ask(Effect::Follow);
        tracing::warn!("Following {}:{port} from now on", host.escape_debug());
    }

    /// Follows nobody any more: a history begins that goes on from the one that was followed.
    pub fn lead(&mut self) {
        if self.replication.handed_over.take().is_some() {
            tracing::warn!("What was handed over is taken back: writes are taken again");
            self.settle_authority();
        }
        if !self.replication.is_following() {
            return;
        }
        self.leave_primary();
        self.config.replica.replicaof.clear();
        let name = self.keyspace.rng.hex_name();
        self.replication.begin_history(name);
        self.let_all_replicas_go();
        self.keyspace.aftermath.journal.begin_anew();
        if self.replication.backlog_len().is_some() {
            self.keyspace.aftermath.journal.listen();
        }
        self.settle_authority();
        self.evict_later();
        self.ask(Effect::Follow);
        tracing::warn!("Following nobody from now on");
    }

    /// What was changed up to here is of the history up to here.
    fn leave_primary(&mut self) {
        self.keyspace.aftermath.journal.end_unit();
        self.stream();
        self.replication.skip(self.keyspace.aftermath.journal.whole_units().0.len());
        self.keyspace.unstage();
        let client = self.replication.following.take().and_then(|it| it.client);
        client.into_iter().for_each(|id| _ = self.clients.remove(id));
    }

    /// READONLY, to who would change something here; or NOREPLICAS.
    #[cold]
    pub(super) fn check_replica(&self, flags: Flags) -> Result {
        let is_refused = flags.has(Flag::Write) && self.is_read_only();
        if is_refused { Err(self.read_only_error()) } else { self.check_replicas(flags) }
    }

    /// Whether clients may change nothing.
    pub(super) fn is_read_only(&self) -> bool {
        let state = &self.replication;
        state.handed_over.is_some() || state.is_following() && self.config.replica.read_only
    }

    /// MASTERDOWN, where what may be old is not to be read.
    #[cold]
    pub(super) fn check_link(&self, found: Found, args: &Args) -> Result {
        let is_stale = self.replication.following().is_some_and(|it| it.stage != LinkStage::Up);
        let flags = found.row.flags;
        // A script that does not say what it does may read.
        let is_script = flags.runs_script();
        let declared = if is_script { self.flags_of_script(found, args) } else { Some(flags) };
        let is_allowed = declared.is_some_and(|flags| flags.has(Flag::Stale));
        let is_refused = is_stale && !self.config.replica.serves_stale_data && !is_allowed;
        if is_refused { Err(Error::new(PRIMARY_DOWN)) } else { Ok(()) }
    }

    /// The link is at this stage now.
    pub fn note_link(&mut self, stage: LinkStage) {
        let now_us = self.keyspace.now.mono_us;
        let Some(following) = &mut self.replication.following else { return };
        if following.stage == LinkStage::Up && stage != LinkStage::Up {
            following.down_since_us = Some(now_us);
        }
        following.stage = stage;
        following.heard_us = now_us;
        if stage == LinkStage::Down {
            self.keyspace.unstage();
        }
    }

    /// Something has come over the link.
    pub fn hear_link(&mut self) {
        let now_us = self.keyspace.now.mono_us;
        if let Some(following) = &mut self.replication.following {
            following.heard_us = now_us;
        }
    }

    /// Of a snapshot so many bytes have come, of so many where that is known.
    pub fn note_loaded_from_primary(&mut self, loaded: u64, to_load: Option<u64>) {
        if let Some(following) = &mut self.replication.following {
            (following.loaded, following.to_load) = (loaded, to_load);
        }
    }

    /// What there is cannot be gone on with: the next link brings all anew.
    pub fn want_all(&mut self) {
        if let Some(following) = &mut self.replication.following {
            following.wants_all = true;
        }
    }

    /// The stream goes on where it stopped, perhaps as a history of another name.
    pub fn go_on_following(&mut self, history: Option<&str>) {
        if let Some(history) = history.filter(|it| **it != *self.replication.id) {
            self.replication.begin_history(history.to_owned());
            // They are to hear of that.
            self.let_all_replicas_go();
        }
        self.replication.keep_backlog();
        self.primary_client();
        self.note_link(LinkStage::Up);
        self.end_failover();
    }

    /// What there is comes from a file that was saved here, at an offset of a history: from there
    /// on it is asked for.
    pub fn go_on_from_file(&mut self, history: &str, offset: u64, db: usize) {
        let Some(following) = &mut self.replication.following else { return };
        following.db = db;
        self.replication.adopt_history(history, offset);
    }

    /// Runs this on data beside what there is, which `take_over` puts in its place.
    pub fn on_staged<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> T {
        self.keyspace.exchange_staged();
        let result = run(self);
        self.keyspace.exchange_staged();
        result
    }

    /// What has come beside takes the place of what there is, and with it the history.
    ///
    /// # Errors
    /// A library of functions does not load; all is as it was.
    pub fn take_over(
        &mut self,
        (history, offset): (&str, u64),
        db: usize,
        libraries: &[Vec<u8>],
    ) -> Result {
        self.replace_libraries(libraries)?;
        self.persistence.give_up_saving();
        self.keyspace.give_up_saving();
        self.keyspace.put_staged_in_place();
        self.replication.adopt_history(history, offset);
        self.let_all_replicas_go();
        if let Some(following) = &mut self.replication.following {
            (following.db, following.wants_all) = (db, false);
        }
        self.primary_client();
        self.note_link(LinkStage::Up);
        self.end_failover();
        self.settle();
        if let Some(file) = &mut self.persistence.appending {
            file.is_of_before = true;
            self.want_rewrite();
        }
        Ok(())
    }

    /// Whether a command of the stream can be done.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_streamed(&self, words: &[&[u8]]) -> Result {
        let args = Args::new(words);
        let found = self.table.resolve(&args)?;
        let row = found.row;
        if !row.arity.allows(args.len()) {
            return Err(Error::wrong_arity(&found.full_name()));
        }
        let changes = row.flags.may_write() || row.flags.has(Flag::ForReplicas);
        if row.flags.runs_script() {
            // One without an end would hold up everybody here.
            return Err(Error::new(format!(
                "ERR '{}' runs a script: since Redis 7 what scripts do is streamed",
                found.full_name()
            )));
        }
        if !changes && !row.flags.has(Flag::Streamed) {
            return Err(Error::new(format!("ERR '{}' changes nothing", found.full_name())));
        }
        Ok(())
    }

    /// From here up to `end_streamed` it is a time at which nothing is over.
    pub fn begin_streamed(&mut self) {
        self.keyspace.stop_time();
    }

    /// Does a command of the stream that was checked.
    ///
    /// # Errors
    /// Its own. It did something over there, so that what there is here is no longer the same.
    pub fn run_streamed(&mut self, words: &[&[u8]]) -> Result {
        let id = self.primary_client();
        let args = Args::new(words);
        let found = self.table.resolve(&args)?;
        match self.call_on_outbox(id, found, args, Origin::Client) {
            Called::Running => self.run_to_end(id),
            Called::Done(Err(error)) => {
                let name = found.full_name();
                return Err(Error::quoting(&format!("ERR {name} answers: "), error.text(), ""));
            }
            // Nobody waits for the primary's sake.
            Called::Done(Ok(())) | Called::Parked(_) => {}
        }
        let db = self.clients[id].db;
        if let Some(following) = &mut self.replication.following {
            following.db = db;
        }
        Ok(())
    }

    /// Ends a unit of the stream, which was these bytes: they are passed on.
    pub fn end_streamed(&mut self, bytes: &[u8], now: Now) {
        (self.keyspace.now, self.keyspace.replayed_ms) = (now, None);
        self.settle();
        self.pass_on(bytes);
    }

    /// In whose name the primary's commands run.
    fn primary_client(&mut self) -> ClientId {
        let Some(following) = &mut self.replication.following else {
            unreachable!("nothing is streamed by nobody");
        };
        if let Some(id) = following.client {
            return id;
        }
        let addr = format!("{}:{}", following.host, following.port);
        let peer = Peer { addr, ..Peer::inside() };
        let id = self.clients.add(peer, self.acl.default_user(), self.keyspace.now);
        following.client = Some(id);
        let client = &mut self.clients[id];
        client.part = ClientPart::Primary;
        (client.is_authenticated, client.is_unrestricted) = (true, true);
        (client.db, client.reply_mode) = (following.db, ReplyMode::Off);
        id
    }

    /// The client in whose name the primary's commands run is gone: so is the link.
    pub(super) fn leave_link(&mut self, id: ClientId) {
        let following = self.replication.following.as_mut();
        if let Some(following) = following.filter(|it| it.client == Some(id)) {
            following.client = None;
            self.ask(Effect::Follow);
        }
    }
}
