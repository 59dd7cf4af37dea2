//! The arguments of a command, as COMMAND DOCS tells them: a tree that is read from the row's
//! syntax when somebody asks. A row writes
//!
//! - `count` for a value and `LEFT` for a word taken as it stands,
//! - `LIMIT offset count` for a word and all that follows it up to the end of what encloses both,
//! - `[...]` round what may be absent and `<...>` round what belongs together,
//! - `LEFT|RIGHT`, or ` | ` between longer ones, for one of several,
//! - `key [key ...]`, with all words again, for what may be repeated, and `[...]...` for what may
//!   also be absent.
//!
//! What a syntax does not say stands in the tables here, by word.

use crate::engine::table::Found;
use crate::proto::Reply;
use std::borrow::Cow;

/// The kinds of values, by word; all others are strings.
const KINDS: &[(&str, &[&str])] = &[
    ("double", &["height", "latitude", "longitude", "max", "min", "radius", "score", "width"]),
    (
        "integer",
        &[
            "client-id",
            "cluster-bus-port",
            "config-epoch",
            "count",
            "cursor",
            "db",
            "decrement",
            "destination-db",
            "end",
            "end-slot",
            "entries-added",
            "entries-read",
            "frequency",
            "increment",
            "index",
            "index1",
            "index2",
            "len",
            "limit",
            "maxage",
            "milliseconds",
            "min-idle-time",
            "min-match-len",
            "ms",
            "num-matches",
            "numids",
            "numfields",
            "numkeys",
            "numlocal",
            "numreplicas",
            "offset",
            "port",
            "protover",
            "rank",
            "seconds",
            "slot",
            "start",
            "start-slot",
            "stop",
            "timeout",
            "ttl",
            "version",
            "weight",
        ],
    ),
    (
        KEY,
        &[
            "destination",
            "destkey",
            "dst",
            "key",
            "key1",
            "key2",
            "newkey",
            "source",
            "sourcekey",
            "src",
        ],
    ),
    ("pattern", &["pattern"]),
    ("unix-time", &["unix-time-milliseconds", "unix-time-seconds"]),
];

/// Words that are of another kind in some commands.
const KINDS_OF_SOME: &[(&str, &[&str], &[&str])] = &[
    ("double", &["hincrbyfloat", "incrbyfloat"], &["increment"]),
    (
        "double",
        &["blmove", "blmpop", "blpop", "brpop", "brpoplpush", "bzmpop", "bzpopmax", "bzpopmin"],
        &["timeout"],
    ),
    ("integer", &["acl|genpass"], &["bits"]),
    ("integer", &["bitfield", "setbit"], &["value"]),
    ("integer", &["bitpos"], &["bit"]),
    (STRING, &["xautoclaim", "xclaim"], &["min-idle-time"]),
    (
        STRING,
        &["xautoclaim", "xpending", "xrange", "xrevrange", "zrange"],
        &["end", "start", "stop"],
    ),
    (
        STRING,
        &["zlexcount", "zrangebylex", "zrangestore", "zremrangebylex", "zrevrangebylex"],
        &["max", "min"],
    ),
];

/// Words taken as they stand that are not called by themselves.
const WORDS: &[(&str, &str)] = &[
    ("$", "new-id"),
    ("*", "auto-id"),
    (EMPTY_TEXT, "empty-string"),
    ("=", "equal"),
    ("ALPHA", "sorting"),
    ("CH", "change"),
    ("INCR", "increment"),
    ("~", "approximately"),
];

/// Values that are called otherwise behind a certain word.
const VALUES: &[(&str, &str, &str)] = &[
    ("ADDR", "ip:port", "addr"),
    ("AUTH", "password", "auth"),
    ("BY", "pattern", BY_PATTERN),
    ("ENTRIESREAD", "entries-read", "entriesread"),
    ("GET", "pattern", GET_PATTERN),
    ("IMPORTING", "node-id", "importing"),
    ("KEYS", "key", "keys"),
    ("LADDR", "ip:port", "laddr"),
    ("MIGRATING", "node-id", "migrating"),
    ("NODE", "node-id", "node"),
    ("STORE", "key", "storekey"),
    ("STOREDIST", "key", "storedistkey"),
];

/// The names of several that follow a word, where they are not called as it is.
const BLOCKS: &[(&str, &str)] = &[
    ("GET", "get-block"),
    ("INCRBY", "incrby-block"),
    ("OVERFLOW", "overflow-block"),
    ("SET", "set-block"),
    ("TO", "target"),
    // XREADGROUP's: its first part has that name.
    ("GROUP", "group-block"),
];

/// The names of what consists of several, by those of its parts: the first that they start with.
const GROUPS: &[(&str, &str)] = &[
    ("and|", "operation"),
    ("asc|", "order"),
    ("async|", "flush-type"),
    ("flush|append|replace", "policy"),
    ("auth|", "authentication"),
    ("auto-id|", "id-selector"),
    ("before|", "where"),
    ("byscore|", "sortby"),
    ("byte|", "unit"),
    ("circle|", "by"),
    ("client-id|", "new-format"),
    ("count|reset", "operation"),
    ("count-any", "count-block"),
    ("count-with", "options"),
    ("encoding-", "get-block"),
    ("end-unit", "end-unit-block"),
    ("equal|", "operator"),
    ("field-value", "data"),
    ("force|", "options"),
    ("full-", "full-block"),
    ("get-block|", "operation"),
    ("gt|", "comparison"),
    ("hard|", "reset-type"),
    ("host-port|", "args"),
    ("id|new-id", "id-selector"),
    ("importing|", "subcommand"),
    ("key-value", "data"),
    ("keepref|", "condition"),
    ("key|", "key-selector"),
    ("left|", "where"),
    ("libname|", "attr"),
    ("longitude-", "data"),
    ("maxlen|", "strategy"),
    ("min-idle-time-", "filters"),
    ("member|", "from"),
    ("min|", "where"),
    ("m|", "unit"),
    ("nosave|", "save-selector"),
    ("nx|", "condition"),
    ("on|off|skip", "action"),
    ("on|off", "enabled"),
    ("overflow-block-", "write"),
    ("parameter-value", "data"),
    ("protover-", "arguments"),
    ("radius-", "circle"),
    ("score-member", "data"),
    ("seconds|", "expiration"),
    ("set-block|", "write-operation"),
    ("start-end-unit", "range"),
    ("start-slot-", "range"),
    ("storekey|", "store"),
    ("strategy-", "trim"),
    ("timeout|", "unblock-type"),
    ("width-", "box"),
    ("write|", "mode"),
    ("yes|no", "mode"),
    ("yes|sync|", "mode"),
    (OLD_FORMAT, "filter"),
];

/// Such names that are others in some commands.
const GROUPS_OF_SOME: &[(&str, &str, &str)] = &[("client|tracking", "enabled", "status")];

/// Arguments that are younger than their command.
const SINCE: &[(&str, &[&str], &[&str])] = &[
    ("2.0.0", &["zrangebyscore"], &["withscores"]),
    ("2.6.0", &["srandmember"], &["count"]),
    ("2.6.12", &["set"], &["condition", "milliseconds", "seconds"]),
    ("2.8.12", &["client|kill"], &["client-id", "client-type"]),
    ("3.0.0", &["migrate"], &["copy", "replace"]),
    ("3.0.0", &["restore", "restore-asking"], &["replace"]),
    ("3.0.2", &["zadd"], &["change", "condition", "increment"]),
    ("3.0.6", &["migrate"], &["keys"]),
    ("3.2.0", &["client|kill"], &["master"]),
    ("3.2.0", &["spop"], &["count"]),
    ("3.2.2", &["bgsave"], &["schedule"]),
    ("4.0.0", &["cluster|meet"], &["cluster-bus-port"]),
    ("4.0.0", &["flushall", "flushdb"], &["async"]),
    ("4.0.7", &["migrate"], &["auth"]),
    ("5.0.0", &["client|kill"], &["replica"]),
    ("5.0.0", &["client|list"], &["client-type"]),
    ("5.0.0", &["restore", "restore-asking"], &["absttl", "frequency", "seconds"]),
    ("6.0.0", &["auth"], &["username"]),
    ("6.0.0", &["migrate"], &["auth2"]),
    ("6.0.0", &["scan"], &["type"]),
    ("6.0.0", &["set"], &["keepttl"]),
    ("6.2.0", &["client|kill"], &["laddr"]),
    ("6.2.0", &["client|list"], &["client-id"]),
    ("6.2.0", &["client|pause"], &["mode"]),
    ("6.2.0", &["flushall", "flushdb"], &["sync"]),
    ("6.2.0", &["geoadd"], &["change", "condition"]),
    ("6.2.0", &["georadius", "georadius_ro"], &["any"]),
    ("6.2.0", &["lpop", "rpop"], &["count"]),
    ("6.2.0", &["script|flush"], &["flush-type"]),
    ("6.2.0", &["set"], &["get", "unix-time-milliseconds", "unix-time-seconds"]),
    ("6.2.0", &["xadd", "xtrim"], &["count", "minid", "nomkstream"]),
    ("6.2.0", &["zadd"], &["comparison"]),
    ("6.2.0", &["zrange"], &["limit", "rev", "sortby"]),
    ("6.2.0", &["xpending"], &["min-idle-time"]),
    ("7.0.0", &["bitcount", "bitpos"], &["unit"]),
    ("7.0.0", &["expire", "expireat", "pexpire", "pexpireat"], &["condition"]),
    ("7.0.0", &["shutdown"], &["abort", "force", "now"]),
    ("7.0.0", &["xsetid"], &["entries-added", "max-deleted-id"]),
    ("7.4.0", &["client|kill"], &["maxage"]),
];

const BLOCK: &str = "block";
const KEY: &str = "key";
const ONEOF: &str = "oneof";
const PURE_TOKEN: &str = "pure-token";
const STRING: &str = "string";

/// SORT's patterns name keys by one specification, which stands behind its key's.
const BY_PATTERN: &str = "by-pattern";
const GET_PATTERN: &str = "get-pattern";
const PATTERN_SPEC: usize = 1;

/// How a syntax writes a word of no letters.
const EMPTY_TEXT: &str = "\"\"";

/// CLIENT KILL's lone address, which is deprecated since OLD_FORMAT_UNTIL.
const OLD_FORMAT: &str = "old-format";
const OLD_FORMAT_UNTIL: &str = "2.8.12";

/// One argument, or several that belong together.
pub struct Argument {
    name: Cow<'static, str>,
    kind: &'static str,
    /// How a syntax shows it, where it is not by its name.
    word: Option<&'static str>,
    key_spec: Option<usize>,
    token: Option<&'static str>,
    since: Option<&'static str>,
    is_optional: bool,
    is_multiple: bool,
    /// Whether its token is repeated with it.
    repeats_token: bool,
    parts: Vec<Argument>,
}

impl Argument {
    fn new(name: impl Into<Cow<'static, str>>, kind: &'static str) -> Self {
        Self {
            name: name.into(),
            kind,
            word: None,
            key_spec: None,
            token: None,
            since: None,
            is_optional: false,
            is_multiple: false,
            repeats_token: false,
            parts: Vec::new(),
        }
    }

    fn pure_token(token: &'static str) -> Self {
        let name = WORDS.iter().find(|(word, _)| *word == token);
        let name = name.map_or_else(|| token.to_ascii_lowercase().into(), |it| Cow::from(it.1));
        let token = if token == EMPTY_TEXT { "" } else { token };
        Self { token: Some(token), ..Self::new(name, PURE_TOKEN) }
    }

    fn group(kind: &'static str, parts: Vec<Argument>) -> Self {
        let names: Vec<&str> = parts.iter().map(|part| &*part.name).collect();
        let names = names.join(if kind == ONEOF { "|" } else { "-" });
        let name = GROUPS.iter().find(|(start, _)| names.starts_with(start));
        let name = name.map_or_else(|| names.into(), |(_, name)| Cow::from(*name));
        Self { parts, ..Self::new(name, kind) }
    }

    fn has_parts(&self) -> bool {
        matches!(self.kind, BLOCK | ONEOF)
    }

    fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.is_optional, "optional"),
            (self.is_multiple, "multiple"),
            (self.repeats_token, "multiple_token"),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect()
    }

    fn describe(&self, reply: &mut Reply) {
        let shown = (!self.has_parts()).then(|| self.word.unwrap_or(&self.name));
        let deprecated = (self.name == OLD_FORMAT).then_some(OLD_FORMAT_UNTIL);
        let flags = self.flags();
        let texts =
            [("token", self.token), ("since", self.since), ("deprecated_since", deprecated)];
        let told = 2 + texts.iter().filter(|(_, text)| text.is_some()).count();
        let others =
            [shown.is_some(), self.key_spec.is_some(), !flags.is_empty(), self.has_parts()];
        reply.map(told + others.into_iter().filter(|is_told| *is_told).count());

        let mut tell = |name: &str, text: &str| {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        };
        tell("name", &self.name);
        tell("type", self.kind);
        if let Some(shown) = shown {
            tell("display_text", shown);
        }
        if let Some(index) = self.key_spec {
            reply.bulk(b"key_spec_index");
            reply.count(index);
        }
        for (name, text) in texts {
            if let Some(text) = text {
                reply.bulk(name.as_bytes());
                reply.bulk(text.as_bytes());
            }
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            reply.set(flags.len());
            flags.into_iter().for_each(|flag| reply.status(flag));
        }
        if self.has_parts() {
            reply.bulk(b"arguments");
            describe(&self.parts, reply);
        }
    }
}

/// Tells of arguments in COMMAND DOCS' words.
pub fn describe(arguments: &[Argument], reply: &mut Reply) {
    reply.array(arguments.len());
    for argument in arguments {
        argument.describe(reply);
    }
}

/// What a command takes, from its row's syntax; nothing for a container.
pub fn of(found: &Found) -> Vec<Argument> {
    let command = found.full_name();
    let specs = found.row.keys.specs().count();
    let words = words(found.row.syntax);
    let mut reader = Reader { command: &command, words, at: 0, keys: 0, specs };
    let mut arguments = reader.sequence();
    arguments.iter_mut().for_each(|argument| reader.date(argument));
    arguments
}

/// Brackets and bars by themselves, and what stands between them.
fn words(syntax: &'static str) -> Vec<&'static str> {
    let mut words = Vec::new();
    for piece in syntax.split_inclusive(['[', ']', '<', '>', ' ']) {
        let (word, end) = match piece.as_bytes().last() {
            Some(b'[' | b']' | b'<' | b'>' | b' ') => piece.split_at(piece.len() - 1),
            _ => (piece, " "),
        };
        words.extend([word, end].into_iter().filter(|word| !word.trim().is_empty()));
    }
    words
}

fn block_name(token: &str) -> Cow<'static, str> {
    let named = BLOCKS.iter().find(|(word, _)| *word == token);
    named.map_or_else(|| token.to_ascii_lowercase().into(), |(_, name)| Cow::from(*name))
}

fn is_token(word: &str) -> bool {
    !word.bytes().any(|byte| byte.is_ascii_lowercase())
}

struct Reader<'a> {
    command: &'a str,
    words: Vec<&'static str>,
    /// Of the next word.
    at: usize,
    /// Those met so far; SORT's patterns count as one.
    keys: usize,
    /// The command's key specifications: one per key, the last for all that are left.
    specs: usize,
}

impl Reader<'_> {
    /// All up to what closes or parts it, which stays.
    fn sequence(&mut self) -> Vec<Argument> {
        let mut arguments: Vec<Argument> = Vec::new();
        while let Some(&word) = self.words.get(self.at)
            && !matches!(word, "]" | ">" | "|")
        {
            self.at += 1;
            match word {
                "[" if self.is_repetition() => self.repeat(&mut arguments),
                "[" => {
                    let choice = self.choice();
                    let is_multiple = choice.is_multiple || self.accept("...");
                    arguments.push(Argument { is_optional: true, is_multiple, ..choice });
                }
                "<" => {
                    let choice = self.choice();
                    arguments.push(choice);
                }
                _ if word.contains('|') => {
                    let choices = word.split('|').map(|word| self.word(word)).collect();
                    arguments.push(self.renamed(Argument::group(ONEOF, choices)));
                }
                _ if is_token(word) => {
                    let rest = self.sequence();
                    arguments.extend(self.behind(word, rest));
                }
                _ => {
                    let value = self.word(word);
                    arguments.push(value);
                }
            }
        }
        // LMOVE has one for each of its lists.
        let mut ends = arguments.iter_mut().filter(|argument| argument.name == "where");
        if let (Some(from), Some(to)) = (ends.next(), ends.next()) {
            (from.name, to.name) = ("wherefrom".into(), "whereto".into());
        }
        arguments
    }

    /// A group that is called otherwise here than elsewhere.
    fn renamed(&self, group: Argument) -> Argument {
        let here = (self.command, &*group.name);
        let named = GROUPS_OF_SOME.iter().find(|(command, usual, _)| (*command, *usual) == here);
        match named {
            Some((.., name)) => Argument { name: Cow::from(*name), ..group },
            None => group,
        }
    }

    /// What stands in brackets, and what closes them.
    fn choice(&mut self) -> Argument {
        let mut choices = vec![self.one()];
        while self.words[self.at] == "|" {
            self.at += 1;
            choices.push(self.one());
        }
        self.at += 1;
        match choices.len() {
            1 => choices.remove(0),
            _ => Argument::group(ONEOF, choices),
        }
    }

    fn one(&mut self) -> Argument {
        let mut parts = self.sequence();
        match parts.len() {
            1 => parts.remove(0),
            _ => Argument::group(BLOCK, parts),
        }
    }

    fn word(&mut self, word: &'static str) -> Argument {
        if is_token(word) {
            return Argument::pure_token(word);
        }
        let of_some = KINDS_OF_SOME
            .iter()
            .find(|(_, commands, words)| commands.contains(&self.command) && words.contains(&word));
        let kind = match of_some {
            Some((kind, ..)) => kind,
            None => KINDS.iter().find(|(_, words)| words.contains(&word)).map_or(STRING, |it| it.0),
        };
        // CLUSTER KEYSLOT's key is none that exists.
        let kind = if kind == KEY && self.specs == 0 { STRING } else { kind };
        let key_spec = (kind == KEY).then(|| self.keys.min(self.specs - 1));
        self.keys += usize::from(key_spec.is_some());
        let name = if word == "ip:port" { OLD_FORMAT } else { word };
        Argument { word: Some(word), key_spec, ..Argument::new(name, kind) }
    }

    /// A word and what follows it: its value, or a group of them, or what may stand alone too.
    fn behind(&mut self, token: &'static str, mut rest: Vec<Argument>) -> Vec<Argument> {
        let [value] = &mut rest[..] else {
            if rest.is_empty() {
                return vec![Argument::pure_token(token)];
            }
            let name = block_name(token);
            let token = Some(token);
            return vec![Argument { token, parts: rest, ..Argument::new(name, BLOCK) }];
        };
        if value.token.is_some() {
            rest.insert(0, Argument::pure_token(token));
            return rest;
        }
        value.token = Some(token);
        let by_word = VALUES.iter().find(|it| it.0 == token && value.word == Some(it.1));
        if let Some((.., name)) = by_word {
            value.name = (*name).into();
        } else if value.kind == ONEOF && token == "TYPE" {
            value.name = "client-type".into();
        } else if value.kind == ONEOF {
            value.name = block_name(token);
        }
        if matches!(&*value.name, BY_PATTERN | GET_PATTERN) {
            value.key_spec = Some(PATTERN_SPEC);
            self.keys = PATTERN_SPEC + 1;
        }
        rest
    }

    /// Reads the next word if it is this one.
    fn accept(&mut self, word: &str) -> bool {
        let accepted = self.words.get(self.at) == Some(&word);
        self.at += usize::from(accepted);
        accepted
    }

    /// Whether the bracket just opened holds words and `...`.
    fn is_repetition(&self) -> bool {
        let rest = &self.words[self.at..];
        let end = rest.iter().position(|word| matches!(*word, "[" | "]"));
        end.is_some_and(|end| end > 0 && rest[end] == "]" && rest[end - 1] == "...")
    }

    /// The arguments before it are those that it repeats; without words: the last.
    fn repeat(&mut self, arguments: &mut Vec<Argument>) {
        let rest = &self.words[self.at..];
        let count = rest.iter().position(|word| *word == "...").expect("it is a repetition");
        let repeats_token = count > 0 && is_token(rest[0]);
        self.at += count + 2;
        let values = count - usize::from(repeats_token);
        if values > 1 {
            let parts = arguments.split_off(arguments.len() - values);
            arguments.push(Argument::group(BLOCK, parts));
        }
        let repeated = arguments.last_mut().expect("something stands before a repetition");
        repeated.is_multiple = true;
        repeated.repeats_token = repeats_token;
    }

    fn date(&self, argument: &mut Argument) {
        let is_it = |(_, commands, names): &&(_, &[&str], &[&str])| {
            commands.contains(&self.command) && names.contains(&&*argument.name)
        };
        argument.since = SINCE.iter().find(is_it).map(|(since, ..)| *since);
        argument.parts.iter_mut().for_each(|part| self.date(part));
    }
}
