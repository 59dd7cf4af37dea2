//! The only reader of clocks.

use crate::engine::time::Now;
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Clock {
    start_us: u64,
}

impl Clock {
    pub fn start() -> Self {
        Self { start_us: mono_us() }
    }

    pub fn now(&self) -> Now {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
        let wall_ms = tv_sec.max(0) * 1_000 + tv_nsec / 1_000_000;
        let rest_us = (tv_nsec / 1_000 % 1_000) as u32;
        Now { wall_ms, rest_us, mono_us: mono_us() - self.start_us }
    }
}

/// The monotonic clock: `Instant`'s arithmetic costs as much as reading it.
pub fn mono_us() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    tv_sec as u64 * 1_000_000 + tv_nsec as u64 / 1_000
}

/// A moment as `24 Nov 2026 15:04:05.678`, in UTC: no library of time zones is needed for a log.
pub fn utc_text(time: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second_of_day) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days are counted from 1 March of year 0, so that a leap day ends its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{day:02} {} {year} {:02}:{:02}:{:02}.{:03}",
        MONTHS[month as usize],
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
        since.subsec_millis()
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
