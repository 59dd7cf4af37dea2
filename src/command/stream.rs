//! The commands on streams: entries appended under growing ids, and read by clients that may wait
//! for more, alone or as a group that shares them.

mod append;
mod claim;
mod delete;
mod effects;
mod group;
mod id;
mod info;
mod read;

use super::prelude::*;
use crate::data::stream::{StreamEntry, StreamId};
use crate::data::{Stream, Typed};

use append::*;
use claim::*;
use delete::*;
use effects::*;
use group::*;
use id::*;
use info::*;
use read::*;

/// The keys behind STREAMS: the first half of what is left.
const fn behind_streams(from: i64) -> Keys {
    Keys::spec(Begin::Behind("STREAMS", from), Find::Range { last: -1, step: 1, limit: 2 })
}

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Stream, &[
    row("xack",      "5.0.0", AtLeast(4), Keys::one(1).updates(),  &[Write, Fast],          xack,      "key group id [id ...]", "Ends the pending of entries that were delivered to a group."),
    row("xackdel",   "8.2.0", AtLeast(6), Keys::one(1).updates().deletes(), &[Write, Fast], xackdel,   "key group [KEEPREF|DELREF|ACKED] <IDS numids id [id ...]>", "Ends the pending of entries in a group and removes them."),
    row("xadd",      "5.0.0", AtLeast(5), Keys::one(1).updates(),  &[Write, DenyOom, Fast], xadd,      "key [NOMKSTREAM] [KEEPREF|DELREF|ACKED] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]", "Appends an entry.").tips(&[VARIES]),
    row("xautoclaim", "6.2.0", AtLeast(6), Keys::one(1).deletes(), &[Write, Fast],          xautoclaim, "key group consumer min-idle-time start [COUNT count] [JUSTID]", "Makes what has been pending for long a consumer's own, from an id on.").tips(&[VARIES]),
    row("xclaim",    "5.0.0", AtLeast(6), Keys::one(1).updates(),  &[Write, Fast],          xclaim,    "key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]", "Makes pending entries a consumer's own.").tips(&[VARIES]),
    row("xdel",      "5.0.0", AtLeast(3), Keys::one(1).deletes(),  &[Write, Fast],          xdel,      "key id [id ...]", "Removes entries by their ids."),
    row("xdelex",    "8.2.0", AtLeast(5), Keys::one(1).deletes(),  &[Write, Fast],          xdelex,    "key [KEEPREF|DELREF|ACKED] <IDS numids id [id ...]>", "Removes entries by their ids, with or without what groups have pending of them."),
    container("xgroup", "5.0.0", XGROUP, "Makes, changes and removes groups of consumers."),
    container("xinfo", "5.0.0", XINFO, "Tells about a stream."),
    row("xlen",      "5.0.0", Exactly(2), Keys::one(1).inspects(), &[Read, Fast],           xlen,      "key", "Counts the entries."),
    row("xpending",  "5.0.0", AtLeast(3), Keys::one(1).reads(),    &[Read],                 xpending,  "key group [[IDLE min-idle-time] start end count [consumer]]", "Tells what was delivered to a group and is not acknowledged.").tips(&[VARIES]),
    row("xrange",    "5.0.0", AtLeast(4), Keys::one(1).reads(),    &[Read],                 xrange,    "key start end [COUNT count]", "Answers the entries from one id to another."),
    row("xread",     "5.0.0", AtLeast(4), behind_streams(1).reads(),         &[Read, Blocking, BlocksByOption],       xread,     "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]", "Answers what streams hold behind given ids, waits for more if need be."),
    row("xreadgroup", "5.0.0", AtLeast(7), behind_streams(4).reads(), &[Write, Blocking, BlocksByOption], xreadgroup, "<GROUP group consumer> [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]", "Gives a consumer what its group has not read yet, or what it has pending; waits if need be."),
    row("xrevrange", "5.0.0", AtLeast(4), Keys::one(1).reads(),    &[Read],                 xrevrange, "key end start [COUNT count]", "Answers the entries from one id back to another."),
    row("xsetid",    "5.0.0", AtLeast(3), Keys::one(1).updates(),  &[Write, DenyOom, Fast], xsetid,    "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]", "Sets the id behind which a stream goes on."),
    row("xtrim",     "5.0.0", AtLeast(4), Keys::one(1).deletes(),  &[Write],                xtrim,     "key <MAXLEN|MINID [=|~] threshold [LIMIT count] [KEEPREF|DELREF|ACKED]>", "Removes the oldest entries.").tips(&[VARIES]),
]);

#[rustfmt::skip]
const XINFO: &[Row] = &[
    row("consumers", "5.0.0", Exactly(4), Keys::one(2).reads(),    &[Read],                 xinfo_consumers, "key group", "Tells of a group's consumers.").tips(&[VARIES]),
    row("groups",    "5.0.0", Exactly(3), Keys::one(2).reads(),    &[Read],                 xinfo_groups, "key", "Tells of a stream's groups."),
    help("5.0.0"),
    row("stream",    "5.0.0", AtLeast(3), Keys::one(2).reads(),    &[Read],                 xinfo_stream, "key [FULL [COUNT count]]", "Tells a stream's size and ids, and with FULL its entries and groups."),
];

fn xlen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let stream = cx.read::<Stream>(args.key())?;
    reply.count(stream.map_or(0, |stream| stream.len()));
    Ok(())
}

fn answer(reply: &mut Reply, entry: StreamEntry) {
    reply.array(2);
    reply.bulk(&entry.id.text());
    reply.array(2 * entry.field_count());
    for (name, value) in entry.fields() {
        reply.bulk(name);
        reply.bulk(value);
    }
}

/// Answers the first `count` of some entries.
fn answer_all<'a>(
    reply: &mut Reply,
    entries: impl Iterator<Item = StreamEntry<'a>> + Clone,
    count: usize,
) {
    let entries = entries.take(count);
    reply.array(entries.clone().count());
    entries.for_each(|entry| answer(reply, entry));
}

fn xrange(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, start, end) = (args.key(), args.given(), args.given());
    let (start, end) = (parse_start(start)?, parse_end(end)?);
    range(cx, key, (start, end), false, args, reply)
}

fn xrevrange(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, end, start) = (args.key(), args.given(), args.given());
    let (start, end) = (parse_start(start)?, parse_end(end)?);
    range(cx, key, (start, end), true, args, reply)
}

fn range(
    cx: &mut Ctx,
    key: &[u8],
    (start, end): (StreamId, StreamId),
    reverse: bool,
    mut args: Args,
    reply: &mut Reply,
) -> Result {
    let mut count = usize::MAX;
    while args.left() > 0 {
        if !args.accept("count") {
            return Err(Error::Syntax);
        }
        count = usize::try_from(args.int()?).unwrap_or(0);
    }
    match cx.read::<Stream>(key)? {
        None => reply.array(0),
        Some(_) if count == 0 => reply.null_array(),
        Some(stream) if reverse => answer_all(reply, stream.range(start, end).rev(), count),
        Some(stream) => answer_all(reply, stream.range(start, end), count),
    }
    Ok(())
}
