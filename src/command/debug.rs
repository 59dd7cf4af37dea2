//! DEBUG: those few of Redis's subcommands that the tests of queue libraries call.

use super::info::LRU_CLOCK_MAX;
use super::object;
use super::prelude::*;
use crate::data::Value;
use crate::engine::effect::Effect;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("debug", "1.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale, Protected], debug, "", "Stops the server for a while, or looks into a key."),
]);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ERROR message",
    "    Answers the message as an error.",
    "HELP",
    "    Lists the subcommands.",
    "OBJECT key",
    "    Tells how a value is kept.",
    "SLEEP seconds",
    "    Stops the whole server.",
];

fn debug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let subcommand = args.given();
    match (&subcommand.to_ascii_lowercase()[..], args.remaining()) {
        (b"sleep", [seconds]) => {
            // As strtod reads them: what is no number is no time.
            let seconds = crate::util::number::parse_f64(seconds).unwrap_or(0.0).max(0.0);
            let micros = (seconds * 1e6) as u64;
            cx.await_effect(Effect::Sleep { client: cx.client, micros }, args);
            Ok(())
        }
        // Sent, but not counted as one.
        (b"error", [message]) => {
            reply.error_text(message);
            Ok(())
        }
        (b"object", [key]) => object(cx, key, reply),
        (b"help", []) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.status(line));
            Ok(())
        }
        _ => Err(Error::misused(subcommand, "DEBUG")),
    }
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
