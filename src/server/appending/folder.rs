//! The folder of the append-only file: what is in it, and each step by which that changes. After
//! every one of them the manifest names files that hold all.

use crate::config::Config;
use crate::engine::Engine;
use crate::engine::persistence::SnapshotKind;
use crate::persist::{AofNames, AofRole, BaseForm, Manifest};
use crate::server::disk::SnapshotFile;
use crate::server::files;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where the files lie, and which they are.
pub struct AofFolder {
    pub(super) path: PathBuf,
    pub(super) names: AofNames,
    pub(super) manifest: Manifest,
    /// Locked: nobody else writes here as long as this is open.
    _lock: File,
}

impl AofFolder {
    /// What is there of an append-only file, with what a rewrite has left behind removed.
    ///
    /// # Errors
    /// A manifest that is none, or files that none names.
    pub fn find(config: &Config) -> Result<Self, String> {
        let names = AofNames::new(&config.files.appendfilename);
        let path = config.place(&config.files.appenddirname);
        let single = config.place(&config.files.appendfilename);
        let shown = path.display().to_string();
        std::fs::create_dir_all(&path).map_err(files::trouble_with(&path))?;
        let lock = File::open(&path).map_err(files::trouble_with(&path))?;
        lock.try_lock()
            .map_err(|_| format!("{shown}: another server writes here. Give each its own --dir"))?;
        let mut folder = Self { path, names, manifest: Manifest::default(), _lock: lock };
        let failed = |problem: io::Error| format!("{shown}: {}", files::text_of(&problem));
        let manifest = folder.place(&folder.names.manifest());
        match std::fs::read(&manifest) {
            Ok(text) => {
                folder.manifest = Manifest::parse(&text).map_err(|problem| {
                    format!(
                        "\n*** FATAL AOF MANIFEST FILE ERROR ***\n{problem}\nin {}: bring back \
                         the one before, or move {shown} away to start without it",
                        manifest.display()
                    )
                })?;
            }
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {
                if single.is_file() {
                    let upgraded = Manifest::upgraded(&folder.names);
                    folder.put(upgraded).map_err(failed)?;
                }
            }
            Err(problem) => return Err(failed(problem)),
        }
        let moved = folder.place(&folder.names.single());
        if folder.manifest.is_upgrade(&folder.names) && !moved.exists() {
            std::fs::rename(&single, &moved).map_err(failed)?;
            tracing::warn!("{} was moved into {shown}", single.display());
        }
        folder.look_around(&shown).map_err(failed)??;
        Ok(folder)
    }

    /// Removes leftovers. Files that hold data and that no manifest names are an error.
    fn look_around(&self, shown: &str) -> io::Result<Result<(), String>> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            match self.manifest.role_of(&self.names, name.as_bytes(), entry.metadata()?.len()) {
                AofRole::Leftover => std::fs::remove_file(entry.path())?,
                AofRole::Stray if self.is_new() => {
                    let manifest = self.names.manifest();
                    return Ok(Err(format!(
                        "{shown} holds {} but no manifest, so nobody knows what belongs together. \
                         Bring back {}, or move the folder away (mv {shown} {shown}.old) to start \
                         without it",
                        name.display(),
                        OsStr::from_bytes(&manifest).display()
                    )));
                }
                AofRole::Stray => {
                    tracing::warn!("{shown}: {} is not in the manifest", name.display());
                }
                AofRole::Manifest | AofRole::Listed | AofRole::Foreign => {}
            }
        }
        Ok(Ok(()))
    }

    /// Whether there is no append-only file yet.
    pub fn is_new(&self) -> bool {
        self.manifest.is_empty()
    }

    pub(super) fn place(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Puts a manifest in the place of the one before. That is the moment at which it holds.
    fn put(&mut self, manifest: Manifest) -> io::Result<()> {
        let beside = self.place(&self.names.temporary_manifest());
        let mut file = File::create(&beside)?;
        files::fault_point();
        file.write_all(&manifest.text())?;
        file.sync_all()?;
        files::fault_point();
        std::fs::rename(&beside, self.place(&self.names.manifest()))?;
        files::fault_point();
        File::open(&self.path)?.sync_all()?;
        self.manifest = manifest;
        Ok(())
    }

    /// Opens the next increment, which takes all that is written from now on.
    pub(super) fn open_next(&mut self) -> io::Result<(File, u64)> {
        let opened = self.manifest.opened(&self.names);
        let last = opened.increments.last().expect("it was opened");
        let (path, seq) = (self.place(&last.name), last.seq);
        // One that a crash has left is empty; what holds data is not written over.
        if std::fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
            return Err(io::Error::other(format!(
                "{} holds data, and the manifest does not name it",
                path.display()
            )));
        }
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        files::fault_point();
        self.put(opened)?;
        Ok((file, seq))
    }

    /// A snapshot becomes the base of what was written from an increment on; what it holds goes.
    pub(super) fn rebase(&mut self, beside: &Path, cut: u64) -> io::Result<()> {
        let base = self.manifest.next_base(&self.names, BaseForm::Rdb);
        std::fs::rename(beside, self.place(&base.name))?;
        files::fault_point();
        let rebased = self.manifest.rebased(&self.names, BaseForm::Rdb, cut);
        self.put(rebased)?;
        self.forget_history()
    }

    /// Removes what is needed no more.
    fn forget_history(&mut self) -> io::Result<()> {
        if self.manifest.history.is_empty() {
            return Ok(());
        }
        for file in &self.manifest.history {
            files::fault_point();
            let _ = std::fs::remove_file(self.place(&file.name));
        }
        files::fault_point();
        self.put(self.manifest.forgotten())
    }

    /// Bytes of the base, and of all files.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let size = |name: &[u8]| std::fs::metadata(self.place(name)).map_or(0, |it| it.len());
        let base = self.manifest.base.as_ref().map_or(0, |file| size(&file.name));
        (base, self.manifest.chain().map(|file| size(&file.name)).sum())
    }

    /// Makes the first files, with all that there is now in the base.
    pub(super) fn make(&mut self, engine: &mut Engine) -> io::Result<File> {
        let beside = self.place(&self.names.temporary_base(std::process::id(), 0));
        let mut base = SnapshotFile::create(&engine.config, &beside)?;
        let written = engine.save_whole(SnapshotKind::Base, |bytes| base.write(bytes));
        engine.end_saving(written.is_ok(), engine.keyspace.now);
        written?;
        base.close()?;
        // A base without a manifest would be a stranger.
        let (file, cut) = self.open_next()?;
        self.rebase(&beside, cut)?;
        Ok(file)
    }

    /// Opens the last increment, to go on at its end.
    pub(super) fn go_on(&mut self) -> io::Result<File> {
        self.forget_history()?;
        match self.manifest.increments.last() {
            None => Ok(self.open_next()?.0),
            Some(last) => OpenOptions::new().append(true).open(self.place(&last.name)),
        }
    }
}
