//! What LATENCY tells: moments that took at least `latency-monitor-threshold` milliseconds, by the
//! event that took them, as Redis keeps them.
//!
//! Absent are those events of Redis's that nothing here could cause: a large value is freed piece
//! by piece wherever it goes (`expire-del`, `eviction-del`), and nobody forks.

use super::Engine;
use super::context::Ctx;
use super::row::Flag;
use super::table::Found;
use std::collections::{BTreeMap, VecDeque};

/// What can take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LatencyEvent {
    /// A command that is not expected to be fast.
    Command,
    FastCommand,
    /// Removing keys whose time has come.
    ExpireCycle,
    /// Removing keys because memory is short.
    EvictionCycle,
}

const EVENTS: [(LatencyEvent, &str); 4] = [
    (LatencyEvent::Command, "command"),
    (LatencyEvent::FastCommand, "fast-command"),
    (LatencyEvent::ExpireCycle, "expire-cycle"),
    (LatencyEvent::EvictionCycle, "eviction-cycle"),
];

impl LatencyEvent {
    /// That this command ran.
    pub fn of(found: Found) -> Self {
        if found.row.flags.has(Flag::Fast) { Self::FastCommand } else { Self::Command }
    }

    pub fn name(self) -> &'static str {
        EVENTS[self as usize].1
    }

    /// None if it is not among the events, whose names are written in small letters.
    pub fn named(name: &[u8]) -> Option<Self> {
        let found = EVENTS.iter().find(|(_, known)| known.as_bytes() == name);
        found.map(|&(event, _)| event)
    }
}

/// How many moments are kept of an event: the newest.
const SPIKES_MAX: usize = 160;

/// The longest that an event took within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spike {
    /// Seconds since 1970.
    pub time_s: i64,
    pub millis: u64,
}

/// The spikes of an event, oldest first; never none.
#[derive(Debug, Default)]
pub struct Spikes {
    pub all: VecDeque<Spike>,
    /// Of all that there ever were.
    pub worst_ms: u64,
}

impl Spikes {
    fn add(&mut self, spike: Spike) {
        self.worst_ms = self.worst_ms.max(spike.millis);
        match self.all.back_mut() {
            Some(last) if last.time_s == spike.time_s => {
                last.millis = last.millis.max(spike.millis);
                return;
            }
            _ => {}
        }
        if self.all.len() == SPIKES_MAX {
            self.all.pop_front();
        }
        self.all.push_back(spike);
    }
}

/// By event.
pub type Latencies = BTreeMap<LatencyEvent, Spikes>;

impl Engine {
    /// The microseconds from which on somebody wants to know of a command: SLOWLOG or LATENCY.
    pub(super) fn find_what_is_slow(&mut self) {
        self.stats.slow_from_us = self.logged_from_us().min(self.latency_from_us());
    }

    /// The microseconds from which on SLOWLOG keeps a command.
    pub(super) fn logged_from_us(&self) -> u64 {
        match u64::try_from(self.config.slowlog_log_slower_than_us) {
            Ok(micros) if self.config.slowlog_max_len > 0 => micros,
            _ => u64::MAX,
        }
    }

    fn latency_from_us(&self) -> u64 {
        match self.config.latency_monitor_threshold_ms {
            0 => u64::MAX,
            millis => millis.saturating_mul(1000),
        }
    }

    /// Keeps how long something took, if that was long enough.
    pub(super) fn note_latency(&mut self, event: LatencyEvent, micros: u64) {
        if micros >= self.latency_from_us() {
            let spike = Spike { time_s: self.time().wall_ms / 1000, millis: micros / 1000 };
            self.stats.latencies.entry(event).or_default().add(spike);
        }
    }

    /// Does something that may take long. While nobody wants to know, nothing is measured.
    pub(super) fn timed<T>(&mut self, event: LatencyEvent, work: impl FnOnce(&mut Self) -> T) -> T {
        if self.config.latency_monitor_threshold_ms == 0 {
            return work(self);
        }
        let started_us = self.facts.stopwatch_us();
        let result = work(self);
        let micros = self.facts.stopwatch_us() - started_us;
        self.note_latency(event, micros);
        result
    }
}

impl Ctx<'_> {
    /// Forgets the spikes of these events, or all; returns how many events had some.
    pub fn forget_latencies(&mut self, events: Option<&[LatencyEvent]>) -> usize {
        let latencies = &mut self.engine.stats.latencies;
        let count = latencies.len();
        latencies.retain(|event, _| events.is_some_and(|forgotten| !forgotten.contains(event)));
        count - latencies.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stand_in_their_order() {
        for (at, (event, name)) in EVENTS.into_iter().enumerate() {
            assert_eq!(event as usize, at);
            assert_eq!((event.name(), LatencyEvent::named(name.as_bytes())), (name, Some(event)));
        }
    }

    #[test]
    fn a_second_has_one_spike_and_the_oldest_go() {
        let mut spikes = Spikes::default();
        let mut add = |time_s, millis| spikes.add(Spike { time_s, millis });
        add(1, 500);
        (2..=200).for_each(|time_s| add(time_s, time_s as u64));
        add(200, 30);
        add(200, 201);
        assert_eq!(spikes.worst_ms, 500);
        assert_eq!(spikes.all.len(), SPIKES_MAX);
        assert_eq!(spikes.all[0], Spike { time_s: 41, millis: 41 });
        assert_eq!(spikes.all.back(), Some(&Spike { time_s: 200, millis: 201 }));
    }
}
