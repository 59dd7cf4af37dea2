//! What changes which entries there are at either end: XADD, XTRIM, XSETID.

use super::*;
use crate::config::Limits;
use crate::data::stream::{Keep, References};
use crate::util::number;

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
    references: Option<References>,
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
            } else if it.references.is_none()
                && let Some(references) = accept_references(args)
            {
                it.references = Some(references);
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
        let references = self.references.unwrap_or_default();
        self.keep
            .map_or(0, |keep| stream.trim_entries(keep, self.approximate, self.limit, references))
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
/// One that heeds references removes the oldest that nobody needs, until so many are left.
fn journal_trim(cx: &mut Ctx, key: &[u8], len: usize, references: Option<References>) {
    let len = len.to_string();
    let words: [&[u8]; 5] = [b"XTRIM", key, b"MAXLEN", len.as_bytes(), word_of(references)];
    let count = words.len() - usize::from(words[4].is_empty());
    cx.journal_as(&words[..count]);
}

pub(super) fn xadd(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
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
        journal_trim(cx, key, len, options.references);
    }
    Ok(())
}

pub(super) fn xtrim(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
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
        journal_trim(cx, key, len, options.references);
    }
    Ok(())
}

pub(super) fn xsetid(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
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
    if stream.newest_id().is_some_and(|newest| id < newest) {
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
