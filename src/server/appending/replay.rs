//! The way back: the base and the increments of an append-only file are read at the start, and what
//! is not whole is mended where that is allowed.

use super::folder::AofFolder;
use crate::engine::client::{ClientId, Peer};
use crate::persist::{IncrementFlaw, IncrementReader, LoadOptions, LoadProgress, Loader};
use crate::server::disk::{self, read_block};
use crate::server::{Server, files};
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

/// A crash leaves less of a change that is not whole; where a length was damaged it is anything.
const SURPRISING_BYTES: u64 = 64 << 20;

/// Reads all that the append-only file holds, while clients are told to wait.
pub async fn load(server: &Rc<Server>, folder: &AofFolder) -> Result<(), String> {
    let began = Instant::now();
    let now = server.now();
    let client = {
        let mut engine = server.engine.borrow_mut();
        let client = engine.connect(Peer::inside(), now);
        engine.set_loading(Some(folder.sizes().1));
        client
    };
    let chain: Vec<_> = folder.manifest.chain().collect();
    let mut replaying = Replaying { server, client, bytes: 0, keys: 0, commands: 0 };
    for (at, file) in chain.iter().enumerate() {
        let path = folder.place(&file.name);
        replaying.read(&path, at + 1 == chain.len()).await?;
    }
    let Replaying { keys, commands, .. } = replaying;
    let mut engine = server.engine.borrow_mut();
    engine.set_loading(None);
    engine.disconnect(client, server.now());
    engine.count_as_saved();
    engine.persistence.loaded_keys = keys;
    tracing::warn!(
        "DB loaded from {}: {keys} keys of the base and {commands} commands in {} ms",
        folder.path.display(),
        began.elapsed().as_millis()
    );
    Ok(())
}

struct Replaying<'a> {
    server: &'a Rc<Server>,
    client: ClientId,
    /// Of the files before.
    bytes: u64,
    keys: u64,
    commands: u64,
}

impl Replaying<'_> {
    /// Reads one file of the chain, a base or an increment: its first bytes say what it is made of.
    async fn read(&mut self, path: &Path, is_last: bool) -> Result<(), String> {
        let failed = files::trouble_with(path);
        let mut file = File::open(path).map_err(&failed)?;
        let start = [&b"SELECT"[..], b"0"];
        let _ = self.server.engine.borrow_mut().replay(self.client, &start);
        let mut block = read_block(&mut file).map_err(&failed)?;
        let mut reader = IncrementReader::new(0);
        if block.starts_with(b"REDIS") || block.starts_with(b"VALKEY") {
            let options = disk::options_of(&self.server.engine.borrow().config);
            let options = LoadOptions { keeps_expired: true, ..options };
            let mut loader = Loader::new(options);
            loader.feed(&block);
            loop {
                match disk::load_some(self.server, &mut loader, path, self.bytes)? {
                    LoadProgress::Done => break,
                    LoadProgress::Hungry => loader.feed(&read_block(&mut file).map_err(&failed)?),
                    LoadProgress::More => {}
                }
                tokio::task::yield_now().await;
            }
            self.keys = loader.report().keys;
            disk::finish_loading(&mut self.server.engine.borrow_mut(), path, loader.report())?;
            reader = IncrementReader::new(loader.position());
            block = loader.rest().to_vec();
            if block.is_empty() {
                block = read_block(&mut file).map_err(&failed)?;
            }
        }
        let mut len = 0;
        while !block.is_empty() && !reader.is_bad() {
            len += block.len() as u64;
            reader.feed(&block);
            while let Some(unit) = reader.next_unit() {
                if let Err(problem) = unit.try_each(|words| self.run(words)) {
                    let text = format!("{}: at byte {}: {problem}", path.display(), unit.offset);
                    return self.cut(path, unit.offset, &text, is_last);
                }
            }
            self.server.engine.borrow_mut().note_loaded(self.bytes + len);
            tokio::task::yield_now().await;
            block = read_block(&mut file).map_err(&failed)?;
        }
        self.bytes += file.metadata().map_err(&failed)?.len();
        match reader.flaw() {
            Some(flaw) => self.mend(path, &flaw, is_last),
            None => Ok(()),
        }
    }

    /// An error of a command is none of ours: it was one when it was written. But for SELECT, whose
    /// commands would go to another database.
    fn run(&mut self, words: &[&[u8]]) -> Result<(), String> {
        self.commands += 1;
        let mut engine = self.server.engine.borrow_mut();
        if let [word, number] = words
            && word.eq_ignore_ascii_case(b"select")
        {
            let number = std::str::from_utf8(number).ok().and_then(|it| it.parse::<usize>().ok());
            let number = number.ok_or("SELECT of no number")?;
            if number >= engine.keyspace.databases() {
                let wanted = number.saturating_add(1);
                return Err(format!(
                    "there is no database {number}: start with --databases {wanted}"
                ));
            }
        }
        let replayed = engine.replay(self.client, words);
        replayed.map_err(|problem| format!("a command that toril does not run: {problem}"))
    }

    /// Cuts a file that is not whole, where the settings allow it.
    fn mend(&self, path: &Path, flaw: &IncrementFlaw, is_last: bool) -> Result<(), String> {
        let shown = path.display().to_string();
        let is_cut = flaw.wrong.is_none()
            && is_last
            && flaw.lost_bytes() <= SURPRISING_BYTES
            && self.server.engine.borrow().config.files.aof_load_truncated;
        if !is_cut {
            return self.cut(path, flaw.whole_bytes, &flaw.text(&shown), is_last);
        }
        flaw.lines_of_cut(&shown).iter().for_each(|line| tracing::warn!("{line}"));
        shorten(path, flaw.whole_bytes)
    }

    /// Cuts a file that is worse than that, if `repair` says so, and keeps it under another name.
    fn cut(&self, path: &Path, at: u64, text: &str, is_last: bool) -> Result<(), String> {
        if !is_last {
            return Err(format!(
                "{text}. It is not the last file: more than its end would be lost"
            ));
        }
        if !self.server.engine.borrow().config.files.repair {
            return Err(format!("{text}. Start with --repair yes to cut it there"));
        }
        let broken = files::name_for_broken(path);
        std::fs::copy(path, &broken).map_err(files::trouble_with(path))?;
        tracing::warn!("{text}. It is cut there, and kept as {}", broken.display());
        shorten(path, at)
    }
}

fn shorten(path: &Path, len: u64) -> Result<(), String> {
    let shortened = OpenOptions::new().write(true).open(path).and_then(|file| {
        file.set_len(len)?;
        file.sync_all()
    });
    shortened.map_err(files::trouble_with(path))
}
