//! Replicas: who follows this server, and how far each of them has come.
//!
//! The *stream* is the journal with nothing left out, counted in bytes from the moment at which the
//! first replica asked. Its last part is kept as the backlog: a replica whose link was cut for a
//! moment goes on where it stopped. Any other is given a snapshot, and behind it the stream from
//! the snapshot's very moment on. The server carries the snapshot (server/replicas.rs); what is
//! streamed meanwhile waits here for each replica, and goes out when the replica says that it has
//! read the snapshot.
//!
//! Without a replica nothing is streamed: the journal may not even be written.

use super::Engine;
use super::alarms::Alarm;
use super::client::{ClientId, ClientPart, Clients, State};
use super::context::{Ctx, Empty, Reached};
use super::effect::Effect;
use super::failover::FailingOver;
use super::following::Following;
use super::handing_over::HandedOver;
use super::persistence::FilePlace;
use super::row::{Flag, Flags};
use super::waiters::Woken;
use crate::config::{ClientClass, Config};
use crate::proto::{Error, Result, request};
use crate::rdb::Made;
use std::collections::{BTreeMap, VecDeque};

/// How often it is looked whether a replica is to be pinged, or has fallen silent.
const LOOK_US: u64 = 1_000_000;

/// Valkey's version from which on it reads its own format of snapshots.
const VALKEY_MAJOR_MIN: u32 = 9;

/// So many snapshots that a replica left without reading them are enough: it cannot. It may try
/// again when so much time has passed. From the second on they are as Redis 7.0 reads them, which
/// tells nobody its version.
const UNREAD_MAX: u32 = 5;
const UNREAD_KEPT_US: u64 = 60_000_000;

const CANNOT_READ: &str = "ERR this replica has left five snapshots one behind the other without \
    reading them, of version 11 of RDB and of version 10. It may try again in a minute";

const CANNOT_READ_FIELD_TTLS: &str = "ERR this replica has left five snapshots one behind the other \
    without reading them: hashes have TTLs of fields, which Redis reads from 7.4 on and Valkey \
    from 9.0 on. It may try again in a minute";

const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";

const NEEDS_EOF: &str = "ERR toril sends a snapshot to who says REPLCONF capa eof alone: its \
    length is not known before its end";

/// How far a replica has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaStage {
    /// It has introduced itself and asked for nothing.
    Introduced,
    /// It waits for a snapshot to begin.
    Waits,
    /// It gets one. What the stream had since waits for it.
    Loads { later: Vec<u8>, is_sent: bool },
    /// It is next to be told so much, which is all up to now.
    Joins(Vec<u8>),
    /// It gets the stream as it comes.
    Follows,
}

impl ReplicaStage {
    /// As INFO names it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Introduced | Self::Waits => "wait_bgsave",
            Self::Loads { .. } => "send_bulk",
            Self::Joins(_) | Self::Follows => "online",
        }
    }
}

/// What a replica has told of itself.
#[derive(Clone, Debug)]
pub struct Replica {
    pub stage: ReplicaStage,
    /// Where others reach it.
    pub port: u16,
    pub address: Option<String>,
    /// Whether it takes a snapshot whose length is not told before.
    takes_eof: bool,
    /// Whether it takes a history's new name.
    takes_id: bool,
    /// Whether it said SYNC, so that it is told of no history.
    is_plain: bool,
    /// Whether it wants a snapshot and nothing behind it.
    wants_rdb_only: bool,
    /// Whether it has left a snapshot unread of late, so that it may be a Redis 7.0, and has read
    /// none since but what that reads.
    may_be_old: bool,
    /// The first number of its version; 0 if it did not tell.
    major: u32,
    /// Up to where it has the stream, and the monotonic clock when it last said so.
    pub acknowledged: u64,
    pub heard_us: u64,
    /// Up to where its own append-only file has the stream, synced.
    synced: u64,
}

impl Replica {
    fn new(now_us: u64) -> Self {
        Self {
            stage: ReplicaStage::Introduced,
            port: 0,
            address: None,
            takes_eof: false,
            takes_id: false,
            is_plain: false,
            wants_rdb_only: false,
            may_be_old: false,
            major: 0,
            acknowledged: 0,
            heard_us: now_us,
            synced: 0,
        }
    }

    /// Whether it gets, or has got, what a Redis 7.0 understands.
    fn is_old(&self) -> bool {
        self.may_be_old && !matches!(self.stage, ReplicaStage::Introduced | ReplicaStage::Waits)
    }

    /// Whether it reads Valkey's format, in which alone it takes TTLs of fields.
    fn is_valkey(&self) -> bool {
        self.major >= VALKEY_MAJOR_MIN
    }
}

/// How those were served who asked to follow, as INFO counts it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SyncCounts {
    /// With a snapshot.
    pub full: u64,
    /// With what they had missed.
    pub partial: u64,
    /// With a snapshot, since what they had missed was not kept.
    pub refused: u64,
}

/// Who follows, and what they are sent.
#[derive(Debug, Default)]
pub struct Replication {
    /// Names the history: 40 hexadecimal digits.
    pub id: String,
    /// Bytes of the stream.
    pub offset: u64,
    /// What the history was called before this server led, or another one did, and the first byte
    /// that it does not share with this one.
    pub before: Option<(String, u64)>,
    /// None where this server leads.
    pub(super) following: Option<Box<Following>>,
    /// None where the lead is not being handed over.
    pub(super) failing_over: Option<Box<FailingOver>>,
    /// Where clients are to go since this server has handed over; None if it has not.
    pub handed_over: Option<Box<HandedOver>>,
    /// On whose behalf writes are held back to hand over.
    pub(super) hands_over: Option<ClientId>,
    /// Writes may have to be refused: another server leads, one that is followed or that was handed
    /// over to, or so many replicas have to follow.
    pub(super) checks_writes: bool,
    /// Bytes at the front of what the journal has that are no part of the stream.
    skipped: usize,
    /// Its last bytes. None until somebody asked for them.
    backlog: Option<VecDeque<u8>>,
    replicas: BTreeMap<ClientId, Replica>,
    /// Where replicas came from that left without reading a snapshot to its end: how many one
    /// behind the other, and when the last.
    unread: BTreeMap<(String, u16), (u32, u64)>,
    pub syncs: SyncCounts,
    /// The server was asked for a snapshot for them.
    is_synchronising: bool,
    /// Clients of WAIT.
    waiting: Vec<ClientId>,
    /// Replicas are to be asked how far they are.
    asks: bool,
    /// Some of them join.
    has_joining: bool,
    /// When replicas were pinged last.
    pinged_us: u64,
    is_looking: bool,
}

impl Replication {
    /// A history that begins now, under a name.
    pub fn new(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// The server that is followed, if one is.
    pub fn following(&self) -> Option<&Following> {
        self.following.as_deref()
    }

    /// Whether a replica was, or will be, asked to lead.
    pub fn is_failing_over(&self) -> bool {
        self.failing_over.is_some()
    }

    /// Whether another server has taken over, or is about to.
    pub fn is_handing_over(&self) -> bool {
        self.handed_over.is_some() || self.hands_over.is_some()
    }

    pub fn has_handed_over(&self) -> bool {
        self.handed_over.is_some()
    }

    #[inline]
    pub fn is_following(&self) -> bool {
        self.following.is_some()
    }

    /// The history goes on under another name.
    pub(super) fn begin_history(&mut self, name: String) {
        let name = std::mem::replace(&mut self.id, name);
        self.before = Some((name, self.offset + 1));
    }

    /// Another history takes the place of this one, whose bytes nobody is to be told any more.
    pub(super) fn adopt_history(&mut self, name: &str, offset: u64) {
        (self.id, self.offset, self.before) = (name.to_owned(), offset, None);
        self.backlog = Some(VecDeque::new());
    }

    /// From now on what is streamed is kept.
    pub(super) fn keep_backlog(&mut self) {
        self.backlog.get_or_insert_default();
    }

    /// Has replicas asked how far they are.
    pub(super) fn ask_replicas(&mut self) {
        self.asks = true;
    }

    /// So many bytes of what the journal has are no part of the stream, or were streamed already.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.skipped = bytes;
    }

    /// Those who have asked for the data.
    pub fn replicas(&self) -> impl Iterator<Item = (ClientId, &Replica)> {
        let all = self.replicas.iter().map(|(id, it)| (*id, it));
        all.filter(|(_, it)| it.stage != ReplicaStage::Introduced)
    }

    /// Whether a replica may be a Redis 7.0.
    pub fn has_old(&self) -> bool {
        self.replicas.values().any(Replica::is_old)
    }

    /// Bytes of the stream that are kept; None if nobody has followed yet.
    pub fn backlog_len(&self) -> Option<usize> {
        self.backlog.as_ref().map(VecDeque::len)
    }

    /// Replicas that get the stream and of which this holds.
    fn count(&self, holds: impl Fn(&Replica) -> bool) -> usize {
        let follows = |it: &&Replica| it.stage == ReplicaStage::Follows && holds(it);
        self.replicas.values().filter(follows).count()
    }

    /// Bytes of snapshots that the slowest replica has still to take.
    pub fn payload_waiting(&self, clients: &Clients) -> u64 {
        let waiting = self.loading().filter_map(|id| clients.get(id)).map(|it| it.outbox.len());
        waiting.max().unwrap_or(0)
    }

    /// Those who get a snapshot.
    fn loading(&self) -> impl Iterator<Item = ClientId> {
        let loads = |it: &Replica| matches!(it.stage, ReplicaStage::Loads { is_sent: false, .. });
        self.replicas.iter().filter(move |(_, it)| loads(it)).map(|(id, _)| *id)
    }

    /// Goes on with the stream: to the backlog, to those who follow, and for those who load.
    /// Returns replicas for whom too much waits.
    fn push(&mut self, bytes: &[u8], config: &Config, clients: &mut Clients) -> Vec<ClientId> {
        let Some(backlog) = &mut self.backlog else { return Vec::new() };
        let backlog_max = config.replica.backlog_bytes as usize;
        self.offset += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(backlog_max)..];
        let excess = (backlog.len() + kept.len()).saturating_sub(backlog_max);
        backlog.drain(..excess);
        backlog.extend(kept);
        let later_max =
            config.client_output_buffer_limits[ClientClass::Replica as usize].hard_bytes;
        let mut over = Vec::new();
        for (id, replica) in &mut self.replicas {
            match &mut replica.stage {
                ReplicaStage::Loads { later, .. } => {
                    later.extend_from_slice(bytes);
                    if later_max > 0 && later.len() as u64 > later_max {
                        over.push(*id);
                    }
                }
                ReplicaStage::Follows => clients.write_out(*id, bytes),
                _ => {}
            }
        }
        over
    }

    /// From here on replicas get the stream as it comes that had to be told something before.
    fn let_join(&mut self, clients: &mut Clients) {
        for (id, replica) in &mut self.replicas {
            if let ReplicaStage::Joins(before) = &replica.stage {
                clients.write_out(*id, before);
                replica.stage = ReplicaStage::Follows;
            }
        }
    }

    /// The first byte of the stream that is kept; None if nobody has followed yet.
    pub fn first_kept(&self) -> Option<u64> {
        Some(self.offset + 1 - self.backlog_len()? as u64)
    }

    /// Whether the stream is kept from this byte on; a replica asks for the one behind its last.
    fn keeps(&self, history: &[u8], first: u64) -> bool {
        let is_shared = |(name, end): &(String, u64)| history == name.as_bytes() && first <= *end;
        (history == self.id.as_bytes() || self.before.as_ref().is_some_and(is_shared))
            && self.first_kept().is_some_and(|kept| (kept..=self.offset + 1).contains(&first))
    }

    /// What a replica is told that goes on from a byte that is kept.
    fn continuation(&self, takes_id: bool, first: u64) -> Vec<u8> {
        let answer = match takes_id {
            true => format!("+CONTINUE {}\r\n", self.id),
            false => "+CONTINUE\r\n".to_owned(),
        };
        let before = first - self.first_kept().unwrap_or(first);
        let missing = self.backlog.iter().flatten().skip(before as usize);
        answer.into_bytes().into_iter().chain(missing.copied()).collect()
    }
}

/// What a replica tells with REPLCONF.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplicaWord<'a> {
    Port(u16),
    Address(&'a [u8]),
    Capability(&'a [u8]),
    Version(&'a [u8]),
    /// It wants a snapshot and nothing behind it, or the stream as well.
    RdbOnly(bool),
    /// It has the stream up to here, and in its append-only file up to there, if it told.
    Acknowledged {
        offset: u64,
        synced: Option<u64>,
    },
}

impl Ctx<'_> {
    /// Notes what a replica tells of itself.
    pub fn note_replica(&mut self, told: ReplicaWord) {
        let (id, now_us) = (self.client, self.now().mono_us);
        let all = &mut self.engine.replication.replicas;
        let replica = match told {
            // Anybody may say so.
            ReplicaWord::Acknowledged { .. } => match all.get_mut(&id) {
                Some(replica) => replica,
                None => return,
            },
            _ => all.entry(id).or_insert_with(|| Replica::new(now_us)),
        };
        let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
        match told {
            ReplicaWord::Port(port) => replica.port = port,
            ReplicaWord::Address(address) => replica.address = Some(text(address)),
            ReplicaWord::Capability(name) => {
                replica.takes_eof |= name.eq_ignore_ascii_case(b"eof");
                replica.takes_id |= name.eq_ignore_ascii_case(b"psync2");
            }
            ReplicaWord::Version(version) => {
                let digits = text(version.split(|it| *it == b'.').next().unwrap_or_default());
                replica.major = digits.parse().unwrap_or(0);
            }
            ReplicaWord::RdbOnly(is_so) => replica.wants_rdb_only = is_so,
            ReplicaWord::Acknowledged { offset, synced } => {
                (replica.acknowledged, replica.heard_us) = (offset, now_us);
                replica.synced = synced.unwrap_or(replica.synced);
                self.engine.note_acknowledged(id);
            }
        }
    }

    /// Lets the caller follow from an offset of a history on, if that is still here, and else with
    /// a snapshot; None is told of no history. The answer comes behind those to all that was asked
    /// before.
    ///
    /// # Errors
    /// It could not take a snapshot.
    pub fn follow_from(&mut self, place: Option<(&[u8], i64)>) -> Result {
        let (id, now_us) = (self.client, self.now().mono_us);
        self.check_sync()?;
        self.check_link()?;
        self.engine.begin_streaming();
        let unread = self.engine.snapshots_left_unread(id);
        let has_field_ttls = self.engine.keyspace.has_field_ttls();
        let state = &mut self.engine.replication;
        let replica = state.replicas.entry(id).or_insert_with(|| Replica::new(now_us));
        if replica.stage != ReplicaStage::Introduced {
            return Ok(());
        }
        (replica.heard_us, replica.is_plain) = (now_us, place.is_none());
        replica.may_be_old = unread > 0 && replica.major == 0;
        let (takes_eof, takes_id) = (replica.takes_eof, replica.takes_id);
        // One that may be old has to show that it reads what it might not know in the stream.
        let first =
            place.filter(|_| unread == 0 || !has_field_ttls).and_then(|(history, offset)| {
                let first = u64::try_from(offset).ok()?;
                state.keeps(history, first).then_some(first)
            });
        // Who asks for nothing says `?`.
        let is_missed = first.is_none() && place.is_some_and(|(history, _)| history != b"?");
        state.syncs.refused += u64::from(is_missed);
        let stage = match first {
            Some(first) => ReplicaStage::Joins(state.continuation(takes_id, first)),
            None if !takes_eof => return Err(Error::new(NEEDS_EOF)),
            None if unread >= UNREAD_MAX => {
                let reason = if has_field_ttls { CANNOT_READ_FIELD_TTLS } else { CANNOT_READ };
                return Err(Error::new(reason));
            }
            None => ReplicaStage::Waits,
        };
        match first {
            Some(_) => state.syncs.partial += 1,
            None => state.syncs.full += 1,
        }
        self.engine.begin_following(id, stage, first);
        Ok(())
    }

    /// Has the caller's wait tried again whenever something is acknowledged or synced; replicas are
    /// asked how far they are, if it waits for them.
    pub fn hear_how_far(&mut self, asks_replicas: bool) {
        let id = self.client;
        let waiting = &mut self.engine.replication.waiting;
        if !waiting.contains(&id) {
            waiting.push(id);
        }
        if asks_replicas {
            self.engine.replication.ask_replicas();
        }
    }
}

impl Engine {
    /// Replicas that were heard lately; None if none are asked for.
    pub fn good_replicas(&self) -> Option<usize> {
        let settings = &self.config.replica;
        if settings.min_to_write == 0 || settings.max_lag_s == 0 {
            return None;
        }
        let now_us = self.keyspace.now.mono_us;
        let is_good = |it: &&Replica| {
            let lag_s = now_us.saturating_sub(it.heard_us) / 1_000_000;
            it.stage == ReplicaStage::Follows && lag_s <= settings.max_lag_s
        };
        Some(self.replication.replicas.values().filter(is_good).count())
    }

    /// NOREPLICAS, to who would change something that too few others would have.
    pub(super) fn check_replicas(&self, flags: Flags) -> Result {
        if !flags.has(Flag::Write) || self.replication.is_following() {
            return Ok(());
        }
        let min = self.config.replica.min_to_write as usize;
        match self.good_replicas() {
            Some(count) if count < min => Err(Error::new(NO_REPLICAS)),
            _ => Ok(()),
        }
    }

    /// From now on there is a stream.
    fn begin_streaming(&mut self) {
        if self.replication.backlog.is_none() {
            self.replication.backlog = Some(VecDeque::new());
            // What is followed is streamed as it came.
            if !self.replication.is_following() {
                self.keyspace.aftermath.journal.listen();
            }
        }
        if !std::mem::replace(&mut self.replication.is_looking, true) {
            self.replication.pinged_us = self.keyspace.now.mono_us;
            let at_us = self.keyspace.now.mono_us + LOOK_US;
            self.alarms.set(at_us, Alarm::Replicas);
        }
    }

    /// A replica goes on from a byte of the stream, or waits for a snapshot.
    fn begin_following(&mut self, id: ClientId, stage: ReplicaStage, first: Option<u64>) {
        if let Some(client) = self.clients.get_mut(id) {
            client.part = ClientPart::Replica;
        }
        let state = &mut self.replication;
        if let Some(replica) = state.replicas.get_mut(&id) {
            replica.stage = stage;
            replica.acknowledged = first.map_or(0, |first| first - 1);
        }
        match first {
            Some(first) => {
                state.has_joining = true;
                tracing::warn!("a replica goes on from offset {first}");
            }
            None => self.synchronise(),
        }
    }

    /// How far what a wait is for has come.
    pub fn reached(&self, wait: Empty) -> Reached {
        match wait {
            Empty::Replicas { offset } => {
                let replicas = self.replication.count(|it| it.acknowledged >= offset);
                Reached { replicas, ..Reached::default() }
            }
            Empty::Synced { until, offset } => {
                let file = &self.persistence.appending;
                Reached {
                    is_synced: file.as_ref().is_some_and(|it| it.synced.until >= until),
                    replicas: self.replication.count(|it| it.synced >= offset),
                }
            }
            Empty::Null | Empty::NullArray => Reached::default(),
        }
    }

    /// Bytes of the stream so far, with those that nobody has taken.
    pub fn stream_offset(&self) -> u64 {
        let state = &self.replication;
        if state.backlog.is_none() || state.is_following() {
            return state.offset;
        }
        let waiting = self.keyspace.aftermath.journal.whole_units().0.len();
        state.offset + waiting.saturating_sub(state.skipped) as u64
    }

    /// Whether `stream` has something to do.
    pub fn has_stream(&self) -> bool {
        let state = &self.replication;
        state.asks
            || state.has_joining
            || !self.keyspace.aftermath.journal.whole_units().0.is_empty()
    }

    /// Sends replicas what the journal has, which the caller then forgets.
    pub fn stream(&mut self) {
        self.let_join();
        let skipped = std::mem::take(&mut self.replication.skipped);
        self.let_old_replicas_go();
        // Of a server that is followed the stream is passed on as it came.
        if !self.replication.is_following() {
            let bytes = &self.keyspace.aftermath.journal.whole_units().0[skipped..];
            let over = self.replication.push(bytes, &self.config, &mut self.clients);
            self.let_go_of(over);
        }
        // Behind all that was changed before somebody wanted to know.
        if std::mem::take(&mut self.replication.asks) {
            self.stream_words(&[b"REPLCONF", b"GETACK", b"*"]);
        }
    }

    /// From here on the stream comes to those who join it.
    fn let_join(&mut self) {
        if std::mem::take(&mut self.replication.has_joining) {
            self.replication.let_join(&mut self.clients);
        }
    }

    /// Goes on with the stream of the server that is followed.
    pub(super) fn pass_on(&mut self, bytes: &[u8]) {
        self.let_join();
        self.let_old_replicas_go();
        let over = self.replication.push(bytes, &self.config, &mut self.clients);
        self.let_go_of(over);
    }

    /// Redis 7.0 would pass over the TTL of a field without a word, and have another value then.
    /// Whoever may be one comes again, for a snapshot that tells.
    fn let_old_replicas_go(&mut self) {
        if !self.replication.has_old() || !self.keyspace.has_field_ttls() {
            return;
        }
        let old = self.replication.replicas.iter().filter(|(_, it)| it.is_old());
        for id in old.map(|(id, _)| *id).collect::<Vec<ClientId>>() {
            tracing::warn!("a replica that may not know TTLs of fields is let go: there are some");
            self.note_unread(id, |count| count.max(1));
            self.let_replica_go(id);
        }
    }

    /// Notes how many snapshots have been left unread where a replica comes from, as of now.
    fn note_unread(&mut self, id: ClientId, count: impl Fn(u32) -> u32) {
        let now_us = self.keyspace.now.mono_us;
        let Some(place) = self.place_of(id) else { return };
        let unread = &mut self.replication.unread;
        unread.retain(|_, (_, last_us)| now_us.saturating_sub(*last_us) < UNREAD_KEPT_US);
        let left = unread.entry(place).or_default();
        *left = (count(left.0), now_us);
        if left.0 == UNREAD_MAX {
            tracing::warn!("a replica cannot read the snapshots it is sent: it gets none");
        }
    }

    /// All who follow come again: to go on, or for a snapshot.
    pub(super) fn let_all_replicas_go(&mut self) {
        let all: Vec<ClientId> = self.replication.replicas().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| self.let_replica_go(id));
    }

    /// Where others reach a replica.
    pub fn replica_address(&self, id: ClientId, replica: &Replica) -> String {
        let peer = || Some(self.clients.get(id)?.peer.addr.rsplit_once(':')?.0.to_owned());
        replica.address.clone().or_else(peer).unwrap_or_default()
    }

    /// Sends something that no command has brought about.
    fn stream_words(&mut self, words: &[&[u8]]) {
        let mut bytes = Vec::new();
        request::write(words, &mut bytes);
        let over = self.replication.push(&bytes, &self.config, &mut self.clients);
        self.let_go_of(over);
    }

    fn let_go_of(&mut self, slow: Vec<ClientId>) {
        for id in slow {
            tracing::warn!("a replica that takes too long to load is let go: too much waits");
            self.let_replica_go(id);
        }
    }

    fn let_replica_go(&mut self, id: ClientId) {
        self.replication.replicas.remove(&id);
        self.ask(Effect::Close { client: id });
    }

    /// A client has gone.
    pub(super) fn leave_replication(&mut self, id: ClientId) {
        self.replication.waiting.retain(|other| *other != id);
        let Some(replica) = self.replication.replicas.get(&id) else { return };
        match replica.stage {
            // Who names no port only takes a copy, and may end whenever it likes.
            _ if replica.port == 0 => {}
            ReplicaStage::Loads { .. } => self.note_unread(id, |count| count + 1),
            _ if replica.is_old() => self.note_unread(id, |count| count.max(1)),
            _ => {}
        }
        self.replication.replicas.remove(&id);
    }

    /// A snapshot for replicas begins at this very moment, for those who wait and read the same
    /// format: its head is written to them. Returns the format; None if nobody waits.
    pub(super) fn begin_payload(&mut self, mark: &str) -> Option<Made> {
        let for_redis = self.keyspace.snapshot_format();
        let state = &mut self.replication;
        // Without TTLs of fields both read the same.
        let format_of = |replica: &Replica| match for_redis {
            Made::WITH_FIELD_TTLS if replica.is_valkey() => Made::FOR_VALKEY,
            Made::FOR_ALL if replica.may_be_old => Made::FOR_REDIS_7_0,
            _ => for_redis,
        };
        let made = format_of(state.replicas.values().find(|it| it.stage == ReplicaStage::Waits)?);
        let told = format!("+FULLRESYNC {} {}\r\n", state.id, state.offset);
        let mut begun = Vec::new();
        for (id, replica) in &mut state.replicas {
            if replica.stage == ReplicaStage::Waits && format_of(replica) == made {
                replica.stage = ReplicaStage::Loads { later: Vec::new(), is_sent: false };
                replica.may_be_old = made == Made::FOR_REDIS_7_0;
                begun.push((*id, if replica.is_plain { "" } else { &told }));
            }
        }
        for (id, told) in &begun {
            self.write_out(*id, format!("{told}$EOF:{mark}\r\n").as_bytes());
        }
        Some(made)
    }

    /// A part of the snapshot for those who get one, perhaps the last; false if all of them have
    /// gone.
    pub fn send_payload(&mut self, bytes: &[u8], is_last: bool) -> bool {
        let loading: Vec<ClientId> = self.replication.loading().collect();
        for id in &loading {
            self.write_out(*id, bytes);
            let Some(replica) = self.replication.replicas.get_mut(id) else { continue };
            if let ReplicaStage::Loads { is_sent, .. } = &mut replica.stage {
                *is_sent = is_last;
            }
            if is_last && replica.wants_rdb_only {
                self.replication.replicas.remove(id);
                self.clients[*id].state = State::Closing;
            }
        }
        !loading.is_empty()
    }

    /// The snapshot is over: whoever has not got the whole of it comes again. Who waits gets the
    /// next.
    pub fn end_payload(&mut self) {
        let loading: Vec<ClientId> = self.replication.loading().collect();
        loading.into_iter().for_each(|id| self.let_replica_go(id));
        self.replication.is_synchronising = false;
        self.synchronise();
    }

    /// Has a snapshot begin for those who wait for one, unless one is under way.
    fn synchronise(&mut self) {
        let state = &mut self.replication;
        if state.replicas.values().any(|it| it.stage == ReplicaStage::Waits)
            && !std::mem::replace(&mut state.is_synchronising, true)
        {
            self.ask(Effect::Synchronise);
        }
    }

    /// Where a replica comes from.
    fn place_of(&self, id: ClientId) -> Option<(String, u16)> {
        let replica = self.replication.replicas.get(&id)?;
        Some((self.replica_address(id, replica), replica.port))
    }

    /// How many snapshots have been left of late by who comes from there, one behind the other.
    fn snapshots_left_unread(&self, id: ClientId) -> u32 {
        let left = self.place_of(id).and_then(|place| self.replication.unread.get(&place));
        let now_us = self.keyspace.now.mono_us;
        let is_recent = |last_us: u64| now_us.saturating_sub(last_us) < UNREAD_KEPT_US;
        left.filter(|(_, last_us)| is_recent(*last_us)).map_or(0, |(count, _)| *count)
    }

    /// A replica has said how far it is: one that has read its snapshot gets the stream, and who
    /// waits for replicas may have waited long enough.
    fn note_acknowledged(&mut self, id: ClientId) {
        let Some(replica) = self.replication.replicas.get_mut(&id) else { return };
        if let ReplicaStage::Loads { later, is_sent: true } = &mut replica.stage {
            replica.stage = ReplicaStage::Joins(std::mem::take(later));
            let reads_10 = replica.may_be_old;
            if reads_10 {
                tracing::warn!("a replica has read version 10 of RDB, and got no later one");
                self.note_unread(id, |_| 1);
            } else if let Some(place) = self.place_of(id) {
                self.replication.unread.remove(&place);
            }
            self.replication.has_joining = true;
            tracing::warn!("a replica has loaded and follows");
        }
        self.look_who_waits();
    }

    /// Something was acknowledged or synced.
    fn look_who_waits(&mut self) {
        if !self.replication.waiting.is_empty() || self.replication.failing_over.is_some() {
            self.alarms.set_soon(self.keyspace.now, Alarm::Acknowledged);
        }
    }

    /// The append-only file is synced up to here.
    pub fn note_synced(&mut self, place: FilePlace) {
        if let Some(file) = &mut self.persistence.appending {
            file.note_synced(place);
            self.look_who_waits();
        }
    }

    /// Up to where the stream of the server that is followed is in this one's append-only file,
    /// synced. None without such a file, and while it is of another history.
    pub fn stream_synced(&self) -> Option<u64> {
        let file = self.persistence.appending.as_ref()?;
        if file.is_of_before {
            return None;
        }
        let is_all = file.synced.until >= self.keyspace.aftermath.journal.file_offset();
        Some(if is_all { self.replication.offset } else { file.synced.stream })
    }

    /// Something was acknowledged or synced: who waits for that may have waited long enough.
    pub(super) fn serve_acknowledged(&mut self) {
        self.go_on_with_failover();
        for id in std::mem::take(&mut self.replication.waiting) {
            let is_blocked = self.clients.get(id).is_some_and(|client| client.is_blocked());
            if is_blocked && !self.serve(id, Woken::Ready) {
                self.replication.waiting.push(id);
            }
        }
    }

    /// Pings replicas now and then, and lets those go that have fallen silent.
    pub(super) fn look_at_replicas(&mut self) {
        self.replication.is_looking = false;
        let now_us = self.keyspace.now.mono_us;
        let ping_us = self.config.replica.ping_period_s * 1_000_000;
        let silent_us = self.config.replica.timeout_s * 1_000_000;
        let heard_us = |id: &ClientId, replica: &Replica| match &replica.stage {
            // It tells each second how far it is.
            ReplicaStage::Follows => replica.heard_us,
            // It takes what it is sent, or tells that it goes on loading.
            _ => self.clients.get(*id).map_or(0, |client| client.active_us),
        };
        let all = self.replication.replicas.iter();
        let silent = all.filter(|(id, it)| now_us.saturating_sub(heard_us(id, it)) > silent_us);
        for id in silent.map(|(id, _)| *id).collect::<Vec<ClientId>>() {
            tracing::warn!("a replica that is silent or takes nothing for too long is let go");
            self.let_replica_go(id);
        }
        // Who is followed pings for all. Who is to lead has to have all that was streamed.
        let pings = !self.replication.is_following() && self.replication.failing_over.is_none();
        if pings && now_us - self.replication.pinged_us >= ping_us {
            self.replication.pinged_us = now_us;
            self.stream_words(&[b"PING"]);
        }
        if !self.replication.replicas.is_empty() {
            self.replication.is_looking = true;
            self.alarms.set(now_us + LOOK_US, Alarm::Replicas);
        }
    }
}
