//! DEBUG: those of Redis's subcommands that the tests of clients and servers call and that have a
//! meaning here. docs/decisions.md names the others.

mod digest;

use super::info::LRU_CLOCK_MAX;
use super::object;
use super::prelude::*;
use crate::config::parse_memory;
use crate::data::item::Item;
use crate::data::string::Str;
use crate::data::{self, Value};
use crate::engine::effect::{Effect, Reloading};
use crate::util::number;
use digest::Digest;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("debug", "1.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale, Protected], debug, "", "Stops the server for a while, or looks into its data."),
]);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    Answers 40 digits that are the same where all keys and values are.",
    "DIGEST-VALUE [<key> ...]",
    "    Answers such digits for each value.",
    "ERROR <message>",
    "    Answers the message as an error.",
    "HTSTATS-KEY <key>",
    "    Tells the size that the hash table of a large value would have in Redis.",
    "LISTPACK <key>",
    "    Writes the elements of a small value to the server's log.",
    "LOG <message>",
    "    Writes the message to the server's log.",
    "OBJECT <key>",
    "    Tells how a value is kept.",
    "PAUSE-CRON <0|1>",
    "    With 1, keys whose time has come stay in memory until somebody looks for them.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Makes strings prefix:0, prefix:1, ... where there are none, of so many bytes.",
    "    The server stops meanwhile.",
    "PROTOCOL <type>",
    "    Answers a value of this type of the protocol: string, integer, double, bignum,",
    "    null, array, set, map, attrib, push, verbatim, true or false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Has elements of so many bytes count as nodes of their own. 0: as the settings say.",
    "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
    "    Writes a snapshot and reads it again, or what is in the file already, into the data",
    "    that there is or in its place; with MERGE, keys may be in both. The server stops",
    "    meanwhile.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    With 0, keys whose time has come stay in memory until somebody looks for them.",
    "SLEEP <seconds>",
    "    Stops the whole server.",
    "HELP",
    "    Lists the subcommands.",
];

fn debug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let subcommand = args.given();
    match (&subcommand.to_ascii_lowercase()[..], args.remaining()) {
        (b"sleep", [seconds]) => sleep(cx, seconds, args),
        // Sent, but not counted as one.
        (b"error", [message]) => reply.error_text(message),
        (b"object", [key]) => return object(cx, key, reply),
        (b"digest", []) => reply.status(cx.digested(Digest::of_all).text()),
        (b"digest-value", keys) => {
            reply.array(keys.len());
            for key in keys {
                let db = cx.db;
                let digest = cx.digested(|keyspace| Digest::of_key(keyspace, db, key));
                reply.status(digest.text());
            }
        }
        (b"listpack", [key]) => return listpack(cx, key, reply),
        (b"htstats-key", [key]) => return table_stats(cx, key, reply),
        (b"quicklist-packed-threshold", [size]) => packed_threshold(cx, size, reply)?,
        (b"log", [message]) => {
            tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(message));
            reply.ok();
        }
        (b"populate", [count]) => populate(cx, count, b"key", b"0", reply)?,
        (b"populate", [count, prefix]) => populate(cx, count, prefix, b"0", reply)?,
        (b"populate", [count, prefix, size]) => populate(cx, count, prefix, size, reply)?,
        (b"protocol", [kind]) => return protocol(kind, reply),
        (b"reload", options) => return reload(cx, options, args),
        (b"set-active-expire", [flag]) => {
            cx.expire_unasked(is_set(flag));
            reply.ok();
        }
        (b"pause-cron", [flag]) => {
            cx.run_cron(!is_set(flag));
            reply.ok();
        }
        (b"help", []) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.status(line));
        }
        _ => return Err(Error::misused(subcommand, "DEBUG")),
    }
    Ok(())
}

fn reload(cx: &mut Ctx, options: &[&[u8]], args: Args) -> Result {
    let mut how = Reloading { saves: true, flushes: true, merges: false };
    for option in options {
        match &option.to_ascii_lowercase()[..] {
            b"nosave" => how.saves = false,
            b"noflush" => how.flushes = false,
            b"merge" => how.merges = true,
            _ => {
                return Err(Error::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    cx.await_effect(Effect::Reload { client: cx.client, how }, args);
    Ok(())
}

/// What is no number is 0.
fn is_set(flag: &[u8]) -> bool {
    number::parse_u64_loosely(flag).is_some_and(|it| it != 0)
}

/// Up to 4 GB; 0 is none.
fn packed_threshold(cx: &mut Ctx, size: &[u8], reply: &mut Reply) -> Result {
    let size = std::str::from_utf8(size).ok().and_then(parse_memory);
    let size = size.filter(|size| *size < 4 << 30).ok_or(Error::new(
        "ERR argument must be a memory value bigger than 1 and smaller than 4gb",
    ))?;
    cx.pack_elements_below(Some(size as usize).filter(|size| *size > 0));
    reply.ok();
    Ok(())
}

/// The elements go to the log, as Redis's go to its standard output; its answer says that.
fn listpack(cx: &mut Ctx, key: &[u8], reply: &mut Reply) -> Result {
    let entry = cx.peek(key).ok_or(Error::NoSuchKey)?;
    if entry.value.encoding() != "listpack" {
        return Err(Error::new("ERR Not a listpack encoded object."));
    }
    let db = cx.db;
    let elements = cx.digested(|keyspace| {
        let mut elements = Vec::new();
        keyspace.look_at(db, key, |value, _| elements = elements_of(value));
        elements
    });
    let bytes = elements.iter().map(|element| data::listpack::entry_bytes(element));
    let bytes = data::listpack::EMPTY_BYTES + bytes.sum::<usize>();
    let mut lines = format!("{{total bytes {bytes}}} {{num entries {}}}", elements.len());
    for (index, element) in elements.iter().enumerate() {
        lines += &format!("\n{{{index}}} [{}]", String::from_utf8_lossy(element));
    }
    tracing::warn!("DEBUG LISTPACK: {lines}");
    reply.status("Listpack structure printed on stdout");
    Ok(())
}

/// In the order in which a listpack has them: pairs lie flat.
fn elements_of(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::List(it) => it.iter().map(|it| it.to_vec()).collect(),
        Value::Set(it) => it.iter().map(|it| it.to_vec()).collect(),
        Value::Hash(it) => it.iter().flat_map(|(name, it)| [name.to_vec(), it.to_vec()]).collect(),
        Value::Zset(it) => {
            let flat = |(member, score): (Item, f64)| {
                [member.to_vec(), number::format_double(score).to_vec()]
            };
            it.iter().flat_map(flat).collect()
        }
        Value::Str(_) | Value::Stream(_) | Value::Cold(_) => Vec::new(),
    }
}

/// A table of Redis has the smallest power of two from 4 on that its elements fit in, if they came
/// one by one and it is not about to grow.
fn table_stats(cx: &mut Ctx, key: &[u8], reply: &mut Reply) -> Result {
    let entry = cx.peek(key).ok_or(Error::NoSuchKey)?;
    let len = match &entry.value {
        value if !matches!(value.encoding(), "hashtable" | "hashtableex" | "skiplist") => None,
        Value::Set(it) => Some(it.len()),
        Value::Hash(it) => Some(it.len()),
        Value::Zset(it) => Some(it.len()),
        _ => None,
    };
    let len = len.ok_or(Error::new(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))?;
    let size = len.next_power_of_two().max(4);
    reply.verbatim(
        "txt",
        format!(
            "Hash table 0 stats (main hash table):\n table size: {size}\n number of elements: {len}\n"
        )
        .as_bytes(),
    );
    Ok(())
}

/// A value is cut to `size` bytes, or filled up with zero bytes; 0 leaves it as it is.
fn populate(cx: &mut Ctx, count: &[u8], prefix: &[u8], size: &[u8], reply: &mut Reply) -> Result {
    let number = |word| match number::parse_i64(word) {
        Some(number @ 0..) => Ok(number as usize),
        _ => Err(Error::NotPositive),
    };
    let (count, size) = (number(count)?, number(size)?);
    for index in 0..count {
        let index = index.to_string();
        let key = [prefix, b":", index.as_bytes()].concat();
        if cx.exists(&key) {
            continue;
        }
        let mut value = [b"value:", index.as_bytes()].concat();
        if size > 0 {
            value.resize(size, 0);
        }
        let mut string = cx.edit_or_create::<Str>(&key)?;
        *string = Str::of_bytes(&value);
        string.commit_unannounced();
        cx.journal_as(&[b"SET", &key, &value]);
    }
    reply.ok();
    Ok(())
}

/// As strtod reads them: what is no number is no time.
fn sleep(cx: &mut Ctx, seconds: &[u8], args: Args) {
    let seconds = number::parse_f64(seconds).unwrap_or(0.0).max(0.0);
    let micros = (seconds * 1e6) as u64;
    cx.await_effect(Effect::Sleep { client: cx.client, micros }, args);
}

#[allow(clippy::approx_constant, reason = "Redis's answer is not quite pi")]
const SOME_DOUBLE: f64 = 3.141;

fn protocol(kind: &[u8], reply: &mut Reply) -> Result {
    match &kind.to_ascii_lowercase()[..] {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.int(12345),
        b"double" => reply.double(SOME_DOUBLE),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|it| reply.int(it));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|it| reply.int(it));
        }
        b"map" => {
            reply.map(3);
            for it in 0..3 {
                reply.int(it);
                reply.boolean(it == 1);
            }
        }
        b"attrib" => {
            if reply.attributes(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.int(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.protocol() == Protocol::Resp2 => {
            return Err(Error::new("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.int(42);
        }
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"bignum" => reply.big_number(b"1234567999999999999999999999999999999"),
        _ => {
            return Err(Error::new(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

/// Redis's line. What it would take in a snapshot is not known here: `serializedlength` is the
/// bytes of the value itself. The nodes of a quicklist are those that Redis would fill one after
/// the other.
fn object(cx: &mut Ctx, key: &[u8], reply: &mut Reply) -> Result {
    let now = cx.now();
    let limits = cx.limits().clone();
    let shares = object::shares_integers(cx);
    let entry = cx.peek(key).ok_or(Error::NoSuchKey)?;
    let idle_s = entry.usage.idle_s(now);
    let bytes = match &entry.value {
        Value::Str(string) => string.len(),
        value => value.heap_size(),
    };
    let mut line = format!(
        "Value at:{:p} refcount:{} encoding:{} serializedlength:{bytes} lru:{} lru_seconds_idle:{}",
        &raw const entry.value,
        object::references(&entry.value, shares),
        entry.value.encoding(),
        (now.wall_ms / 1000 - i64::from(idle_s)) & LRU_CLOCK_MAX,
        idle_s,
    );
    if let Value::List(list) = &entry.value
        && list.encoding() == "quicklist"
    {
        let nodes = list.nodes(&limits);
        line += &format!(
            " ql_nodes:{} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:0 \
             ql_uncompressed_size:{}",
            nodes.count,
            list.len() as f64 / nodes.count as f64,
            limits.list_node_size,
            nodes.bytes,
        );
    }
    reply.status(line);
    Ok(())
}
