//! The complexity of each command, as COMMAND DOCS tells it: what its time grows with, in Redis's
//! own terms, by which people compare commands. `N`, `M` and the like are what the command's words
//! name: keys, elements, those that are answered.

use crate::engine::table::Found;

const SUBCOMMAND: &str = "Depends on the subcommand";

/// All but those that take the same time whatever there is.
const GROWING: &[(&str, &[&str])] = &[
    ("Depends on the memory in use", &["memory|malloc-stats", "memory|purge"]),
    ("Depends on the script", &["eval", "eval_ro", "evalsha", "evalsha_ro"]),
    (SUBCOMMAND, &["debug"]),
    ("Depends on what was queued", &["exec"]),
    ("O(1), with a count O(N)", &["spop", "srandmember"]),
    ("O(K) + O(M*log(N))", &["bzmpop", "zmpop"]),
    ("O(L + (N-K)log(N))", &["zdiff", "zdiffstore"]),
    ("O(M*log(N))", &["zrem"]),
    (
        "O(N)",
        &[
            "acl|users",
            "auth",
            "blpop",
            "brpop",
            "client|kill",
            "client|list",
            "client|unpause",
            "cluster|addslots",
            "cluster|addslotsrange",
            "cluster|delslots",
            "cluster|delslotsrange",
            "cluster|getkeysinslot",
            "cluster|keyslot",
            "cluster|links",
            "cluster|nodes",
            "cluster|replicas",
            "cluster|reset",
            "cluster|shards",
            "cluster|slaves",
            "cluster|slots",
            "command",
            "command|docs",
            "command|getkeys",
            "command|getkeysandflags",
            "command|info",
            "command|list",
            "config|get",
            "config|set",
            "copy",
            "del",
            "discard",
            "exists",
            "flushall",
            "flushdb",
            "getrange",
            "hdel",
            "hgetall",
            "hkeys",
            "hmget",
            "hmset",
            "hrandfield",
            "hvals",
            "keys",
            "latency|histogram",
            "lindex",
            "linsert",
            "lpop",
            "lpos",
            "lset",
            "ltrim",
            "memory|usage",
            "mget",
            "module|list",
            "mset",
            "msetnx",
            "psubscribe",
            "pubsub|channels",
            "pubsub|numsub",
            "pubsub|shardchannels",
            "pubsub|shardnumsub",
            "punsubscribe",
            "rpop",
            "save",
            "script|exists",
            "script|flush",
            "script|load",
            "sdiff",
            "sdiffstore",
            "shutdown",
            "slowlog|get",
            "slowlog|reset",
            "smembers",
            "smismember",
            "spublish",
            "srem",
            "ssubscribe",
            "subscribe",
            "substr",
            "sunion",
            "sunionstore",
            "sunsubscribe",
            "swapdb",
            "touch",
            "unsubscribe",
            "xrange",
            "xrevrange",
            "xtrim",
            "zmscore",
            "zrandmember",
        ],
    ),
    ("O(N)+O(M log(M))", &["zunionstore"]),
    ("O(N)+O(M*log(M))", &["zunion"]),
    ("O(N*K)", &["zintercard"]),
    ("O(N*K)+O(M*log(M))", &["zinter", "zinterstore"]),
    ("O(N*M)", &["lcs", "sinter", "sintercard", "sinterstore"]),
    ("O(N+M)", &["blmpop", "lmpop", "lrem", "publish"]),
    ("O(N+M*log(M))", &["sort", "sort_ro"]),
    ("O(S+N)", &["lrange"]),
    ("O(log N)", &["client|unblock"]),
    (
        "O(log(N))",
        &["bzpopmax", "bzpopmin", "zadd", "zcount", "zincrby", "zlexcount", "zrank", "zrevrank"],
    ),
    ("O(log(N)*M)", &["zpopmax", "zpopmin"]),
    (
        "O(log(N)+M)",
        &[
            "zrange",
            "zrangebylex",
            "zrangebyscore",
            "zrangestore",
            "zremrangebylex",
            "zremrangebyrank",
            "zremrangebyscore",
            "zrevrange",
            "zrevrangebylex",
            "zrevrangebyscore",
        ],
    ),
];

/// Nobody has said.
const UNTOLD: &[&str] = &["lolwut", "monitor", "xread"];

/// None where Redis tells of none.
pub fn of(found: &Found) -> Option<&'static str> {
    let name = found.full_name();
    if UNTOLD.contains(&&*name) {
        return None;
    }
    if found.row.is_container() {
        return Some(SUBCOMMAND);
    }
    let told = GROWING.iter().find(|(_, names)| names.contains(&&*name));
    Some(told.map_or("O(1)", |(complexity, _)| complexity))
}
