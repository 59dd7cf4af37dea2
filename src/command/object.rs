//! OBJECT: what the server knows of a key beside its value.

use super::prelude::*;
use crate::data::Value;
use crate::engine::keyspace::KeyValue;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    container("object", "2.2.3", SUBCOMMANDS, "Tells what the server knows of a key beside its value."),
]);

#[rustfmt::skip]
const SUBCOMMANDS: &[Row] = &[
    row("encoding", "2.2.3", Exactly(3), Keys::one(2).inspects(), &[Read], encoding, "key", "Tells in which encoding Redis would keep the value.").tips(&[VARIES]),
    row("freq",     "4.0.0", Exactly(3), Keys::one(2).inspects(), &[Read], freq,     "key", "Tells the logarithmic count of accesses, under an LFU policy.").tips(&[VARIES]),
    help("6.2.0"),
    row("idletime", "2.2.3", Exactly(3), Keys::one(2).inspects(), &[Read], idletime, "key", "Counts the seconds since the last access.").tips(&[VARIES]),
    row("refcount", "2.2.3", Exactly(3), Keys::one(2).inspects(), &[Read], refcount, "key", "Tells how often Redis would refer to the value.").tips(&[VARIES]),
];

/// Null without a key; looking is no access.
fn tell(
    cx: &mut Ctx,
    args: Args,
    reply: &mut Reply,
    write: impl FnOnce(&KeyValue, &mut Reply),
) -> Result {
    match cx.peek(args.all()[2]) {
        Some(entry) => write(entry, reply),
        None => reply.null(),
    }
    Ok(())
}

fn encoding(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    tell(cx, args, reply, |entry, reply| reply.bulk(entry.value.encoding().as_bytes()))
}

fn refcount(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let shares = shares_integers(cx);
    tell(cx, args, reply, |entry, reply| reply.int(references(&entry.value, shares)))
}

/// Redis shares the integers below 10,000 among all keys, unless each is to know when it was used.
/// (It decides so when a value is set; here what holds now decides.)
pub(super) fn shares_integers(cx: &Ctx) -> bool {
    let config = cx.config();
    config.maxmemory == 0 || !config.maxmemory_policy.goes_by_usage()
}

/// How many keys Redis would say that a value belongs to.
pub(super) fn references(value: &Value, shares_integers: bool) -> i64 {
    let is_shared = match value {
        Value::Str(string) => {
            shares_integers
                && string.encoding() == "int"
                && matches!(string.integer(), Some(0..10_000))
        }
        Value::List(_)
        | Value::Hash(_)
        | Value::Set(_)
        | Value::Zset(_)
        | Value::Stream(_)
        | Value::Cold(_) => false,
    };
    if is_shared { i32::MAX.into() } else { 1 }
}

fn idletime(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now = cx.now();
    if cx.exists(args.all()[2]) && cx.config().maxmemory_policy.is_lfu() {
        return Err(Error::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
             when switching between policies at runtime LRU and LFU data will take some time to \
             adjust.",
        ));
    }
    tell(cx, args, reply, |entry, reply| reply.int(entry.usage.idle_s(now).into()))
}

fn freq(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now = cx.now();
    if cx.exists(args.all()[2]) && !cx.config().maxmemory_policy.is_lfu() {
        return Err(Error::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
             note that when switching between policies at runtime LRU and LFU data will take \
             some time to adjust.",
        ));
    }
    tell(cx, args, reply, |entry, reply| reply.int(entry.usage.frequency(now).into()))
}
