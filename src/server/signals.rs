//! SIGTERM and SIGINT end the process cleanly, a second one at once; SIGHUP is ignored.
//!
//! They are awaited on a thread of their own, because the server's may be busy: a script, or DEBUG
//! SLEEP.

use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Notifies `stop` at the first signal.
pub fn watch(stop: Arc<Notify>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // Before the server goes on, so that no signal finds the process unprepared.
    let signals = {
        let _inside = runtime.enter();
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal)
    };
    let [terminate, interrupt, hang_up] = signals;
    let signals = (terminate?, interrupt?, hang_up?);
    let watch = move || runtime.block_on(wait(signals, &stop));
    std::thread::Builder::new().name("signals".into()).spawn(watch)?;
    Ok(())
}

async fn wait(
    (mut terminate, mut interrupt, mut hang_up): (Signal, Signal, Signal),
    stop: &Notify,
) {
    let mut is_stopping = false;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hang_up.recv() => continue,
        };
        tracing::warn!("Received {name}, shutting down");
        if is_stopping {
            std::process::exit(0);
        }
        is_stopping = true;
        stop.notify_one();
    }
}
