//! `daemonize yes` without `fork`, which a process with threads cannot do safely. The program
//! starts itself again, with a mark in the environment by which the second one knows what it is.
//!
//! The daemon's standard output is a pipe to the first process, which passes everything on until
//! the daemon lets go of it: once it is ready, or at its end.

use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs, io};

const MARK: &str = "TORIL_DAEMON";

/// What the daemon says last when it has started well; nobody sees it.
const READY: &str = "\0ready\n";

/// Whether this process is the daemon itself, by now.
pub fn is_inside() -> bool {
    env::var_os(MARK).is_some()
}

/// Starts the daemon and waits until it is ready, or has failed; what it says is passed on.
pub fn start() -> ExitCode {
    match start_and_wait() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            super::say(&format!("The daemon cannot be started: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn start_and_wait() -> io::Result<bool> {
    let args: Vec<_> = env::args_os().skip(1).collect();
    if args.iter().any(|arg| arg == "-") {
        let reason = "settings from standard input do not reach it: put them into a file";
        return Err(io::Error::other(reason));
    }
    let mut daemon = Command::new(env::current_exe()?)
        .args(args)
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut text = Vec::new();
    if let Some(mut output) = daemon.stdout.take() {
        output.read_to_end(&mut text)?;
    }
    let is_ready = text.ends_with(READY.as_bytes());
    if is_ready {
        text.truncate(text.len() - READY.len());
    }
    let _ = io::stdout().write_all(&text);
    Ok(is_ready)
}

/// In the daemon, first of all: leaves the terminal's session, so that its end is not ours.
pub fn leave_session() {
    // Refused only to who leads a session already.
    let _ = rustix::process::setsid();
}

/// In the daemon, when it is ready: lets the first process go. What is said from here on is said
/// to nobody, unless there is a log file.
pub fn let_go() {
    let mut output = io::stdout();
    let _ = output.write_all(READY.as_bytes()).and_then(|()| output.flush());
    if let Ok(nowhere) = fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&nowhere);
        let _ = rustix::stdio::dup2_stderr(&nowhere);
    }
}
