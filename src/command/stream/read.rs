//! XREAD and XREADGROUP: entries behind given ids, or behind those that a group was given. They may
//! not be there yet.

use super::*;
use crate::data::stream::{ConsumerId, Group, Pending, StreamLog};
use crate::util::number;

/// What XREAD or XREADGROUP is asked for.
struct Query<'a> {
    /// Where the group's name stands among the words, with the consumer's behind it.
    group: Option<usize>,
    no_ack: bool,
    count: usize,
    timeout: Option<Timeout>,
    keys: Range<usize>,
    /// As written: `$`, `+`, `>` or an id.
    after: &'a [&'a [u8]],
}

impl<'a> Query<'a> {
    fn parse(args: &mut Args<'a>, is_of_group: bool, now_ms: i64) -> Result<Self> {
        let (mut group, mut no_ack) = (None, false);
        let (mut count, mut timeout) = (usize::MAX, None);
        loop {
            let has_value = args.left() > 1;
            if has_value && args.accept("block") {
                timeout = Some(Timeout::millis(args.word()?, now_ms)?);
            } else if has_value && args.accept("count") {
                let limit = usize::try_from(args.int()?).unwrap_or(0);
                count = if limit > 0 { limit } else { usize::MAX };
            } else if has_value && args.accept("streams") {
                break;
            } else if args.left() > 2 && args.accept("group") {
                if !is_of_group {
                    return Err(only_of_group("GROUP"));
                }
                group = Some(args.place());
                args.take_words(2)?;
            } else if args.accept("noack") {
                if !is_of_group {
                    return Err(only_of_group("NOACK"));
                }
                no_ack = true;
            } else {
                return Err(Error::Syntax);
            }
        }
        let (keys, after) = args.remaining().split_at(args.left() / 2);
        let places = args.place()..args.place() + keys.len();
        if keys.len() != after.len() {
            let (command, symbol) = if is_of_group { ("xreadgroup", ">") } else { ("xread", "$") };
            return Err(Error::new(format!(
                "ERR Unbalanced '{command}' list of streams: for each stream key an ID or \
                 '{symbol}' must be specified."
            )));
        }
        if is_of_group && group.is_none() {
            return Err(Error::new("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(Self { group, no_ack, count, timeout, keys: places, after })
    }

    /// Answers, or waits.
    fn run<A: Attempt + 'static>(
        timeout: Option<Timeout>,
        on: On,
        attempt: A,
        cx: &mut Ctx,
        args: Args,
        reply: &mut Reply,
    ) -> Result {
        if let Some(timeout) = timeout {
            let wait = Wait { on, timeout, empty: Empty::NullArray };
            return cx.block(wait, attempt, args, reply);
        }
        if !attempt.attempt(cx, args, Woken::Ready, reply)? {
            reply.null_array();
        }
        Ok(())
    }
}

fn only_of_group(option: &str) -> Error {
    Error::new(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    ))
}

/// Begins the answer of so many streams.
fn answer_streams(reply: &mut Reply, count: usize) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}

/// Begins the answer of one of them.
fn answer_stream(reply: &mut Reply, key: &[u8]) {
    if reply.protocol() == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// The id behind which a stream is read: `$` is its last one, or with `keep-dollar` where the
/// caller's `$` stands; `+` is the one before its last.
fn resolve_after(cx: &mut Ctx, key: &[u8], word: &[u8]) -> Result<StreamId> {
    let last = cx.read::<Stream>(key)?.map(|stream| stream.last_id());
    let word = number::before_nul(word);
    if word != b"$" {
        cx.drop_dollar(key);
    }
    match word {
        b"$" => Ok(cx.keep_dollar(key, last.unwrap_or(StreamId::MIN))),
        // Redis takes it that this cannot be; yet XSETID may do so to a stream without entries.
        b"+" => last.map_or(Ok(StreamId::MIN), |last| {
            last.previous().ok_or_else(|| Error::new("ERR the stream last element ID is 0-0"))
        }),
        b">" => Err(Error::new(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
             <consumer> option.",
        )),
        _ => parse_id(word, 0),
    }
}

/// What XREAD is to answer: entries behind these ids.
#[derive(Debug)]
struct ReadAfter {
    keys: Range<usize>,
    after: Vec<StreamId>,
    count: usize,
}

impl Attempt for ReadAfter {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        let mut ready = Vec::new();
        for (&key, &after) in args.all()[self.keys()].iter().zip(&self.after) {
            let Some(start) = after.next() else { continue };
            let stream = cx.read::<Stream>(key)?;
            if stream.is_some_and(|stream| stream.range(start, StreamId::MAX).next().is_some()) {
                ready.push((key, start));
            }
        }
        if ready.is_empty() {
            return Ok(false);
        }
        answer_streams(reply, ready.len());
        let has_dollars = cx.has_dollars();
        for (key, start) in ready {
            answer_stream(reply, key);
            let stream = cx.read::<Stream>(key)?.expect("it was there");
            answer_all(reply, stream.range(start, StreamId::MAX), self.count);
            if has_dollars {
                let given = stream.range(start, StreamId::MAX).take(self.count).last();
                let given = given.expect("there are entries").id;
                cx.advance_dollar(key, given);
            }
        }
        Ok(true)
    }
}

pub(super) fn xread(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let query = Query::parse(&mut args, false, cx.now_ms())?;
    let Query { count, timeout, keys, after: words, .. } = query;
    let mut after = Vec::with_capacity(words.len());
    for (key, word) in args.all()[keys.clone()].iter().zip(words) {
        after.push(resolve_after(cx, key, word)?);
    }
    Query::run(timeout, On::Stream, ReadAfter { keys, after, count }, cx, args, reply)
}

/// What XREADGROUP is to answer.
#[derive(Debug)]
struct ReadForGroup {
    group: usize,
    keys: Range<usize>,
    /// Behind which id each stream's pending entries of this consumer are wanted; None: what the
    /// group has not read yet.
    after: Vec<Option<StreamId>>,
    count: usize,
    no_ack: bool,
}

/// The group of a stream for XREADGROUP.
fn look_for<'a>(cx: &'a mut Ctx, key: &[u8], name: &[u8]) -> Result<(&'a Stream, &'a Group)> {
    look_for_either_or(cx, key, name, "' in XREADGROUP with GROUP option")
}

/// Whether there is something to answer: always, if it is about what is pending.
fn is_ready(log: &StreamLog, group: &Group, after: Option<StreamId>) -> bool {
    after.is_some() || log.newest_id().is_some_and(|newest| newest > group.last_id)
}

impl Attempt for ReadForGroup {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        let words = args.all();
        let mut ready = 0;
        for (&key, &after) in words[self.keys()].iter().zip(&self.after) {
            let (stream, group) = look_for(cx, key, words[self.group])?;
            ready += usize::from(is_ready(stream, group, after));
        }
        if ready > 0 {
            answer_streams(reply, ready);
        }
        for (&key, &after) in words[self.keys()].iter().zip(&self.after) {
            self.read(key, after, cx, [words[self.group], words[self.group + 1]], reply);
        }
        Ok(ready > 0)
    }
}

impl ReadForGroup {
    /// Makes the consumer known to the group, and reads if there is something.
    fn read(
        &self,
        key: &[u8],
        after: Option<StreamId>,
        cx: &mut Ctx,
        names: [&[u8]; 2],
        reply: &mut Reply,
    ) {
        let now_ms = cx.happens_ms();
        let mut effects = Effects::default();
        let mut stream = cx.edit_existing::<Stream>(key);
        let (log, groups) = stream.parts_mut();
        let group = groups.get_mut(names[0]).expect("it was looked for");
        let consumer = effects.enroll(group, names[1], now_ms);
        if is_ready(log, group, after) {
            answer_stream(reply, key);
            match after {
                Some(after) => {
                    self.read_pending(log, group, consumer, after, &mut effects, reply);
                }
                None => self.read_on(log, group, consumer, &mut effects, reply),
            }
        }
        stream.commit_aside(effects.changes);
        effects.tell(cx, key, names);
    }

    /// Answers what the group has not read yet.
    fn read_on(
        &self,
        log: &StreamLog,
        group: &mut Group,
        consumer: ConsumerId,
        effects: &mut Effects,
        reply: &mut Reply,
    ) {
        let now_ms = group.of(consumer).seen_ms;
        let Some(start) = group.last_id.next() else { return reply.array(0) };
        let entries = log.range(start, StreamId::MAX).take(self.count);
        reply.array(entries.clone().count());
        for entry in entries {
            group.advance(entry.id, log);
            if !self.no_ack {
                let pending = Pending { consumer, delivered_ms: now_ms, count: 1 };
                group.assign(entry.id, pending);
                effects.claimed.push((entry.id, pending));
            }
            answer(reply, entry);
        }
        if !self.no_ack {
            let consumer = group.of_mut(consumer);
            consumer.active_ms = Some(consumer.seen_ms);
        }
        effects.has_advanced = true;
        effects.changes += 1;
    }

    /// Answers what the consumer has pending behind an id, and counts that as a delivery.
    fn read_pending(
        &self,
        log: &StreamLog,
        group: &mut Group,
        consumer: ConsumerId,
        after: StreamId,
        effects: &mut Effects,
        reply: &mut Reply,
    ) {
        let now_ms = group.of(consumer).seen_ms;
        let start = after.next().expect("not even the last id is behind the greatest");
        let own = group.of(consumer).pending().since(start).map(|(id, ())| id).take(self.count);
        let own: Vec<StreamId> = own.collect();
        reply.array(own.len());
        for id in own {
            let Some(entry) = log.get(id) else {
                reply.array(2);
                reply.bulk(&id.text());
                reply.null_array();
                continue;
            };
            answer(reply, entry);
            if let Some(pending) = group.deliver_again(id, now_ms) {
                effects.claimed.push((id, pending));
                effects.changes = 1;
            }
        }
    }
}

fn meaningless(symbol: &[u8]) -> Error {
    let symbol = String::from_utf8_lossy(symbol);
    Error::new(format!(
        "ERR The {symbol} ID is meaningless in the context of XREADGROUP: you want to read the \
         history of this consumer by specifying a proper ID, or use the > ID to get new messages. \
         The {symbol} ID would just return an empty result set."
    ))
}

pub(super) fn xreadgroup(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let query = Query::parse(&mut args, true, cx.now_ms())?;
    let Query { no_ack, count, timeout, keys, after: words, .. } = query;
    let group = query.group.expect("it is there, or parsing fails");
    let mut after = Vec::with_capacity(words.len());
    for (key, word) in args.all()[keys.clone()].iter().zip(words) {
        look_for(cx, key, args.all()[group])?;
        after.push(match number::before_nul(word) {
            symbol @ (b"$" | b"+") => return Err(meaningless(symbol)),
            b">" => None,
            _ => Some(parse_id(word, 0)?).filter(|id| *id < StreamId::MAX),
        });
    }
    let reading = ReadForGroup { group, keys, after, count, no_ack };
    Query::run(timeout, On::Group, reading, cx, args, reply)
}
