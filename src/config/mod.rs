//! Every setting and limit.
//!
//! `rows` is the table: what a setting is called in redis.conf, what it may be, what it does. The
//! command line becomes lines (`argv`), lines become values (`lines`, `value`), values stand in the
//! fields of `Config` (`stored`), and the rest of the program reads those. CONFIG GET and SET use
//! the same rows (`table`). Limits that nobody sets are in `bounds`. No file is touched here.

mod argv;
mod bounds;
mod choice;
mod files;
mod help;
mod lines;
mod provider;
mod replica;
mod rewrite;
mod rows;
mod secret;
mod stored;
mod strict;
mod table;
mod tls;
mod url;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use argv::{Invocation, Sources, argv_to_lines};
pub use bounds::*;
pub use choice::{
    Announce, AppendSync, Check, EventClasses, Level, LogLevel, NewUserChannels, Policy, Protected,
    Provider,
};
pub use files::FileSettings;
pub use help::{help, version_line};
pub use lines::ConfigError;
pub use provider::Profile;
pub use replica::ReplicaSettings;
pub use secret::Secret;
pub use strict::Strict;
pub use table::{SetError, Setting, World};
pub use tls::TlsSettings;
pub use url::ServerUrl;
use value::SettingValue;
pub use value::parse_memory;

/// The version of Redis that clients are told, and choose their commands by.
pub const REDIS_VERSION: &str = "7.4.0";
/// The version of this program.
pub const TORIL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The settings in force. Sizes are bytes; the unit of a time ends its name.
#[derive(Clone, Debug)]
pub struct Config {
    /// 0 means no TCP where a Unix socket is set, else any free port.
    pub port: u16,
    /// Addresses to listen on. A leading `-` allows the address to be missing from this machine.
    pub bind: Vec<String>,
    /// Where the Unix socket is. None: there is none.
    pub unixsocket: Option<String>,
    /// `None` leaves the socket file as umask makes it.
    pub unixsocketperm: Option<u32>,
    /// What clients have to say before anything else. None: nothing.
    pub requirepass: Option<Secret>,
    /// Without a password, refuses clients of other machines.
    pub protected_mode: bool,
    /// None switches HTTP off, 0 means any free port.
    pub http_port: Option<u16>,
    /// Opens everything over HTTP. None: no token does.
    pub http_token: Option<Secret>,
    /// Opens what only reads.
    pub http_readonly_token: Option<Secret>,
    /// Whether browsers are given the page over the queues.
    pub http_dashboard: bool,
    /// Bytes of a command over HTTP and of a reply.
    pub http_max_request_size: usize,
    /// Connections that the system holds before they are accepted.
    pub tcp_backlog: u32,
    /// 0 leaves keep-alive probes off.
    pub tcp_keepalive_s: u32,
    /// Closes clients that are idle for so long; 0 never.
    pub timeout_s: u64,
    /// Connections at the same time.
    pub maxclients: usize,
    /// How many SELECT may choose from.
    pub databases: usize,
    /// 0 means no limit.
    pub maxmemory: u64,
    /// What all connections may take together; 0 means no limit.
    pub maxmemory_clients: MemoryShare,
    /// Which keys go once `maxmemory` is reached.
    pub maxmemory_policy: Policy,
    /// Keys that are looked at for each one that is evicted.
    pub maxmemory_samples: usize,
    /// Keys that are known to be cached by clients; 0: no limit.
    pub tracking_table_max_keys: usize,
    /// Whether a connection's `$` of a stream goes on from where its last one stood.
    pub keep_dollar: bool,
    /// Values that nobody touched for so long are compressed; 0 never.
    pub compact_idle_after_s: u32,
    /// Which events of keys are published.
    pub notify_keyspace_events: EventClasses,
    /// What OBJECT ENCODING answers by.
    pub limits: Limits,
    /// Whether DUMP compresses long strings.
    pub rdbcompression: bool,
    /// How long a script runs before other clients are answered with BUSY; 0 or less: at once.
    pub busy_reply_threshold_ms: i64,
    /// Negative switches the log off, 0 logs every command.
    pub slowlog_log_slower_than_us: i64,
    /// Entries that SLOWLOG keeps.
    pub slowlog_max_len: usize,
    /// Whether the times of each command are kept.
    pub latency_tracking: bool,
    /// Those that INFO shows, as numbers in text.
    pub latency_percentiles: Vec<String>,
    /// 0 switches the monitor off.
    pub latency_monitor_threshold_ms: u64,
    /// In the order of `ClientClass`.
    pub client_output_buffer_limits: [OutputLimit; 3],
    /// Bytes of unread input that a client may have, with what MULTI has queued.
    pub client_query_buffer_limit: usize,
    /// Bytes of one argument, and of a string.
    pub proto_max_bulk_len: usize,
    /// Where users are kept. None: nowhere.
    pub aclfile: Option<String>,
    /// The users that lines of a redis.conf make: the words behind `user`, a name and rules.
    pub users: Vec<Vec<Vec<u8>>>,
    /// Which channels a new user may use.
    pub acl_pubsub_default: NewUserChannels,
    /// Entries that ACL LOG keeps.
    pub acllog_max_len: usize,
    /// Who may run DEBUG.
    pub enable_debug_command: Protected,
    /// Who may run MODULE.
    pub enable_module_command: Protected,
    /// Who may run TORIL.
    pub enable_toril_command: Protected,
    /// Whether what tests ask for is kept from the start, not from the first TORIL command on.
    pub fixture: bool,
    /// Which habits of clients are looked for that do harm elsewhere.
    pub strict: Strict,
    /// Whose commands there are, and no others.
    pub provider: Provider,
    /// Whether TORIL CLOCK may move the clock: the server makes a file that clients follow.
    pub clock: bool,
    /// Who may change `dir` and `dbfilename`.
    pub enable_protected_configs: Protected,
    /// Whether the process does without transparent huge pages.
    pub disable_thp: bool,
    /// Only reported: timers fire when they are due, not when a cron looks.
    pub hz: u32,
    /// The least that is logged.
    pub loglevel: LogLevel,
    /// Empty means standard output.
    pub logfile: String,
    /// Where files are that are named without a path.
    pub dir: String,
    /// Whether the process goes into the background.
    pub daemonize: bool,
    /// Where the process writes its number. None: nowhere.
    pub pidfile: Option<String>,
    /// Whether standard output gets a line for the program that starts the server.
    pub announce: Announce,
    /// The number of the process with which the server ends; 0: it ends with none.
    pub exit_with_parent: u32,
    /// When the data is saved. Empty: nothing is, but when asked for.
    pub save: Vec<SavePoint>,
    /// What is written to files, and read from them.
    pub files: FileSettings,
    /// Whom this server follows.
    pub replica: ReplicaSettings,
    /// Whom it believes when it speaks TLS to another server.
    pub tls: TlsSettings,
    /// What was given for settings without a field, by name.
    kept: BTreeMap<&'static str, SettingValue>,
}

/// Which of the output limits holds for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientClass {
    /// Neither of the others.
    Normal,
    /// A replica.
    Replica,
    /// It subscribes to something.
    Pubsub,
}

/// A client whose unread replies grow past `hard_bytes`, or stay past `soft_bytes` for `soft_s`, is
/// closed. 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Closes at once beyond.
    pub hard_bytes: u64,
    /// Closes if it stays beyond.
    pub soft_bytes: u64,
    /// How long it may stay beyond `soft_bytes`.
    pub soft_s: u64,
}

impl OutputLimit {
    /// Those of Redis 7.4, by `ClientClass`.
    pub const DEFAULT: [Self; 3] = [
        Self { hard_bytes: 0, soft_bytes: 0, soft_s: 0 },
        Self { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_s: 60 },
        Self { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 },
    ];
}

/// Bytes, or so many hundredths of `maxmemory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryShare {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths of `maxmemory`.
    Percent(i64),
}

impl MemoryShare {
    /// In bytes; 0 if it is a share of no limit.
    pub fn bytes(self, maxmemory: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => (u128::from(maxmemory) * percent as u128 / 100) as u64,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// When the data is saved: so many seconds after a save, if there were so many changes.
pub struct SavePoint {
    /// Seconds since the last save.
    pub seconds: u64,
    /// Changes since the last save.
    pub changes: u64,
}

impl Config {
    /// What the provider lacks.
    pub fn profile(&self) -> &'static Profile {
        self.provider.profile()
    }

    /// What is done about a habit of clients.
    pub fn level(&self, check: Check) -> Level {
        self.strict.level(check, self.provider)
    }

    /// Whether any is looked for, or requests are counted.
    pub fn is_strict(&self) -> bool {
        self.profile().counts_requests || self.strict.is_on(self.provider)
    }

    /// Where a file of this name is: in `dir`, unless the name says otherwise. The process stays in
    /// the directory that it was started in, which may be somebody else's to choose.
    pub fn place(&self, name: &str) -> PathBuf {
        Path::new(&self.dir).join(name)
    }
}

impl Default for Config {
    fn default() -> Self {
        const MB: u64 = 1024 * 1024;
        Self {
            port: 6379,
            // Redis would listen everywhere and count on protected mode; we listen to this machine.
            bind: vec!["127.0.0.1".into(), "-::1".into()],
            unixsocket: None,
            unixsocketperm: None,
            requirepass: None,
            protected_mode: true,
            http_port: None,
            http_token: None,
            http_readonly_token: None,
            // Upstash takes 10 MB; what is tried here need not be as small.
            http_dashboard: true,
            http_max_request_size: 64 * MB as usize,
            tcp_backlog: 511,
            tcp_keepalive_s: 300,
            timeout_s: 0,
            maxclients: 10_000,
            databases: 16,
            maxmemory: 0,
            maxmemory_clients: MemoryShare::Bytes(0),
            maxmemory_policy: Policy::NoEviction,
            maxmemory_samples: 5,
            tracking_table_max_keys: 1_000_000,
            keep_dollar: false,
            compact_idle_after_s: 10,
            notify_keyspace_events: EventClasses::NONE,
            limits: Limits::default(),
            rdbcompression: true,
            busy_reply_threshold_ms: 5_000,
            slowlog_log_slower_than_us: 10_000,
            slowlog_max_len: 128,
            latency_tracking: true,
            latency_percentiles: ["50", "99", "99.9"].map(String::from).into(),
            latency_monitor_threshold_ms: 0,
            client_output_buffer_limits: OutputLimit::DEFAULT,
            client_query_buffer_limit: 1024 * 1024 * 1024,
            proto_max_bulk_len: 512 * 1024 * 1024,
            aclfile: None,
            users: Vec::new(),
            acl_pubsub_default: NewUserChannels::None,
            acllog_max_len: 128,
            replica: ReplicaSettings::default(),
            tls: TlsSettings::default(),
            enable_debug_command: Protected::No,
            enable_module_command: Protected::No,
            enable_toril_command: Protected::Local,
            fixture: false,
            strict: Strict::default(),
            provider: Provider::None,
            clock: false,
            enable_protected_configs: Protected::No,
            disable_thp: true,
            hz: 10,
            loglevel: LogLevel::Notice,
            logfile: String::new(),
            dir: ".".into(),
            daemonize: false,
            pidfile: None,
            announce: Announce::No,
            exit_with_parent: 0,
            // Redis has three rules; a server for tests leaves nothing behind unless it is told to.
            save: Vec::new(),
            files: FileSettings::default(),
            kept: BTreeMap::new(),
        }
    }
}

/// The sizes up to which Redis keeps a value in its compact encoding. OBJECT ENCODING answers by
/// them; toril's own layouts do not depend on them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Fields of a listpack.
    pub hash_entries_max: usize,
    /// Bytes of a field or a value in a listpack.
    pub hash_value_bytes_max: usize,
    /// Positive: elements per node; -1 to -5: 4, 8, 16, 32, 64 KB per node.
    pub list_node_size: i64,
    /// Bytes of an element that is a node of its own, whatever a node holds: no setting, but DEBUG
    /// QUICKLIST-PACKED-THRESHOLD.
    pub list_packed_bytes_max: Option<usize>,
    /// Members of an intset.
    pub set_intset_entries_max: usize,
    /// Members of a listpack.
    pub set_entries_max: usize,
    /// Bytes of a member in a listpack.
    pub set_value_bytes_max: usize,
    /// Members of a listpack.
    pub zset_entries_max: usize,
    /// Bytes of a member in a listpack.
    pub zset_value_bytes_max: usize,
    /// Bytes of a sparse HyperLogLog.
    pub hll_sparse_bytes_max: usize,
    /// Bytes of a node.
    pub stream_node_bytes_max: usize,
    /// Entries of a node.
    pub stream_node_entries_max: usize,
}

impl Limits {
    /// Those of Redis 7.4.
    pub const DEFAULT: Self = Self {
        hash_entries_max: 512,
        hash_value_bytes_max: 64,
        list_node_size: -2,
        list_packed_bytes_max: None,
        set_intset_entries_max: 512,
        set_entries_max: 128,
        set_value_bytes_max: 64,
        zset_entries_max: 128,
        zset_value_bytes_max: 64,
        hll_sparse_bytes_max: 3000,
        stream_node_bytes_max: 4096,
        stream_node_entries_max: 100,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
