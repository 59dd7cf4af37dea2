//! The thread that writes: it does what it is asked in order, and tells what became of it.

use super::folder::AofFolder;
use crate::config::AppendSync;
use crate::server::files;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// With `appendfsync everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);

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
    Written { until: u64, took: Duration },
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
    /// The server ends, and waits for no disk to heal.
    pub(super) is_over: Arc<AtomicBool>,
    pub(super) reports: mpsc::UnboundedSender<(Report, AofSizes)>,
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
                            self.sync();
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
                    match sync {
                        AppendSync::Always => self.sync(),
                        AppendSync::EverySecond => {
                            self.sync_at.get_or_insert(began + SYNC_EVERY);
                            if self.sync_at.is_some_and(|at| at <= Instant::now()) {
                                self.sync();
                            }
                        }
                        AppendSync::No => self.sync_at = None,
                    }
                    Report::Written { until, took: began.elapsed() }
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
        if let Err(problem) = self.file.sync_data() {
            tracing::error!(
                "The append-only file cannot be synced: {}. Nobody knows what is on the disk; the \
                 process ends",
                files::text_of(&problem)
            );
            std::process::exit(1);
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
