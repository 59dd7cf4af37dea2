//! When a key was last accessed, and how often: what OBJECT IDLETIME and FREQ tell, eviction goes
//! by, and compaction waits for. Both are as wide as in Redis.

use crate::engine::time::Now;
use crate::util::rng::Rng;

/// 24 bits of the monotonic clock's second of the last access: who rests for longer than 194 days
/// seems to begin anew. Below them, as of then, 8 bits of a frequency on a logarithmic scale.
#[derive(Clone, Copy, Debug)]
pub struct Usage(u32);

const FREQUENCY_BITS: u32 = 8;

/// A new key's frequency: it shall not be the first to be evicted.
const FREQUENCY_NEW: u8 = 5;

/// Each further step of the frequency takes this many accesses more than the step before.
const FREQUENCY_STEP: usize = 10;

impl Usage {
    pub(super) fn new(now: Now) -> Self {
        Self::at(now, FREQUENCY_NEW)
    }

    fn at(now: Now, frequency: u8) -> Self {
        Self(now.mono_s() << FREQUENCY_BITS | u32::from(frequency))
    }

    /// As it was when it was last accessed so many seconds ago. More than 194 days seem less.
    pub(super) fn set_idle(&mut self, now: Now, idle_s: u32) {
        let last = now.mono_s().wrapping_sub(idle_s) << FREQUENCY_BITS;
        self.0 = last | self.0 & u32::from(u8::MAX);
    }

    /// As it was with this frequency as of now.
    pub(super) fn set_frequency(&mut self, now: Now, frequency: u8) {
        *self = Self::at(now, frequency);
    }

    /// Seconds since the last access.
    pub fn idle_s(self, now: Now) -> u32 {
        let upper = now.mono_s() << FREQUENCY_BITS;
        upper.wrapping_sub(self.0 & !u32::from(u8::MAX)) >> FREQUENCY_BITS
    }

    /// The second of the last access, on the monotonic clock; 0 if that was before it began.
    pub fn last_s(self, now: Now) -> u32 {
        now.mono_s().saturating_sub(self.idle_s(now))
    }

    /// Each minute without an access takes one away.
    pub fn frequency(self, now: Now) -> u8 {
        let idle_minutes = now.mono_s() / 60 - self.last_s(now) / 60;
        (self.0 as u8).saturating_sub(u8::try_from(idle_minutes).unwrap_or(u8::MAX))
    }

    /// Keeps when it is accessed.
    #[inline]
    pub(super) fn touch(&mut self, now: Now) {
        *self = Self::at(now, self.0 as u8);
    }

    /// Counts an access; the higher the frequency, the less likely it grows.
    pub(super) fn count(&mut self, now: Now, rng: &mut Rng) {
        let frequency = self.frequency(now);
        let steps = usize::from(frequency.saturating_sub(FREQUENCY_NEW));
        let grows = rng.below(steps * FREQUENCY_STEP + 1) == 0;
        *self = Self::at(now, frequency.saturating_add(u8::from(grows)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(mono_s: u64) -> Now {
        Now { mono_us: mono_s * 1_000_000, ..Now::default() }
    }

    #[test]
    fn idle_time_is_counted_in_seconds_for_194_days() {
        for last_s in [0, 59, (1 << 24) - 1, 1 << 24, 3_000_000_000] {
            let usage = Usage::new(second(last_s));
            for idle_s in [0, 1, 60, (1 << 24) - 1] {
                let now = second(last_s + idle_s);
                assert_eq!(usage.idle_s(now), idle_s as u32);
                assert_eq!(usage.last_s(now), last_s as u32);
            }
            assert_eq!(usage.idle_s(second(last_s + (1 << 24))), 0);
        }
    }

    #[test]
    fn frequency_falls_by_one_a_minute_and_outlives_a_touch() {
        let mut usage = Usage::new(second(59));
        assert_eq!(usage.frequency(second(59)), 5);
        assert_eq!(usage.frequency(second(60)), 4);
        assert_eq!(usage.frequency(second(360)), 0);
        assert_eq!(usage.frequency(second(100_000)), 0);
        usage.touch(second(300));
        assert_eq!((usage.frequency(second(300)), usage.idle_s(second(301))), (5, 1));
    }

    #[test]
    fn idle_time_may_be_longer_than_the_clock_has_run() {
        let mut usage = Usage::new(second(10));
        usage.set_idle(second(10), 1_000);
        assert_eq!((usage.idle_s(second(11)), usage.last_s(second(11))), (1_001, 0));
        usage.set_frequency(second(70), 200);
        assert_eq!((usage.idle_s(second(70)), usage.frequency(second(70))), (0, 200));
        assert_eq!(usage.frequency(second(130)), 199);
    }

    #[test]
    fn frequency_grows_ever_more_slowly() {
        let (mut usage, mut rng) = (Usage::new(second(0)), Rng::from_seed(1));
        usage.count(second(0), &mut rng);
        assert_eq!(usage.frequency(second(0)), 6);
        (0..1_000).for_each(|_| usage.count(second(0), &mut rng));
        let frequency = usage.frequency(second(0));
        assert!((12..30).contains(&frequency), "{frequency}");
    }
}
