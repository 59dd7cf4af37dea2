//! Alarms: what the engine does at a moment of the monotonic clock. They hang in one timer wheel,
//! whose tick is 1/8 ms; none goes off early.

use super::client::ClientId;
use super::time::{MONO_TICK_US, Now, mono_tick};
use crate::config::TURN_ALARMS_MAX;
use crate::util::wheel::{TimerId, Wheel};

/// What goes off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alarm {
    /// A blocked client's deadline.
    Client(ClientId),
    /// The end of a pause.
    Pause,
    /// Time to look for clients that have been idle for too long.
    IdleClients,
    /// Time to look for values to compress.
    Compaction,
    /// A client may not have more waiting than its soft limit any longer.
    SoftLimit(ClientId),
    /// Time to evict more, whether or not somebody sends a command.
    Eviction,
    /// Time to look whether the data is to be saved.
    SaveRules,
    /// Time to ping replicas.
    Replicas,
    /// Time to look how far a failover is.
    Failover,
    /// A replica has said how far it is.
    Acknowledged,
    /// The fixture asked to be told.
    Fixture,
}

pub(super) struct Alarms(Wheel<Alarm>);

impl Alarms {
    pub fn new(now: Now) -> Self {
        Self(Wheel::new(now.mono_us / MONO_TICK_US))
    }

    /// Lets an alarm go off in the first tick at or behind a moment, in microseconds. One that has
    /// passed is due at once.
    pub fn set(&mut self, at_us: u64, alarm: Alarm) -> TimerId {
        self.0.insert(mono_tick(at_us), alarm)
    }

    /// Lets an alarm go off in the next tick.
    pub fn set_soon(&mut self, now: Now, alarm: Alarm) -> TimerId {
        self.0.insert(mono_tick(now.mono_us) + 1, alarm)
    }

    /// It has not gone off yet.
    pub fn cancel(&mut self, id: TimerId) {
        self.0.cancel(id);
    }

    /// When `take_due` has something to do, in microseconds; None if nothing is set.
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.0.next_deadline().map(|tick| tick * MONO_TICK_US)
    }

    /// What goes off now. Where that is more than a turn may do, the others go off in the next.
    pub fn take_due(&mut self, now: Now) -> Vec<Alarm> {
        let mut due = Vec::new();
        let tick = now.mono_us / MONO_TICK_US;
        self.0.expire(tick, TURN_ALARMS_MAX, &mut |alarm| due.push(alarm));
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_fires_so_many_and_the_next_turn_the_others() {
        let mut alarms = Alarms::new(Now::default());
        let count = 3 * TURN_ALARMS_MAX - 1;
        (0..count).for_each(|at| _ = alarms.set(1_000, Alarm::Client(ClientId(at as u64))));
        let now = Now::new(1, 1_000);
        let mut fired = Vec::new();
        while alarms.next_deadline_us().is_some_and(|at_us| at_us <= now.mono_us) {
            let due = alarms.take_due(now);
            assert!(due.len() <= TURN_ALARMS_MAX);
            fired.extend(due);
        }
        let ids = fired.iter().map(|alarm| match alarm {
            Alarm::Client(id) => id.0,
            alarm => panic!("{alarm:?}"),
        });
        assert!(ids.eq(0..count as u64));
    }
}
