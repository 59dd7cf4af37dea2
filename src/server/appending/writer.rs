//! The thread that writes: it does what it is asked in order, and tells what became of it.
//!
//! With `appendfsync everysec` another thread syncs, so that a disk that takes its time over that
//! holds up no write: what was written outlives the process, synced or not. That one tells what it
//! has synced by itself.

use super::folder::AofFolder;
use crate::config::AppendSync;
use crate::engine::persistence::FilePlace;
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

/// Where nobody waits for the disk, the next write comes so long after the last: in between changes
/// gather, for to wake a thread and to be told by it costs more than to write. The first change
/// after a silence is written at once.
const GATHERING: Duration = Duration::from_millis(10);

/// How long after a write that failed it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Memory that is kept for the next bytes, at most.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What the thread is asked for, in order.
pub(super) enum Order {
    /// Bytes of the journal, which end here.
    Append { bytes: Vec<u8>, place: FilePlace, sync: AppendSync },
    /// The next increment begins, behind this.
    Cut(FilePlace),
    /// A snapshot of when it began is whole.
    Rebase(PathBuf),
    /// Nothing follows.
    End,
}

/// What the thread tells, an order each, and of each write that fails.
pub(super) enum Report {
    /// Up to this offset, and this is the memory that it stood in. The sync that was due takes so
    /// long already.
    Written {
        until: u64,
        took: Duration,
        emptied: Vec<u8>,
    },
    /// Up to here all is on the disk.
    Synced(FilePlace),
    Failed(String),
    Rebased(Result<(), String>),
}

/// Where reports go, with the sizes that the files have then, if they may be others.
pub(super) type Reports = mpsc::UnboundedSender<(Report, Option<AofSizes>)>;

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
    /// What it has.
    pub(super) place: FilePlace,
    /// The increment that the snapshot under way begins with.
    pub(super) cut: Option<u64>,
    /// When what was written is to be synced.
    pub(super) sync_at: Option<Instant>,
    /// When the sync began for whose end the next one waits.
    pub(super) waits_since: Option<Instant>,
    pub(super) syncer: Syncer,
    /// The server ends, and waits for no disk to heal.
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) reports: Reports,
}

/// A thread that syncs files, one at a time.
pub(super) struct Syncer {
    files: SyncSender<(File, FilePlace)>,
    /// When it got the last.
    since: Instant,
}

impl Syncer {
    /// The error is the system's.
    pub(super) fn start(reports: Reports) -> io::Result<Self> {
        // Whoever hands it a file finds it waiting for one, or busy.
        let (files, to_sync) = sync_channel::<(File, FilePlace)>(0);
        let work = move || {
            for (file, place) in to_sync {
                sync_or_end(&file);
                let _ = reports.send((Report::Synced(place), None));
            }
        };
        std::thread::Builder::new().name("toril-sync".into()).spawn(work)?;
        Ok(Self { files, since: Instant::now() })
    }

    /// Has a file synced, which has so much; false if it is still at one.
    fn take(&mut self, file: &File, place: FilePlace) -> io::Result<bool> {
        match self.files.try_send((file.try_clone()?, place)) {
            Ok(()) => self.since = Instant::now(),
            Err(TrySendError::Full(_)) => return Ok(false),
            Err(TrySendError::Disconnected(_)) => return Err(io::Error::other("it has ended")),
        }
        Ok(true)
    }
}

/// Memory for the next bytes, unless it is more than is kept.
fn emptied(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.clear();
    bytes.shrink_to(KEPT_BYTES_MAX);
    bytes
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
                Order::Append { bytes, place, sync } => {
                    self.append(&bytes);
                    self.place = place;
                    let took = self.sync_as(sync);
                    if sync != AppendSync::Always && !self.is_over.load(Ordering::Relaxed) {
                        std::thread::sleep(GATHERING);
                    }
                    Report::Written { until: place.until, took, emptied: emptied(bytes) }
                }
                Order::Cut(place) => {
                    self.cut();
                    self.place = place;
                    Report::Synced(place)
                }
                Order::Rebase(beside) => Report::Rebased(self.rebase(&beside)),
                Order::End => return self.sync(),
            };
            self.tell(report);
        }
    }

    /// Syncs what was written, or sees to it. Returns how long a sync that was due takes already.
    fn sync_as(&mut self, sync: AppendSync) -> Duration {
        let began = Instant::now();
        match sync {
            AppendSync::Always => {
                self.sync();
                self.tell(Report::Synced(self.place));
                return began.elapsed();
            }
            AppendSync::EverySecond => {
                self.sync_at.get_or_insert(began + SYNC_EVERY);
                if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                    self.sync_aside();
                }
            }
            AppendSync::No => self.sync_at = None,
        }
        self.waits_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nobody may listen any more.
    fn tell(&self, report: Report) {
        let all = self.base_bytes + self.other_bytes + self.len;
        let _ = self.reports.send((report, Some(AofSizes { base: self.base_bytes, all })));
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
        (self.sync_at, self.waits_since) = (None, None);
        sync_or_end(&self.file);
    }

    /// Has the other thread sync, or waits for it if it is still at the last.
    fn sync_aside(&mut self) {
        match self.syncer.take(&self.file, self.place) {
            Ok(true) => (self.sync_at, self.waits_since) = (None, None),
            Ok(false) => {
                self.sync_at = Some(Instant::now() + SYNC_RETRY);
                self.waits_since = Some(self.syncer.since);
            }
            // Then it is done here.
            Err(_) => {
                self.sync();
                self.tell(Report::Synced(self.place));
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
