//! Wakes an idle process at the engine's next deadline. Under load the turns of other tasks fire
//! what is due before this one is scheduled.

use super::Server;
use crate::engine::Engine;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// The deadline that the timer's task waits for, and how it learns of an earlier one.
#[derive(Default)]
pub struct Alarm {
    armed_us: Cell<Option<u64>>,
    earlier: Notify,
}

impl Alarm {
    /// Compares the engine's next deadline with the one that is waited for.
    pub fn look(&self, engine: &Engine) {
        let next_us = next_deadline_us(engine);
        if let Some(next_us) = next_us
            && self.armed_us.get().is_none_or(|armed_us| next_us < armed_us)
        {
            self.armed_us.set(Some(next_us));
            self.earlier.notify_one();
        }
    }
}

/// The engine's next deadline on the monotonic clock.
pub fn next_deadline_us(engine: &Engine) -> Option<u64> {
    let deadline = engine.next_deadline();
    let now = engine.keyspace.now;
    // A wall clock that is set back makes this early: nothing is due then, and it is asked again.
    let wall_us = deadline.wall_ms.map(|wall_ms| {
        // A key may live until the end of 64 bits.
        let span_ms = (wall_ms - now.wall_ms).max(0) as u64;
        now.mono_us.saturating_add(span_ms.saturating_mul(1000))
    });
    [wall_us, deadline.mono_us].into_iter().flatten().min()
}

/// A wall clock may be set forward while the process sleeps: it looks at least so often.
const SLEEP_MAX: Duration = Duration::from_secs(1);

pub async fn run(server: Rc<Server>) {
    let mut sleep = Sleep::new();
    loop {
        let next_us = next_deadline_us(&server.engine.borrow());
        server.timer.armed_us.set(next_us);
        match next_us {
            None => server.timer.earlier.notified().await,
            Some(next_us) => {
                let span = Duration::from_micros(next_us.saturating_sub(server.now().mono_us));
                tokio::select! {
                    biased;
                    () = server.timer.earlier.notified() => continue,
                    () = sleep.sleep(span.min(SLEEP_MAX)) => {}
                }
                server.turn(|_, _| ());
            }
        }
    }
}

#[cfg(all(target_os = "linux", not(feature = "portable")))]
use super::timerfd::Sleep;

/// tokio's own timer: up to 2 ms late.
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
struct Sleep;

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
impl Sleep {
    fn new() -> Self {
        Self
    }

    async fn sleep(&mut self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
