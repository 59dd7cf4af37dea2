//! How often each command is called within a second, while somebody looks: what the totals have
//! grown by since they were last noted.

use crate::engine::Engine;

/// Between two notes of the totals.
const STEP_US: u64 = 1_000_000;

/// The totals of all commands at a moment of the monotonic clock.
#[derive(Clone, Default)]
struct Totals {
    at_us: u64,
    calls: Vec<u64>,
}

#[derive(Default)]
pub struct Rates {
    before: Totals,
    last: Totals,
}

impl Rates {
    /// Notes the totals, if that is a second ago.
    pub fn note(&mut self, engine: &Engine) {
        let now_us = engine.keyspace.now.mono_us;
        let is_first = self.last.calls.is_empty();
        if is_first || now_us - self.last.at_us >= STEP_US {
            let calls = engine.stats.calls.iter().map(|it| it.calls).collect();
            let fresh = Totals { at_us: now_us, calls };
            self.before = std::mem::replace(&mut self.last, fresh);
        }
    }

    /// Calls a second of the command whose `Found::index` this is. None until two notes were taken,
    /// or if what was noted has been reset since.
    pub fn per_second(&self, index: usize) -> Option<f64> {
        let span_us = self.last.at_us - self.before.at_us;
        let calls = self.last.calls.get(index)?.checked_sub(*self.before.calls.get(index)?)?;
        Some(calls as f64 * 1e6 / span_us.max(1) as f64)
    }
}
