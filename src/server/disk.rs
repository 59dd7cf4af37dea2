//! Snapshots in files: read at the start, written when asked for, by the rules of `save`, and at
//! the end.
//!
//! A snapshot is written beside the file whose place it takes, synced, and renamed: whenever the
//! machine stops, there is the one before or the new one, whole. While clients are served a thread
//! does the writing, since a sync takes what it takes; the walk over the keys is the engine's, in
//! slices of 0.1 ms and a quarter of the time at most, and waits where the disk is slower.

use super::{Server, files};
use crate::config::Config;
use crate::engine::Engine;
use crate::engine::effect::Reloading;
use crate::engine::keyspace::SavingStep;
use crate::engine::persistence::SnapshotKind;
use crate::persist::{LoadOptions, LoadProgress, LoadReport, Loader};
use crate::rdb::crc64;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Blocks go to a file, and come from one, in this size.
const BLOCK_BYTES: usize = 256 * 1024;

/// So many of them wait for the disk.
const BLOCKS_MAX: usize = 4;

/// What is written is synced each time it has grown by so much: the system does not pile it up.
const UNSYNCED_BYTES_MAX: usize = 4 << 20;

/// While clients are served: slices of the walk, and a pause.
const SLICES: usize = 3;
const PAUSE: Duration = Duration::from_millis(1);

/// Nobody was served for so long.
const QUIET_US: u64 = 2_000;

/// Records of a file between two looks at what else there is to do.
const RECORDS_MAX: usize = 1_000;

/// A snapshot on its way into a file.
pub struct SnapshotFile {
    path: PathBuf,
    file: File,
    /// None where none is wanted.
    checksum: Option<u64>,
    unsynced: usize,
    is_whole: bool,
}

impl SnapshotFile {
    /// A new file, in the place of one that may be there; the error is the system's, as below.
    pub fn create(config: &Config, path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let checksum = config.files.rdbchecksum.then_some(0);
        Ok(Self { path: path.to_owned(), file, checksum, unsynced: 0, is_whole: false })
    }

    /// Appends bytes of the snapshot; the error is the system's.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum = self.checksum.map(|before| crc64(before, bytes));
        self.file.write_all(bytes)?;
        self.unsynced += bytes.len();
        if self.unsynced >= UNSYNCED_BYTES_MAX {
            self.unsynced = 0;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// The file is whole. Until then it goes with this.
    pub fn close(mut self) -> io::Result<()> {
        let checksum = self.checksum.unwrap_or(0).to_le_bytes();
        self.file.write_all(&checksum)?;
        files::fault_point();
        self.file.sync_all()?;
        files::fault_point();
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The file that snapshots are put into.
fn dump(config: &Config) -> PathBuf {
    config.place(&config.files.dbfilename)
}

/// A file that is whole takes its place. What is left to do may be left to a thread: to sync the
/// folder, and to free the file of before, which each take milliseconds.
fn put_in_place(
    beside: &Path,
    path: &Path,
) -> io::Result<impl FnOnce() -> io::Result<()> + Send + use<>> {
    // As long as it is open it goes by its name only.
    let before = File::open(path);
    std::fs::rename(beside, path).inspect_err(|_| _ = std::fs::remove_file(beside))?;
    files::fault_point();
    let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(move || {
        drop(before);
        File::open(folder)?.sync_all()
    })
}

/// Has a thread of its own do this, and waits for it.
///
/// # Errors
/// As the work has, or there is no thread.
fn on_a_thread(
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<impl Future<Output = io::Result<()>>> {
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("toril-save".into()).spawn(move || _ = end.send(work()))?;
    Ok(async { ended.await.unwrap_or_else(|_| Err(io::Error::other("the thread has ended"))) })
}

/// The next block of a file; an empty one at its end.
pub fn read_block(file: &mut File) -> io::Result<Vec<u8>> {
    let mut block = vec![0; BLOCK_BYTES];
    let count = file.read(&mut block)?;
    block.truncate(count);
    Ok(block)
}

fn tell_failure(problem: &io::Error) {
    tracing::warn!("The data cannot be saved: {}", files::text_of(problem));
}

/// Writes a snapshot and lets nobody else run; one that is being written is given up.
pub fn save(server: &Server) -> io::Result<()> {
    let now = server.now();
    let mut engine = server.engine.borrow_mut();
    let saved = write_whole(&mut engine).inspect_err(tell_failure);
    engine.end_saving(saved.is_ok(), now);
    saved
}

fn write_whole(engine: &mut Engine) -> io::Result<()> {
    // As Redis calls it.
    let beside = engine.config.place(&format!("temp-{}.rdb", std::process::id()));
    let mut file = SnapshotFile::create(&engine.config, &beside)?;
    engine.save_whole(SnapshotKind::Alone, |bytes| file.write(bytes))?;
    file.close()?;
    put_in_place(&beside, &dump(&engine.config))?()?;
    tracing::warn!("DB saved on disk");
    Ok(())
}

/// Waits until a snapshot that is taken while clients are served may begin: one at a time, and not
/// in the middle of a unit.
pub async fn until_free(server: &Server) {
    let is_free = |engine: &Engine| engine.is_between_units() && !engine.persistence.is_saving();
    while !is_free(&server.engine.borrow()) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// Where a snapshot is written until it is whole: another may be written before this one has come
/// to its end.
fn beside(config: &Config, number: u64) -> PathBuf {
    config.place(&format!("temp-{}-{number}.rdb", std::process::id()))
}

/// Leaves no part of a snapshot that the end of the server has come before.
pub fn remove_unfinished(engine: &Engine) {
    if let Some(number) = engine.persistence.under_way() {
        let _ = std::fs::remove_file(beside(&engine.config, number));
    }
}

/// Writes a snapshot while clients are served: the one of this number, or one that is to begin.
pub async fn save_aside(server: Rc<Server>, begun: Option<u64>) {
    if begun.is_none() {
        until_free(&server).await;
    }
    let began = Instant::now();
    let (number, beside, dump, created) = {
        let mut engine = server.engine.borrow_mut();
        let number = begun.unwrap_or_else(|| engine.begin_saving(SnapshotKind::Aside));
        let config = &engine.config;
        let beside = beside(config, number);
        let created = SnapshotFile::create(config, &beside);
        (number, beside, dump(config), created)
    };
    let written = match created {
        Ok(file) => write_aside(&server, file, number).await,
        Err(problem) => Err(problem),
    };
    let saved = match written {
        Ok(true) => settle(&beside, &dump).await.map(|()| true),
        other => other,
    };
    let (now, mut engine) = (server.now(), server.engine.borrow_mut());
    match saved {
        // SAVE may have come while the folder was synced, and its file has taken this one's place.
        Ok(true) if !engine.persistence.is_under_way(number) => {}
        Ok(false) => tracing::warn!("The snapshot was given up"),
        Ok(true) => {
            let keys = engine.keyspace.saving().map_or(0, |saving| saving.keys);
            tracing::warn!("DB saved on disk: {keys} keys in {} ms", began.elapsed().as_millis());
            engine.end_saving(true, now);
        }
        Err(problem) => {
            tell_failure(&problem);
            engine.end_saving(false, now);
        }
    }
}

/// Puts a file that is whole in its place.
async fn settle(beside: &Path, path: &Path) -> io::Result<()> {
    on_a_thread(put_in_place(beside, path)?)?.await
}

/// Carries the snapshot of this number into its file. False if it was given up meanwhile; either
/// way nobody writes to the file any more.
pub async fn write_aside(server: &Rc<Server>, file: SnapshotFile, number: u64) -> io::Result<bool> {
    let (blocks, to_write) = mpsc::channel(BLOCKS_MAX);
    let writing = on_a_thread(move || write_blocks(file, to_write))?;
    let carried = carry(server, blocks, number).await;
    let written = writing.await;
    if carried? {
        written?;
    }
    Ok(server.engine.borrow().persistence.is_under_way(number))
}

/// Writes what comes, on a thread of its own. An empty block says that the file is whole; one that
/// never comes, that nobody wants it.
fn write_blocks(mut file: SnapshotFile, mut blocks: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(block) = blocks.blocking_recv() {
        if block.is_empty() {
            return file.close();
        }
        file.write(&block)?;
    }
    Ok(())
}

/// Walks over the keys, and hands on what comes of it. False if the snapshot was given up; true
/// also if nobody takes the blocks, who then says why.
pub async fn carry(
    server: &Rc<Server>,
    blocks: mpsc::Sender<Vec<u8>>,
    number: u64,
) -> io::Result<bool> {
    for slice in 1.. {
        let (is_done, block) = {
            let mut engine = server.engine.borrow_mut();
            if !engine.persistence.is_under_way(number) {
                return Ok(false);
            }
            let is_done = engine.keyspace.save_some(SavingStep::SHORT);
            if engine.keyspace.saving().is_some_and(|saving| saving.is_over) {
                return Err(io::Error::other(
                    "keys change faster than the disk takes them, and more than an eighth of the \
                     memory would have to wait for it",
                ));
            }
            let is_block = is_done || engine.keyspace.saved_len() >= BLOCK_BYTES;
            (is_done, is_block.then(|| engine.keyspace.take_saved()))
        };
        if let Some(block) = block
            && blocks.send(block).await.is_err()
        {
            break;
        }
        if is_done {
            let _ = blocks.send(Vec::new()).await;
            break;
        }
        if slice % SLICES == 0 && !server.is_idle(QUIET_US) {
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
    Ok(true)
}

/// Whether the end of the server has something to write.
pub fn keeps(config: &Config) -> bool {
    config.files.appendonly || !config.save.is_empty()
}

/// The server is about to end: saves if there are rules to save by. False if that fails.
pub async fn save_at_end(server: &Server) -> bool {
    let is_wanted = {
        let engine = server.engine.borrow();
        server.saves_at_end.get()
            && !engine.config.save.is_empty()
            && engine.persistence.loading().is_none()
    };
    // A script that is under way comes to its end, or SCRIPT KILL ends it, as in Redis.
    while is_wanted && !server.engine.borrow().is_between_units() {
        tokio::time::sleep(PAUSE).await;
    }
    if is_wanted && save(server).is_err() {
        tracing::warn!("Error trying to save the DB, can't exit.");
        return false;
    }
    true
}

/// The file to begin with, if there is one.
pub fn to_load(config: &Config) -> Result<Option<PathBuf>, String> {
    let dump = dump(config);
    match &config.files.load[..] {
        "no" => Ok(None),
        "" if dump.exists() && !dump.is_file() => {
            Err(format!("{}: it is no file, so nothing can be read from it", dump.display()))
        }
        "" => Ok(dump.exists().then_some(dump)),
        name => match std::fs::metadata(name) {
            Ok(found) if found.is_file() => Ok(Some(name.into())),
            Ok(_) => Err(format!("load {name}: it is no file")),
            Err(problem) => Err(format!("load {name}: {}", files::text_of(&problem))),
        },
    }
}

/// How a file is read that was there before.
pub fn options_of(config: &Config) -> LoadOptions {
    LoadOptions {
        is_partial: config.files.load_partly,
        repairs: config.files.repair,
        ..LoadOptions::default()
    }
}

/// Reads on in a file that lies behind others of so many bytes.
pub fn load_some(
    server: &Server,
    loader: &mut Loader,
    path: &Path,
    bytes_before: u64,
) -> Result<LoadProgress, String> {
    let mut engine = server.engine.borrow_mut();
    let progress = loader.step(&mut *engine, RECORDS_MAX);
    engine.note_loaded(bytes_before + loader.position());
    progress.map_err(|problem| format!("{} {problem}", path.display()))
}

/// Reads the file to begin with, while clients are told to wait.
pub async fn load(server: &Rc<Server>, path: &Path) -> Result<(), String> {
    let began = Instant::now();
    let failed = files::trouble_with(path);
    let mut file = File::open(path).map_err(&failed)?;
    let len = file.metadata().map_err(&failed)?.len();
    let mut loader = {
        let mut engine = server.engine.borrow_mut();
        engine.set_loading(Some(len));
        // Keys go at the primary's word, which may have put off their end since.
        let keeps_expired = engine.replication.is_following();
        Loader::new(LoadOptions { keeps_expired, ..options_of(&engine.config) })
    };
    loop {
        match load_some(server, &mut loader, path, 0)? {
            LoadProgress::Done => break,
            LoadProgress::Hungry => loader.feed(&read_block(&mut file).map_err(&failed)?),
            LoadProgress::More => {}
        }
        tokio::task::yield_now().await;
    }
    let mut engine = server.engine.borrow_mut();
    engine.set_loading(None);
    engine.count_as_saved();
    let report = loader.report();
    finish_loading(&mut engine, path, report)?;
    if let (Some(history), Some(offset)) = (&report.history, report.history_offset)
        && report.is_whole()
    {
        engine.go_on_from_file(history, offset, report.stream_db);
    }
    tracing::warn!(
        "DB loaded from {}: {} keys in {} ms",
        path.display(),
        loader.report().keys,
        began.elapsed().as_millis()
    );
    Ok(())
}

/// Tells what a file has held. One that was repaired is kept under another name.
pub fn finish_loading(engine: &mut Engine, path: &Path, report: &LoadReport) -> Result<(), String> {
    let state = &mut engine.persistence;
    (state.loaded_keys, state.loaded_expired) = (report.keys, report.expired);
    if report.empty > 0 {
        tracing::warn!("left out: {} collections of nothing, which have no key", report.empty);
    }
    for (module, count) in &report.foreign {
        tracing::warn!("left out: {count} of {module}, which toril cannot read");
    }
    if let Some(fault) = &report.fault {
        let broken = files::name_for_broken(path);
        std::fs::rename(path, &broken).map_err(files::trouble_with(path))?;
        tracing::warn!(
            "{} {fault}. Its first {} keys are here; the file is kept as {}",
            path.display(),
            report.keys,
            broken.display()
        );
    }
    Ok(())
}

/// Reads the snapshot again and lets nobody else run.
pub fn reload(server: &Server, how: Reloading) -> Result<(), String> {
    if how.saves {
        save(server).map_err(|problem| files::text_of(&problem))?;
    }
    let mut engine = server.engine.borrow_mut();
    let path = dump(&engine.config);
    let mut file = File::open(&path).map_err(files::trouble_with(&path))?;
    if how.flushes {
        engine.forget_all();
    }
    let options = LoadOptions { merges: how.merges, ..options_of(&engine.config) };
    let mut loader = Loader::new(options);
    let next = || read_block(&mut file).map_err(|problem| files::text_of(&problem));
    let read = loader.read_whole(&mut *engine, next);
    read.map_err(|problem| format!("{} {problem}", path.display()))?;
    engine.count_as_saved();
    finish_loading(&mut engine, &path, loader.report())
}
