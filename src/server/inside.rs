//! A server inside another program, on a thread of its own.
//!
//! The process is the program's: its signals, its working directory, its limits, its log, its
//! allocator and its standard output stay as they are. Several servers may run in one process; none
//! sees anything of another.

use super::signals::Stop;
use super::{announce, event_loop, prepare, serve};
use crate::config::{Announce, Config};
use std::sync::{Arc, mpsc};
use std::thread::{Builder, JoinHandle};

/// As the main thread of a process has it: what is nested is read by recursion.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// A running server. Dropped, it ends: before that returns, its thread and its ports are gone.
pub struct Inside {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// Serves until it is dropped, or told to SHUTDOWN. Returns once clients can connect, with the line
/// of `announce json`; or says why they cannot.
pub fn serve_inside(mut config: Config) -> Result<(Inside, String), String> {
    if let Some(name) = unfit(&config) {
        return Err(format!("{name} needs toril's own process: Server::spawn()"));
    }
    prepare(&mut config)?;
    let stop = Arc::<Stop>::default();
    let (tell, told) = mpsc::channel();
    let work = {
        let stop = stop.clone();
        move || {
            let ready = {
                let tell = tell.clone();
                move |listeners: &_, engine: &_, token: &_| {
                    let _ = tell.send(Ok(announce::line(listeners, engine, token)));
                }
            };
            let serve = serve(config, "", None, Vec::new(), stop, ready);
            if let Err(problem) = event_loop().and_then(|it| it.block_on(serve)) {
                let _ = tell.send(Err(problem));
            }
        }
    };
    let thread = Builder::new().name("toril".into()).stack_size(STACK_BYTES).spawn(work);
    let thread = thread.map_err(|problem| format!("The thread cannot be started: {problem}"))?;
    let inside = Inside { stop, thread: Some(thread) };
    // Nothing comes if the thread panics.
    let line =
        told.recv().unwrap_or_else(|_| Err("The server ended before it was ready".into()))?;
    Ok((inside, line))
}

/// The setting that asks something of the process, if one does. As long as the process has
/// another's allocator, nobody counts what a server takes.
fn unfit(config: &Config) -> Option<&'static str> {
    [
        ("maxmemory", config.maxmemory != 0),
        ("daemonize", config.daemonize),
        ("appendonly", config.files.appendonly),
        ("pidfile", config.pidfile.is_some()),
        ("logfile", !config.logfile.is_empty()),
        ("announce", config.announce != Announce::No),
        ("exit-with-parent", config.exit_with_parent != 0),
    ]
    .into_iter()
    .find_map(|(name, is_set)| is_set.then_some(name))
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.want();
        if let Some(thread) = self.thread.take() {
            // It has said why it panicked.
            let _ = thread.join();
        }
    }
}
