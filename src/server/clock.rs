//! The only reader of clocks.

use crate::engine::effect::{ClockMove, Reading};
use crate::engine::time::Now;
use crate::util::calendar::Civil;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Clock {
    start_us: u64,
    /// Tests may move the wall clock.
    reading: Cell<Reading>,
}

impl Clock {
    pub fn start() -> Self {
        Self { start_us: mono_us(), reading: Cell::default() }
    }

    pub fn now(&self) -> Now {
        let mono_us = mono_us() - self.start_us;
        let Reading { ahead_ms, frozen_ms } = self.reading.get();
        if let Some(wall_ms) = frozen_ms {
            return Now { wall_ms, rest_us: 0, mono_us };
        }
        let (wall_ms, rest_us) = real_time();
        Now { wall_ms: wall_ms + ahead_ms, rest_us, mono_us }
    }

    /// Moves the wall clock for a test, and tells how it goes from then on.
    pub fn shift(&self, to: ClockMove) -> Reading {
        let reading = self.reading.get();
        let ahead_ms = match (to, reading.frozen_ms) {
            (ClockMove::Ahead(by_ms), _) => reading.ahead_ms + by_ms as i64,
            (ClockMove::Freeze, _) => reading.ahead_ms,
            // It may not go back by what is left of a millisecond.
            (ClockMove::Resume, Some(frozen_ms)) => frozen_ms - real_time().0,
            (ClockMove::Resume, None) => reading.ahead_ms,
            (ClockMove::Reset, _) => 0,
        };
        let frozen_ms = match to {
            ClockMove::Ahead(by_ms) => reading.frozen_ms.map(|at_ms| at_ms + by_ms as i64),
            ClockMove::Freeze => Some(self.now().wall_ms),
            ClockMove::Resume | ClockMove::Reset => None,
        };
        self.reading.set(Reading { ahead_ms, frozen_ms });
        self.reading.get()
    }
}

/// Milliseconds since 1970, and microseconds beyond that.
fn real_time() -> (i64, u32) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    (tv_sec.max(0) * 1_000 + tv_nsec / 1_000_000, (tv_nsec / 1_000 % 1_000) as u32)
}

/// The monotonic clock: `Instant`'s arithmetic costs as much as reading it.
pub fn mono_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec as u64 * 1_000_000 + tv_nsec as u64 / 1_000
}

/// A moment as `24 Nov 2026 15:04:05.678`, in UTC.
pub fn utc_text(time: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let Civil { year, month, day, rest_ms } = Civil::of_ms(since.as_millis() as i64);
    let second_of_day = rest_ms / 1000;
    format!(
        "{day:02} {} {year} {:02}:{:02}:{:02}.{:03}",
        MONTHS[month as usize - 1],
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
        rest_ms % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_as_text() {
        let check = |ms: u64, expect: &str| {
            let time = UNIX_EPOCH + std::time::Duration::from_millis(ms);
            assert_eq!(utc_text(time), expect);
        };
        check(0, "01 Jan 1970 00:00:00.000");
        check(951_825_600_123, "29 Feb 2000 12:00:00.123");
        check(1_795_532_381_000, "24 Nov 2026 14:59:41.000");
    }
}
