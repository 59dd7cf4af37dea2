//! `toril exec`: a command beside a server of its own.
//!
//! The server is a process: it may be told to restart, to be out of memory or to hang without harm
//! to us, and it ends with us even if we are killed (`exit-with-parent`). It has a process group
//! of its own, so that a terminal's Ctrl-C ends the command first.

mod command;
mod environment;
mod plan;

use super::session::Session;
use crate::remote::Response;
use crate::server::TERMINATED;
use crate::testing::LOG_MARK;
use environment::Variable;
use plan::Plan;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use serde_json::Value;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, io};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Watched, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Whatever keeps the command from being run.
const REFUSED: u8 = 2;
/// The server ended, or the jobs did not.
const FAILED: u8 = 1;
/// The status of what a signal ended, less its number.
const SIGNALLED: i32 = 128;

/// How long somebody has to end who was asked to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the server said last, which is shown if the command fails.
const LOG_LINES_MAX: usize = 100;

/// Runs what the arguments behind `exec` ask for; returns the status to end with.
pub fn run(args: &[OsString]) -> u8 {
    if let Some((status, reason)) = command::become_it(args) {
        say(&reason);
        return status;
    }
    let plan = match Plan::read(args) {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            // Nobody may be reading.
            let _ = writeln!(io::stdout(), "{}", plan::USAGE);
            return 0;
        }
        Err(reason) => return refuse(&reason),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    match runtime {
        Ok(runtime) => runtime.block_on(execute(&plan)).unwrap_or_else(|reason| refuse(&reason)),
        Err(problem) => refuse(&format!("the event loop cannot be set up: {problem}")),
    }
}

fn refuse(reason: &str) -> u8 {
    say(reason);
    REFUSED
}

/// To a person: standard output is the command's.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "toril exec: {text}");
}

async fn execute(plan: &Plan) -> Result<u8, String> {
    let mut signals = Signals::watch().map_err(|problem| format!("signals: {problem}"))?;
    let mut server = Server::start(plan).await?;
    let mut variables = environment::variables(&server.told, &plan.variables)?;
    if plan.clock {
        variables.extend(environment::clock(&server.told)?);
    }
    let title = plan.title();
    for variable in &variables {
        if let Some(text) = variable.replaced(&title) {
            say(&text);
        }
    }
    let command = spawn(plan, &variables).map_err(|problem| format!("{title}: {problem}"))?;
    let mut status = attend(command, &mut server, &mut signals, &title).await;
    if let Some(reason) = server.wait_idle(plan) {
        say(&reason);
        status = status.max(FAILED);
    }
    let said = server.stop().await;
    let is_ours = |line: &&String| line.ends_with(TERMINATED);
    let wanted = |line: &&String| status != 0 || is_finding(line);
    said.iter().take_while(|line| !is_ours(line)).filter(wanted).for_each(|line| say(line));
    Ok(status)
}

/// Whether strict mode has found something, which is told however the command ends.
fn is_finding(line: &str) -> bool {
    let marks = [" # ", " * "];
    marks
        .iter()
        .any(|mark| line.split_once(mark).is_some_and(|(_, text)| text.starts_with(LOG_MARK)))
}

fn spawn(plan: &Plan, variables: &[Variable]) -> io::Result<Child> {
    let mut command = command::prepare(&plan.command)?;
    for Variable { name, value, .. } in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.spawn()
}

/// Waits for the end of the command, which gets the signals that we get, and ends with the server.
async fn attend(mut command: Child, server: &mut Server, signals: &mut Signals, title: &str) -> u8 {
    loop {
        tokio::select! {
            status = command.wait() => return code(status),
            status = server.child.wait() => {
                let status = code(status);
                say(&format!("the server ended (status {status}) while {title} was running"));
                end(&mut command).await;
                return FAILED;
            }
            signal = signals.next() => send(&command, signal),
        }
    }
}

fn code(status: io::Result<ExitStatus>) -> u8 {
    let Ok(status) = status else { return FAILED };
    let code = status.code().or(status.signal().map(|signal| SIGNALLED + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid as i32)) {
        // It may have ended.
        let _ = kill_process(pid, signal);
    }
}

/// Asks a process to end, and makes it.
async fn end(child: &mut Child) {
    send(child, Signal::TERM);
    if timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The signals that are for the command.
struct Signals {
    terminate: Watched,
    interrupt: Watched,
    hang_up: Watched,
    /// The terminal that the process belongs to, if any.
    terminal: Option<File>,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            terminal: File::open("/dev/tty").ok(),
        })
    }

    /// The next one that the command has not got already.
    async fn next(&mut self) -> Signal {
        loop {
            let signal = tokio::select! {
                _ = self.terminate.recv() => return Signal::TERM,
                _ = self.interrupt.recv() => Signal::INT,
                _ = self.hang_up.recv() => Signal::HUP,
            };
            if !self.is_from_terminal() {
                return signal;
            }
        }
    }

    /// A terminal sends them to all processes in front, and so to the command. Who sends one by
    /// hand to us alone, while we are in front, is taken for the terminal: the system does not say.
    fn is_from_terminal(&self) -> bool {
        let in_front = self.terminal.as_ref().map(tcgetpgrp);
        // A terminal that is gone has hung up on all.
        in_front.is_some_and(|group| group.map_or(true, |group| group == getpgrp()))
    }
}

/// A server that belongs to the command.
struct Server {
    child: Child,
    /// What it announced.
    told: Value,
    /// Ends with it; what it logged last.
    log: JoinHandle<VecDeque<String>>,
}

impl Server {
    async fn start(plan: &Plan) -> Result<Self, String> {
        let program = env::current_exe().map_err(|problem| problem.to_string())?;
        let mut child = Command::new(program)
            .args(plan.server_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|problem| format!("the server cannot be started: {problem}"))?;
        let output = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(output).lines();
        let mut said = Vec::new();
        let told = loop {
            match lines.next_line().await {
                Ok(Some(line)) if line.starts_with(r#"{"toril""#) => {
                    break serde_json::from_str(&line).map_err(|problem| problem.to_string())?;
                }
                Ok(Some(line)) => said.push(line),
                _ => {
                    let status = code(child.wait().await);
                    return Err(format!(
                        "the server ended with status {status} before it was ready:\n{}",
                        said.join("\n")
                    ));
                }
            }
        };
        let log = tokio::task::spawn_local(async move {
            let mut kept = VecDeque::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if kept.len() == LOG_LINES_MAX {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
            kept
        });
        Ok(Self { child, told, log })
    }

    /// Why the jobs are not done, if that was to be waited for and the server is there.
    fn wait_idle(&self, plan: &Plan) -> Option<String> {
        let (ms, _) = (plan.wait_idle_ms?, self.child.id()?);
        let host = self.told["host"].as_str()?;
        let port = self.told["port"].as_u64()? as u16;
        let answer = Session::open(host, port, PATIENCE).and_then(|mut session| {
            session.be_patient(Duration::from_millis(ms) + PATIENCE)?;
            session.ask(&["TORIL", "WAIT", "IDLE", "TIMEOUT", &ms.to_string()])
        });
        match answer {
            Ok(Response::Error(text)) => Some(text),
            Ok(told) => told.get("why").map(Response::text),
            Err(problem) => Some(problem.to_string()),
        }
    }

    /// Ends it; returns what it logged.
    async fn stop(mut self) -> VecDeque<String> {
        end(&mut self.child).await;
        self.log.await.unwrap_or_default()
    }
}
