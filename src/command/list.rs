//! The commands on lists: queues of elements, taken from either end, by clients that may wait for
//! one.

use super::prelude::*;
use crate::data::List;
use crate::data::list::Side;
use crate::util::number;

/// A source to take from and a target to add to.
const MOVES: Keys = Keys::one(1).pops().and(Keys::one(2).inserts());

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::List, &[
    row("blmove",     "6.2.0", Exactly(6), MOVES, &[Write, DenyOom, Blocking], blmove, "source destination LEFT|RIGHT LEFT|RIGHT timeout", "Moves an element to another list, waits for one if need be."),
    row("blmpop",     "7.0.0", AtLeast(5), Keys::counted(2).pops(), &[Write, Blocking, BlocksForFirst], blmpop, "timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]", "Takes elements from the first list that has any, waits if need be."),
    row("blpop",      "2.0.0", AtLeast(3), Keys::span(1, -2).pops(), &[Write, Blocking], blpop, "key [key ...] timeout", "Takes the head of the first list that has one, waits if need be."),
    row("brpop",      "2.0.0", AtLeast(3), Keys::span(1, -2).pops(), &[Write, Blocking], brpop, "key [key ...] timeout", "Takes the tail of the first list that has one, waits if need be."),
    row("brpoplpush", "2.2.0", Exactly(4), MOVES, &[Write, DenyOom, Blocking], brpoplpush, "source destination timeout", "Moves a tail to the head of another list, waits for one if need be."),
    row("lindex",     "1.0.0", Exactly(3), Keys::one(1).reads(), &[Read], lindex, "key index", "Answers the element at an index."),
    row("linsert",    "2.2.0", Exactly(5), Keys::one(1).inserts(), &[Write, DenyOom], linsert, "key BEFORE|AFTER pivot element", "Puts an element before or after the first one that equals the pivot."),
    row("llen",       "1.0.0", Exactly(2), Keys::one(1).inspects(), &[Read, Fast], llen, "key", "Counts the elements."),
    row("lmove",      "6.2.0", Exactly(5), MOVES, &[Write, DenyOom], lmove, "source destination LEFT|RIGHT LEFT|RIGHT", "Moves an element to another list."),
    row("lmpop",      "7.0.0", AtLeast(4), Keys::counted(1).pops(), &[Write], lmpop, "numkeys key [key ...] LEFT|RIGHT [COUNT count]", "Takes elements from the first list that has any."),
    row("lpop",       "1.0.0", AtLeast(2), Keys::one(1).pops(), &[Write, Fast], lpop, "key [count]", "Takes the head, or elements from there."),
    row("lpos",       "6.0.6", AtLeast(3), Keys::one(1).reads(), &[Read], lpos, "key element [RANK rank] [COUNT num-matches] [MAXLEN len]", "Finds the indices of elements that equal this one."),
    row("lpush",      "1.0.0", AtLeast(3), Keys::one(1).inserts(), &[Write, DenyOom, Fast], lpush, "key element [element ...]", "Puts elements before the head."),
    row("lpushx",     "2.2.0", AtLeast(3), Keys::one(1).inserts(), &[Write, DenyOom, Fast], lpushx, "key element [element ...]", "Puts elements before the head of a list that exists."),
    row("lrange",     "1.0.0", Exactly(4), Keys::one(1).reads(), &[Read], lrange, "key start stop", "Answers the elements from one index to another."),
    row("lrem",       "1.0.0", Exactly(4), Keys::one(1).deletes(), &[Write], lrem, "key count element", "Removes elements that equal this one."),
    row("lset",       "1.0.0", Exactly(4), Keys::one(1).updates(), &[Write, DenyOom], lset, "key index element", "Replaces the element at an index."),
    row("ltrim",      "1.0.0", Exactly(4), Keys::one(1).deletes(), &[Write], ltrim, "key start stop", "Keeps the elements from one index to another."),
    row("rpop",       "1.0.0", AtLeast(2), Keys::one(1).pops(), &[Write, Fast], rpop, "key [count]", "Takes the tail, or elements from there."),
    row("rpoplpush",  "1.2.0", Exactly(3), MOVES, &[Write, DenyOom], rpoplpush, "source destination", "Moves a tail to the head of another list."),
    row("rpush",      "1.0.0", AtLeast(3), Keys::one(1).inserts(), &[Write, DenyOom, Fast], rpush, "key element [element ...]", "Puts elements behind the tail."),
    row("rpushx",     "2.2.0", AtLeast(3), Keys::one(1).inserts(), &[Write, DenyOom, Fast], rpushx, "key element [element ...]", "Puts elements behind the tail of a list that exists."),
]);

fn pushed(side: Side) -> &'static str {
    match side {
        Side::Left => "lpush",
        Side::Right => "rpush",
    }
}

fn popped(side: Side) -> &'static str {
    match side {
        Side::Left => "lpop",
        Side::Right => "rpop",
    }
}

/// Reads LEFT or RIGHT.
fn side(args: &mut Args) -> Result<Side> {
    if args.accept("left") {
        Ok(Side::Left)
    } else if args.accept("right") {
        Ok(Side::Right)
    } else {
        Err(Error::Syntax)
    }
}

/// Pushes one by one: the last element given ends up outermost.
fn push(cx: &mut Ctx, mut args: Args, side: Side, reply: &mut Reply) -> Result {
    let mut list = cx.edit_or_create::<List>(args.key())?;
    let pushes = args.left();
    for element in args {
        list.push(side, element);
    }
    reply.count(list.len());
    list.commit_many(pushed(side), pushes);
    Ok(())
}

fn lpush(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    push(cx, args, Side::Left, reply)
}

fn rpush(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    push(cx, args, Side::Right, reply)
}

fn push_existing(cx: &mut Ctx, args: Args, side: Side, reply: &mut Reply) -> Result {
    if cx.edit::<List>(args.all()[1])?.is_none() {
        reply.int(0);
        return Ok(());
    }
    push(cx, args, side, reply)
}

fn lpushx(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    push_existing(cx, args, Side::Left, reply)
}

fn rpushx(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    push_existing(cx, args, Side::Right, reply)
}

fn pop(cx: &mut Ctx, mut args: Args, side: Side, reply: &mut Reply) -> Result {
    if args.len() > 3 {
        return Err(Error::wrong_arity(popped(side)));
    }
    let key = args.key();
    let Some(count) = args.next() else {
        match cx.edit::<List>(key)? {
            None => reply.null(),
            Some(mut list) => {
                reply.bulk_or_null(list.peek(side).as_deref());
                list.pop(side);
                list.commit(popped(side));
            }
        }
        return Ok(());
    };
    let count = number::parse_i64(count)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or(Error::NotPositive)?;
    match cx.edit::<List>(key)? {
        None => reply.null_array(),
        Some(_) if count == 0 => reply.array(0),
        Some(list) => take(list, side, count, reply),
    }
    Ok(())
}

/// Answers up to `count` elements from one end and removes them.
fn take(mut list: Edit<List>, side: Side, count: usize, reply: &mut Reply) {
    let count = count.min(list.len());
    reply.array(count);
    for _ in 0..count {
        reply.bulk_or_null(list.peek(side).as_deref());
        list.pop(side);
    }
    list.commit_many(popped(side), count);
}

fn lpop(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    pop(cx, args, Side::Left, reply)
}

fn rpop(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    pop(cx, args, Side::Right, reply)
}

/// The command that takes from this end without waiting.
fn pop_command(side: Side) -> &'static [u8] {
    match side {
        Side::Left => b"LPOP",
        Side::Right => b"RPOP",
    }
}

/// What BLPOP is told.
#[derive(Debug)]
struct PopOne {
    keys: Range<usize>,
    side: Side,
}

impl Attempt for PopOne {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        for &key in &args.all()[self.keys()] {
            let Some(mut list) = cx.edit::<List>(key)? else { continue };
            reply.array(2);
            reply.bulk(key);
            reply.bulk_or_null(list.peek(self.side).as_deref());
            list.pop(self.side);
            list.commit(popped(self.side));
            cx.journal_as(&[pop_command(self.side), key]);
            return Ok(true);
        }
        Ok(false)
    }
}

fn block_pop(cx: &mut Ctx, args: Args, side: Side, reply: &mut Reply) -> Result {
    let timeout = args.remaining().last().expect("arity guarantees it");
    let timeout = Timeout::seconds(timeout, cx.now_ms())?;
    let wait = Wait { on: On::List, timeout, empty: Empty::NullArray };
    let keys = args.place()..args.len() - 1;
    cx.block(wait, PopOne { keys, side }, args, reply)
}

fn blpop(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    block_pop(cx, args, Side::Left, reply)
}

fn brpop(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    block_pop(cx, args, Side::Right, reply)
}

/// Moves an element; false if there is none to move.
fn relocate(
    cx: &mut Ctx,
    (source, from): (&[u8], Side),
    (target, to): (&[u8], Side),
    reply: &mut Reply,
) -> Result<bool> {
    // An empty source is an answer whatever the target is.
    let Some(list) = cx.read::<List>(source)? else { return Ok(false) };
    let element = list.peek(from).expect("no list is empty").to_vec();
    // Refuses before the first change.
    let mut list = cx.edit_or_create::<List>(target)?;
    reply.bulk(&element);
    // A list that is rotated never is longer than it was, and one of one element keeps its TTL.
    if source == target {
        list.pop(from);
    }
    list.push(to, &element);
    list.commit(pushed(to));
    // Both together are one change.
    let mut list = cx.edit_existing::<List>(source);
    if source != target {
        list.pop(from);
    }
    list.commit_many(popped(from), 0);
    let word = |side| if side == Side::Left { &b"LEFT"[..] } else { &b"RIGHT"[..] };
    cx.journal_as(&[b"LMOVE", source, target, word(from), word(to)]);
    Ok(true)
}

fn lmove(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (source, target) = (args.key(), args.key());
    let (from, to) = (side(&mut args)?, side(&mut args)?);
    if !relocate(cx, (source, from), (target, to), reply)? {
        reply.null();
    }
    Ok(())
}

fn rpoplpush(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (source, target) = (args.key(), args.key());
    if !relocate(cx, (source, Side::Right), (target, Side::Left), reply)? {
        reply.null();
    }
    Ok(())
}

/// What BLMOVE is told: its first two words are the source and the target.
#[derive(Debug)]
struct MoveOne {
    from: Side,
    to: Side,
}

impl Attempt for MoveOne {
    fn keys(&self) -> Range<usize> {
        1..2
    }

    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        let words = args.all();
        relocate(cx, (words[1], self.from), (words[2], self.to), reply)
    }
}

fn blmove(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    args.take_words(2)?;
    let (from, to) = (side(&mut args)?, side(&mut args)?);
    let timeout = Timeout::seconds(args.word()?, cx.now_ms())?;
    let wait = Wait { on: On::List, timeout, empty: Empty::Null };
    cx.block(wait, MoveOne { from, to }, args, reply)
}

fn brpoplpush(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    args.take_words(2)?;
    let timeout = Timeout::seconds(args.word()?, cx.now_ms())?;
    let wait = Wait { on: On::List, timeout, empty: Empty::Null };
    cx.block(wait, MoveOne { from: Side::Right, to: Side::Left }, args, reply)
}

/// What follows the time-out of BLMPOP: keys, side and count.
#[derive(Debug)]
struct PopMany {
    keys: Range<usize>,
    side: Side,
    count: usize,
}

impl PopMany {
    fn parse(args: &mut Args) -> Result<Self> {
        let keys = args.counted_places()?;
        let side = side(args)?;
        let count = args.count_option()?;
        Ok(Self { keys, side, count })
    }
}

impl Attempt for PopMany {
    fn keys(&self) -> Range<usize> {
        self.keys.clone()
    }

    /// Takes from the first list that has any.
    fn attempt(&self, cx: &mut Ctx, args: Args, _: Woken, reply: &mut Reply) -> Result<bool> {
        for &key in &args.all()[self.keys()] {
            let Some(list) = cx.edit::<List>(key)? else { continue };
            let count = self.count.min(list.len());
            reply.array(2);
            reply.bulk(key);
            take(list, self.side, count, reply);
            cx.journal_as(&[pop_command(self.side), key, &number::format_i64(count as i64)]);
            return Ok(true);
        }
        Ok(false)
    }
}

fn lmpop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !PopMany::parse(&mut args)?.attempt(cx, args, Woken::Ready, reply)? {
        reply.null_array();
    }
    Ok(())
}

fn blmpop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let timeout = args.given();
    let pops = PopMany::parse(&mut args)?;
    let timeout = Timeout::seconds(timeout, cx.now_ms())?;
    let wait = Wait { on: On::List, timeout, empty: Empty::NullArray };
    cx.block(wait, pops, args, reply)
}

fn llen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let list = cx.read::<List>(args.key())?;
    reply.count(list.map_or(0, List::len));
    Ok(())
}

fn lindex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(list) = cx.read::<List>(args.key())? else {
        reply.null();
        return Ok(());
    };
    reply.bulk_or_null(list.get(args.int()?).as_deref());
    Ok(())
}

/// The indices from `start` to `stop` that a list of `len` elements has; negative ones count from
/// the tail.
pub(super) fn clamp(start: i64, stop: i64, len: usize) -> Range<usize> {
    let absolute = |index: i64| if index < 0 { index.saturating_add(len as i64) } else { index };
    let start = absolute(start).max(0) as usize;
    let end = absolute(stop).saturating_add(1).clamp(0, len as i64) as usize;
    if start < end { start..end } else { 0..0 }
}

fn lrange(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, start, stop) = (args.key(), args.int()?, args.int()?);
    let Some(list) = cx.read::<List>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let range = clamp(start, stop, list.len());
    reply.array(range.len());
    for element in list.iter_from(range.start).take(range.len()) {
        reply.bulk(&element);
    }
    Ok(())
}

fn lrem(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, count, element) = (args.key(), args.signed_count()?, args.given());
    let Some(mut list) = cx.edit::<List>(key)? else {
        reply.int(0);
        return Ok(());
    };
    let removed = list.remove(count, element);
    reply.count(removed);
    if removed > 0 {
        list.commit_many("lrem", removed);
    }
    Ok(())
}

fn lset(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut list = cx.edit::<List>(args.key())?.ok_or(Error::NoSuchKey)?;
    // Redis keeps the low 32 bits, so that -2^63 is the head.
    let index = args.int()? as i32;
    let element = args.given();
    if !list.set(index.into(), element) {
        let (list, limits) = list.with_limits();
        list.expect(element, limits);
        return Err(Error::OutOfRange);
    }
    reply.ok();
    list.commit("lset");
    Ok(())
}

fn ltrim(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, start, stop) = (args.key(), args.int()?, args.int()?);
    let list = cx.edit::<List>(key)?;
    reply.ok();
    if let Some(mut list) = list {
        let kept = clamp(start, stop, list.len());
        let removed = list.len() - kept.len();
        list.trim(kept);
        list.commit_many("ltrim", removed);
    }
    Ok(())
}

fn linsert(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let offset = match () {
        () if args.accept("before") => 0,
        () if args.accept("after") => 1,
        () => return Err(Error::Syntax),
    };
    let (pivot, element) = (args.given(), args.given());
    let Some(mut list) = cx.edit::<List>(key)? else {
        reply.int(0);
        return Ok(());
    };
    let place = list.positions(pivot, usize::MAX).next();
    match place {
        None => {
            let (list, limits) = list.with_limits();
            list.expect(element, limits);
            reply.int(-1);
        }
        Some(index) => {
            list.insert(index + offset, element);
            reply.count(list.len());
            list.commit("linsert");
        }
    }
    Ok(())
}

fn lpos(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, element) = (args.key(), args.given());
    let (mut rank, mut count, mut stretch) = (1, None, 0);
    while args.left() > 0 {
        if args.accept("rank") {
            rank = args.signed_count()?;
            if rank == 0 {
                return Err(Error::new(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the \
                     second ... or use negative to start from the end of the list",
                ));
            }
        } else if args.accept("count") {
            count = Some(non_negative(&mut args, "COUNT")?);
        } else if args.accept("maxlen") {
            stretch = non_negative(&mut args, "MAXLEN")?;
        } else {
            return Err(Error::Syntax);
        }
    }
    let stretch = if stretch == 0 { usize::MAX } else { stretch };
    let skipped = rank.unsigned_abs() as usize - 1;
    let wanted = match count {
        None => 1,
        Some(0) => usize::MAX,
        Some(count) => count,
    };
    let found: Vec<usize> = match cx.read::<List>(key)? {
        None => Vec::new(),
        Some(list) if rank > 0 => {
            list.positions(element, stretch).skip(skipped).take(wanted).collect()
        }
        Some(list) => list.positions_back(element, stretch).skip(skipped).take(wanted).collect(),
    };
    if count.is_some() {
        reply.array(found.len());
        found.iter().for_each(|&index| reply.count(index));
    } else {
        match found.first() {
            Some(&index) => reply.count(index),
            None => reply.null(),
        }
    }
    Ok(())
}

fn non_negative(args: &mut Args, option: &str) -> Result<usize> {
    let count = args.int().ok().and_then(|count| usize::try_from(count).ok());
    count.ok_or_else(|| Error::new(format!("ERR {option} can't be negative")))
}
