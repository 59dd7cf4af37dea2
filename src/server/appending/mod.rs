//! The append-only file: a thread that writes and syncs, and what the server does around it.
//!
//! After each turn the whole units of the journal go to the thread, which is given the next bytes
//! when it has dealt with those before: so a sync serves all who came meanwhile. Nobody waits for
//! the disk but whom `appendfsync always` makes wait: what grew in outboxes while something was not
//! synced stays there until it is, the answers to reads as well, since nobody shall have seen what
//! a loss of power takes back.
//!
//! A rewrite begins between two units. The thread opens the next increment, and the snapshot that
//! will be the new base is of that very moment. Only the thread renames and removes files, so that
//! at each moment the manifest names files that hold all.
//!
//! A write that fails is tried again each second; meanwhile changes are refused (MISCONF). A sync
//! that fails ends the process: nobody knows any more what is on the disk.

mod folder;
mod replay;
mod writer;

use super::disk::{self, SnapshotFile};
use super::{Server, files};
use crate::config::{AppendSync, Config};
use crate::engine::Engine;
use crate::engine::client::ClientId;
use crate::engine::journal::Class;
use crate::engine::pause::PauseOwner;
use crate::engine::persistence::{Appending, FilePlace, SnapshotKind};
use crate::persist::AofNames;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use writer::{AofSizes, Order, Report, Syncer, Writer};

pub use folder::AofFolder;
pub use replay::load;

/// A sync that takes so long is counted as delayed.
const DELAYED: Duration = Duration::from_secs(2);

/// So much waits for the thread at most, or is so old, before writes have to wait.
const WAITING_BYTES_MAX: usize = 64 << 20;
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// Until the disk keeps up again. More than it takes to notice.
const HELD_US: u64 = 3_600_000_000;

/// Replies that wait for a sync.
struct Held {
    /// The journal's offset that has to be synced.
    until: u64,
    client: ClientId,
    /// What was to be sent when it had been written.
    position: u64,
}

/// What the server knows of the thread.
pub struct Appender {
    orders: Sender<Order>,
    thread: Cell<Option<JoinHandle<()>>>,
    state: RefCell<AppenderState>,
    /// Told whenever replies are let go.
    synced: Notify,
    /// For the thread.
    is_over: Arc<AtomicBool>,
    /// Where snapshots for new bases are written.
    folder: PathBuf,
    names: AofNames,
}

#[derive(Default)]
struct AppenderState {
    /// Bytes that the journal has given and the thread has not.
    waiting: Vec<u8>,
    /// Memory for more of them.
    emptied: Vec<u8>,
    /// Offsets of what the journal has given, and of what is synced, or with another policy
    /// written.
    given: u64,
    synced: u64,
    /// Since when the thread is at the last that it was given; None if it is done with it.
    busy_since: Option<Instant>,
    /// How long a sync takes already that is due, as last told.
    sync_took: Duration,
    held: VecDeque<Held>,
    /// Up to what each client waits.
    held_until: BTreeMap<ClientId, u64>,
    /// Bytes of all files after the last rewrite.
    rewritten_bytes: u64,
}

impl AppenderState {
    /// Where all that was given ends.
    fn place(&self, engine: &Engine) -> FilePlace {
        FilePlace { until: self.given, stream: engine.replication.offset }
    }

    /// INFO tells what the journal has given and no file has.
    fn tell(&self, engine: &mut Engine) {
        if let Some(appending) = &mut engine.persistence.appending {
            appending.waiting_bytes = self.given - self.synced;
        }
    }

    /// Holds writes back while the disk does not keep up, so that what waits is bounded, and so is
    /// what a loss of power takes.
    fn hold_writes_back(&self, engine: &mut Engine) {
        let took = self.busy_since.map_or(Duration::ZERO, |since| since.elapsed());
        let took = took.max(self.sync_took);
        let is_held = engine.is_paused(PauseOwner::Disk);
        let is_behind = self.waiting.len() >= WAITING_BYTES_MAX || took >= BEHIND_MAX;
        // What cannot be written at all is refused.
        let is_over = is_behind && engine.persistence.problem.is_none();
        if is_over && !is_held {
            tracing::warn!(
                "The disk does not keep up with the append-only file: {} bytes wait, the last \
                 order since {} ms. Writes wait until it does",
                self.waiting.len(),
                took.as_millis()
            );
            engine.pause(PauseOwner::Disk, HELD_US, true);
        } else if is_held && !is_over {
            if !is_behind {
                tracing::warn!("The disk has kept up: writes go on");
            }
            engine.unpause(PauseOwner::Disk);
        }
    }
}

impl Appender {
    /// Takes what the journal has, which the caller then forgets, and gives the thread what waits
    /// if it has nothing to do.
    pub fn take(&self, engine: &mut Engine) {
        let (bytes, stretches) = engine.keyspace.aftermath.journal.whole_units();
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.borrow_mut();
        for stretch in stretches.iter().filter(|it| it.class == Class::All) {
            let bytes = &bytes[stretch.offset..stretch.offset + stretch.len];
            state.waiting.extend_from_slice(bytes);
            state.given += stretch.len as u64;
        }
        match state.busy_since {
            None => self.submit(&mut state, engine, engine.config.files.appendfsync),
            Some(_) => state.hold_writes_back(engine),
        }
        state.tell(engine);
    }

    fn submit(&self, state: &mut AppenderState, engine: &Engine, sync: AppendSync) {
        if state.waiting.is_empty() {
            return;
        }
        state.busy_since = Some(Instant::now());
        let emptied = std::mem::take(&mut state.emptied);
        let bytes = std::mem::replace(&mut state.waiting, emptied);
        self.order(Order::Append { bytes, place: state.place(engine), sync });
    }

    /// The thread lives as long as the server.
    fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }

    /// Keeps what a client was answered until all that was written before is synced, if that is
    /// wanted.
    pub fn hold(&self, engine: &mut Engine, id: ClientId) {
        let mut state = self.state.borrow_mut();
        if engine.config.files.appendfsync != AppendSync::Always || state.synced == state.given {
            return;
        }
        let Some(client) = engine.clients.get_mut(id).filter(|it| !it.is_monitor && it.is_user())
        else {
            return;
        };
        let outbox = &mut client.outbox;
        let until = state.given;
        if state.held_until.insert(id, until).is_none() {
            outbox.set_synced(0);
        }
        state.held.push_back(Held { until, client: id, position: outbox.position() });
    }

    /// What was written up to here may be told; returns whose replies go.
    fn let_go(&self, engine: &mut Engine, until: u64) -> Vec<ClientId> {
        let mut state = self.state.borrow_mut();
        state.synced = until;
        let mut released = Vec::new();
        while let Some(held) = state.held.pop_front_if(|held| held.until <= until) {
            let waits_on = state.held_until.get(&held.client).is_some_and(|last| *last > until);
            if !waits_on {
                state.held_until.remove(&held.client);
            }
            if let Some(outbox) = engine.outbox(held.client) {
                outbox.set_synced(if waits_on { held.position } else { u64::MAX });
                released.push(held.client);
            }
        }
        released
    }

    /// Whether the files have grown by so much that they are to be written anew.
    fn is_due(&self, config: &Config, bytes: u64) -> bool {
        let per_cent = u64::from(config.files.auto_aof_rewrite_percentage);
        let before = self.state.borrow().rewritten_bytes.max(1);
        per_cent > 0
            && bytes >= config.files.auto_aof_rewrite_min_size
            && bytes.saturating_sub(before).saturating_mul(100) / before >= per_cent
    }
}

/// Begins to append, behind what was loaded, or with all that there is as the base.
pub fn begin(server: &Rc<Server>, mut folder: AofFolder) -> Result<(), String> {
    let shown = folder.path.display().to_string();
    let failed = |problem: io::Error| format!("{shown}: {}", files::text_of(&problem));
    let mut engine = server.engine.borrow_mut();
    let file = match folder.is_new() {
        true => folder.make(&mut engine),
        false => folder.go_on(),
    };
    let file = file.map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    let (base_bytes, bytes) = folder.sizes();
    let (path, names) = (folder.path.clone(), folder.names.clone());
    let (orders, to_do) = channel();
    let is_over = Arc::<AtomicBool>::default();
    let (reports, to_hear) = mpsc::unbounded_channel();
    let writer = Writer {
        folder,
        file,
        len,
        place: FilePlace::default(),
        base_bytes,
        other_bytes: bytes.saturating_sub(base_bytes + len),
        cut: None,
        sync_at: None,
        waits_since: None,
        syncer: Syncer::start(reports.clone()).map_err(failed)?,
        is_over: is_over.clone(),
        reports,
    };
    let thread = std::thread::Builder::new().name("toril-log".into());
    let thread = thread.spawn(move || writer.run(to_do)).map_err(failed)?;
    let state = AppenderState { rewritten_bytes: bytes, ..AppenderState::default() };
    let appender = Appender {
        orders,
        thread: Cell::new(Some(thread)),
        state: RefCell::new(state),
        synced: Notify::new(),
        is_over,
        folder: path,
        names,
    };
    let _ = server.appender.set(appender);
    engine.persistence.appending = Some(Appending::of(bytes, base_bytes));
    engine.keyspace.aftermath.journal.listen();
    tokio::task::spawn_local(hear(server.clone(), to_hear));
    Ok(())
}

/// Takes the thread's reports as they come.
async fn hear(
    server: Rc<Server>,
    mut reports: mpsc::UnboundedReceiver<(Report, Option<AofSizes>)>,
) {
    while let Some((report, sizes)) = reports.recv().await {
        let Some(appender) = server.appender.get() else { return };
        let now = server.now();
        let mut engine = server.engine.borrow_mut();
        if let (Some(appending), Some(sizes)) = (&mut engine.persistence.appending, sizes) {
            (appending.base_bytes, appending.bytes) = (sizes.base, sizes.all);
        }
        match report {
            Report::Written { until, took, emptied } => {
                engine.persistence.problem = None;
                for id in appender.let_go(&mut engine, until) {
                    server.send(&mut engine, id);
                    if let Some(connection) = server.connection(id) {
                        connection.wake.call();
                    }
                }
                let mut state = appender.state.borrow_mut();
                (state.busy_since, state.emptied, state.sync_took) = (None, emptied, took);
                let sync = engine.config.files.appendfsync;
                appender.submit(&mut state, &engine, sync);
                state.hold_writes_back(&mut engine);
                state.tell(&mut engine);
                if let Some(appending) = &mut engine.persistence.appending {
                    appending.delayed += u64::from(took >= DELAYED);
                }
                appender.synced.notify_waiters();
            }
            Report::Synced(place) => {
                engine.note_synced(place);
                let mut state = appender.state.borrow_mut();
                state.sync_took = Duration::ZERO;
                state.hold_writes_back(&mut engine);
            }
            Report::Failed(text) => {
                engine.persistence.problem = Some(text);
                appender.state.borrow().hold_writes_back(&mut engine);
            }
            Report::Rebased(result) => {
                engine.end_saving(result.is_ok(), now);
                match result {
                    Ok(()) => tracing::warn!("Background AOF rewrite finished successfully"),
                    Err(problem) => tracing::warn!("The AOF was not rewritten: {problem}"),
                }
                let bytes = sizes.map_or(0, |it| it.all);
                appender.state.borrow_mut().rewritten_bytes = bytes;
            }
        }
        let is_due = |sizes: &AofSizes| appender.is_due(&engine.config, sizes.all);
        if let Some(AofSizes { all, .. }) = sizes.filter(is_due)
            && !engine.persistence.is_rewriting()
        {
            tracing::warn!("Starting automatic rewriting of AOF on {all} bytes");
            engine.want_rewrite();
        }
        drop(engine);
        server.flush();
    }
}

/// Writes the append-only file anew.
pub async fn rewrite(server: Rc<Server>) {
    let Some(appender) = server.appender.get() else { return };
    disk::until_free(&server).await;
    // At this very moment one increment ends and the next begins.
    let (number, beside, created) = {
        let mut engine = server.engine.borrow_mut();
        server.carry_journal(&mut engine);
        let mut state = appender.state.borrow_mut();
        appender.submit(&mut state, &engine, engine.config.files.appendfsync);
        appender.order(Order::Cut(state.place(&engine)));
        engine.keyspace.aftermath.journal.begin_anew();
        let number = engine.begin_saving(SnapshotKind::Base);
        let name = appender.names.temporary_base(std::process::id(), number);
        let beside = appender.folder.join(OsStr::from_bytes(&name));
        let created = SnapshotFile::create(&engine.config, &beside);
        (number, beside, created)
    };
    let written = match created {
        Ok(file) => disk::write_aside(&server, file, number).await,
        Err(problem) => Err(problem),
    };
    match written {
        Ok(true) => appender.order(Order::Rebase(beside)),
        // SAVE has taken its place.
        Ok(false) => {
            server.engine.borrow_mut().want_rewrite();
            server.flush();
        }
        Err(problem) => {
            let now = server.now();
            tracing::warn!("The AOF was not rewritten: {}", files::text_of(&problem));
            server.engine.borrow_mut().end_saving(false, now);
        }
    }
}

impl Server {
    /// Waits until all that a client was answered may be sent.
    pub(super) async fn until_synced(&self, id: ClientId) {
        let Some(appender) = self.appender.get() else { return };
        loop {
            let synced = appender.synced.notified();
            let awaits = |engine: &mut Engine| engine.outbox(id).is_some_and(|it| it.awaits_sync());
            if !awaits(&mut self.engine.borrow_mut()) {
                return;
            }
            synced.await;
        }
    }

    /// The server ends: what was changed is written and synced.
    pub(super) fn end_appending(&self) {
        let Some(appender) = self.appender.get() else { return };
        self.carry_journal(&mut self.engine.borrow_mut());
        let mut state = appender.state.borrow_mut();
        appender.submit(&mut state, &self.engine.borrow(), AppendSync::Always);
        drop(state);
        appender.is_over.store(true, Ordering::Relaxed);
        appender.order(Order::End);
        if let Some(thread) = appender.thread.take() {
            let _ = thread.join();
        }
    }
}
