//! The history of each command, as COMMAND DOCS tells it: which versions of Redis extended it, and
//! what replaces it.

use crate::engine::table::Found;

/// A version, and what came with it.
pub type Note = (&'static str, &'static str);

const CHANGES: &[(&[&str], &[Note])] = &[
    (
        &["acl|getuser"],
        &[
            ("6.2.0", "Tells patterns of channels."),
            ("7.0.0", "Tells selectors; keys and channels are told as rules."),
        ],
    ),
    (&["acl|log"], &[("7.2.0", "Tells the entry's id, and when it was made and changed.")]),
    (
        &["acl|setuser"],
        &[
            ("6.2.0", "Added patterns of channels."),
            ("7.0.0", "Added selectors, and rights to read or write keys."),
        ],
    ),
    (&["auth"], &[("6.0.0", "Added the username.")]),
    (&["bgsave"], &[("3.2.2", "Added `SCHEDULE`.")]),
    (&["bitcount", "bitpos"], &[("7.0.0", "Added `BYTE` and `BIT`.")]),
    (
        &["blpop", "brpop", "brpoplpush", "bzpopmax", "bzpopmin"],
        &[("6.0.0", "The timeout may have a fraction.")],
    ),
    (
        &["client|kill"],
        &[
            ("2.8.12", "Added filters."),
            ("2.8.12", "Added `ID`."),
            ("3.2.0", "Added `TYPE MASTER`."),
            ("5.0.0", "Added `TYPE REPLICA`, the new name of `SLAVE`."),
            ("6.2.0", "Added `LADDR`."),
            ("7.4.0", "Added `MAXAGE`."),
        ],
    ),
    (
        &["client|list"],
        &[
            ("2.8.12", "Tells `id`."),
            ("5.0.0", "Added `TYPE`."),
            ("6.0.0", "Tells `user`."),
            ("6.2.0", "Tells `argv-mem`, `tot-mem`, `laddr` and `redir`; added `ID`."),
            ("7.0.0", "Tells `resp`, `multi-mem`, `rbs` and `rbp`."),
            ("7.0.3", "Tells `ssub`."),
        ],
    ),
    (&["client|pause"], &[("6.2.0", "Added `WRITE` and `ALL`.")]),
    (&["cluster|meet"], &[("4.0.0", "Added the port of the cluster's bus.")]),
    (
        &["cluster|slots"],
        &[("4.0.0", "Tells the nodes' ids."), ("7.0.0", "Tells more of the nodes' addresses.")],
    ),
    (&["command|info"], &[("7.0.0", "Without a name it tells of all commands.")]),
    (&["config|get", "config|set"], &[("7.0.0", "Takes several parameters.")]),
    (&["exists"], &[("3.0.3", "Takes several keys.")]),
    (
        &["expire", "expireat", "pexpire", "pexpireat"],
        &[("7.0.0", "Added `NX`, `XX`, `GT` and `LT`.")],
    ),
    (&["flushall", "flushdb"], &[("4.0.0", "Added `ASYNC`."), ("6.2.0", "Added `SYNC`.")]),
    (&["geoadd"], &[("6.2.0", "Added `CH`, `NX` and `XX`.")]),
    (
        &["georadius", "georadius_ro", "georadiusbymember", "georadiusbymember_ro"],
        &[("6.2.0", "Added `ANY`."), ("7.0.0", "Units may be in upper case.")],
    ),
    (&["geosearch", "geosearchstore"], &[("7.0.0", "Units may be in upper case.")]),
    (&["hdel"], &[("2.4.0", "Takes several fields.")]),
    (&["hello"], &[("6.2.0", "The version may be absent.")]),
    (&["hset"], &[("4.0.0", "Takes several fields with their values.")]),
    (&["info"], &[("7.0.0", "Takes several sections.")]),
    (&["lpop", "rpop"], &[("6.2.0", "Added the count.")]),
    (&["lpush", "rpush"], &[("2.4.0", "Takes several elements.")]),
    (&["lpushx", "rpushx"], &[("4.0.0", "Takes several elements.")]),
    (
        &["migrate"],
        &[
            ("3.0.0", "Added `COPY` and `REPLACE`."),
            ("3.0.6", "Added `KEYS`."),
            ("4.0.7", "Added `AUTH`."),
            ("6.0.0", "Added `AUTH2`."),
        ],
    ),
    (&["pttl", "ttl"], &[("2.8.0", "Answers -2 if the key does not exist.")]),
    (&["renamenx"], &[("3.2.0", "Both names may be the same.")]),
    (
        &["restore", "restore-asking"],
        &[
            ("3.0.0", "Added `REPLACE`."),
            ("5.0.0", "Added `ABSTTL`."),
            ("5.0.0", "Added `IDLETIME` and `FREQ`."),
        ],
    ),
    (&["sadd", "srem", "zrem"], &[("2.4.0", "Takes several members.")]),
    (&["scan"], &[("6.0.0", "Added `TYPE`.")]),
    (&["script|flush"], &[("6.2.0", "Added `ASYNC` and `SYNC`.")]),
    (
        &["set"],
        &[
            ("2.6.12", "Added `EX`, `PX`, `NX` and `XX`."),
            ("6.0.0", "Added `KEEPTTL`."),
            ("6.2.0", "Added `GET`, `EXAT` and `PXAT`."),
            ("7.0.0", "`NX` and `GET` go together."),
        ],
    ),
    (&["shutdown"], &[("7.0.0", "Added `NOW`, `FORCE` and `ABORT`.")]),
    (&["slowlog|get"], &[("4.0.0", "Tells the client's address and name.")]),
    (&["spop"], &[("3.2.0", "Added the count.")]),
    (&["srandmember"], &[("2.6.0", "Added the count.")]),
    (
        &["xadd"],
        &[
            ("6.2.0", "Added `NOMKSTREAM`, `MINID` and `LIMIT`."),
            ("7.0.0", "Added ids `<ms>-*`."),
            ("8.2.0", "Added `KEEPREF`, `DELREF` and `ACKED`."),
        ],
    ),
    (&["xautoclaim"], &[("7.0.0", "Tells which entries were deleted.")]),
    (&["xgroup|create", "xgroup|setid"], &[("7.0.0", "Added `ENTRIESREAD`.")]),
    (&["xinfo|consumers"], &[("7.2.0", "Tells `inactive`; `idle` means something else.")]),
    (&["xinfo|groups"], &[("7.0.0", "Tells `entries-read` and `lag`.")]),
    (
        &["xinfo|stream"],
        &[
            ("6.0.0", "Added `FULL`."),
            (
                "7.0.0",
                "Tells `max-deleted-entry-id`, `entries-added`, `recorded-first-entry-id`, \
                 `entries-read` and `lag`.",
            ),
            ("7.2.0", "Tells `active-time`; `seen-time` means something else."),
        ],
    ),
    (&["xpending"], &[("6.2.0", "Added `IDLE` and exclusive ends.")]),
    (&["xrange", "xrevrange"], &[("6.2.0", "Added exclusive ends.")]),
    (&["xsetid"], &[("7.0.0", "Added `ENTRIESADDED` and `MAXDELETEDID`.")]),
    (
        &["xtrim"],
        &[
            ("6.2.0", "Added `MINID` and `LIMIT`."),
            ("8.2.0", "Added `KEEPREF`, `DELREF` and `ACKED`."),
        ],
    ),
    (
        &["zadd"],
        &[
            ("2.4.0", "Takes several members."),
            ("3.0.2", "Added `XX`, `NX`, `CH` and `INCR`."),
            ("6.2.0", "Added `GT` and `LT`."),
        ],
    ),
    (&["zrange"], &[("6.2.0", "Added `REV`, `BYSCORE`, `BYLEX` and `LIMIT`.")]),
    (&["zrangebyscore"], &[("2.0.0", "Added `WITHSCORES`.")]),
    (&["zrank", "zrevrank"], &[("7.2.0", "Added `WITHSCORE`.")]),
    (&["zrevrangebyscore"], &[("2.1.6", "Added exclusive ends.")]),
];

/// Commands that one should no longer use: since when, and what instead.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("brpoplpush", "6.2.0", "`BLMOVE` with `RIGHT` and `LEFT`"),
    ("cluster|slaves", "5.0.0", "`CLUSTER REPLICAS`"),
    ("cluster|slots", "7.0.0", "`CLUSTER SHARDS`"),
    ("georadius", "6.2.0", "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS`"),
    ("georadius_ro", "6.2.0", "`GEOSEARCH` with `BYRADIUS`"),
    (
        "georadiusbymember",
        "6.2.0",
        "`GEOSEARCH` or `GEOSEARCHSTORE` with `BYRADIUS` and `FROMMEMBER`",
    ),
    ("georadiusbymember_ro", "6.2.0", "`GEOSEARCH` with `BYRADIUS` and `FROMMEMBER`"),
    ("getset", "6.2.0", "`SET` with `GET`"),
    ("hmset", "4.0.0", "`HSET` with several fields"),
    ("psetex", "2.6.12", "`SET` with `PX`"),
    ("quit", "7.2.0", "closing the connection"),
    ("rpoplpush", "6.2.0", "`LMOVE` with `RIGHT` and `LEFT`"),
    ("setex", "2.6.12", "`SET` with `EX`"),
    ("setnx", "2.6.12", "`SET` with `NX`"),
    ("slaveof", "5.0.0", "`REPLICAOF`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with `BYLEX`"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with `BYSCORE`"),
    ("zrevrange", "6.2.0", "`ZRANGE` with `REV`"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with `REV` and `BYLEX`"),
    ("zrevrangebyscore", "6.2.0", "`ZRANGE` with `REV` and `BYSCORE`"),
];

/// Commands for those who work on the server itself.
const OF_THE_SYSTEM: &[&str] = &["debug", "pfdebug", "pfselftest", "replconf", "restore-asking"];

/// From the oldest to the youngest; none where a command is as it came.
pub fn of(found: &Found) -> &'static [Note] {
    let name = found.full_name();
    let changes = CHANGES.iter().find(|(names, _)| names.contains(&&*name));
    changes.map_or(&[], |(_, changes)| changes)
}

/// Since when a command is deprecated, and what replaces it.
pub fn deprecation(found: &Found) -> Option<(&'static str, &'static str)> {
    let name = found.full_name();
    let deprecated = DEPRECATED.iter().find(|it| it.0 == name);
    deprecated.map(|(_, since, instead)| (*since, *instead))
}

/// COMMAND DOCS' flag, if a command has one.
pub fn doc_flag(found: &Found) -> Option<&'static str> {
    if OF_THE_SYSTEM.contains(&&*found.full_name()) {
        return Some("syscmd");
    }
    deprecation(found).map(|_| "deprecated")
}
