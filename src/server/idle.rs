//! Gives the engine time for what can wait, slice by slice, while nobody asks for anything.

use super::{Server, timer};
use crate::engine::Engine;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// The server is idle when it has had no turn for so long, and
const QUIET_US: u64 = 2_000;

/// ... when nothing is due for so long: a slice ends before.
const DUE_US: u64 = 1_000;

/// A server that is not idle is looked at ever less often.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// Whether the engine has something to do in idle time, and when its last turn was.
#[derive(Default)]
pub struct Idle {
    turned_us: Cell<u64>,
    is_awake: Cell<bool>,
    wanted: Notify,
}

impl Idle {
    /// Notes a turn.
    pub fn turned(&self, engine: &Engine) {
        self.turned_us.set(engine.keyspace.now.mono_us);
        if engine.wants_rest() && !self.is_awake.replace(true) {
            self.wanted.notify_one();
        }
    }
}

pub async fn run(server: Rc<Server>) {
    loop {
        server.idle.wanted.notified().await;
        let frozen_count = server.engine.borrow().keyspace.frozen_count;
        let mut pause = PAUSE_MIN;
        while server.engine.borrow().wants_rest() {
            if server.is_idle() {
                pause = PAUSE_MIN;
                let now = server.now();
                server.engine.borrow_mut().rest(now);
                // Whatever has arrived meanwhile comes first.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        server.idle.is_awake.set(false);
        let engine = server.engine.borrow();
        if engine.keyspace.frozen_count > frozen_count {
            crate::util::alloc::give_back();
        }
        server.timer.look(&engine);
    }
}

impl Server {
    fn is_idle(&self) -> bool {
        let engine = self.engine.borrow();
        let now_us = self.now().mono_us;
        now_us.saturating_sub(self.idle.turned_us.get()) >= QUIET_US
            && timer::next_deadline_us(&engine).is_none_or(|due_us| due_us > now_us + DUE_US)
    }
}
