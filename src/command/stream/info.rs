//! XINFO: what there is to know of a stream, its groups and their consumers.

use super::*;
use crate::data::stream::{Group, Pending, StreamLog};
use crate::util::number;

pub(super) fn xinfo_stream(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let stream = cx.read::<Stream>(key)?.ok_or(Error::NoSuchKey)?;
    let is_full = args.left() > 0;
    let count = if is_full { parse_full(args)? } else { 0 };
    reply.map(if is_full { 9 } else { 10 });
    answer_count(reply, "length", stream.len());
    // There is no radix tree. If there were one, it would have a node for each key and a root.
    answer_count(reply, "radix-tree-keys", stream.node_count());
    answer_count(reply, "radix-tree-nodes", stream.node_count() + 1);
    answer_id(reply, "last-generated-id", stream.last_id());
    answer_id(reply, "max-deleted-entry-id", stream.max_deleted_id());
    answer_number(reply, "entries-added", Some(stream.entries_added() as i64));
    answer_id(reply, "recorded-first-entry-id", stream.first_id().unwrap_or(StreamId::MIN));
    if is_full {
        reply.bulk(b"entries");
        answer_all(reply, stream.iter(), count);
        reply.bulk(b"groups");
        reply.array(stream.groups().len());
        for (name, group) in stream.groups().iter() {
            answer_group_in_full(reply, name, group, stream, count);
        }
        return Ok(());
    }
    reply.bulk(b"groups");
    reply.count(stream.groups().len());
    let ends = [("first-entry", stream.iter().next()), ("last-entry", stream.iter().next_back())];
    for (name, entry) in ends {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => answer(reply, entry),
            None => reply.null(),
        }
    }
    Ok(())
}

fn answer_id(reply: &mut Reply, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply.bulk(&id.text());
}

fn answer_count(reply: &mut Reply, name: &str, count: usize) {
    answer_number(reply, name, Some(count as i64));
}

fn answer_number(reply: &mut Reply, name: &str, value: Option<i64>) {
    reply.bulk(name.as_bytes());
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}

/// How far a group has read.
fn answer_progress(reply: &mut Reply, group: &Group, log: &StreamLog) {
    answer_id(reply, "last-delivered-id", group.last_id);
    answer_number(reply, "entries-read", group.entries_read.map(|count| count as i64));
    answer_number(reply, "lag", group.lag(log));
}

fn answer_group_in_full(
    reply: &mut Reply,
    name: &[u8],
    group: &Group,
    log: &StreamLog,
    count: usize,
) {
    reply.map(7);
    reply.bulk(b"name");
    reply.bulk(name);
    answer_progress(reply, group, log);
    answer_count(reply, "pel-count", group.pending().len());
    reply.bulk(b"pending");
    reply.array(group.pending().len().min(count));
    for (id, pending) in group.pending().iter().take(count) {
        reply.array(4);
        reply.bulk(&id.text());
        reply.bulk(&group.of(pending.consumer).name);
        answer_delivery(reply, pending);
    }
    reply.bulk(b"consumers");
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(5);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        answer_number(reply, "seen-time", Some(consumer.seen_ms));
        answer_number(reply, "active-time", Some(consumer.active_ms.unwrap_or(-1)));
        answer_count(reply, "pel-count", consumer.pending().len());
        reply.bulk(b"pending");
        let own = consumer.pending().iter().take(count);
        let own = own.filter_map(|(id, ())| Some((id, group.pending().get(id)?)));
        reply.array(consumer.pending().len().min(count));
        for (id, pending) in own {
            reply.array(3);
            reply.bulk(&id.text());
            answer_delivery(reply, pending);
        }
    }
}

fn answer_delivery(reply: &mut Reply, pending: &Pending) {
    reply.int(pending.delivered_ms);
    reply.int(pending.count as i64);
}

pub(super) fn xinfo_groups(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let stream = cx.read::<Stream>(args.key())?.ok_or(Error::NoSuchKey)?;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        answer_count(reply, "consumers", group.consumers().len());
        answer_count(reply, "pending", group.pending().len());
        answer_progress(reply, group, stream);
    }
    Ok(())
}

pub(super) fn xinfo_consumers(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name) = (args.key(), args.given());
    let now_ms = cx.now_ms();
    let stream = cx.read::<Stream>(key)?.ok_or(Error::NoSuchKey)?;
    let group = stream.groups().get(name).ok_or_else(|| no_group(key, name))?;
    let since = |at_ms: i64| now_ms.saturating_sub(at_ms).max(0);
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        answer_count(reply, "pending", consumer.pending().len());
        answer_number(reply, "idle", Some(since(consumer.seen_ms)));
        answer_number(reply, "inactive", Some(consumer.active_ms.map_or(-1, since)));
    }
    Ok(())
}

/// Reads `FULL [COUNT count]`: how many entries to show.
fn parse_full(mut args: Args) -> Result<usize> {
    const COUNT: usize = 10;
    let subcommand = args.all()[1];
    let words = args.left();
    if ![1, 3].contains(&words) || !args.accept("full") || words == 3 && !args.accept("count") {
        return Err(Error::misused(subcommand, "XINFO"));
    }
    match args.next().map(number::parse_i64) {
        None => Ok(COUNT),
        Some(None) => Err(Error::NotInteger),
        Some(Some(0)) => Ok(usize::MAX),
        Some(Some(count)) => Ok(usize::try_from(count).unwrap_or(COUNT)),
    }
}
