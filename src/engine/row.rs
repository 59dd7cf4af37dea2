//! What a command is: one row says everything about it once. Dispatch, COMMAND, scripts, ACL and
//! docs/commands.md all read the same row.

use super::context::Ctx;
use super::keys::Keys;
use crate::proto::{Args, Reply, Result};

/// Runs a command: parse, find, check; then change, reply, commit.
pub type Handler = fn(&mut Ctx, Args, &mut Reply) -> Result;

/// How many words a request may have, the name (and subcommand) included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    Exactly(usize),
    AtLeast(usize),
}

impl Arity {
    pub fn allows(self, count: usize) -> bool {
        match self {
            Arity::Exactly(wanted) => count == wanted,
            Arity::AtLeast(least) => count >= least,
        }
    }

    /// As COMMAND writes it: negative where more words are allowed.
    pub fn as_redis(self) -> i64 {
        match self {
            Arity::Exactly(count) => count as i64,
            Arity::AtLeast(count) => -(count as i64),
        }
    }
}

macro_rules! flags {
    ($($flag:ident $bit:literal $name:literal $why:literal;)*) => {
        /// What the engine must know of a command, by the names of COMMAND: it asks a row for what
        /// the command does, and never for its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        pub enum Flag {
            $(#[doc = $why] $flag = 1 << $bit,)*
        }

        impl Flag {
            /// Every flag with the name that COMMAND gives it, in its order. COMMAND does not tell
            /// of those without a name.
            pub const ALL: &'static [(Flag, &'static str)] = &[$((Flag::$flag, $name),)*];
        }
    };
}

flags! {
    Write 0 "write" "Changes keys.";
    Read 1 "readonly" "Reads keys.";
    DenyOom 2 "denyoom" "Refused when memory is short.";
    Admin 4 "admin" "For administrators.";
    Pubsub 5 "pubsub" "Belongs to publish and subscribe.";
    NoScript 6 "noscript" "Refused in scripts.";
    Blocking 8 "blocking" "May wait.";
    Loading 9 "loading" "Allowed while a snapshot is loaded.";
    Stale 10 "stale" "Allowed on a replica without its primary.";
    ShownFirst 11 "skip_monitor" "MONITOR shows it before what it runs, not behind.";
    SkipSlowlog 12 "skip_slowlog" "Not kept by SLOWLOG.";
    Asking 13 "asking" "Allowed in a slot that is being imported.";
    Fast 14 "fast" "Takes constant or logarithmic time.";
    NoAuth 15 "no_auth" "Allowed before AUTH.";
    MayReplicate 16 "" "Reaches replicas although it changes no key.";
    NoAsyncLoading 17 "no_async_loading" "Refused while a snapshot is loaded beside the old data.";
    NoMulti 18 "no_multi" "Refused in MULTI.";
    AllowBusy 19 "allow_busy" "Allowed while a script is busy.";
    NoMandatoryKeys 20 "no_mandatory_keys" "Its keys may be absent.";
    Protected 21 "" "Must be enabled by `enable-debug-command`, or what else enables it.";
    Dangerous 22 "" "Not for every user: ACL's category of that name.";
    TouchesArbitraryKeys 23 "" "Keys that its words do not name.";
    AclAdmin 24 "" "In ACL's category @admin, although not flagged as such.";
    AllowSubscriber 25 "" "Allowed while the client subscribes, in RESP2 too.";
    PassesQueue 26 "" "Runs at once although a transaction is open, which queues all else.";
    RunsQueue 27 "" "Runs what a transaction has queued. Refused, it ends the transaction.";
    RunsOthers 28 "" "Runs other commands: each is journaled by itself, and what they have changed stays though it answers an error.";
    ScriptByText 29 "" "Runs the script that its first argument is.";
    ScriptBySha 30 "" "Runs the script whose SHA-1 its first argument is.";
    FunctionByName 41 "" "Calls the function of a library that its first argument names.";
    Saves 31 "" "Saves first, unless a word is NOSAVE.";
    BlocksByOption 32 "" "Waits only if it has the option BLOCK, in front of milliseconds.";
    BlocksForFirst 49 "" "Waits for the seconds that its first argument is; others that wait end with them.";
    NeedsConnection 33 "" "Changes the caller's connection, or leaves nobody to answer it.";
    ListsKeys 34 "" "Lists all keys there are, which who may only read may not.";
    Harmless 35 "" "For everybody, although its flags do not say that it reads.";
    SecretArguments 36 "" "All its arguments are secrets.";
    SecretLogin 37 "" "The two arguments behind the option AUTH are secrets.";
    SecretRules 42 "" "All behind its subcommand are secrets.";
    SecretSettings 38 "" "The values of some settings among its arguments are secrets.";
    ForReplicas 39 "" "Journaled for replicas alone: it changes nothing, but their clients are to hear of it.";
    TellsHealth 47 "" "Refused, as what changes keys is, while the disk fails: it is asked how the server is.";
    Streamed 48 "" "May stand in the stream of a server that is followed, although it changes nothing.";
    KeepsCaching 45 "" "Leaves what CLIENT CACHING said to the command behind it.";
    ForTests 46 "" "Asks the fixture. It is enabled by `enable-toril-command`.";
    SecretPassword 40 "" "The argument behind the option AUTH and two behind AUTH2 are secrets.";
}

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u64);

impl Flags {
    pub const fn new(flags: &[Flag]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < flags.len() {
            bits |= flags[at] as u64;
            at += 1;
        }
        Self(bits)
    }

    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag as u64 != 0
    }

    /// The same set with this flag, or without it.
    pub const fn with(self, flag: Flag, is_there: bool) -> Self {
        let others = self.0 & !(flag as u64);
        Self(if is_there { others | flag as u64 } else { others })
    }

    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether others must hear of it: replicas, and whoever waits for writes to cease.
    pub const fn may_write(self) -> bool {
        self.has(Flag::Write) || self.has(Flag::MayReplicate)
    }

    /// Whether it runs a script, whose calls are looked at one by one.
    pub const fn runs_script(self) -> bool {
        self.has(Flag::ScriptByText)
            || self.has(Flag::ScriptBySha)
            || self.has(Flag::FunctionByName)
    }
}

/// The family that a command belongs to: its ACL category and its group in COMMAND DOCS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    Generic,
    String,
    List,
    Set,
    Zset,
    Hash,
    Stream,
    Bitmap,
    HyperLogLog,
    Geo,
    Pubsub,
    Transaction,
    Scripting,
    Connection,
    Cluster,
    Server,
    /// Of the server's group, but about keys: FLUSHALL.
    Database,
    /// Of the server's group, but for everybody: COMMAND.
    Introspection,
}

impl Category {
    /// The name of the ACL category, without `@`.
    pub fn acl_name(self) -> Option<&'static str> {
        Some(match self {
            Category::Generic | Category::Database => "keyspace",
            Category::String => "string",
            Category::List => "list",
            Category::Set => "set",
            Category::Zset => "sortedset",
            Category::Hash => "hash",
            Category::Stream => "stream",
            Category::Bitmap => "bitmap",
            Category::HyperLogLog => "hyperloglog",
            Category::Geo => "geo",
            Category::Transaction => "transaction",
            Category::Scripting => "scripting",
            Category::Connection | Category::Introspection => "connection",
            // @pubsub follows from the flag, as it does in Redis.
            Category::Pubsub | Category::Cluster | Category::Server => return None,
        })
    }

    /// The name of the group in COMMAND DOCS.
    pub fn group(self) -> &'static str {
        match self {
            Category::Generic => "generic",
            Category::String => "string",
            Category::List => "list",
            Category::Set => "set",
            Category::Zset => "sorted-set",
            Category::Hash => "hash",
            Category::Stream => "stream",
            Category::Bitmap => "bitmap",
            Category::HyperLogLog => "hyperloglog",
            Category::Geo => "geo",
            Category::Pubsub => "pubsub",
            Category::Transaction => "transactions",
            Category::Scripting => "scripting",
            Category::Connection => "connection",
            Category::Cluster => "cluster",
            Category::Server | Category::Database | Category::Introspection => "server",
        }
    }
}

/// Which arguments are channels that ACL asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    None,
    First,
    All,
    /// All, and they are patterns.
    Patterns,
}

/// One command or subcommand. What each call looks at stands first, in one line of the cache.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Row {
    /// In lower case; a subcommand's own word only.
    pub name: &'static str,
    pub arity: Arity,
    pub flags: Flags,
    pub handler: Handler,
    /// The subcommands of a container such as CLIENT; else empty.
    pub subcommands: &'static [Row],
    pub keys: Keys,
    pub channels: Channels,
    pub since: &'static str,
    /// What follows its name, from which COMMAND DOCS has the arguments: see command/arguments.rs.
    pub syntax: &'static str,
    pub summary: &'static str,
    /// The families whose ACL categories it belongs to, where they are not its own's.
    pub acl_families: &'static [Category],
    /// What proxies and those who compare replies should know: COMMAND's words for it.
    pub tips: &'static [&'static str],
}

#[expect(clippy::too_many_arguments, reason = "a row of a table, read by column")]
pub const fn row(
    name: &'static str,
    since: &'static str,
    arity: Arity,
    keys: Keys,
    flags: &'static [Flag],
    handler: Handler,
    syntax: &'static str,
    summary: &'static str,
) -> Row {
    let flags = Flags::new(flags);
    let (subcommands, acl_families, tips): (&[Row], &[Category], &[&str]) = (&[], &[], &[]);
    Row {
        name,
        since,
        arity,
        keys,
        channels: Channels::None,
        flags,
        handler,
        syntax,
        summary,
        subcommands,
        acl_families,
        tips,
    }
}

/// COMMAND's tips. The first two say that the reply, or its order, is not given by the data; the
/// others where a proxy sends a request, and what it makes of the replies.
pub mod tip {
    pub const VARIES: &str = "nondeterministic_output";
    pub const ORDER_VARIES: &str = "nondeterministic_output_order";
    pub const ALL_NODES: &str = "request_policy:all_nodes";
    pub const ALL_SHARDS: &str = "request_policy:all_shards";
    pub const MULTI_SHARD: &str = "request_policy:multi_shard";
    pub const SPECIAL_REQUEST: &str = "request_policy:special";
    pub const ALL_SUCCEEDED: &str = "response_policy:all_succeeded";
    pub const ONE_SUCCEEDED: &str = "response_policy:one_succeeded";
    pub const SUM: &str = "response_policy:agg_sum";
    pub const MIN: &str = "response_policy:agg_min";
    pub const AND: &str = "response_policy:agg_logical_and";
    pub const SPECIAL_REPLY: &str = "response_policy:special";
}

/// Every category of ACL's, in Redis's order.
pub const ACL_CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Row {
    /// Whether it is nothing without a subcommand.
    pub fn is_container(&self) -> bool {
        !self.subcommands.is_empty() && self.arity == Arity::AtLeast(2)
    }

    /// A command that also has subcommands.
    pub const fn with_subcommands(mut self, subcommands: &'static [Row]) -> Self {
        self.subcommands = subcommands;
        self
    }

    pub const fn acl_families(mut self, families: &'static [Category]) -> Self {
        self.acl_families = families;
        self
    }

    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Adds to what it does.
    pub const fn with_flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = self.flags.union(Flags::new(flags));
        self
    }

    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }
}

/// A command that is only the first word of its subcommands.
pub const fn container(
    name: &'static str,
    since: &'static str,
    subcommands: &'static [Row],
    summary: &'static str,
) -> Row {
    let arity = Arity::AtLeast(2);
    let refuse: Handler = |_, _, _| Err(crate::proto::Error::Syntax);
    row(name, since, arity, Keys::none(), &[], refuse, "", summary).with_subcommands(subcommands)
}

/// The subcommand HELP, which every container has: it prints the container's rows.
pub const fn help(since: &'static str) -> Row {
    let summary = "Lists the subcommands.";
    let flags = &[Flag::Loading, Flag::Stale];
    row("help", since, Arity::Exactly(2), Keys::none(), flags, print_help, "", summary)
}

fn print_help(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let command = cx.engine.table.find(args.all()[0]).expect("dispatch found it").row;
    let name = command.name.to_ascii_uppercase();
    let mut lines =
        vec![format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")];
    for row in command.subcommands {
        lines.push(format!("{} {}", row.name.to_ascii_uppercase(), row.syntax).trim_end().into());
        lines.push(format!("    {}", row.summary));
    }
    reply.array(lines.len());
    for line in lines {
        reply.status(line);
    }
    Ok(())
}

/// The rows of one file in command/.
#[derive(Debug)]
pub struct Family {
    pub category: Category,
    pub rows: &'static [Row],
}

impl Family {
    pub const fn new(category: Category, rows: &'static [Row]) -> Self {
        Self { category, rows }
    }
}
