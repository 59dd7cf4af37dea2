//! The time as the server read it, handed down. It stands still during a command, a script and an
//! EXEC.

/// Two clocks, read once a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, which a clock step may move: TTLs, stream ids.
    pub wall_ms: i64,
    /// Microseconds of a clock that only goes forward: blocking and idle time-outs.
    pub mono_us: u64,
}

impl Now {
    /// The monotonic clock in whole seconds, which 32 bits hold for 136 years.
    pub fn mono_s(self) -> u32 {
        (self.mono_us / 1_000_000) as u32
    }
}

/// When the engine next wants `tick`, on whichever clock comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    pub wall_ms: Option<i64>,
    pub mono_us: Option<u64>,
}

/// Microseconds a tick of the wheel that runs on the monotonic clock.
pub const MONO_TICK_US: u64 = 125;

/// The tick at or behind a moment: never early.
pub fn mono_tick(mono_us: u64) -> u64 {
    mono_us.div_ceil(MONO_TICK_US)
}
