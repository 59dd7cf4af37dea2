//! What the engine knows of the files that outlive it: whether they are being read, when they were
//! written last and how that went, what is written now. The server reads and writes them.
//!
//! A snapshot begins when the server has got round to it, between two units, and is carried out of
//! the engine piece by piece (`keyspace/saving.rs`).

use super::Engine;
use super::alarms::Alarm;
use super::client::{ClientId, State};
use super::context::{Ctx, Origin};
use super::dispatch::Called;
use super::effect::Effect;
use super::keyspace::SavingStep;
use super::row::{Flag, Flags};
use super::script::Realm;
use super::time::Now;
use crate::config::{EventClasses, REDIS_VERSION};
use crate::proto::{Args, Error, Result};
use crate::rdb::{HISTORY, HISTORY_OFFSET, Made, STREAM_DB};

/// How often the rules of `save` are looked at.
const RULES_LOOK_US: u64 = 100_000;

/// Bytes of a snapshot that may wait for the disk: an eighth of what is allocated, or this.
const SHARE_THAT_WAITS: u64 = 8;
const WAITING_BYTES_MIN: usize = 64 << 20;

/// After a save that failed, the rules have to wait.
const PATIENCE_MS: i64 = 5_000;

/// A file that is being read: until then, most commands are refused.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    pub since_ms: i64,
    pub bytes_total: u64,
    pub bytes: u64,
}

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    /// SAVE and the like, which let nobody else run.
    Alone,
    /// BGSAVE and the rules.
    Aside,
    /// The base of an append-only file.
    Base,
    /// For replicas: no file.
    Replicas,
}

/// A snapshot under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    since_ms: i64,
    /// The changes that were made until it began.
    changes: u64,
    kind: SnapshotKind,
    /// Counts them.
    number: u64,
}

/// Up to where the append-only file has what has been changed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FilePlace {
    /// Bytes that the journal had for files.
    pub until: u64,
    /// Up to where the stream of the server that is followed had come then.
    pub stream: u64,
}

/// The append-only file, as INFO tells of it.
#[derive(Clone, Debug, Default)]
pub struct Appending {
    /// Bytes of all its files, and of the base among them.
    pub bytes: u64,
    pub base_bytes: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Syncs that took more than two seconds.
    pub delayed: u64,
    /// What is on the disk.
    pub(super) synced: FilePlace,
    /// The file tells of what was there before that server's snapshot came.
    pub(super) is_of_before: bool,
    /// Rewrites since start, those that failed one behind the other, and how long the last took.
    pub rewrites: u64,
    pub rewrites_failed: u64,
    pub last_span_s: Option<i64>,
}

impl Appending {
    /// Files of so many bytes, with those of the base, all of which are on the disk.
    pub fn of(bytes: u64, base_bytes: u64) -> Self {
        Self { bytes, base_bytes, ..Self::default() }
    }

    /// What is told by two threads may come in any order.
    pub(super) fn note_synced(&mut self, place: FilePlace) {
        if place.until >= self.synced.until {
            self.synced = place;
        }
    }
}

/// What INFO tells, and what refuses requests.
#[derive(Debug, Default)]
pub struct Persistence {
    loading: Option<Loading>,
    /// Keys that the last file had, and those among them whose time had come.
    pub loaded_keys: u64,
    pub loaded_expired: u64,
    /// BGSAVE was asked for and has not begun.
    is_wanted: bool,
    under_way: Option<UnderWay>,
    /// When a save went well last; at first the start of the server.
    saved_ms: i64,
    /// The changes that the last save has.
    saved_changes: u64,
    /// When one that was written while clients were served ended last, whole or not.
    tried_ms: i64,
    /// Snapshots since start that were begun.
    begun: u64,
    /// Snapshots since start that went well.
    pub saves: u64,
    /// How long the last one took that was written while clients were served.
    pub last_span_s: Option<i64>,
    has_failed: bool,
    watches_rules: bool,
    /// BGREWRITEAOF was asked for and has not begun.
    wants_rewrite: bool,
    /// What keeps the append-only file from being written.
    pub problem: Option<String>,
    /// None without an append-only file.
    pub appending: Option<Appending>,
}

impl Persistence {
    pub(super) fn new(now: Now) -> Self {
        Self { saved_ms: now.wall_ms, ..Self::default() }
    }

    /// What is being read.
    pub fn loading(&self) -> Option<Loading> {
        self.loading
    }

    /// Whether requests may have to be refused: one look for all reasons.
    #[inline]
    pub(super) fn has_trouble(&self) -> bool {
        self.loading.is_some() | self.has_failed | self.problem.is_some()
    }

    /// Seconds since 1970 of the last save.
    pub fn saved_s(&self) -> i64 {
        self.saved_ms / 1000
    }

    /// Whether the last save that was written while clients were served failed.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Since when a snapshot is written while clients are served, in milliseconds.
    pub fn aside_since_ms(&self) -> Option<i64> {
        self.since_ms(SnapshotKind::Aside)
    }

    /// Whether one is written so, or about to be.
    pub fn is_saving_aside(&self) -> bool {
        self.is_wanted || self.aside_since_ms().is_some()
    }

    /// The number of the snapshot that is under way.
    pub fn under_way(&self) -> Option<u64> {
        self.under_way.map(|it| it.number)
    }

    /// Since when a snapshot of this kind is written, in milliseconds.
    pub fn since_ms(&self, kind: SnapshotKind) -> Option<i64> {
        self.under_way.filter(|it| it.kind == kind).map(|it| it.since_ms)
    }

    /// Whether a snapshot is written while clients are served, whatever for.
    pub fn is_saving(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the append-only file is written anew.
    pub fn is_rewriting(&self) -> bool {
        self.since_ms(SnapshotKind::Base).is_some()
    }

    /// Whether it is to be.
    pub fn wants_rewrite(&self) -> bool {
        self.wants_rewrite
    }

    /// What a snapshot under way tells of is no longer what there is to keep.
    pub(super) fn give_up_saving(&mut self) {
        self.under_way = None;
    }

    /// Whether a snapshot is still under way.
    pub fn is_under_way(&self, number: u64) -> bool {
        self.under_way.is_some_and(|it| it.number == number)
    }
}

impl Engine {
    /// Changes since the last save.
    pub fn unsaved_changes(&self) -> u64 {
        self.keyspace.aftermath.changes - self.persistence.saved_changes
    }

    /// A file of so many bytes is read from now on, or none any more.
    ///
    /// Meanwhile nothing goes because its time has come, and no event is published.
    pub fn set_loading(&mut self, bytes_total: Option<u64>) {
        let since_ms = self.keyspace.now.wall_ms;
        self.keyspace.replayed_ms = None;
        self.keyspace.aftermath.classes = match bytes_total {
            Some(_) => EventClasses::NONE,
            None => self.config.notify_keyspace_events,
        };
        self.persistence.loading =
            bytes_total.map(|bytes_total| Loading { since_ms, bytes_total, bytes: 0 });
        self.settle_authority();
    }

    /// Notes how far the file was read.
    pub fn note_loaded(&mut self, bytes: u64) {
        if let Some(loading) = &mut self.persistence.loading {
            loading.bytes = bytes;
        }
    }

    /// What was there before is all that there is: nothing is unsaved.
    pub fn count_as_saved(&mut self) {
        self.persistence.saved_changes = self.keyspace.aftermath.changes;
    }

    /// Forgets all keys and functions, for who reads them again.
    pub fn forget_all(&mut self) {
        self.keyspace.flush(0..self.keyspace.databases());
        self.scripts.forget(Realm::Functions);
    }

    /// MISCONF, while no save goes well, to who would change something.
    #[cold]
    pub(super) fn check_disk(&self, flags: Flags) -> Result {
        let is_bad = self.persistence.has_failed
            && self.config.files.stop_writes_on_bgsave_error
            && !self.config.save.is_empty();
        if !flags.has(Flag::Write) && !flags.has(Flag::TellsHealth) {
            return Ok(());
        }
        match &self.persistence.problem {
            _ if is_bad => Err(Error::MisConf),
            Some(why) => Err(Error::new(format!("MISCONF Errors writing to the AOF file: {why}"))),
            None => Ok(()),
        }
    }

    /// LOADING, while a file is read.
    #[cold]
    pub(super) fn check_loaded(&self, flags: Flags) -> Result {
        let is_refused = self.persistence.loading.is_some() && !flags.has(Flag::Loading);
        if is_refused { Err(Error::Loading) } else { Ok(()) }
    }

    /// Looks at the rules of `save` from now on, if there are any.
    pub fn watch_save_rules(&mut self) {
        let now_us = self.keyspace.now.mono_us;
        if !self.config.save.is_empty()
            && !std::mem::replace(&mut self.persistence.watches_rules, true)
        {
            self.alarms.set(now_us + RULES_LOOK_US, Alarm::SaveRules);
        }
    }

    /// Saves if a rule says so.
    pub(super) fn look_at_save_rules(&mut self) {
        self.persistence.watches_rules = false;
        self.watch_save_rules();
        let now_ms = self.keyspace.now.wall_ms;
        let (changes, state) = (self.unsaved_changes(), &self.persistence);
        let may_try = !state.has_failed || now_ms - state.tried_ms > PATIENCE_MS;
        let is_busy = state.loading.is_some() || state.under_way.is_some();
        let is_free = !is_busy && !state.is_wanted && !state.wants_rewrite;
        let since_s = (now_ms - state.saved_ms) / 1000;
        let rule = self.config.save.iter().find(|rule| {
            changes >= rule.changes && since_s > i64::try_from(rule.seconds).unwrap_or(i64::MAX)
        });
        if let Some(rule) = rule.filter(|_| may_try && is_free) {
            tracing::warn!("{} changes in {} seconds. Saving...", rule.changes, rule.seconds);
            self.want_saving(None);
        }
    }

    /// Has a snapshot written, which may have begun.
    fn want_saving(&mut self, begun: Option<u64>) {
        self.persistence.is_wanted = begun.is_none();
        self.ask(Effect::SaveAside { begun });
    }

    /// Whether a snapshot may begin: not in the middle of a unit.
    pub fn is_between_units(&self) -> bool {
        !self.scripts.is_running() && !self.errands.halts()
    }

    /// Begins a snapshot of what there is now; returns its number. One that is under way is given
    /// up.
    ///
    /// # Panics
    /// If it is to be a base and a unit is under way: the journal would have half of that.
    pub fn begin_saving(&mut self, kind: SnapshotKind) -> u64 {
        self.begin_saving_as(kind, self.keyspace.snapshot_format())
    }

    /// As `begin_saving`, in this format.
    fn begin_saving_as(&mut self, kind: SnapshotKind, made: Made) -> u64 {
        assert!(kind != SnapshotKind::Base || self.is_between_units());
        match kind {
            SnapshotKind::Alone | SnapshotKind::Replicas => {}
            SnapshotKind::Aside => self.persistence.is_wanted = false,
            SnapshotKind::Base => self.persistence.wants_rewrite = false,
        }
        let since_ms = self.keyspace.now.wall_ms;
        let changes = self.keyspace.aftermath.changes;
        self.persistence.begun += 1;
        let number = self.persistence.begun;
        self.persistence.under_way = Some(UnderWay { since_ms, changes, kind, number });
        let mut aux = vec![
            ("redis-ver", REDIS_VERSION.to_owned()),
            ("redis-bits", "64".to_owned()),
            ("ctime", (since_ms / 1000).to_string()),
            ("used-mem", self.facts.allocated_bytes().to_string()),
            ("aof-base", u8::from(kind == SnapshotKind::Base).to_string()),
        ];
        if let Some(following) = self.replication.following() {
            // A stream of one's own begins with its database; one that is passed on goes on in it.
            if kind != SnapshotKind::Base {
                aux.push((STREAM_DB, following.db().to_string()));
            }
            // From where on whoever begins with this file has to be told what it missed.
            if matches!(kind, SnapshotKind::Alone | SnapshotKind::Aside) && following.has_history()
            {
                aux.push((HISTORY, self.replication.id.clone()));
                aux.push((HISTORY_OFFSET, self.replication.offset.to_string()));
            }
        }
        let libraries = self.scripts.loaded(Realm::Functions).into_iter();
        let sources = libraries.flat_map(|lua| lua.libraries()).map(|it| it.source.to_vec());
        let sources: Vec<Vec<u8>> = sources.collect();
        let bytes_max = (self.facts.allocated_bytes() / SHARE_THAT_WAITS) as usize;
        self.keyspace.begin_saving(bytes_max.max(WAITING_BYTES_MIN), made, &aux, &sources);
        number
    }

    /// Begins a snapshot of what there is now, for the replicas that wait for one; returns its
    /// number and the mark that ends it. None if nobody waits.
    pub fn begin_saving_for_replicas(&mut self) -> Option<(u64, String)> {
        let mark = self.keyspace.rng.hex_name();
        let made = self.begin_payload(&mark)?;
        let number = self.begin_saving_as(SnapshotKind::Replicas, made);
        Some((number, mark))
    }

    /// Writes a snapshot in one go, piece by piece; the checksum is to follow. `end_saving` is
    /// still to be told how it went.
    ///
    /// # Errors
    /// The first of `write`.
    pub fn save_whole<E>(
        &mut self,
        kind: SnapshotKind,
        mut write: impl FnMut(&[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.begin_saving(kind);
        loop {
            let is_done = self.keyspace.save_some(SavingStep::LONG);
            write(&self.keyspace.take_saved())?;
            if is_done {
                return Ok(());
            }
        }
    }

    /// The snapshot under way is in its file, or cannot be.
    pub fn end_saving(&mut self, has_gone_well: bool, now: Now) {
        self.keyspace.give_up_saving();
        let state = &mut self.persistence;
        let Some(under_way) = state.under_way.take() else { return };
        let UnderWay { since_ms, changes, kind, .. } = under_way;
        let span_s = (now.wall_ms - since_ms) / 1000;
        match kind {
            SnapshotKind::Base => {
                if let Some(appending) = &mut state.appending {
                    appending.last_span_s = Some(span_s);
                    appending.rewrites += u64::from(has_gone_well);
                    appending.is_of_before &= !has_gone_well;
                    let failed = appending.rewrites_failed + 1;
                    appending.rewrites_failed = if has_gone_well { 0 } else { failed };
                }
                return;
            }
            SnapshotKind::Replicas => return,
            SnapshotKind::Aside => {
                state.last_span_s = Some(span_s);
                (state.has_failed, state.tried_ms) = (!has_gone_well, now.wall_ms);
            }
            SnapshotKind::Alone => {}
        }
        if has_gone_well {
            (state.saved_ms, state.saved_changes) = (now.wall_ms, changes);
            state.saves += 1;
            state.has_failed = false;
        }
    }

    /// Has the append-only file written anew.
    pub fn want_rewrite(&mut self) {
        if !std::mem::replace(&mut self.persistence.wants_rewrite, true) {
            self.ask(Effect::Rewrite);
        }
    }

    /// Runs a command that a journal has, once more: what it did then it does now, whatever a
    /// client might be refused, and however much later it is. Nobody is answered.
    ///
    /// # Errors
    /// There is no such command.
    pub fn replay(&mut self, id: ClientId, words: &[&[u8]]) -> Result {
        let args = Args::new(words);
        let found = self.table.resolve(&args)?;
        if !found.row.arity.allows(args.len()) {
            return Err(Error::wrong_arity(&found.full_name()));
        }
        // All times are absolute, and none of them has come.
        self.keyspace.stop_time();
        if let Called::Running = self.call_on_outbox(id, found, args, Origin::Client) {
            // Redis has written scripts as such until its version 7.
            self.run_to_end(id);
        }
        self.settle();
        self.take_output(id);
        Ok(())
    }

    /// Does what a command has left to do that is done again, without a pause for others.
    pub(super) fn run_to_end(&mut self, id: ClientId) {
        self.clients[id].state = State::Running;
        while self.state(id) == State::Running {
            self.resume(id, self.keyspace.now);
        }
    }
}

impl Ctx<'_> {
    /// Has a snapshot written while clients are served, once the append-only file is rewritten if
    /// it may wait.
    ///
    /// # Errors
    /// If one is written.
    pub fn save_aside(&mut self, may_wait: bool) -> Result {
        let state = &self.engine.persistence;
        if state.is_saving_aside() {
            return Err(Error::new("ERR Background save already in progress"));
        }
        if state.is_rewriting() && !may_wait {
            return Err(Error::new(
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
                 SCHEDULE in order to schedule a BGSAVE whenever possible.",
            ));
        }
        // What it has is what there is now, whatever comes behind it in a pipeline. What a
        // transaction asks for begins behind it, as in Redis.
        let is_free = !state.is_saving() && self.engine.is_between_units();
        let can_begin = is_free && self.may_block();
        let begun = can_begin.then(|| self.engine.begin_saving(SnapshotKind::Aside));
        self.engine.want_saving(begun);
        Ok(())
    }

    /// Has the append-only file written anew.
    pub fn rewrite(&mut self) {
        self.engine.want_rewrite();
    }

    /// Gives up a snapshot that BGSAVE has begun: all is gone that it has.
    pub fn abandon_saving(&mut self) {
        if self.engine.persistence.aside_since_ms().is_some() {
            self.engine.persistence.under_way = None;
            self.engine.keyspace.give_up_saving();
        }
    }
}
