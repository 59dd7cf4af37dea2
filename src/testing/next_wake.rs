//! The fixture's alarm clock, kept for one that looks again at some moment even if nothing has
//! happened.

use crate::engine::Engine;

/// The earliest moment that an alarm is set for, in microseconds of the monotonic clock. Others may
/// be set, and do no harm: a look too many changes nothing.
#[derive(Debug, Default)]
pub struct NextWake(Option<u64>);

impl NextWake {
    /// Has the fixture look at this moment, or earlier.
    pub fn set(&mut self, engine: &mut Engine, at_us: u64) {
        let now_us = engine.keyspace.now.mono_us;
        if self.0.is_none_or(|set_us| set_us <= now_us || at_us < set_us) {
            self.0 = Some(at_us);
            engine.wake_fixture_at(at_us);
        }
    }
}
