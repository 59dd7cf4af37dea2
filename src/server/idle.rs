//! Gives the engine time for what can wait, slice by slice, while nobody asks for anything.

use super::{Server, timer};
use crate::engine::Engine;
use crate::util::alloc::{allocated_bytes, give_back};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// The server is idle when it has had no turn for so long, and
const QUIET_US: u64 = 2_000;

/// ... for so long before memory is given back: 100 MB take 8 ms, in one go.
const QUIET_GIVING_US: u64 = 100_000;

/// ... when nothing is due for so long: a slice ends before.
const DUE_US: u64 = 1_000;

/// A server that is not idle is looked at ever less often.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(64);

/// What is free goes back to the system when it is more than what is in use, and than this.
const OWED_BYTES_MIN: usize = 16 << 20;

/// Whether there is something to do in idle time, and when the engine's last turn was.
#[derive(Default)]
pub struct Idle {
    turned_us: Cell<u64>,
    /// The most bytes in use since memory was last given back.
    allocated_max: Cell<usize>,
    is_awake: Cell<bool>,
    wanted: Notify,
}

impl Idle {
    /// Notes a turn.
    pub fn turned(&self, engine: &Engine) {
        self.turned_us.set(engine.keyspace.now.mono_us);
        self.allocated_max.set(self.allocated_max.get().max(allocated_bytes()));
        if (engine.has_idle_work() || self.owes()) && !self.is_awake.replace(true) {
            self.wanted.notify_one();
        }
    }

    /// Whether memory is to be given back.
    fn owes(&self) -> bool {
        let allocated = allocated_bytes();
        self.allocated_max.get() > allocated + allocated.max(OWED_BYTES_MIN)
    }

    /// On another thread the allocator would keep what this one has freed.
    fn give_back(&self) {
        give_back();
        self.allocated_max.set(allocated_bytes());
    }
}

pub async fn run(server: Rc<Server>) {
    loop {
        server.idle.wanted.notified().await;
        let frozen_count = server.engine.borrow().keyspace.frozen_count;
        let mut pause = PAUSE_MIN;
        while server.engine.borrow().has_idle_work() || server.idle.owes() {
            let has_idle_work = server.engine.borrow().has_idle_work();
            let quiet_us = if has_idle_work { QUIET_US } else { QUIET_GIVING_US };
            if server.is_idle(quiet_us) {
                pause = PAUSE_MIN;
                let now = server.now();
                if has_idle_work {
                    server.engine.borrow_mut().work_while_idle(now);
                } else {
                    server.idle.give_back();
                }
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
            server.idle.give_back();
        }
        server.timer.look(&engine);
    }
}

/// How often a search gets a slice on a server that is never quiet: a twentieth of the time.
const BUSY_PERIOD: Duration = Duration::from_millis(3);

/// Goes on with what open pages search for.
pub async fn search(server: Rc<Server>) {
    loop {
        server.search_wanted.notified().await;
        while server.board.borrow().is_searching(&server.engine.borrow()) {
            if server.is_idle(QUIET_US) {
                // Whatever has arrived meanwhile comes first.
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(BUSY_PERIOD).await;
            }
            server.board.borrow_mut().search(&server.engine.borrow());
        }
    }
}

impl Server {
    /// Whether nobody was served for so many microseconds, and nothing is due within a millisecond.
    pub(super) fn is_idle(&self, quiet_us: u64) -> bool {
        let engine = self.engine.borrow();
        let now_us = self.now().mono_us;
        now_us.saturating_sub(self.idle.turned_us.get()) >= quiet_us
            && timer::next_deadline_us(&engine).is_none_or(|due_us| due_us > now_us + DUE_US)
    }
}
