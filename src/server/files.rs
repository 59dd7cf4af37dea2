//! The limit on open files, which each client's socket counts towards, and the working directory.

use crate::config::{Config, RESERVED_FILES};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
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
