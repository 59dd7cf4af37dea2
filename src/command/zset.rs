//! The commands on sorted sets: members in the order of their scores.

mod algebra;
mod pop;
mod range;

use super::prelude::*;
use super::random::Picks;
use super::scan;
use crate::data::Zset;
use crate::data::zset::Inserted;
use crate::util::number;
use std::ops::Deref;

use algebra::*;
use pop::*;
pub(super) use range::store;
use range::*;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Zset, &[
    row("bzmpop",           "7.0.0",  AtLeast(5), Keys::counted(2).pops(), &[Write, Blocking, BlocksForFirst], bzmpop, "timeout numkeys key [key ...] MIN|MAX [COUNT count]", "Takes members from the first sorted set that has any, waits if need be."),
    row("bzpopmax",         "5.0.0",  AtLeast(3), Keys::span(1, -2).pops(), &[Write, Blocking, Fast], bzpopmax, "key [key ...] timeout", "Takes the highest member of the first sorted set that has one, waits if need be."),
    row("bzpopmin",         "5.0.0",  AtLeast(3), Keys::span(1, -2).pops(), &[Write, Blocking, Fast], bzpopmin, "key [key ...] timeout", "Takes the lowest member of the first sorted set that has one, waits if need be."),
    row("zadd",             "1.2.0",  AtLeast(4), Keys::one(1).updates(), &[Write, DenyOom, Fast], zadd, "key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]", "Adds members, or gives them other scores."),
    row("zcard",            "1.2.0",  Exactly(2), Keys::one(1).inspects(), &[Read, Fast], zcard, "key", "Counts the members."),
    row("zcount",           "2.0.0",  Exactly(4), Keys::one(1).reads(), &[Read, Fast], zcount, "key min max", "Counts the members whose scores are within bounds."),
    row("zdiff",            "6.2.0",  AtLeast(3), Keys::counted(1).reads(), &[Read], zdiff, "numkeys key [key ...] [WITHSCORES]", "Answers what the first sorted set has and the others have not."),
    row("zdiffstore",       "6.2.0",  AtLeast(4), STORED, &[Write, DenyOom], zdiffstore, "destination numkeys key [key ...]", "Stores what the first sorted set has and the others have not."),
    row("zincrby",          "1.2.0",  Exactly(4), Keys::one(1).updates().with(access::ACCESS), &[Write, DenyOom, Fast], zincrby, "key increment member", "Adds to a member's score."),
    row("zinter",           "6.2.0",  AtLeast(3), Keys::counted(1).reads(), &[Read], zinter, "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]", "Answers what all sorted sets have."),
    row("zintercard",       "7.0.0",  AtLeast(3), Keys::counted(1).reads(), &[Read], zintercard, "numkeys key [key ...] [LIMIT limit]", "Counts what all sorted sets have."),
    row("zinterstore",      "2.0.0",  AtLeast(4), STORED, &[Write, DenyOom], zinterstore, "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]", "Stores what all sorted sets have."),
    row("zlexcount",        "2.8.9",  Exactly(4), Keys::one(1).reads(), &[Read, Fast], zlexcount, "key min max", "Counts the members within bounds, where all scores are equal."),
    row("zmpop",            "7.0.0",  AtLeast(4), Keys::counted(1).pops(), &[Write], zmpop, "numkeys key [key ...] MIN|MAX [COUNT count]", "Takes members from the first sorted set that has any."),
    row("zmscore",          "6.2.0",  AtLeast(3), Keys::one(1).reads(), &[Read, Fast], zmscore, "key member [member ...]", "Answers the scores of members."),
    row("zpopmax",          "5.0.0",  AtLeast(2), Keys::one(1).pops(), &[Write, Fast], zpopmax, "key [count]", "Takes the highest members."),
    row("zpopmin",          "5.0.0",  AtLeast(2), Keys::one(1).pops(), &[Write, Fast], zpopmin, "key [count]", "Takes the lowest members."),
    row("zrandmember",      "6.2.0",  AtLeast(2), Keys::one(1).reads(), &[Read], zrandmember, "key [count [WITHSCORES]]", "Answers random members.").tips(&[VARIES]),
    row("zrange",           "1.2.0",  AtLeast(4), Keys::one(1).reads(), &[Read], zrange, "key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]", "Answers the members within bounds of rank, score or name."),
    row("zrangebylex",      "2.8.9",  AtLeast(4), Keys::one(1).reads(), &[Read], zrangebylex, "key min max [LIMIT offset count]", "Answers the members within bounds, where all scores are equal."),
    row("zrangebyscore",    "1.0.5",  AtLeast(4), Keys::one(1).reads(), &[Read], zrangebyscore, "key min max [WITHSCORES] [LIMIT offset count]", "Answers the members whose scores are within bounds."),
    row("zrangestore",      "6.2.0",  AtLeast(5), Keys::one(1).overwrites().and(Keys::one(2).reads()), &[Write, DenyOom], zrangestore, "dst src min max [BYSCORE|BYLEX] [REV] [LIMIT offset count]", "Stores the members within bounds of rank, score or name."),
    row("zrank",            "2.0.0",  AtLeast(3), Keys::one(1).reads(), &[Read, Fast], zrank, "key member [WITHSCORE]", "Answers how many members are lower than this one."),
    row("zrem",             "1.2.0",  AtLeast(3), Keys::one(1).deletes(), &[Write, Fast], zrem, "key member [member ...]", "Removes members."),
    row("zremrangebylex",   "2.8.9",  Exactly(4), Keys::one(1).deletes(), &[Write], zremrangebylex, "key min max", "Removes the members within bounds, where all scores are equal."),
    row("zremrangebyrank",  "2.0.0",  Exactly(4), Keys::one(1).deletes(), &[Write], zremrangebyrank, "key start stop", "Removes the members from one rank to another."),
    row("zremrangebyscore", "1.2.0",  Exactly(4), Keys::one(1).deletes(), &[Write], zremrangebyscore, "key min max", "Removes the members whose scores are within bounds."),
    row("zrevrange",        "1.2.0",  AtLeast(4), Keys::one(1).reads(), &[Read], zrevrange, "key start stop [WITHSCORES]", "Answers the members from one rank to another, the highest first."),
    row("zrevrangebylex",   "2.8.9",  AtLeast(4), Keys::one(1).reads(), &[Read], zrevrangebylex, "key max min [LIMIT offset count]", "Answers the members within bounds, the highest first, where all scores are equal."),
    row("zrevrangebyscore", "2.2.0",  AtLeast(4), Keys::one(1).reads(), &[Read], zrevrangebyscore, "key max min [WITHSCORES] [LIMIT offset count]", "Answers the members whose scores are within bounds, the highest first."),
    row("zrevrank",         "2.0.0",  AtLeast(3), Keys::one(1).reads(), &[Read, Fast], zrevrank, "key member [WITHSCORE]", "Answers how many members are higher than this one."),
    row("zscan",            "2.8.0",  AtLeast(3), Keys::one(1).reads(), &[Read], zscan, "key cursor [MATCH pattern] [COUNT count]", "Walks through members and scores step by step.").tips(&[VARIES]),
    row("zscore",           "1.2.0",  Exactly(3), Keys::one(1).reads(), &[Read, Fast], zscore, "key member", "Answers a member's score."),
    row("zunion",           "6.2.0",  AtLeast(3), Keys::counted(1).reads(), &[Read], zunion, "numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX] [WITHSCORES]", "Answers what any of the sorted sets has."),
    row("zunionstore",      "2.0.0",  AtLeast(4), STORED, &[Write, DenyOom], zunionstore, "destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE SUM|MIN|MAX]", "Stores what any of the sorted sets has."),
]);

/// The key of the result, then those that it is made of.
const STORED: Keys = Keys::one(1).overwrites().and(Keys::counted(2).reads());

/// How members are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Without their scores.
    Bare,
    /// Each followed by its score; RESP3 makes pairs of them.
    Scored,
    /// Each in a pair with its score.
    Paired,
}

impl Form {
    fn write<Member: Deref<Target = [u8]>>(
        self,
        members: impl ExactSizeIterator<Item = (Member, f64)>,
        reply: &mut Reply,
    ) {
        let is_flat = self == Form::Scored && reply.protocol() == Protocol::Resp2;
        reply.array(if is_flat { members.len() * 2 } else { members.len() });
        for (member, score) in members {
            if reply.is_over() {
                break; // ZRANDMEMBER may have any number of them.
            }
            if self != Form::Bare && !is_flat {
                reply.array(2);
            }
            reply.bulk(&member);
            if self != Form::Bare {
                reply.double(score);
            }
        }
    }
}

/// When ZADD gives a member a score, and what it answers.
#[derive(Debug, Default)]
struct Options {
    is_absent: bool,
    exists: bool,
    is_greater: bool,
    is_less: bool,
    counts_changes: bool,
    increments: bool,
}

impl Options {
    /// Reads the options in any order, and as often as they come.
    fn parse(args: &mut Args) -> Self {
        let mut options = Self::default();
        if args.peek().is_some_and(|word| !word.first().is_some_and(u8::is_ascii_alphabetic)) {
            // Most often a score.
            return options;
        }
        let mut known = [
            ("nx", &mut options.is_absent),
            ("xx", &mut options.exists),
            ("gt", &mut options.is_greater),
            ("lt", &mut options.is_less),
            ("ch", &mut options.counts_changes),
            ("incr", &mut options.increments),
        ];
        while let Some((_, option)) = known.iter_mut().find(|(word, _)| args.accept(word)) {
            **option = true;
        }
        options
    }

    fn check(&self, pairs: usize) -> Result {
        let refusal = match self {
            Self { is_absent: true, exists: true, .. } => {
                "ERR XX and NX options at the same time are not compatible"
            }
            Self { is_absent: true, is_greater: true, .. }
            | Self { is_absent: true, is_less: true, .. }
            | Self { is_greater: true, is_less: true, .. } => {
                "ERR GT, LT, and/or NX options at the same time are not compatible"
            }
            Self { increments: true, .. } if pairs > 1 => {
                "ERR INCR option supports a single increment-element pair"
            }
            _ => return Ok(()),
        };
        Err(Error::new(refusal))
    }

    fn is_conditional(&self) -> bool {
        self.is_absent || self.exists || self.is_greater || self.is_less
    }

    fn permit(&self, old: Option<f64>, new: f64) -> bool {
        match old {
            None => !self.exists,
            Some(old) => {
                !(self.is_absent || self.is_greater && new <= old || self.is_less && new >= old)
            }
        }
    }
}

fn zadd<'a>(cx: &mut Ctx, mut args: Args<'a>, reply: &mut Reply) -> Result {
    let key = args.key();
    let options = Options::parse(&mut args);
    let (pairs @ [first, rest @ ..], []) = args.remaining().as_chunks() else {
        return Err(Error::Syntax);
    };
    options.check(pairs.len())?;
    // All scores are read ahead of the first change, and most requests have one. To read the others
    // twice is cheaper than to keep them.
    let read = |&[score, member]: &[&'a [u8]; 2]| {
        number::parse_f64(score).map(|score| (score, member)).ok_or(Error::NotFloat)
    };
    let first = read(first)?;
    for pair in rest {
        read(pair)?;
    }
    if options.increments {
        return add_to_score(cx, key, first.0, first.1, &options, reply);
    }
    let rest = rest.iter().map(|pair| read(pair).expect("all scores have been read"));
    let scored = std::iter::once(first).chain(rest);
    let mut edit = cx.edit_or_create::<Zset>(key)?;
    let (zset, limits) = edit.with_limits();
    zset.expect(pairs.len(), 0, limits);
    let (mut added, mut updated) = (0, 0);
    for (score, member) in scored {
        if options.is_conditional() && !options.permit(zset.score(member), score) {
            continue;
        }
        match zset.insert(member, score, limits) {
            Inserted::Added => added += 1,
            Inserted::Updated => updated += 1,
            Inserted::Unchanged => {}
        }
    }
    reply.count(if options.counts_changes { added + updated } else { added });
    if added + updated > 0 {
        edit.commit_many("zadd", added + updated);
    }
    Ok(())
}

fn zincrby(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, increment, member) = (args.key(), args.double()?, args.given());
    add_to_score(cx, key, increment, member, &Options::default(), reply)
}

fn add_to_score(
    cx: &mut Ctx,
    key: &[u8],
    increment: f64,
    member: &[u8],
    options: &Options,
    reply: &mut Reply,
) -> Result {
    let mut zset = cx.edit_or_create::<Zset>(key)?;
    let (members, limits) = zset.with_limits();
    members.expect(1, 0, limits);
    let old = zset.score(member);
    let score = old.map_or(increment, |old| old + increment);
    if !options.permit(old, score) {
        reply.null();
        return Ok(());
    }
    if score.is_nan() {
        return Err(Error::new("ERR resulting score is not a number (NaN)"));
    }
    reply.double(score);
    let (members, limits) = zset.with_limits();
    if members.insert(member, score, limits) != Inserted::Unchanged {
        zset.commit("zincr");
    }
    Ok(())
}

fn zrem(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(mut zset) = cx.edit::<Zset>(args.key())? else {
        reply.int(0);
        return Ok(());
    };
    let removed = args.filter(|member| zset.remove(member).is_some()).count();
    reply.count(removed);
    if removed > 0 {
        zset.commit_many("zrem", removed);
    }
    Ok(())
}

fn zcard(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let zset = cx.read::<Zset>(args.key())?;
    reply.count(zset.map_or(0, Zset::len));
    Ok(())
}

fn write_score(score: Option<f64>, reply: &mut Reply) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zscore(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let zset = cx.read::<Zset>(args.key())?;
    write_score(zset.and_then(|zset| zset.score(args.given())), reply);
    Ok(())
}

fn zmscore(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let zset = cx.read::<Zset>(args.key())?;
    reply.array(args.left());
    for member in args {
        write_score(zset.and_then(|zset| zset.score(member)), reply);
    }
    Ok(())
}

/// Answers how many members come before this one, counted from the lowest or the highest.
fn rank(cx: &mut Ctx, mut args: Args, order: Order, reply: &mut Reply) -> Result {
    if args.len() > 4 {
        let name = if order == Order::Ascending { "zrank" } else { "zrevrank" };
        return Err(Error::wrong_arity(name));
    }
    let (key, member) = (args.key(), args.given());
    let has_score = args.accept("withscore");
    args.end()?;
    let found = cx.read::<Zset>(key)?.and_then(|zset| {
        let rank = zset.rank(member)?;
        Some((if order == Order::Ascending { rank } else { zset.len() - 1 - rank }, zset))
    });
    match found {
        None if has_score => reply.null_array(),
        None => reply.null(),
        Some((rank, zset)) if has_score => {
            reply.array(2);
            reply.count(rank);
            write_score(zset.score(member), reply);
        }
        Some((rank, _)) => reply.count(rank),
    }
    Ok(())
}

fn zrank(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    rank(cx, args, Order::Ascending, reply)
}

fn zrevrank(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    rank(cx, args, Order::Descending, reply)
}

fn zrandmember(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    if args.left() == 0 {
        match cx.read_with_rng::<Zset>(key)? {
            Some((zset, rng)) => reply.bulk(&zset.at(rng.below(zset.len())).0),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = args.signed_count()?;
    let form = if args.accept("withscores") { Form::Scored } else { Form::Bare };
    args.end()?;
    // Redis counts the scores as well, in a signed integer.
    if form == Form::Scored && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::ValueOutOfRange);
    }
    let Some((zset, rng)) = cx.read_with_rng::<Zset>(key)? else {
        reply.array(0);
        return Ok(());
    };
    // The highest first, as Redis does where all are wanted.
    let highest = zset.len() - 1;
    form.write(Picks::new(count, zset.len(), rng).map(|pick| zset.at(highest - pick)), reply);
    Ok(())
}

fn zscan(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let cursor = scan::cursor(&mut args)?;
    let Some(zset) = cx.read::<Zset>(key)? else {
        scan::announce(0, 0, reply);
        return Ok(());
    };
    let options = scan::Options::parse(args, scan::Over::Members)?;
    let mut found = Vec::new();
    let next = zset.scan(cursor, options.count, &mut |member, score| {
        if options.admits(&member) {
            found.push((member, score));
        }
    });
    // Redis prints the score of a skip list in a way of its own.
    let print = |score| match zset.is_compact() {
        true => number::format_double(score),
        false => number::format_g(score, 17),
    };
    scan::announce(next, found.len() * 2, reply);
    for (member, score) in found {
        reply.bulk(&member);
        reply.bulk(&print(score));
    }
    Ok(())
}
