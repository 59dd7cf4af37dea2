//! The command itself: a process that becomes it, once it is sure to end with us.

use rustix::process::{Pid, getppid};
use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// As shells say it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The first argument of that process; the number of ours follows, then the command.
const MARK: &str = "--under";

/// A process that becomes this command.
pub fn prepare(command: &[OsString]) -> io::Result<tokio::process::Command> {
    let mut prepared = tokio::process::Command::new(env::current_exe()?);
    prepared.args(["exec", MARK, &std::process::id().to_string()]).args(command);
    Ok(prepared)
}

/// In that process: becomes the command, or returns the status to end with, and why. None: this is
/// another process.
pub fn become_it(args: &[OsString]) -> Option<(u8, String)> {
    let [mark, parent, program, args @ ..] = args else { return None };
    if mark != MARK {
        return None;
    }
    // Who is killed passes no signal on. The command has another parent if that was just now.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    let parent = parent.to_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
    if getppid() != parent {
        return Some((NOT_EXECUTABLE, "whoever wanted the command has ended".into()));
    }
    let name = program.to_string_lossy();
    let problem = Command::new(program).args(args).exec();
    Some(match problem.kind() {
        ErrorKind::NotFound => (NOT_FOUND, format!("{name}: no such command")),
        _ => (NOT_EXECUTABLE, format!("{name}: {problem}")),
    })
}
