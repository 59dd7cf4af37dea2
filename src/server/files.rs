//! The files of the process: the limit on those that are open, which each client's socket counts
//! towards, the working directory, and the configuration file.

use crate::config::{Config, RESERVED_FILES};
use crate::engine::Engine;
use crate::engine::effect::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory that `name` names seen from another one, absolute and without detours; an error
/// says in the system's words why it is none.
pub fn directory(from: &Path, name: &str) -> io::Result<String> {
    // Without a name there is nothing, as in Redis.
    let path = if name.is_empty() { PathBuf::new() } else { from.join(name) };
    let path = std::fs::canonicalize(path)?;
    // Also asks whether it may be entered.
    std::fs::metadata(path.join("."))?;
    Ok(path.to_string_lossy().into_owned())
}

/// A problem in the words of the C library, which come without the number.
pub fn text_of(problem: &io::Error) -> String {
    let text = problem.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// What is said of a problem with a file or a folder.
pub fn trouble_with(path: &Path) -> impl Fn(io::Error) -> String {
    move |problem| format!("{}: {}", path.display(), text_of(&problem))
}

/// Writes the settings that are in force to the configuration file; the log, too, tells why it has
/// failed.
pub fn rewrite_config(engine: &Engine) -> Outcome {
    match write_config(engine) {
        Ok(()) => Outcome::Done,
        Err(problem) => {
            let text = text_of(&problem);
            tracing::warn!("CONFIG REWRITE failed: {text}");
            Outcome::Failed(format!("ERR Rewriting config file: {text}"))
        }
    }
}

/// One that is gone is made anew.
fn write_config(engine: &Engine) -> io::Result<()> {
    let path = engine.facts.config_file();
    let text = match std::fs::read_to_string(&path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    replace(Path::new(&path), engine.config.rewritten(&text, &engine.user_lines()).as_bytes())
}

/// What stands in a file, or `refusal` and why it cannot be read.
pub fn read(path: &Path, refusal: String) -> Outcome {
    let failed = |problem| Outcome::Failed(refusal + &text_of(&problem));
    std::fs::read(path).map_or_else(failed, Outcome::Read)
}

/// As `replace`; the log tells why it has failed.
pub fn write(path: &Path, bytes: &[u8], refusal: String) -> Outcome {
    match replace(path, bytes) {
        Ok(()) => Outcome::Done,
        Err(problem) => {
            tracing::warn!("{} cannot be written: {problem}", path.display());
            Outcome::Failed(refusal)
        }
    }
}

/// Puts other bytes into a file, all of them or none, whenever the machine stops. It keeps its
/// mode; a new one is for its owner alone, since it may hold passwords.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Not a link, but what it leads to.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!("{name}.{}.tmp", std::process::id()));
    let mode = std::fs::metadata(&path).map_or(0o600, |it| it.permissions().mode());
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| _ = std::fs::remove_file(&beside))
}

/// What a file is called that was mended: nothing that was kept before is written over.
pub fn name_for_broken(path: &Path) -> PathBuf {
    let name = |count: usize| {
        let end = if count == 1 { String::new() } else { format!(".{count}") };
        PathBuf::from(format!("{}.broken{end}", path.display()))
    };
    (1..).map(name).find(|name| !name.exists()).expect("there are numbers enough")
}

/// Between two operations on files that must be good for a crash: a debug build ends here, as if
/// the machine had stopped, if `TORIL_FAULT_POINT` is the number of times that one was come by.
pub fn fault_point() {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicU64, Ordering};
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        if std::env::var("TORIL_FAULT_POINT").is_ok_and(|it| it == count.to_string()) {
            std::process::abort();
        }
    }
}

/// How many files the process may have open, if it asks for it.
pub fn max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit to `maxclients` and what else is open. Where the system does not allow it,
/// lowers `maxclients` as Redis does, and says so.
pub fn raise(config: &mut Config) -> Option<String> {
    let (reserved, wanted) = (RESERVED_FILES as u64, (config.maxclients + RESERVED_FILES) as u64);
    let limit = getrlimit(Resource::Nofile);
    let is_enough = |limit: Option<u64>| limit.is_none_or(|files| files >= wanted);
    if is_enough(limit.current) {
        return None;
    }
    let raised = Rlimit { current: Some(wanted.min(max())), maximum: limit.maximum };
    if is_enough(limit.maximum) && setrlimit(Resource::Nofile, raised).is_ok() {
        return None;
    }
    let _ = setrlimit(Resource::Nofile, raised);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(wanted);
    let asked = config.maxclients;
    config.maxclients = (files.saturating_sub(reserved) as usize).clamp(1, asked);
    Some(format!(
        "You requested maxclients of {asked} requiring at least {wanted} max file descriptors. \
         The limit is {files}: maxclients has been reduced to {}. Raise it with 'ulimit -n'.",
        config.maxclients
    ))
}
