//! Signals: SIGTERM and SIGINT end the process cleanly, as the end of its parent does
//! (parent.rs), and SIGHUP is ignored. A second one ends it at once, whatever it is at. A server
//! that does not notice the first is ended all the same, unless there is something to keep.
//!
//! They are awaited on a thread of their own, because the server's may be busy: a script, or DEBUG
//! SLEEP.

use super::parent::Parent;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// What the log says when the process is asked to end.
pub const TERMINATED: &str = "Received SIGTERM, shutting down";

/// How long the server has to notice that it is to stop. A script is interrupted after so many
/// instructions, and an instruction may take its time: `string.rep('x', 1e8)`.
const PATIENCE: Duration = Duration::from_millis(800);

/// That the process is to end: awaited by the server, and looked at by who lets nobody else run.
#[derive(Default)]
pub struct Stop {
    is_wanted: AtomicBool,
    is_noticed: AtomicBool,
    /// Something is kept at the end, which may take its time to begin.
    is_patient: AtomicBool,
    wanted: Notify,
}

impl Stop {
    pub fn want(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Relaxed)
    }

    /// The server does not end after all.
    pub fn go_on(&self) {
        self.is_wanted.store(false, Ordering::Relaxed);
    }

    /// Whether the end waits for whatever the server is at.
    pub fn be_patient(&self, is_patient: bool) {
        self.is_patient.store(is_patient, Ordering::Relaxed);
    }

    /// For the server alone, which then takes the time that it needs.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
        self.is_noticed.store(true, Ordering::Relaxed);
    }
}

/// Wants `stop` at the first signal, or when the process `parent` ends; 0 is none.
pub fn watch(stop: Arc<Stop>, parent: u32) -> std::io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    // Before the server goes on, so that no signal finds the process unprepared.
    let (signals, parent) = {
        let _inside = runtime.enter();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        (kinds.map(signal), Parent::new(parent))
    };
    let [terminate, interrupt, hang_up] = signals;
    let signals = (terminate?, interrupt?, hang_up?);
    let watch = move || runtime.block_on(wait(signals, parent, &stop));
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

async fn wait(
    (mut terminate, mut interrupt, mut hang_up): (Signal, Signal, Signal),
    mut parent: Option<Parent>,
    stop: &Stop,
) {
    loop {
        let reason = tokio::select! {
            _ = terminate.recv() => TERMINATED.into(),
            _ = interrupt.recv() => "Received SIGINT, shutting down".into(),
            reason = end_of(&parent) => {
                parent = None;
                reason
            }
            _ = hang_up.recv() => continue,
        };
        tracing::warn!("{reason}");
        if stop.is_wanted() {
            std::process::exit(0);
        }
        stop.is_noticed.store(false, Ordering::Relaxed);
        stop.want();
        let is_another = tokio::select! {
            () = tokio::time::sleep(PATIENCE) => false,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        let is_deaf = !stop.is_noticed.load(Ordering::Relaxed);
        if is_another || is_deaf && !stop.is_patient.load(Ordering::Relaxed) {
            std::process::exit(0);
        }
    }
}

/// Never comes if there is nobody to wait for.
async fn end_of(parent: &Option<Parent>) -> String {
    match parent {
        Some(parent) => parent.ended().await,
        None => std::future::pending().await,
    }
}
