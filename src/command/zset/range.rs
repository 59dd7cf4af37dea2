//! ZRANGE and its family: members within bounds of their ranks, their scores or, where all scores
//! are equal, their names. Whatever the bounds are, they come down to a range of ranks.

use super::*;
use crate::command::list::clamp;
use crate::data::item::Item;
use std::ops::{Bound, Range};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

/// What the bounds are bounds of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

enum Bounds<'a> {
    Ranks(i64, i64),
    Scores(Bound<f64>, Bound<f64>),
    Names(Bound<&'a [u8]>, Bound<&'a [u8]>),
    /// Names from the end on, or up to the start.
    Nothing,
}

impl<'a> Bounds<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self> {
        let rank = |word| number::parse_i64(word).ok_or(Error::NotInteger);
        Ok(match by {
            By::Rank => Bounds::Ranks(rank(min)?, rank(max)?),
            By::Score => Bounds::Scores(score_bound(min)?, score_bound(max)?),
            By::Name => match (name_bound(min)?, name_bound(max)?) {
                (Name::End, _) | (_, Name::Start) => Bounds::Nothing,
                (min, max) => Bounds::Names(min.bound(), max.bound()),
            },
        })
    }

    fn ranks(&self, zset: &Zset, order: Order) -> Range<usize> {
        match *self {
            Bounds::Ranks(start, stop) => {
                let ranks = clamp(start, stop, zset.len());
                match order {
                    Order::Ascending => ranks,
                    Order::Descending => zset.len() - ranks.end..zset.len() - ranks.start,
                }
            }
            Bounds::Scores(min, max) => zset.ranks_by_score(min, max),
            Bounds::Names(min, max) => zset.ranks_by_member(min, max),
            Bounds::Nothing => 0..0,
        }
    }
}

/// Reads a score, which `(` excludes.
fn score_bound(word: &[u8]) -> Result<Bound<f64>> {
    let (bound, text): (fn(f64) -> Bound<f64>, _) = match word {
        [b'(', text @ ..] => (Bound::Excluded, text),
        _ => (Bound::Included, word),
    };
    number::parse_f64_loosely(text).map(bound).ok_or(Error::MinOrMaxNotFloat)
}

/// A bound of names.
enum Name<'a> {
    /// Before all names.
    Start,
    /// Behind all names.
    End,
    At(Bound<&'a [u8]>),
}

impl<'a> Name<'a> {
    fn bound(self) -> Bound<&'a [u8]> {
        match self {
            Name::Start | Name::End => Bound::Unbounded,
            Name::At(bound) => bound,
        }
    }
}

/// Reads `-`, `+`, or a name behind `[` or `(`.
fn name_bound(word: &[u8]) -> Result<Name<'_>> {
    match number::before_nul(word) {
        b"-" => return Ok(Name::Start),
        b"+" => return Ok(Name::End),
        _ => {}
    }
    match word {
        [b'[', name @ ..] => Ok(Name::At(Bound::Included(name))),
        [b'(', name @ ..] => Ok(Name::At(Bound::Excluded(name))),
        _ => Err(Error::MinOrMaxNotLex),
    }
}

/// What ZRANGE and its kin are asked for.
struct Query<'a> {
    bounds: Bounds<'a>,
    order: Order,
    offset: i64,
    /// Negative: all.
    limit: i64,
    form: Form,
}

impl<'a> Query<'a> {
    /// Reads two bounds and options. What is None may be told: BYSCORE or BYLEX, REV, WITHSCORES.
    fn parse(
        args: &mut Args<'a>,
        mut by: Option<By>,
        mut order: Option<Order>,
        mut form: Option<Form>,
    ) -> Result<Self> {
        let (first, second) = (args.given(), args.given());
        let (mut offset, mut limit) = (0, -1);
        let may_have_scores = form.is_none();
        while args.left() > 0 {
            if may_have_scores && args.accept("withscores") {
                form = Some(Form::Scored);
            } else if args.left() > 2 && args.accept("limit") {
                (offset, limit) = (args.int()?, args.int()?);
            } else if order.is_none() && args.accept("rev") {
                order = Some(Order::Descending);
            } else if by.is_none() && args.accept("bylex") {
                by = Some(By::Name);
            } else if by.is_none() && args.accept("byscore") {
                by = Some(By::Score);
            } else {
                return Err(Error::Syntax);
            }
        }
        let (by, order) = (by.unwrap_or(By::Rank), order.unwrap_or(Order::Ascending));
        let form = form.unwrap_or(Form::Bare);
        if by == By::Rank && limit != -1 {
            return Err(Error::new(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if by == By::Name && form == Form::Scored {
            return Err(Error::new(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Scores and names are given in the order of the answer, ranks from its first.
        let (min, max) = match (by, order) {
            (By::Rank, _) | (_, Order::Ascending) => (first, second),
            (_, Order::Descending) => (second, first),
        };
        let bounds = Bounds::parse(by, min, max)?;
        // LIMIT with a count of -1 is let pass, and has no effect.
        if by == By::Rank {
            offset = 0;
        }
        Ok(Self { bounds, order, offset, limit, form })
    }

    fn ranks(&self, zset: &Zset) -> Range<usize> {
        let Range { start, end } = self.bounds.ranks(zset, self.order);
        // A negative offset skips all; in Redis's skiplist it counts from the end.
        let found = end - start;
        let skipped = match usize::try_from(self.offset) {
            Ok(offset) => offset.min(found),
            Err(_) if zset.is_compact() => found,
            Err(_) => {
                let from_end = usize::try_from(self.offset.unsigned_abs()).ok();
                from_end.and_then(|it| found.checked_sub(it)).unwrap_or(found)
            }
        };
        let count = usize::try_from(self.limit).unwrap_or(usize::MAX).min(found - skipped);
        match self.order {
            Order::Ascending => start + skipped..start + skipped + count,
            Order::Descending => end - skipped - count..end - skipped,
        }
    }
}

fn answer(
    cx: &mut Ctx,
    mut args: Args,
    by: Option<By>,
    order: Option<Order>,
    reply: &mut Reply,
) -> Result {
    let key = args.key();
    let query = Query::parse(&mut args, by, order, None)?;
    let Some(zset) = cx.read::<Zset>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let members = zset.range(query.ranks(zset));
    match query.order {
        Order::Ascending => query.form.write(members, reply),
        Order::Descending => query.form.write(members.rev(), reply),
    }
    Ok(())
}

pub(super) fn zrange(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, None, None, reply)
}

pub(super) fn zrevrange(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Some(By::Rank), Some(Order::Descending), reply)
}

pub(super) fn zrangebyscore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Some(By::Score), Some(Order::Ascending), reply)
}

pub(super) fn zrevrangebyscore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Some(By::Score), Some(Order::Descending), reply)
}

pub(super) fn zrangebylex(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Some(By::Name), Some(Order::Ascending), reply)
}

pub(super) fn zrevrangebylex(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Some(By::Name), Some(Order::Descending), reply)
}

pub(super) fn zrangestore(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (target, source) = (args.key(), args.key());
    let query = Query::parse(&mut args, None, None, Some(Form::Bare))?;
    let limits = cx.limits().clone();
    let mut stored = Zset::new();
    if let Some(zset) = cx.read::<Zset>(source)? {
        let ranks = query.ranks(zset);
        // Redis knows how many there will be only where ranks bound them.
        if matches!(query.bounds, Bounds::Ranks(..)) {
            stored.expect(ranks.len(), 0, &limits);
        }
        // In the order of the answer, since where it outgrows a listpack decides on zeros' signs.
        let mut store = |(member, score): (Item, f64)| _ = stored.insert(&member, score, &limits);
        match query.order {
            Order::Ascending => zset.range(ranks).for_each(&mut store),
            Order::Descending => zset.range(ranks).rev().for_each(&mut store),
        }
    }
    store(cx, target, stored, "zrangestore", reply);
    Ok(())
}

/// Puts what a command has made in place of what a key held, and answers how many members it has.
/// Without any, the key goes.
pub(in crate::command) fn store(
    cx: &mut Ctx,
    key: &[u8],
    zset: Zset,
    event: &'static str,
    reply: &mut Reply,
) {
    reply.count(zset.len());
    if zset.is_empty() {
        cx.remove(key, "del");
    } else {
        cx.put(key, zset, event);
    }
}

fn count(cx: &mut Ctx, mut args: Args, by: By, reply: &mut Reply) -> Result {
    let key = args.key();
    let bounds = Bounds::parse(by, args.given(), args.given())?;
    let zset = cx.read::<Zset>(key)?;
    reply.count(zset.map_or(0, |zset| bounds.ranks(zset, Order::Ascending).len()));
    Ok(())
}

pub(super) fn zcount(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    count(cx, args, By::Score, reply)
}

pub(super) fn zlexcount(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    count(cx, args, By::Name, reply)
}

fn remove(cx: &mut Ctx, mut args: Args, by: By, event: &'static str, reply: &mut Reply) -> Result {
    let key = args.key();
    let bounds = Bounds::parse(by, args.given(), args.given())?;
    let Some(mut zset) = cx.edit::<Zset>(key)? else {
        reply.int(0);
        return Ok(());
    };
    let ranks = bounds.ranks(&zset, Order::Ascending);
    let removed = ranks.len();
    reply.count(removed);
    if removed > 0 {
        zset.remove_range(ranks);
        zset.commit_many(event, removed);
    }
    Ok(())
}

pub(super) fn zremrangebyrank(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    remove(cx, args, By::Rank, "zremrangebyrank", reply)
}

pub(super) fn zremrangebyscore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    remove(cx, args, By::Score, "zremrangebyscore", reply)
}

pub(super) fn zremrangebylex(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    remove(cx, args, By::Name, "zremrangebylex", reply)
}
