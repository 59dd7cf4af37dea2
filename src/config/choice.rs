//! Settings whose value is one of a few words, and the one whose value is a set of letters.

/// An enum whose variants are written as words, in the order in which Redis lists them.
macro_rules! choice {
    ($(#[$attribute:meta])* $name:ident {
        $($(#[$note:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`")] $(#[doc = ""] #[$note])* $variant,)*
        }

        impl $name {
            /// All words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$($word),*];
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As it is written in redis.conf.
            pub fn word(self) -> &'static str {
                Self::WORDS[self as usize]
            }

            /// None if no choice is written so. Lower case only.
            pub fn from_word(word: &str) -> Option<Self> {
                let index = Self::WORDS.iter().position(|known| *known == word)?;
                Some(Self::ALL[index])
            }
        }
    };
}

choice! {
    /// Which keys give way when `maxmemory` is reached.
    Policy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        AllKeysLru = "allkeys-lru",
        AllKeysLfu = "allkeys-lfu",
        AllKeysRandom = "allkeys-random",
        NoEviction = "noeviction",
    }
}

impl Policy {
    /// Whether it goes by how often keys are used.
    pub fn is_lfu(self) -> bool {
        matches!(self, Self::AllKeysLfu | Self::VolatileLfu)
    }

    /// Whether it goes by how often or how long ago keys were used.
    pub fn goes_by_usage(self) -> bool {
        self.is_lfu() || matches!(self, Self::AllKeysLru | Self::VolatileLru)
    }

    /// Whether only keys that have a TTL may go.
    pub fn is_volatile(self) -> bool {
        use Policy::*;
        matches!(self, VolatileLru | VolatileLfu | VolatileRandom | VolatileTtl)
    }
}

choice! {
    /// How much is logged: what is of this level or of one further down.
    LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }
}

choice! {
    /// Who is told where the server listens.
    Announce {
        /// People, in the log.
        No = "no",
        /// Programs as well, in a line of their own.
        Json = "json",
    }
}

choice! {
    /// Who may run a command that can do harm (DEBUG, MODULE).
    Protected {
        No = "no",
        Yes = "yes",
        /// Clients on the loopback interface and on the Unix socket.
        Local = "local",
    }
}

choice! {
    /// When what was appended is synced.
    AppendSync {
        /// Once a second.
        EverySecond = "everysec",
        /// Before anybody is answered.
        Always = "always",
        /// When the system likes.
        No = "no",
    }
}

choice! {
    /// Which channels a new user may use.
    NewUserChannels {
        All = "allchannels",
        None = "resetchannels",
    }
}

choice! {
    /// A habit of clients that does harm elsewhere.
    Check {
        /// Keys of one command, script or transaction in several hash slots.
        CrossSlot = "crossslot",
        /// A script touches a key that it does not declare, in another slot than its declared ones.
        Foreign = "foreign",
        /// A script touches a key that it does not declare.
        Undeclared = "undeclared",
        /// `maxmemory-policy` lets jobs be evicted.
        Policy = "policy",
        /// A command for another type than the key's.
        WrongType = "wrongtype",
        /// What the provider does not know.
        Commands = "commands",
        /// KEYS, FLUSHALL and CONFIG SET.
        Keys = "keys",
        /// Two libraries whose keys begin alike in one database.
        Prefixless = "prefixless",
    }
}

choice! {
    /// What is done about a habit.
    Level {
        Off = "off",
        /// It is told in the log.
        Log = "log",
        /// It is told as a warning.
        Warn = "warn",
        /// The request is refused.
        Error = "error",
    }
}

choice! {
    /// Whose Redis it is that programs will run on.
    Provider {
        None = "none",
        ElastiCache = "elasticache",
        ElastiCacheServerless = "elasticache-serverless",
        MemoryDb = "memorydb",
        Memorystore = "memorystore",
        Upstash = "upstash",
        Azure = "azure",
        Oci = "oci",
        OciSharded = "oci-sharded",
        Redis62 = "redis-6.2",
        Valkey8 = "valkey-8",
        Dragonfly = "dragonfly",
    }
}

/// The classes of keyspace events that are published, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventClasses(u32);

impl EventClasses {
    /// Nothing is published.
    pub const NONE: Self = Self(0);
    /// Publish to `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Self = Self(1 << 0);
    /// Publish to `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Self = Self(1 << 1);
    /// Events of keys of any type: `del`, `expire`, `rename`.
    pub const GENERIC: Self = Self(1 << 2);
    /// Events of strings.
    pub const STRING: Self = Self(1 << 3);
    /// Events of lists.
    pub const LIST: Self = Self(1 << 4);
    /// Events of sets.
    pub const SET: Self = Self(1 << 5);
    /// Events of hashes.
    pub const HASH: Self = Self(1 << 6);
    /// Events of sorted sets.
    pub const ZSET: Self = Self(1 << 7);
    /// A key whose time is over.
    pub const EXPIRED: Self = Self(1 << 8);
    /// A key that gave way to `maxmemory`.
    pub const EVICTED: Self = Self(1 << 9);
    /// Events of streams.
    pub const STREAM: Self = Self(1 << 10);
    /// Events of modules, of which there are none.
    pub const MODULE: Self = Self(1 << 11);
    /// A key that was asked for and is not there. Not part of `A`.
    pub const KEY_MISS: Self = Self(1 << 12);
    /// A key that was not there before. Not part of `A`.
    pub const NEW: Self = Self(1 << 13);

    /// In the order in which Redis writes them; `A` stands for those before `n`.
    const LETTERS: [(char, Self); 14] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self::LIST),
        ('s', Self::SET),
        ('h', Self::HASH),
        ('z', Self::ZSET),
        ('x', Self::EXPIRED),
        ('e', Self::EVICTED),
        ('t', Self::STREAM),
        ('d', Self::MODULE),
        ('n', Self::NEW),
        ('K', Self::KEYSPACE),
        ('E', Self::KEYEVENT),
        ('m', Self::KEY_MISS),
    ];

    const ALL: Self = {
        let (mut all, mut index) = (Self::NONE, 0);
        while Self::LETTERS[index].0 != 'n' {
            all = all.with(Self::LETTERS[index].1);
            index += 1;
        }
        all
    };

    /// Whether all of `classes` are among these.
    pub const fn contains(self, classes: Self) -> bool {
        self.0 & classes.0 == classes.0
    }

    /// These and `classes`.
    pub const fn with(self, classes: Self) -> Self {
        Self(self.0 | classes.0)
    }

    /// Whether nothing is published.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// None if a letter names no class.
    pub fn from_letters(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::NONE, |classes, letter| match letter {
            'A' => Some(classes.with(Self::ALL)),
            _ => {
                let (_, class) = Self::LETTERS.iter().find(|(known, _)| *known == letter)?;
                Some(classes.with(*class))
            }
        })
    }

    /// As Redis writes it, with `A` for all that it stands for.
    pub fn letters(self) -> String {
        let is_all = self.contains(Self::ALL);
        let mut letters = String::from(if is_all { "A" } else { "" });
        for (letter, class) in Self::LETTERS {
            // Beside `A` Redis leaves out `n` too, although `A` does not stand for it.
            let is_told = is_all && Self::ALL.with(Self::NEW).contains(class);
            if self.contains(class) && !is_told {
                letters.push(letter);
            }
        }
        letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(letters: &str, expect: Option<&str>) {
        let found = EventClasses::from_letters(letters).map(EventClasses::letters);
        assert_eq!(found.as_deref(), expect, "{letters}");
    }

    #[test]
    fn event_classes_as_letters() {
        check("", Some(""));
        check("KEA", Some("AKE"));
        check("Ex", Some("xE"));
        check("Elg", Some("glE"));
        check("KEg$lshzxetd", Some("AKE"));
        check("KEg$lshzxet", Some("g$lshzxetKE"));
        check("AKEmn", Some("AKEm"));
        check("nd", Some("dn"));
        check("kx", None);
    }

    #[test]
    fn words_of_choices() {
        for word in Policy::WORDS {
            assert_eq!(Policy::from_word(word).map(Policy::word), Some(*word));
        }
        assert_eq!(LogLevel::from_word("warning"), Some(LogLevel::Warning));
        assert_eq!(Protected::from_word("maybe"), None);
    }
}
