//! The commands on streams: entries appended under growing ids, and read by clients that may wait
//! for more.

use super::prelude::*;
use crate::config::Limits;
use crate::data::stream::{Keep, StreamEntry, StreamId};
use crate::data::{Stream, Typed};
use crate::util::number;

/// The keys behind STREAMS: the first half of what is left.
const STREAMS: Keys =
    Keys::spec(Begin::Behind("STREAMS", 1), Find::Range { last: -1, step: 1, limit: 2 });

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Stream, &[
    row("xadd",      "5.0.0", AtLeast(5), Keys::one(1).updates(),  &[Write, DenyOom, Fast], xadd,      "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id field value [field value ...]", "Appends an entry.").tips(&[VARIES]),
    row("xdel",      "5.0.0", AtLeast(3), Keys::one(1).deletes(),  &[Write, Fast],          xdel,      "key id [id ...]", "Removes entries by their ids."),
    container("xinfo", "5.0.0", XINFO, "Tells about a stream."),
    row("xlen",      "5.0.0", Exactly(2), Keys::one(1).inspects(), &[Read, Fast],           xlen,      "key", "Counts the entries."),
    row("xrange",    "5.0.0", AtLeast(4), Keys::one(1).reads(),    &[Read],                 xrange,    "key start end [COUNT count]", "Answers the entries from one id to another."),
    row("xread",     "5.0.0", AtLeast(4), STREAMS.reads(),         &[Read, Blocking, BlocksByOption],       xread,     "[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]", "Answers what streams hold behind given ids, waits for more if need be."),
    row("xrevrange", "5.0.0", AtLeast(4), Keys::one(1).reads(),    &[Read],                 xrevrange, "key end start [COUNT count]", "Answers the entries from one id back to another."),
    row("xsetid",    "5.0.0", AtLeast(3), Keys::one(1).updates(),  &[Write, DenyOom, Fast], xsetid,    "key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]", "Sets the id behind which a stream goes on."),
    row("xtrim",     "5.0.0", AtLeast(4), Keys::one(1).deletes(),  &[Write],                xtrim,     "key <MAXLEN|MINID [=|~] threshold [LIMIT count]>", "Removes the oldest entries.").tips(&[VARIES]),
]);

/// GROUPS and CONSUMERS wait for consumer groups.
#[rustfmt::skip]
const XINFO: &[Row] = &[
    help("5.0.0"),
    row("stream",    "5.0.0", AtLeast(3), Keys::one(2).reads(),    &[Read],                 xinfo_stream, "key [FULL [COUNT count]]", "Tells a stream's size and ids, and with FULL its entries."),
];

fn invalid_id() -> Error {
    Error::new("ERR Invalid stream ID specified as stream command argument")
}

/// The text of an id, up to a NUL. Redis copies it into a buffer that takes no more.
fn id_text(word: &[u8]) -> Result<&[u8]> {
    const LEN_MAX: usize = 127;
    if word.len() > LEN_MAX { Err(invalid_id()) } else { Ok(number::before_nul(word)) }
}

fn parse_number(word: &[u8]) -> Result<u64> {
    number::parse_u64_loosely(word).ok_or_else(invalid_id)
}

/// Reads an id: a time, and a number within it, which may be left out.
fn parse_id(word: &[u8], seq_if_absent: u64) -> Result<StreamId> {
    let text = id_text(word)?;
    let (ms, seq) = match text.iter().position(|&byte| byte == b'-') {
        None => (text, None),
        Some(dash) => (&text[..dash], Some(&text[dash + 1..])),
    };
    Ok(StreamId::new(parse_number(ms)?, seq.map_or(Ok(seq_if_absent), parse_number)?))
}

/// The id that XADD asks for.
#[derive(Clone, Copy)]
enum NewId {
    /// `*`: the time, or the next one if the clock is behind.
    Any,
    /// `5-*`: the next one at this time.
    At(u64),
    Exactly(StreamId),
}

impl NewId {
    fn parse(word: &[u8]) -> Result<Self> {
        if number::before_nul(word) == b"*" {
            return Ok(NewId::Any);
        }
        match id_text(word)?.strip_suffix(b"-*") {
            Some(ms) => Ok(NewId::At(parse_number(ms)?)),
            None => Ok(NewId::Exactly(parse_id(word, 0)?)),
        }
    }

    fn resolve(self, last: StreamId, now_ms: u64) -> Result<StreamId> {
        if last == StreamId::MAX {
            return Err(Error::new(
                "ERR The stream has exhausted the last possible ID, unable to add more items",
            ));
        }
        let id = match self {
            NewId::Any if now_ms > last.ms => Some(StreamId::new(now_ms, 0)),
            NewId::Any => last.next(),
            NewId::At(ms) if ms == last.ms => {
                last.seq.checked_add(1).map(|seq| StreamId::new(ms, seq))
            }
            NewId::At(ms) => Some(StreamId::new(ms, 0)),
            NewId::Exactly(id) => Some(id),
        };
        id.filter(|id| *id > last).ok_or_else(|| {
            Error::new(
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
            )
        })
    }
}

/// What XADD and XTRIM have in common: options, and for XADD the id behind them.
#[derive(Default)]
struct Options {
    only_existing: bool,
    keep: Option<Keep>,
    approximate: bool,
    /// Entries that one approximate trim removes at most; 0 for any number.
    limit: usize,
    id: Option<NewId>,
}

impl Options {
    fn parse(args: &mut Args, is_xadd: bool, limits: &Limits) -> Result<Self> {
        let mut it = Self::default();
        let mut limit = None;
        while it.id.is_none() && args.left() > 0 {
            let has_value = args.left() > 1;
            if has_value && args.accept("maxlen") {
                it.parse_strictness(args)?;
                let len = usize::try_from(args.int()?);
                let len = len.map_err(|_| Error::new("ERR The MAXLEN argument must be >= 0."))?;
                it.keep = Some(Keep::Newest(len));
            } else if has_value && args.accept("minid") {
                it.parse_strictness(args)?;
                it.keep = Some(Keep::Since(parse_id(args.word()?, 0)?));
            } else if has_value && args.accept("limit") {
                let count = usize::try_from(args.int()?);
                let count = count.map_err(|_| Error::new("ERR The LIMIT argument must be >= 0."));
                limit = Some(count?);
            } else if is_xadd && args.accept("nomkstream") {
                it.only_existing = true;
            } else if is_xadd {
                it.id = Some(NewId::parse(args.word()?)?);
            } else {
                return Err(Error::Syntax);
            }
        }
        if it.keep.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(Error::new(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if it.keep.is_none() && !is_xadd {
            return Err(Error::new(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        if limit.is_some() && !it.approximate {
            return Err(Error::new(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        if it.approximate {
            it.limit = limit.unwrap_or_else(|| default_limit(limits));
        }
        Ok(it)
    }

    /// Reads `=` or `~`.
    fn parse_strictness(&mut self, args: &mut Args) -> Result {
        if self.keep.is_some() {
            return Err(Error::new(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        if args.left() > 1 && !args.accept("=") {
            self.approximate = args.accept("~");
        }
        Ok(())
    }

    /// Trims a stream, if asked to, and returns how many entries that removed.
    fn trim(&self, stream: &mut Stream) -> usize {
        self.keep.map_or(0, |keep| stream.trim(keep, self.approximate, self.limit))
    }
}

/// What an approximate trim without LIMIT removes at most.
fn default_limit(limits: &Limits) -> usize {
    const NODES: usize = 100;
    const LIMIT_MAX: usize = 1_000_000;
    const WITHOUT_NODES: usize = 10_000;
    match limits.stream_node_entries_max {
        0 => WITHOUT_NODES,
        entries => entries.saturating_mul(NODES).min(LIMIT_MAX),
    }
}

/// Journals a trim as what it left: which entries an approximate one removes depends on settings.
fn journal_trim(cx: &mut Ctx, key: &[u8], len: usize) {
    cx.journal_as(&[b"XTRIM", key, b"MAXLEN", len.to_string().as_bytes()]);
}

fn xadd(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    /// Of all texts of an entry.
    const ENTRY_BYTES_MAX: usize = 1 << 30;
    let key = args.key();
    let options = Options::parse(&mut args, true, cx.limits())?;
    let fields = args.remaining();
    let new_id = options.id.filter(|_| !fields.is_empty() && fields.len().is_multiple_of(2));
    let new_id =
        new_id.ok_or_else(|| Error::new("ERR wrong number of arguments for 'xadd' command"))?;
    if matches!(new_id, NewId::Exactly(StreamId::MIN)) {
        return Err(Error::new("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let now_ms = cx.now_ms().max(0) as u64;
    let Some(mut stream) = (match options.only_existing {
        true => cx.edit::<Stream>(key)?,
        false => Some(cx.edit_or_create::<Stream>(key)?),
    }) else {
        reply.null();
        return Ok(());
    };
    let id = new_id.resolve(stream.last_id(), now_ms)?;
    if fields.iter().map(|text| text.len()).sum::<usize>() > ENTRY_BYTES_MAX {
        return Err(Error::new("ERR Elements are too large to be stored"));
    }
    let (it, limits) = stream.with_limits();
    it.append(id, fields, limits);
    let removed = options.trim(&mut stream);
    let len = stream.len();
    let id = id.text();
    reply.bulk(&id);
    stream.commit("xadd");
    if cx.has_journal() {
        cx.journal_as(&[&[b"XADD", key, &id], fields].concat());
    }
    if removed > 0 {
        cx.notify(Stream::CLASS, "xtrim", key);
        journal_trim(cx, key, len);
    }
    Ok(())
}

fn xtrim(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let limits = cx.limits().clone();
    let options = Options::parse(&mut args, false, &limits)?;
    let Some(mut stream) = cx.edit::<Stream>(key)? else {
        reply.int(0);
        return Ok(());
    };
    let removed = options.trim(&mut stream);
    let len = stream.len();
    reply.count(removed);
    if removed > 0 {
        stream.commit_many("xtrim", removed);
        journal_trim(cx, key, len);
    }
    Ok(())
}

fn xdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(mut stream) = cx.edit::<Stream>(args.key())? else {
        reply.int(0);
        return Ok(());
    };
    let ids = args.map(|word| parse_id(word, 0)).collect::<Result<Vec<_>>>()?;
    let removed = ids.into_iter().filter(|&id| stream.delete(id)).count();
    reply.count(removed);
    if removed > 0 {
        stream.commit_many("xdel", removed);
    }
    Ok(())
}

fn xlen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let stream = cx.read::<Stream>(args.key())?;
    reply.count(stream.map_or(0, Stream::len));
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

/// Reads an end of a range: `-`, `+`, an id, or `(` and an id that is not in the range.
fn parse_bound(word: &[u8], seq_if_absent: u64) -> Result<(StreamId, bool)> {
    if let [b'(', id @ ..] = word {
        return Ok((parse_id(id, seq_if_absent)?, true));
    }
    match id_text(word)? {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        _ => Ok((parse_id(word, seq_if_absent)?, false)),
    }
}

fn parse_start(word: &[u8]) -> Result<StreamId> {
    match parse_bound(word, 0)? {
        (id, false) => Ok(id),
        (id, true) => id.next().ok_or_else(|| Error::new("ERR invalid start ID for the interval")),
    }
}

fn parse_end(word: &[u8]) -> Result<StreamId> {
    match parse_bound(word, u64::MAX)? {
        (id, false) => Ok(id),
        (id, true) => {
            id.previous().ok_or_else(|| Error::new("ERR invalid end ID for the interval"))
        }
    }
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

/// What XREAD is asked for.
struct Query<'a> {
    count: usize,
    timeout: Option<Timeout>,
    keys: Range<usize>,
    /// As written: `$`, `+` or an id.
    after: &'a [&'a [u8]],
}

impl<'a> Query<'a> {
    fn parse(args: &mut Args<'a>, now_ms: i64) -> Result<Self> {
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
                return Err(Error::new(
                    "ERR The GROUP option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                ));
            } else if args.accept("noack") {
                return Err(Error::new(
                    "ERR The NOACK option is only supported by XREADGROUP. You called XREAD \
                     instead.",
                ));
            } else {
                return Err(Error::Syntax);
            }
        }
        let (keys, after) = args.remaining().split_at(args.left() / 2);
        let places = args.place()..args.place() + keys.len();
        if keys.len() != after.len() {
            return Err(Error::new(
                "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be \
                     specified.",
            ));
        }
        Ok(Self { count, timeout, keys: places, after })
    }
}

/// The id behind which a stream is read: `$` is its last one, `+` the one before that.
fn resolve_after(cx: &mut Ctx, key: &[u8], word: &[u8]) -> Result<StreamId> {
    let last = cx.read::<Stream>(key)?.map(Stream::last_id);
    match number::before_nul(word) {
        b"$" => Ok(last.unwrap_or(StreamId::MIN)),
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
        match reply.protocol() {
            Protocol::Resp2 => reply.array(ready.len()),
            Protocol::Resp3 => reply.map(ready.len()),
        }
        for (key, start) in ready {
            if reply.protocol() == Protocol::Resp2 {
                reply.array(2);
            }
            reply.bulk(key);
            let stream = cx.read::<Stream>(key)?.expect("it was there");
            answer_all(reply, stream.range(start, StreamId::MAX), self.count);
        }
        Ok(true)
    }
}

fn xread(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Query { count, timeout, keys, after: words } = Query::parse(&mut args, cx.now_ms())?;
    let mut after = Vec::with_capacity(words.len());
    for (key, word) in args.all()[keys.clone()].iter().zip(words) {
        after.push(resolve_after(cx, key, word)?);
    }
    let reading = ReadAfter { keys, after, count };
    if let Some(timeout) = timeout {
        let wait = Wait { on: On::Stream, timeout, empty: Empty::NullArray };
        return cx.block(wait, reading, args, reply);
    }
    if !reading.attempt(cx, args, Woken::Ready, reply)? {
        reply.null_array();
    }
    Ok(())
}

fn xsetid(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, id) = (args.key(), parse_id(args.given(), 0)?);
    let (mut entries_added, mut max_deleted) = (None, StreamId::MIN);
    while args.left() > 0 {
        let has_value = args.left() > 1;
        if has_value && args.accept("entriesadded") {
            let count = u64::try_from(args.int()?);
            let count = count.map_err(|_| Error::new("ERR entries_added must be positive"))?;
            entries_added = Some(count);
        } else if has_value && args.accept("maxdeletedid") {
            max_deleted = parse_id(args.word()?, 0)?;
            if id < max_deleted {
                return Err(Error::new(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
        } else {
            return Err(Error::Syntax);
        }
    }
    let mut stream = cx.edit::<Stream>(key)?.ok_or(Error::NoSuchKey)?;
    if id < stream.max_deleted_id() {
        return Err(Error::new(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.iter().next_back().is_some_and(|last| id < last.id) {
        return Err(Error::new(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if entries_added.is_some_and(|count| count < stream.len() as u64) {
        return Err(Error::new(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    stream.set_last_id(id);
    if let Some(count) = entries_added {
        stream.set_entries_added(count);
    }
    if max_deleted > StreamId::MIN {
        stream.set_max_deleted_id(max_deleted);
    }
    reply.ok();
    stream.commit("xsetid");
    Ok(())
}

fn xinfo_stream(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let stream = cx.read::<Stream>(key)?.ok_or(Error::NoSuchKey)?;
    let is_full = args.left() > 0;
    let count = if is_full { parse_full(args)? } else { 0 };
    reply.map(if is_full { 9 } else { 10 });
    let mut number = |name: &str, value: u64| {
        reply.bulk(name.as_bytes());
        reply.int(value as i64);
    };
    number("length", stream.len() as u64);
    // There is no radix tree. If there were one, it would have a node for each key and a root.
    number("radix-tree-keys", stream.node_count() as u64);
    number("radix-tree-nodes", stream.node_count() as u64 + 1);
    let mut id = |name: &str, id: StreamId| {
        reply.bulk(name.as_bytes());
        reply.bulk(&id.text());
    };
    id("last-generated-id", stream.last_id());
    id("max-deleted-entry-id", stream.max_deleted_id());
    reply.bulk(b"entries-added");
    reply.int(stream.entries_added() as i64);
    reply.bulk(b"recorded-first-entry-id");
    reply.bulk(&stream.first_id().unwrap_or(StreamId::MIN).text());
    if is_full {
        reply.bulk(b"entries");
        answer_all(reply, stream.iter(), count);
        reply.bulk(b"groups");
        reply.array(0);
        return Ok(());
    }
    reply.bulk(b"groups");
    reply.int(0);
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
