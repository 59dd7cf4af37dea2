//! The time as the server read it, handed down. It stands still during a command, a script and an
//! EXEC.

/// Two clocks, read once per turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, which a clock step may move: TTLs, stream ids.
    pub wall_ms: i64,
    /// What the same clock shows beyond that, in microseconds: TIME, MONITOR.
    pub rest_us: u32,
    /// Microseconds of a clock that only goes forward: blocking and idle time-outs.
    pub mono_us: u64,
}

impl Now {
    /// A moment of whole milliseconds, as virtual time has them.
    pub const fn new(wall_ms: i64, mono_us: u64) -> Self {
        Self { wall_ms, rest_us: 0, mono_us }
    }

    /// Microseconds since 1970.
    pub fn wall_us(self) -> i64 {
        self.wall_ms * 1000 + i64::from(self.rest_us)
    }

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

/// Microseconds per tick of the wheel that runs on the monotonic clock.
pub const MONO_TICK_US: u64 = 125;

/// The tick at or behind a moment: never early.
pub fn mono_tick(mono_us: u64) -> u64 {
    mono_us.div_ceil(MONO_TICK_US)
}
