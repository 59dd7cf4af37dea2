//! The thread that writes: it does what it is asked in order, and tells what became of it.
//!
//! With `appendfsync everysec` another thread syncs, so that a disk that takes its time over that
//! holds up no write: what was written outlives the process, synced or not.

use super::folder::AofFolder;
use crate::config::AppendSync;
use crate::server::files;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// With `appendfsync everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long after the thread that syncs was found to be at it, it is asked again.
const SYNC_RETRY: Duration = Duration::from_millis(10);

/// How long after a write that failed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the thread is asked for, in order.
pub(super) enum Order {
    /// Bytes of the journal, which end at this offset.
    Append { bytes: Vec<u8>, until: u64, sync: AppendSync },
    /// The next increment begins.
    Cut,
    /// A snapshot of when it began is whole.
    Rebase(PathBuf),
    /// Nothing follows.
    End,
}

/// What the thread tells, an order each, and of each write that fails.
pub(super) enum Report {
    /// Up to this offset; the sync that was due takes so long already.
    Written {
        until: u64,
        took: Duration,
    },
    Failed(String),
    Cut,
    Rebased(Result<(), String>),
}

/// Bytes of the base, and of all files.
#[derive(Clone, Copy)]
pub(super) struct AofSizes {
    pub(super) base: u64,
    pub(super) all: u64,
}

/// The thread's own.
pub(super) struct Writer {
    pub(super) folder: AofFolder,
    pub(super) file: File,
    /// Bytes of the increment that are whole.
    pub(super) len: u64,
    pub(super) base_bytes: u64,
    pub(super) other_bytes: u64,
    /// The increment that the snapshot under way begins with.
    pub(super) cut: Option<u64>,
    /// When what was written is to be synced.
    pub(super) sync_at: Option<Instant>,
    pub(super) syncer: Syncer,
    /// The server ends, and waits for no disk to heal.
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) reports: mpsc::UnboundedSender<(Report, AofSizes)>,
}

/// A thread that syncs files, one at a time.
pub(super) struct Syncer {
    files: SyncSender<File>,
    /// When it got the last.
    since: Instant,
}

impl Syncer {
    /// The error is the system's.
    pub(super) fn start() -> io::Result<Self> {
        // Whoever hands it a file finds it waiting for one, or busy.
        let (files, to_sync) = sync_channel::<File>(0);
        let work = move || to_sync.iter().for_each(|file| sync_or_end(&file));
        std::thread::Builder::new().name("toril-sync".into()).spawn(work)?;
        Ok(Self { files, since: Instant::now() })
    }

    /// Has a file synced; false if it is still at one.
    fn take(&mut self, file: &File) -> io::Result<bool> {
        match self.files.try_send(file.try_clone()?) {
            Ok(()) => self.since = Instant::now(),
            Err(TrySendError::Full(_)) => return Ok(false),
            Err(TrySendError::Disconnected(_)) => return Err(io::Error::other("it has ended")),
        }
        Ok(true)
    }
}

/// After a sync that failed nobody knows what is on the disk.
fn sync_or_end(file: &File) {
    if let Err(problem) = file.sync_data() {
        tracing::error!(
            "The append-only file cannot be synced: {}. Nobody knows what is on the disk; the \
             process ends",
            files::text_of(&problem)
        );
        std::process::exit(1);
    }
}

impl Writer {
    pub(super) fn run(mut self, orders: Receiver<Order>) {
        loop {
            let order = match self.sync_at {
                None => orders.recv().unwrap_or(Order::End),
                Some(at) => {
                    match orders.recv_timeout(at.saturating_duration_since(Instant::now())) {
                        Ok(order) => order,
                        Err(RecvTimeoutError::Timeout) => {
                            self.sync_aside();
                            continue;
                        }
                        Err(RecvTimeoutError::Disconnected) => Order::End,
                    }
                }
            };
            let report = match order {
                Order::Append { bytes, until, sync } => {
                    let began = Instant::now();
                    self.append(&bytes);
                    let mut took = Duration::ZERO;
                    match sync {
                        AppendSync::Always => {
                            self.sync();
                            took = began.elapsed();
                        }
                        AppendSync::EverySecond => {
                            self.sync_at.get_or_insert(began + SYNC_EVERY);
                            if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                                took = self.sync_aside();
                            }
                        }
                        AppendSync::No => self.sync_at = None,
                    }
                    Report::Written { until, took }
                }
                Order::Cut => {
                    self.cut();
                    Report::Cut
                }
                Order::Rebase(beside) => Report::Rebased(self.rebase(&beside)),
                Order::End => return self.sync(),
            };
            self.tell(report);
        }
    }

    /// Nobody may listen any more.
    fn tell(&self, report: Report) {
        let all = self.base_bytes + self.other_bytes + self.len;
        let _ = self.reports.send((report, AofSizes { base: self.base_bytes, all }));
    }

    /// Writes all of it, however long that takes.
    fn append(&mut self, bytes: &[u8]) {
        while let Err(problem) = self.file.write_all(bytes) {
            // What was written of it goes again: a reader shall find whole units.
            let _ = self.file.set_len(self.len);
            let _ = self.file.seek(SeekFrom::Start(self.len));
            let text = files::text_of(&problem);
            tracing::warn!("Error writing to the AOF file: {text}");
            self.tell(Report::Failed(text));
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            std::thread::sleep(RETRY_AFTER);
        }
        self.len += bytes.len() as u64;
        files::fault_point();
    }

    fn sync(&mut self) {
        self.sync_at = None;
        sync_or_end(&self.file);
    }

    /// Has the other thread sync. If that is still at the last, returns for how long it has been.
    fn sync_aside(&mut self) -> Duration {
        match self.syncer.take(&self.file) {
            Ok(true) => {
                self.sync_at = None;
                Duration::ZERO
            }
            Ok(false) => {
                self.sync_at = Some(Instant::now() + SYNC_RETRY);
                self.syncer.since.elapsed()
            }
            // Then it is done here.
            Err(_) => {
                self.sync();
                Duration::ZERO
            }
        }
    }

    fn cut(&mut self) {
        self.sync();
        match self.folder.open_next() {
            Ok((file, seq)) => {
                self.file = file;
                self.other_bytes += self.len;
                (self.len, self.cut) = (0, Some(seq));
            }
            Err(problem) => tracing::warn!(
                "The next part of the append-only file cannot be opened: {}",
                files::text_of(&problem)
            ),
        }
    }

    /// The error is what the log is to say.
    fn rebase(&mut self, beside: &Path) -> Result<(), String> {
        let rebased = match self.cut.take() {
            Some(cut) => self.folder.rebase(beside, cut),
            None => Err(io::Error::other("its increment could not be opened")),
        };
        if rebased.is_err() {
            let _ = std::fs::remove_file(beside);
        } else {
            let (base, all) = self.folder.sizes();
            self.base_bytes = base;
            self.other_bytes = all.saturating_sub(base + self.len);
        }
        rebased.map_err(|problem| files::text_of(&problem))
    }
}
