//! `provider`: what a hosted service, another server or an older Redis lacks, in one table. A
//! profile only forbids, and tells of itself what clients decide by; what a service does worse is
//! not imitated.

use super::{Check, Level, Policy, Provider, REDIS_VERSION};

/// A version of Redis, as far as it brings commands: `7.0`.
pub type Version = (u32, u32);

/// What one provider lacks, and what it says of itself.
#[derive(Debug)]
pub struct Profile {
    provider: Provider,
    /// Commands that it does not know. A container stands for all its subcommands.
    lacks: &'static [&'static str],
    /// Containers of which it knows nothing but these.
    only: &'static [&'static str],
    /// The newest Redis whose commands and options it knows.
    up_to: Option<Version>,
    /// What it refuses: the checks that are on unless somebody says otherwise.
    checks: &'static [(Check, Level)],
    /// Its `maxmemory-policy` where nobody has set one.
    pub policy: Option<Policy>,
    /// Nobody can have `noeviction` there.
    pub has_no_noeviction: bool,
    /// The version of Redis that INFO and HELLO tell.
    pub version: &'static str,
    /// What INFO tells of the server beside it.
    pub info: &'static [(&'static str, &'static str)],
    /// COMMAND answers nothing.
    pub hides_commands: bool,
    /// Refuses in the words of Redis 6.
    pub has_old_texts: bool,
    /// Keys that have the tag in braces of a declared one count as declared.
    pub declares_by_tag: bool,
    /// One pays for each request, so that they are counted.
    pub counts_requests: bool,
    /// What it says of a script that it does not have.
    pub no_script: Option<&'static str>,
}

/// Redis itself.
const PLAIN: Profile = Profile {
    provider: Provider::None,
    lacks: &[],
    only: &[],
    up_to: None,
    checks: &[],
    policy: None,
    has_no_noeviction: false,
    version: REDIS_VERSION,
    info: &[],
    hides_commands: false,
    has_old_texts: false,
    declares_by_tag: false,
    counts_requests: false,
    no_script: None,
};

const FORBIDS: (Check, Level) = (Check::Commands, Level::Error);
const IS_CLUSTER: (Check, Level) = (Check::CrossSlot, Level::Error);

/// docs.aws.amazon.com/AmazonElastiCache, "Supported and restricted commands"
/// (ClientConfig.RestrictedCommands). Its policy is volatile-lru, and BullMQ reads it from INFO
/// where CONFIG is refused: bullmq#1437, #2215, #2737.
const ELASTICACHE: &[&str] = &[
    "bgrewriteaof",
    "bgsave",
    "config",
    "debug",
    "migrate",
    "replicaof",
    "save",
    "slaveof",
    "shutdown",
    "sync",
];

/// docs.aws.amazon.com/memorydb, "restrictedcommands".
const MEMORYDB: &[&str] = &[
    "acl|deluser",
    "acl|load",
    "acl|save",
    "acl|setuser",
    "bgrewriteaof",
    "bgsave",
    "cluster|addslots",
    "cluster|delslots",
    "cluster|setslot",
    "config",
    "debug",
    "migrate",
    "module",
    "psync",
    "replicaof",
    "save",
    "shutdown",
    "slaveof",
    "sync",
];

/// cloud.google.com/memorystore/docs/redis/product-constraints, "Blocked Redis commands". CLIENT is
/// not among them here: see `MEMORYSTORE_CLIENT`.
const MEMORYSTORE: &[&str] = &[
    "acl",
    "bgrewriteaof",
    "bgsave",
    "cluster",
    "command",
    "config",
    "debug",
    "lastsave",
    "migrate",
    "monitor",
    "object",
    "replicaof",
    "save",
    "shutdown",
];

/// docs.cloud.google.com/memorystore/docs/redis/supported-commands: of CLIENT, these from Redis 6
/// on. On Redis 5 it is unknown: bullmq#187, bull#1262.
const MEMORYSTORE_CLIENT: &[&str] = &[
    "client|caching",
    "client|getname",
    "client|getredir",
    "client|help",
    "client|id",
    "client|info",
    "client|kill",
    "client|list",
    "client|no-touch",
    "client|reply",
    "client|setname",
    "client|tracking",
    "client|trackinginfo",
];

/// learn.microsoft.com, "best-practices-client-libraries": the OSS clustering policy, whose nodes
/// only the service manages. Its Enterprise policy allows DEL, EXISTS, MGET, MSET, TOUCH and UNLINK
/// across slots: for it, `crossslot=warn`.
const AZURE: &[&str] = &[
    "cluster|addslots",
    "cluster|addslotsrange",
    "cluster|bumpepoch",
    "cluster|delslots",
    "cluster|delslotsrange",
    "cluster|failover",
    "cluster|flushslots",
    "cluster|forget",
    "cluster|meet",
    "cluster|replicate",
    "cluster|reset",
    "cluster|saveconfig",
    "cluster|set-config-epoch",
    "cluster|setslot",
];

/// docs.oracle.com, OCI Cache, "restrictedcommands".
macro_rules! oci {
    ($($more:literal),*) => {
        &[
            "acl", "bgrewriteaof", "bgsave", "cluster", "config|set", "debug", "migrate", "module",
            "psync", "replicaof", "save", "shutdown", "sync", $($more),*
        ]
    };
}

/// All of them. Of those that are listed with no source above:
/// - `elasticache-serverless` is a cluster always, and its policy cannot be chosen: AWS's page
///   "BestPractices" (cluster mode), bullmq#1827.
/// - `upstash` says that it is compatible with 8.2, and its COMMAND answers an empty array:
///   upstash.com/docs/redis, "rediscompatibility" and "commands/server/command"; redis-js#340.
/// - `redis-6.2` has what COMMAND DOCS of Redis 7.0 does not call newer. A block of 1 ms is none
///   there, but one without end (bullmq#2466), which is not imitated.
/// - `valkey-8` began as Redis 7.2, so that it has no TTLs of hash fields, and says less of a
///   script that it does not have: valkey#617, qless#300.
/// - `dragonfly`: dragonflydb.io/docs, "integrations/bullmq" and "managing-dragonfly/scripting".
const PROFILES: &[Profile] = &[
    PLAIN,
    Profile {
        provider: Provider::ElastiCache,
        lacks: ELASTICACHE,
        checks: &[FORBIDS],
        policy: Some(Policy::VolatileLru),
        ..PLAIN
    },
    Profile {
        provider: Provider::ElastiCacheServerless,
        lacks: ELASTICACHE,
        checks: &[FORBIDS, IS_CLUSTER],
        policy: Some(Policy::VolatileLru),
        has_no_noeviction: true,
        ..PLAIN
    },
    Profile {
        provider: Provider::MemoryDb,
        lacks: MEMORYDB,
        checks: &[FORBIDS, IS_CLUSTER],
        ..PLAIN
    },
    Profile {
        provider: Provider::Memorystore,
        lacks: MEMORYSTORE,
        only: MEMORYSTORE_CLIENT,
        checks: &[FORBIDS],
        ..PLAIN
    },
    Profile {
        provider: Provider::Upstash,
        version: "8.2.0",
        hides_commands: true,
        counts_requests: true,
        ..PLAIN
    },
    Profile { provider: Provider::Azure, lacks: AZURE, checks: &[FORBIDS, IS_CLUSTER], ..PLAIN },
    Profile { provider: Provider::Oci, lacks: oci!(), checks: &[FORBIDS], ..PLAIN },
    Profile {
        provider: Provider::OciSharded,
        lacks: oci!(
            "eval",
            "eval_ro",
            "evalsha",
            "evalsha_ro",
            "fcall",
            "fcall_ro",
            "function",
            "script"
        ),
        checks: &[FORBIDS, IS_CLUSTER],
        ..PLAIN
    },
    Profile {
        provider: Provider::Redis62,
        up_to: Some((6, 2)),
        checks: &[FORBIDS],
        version: "6.2.14",
        has_old_texts: true,
        ..PLAIN
    },
    Profile {
        provider: Provider::Valkey8,
        up_to: Some((7, 2)),
        checks: &[FORBIDS],
        version: "7.2.4",
        info: &[("server_name", "valkey"), ("valkey_version", "8.1.0")],
        no_script: Some("NOSCRIPT No matching script."),
        ..PLAIN
    },
    Profile {
        provider: Provider::Dragonfly,
        checks: &[(Check::Undeclared, Level::Error)],
        declares_by_tag: true,
        ..PLAIN
    },
];

impl Provider {
    /// What it lacks.
    pub fn profile(self) -> &'static Profile {
        let profile = &PROFILES[self as usize];
        debug_assert_eq!(profile.provider, self);
        profile
    }
}

impl Profile {
    /// The level of a check where nobody asks for another; None if the provider has no say.
    pub fn level(&self, check: Check) -> Option<Level> {
        self.checks.iter().find(|(its, _)| *its == check).map(|(_, level)| *level)
    }

    /// Whether it does not know a command, by its whole name (`client|list`) and the version of
    /// Redis that brought it. A container is known if any of its subcommands is.
    pub fn lacks(&self, name: &str, since: &str) -> bool {
        let container = name.split('|').next().unwrap_or(name);
        let is_sub = container.len() < name.len();
        let is_of_few =
            is_sub && self.only.iter().any(|it| it.split('|').next() == Some(container));
        self.lacks.contains(&name)
            || self.lacks.contains(&container)
            || is_of_few && !self.only.contains(&name)
            || self.is_newer(since)
    }

    /// Whether what came with this version of Redis came too late.
    pub fn is_newer(&self, since: &str) -> bool {
        self.up_to.is_some_and(|up_to| version(since) > up_to)
    }
}

fn version(text: &str) -> Version {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_provider_has_its_profile() {
        assert_eq!(PROFILES.len(), Provider::WORDS.len());
        for word in Provider::WORDS {
            let provider = Provider::from_word(word).unwrap();
            assert_eq!(provider.profile().provider, provider);
        }
    }

    #[test]
    fn what_is_lacking() {
        let check = |provider: Provider, name: &str, since: &str, expect: bool| {
            assert_eq!(provider.profile().lacks(name, since), expect, "{provider:?} {name}");
        };
        check(Provider::None, "config|get", "2.0.0", false);
        check(Provider::ElastiCache, "config|get", "2.0.0", true);
        check(Provider::ElastiCache, "config", "2.0.0", true);
        check(Provider::ElastiCache, "evalsha", "2.6.0", false);
        check(Provider::Oci, "config|get", "2.0.0", false);
        check(Provider::Oci, "config|set", "2.0.0", true);
        check(Provider::Oci, "eval", "2.6.0", false);
        check(Provider::OciSharded, "eval", "2.6.0", true);
        check(Provider::Memorystore, "client|list", "2.4.0", false);
        check(Provider::Memorystore, "client|pause", "3.0.0", true);
        check(Provider::Memorystore, "client", "2.4.0", false);
        check(Provider::Redis62, "lmpop", "7.0.0", true);
        check(Provider::Redis62, "client|no-evict", "7.0.0", true);
        check(Provider::Redis62, "getdel", "6.2.0", false);
        check(Provider::Valkey8, "hexpire", "7.4.0", true);
        check(Provider::Valkey8, "zrank", "2.0.0", false);
        check(Provider::Valkey8, "lmpop", "7.0.0", false);
    }
}
