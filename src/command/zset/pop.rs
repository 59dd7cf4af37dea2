//! ZPOPMIN, ZMPOP, BZPOPMIN and the like: members taken from either end, by clients that may wait
//! for one.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    /// Reads MIN or MAX.
    fn parse(args: &mut Args) -> Result<Self> {
        if args.accept("min") {
            Ok(End::Min)
        } else if args.accept("max") {
            Ok(End::Max)
        } else {
            Err(Error::Syntax)
        }
    }

    fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// The command that takes from this end without waiting.
    fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }

    fn rank(self, len: usize) -> usize {
        match self {
            End::Min => 0,
            End::Max => len - 1,
        }
    }
}

/// Answers the outermost member with its score, two values, and removes it.
fn take_one(mut zset: Edit<Zset>, end: End, reply: &mut Reply) {
    let rank = end.rank(zset.len());
    let (member, score) = zset.at(rank);
    reply.bulk(&member);
    reply.double(score);
    zset.remove_range(rank..rank + 1);
    zset.commit(end.event());
}

/// Answers up to `count` members from one end and removes them.
fn take(mut zset: Edit<Zset>, end: End, count: usize, form: Form, reply: &mut Reply) {
    let len = zset.len();
    let count = count.min(len);
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let members = zset.range(ranks.clone());
    match end {
        End::Min => form.write(members, reply),
        End::Max => form.write(members.rev(), reply),
    }
    zset.remove_range(ranks);
    zset.commit_many(end.event(), count);
}

fn pop(cx: &mut Ctx, mut args: Args, end: End, reply: &mut Reply) -> Result {
    let key = args.key();
    let count = args.next();
    args.end()?;
    let count = count
        .map(|count| {
            let count = number::parse_i64(count).and_then(|count| usize::try_from(count).ok());
            count.ok_or(Error::NotPositive)
        })
        .transpose()?;
    match (cx.edit::<Zset>(key)?, count) {
        (None, _) | (_, Some(0)) => reply.array(0),
        (Some(zset), None) => {
            reply.array(2);
            take_one(zset, end, reply);
        }
        (Some(zset), Some(count)) => take(zset, end, count, Form::Scored, reply),
    }
    Ok(())
}

pub(super) fn zpopmin(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    pop(cx, args, End::Min, reply)
}

pub(super) fn zpopmax(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    pop(cx, args, End::Max, reply)
}

/// What BZPOPMIN is told.
#[derive(Debug)]
struct PopOne {
    keys: Range<usize>,
    end: End,
}

impl Attempt for PopOne {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        for &key in &args.all()[self.keys()] {
            let Some(zset) = cx.edit::<Zset>(key)? else { continue };
            reply.array(3);
            reply.bulk(key);
            take_one(zset, self.end, reply);
            cx.journal_as(&[self.end.command(), key]);
            return Ok(true);
        }
        Ok(false)
    }
}

fn block_pop(cx: &mut Ctx, args: Args, end: End, reply: &mut Reply) -> Result {
    let timeout = args.remaining().last().expect("arity guarantees it");
    let timeout = Timeout::seconds(timeout, cx.now_ms())?;
    let wait = Wait { on: On::Zset, timeout, empty: Empty::NullArray };
    let keys = args.place()..args.len() - 1;
    cx.block(wait, PopOne { keys, end }, args, reply)
}

pub(super) fn bzpopmin(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    block_pop(cx, args, End::Min, reply)
}

pub(super) fn bzpopmax(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    block_pop(cx, args, End::Max, reply)
}

/// What ZMPOP is told: keys, end and count.
#[derive(Debug)]
struct PopMany {
    keys: Range<usize>,
    end: End,
    count: usize,
}

impl PopMany {
    fn parse(args: &mut Args) -> Result<Self> {
        let keys = args.counted_places()?;
        let end = End::parse(args)?;
        let count = args.count_option()?;
        Ok(Self { keys, end, count })
    }
}

impl Attempt for PopMany {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    /// Takes from the first sorted set that has any.
    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        for &key in &args.all()[self.keys()] {
            let Some(zset) = cx.edit::<Zset>(key)? else { continue };
            let count = self.count.min(zset.len());
            reply.array(2);
            reply.bulk(key);
            take(zset, self.end, count, Form::Paired, reply);
            cx.journal_as(&[self.end.command(), key, &number::format_i64(count as i64)]);
            return Ok(true);
        }
        Ok(false)
    }
}

pub(super) fn zmpop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !PopMany::parse(&mut args)?.attempt(cx, args, Woken::Ready, reply)? {
        reply.null_array();
    }
    Ok(())
}

pub(super) fn bzmpop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let timeout = args.given();
    let pops = PopMany::parse(&mut args)?;
    let timeout = Timeout::seconds(timeout, cx.now_ms())?;
    let wait = Wait { on: On::Zset, timeout, empty: Empty::NullArray };
    cx.block(wait, pops, args, reply)
}
