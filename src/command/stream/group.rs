//! XGROUP, XACK and XPENDING: a group's place in its stream, its consumers, and what they have not
//! acknowledged yet.

use super::*;
use crate::data::stream::{Group, Pending};
use crate::util::number;

#[rustfmt::skip]
pub(super) const XGROUP: &[Row] = &[
    row("create",         "5.0.0", AtLeast(5), Keys::one(2).inserts(), &[Write, DenyOom], create,          "key group id|$ [MKSTREAM] [ENTRIESREAD entries-read]", "Makes a group that reads a stream from an id on."),
    row("createconsumer", "6.2.0", Exactly(5), Keys::one(2).inserts(), &[Write, DenyOom], create_consumer, "key group consumer", "Makes a consumer that has nothing yet."),
    row("delconsumer",    "5.0.0", Exactly(5), Keys::one(2).deletes(), &[Write],          delete_consumer, "key group consumer", "Removes a consumer with all that it has pending."),
    row("destroy",        "5.0.0", Exactly(4), Keys::one(2).deletes(), &[Write],          destroy,         "key group", "Removes a group."),
    help("5.0.0"),
    row("setid",          "5.0.0", AtLeast(5), Keys::one(2).updates(), &[Write],          set_id,          "key group id|$ [ENTRIESREAD entries-read]", "Sets the id behind which a group goes on."),
];

/// An error that names two words of the request. As in Redis a zero ends them.
pub(super) fn naming(parts: [&str; 3], words: [&[u8]; 2]) -> Error {
    let [first, second] = words.map(number::before_nul);
    let [before, between, after] = parts.map(str::as_bytes);
    Error::new([before, first, between, second, after].concat())
}

pub(super) fn no_group(key: &[u8], group: &[u8]) -> Error {
    naming(["NOGROUP No such consumer group '", "' for key name '", "'"], [group, key])
}

/// A group, for commands that take it that either it or its stream is missing.
pub(super) fn look_for_either<'a>(
    cx: &'a mut Ctx,
    key: &[u8],
    name: &[u8],
) -> Result<(&'a Stream, &'a Group)> {
    look_for_either_or(cx, key, name, "'")
}

/// The same, with an error that ends so.
pub(super) fn look_for_either_or<'a>(
    cx: &'a mut Ctx,
    key: &[u8],
    name: &[u8],
    end: &str,
) -> Result<(&'a Stream, &'a Group)> {
    let stream = cx.read::<Stream>(key)?;
    let found = stream.and_then(|stream| Some((stream, stream.groups().get(name)?)));
    let parts = ["NOGROUP No such key '", "' or consumer group '", end];
    found.ok_or_else(|| naming(parts, [key, name]))
}

fn no_stream() -> Error {
    Error::new(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want \
         to use the MKSTREAM option to create an empty stream automatically.",
    )
}

/// The options of XGROUP CREATE and SETID.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
    /// More words than all options have: Redis says so only once it has found the key.
    has_too_many: bool,
}

impl Options {
    fn parse(mut args: Args, is_create: bool) -> Result<Self> {
        let misused = Error::misused(args.all()[1], "XGROUP");
        let words_max = if is_create { 3 } else { 2 };
        let mut it = Self { has_too_many: args.left() > words_max, ..Self::default() };
        while args.left() > 0 {
            if is_create && args.accept("mkstream") {
                it.makes_stream = true;
            } else if args.left() > 1 && args.accept("entriesread") {
                it.entries_read = match args.int()? {
                    -1 => None,
                    count => Some(u64::try_from(count).map_err(|_| {
                        Error::new("ERR value for ENTRIESREAD must be positive or -1")
                    })?),
                };
            } else {
                return Err(misused);
            }
        }
        Ok(it)
    }
}

fn create(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name, word) = (args.key(), args.given(), args.given());
    let options = Options::parse(args, true)?;
    let stream = cx.read::<Stream>(key)?;
    if stream.is_none() && !options.makes_stream {
        return Err(no_stream());
    }
    if options.has_too_many {
        return Err(Error::misused(args.all()[1], "XGROUP"));
    }
    let last_id = match number::before_nul(word) {
        b"$" => stream.map_or(StreamId::MIN, |stream| stream.last_id()),
        _ => parse_id(word, 0)?,
    };
    if stream.is_some_and(|stream| stream.groups().get(name).is_some()) {
        return Err(Error::new("BUSYGROUP Consumer Group name already exists"));
    }
    let mut stream = cx.edit_or_create::<Stream>(key)?;
    stream.parts_mut().1.add(name, last_id, options.entries_read);
    reply.ok();
    if stream.is_new() {
        stream.commit("xgroup-create");
    } else {
        stream.commit_aside(1);
        cx.notify(Stream::CLASS, "xgroup-create", key);
    }
    Ok(())
}

/// A group of a stream that is there, for XGROUP.
fn look_for<'a>(cx: &'a mut Ctx, key: &[u8], name: &[u8]) -> Result<(&'a Stream, &'a Group)> {
    let stream = cx.read::<Stream>(key)?.ok_or_else(no_stream)?;
    let group = stream.groups().get(name).ok_or_else(|| no_group(key, name))?;
    Ok((stream, group))
}

fn set_id(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name, word) = (args.key(), args.given(), args.given());
    let options = Options::parse(args, false)?;
    let (stream, _) = look_for(cx, key, name)?;
    if options.has_too_many {
        return Err(Error::misused(args.all()[1], "XGROUP"));
    }
    let last_id = match number::before_nul(word) {
        b"$" => stream.last_id(),
        b"-" => StreamId::MIN,
        b"+" => StreamId::MAX,
        _ => parse_id(word, 0)?,
    };
    let mut stream = cx.edit_existing::<Stream>(key);
    let group = stream.parts_mut().1.get_mut(name).expect("it was looked for");
    (group.last_id, group.entries_read) = (last_id, options.entries_read);
    reply.ok();
    stream.commit_aside(1);
    cx.notify(Stream::CLASS, "xgroup-setid", key);
    Ok(())
}

fn destroy(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name) = (args.key(), args.given());
    let mut stream = cx.edit::<Stream>(key)?.ok_or_else(no_stream)?;
    let was_there = stream.parts_mut().1.remove(name);
    reply.flag(was_there);
    if was_there {
        stream.commit_aside(1);
        cx.notify(Stream::CLASS, "xgroup-destroy", key);
        // Who waits for what the group has yet to read waits in vain from now on.
        cx.wake(key);
    }
    Ok(())
}

fn create_consumer(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name, consumer) = (args.key(), args.given(), args.given());
    let now_ms = cx.happens_ms();
    let (_, group) = look_for(cx, key, name)?;
    let is_new = group.consumer(consumer).is_none();
    reply.flag(is_new);
    if is_new {
        let mut stream = cx.edit_existing::<Stream>(key);
        let group = stream.parts_mut().1.get_mut(name).expect("it was looked for");
        group.add_consumer(consumer, now_ms);
        stream.commit_aside(1);
        cx.notify(Stream::CLASS, "xgroup-createconsumer", key);
    }
    Ok(())
}

fn delete_consumer(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name, consumer) = (args.key(), args.given(), args.given());
    look_for(cx, key, name)?;
    let mut stream = cx.edit_existing::<Stream>(key);
    let group = stream.parts_mut().1.get_mut(name).expect("it was looked for");
    let removed = group.remove_consumer(consumer);
    reply.count(removed.unwrap_or(0));
    if removed.is_some() {
        stream.commit_aside(1);
        cx.notify(Stream::CLASS, "xgroup-delconsumer", key);
    }
    Ok(())
}

pub(super) fn xack(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name) = (args.key(), args.given());
    let Some(mut stream) = cx.edit::<Stream>(key)? else {
        reply.int(0);
        return Ok(());
    };
    let Some(group) = stream.parts_mut().1.get_mut(name) else {
        reply.int(0);
        return Ok(());
    };
    for word in args {
        parse_id(word, 0)?;
    }
    let ids = args.filter_map(|word| parse_id(word, 0).ok());
    let acknowledged = ids.filter(|&id| group.acknowledge(id)).count();
    reply.count(acknowledged);
    stream.commit_aside(acknowledged);
    Ok(())
}

pub(super) fn xpending(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name) = (args.key(), args.given());
    let query = (args.left() > 0).then(|| PendingQuery::parse(args)).transpose()?;
    let now_ms = cx.now_ms();
    let (_, group) = look_for_either(cx, key, name)?;
    match query {
        Some(query) => query.answer(group, now_ms, reply),
        None => summarize(group, reply),
    }
    Ok(())
}

/// How much is pending, between which ids, and whose it is.
fn summarize(group: &Group, reply: &mut Reply) {
    let pending = group.pending();
    reply.array(4);
    reply.count(pending.len());
    for end in [pending.first_id(), pending.last_id()] {
        match end {
            Some(id) => reply.bulk(&id.text()),
            None => reply.null(),
        }
    }
    if pending.is_empty() {
        return reply.null_array();
    }
    let owners = || group.consumers().filter(|consumer| !consumer.pending().is_empty());
    reply.array(owners().count());
    for consumer in owners() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk_int(consumer.pending().len() as i64);
    }
}

/// Which pending entries XPENDING is to show.
struct PendingQuery<'a> {
    /// Those delivered no later than so long ago; 0 for any.
    idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> PendingQuery<'a> {
    /// Reads `[IDLE ms] start end count [consumer]`. Redis overlooks up to two words behind it, and
    /// none if there is IDLE.
    fn parse(mut args: Args<'a>) -> Result<Self> {
        const WORDS: std::ops::RangeInclusive<usize> = 3..=6;
        if !WORDS.contains(&args.left()) {
            return Err(Error::Syntax);
        }
        let idle_ms = if args.accept("idle") { args.int()? } else { 0 };
        let [start, end, count, ..] = *args.remaining() else { return Err(Error::Syntax) };
        let count = number::parse_i64(count).ok_or(Error::NotInteger)?;
        let count = usize::try_from(count).unwrap_or(0);
        let consumer = args.remaining().get(3).copied();
        Ok(Self { idle_ms, start: parse_start(start)?, end: parse_end(end)?, count, consumer })
    }

    fn answer(&self, group: &Group, now_ms: i64, reply: &mut Reply) {
        match self.consumer.map(|name| group.consumer(name)) {
            None => self.show(group, group.pending().since(self.start), now_ms, reply),
            Some(None) => reply.array(0),
            Some(Some(consumer)) => {
                let own = group.of(consumer).pending().since(self.start);
                let own = own.filter_map(|(id, ())| Some((id, group.pending().get(id)?)));
                self.show(group, own, now_ms, reply);
            }
        }
    }

    fn show<'g>(
        &self,
        group: &Group,
        pending: impl Iterator<Item = (StreamId, &'g Pending)> + Clone,
        now_ms: i64,
        reply: &mut Reply,
    ) {
        let idle_ms = |pending: &Pending| now_ms.saturating_sub(pending.delivered_ms);
        let shown = pending
            .take_while(|(id, _)| *id <= self.end)
            .filter(|(_, it)| self.idle_ms == 0 || idle_ms(it) >= self.idle_ms)
            .take(self.count);
        reply.array(shown.clone().count());
        for (id, pending) in shown {
            reply.array(4);
            reply.bulk(&id.text());
            reply.bulk(&group.of(pending.consumer).name);
            // Time may have been set back since.
            reply.int(idle_ms(pending).max(0));
            reply.int(pending.count as i64);
        }
    }
}
