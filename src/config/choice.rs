//! Settings that are one of a few words.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    NoEviction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
    Nothing,
}

/// Who may run a command that can do harm (DEBUG, MODULE).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protected {
    No,
    Yes,
    /// Clients on the loopback interface and on the Unix socket.
    Local,
}

/// The classes of keyspace events that are published, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventClasses(u32);

impl EventClasses {
    pub const NONE: Self = Self(0);
    /// Publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Self = Self(1 << 0);
    /// Publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Self = Self(1 << 1);
    pub const GENERIC: Self = Self(1 << 2);
    pub const STRING: Self = Self(1 << 3);
    pub const LIST: Self = Self(1 << 4);
    pub const SET: Self = Self(1 << 5);
    pub const HASH: Self = Self(1 << 6);
    pub const ZSET: Self = Self(1 << 7);
    pub const EXPIRED: Self = Self(1 << 8);
    pub const EVICTED: Self = Self(1 << 9);
    pub const STREAM: Self = Self(1 << 10);
    pub const MODULE: Self = Self(1 << 11);
    /// A key that was asked for and is not there. Not part of `A`.
    pub const KEY_MISS: Self = Self(1 << 12);
    /// A key that was not there before. Not part of `A`.
    pub const NEW: Self = Self(1 << 13);

    pub const fn contains(self, classes: Self) -> bool {
        self.0 & classes.0 == classes.0
    }

    pub const fn with(self, classes: Self) -> Self {
        Self(self.0 | classes.0)
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
