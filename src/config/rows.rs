//! The settings: one row each, with the names, bounds and defaults of Redis 7.4. A served setting's
//! row ends in what it does, any other in why it has no effect.
//!
//! What Redis's own tests turn (`key-load-delay` and its like) is hidden: as there, CONFIG GET
//! tells it to who knows its name, and no pattern matches it.

use super::stored::Stored;
use super::table::{
    Changeable::*, Directive, Holder, Holder::Kept, Serving::*, Setting, directive, row,
};
use super::value::SettingKind::*;
use super::{
    Announce, AppendSync, DATABASES_MAX, LogLevel, NewUserChannels, Policy, Protected, Provider,
};

const PORT: i128 = u16::MAX as i128;
const INT_MIN: i128 = i32::MIN as i128;
const INT: i128 = i32::MAX as i128;
const DATABASES: i128 = DATABASES_MAX as i128;
const U32: i128 = u32::MAX as i128;
const MAX: i128 = i64::MAX as i128;
const U64: i128 = u64::MAX as i128;
const MB: i128 = 1024 * 1024;

const SHUTDOWN: &[&str] = &["default", "save", "nosave", "now", "force"];

const ACCEPT: &str = "waiting connections are accepted as they come";
const CLUSTER: &str = "there is no cluster yet";
const BASES: &str = "an append-only file is a snapshot and what has changed since, without times";
const EVICTION: &str = "eviction has no finer controls yet";
const FREED: &str = "large values are freed piece by piece in any case";
const FLUSHING: &str = "flushing frees all values at once";
const FREEING: &str = "memory is never moved, and given back in idle moments";
const LISTS: &str = "lists are never compressed";
const LOG: &str = "the log is one plain text and holds no data of users";
const OBSOLETE: &str = "it has no effect in Redis either";
const PACE: &str = "snapshots are written and read at their own pace";
const PROCESS: &str = "the process is left as the system made it";
const AT_ONCE: &str = "replicas are sent all at once";
const BACKLOG: &str = "the backlog is kept as long as the server runs";
const ERRORS: &str = "a command of the stream that fails brings all data anew";
const LEAVING: &str = "the end of the server waits for no replica";
const SOURCE: &str = "the system chooses the address to call from";
const STREAMED: &str = "snapshots for replicas are never put into files";
const TOLD: &str = "a replica does what it is told, and removes nothing by itself";
const WHOLE: &str = "new data is put in the place of the old once it is whole";
const SIGNALS: &str = "a signal saves if there are rules of save, and ends the server";
const SYNCED: &str = "files are synced piece by piece in any case";
const THREADS: &str = "one thread serves all clients";
const TIMERS: &str = "what is due is done when it is due, without a clock to tune";
const TLS: &str = "clients are served without TLS";
const VALUES: &str = "payloads are checked whole in any case";

/// A setting that stands in this field of `Config`.
macro_rules! field {
    ($($field:ident).+) => {
        Holder::Field(
            |config| config.$($field).+.value(),
            |config, value| config.$($field).+.assign(value),
        )
    };
}

#[rustfmt::skip]
pub static ROWS: &[Setting] = &[
    // Where clients connect.
    row("port",                               Integer(0, PORT),           field!(port),                            Live,    Served, "TCP port. 0: any free port, or with a unixsocket no TCP"),
    row("bind",                               Addresses,                  field!(bind),                            Live,    Served, "addresses to listen on; one with - before it may be missing"),
    row("unixsocket",                         Text,                       field!(unixsocket),                      AtStart, Served, "path of a Unix socket to listen on as well"),
    row("unixsocketperm",                     Mode(0, 0o777),             field!(unixsocketperm),                  AtStart, Served, "mode of the Unix socket, such as 700"),
    row("protected-mode",                     YesNo,                      field!(protected_mode),                  Live,    Served, "with no password, answers other machines with a refusal only"),
    row("requirepass",                        Secret,                     field!(requirepass),                     Live,    Served, "password that clients give with AUTH"),
    row("maxclients",                         Integer(1, U32),            field!(maxclients),                      Live,    Served, "connections at a time"),
    row("timeout",                            Integer(0, INT),            field!(timeout_s),                       Live,    Served, "seconds after which an idle client is closed; 0: never"),
    row("tcp-keepalive",                      Integer(0, INT),            field!(tcp_keepalive_s),                 Live,    Served, "seconds between probes of a silent connection; 0: none"),
    row("tcp-backlog",                        Integer(0, INT),            field!(tcp_backlog),                     AtStart, Served, "connections that may wait to be accepted"),
    row("http-port",                          PortOrNone,                 field!(http_port),                       AtStart, Served, "port for Upstash's REST API over HTTP. 0: any free port; empty: none"),
    row("http-token",                         Token,                      field!(http_token),                      AtStart, Served, "token that callers over HTTP give. Empty: requirepass, or one is made"),
    row("http-readonly-token",                Token,                      field!(http_readonly_token),             AtStart, Served, "second token, which may only read. Empty: none"),
    row("http-dashboard",                     YesNo,                      field!(http_dashboard),                  Live,    Served, "whether a browser that opens the port of HTTP is given the page over the queues"),
    row("http-max-request-size",              Memory(1, MAX),             field!(http_max_request_size),           Live,    Served, "bytes of a command over HTTP, and of a reply"),
    row("max-new-connections-per-cycle",      Integer(1, 1000),           Kept("10"),                              Live,    Known,  ACCEPT),
    row("bind-source-addr",                   Text,                       Kept(""),                                Live,    Known,  SOURCE),
    row("socket-mark-id",                     Integer(0, U32),            Kept("0"),                               AtStart, Known,  PROCESS),

    // The process and what it tells.
    row("daemonize",                          YesNo,                      field!(daemonize),                       AtStart, Served, "goes into the background once ready"),
    row("pidfile",                            Text,                       field!(pidfile),                         AtStart, Served, "file to write the process id to"),
    row("announce",                           Choice(Announce::WORDS),    field!(announce),                        PerStart, Served, "json: where it listens, in a line of standard output for the program that starts it"),
    row("exit-with-parent",                   Integer(0, INT),            field!(exit_with_parent),                PerStart, Served, "number of the process with which the server ends; 0: none"),
    row("dir",                                Directory,                  field!(dir),                             Guarded, Served, "directory of the files that other settings name"),
    row("loglevel",                           Choice(LogLevel::WORDS),    field!(loglevel),                        Live,    Served, "debug, verbose, notice, warning or nothing"),
    row("logfile",                            Text,                       field!(logfile),                         AtStart, Served, "file to log to; empty: standard output"),
    row("disable-thp",                        YesNo,                      field!(disable_thp),                     AtStart, Served, "no transparent huge pages: less memory per key"),
    row("hz",                                 Hertz,                     field!(hz),                              Live,    Known,  TIMERS),
    row("dynamic-hz",                         YesNo,                      Kept("yes"),                             Live,    Known,  TIMERS),
    row("always-show-logo",                   YesNo,                      Kept("no"),                              AtStart, Known,  PROCESS),
    row("set-proc-title",                     YesNo,                      Kept("yes"),                             AtStart, Known,  PROCESS),
    row("proc-title-template",                Text,                       Kept("{title} {listen-addr} {server-mode}"), Live,    Known,  PROCESS),
    row("supervised",                         Choice(&["upstart", "systemd", "auto", "no"]), Kept("no"),                              AtStart, Known,  PROCESS),
    row("oom-score-adj",                      Choice(&["no", "yes", "relative", "absolute"]), Kept("no"),                              Live,    Known,  PROCESS),
    row("oom-score-adj-values",               OomScores,                  Kept("0 200 800"),                       Live,    Known,  PROCESS),
    row("server-cpulist",                     Text,                       Kept(""),                                AtStart, Known,  PROCESS).alias("server_cpulist"),
    row("bio-cpulist",                        Text,                       Kept(""),                                AtStart, Known,  PROCESS).alias("bio_cpulist"),
    row("aof-rewrite-cpulist",                Text,                       Kept(""),                                AtStart, Known,  PROCESS).alias("aof_rewrite_cpulist"),
    row("bgsave-cpulist",                     Text,                       Kept(""),                                AtStart, Known,  PROCESS).alias("bgsave_cpulist"),
    row("locale-collate",                     Text,                       Kept(""),                                Live,    Known,  PROCESS),
    row("ignore-warnings",                    Text,                       Kept(""),                                Live,    Known,  PROCESS),
    row("io-threads",                         Integer(1, 128),            Kept("1"),                               AtStart, Known,  THREADS),
    row("io-threads-do-reads",                YesNo,                      Kept("no"),                              AtStart, Known,  THREADS),
    row("syslog-enabled",                     YesNo,                      Kept("no"),                              AtStart, Known,  LOG),
    row("syslog-ident",                       Text,                       Kept("redis"),                           AtStart, Known,  LOG),
    row("syslog-facility",                    Choice(&["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"]), Kept("local0"),                          AtStart, Known,  LOG),
    row("crash-log-enabled",                  YesNo,                      Kept("yes"),                             Live,    Known,  LOG),
    row("crash-memcheck-enabled",             YesNo,                      Kept("yes"),                             Live,    Known,  LOG),
    row("hide-user-data-from-log",            YesNo,                      Kept("no"),                              Live,    Known,  LOG),
    row("slowlog-log-slower-than",            Integer(-1, MAX),           field!(slowlog_log_slower_than_us),      Live,    Served, "microseconds after which SLOWLOG keeps a command; -1: none"),
    row("slowlog-max-len",                    Integer(0, MAX),            field!(slowlog_max_len),                 Live,    Served, "entries that SLOWLOG keeps"),
    row("latency-monitor-threshold",          Integer(0, MAX),            field!(latency_monitor_threshold_ms),    Live,    Served, "milliseconds after which LATENCY keeps what took them; 0: nothing"),
    row("latency-tracking",                   YesNo,                      field!(latency_tracking),                Live,    Served, "whether INFO latencystats and LATENCY HISTOGRAM have something to tell"),
    row("latency-tracking-info-percentiles",  Percentiles,                field!(latency_percentiles),             Live,    Served, "the percentiles that INFO latencystats shows"),
    row("shutdown-timeout",                   Integer(0, INT),            Kept("10"),                              Live,    Known,  LEAVING),
    row("shutdown-on-sigint",                 Choice(SHUTDOWN),           Kept("default"),                         Live,    Known,  SIGNALS),
    row("shutdown-on-sigterm",                Choice(SHUTDOWN),           Kept("default"),                         Live,    Known,  SIGNALS),

    // What clients may do.
    row("enable-debug-command",               Choice(Protected::WORDS),   field!(enable_debug_command),            AtStart, Served, "who may run DEBUG: no, yes or local"),
    row("enable-module-command",              Choice(Protected::WORDS),   field!(enable_module_command),           AtStart, Served, "who may run MODULE: no, yes or local"),
    row("enable-protected-configs",           Choice(Protected::WORDS),   field!(enable_protected_configs),        AtStart, Served, "who may change dir and dbfilename: no, yes or local"),
    row("enable-toril-command",               Choice(Protected::WORDS),   field!(enable_toril_command),            AtStart, Served, "who may run TORIL: no, yes or local"),
    row("fixture",                            YesNo,                      field!(fixture),                         AtStart, Served, "keeps what TORIL EXPECT looks back on from the start, not from the first TORIL command on"),
    row("clock",                              YesNo,                      field!(clock),                           AtStart, Served, "lets TORIL CLOCK move the clock, and makes a file that clients follow"),
    row("strict",                             Strict,                     field!(strict),                          Live,    Served, "habits to look for that do harm elsewhere: yes, error, or checks such as crossslot,keys=error"),
    row("provider",                           Choice(Provider::WORDS),    field!(provider),                        AtStart, Served, "whose commands there are, and no others: elasticache, redis-6.2 and others"),
    row("client-output-buffer-limit",         OutputLimits,               field!(client_output_buffer_limits),     Live,    Served, "class, hard and soft limit, seconds past the soft one"),
    row("client-query-buffer-limit",          Memory(MB, MAX),            field!(client_query_buffer_limit),       Live,    Served, "unread input that a client may have, with what MULTI has queued"),
    row("proto-max-bulk-len",                 Memory(MB, MAX),            field!(proto_max_bulk_len),              Live,    Served, "length of one argument, or of one string"),
    row("maxmemory-clients",                  MemoryOrPercent,            field!(maxmemory_clients),               Live,    Served, "memory of all connections, beyond which the largest are closed: bytes or 5% of maxmemory; 0: no limit"),
    row("busy-reply-threshold",               Integer(0, MAX),            field!(busy_reply_threshold_ms),         Live,    Served, "milliseconds after which a script makes the server BUSY").alias("lua-time-limit"),
    row("tracking-table-max-keys",            Integer(0, MAX),            field!(tracking_table_max_keys),         Live,    Served, "keys that are known to be cached by clients; beyond, some are told to be forgotten; 0: no limit"),
    row("keep-dollar",                        YesNo,                      field!(keep_dollar),                     Live,    Served, "whether XREAD ... $, said again by a connection, goes on from where its last $ stood"),

    // Keys.
    row("databases",                          Integer(1, DATABASES),      field!(databases),                       AtStart, Served, "numbered databases"),
    row("notify-keyspace-events",             Events,                     field!(notify_keyspace_events),          Live,    Served, "events that are published, such as KEA; empty: none"),
    row("maxmemory",                          Memory(0, U64),             field!(maxmemory),                       Live,    Served, "memory for keys, such as 100mb; 0: no limit"),
    row("maxmemory-policy",                   Choice(Policy::WORDS),      field!(maxmemory_policy),                Live,    Served, "which keys give way then; BullMQ wants noeviction"),
    row("maxmemory-samples",                  Integer(1, 64),             field!(maxmemory_samples),               Live,    Served, "keys looked at for each one that gives way"),
    row("compact-idle-after",                 Integer(0, INT),            field!(compact_idle_after_s),            Live,    Served, "seconds without access after which idle time is used to compress a value; 0: never"),
    row("maxmemory-eviction-tenacity",        Integer(0, 100),            Kept("10"),                              Live,    Known,  EVICTION),
    row("lfu-log-factor",                     Integer(0, INT),            Kept("10"),                              Live,    Known,  EVICTION),
    row("lfu-decay-time",                     Integer(0, INT),            Kept("1"),                               Live,    Known,  EVICTION),
    row("active-expire-effort",               Integer(1, 10),             Kept("1"),                               Live,    Known,  TIMERS),
    row("activerehashing",                    YesNo,                      Kept("yes"),                             Live,    Known,  TIMERS),
    row("lazyfree-lazy-eviction",             YesNo,                      Kept("no"),                              Live,    Known,  FREED),
    row("lazyfree-lazy-expire",               YesNo,                      Kept("no"),                              Live,    Known,  FREED),
    row("lazyfree-lazy-server-del",           YesNo,                      Kept("no"),                              Live,    Known,  FREED),
    row("lazyfree-lazy-user-del",             YesNo,                      Kept("no"),                              Live,    Known,  FREED),
    row("lazyfree-lazy-user-flush",           YesNo,                      Kept("no"),                              Live,    Known,  FLUSHING),
    row("replica-lazy-flush",                 YesNo,                      Kept("no"),                              Live,    Known,  FLUSHING).alias("slave-lazy-flush"),
    row("activedefrag",                       YesNo,                      Kept("no"),                              Live,    Known,  FREEING),
    row("active-defrag-ignore-bytes",         Memory(1, MAX),             Kept("104857600"),                       Live,    Known,  FREEING),
    row("active-defrag-threshold-lower",      Integer(0, 1000),           Kept("10"),                              Live,    Known,  FREEING),
    row("active-defrag-threshold-upper",      Integer(0, 1000),           Kept("100"),                             Live,    Known,  FREEING),
    row("active-defrag-cycle-min",            Integer(1, 99),             Kept("1"),                               Live,    Known,  FREEING),
    row("active-defrag-cycle-max",            Integer(1, 99),             Kept("25"),                              Live,    Known,  FREEING),
    row("active-defrag-max-scan-fields",      Integer(1, MAX),            Kept("1000"),                            Live,    Known,  FREEING),
    row("jemalloc-bg-thread",                 YesNo,                      Kept("yes"),                             Live,    Known,  FREEING),

    // Sizes up to which OBJECT ENCODING names the compact form.
    row("hash-max-listpack-entries",          Integer(0, MAX),            field!(limits.hash_entries_max),         Live,    Served, "fields up to which a hash is a listpack").alias("hash-max-ziplist-entries"),
    row("hash-max-listpack-value",            Memory(0, MAX),             field!(limits.hash_value_bytes_max),     Live,    Served, "bytes up to which its fields and values are").alias("hash-max-ziplist-value"),
    row("list-max-listpack-size",             Integer(INT_MIN, INT),      field!(limits.list_node_size),           Live,    Served, "elements per node of a list; -1 to -5: 4 to 64 KB").alias("list-max-ziplist-size"),
    row("list-compress-depth",                Integer(0, INT),            Kept("0"),                               Live,    Known,  LISTS),
    row("set-max-intset-entries",             Integer(0, MAX),            field!(limits.set_intset_entries_max),   Live,    Served, "members up to which a set of integers is an intset"),
    row("set-max-listpack-entries",           Integer(0, MAX),            field!(limits.set_entries_max),          Live,    Served, "members up to which a set is a listpack"),
    row("set-max-listpack-value",             Memory(0, MAX),             field!(limits.set_value_bytes_max),      Live,    Served, "bytes up to which its members are"),
    row("zset-max-listpack-entries",          Integer(0, MAX),            field!(limits.zset_entries_max),         Live,    Served, "members up to which a sorted set is a listpack").alias("zset-max-ziplist-entries"),
    row("zset-max-listpack-value",            Memory(0, MAX),             field!(limits.zset_value_bytes_max),     Live,    Served, "bytes up to which its members are").alias("zset-max-ziplist-value"),
    row("stream-node-max-bytes",              Memory(0, MAX),             field!(limits.stream_node_bytes_max),    Live,    Served, "bytes of a node of a stream, which ~ trims as a whole"),
    row("stream-node-max-entries",            Integer(0, MAX),            field!(limits.stream_node_entries_max),  Live,    Served, "entries of a node of a stream"),
    row("hll-sparse-max-bytes",               Memory(0, MAX),             field!(limits.hll_sparse_bytes_max),     Live,    Served, "bytes up to which a HyperLogLog is sparse"),
    row("sanitize-dump-payload",              Choice(&["no", "yes", "clients"]), Kept("no"),                              Live,    Known,  VALUES),

    // Snapshots and the append-only file.
    row("save",                               SavePoints,                 field!(save),                            Live,    Served, "seconds and changes after which the data is saved, such as 60 1; empty: only when asked for"),
    row("load",                               Text,                       field!(files.load),                            PerStart, Served, "file of RDB to begin with. Empty: dbfilename, if there is one; no: none"),
    row("import",                             Token,                      field!(files.import),                          PerStart, Served, "URL of a server whose data to begin with: redis://user:password@host:port/db"),
    row("match",                              Text,                       field!(files.import_match),                    PerStart, Served, "pattern of the keys that are taken from there. Empty: all"),
    row("load-partly",                        YesNo,                      field!(files.load_partly),                     PerStart, Served, "whether what belongs to modules is left out of it, and not refused"),
    row("repair",                             YesNo,                      field!(files.repair),                          PerStart, Served, "whether what stands before its first fault is kept, and the file as NAME.broken"),
    row("key-load-delay",                     Integer(INT_MIN, INT),      Kept("0"),                               Live,    Known,  PACE).hidden(),
    row("rdb-key-save-delay",                 Integer(INT_MIN, INT),      Kept("0"),                               Live,    Known,  PACE).hidden(),
    row("loading-process-events-interval-bytes", Integer(1024, INT),      Kept("2097152"),                         Live,    Known,  PACE).hidden(),
    row("use-exit-on-panic",                  YesNo,                      Kept("no"),                              Live,    Known,  PROCESS).hidden(),
    row("watchdog-period",                    Integer(0, INT),            Kept("0"),                               Live,    Known,  TIMERS).hidden(),
    row("dbfilename",                         FileName("dbfilename"),     field!(files.dbfilename),                      Guarded, Served, "file in dir that the data is saved to"),
    row("rdbcompression",                     YesNo,                      field!(rdbcompression),                  Live,    Served, "whether DUMP compresses long strings"),
    row("rdbchecksum",                        YesNo,                      field!(files.rdbchecksum),                     AtStart, Served, "whether that file has a checksum"),
    row("rdb-save-incremental-fsync",         YesNo,                      Kept("yes"),                             Live,    Known,  SYNCED),
    row("rdb-del-sync-files",                 YesNo,                      Kept("no"),                              Live,    Known,  STREAMED),
    row("stop-writes-on-bgsave-error",        YesNo,                      field!(files.stop_writes_on_bgsave_error),     Live,    Served, "whether writes are refused while the data cannot be saved as save says"),
    row("appendonly",                         YesNo,                      field!(files.appendonly),                      Live,    Served, "whether each change is appended to a file, so that a restart loses nothing"),
    row("appendfilename",                     FileName("appendfilename"), field!(files.appendfilename),                  AtStart, Served, "how the names of its parts begin"),
    row("appenddirname",                      FileName("appenddirname"),  field!(files.appenddirname),                   AtStart, Served, "folder in dir that they are in"),
    row("appendfsync",                        Choice(AppendSync::WORDS),  field!(files.appendfsync),                     Live,    Served, "when it is synced: everysec, always (before anybody is answered) or no"),
    row("no-appendfsync-on-rewrite",          YesNo,                      Kept("no"),                              Live,    Known,  SYNCED),
    row("aof-load-truncated",                 YesNo,                      field!(files.aof_load_truncated),              Live,    Served, "whether one that ends in the middle of a change is cut before it"),
    row("aof-use-rdb-preamble",               YesNo,                      Kept("yes"),                             Live,    Known,  BASES),
    row("aof-rewrite-incremental-fsync",      YesNo,                      Kept("yes"),                             Live,    Known,  SYNCED),
    row("aof-timestamp-enabled",              YesNo,                      Kept("no"),                              Live,    Known,  BASES),
    row("auto-aof-rewrite-percentage",        Integer(0, INT),            field!(files.auto_aof_rewrite_percentage),     Live,    Served, "per cent by which it has grown when it is written anew; 0: never"),
    row("auto-aof-rewrite-min-size",          Memory(0, MAX),             field!(files.auto_aof_rewrite_min_size),       Live,    Served, "bytes that it must have then"),

    // Replicas.
    row("replicaof",                          Master,                     field!(replica.replicaof),               AtStart, Served, "host and port of the server to follow").alias("slaveof"),
    row("masteruser",                         Secret,                     field!(replica.masteruser),              Live,    Served, "user to log in as there"),
    row("masterauth",                         Secret,                     field!(replica.masterauth),              Live,    Served, "password to log in with there"),
    row("min-replicas-to-write",              Integer(0, INT),            field!(replica.min_to_write),            Live,    Served, "writes are refused while fewer replicas follow; 0: never").alias("min-slaves-to-write"),
    row("min-replicas-max-lag",               Integer(0, INT),            field!(replica.max_lag_s),               Live,    Served, "seconds within which such a replica was heard; 0: writes are never refused").alias("min-slaves-max-lag"),
    row("replica-read-only",                  YesNo,                      field!(replica.read_only),               Live,    Served, "clients change nothing on a server that follows").alias("slave-read-only"),
    row("replica-serve-stale-data",           YesNo,                      field!(replica.serves_stale_data),        Live,    Served, "clients read while the server that is followed is away").alias("slave-serve-stale-data"),
    row("replica-ignore-maxmemory",           YesNo,                      Kept("yes"),                             Live,    Known,  TOLD).alias("slave-ignore-maxmemory"),
    row("replica-announced",                  YesNo,                      field!(replica.is_announced),            Live,    Served, "only reported"),
    row("replica-ignore-disk-write-errors",   YesNo,                      Kept("no"),                              Live,    Known,  TOLD),
    row("repl-diskless-sync",                 YesNo,                      Kept("yes"),                             Live,    Known,  STREAMED),
    row("repl-disable-tcp-nodelay",           YesNo,                      Kept("no"),                              Live,    Known,  AT_ONCE),
    row("replica-priority",                   Integer(0, INT),            field!(replica.priority),                Live,    Served, "only reported, for who promotes replicas").alias("slave-priority"),
    row("replica-announce-ip",                Text,                       field!(replica.announce_ip),             Live,    Served, "address that the server that is followed tells others").alias("slave-announce-ip"),
    row("replica-announce-port",              Integer(0, PORT),           field!(replica.announce_port),           Live,    Served, "port that it tells others; 0: the one listened on").alias("slave-announce-port"),
    row("repl-ping-replica-period",           Integer(1, INT),            field!(replica.ping_period_s),           Live,    Served, "seconds between two pings to replicas").alias("repl-ping-slave-period"),
    row("repl-timeout",                       Integer(1, INT),            field!(replica.timeout_s),                 Live,    Served, "seconds of silence after which a replica, or who is followed, is given up"),
    row("repl-backlog-size",                  Memory(1, MAX),             field!(replica.backlog_bytes),           Live,    Served, "bytes of the stream that are kept for replicas whose link was cut"),
    row("repl-backlog-ttl",                   Integer(0, MAX),            Kept("3600"),                            Live,    Known,  BACKLOG),
    row("repl-diskless-load",                 Choice(&["disabled", "on-empty-db", "swapdb"]), Kept("disabled"),                        Live,    Known,  WHOLE),
    row("repl-diskless-sync-delay",           Integer(0, INT),            Kept("5"),                               Live,    Known,  AT_ONCE),
    row("repl-diskless-sync-max-replicas",    Integer(0, INT),            Kept("0"),                               Live,    Known,  AT_ONCE),
    row("propagation-error-behavior",         Choice(&["ignore", "panic", "panic-on-replicas"]), Kept("ignore"),                          Live,    Known,  ERRORS),

    // Users.
    row("aclfile",                            Text,                       field!(aclfile),                         AtStart, Served, "file of users, which ACL LOAD reads and ACL SAVE writes"),
    row("acl-pubsub-default",                 Choice(NewUserChannels::WORDS), field!(acl_pubsub_default),              Live,    Served, "channels that a new user may use: allchannels or resetchannels"),
    row("acllog-max-len",                     Integer(0, MAX),            field!(acllog_max_len),                  Live,    Served, "entries that ACL LOG keeps"),

    // TLS.
    row("tls-port",                           Integer(0, PORT),           Kept("0"),                               Live,    Guards, TLS),
    row("tls-cert-file",                      Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-key-file",                       Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-ca-cert-file",                   Text,                       field!(tls.ca_cert_file),                Live,    Served, "file of certificates that vouch for other servers. Empty: the system's"),
    row("tls-ca-cert-dir",                    Text,                       field!(tls.ca_cert_dir),                 Live,    Served, "folder of such files"),
    row("tls-client-cert-file",               Text,                       field!(tls.client_cert_file),            Live,    Served, "file of the certificate to show them. Empty: none"),
    row("tls-client-key-file",                Text,                       field!(tls.client_key_file),             Live,    Served, "file of its key"),
    row("tls-dh-params-file",                 Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-protocols",                      Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-ciphers",                        Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-ciphersuites",                   Text,                       Kept(""),                                Live,    Guards, TLS),
    row("tls-key-file-pass",                  Secret,                     Kept(""),                                Live,    Guards, TLS),
    row("tls-client-key-file-pass",           Secret,                     Kept(""),                                Live,    Guards, TLS),
    row("tls-auth-clients",                   Choice(&["no", "yes", "optional"]), Kept("yes"),                             Live,    Guards, TLS),
    row("tls-replication",                    YesNo,                      field!(tls.replication),                 Live,    Served, "whether the server that is followed is spoken to over TLS"),
    row("tls-cluster",                        YesNo,                      Kept("no"),                              Live,    Guards, TLS),
    row("tls-prefer-server-ciphers",          YesNo,                      Kept("no"),                              Live,    Guards, TLS),
    row("tls-session-caching",                YesNo,                      Kept("yes"),                             Live,    Guards, TLS),
    row("tls-session-cache-size",             Integer(0, INT),            Kept("20480"),                           Live,    Guards, TLS),
    row("tls-session-cache-timeout",          Integer(0, INT),            Kept("300"),                             Live,    Guards, TLS),
    row("max-new-tls-connections-per-cycle",  Integer(1, 1000),           Kept("1"),                               Live,    Known,  TLS),

    // Cluster.
    row("cluster-enabled",                    YesNo,                      Kept("no"),                              AtStart, Guards, CLUSTER),
    row("cluster-config-file",                Text,                       Kept("nodes.conf"),                      AtStart, Known,  CLUSTER),
    row("cluster-port",                       Integer(0, PORT),           Kept("0"),                               AtStart, Known,  CLUSTER),
    row("cluster-node-timeout",               Integer(0, MAX),            Kept("15000"),                           Live,    Known,  CLUSTER),
    row("cluster-migration-barrier",          Integer(0, INT),            Kept("1"),                               Live,    Known,  CLUSTER),
    row("cluster-replica-validity-factor",    Integer(0, INT),            Kept("10"),                              Live,    Known,  CLUSTER).alias("cluster-slave-validity-factor"),
    row("cluster-replica-no-failover",        YesNo,                      Kept("no"),                              Live,    Known,  CLUSTER).alias("cluster-slave-no-failover"),
    row("cluster-require-full-coverage",      YesNo,                      Kept("yes"),                             Live,    Known,  CLUSTER),
    row("cluster-allow-reads-when-down",      YesNo,                      Kept("no"),                              Live,    Known,  CLUSTER),
    row("cluster-allow-pubsubshard-when-down", YesNo,                      Kept("yes"),                             Live,    Known,  CLUSTER),
    row("cluster-allow-replica-migration",    YesNo,                      Kept("yes"),                             Live,    Known,  CLUSTER),
    row("cluster-link-sendbuf-limit",         Memory(0, U64),             Kept("0"),                               Live,    Known,  CLUSTER),
    row("cluster-announce-ip",                Text,                       Kept(""),                                Live,    Known,  CLUSTER),
    row("cluster-announce-hostname",          Text,                       Kept(""),                                Live,    Known,  CLUSTER),
    row("cluster-announce-human-nodename",    Text,                       Kept(""),                                Live,    Known,  CLUSTER),
    row("cluster-announce-port",              Integer(0, PORT),           Kept("0"),                               Live,    Known,  CLUSTER),
    row("cluster-announce-tls-port",          Integer(0, PORT),           Kept("0"),                               Live,    Known,  CLUSTER),
    row("cluster-announce-bus-port",          Integer(0, PORT),           Kept("0"),                               Live,    Known,  CLUSTER),
    row("cluster-preferred-endpoint-type",    Choice(&["ip", "hostname", "unknown-endpoint"]), Kept("ip"),                              Live,    Known,  CLUSTER),
];

/// What a redis.conf may hold besides settings, `include` excepted. CONFIG knows none of these.
#[rustfmt::skip]
pub static DIRECTIVES: &[Directive] = &[
    directive("rename-command",           Guards, "commands keep their names yet"),
    directive("loadmodule",               Guards, "there are no modules"),
    directive("list-max-ziplist-entries", Known,  OBSOLETE),
    directive("list-max-ziplist-value",   Known,  OBSOLETE),
    directive("lua-replicate-commands",   Known,  OBSOLETE),
];
