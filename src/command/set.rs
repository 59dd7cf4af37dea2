//! The commands on sets: members, what several sets have in common, members picked at random.

use super::prelude::*;
use super::random::Picks;
use super::scan;
use crate::config::Limits;
use crate::data::item::Item;
use crate::data::{Set, Str, Typed};
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Set, &[
    row("sadd",        "1.0.0", AtLeast(3), Keys::one(1).inserts(),                   &[Write, DenyOom, Fast], sadd,        "key member [member ...]",              "Adds members."),
    row("scard",       "1.0.0", Exactly(2), Keys::one(1).inspects(),                  &[Read, Fast],           scard,       "key",                                  "Counts the members."),
    row("sdiff",       "1.0.0", AtLeast(2), Keys::span(1, -1).reads(),                &[Read],                 sdiff,       "key [key ...]",                        "Answers what the first set has and the others have not.").tips(&[ORDER_VARIES]),
    row("sdiffstore",  "1.0.0", AtLeast(3), STORED,                                   &[Write, DenyOom],       sdiffstore,  "destination key [key ...]",            "Keeps what the first set has and the others have not."),
    row("sinter",      "1.0.0", AtLeast(2), Keys::span(1, -1).reads(),                &[Read],                 sinter,      "key [key ...]",                        "Answers what all sets have.").tips(&[ORDER_VARIES]),
    row("sintercard",  "7.0.0", AtLeast(3), Keys::counted(1).reads(),                 &[Read],                 sintercard,  "numkeys key [key ...] [LIMIT limit]",  "Counts what all sets have."),
    row("sinterstore", "1.0.0", AtLeast(3), STORED,                                   &[Write, DenyOom],       sinterstore, "destination key [key ...]",            "Keeps what all sets have."),
    row("sismember",   "1.0.0", Exactly(3), Keys::one(1).inspects(),                  &[Read, Fast],           sismember,   "key member",                           "Tells whether a set has a member."),
    row("smembers",    "1.0.0", Exactly(2), Keys::one(1).reads(),                     &[Read],                 smembers,    "key",                                  "Answers all members.").tips(&[ORDER_VARIES]),
    row("smismember",  "6.2.0", AtLeast(3), Keys::one(1).reads(),                     &[Read, Fast],           smismember,  "key member [member ...]",              "Tells which members a set has."),
    row("smove",       "1.0.0", Exactly(4), Keys::one(1).pops().and(Keys::one(2).inserts()), &[Write, Fast],   smove,       "source destination member",            "Moves a member to another set."),
    row("spop",        "1.0.0", AtLeast(2), Keys::one(1).pops(),                      &[Write, Fast],          spop,        "key [count]",                          "Takes random members out.").tips(&[VARIES]),
    row("srandmember", "1.0.0", AtLeast(2), Keys::one(1).reads(),                     &[Read],                 srandmember, "key [count]",                          "Answers random members.").tips(&[VARIES]),
    row("srem",        "1.0.0", AtLeast(3), Keys::one(1).deletes(),                   &[Write, Fast],          srem,        "key member [member ...]",              "Removes members."),
    row("sscan",       "2.8.0", AtLeast(3), Keys::one(1).reads(),                     &[Read],                 sscan,       "key cursor [MATCH pattern] [COUNT count]", "Walks through the members step by step.").tips(&[VARIES]),
    row("sunion",      "1.0.0", AtLeast(2), Keys::span(1, -1).reads(),                &[Read],                 sunion,      "key [key ...]",                        "Answers what any of the sets has.").tips(&[ORDER_VARIES]),
    row("sunionstore", "1.0.0", AtLeast(3), STORED,                                   &[Write, DenyOom],       sunionstore, "destination key [key ...]",            "Keeps what any of the sets has."),
]);

/// The key of the result, then those that it is made of.
const STORED: Keys = Keys::one(1).overwrites().and(Keys::span(2, -1).reads());

fn sadd(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut set = cx.edit_or_create::<Set>(args.key())?;
    let (members, limits) = set.with_limits();
    if let Some(first) = args.peek() {
        members.expect(first, args.left(), limits);
    }
    let added = args.filter(|member| members.add(member, limits)).count();
    reply.count(added);
    if added > 0 {
        set.commit_many("sadd", added);
    }
    Ok(())
}

fn srem(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(mut set) = cx.edit::<Set>(args.key())? else {
        reply.count(0);
        return Ok(());
    };
    let removed = args.filter(|member| set.remove(member)).count();
    reply.count(removed);
    if removed > 0 {
        set.commit_many("srem", removed);
    }
    Ok(())
}

fn smove(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (source, target, member) = (args.key(), args.key(), args.given());
    let Some(set) = cx.edit::<Set>(source)? else {
        reply.flag(false);
        return Ok(());
    };
    let is_member = set.contains(member);
    drop(set);
    cx.edit::<Set>(target)?; // Refuses before the first change.
    reply.flag(is_member);
    if is_member && source != target {
        let mut set = cx.edit_existing::<Set>(source);
        set.remove(member);
        set.commit("srem");
        let mut set = cx.edit_or_create::<Set>(target)?;
        let is_first = set.is_new();
        let (members, limits) = set.with_limits();
        if is_first {
            members.expect(member, 1, limits);
        }
        if members.add(member, limits) {
            set.commit("sadd");
        }
    }
    Ok(())
}

fn scard(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.read::<Set>(args.key())?.map_or(0, Set::len));
    Ok(())
}

fn sismember(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, member) = (args.key(), args.given());
    reply.flag(cx.read::<Set>(key)?.is_some_and(|set| set.contains(member)));
    Ok(())
}

fn smismember(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let set = cx.read::<Set>(args.key())?;
    reply.array(args.left());
    args.for_each(|member| reply.flag(set.is_some_and(|set| set.contains(member))));
    Ok(())
}

fn smembers(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let set = cx.read::<Set>(args.key())?;
    reply.set(set.map_or(0, Set::len));
    set.into_iter().flat_map(Set::iter).for_each(|member| reply.bulk(&member));
    Ok(())
}

fn spop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    if args.left() == 0 {
        match pop(cx, key, 1)?.first() {
            Some(member) => reply.bulk(&member.bytes()),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = args.given();
    args.end()?;
    let count = number::parse_i64(count).and_then(|count| usize::try_from(count).ok());
    let popped = pop(cx, key, count.ok_or(Error::NotPositive)?)?;
    reply.set(popped.len());
    popped.iter().for_each(|member| reply.bulk(&member.bytes()));
    Ok(())
}

/// Where SPOP takes so many times what remains, Redis puts that into a new set.
const REPACKED_SHARE: usize = 5;

/// Takes `count` random members out of a set, or all.
fn pop(cx: &mut Ctx, key: &[u8], count: usize) -> Result<Vec<Str>> {
    let Some(mut set) = cx.edit::<Set>(key)? else { return Ok(Vec::new()) };
    let (members, rng) = set.with_rng();
    let popped: Vec<Str> = std::iter::from_fn(|| members.pop_random(rng)).take(count).collect();
    if !popped.is_empty() {
        if popped.len() > 1 && set.len() * REPACKED_SHARE <= popped.len() {
            let (members, limits) = set.with_limits();
            members.repack(limits);
        }
        set.commit_many("spop", popped.len());
        let members: Vec<Item> = popped.iter().map(Str::bytes).collect();
        let mut removal: Vec<&[u8]> = vec![b"SREM", key];
        removal.extend(members.iter().map(|member| &**member));
        cx.journal_as(&removal);
    }
    Ok(popped)
}

fn srandmember(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    if args.left() == 0 {
        match cx.read_with_rng::<Set>(key)?.and_then(|(set, rng)| set.random(rng)) {
            Some(member) => reply.bulk(&member),
            None => reply.null(),
        }
        return Ok(());
    }
    if args.left() > 1 {
        return Err(Error::Syntax);
    }
    let count = args.signed_count()?;
    let Some((set, rng)) = cx.read_with_rng::<Set>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let picks = Picks::new(count, set.len(), rng);
    reply.array(picks.len());
    for member in picks.filter_map(|index| set.at(index)) {
        if reply.is_over() {
            break;
        }
        reply.bulk(&member);
    }
    Ok(())
}

fn sscan(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let cursor = scan::cursor(&mut args)?;
    let Some(set) = cx.read::<Set>(key)? else {
        scan::announce(0, 0, reply);
        return Ok(());
    };
    let options = scan::Options::parse(args, scan::Over::Members)?;
    let mut found = Vec::new();
    let next = set.scan(cursor, options.count, &mut |member| {
        if options.admits(&member) {
            found.push(member);
        }
    });
    scan::answer(next, &found, reply);
    Ok(())
}

/// Makes one set of several, None where there is no key.
type Algebra = for<'s> fn(&[Option<&'s Set>]) -> Vec<Item<'s>>;

fn sets<'c>(cx: &'c mut Ctx, keys: &[&[u8]]) -> Result<Vec<Option<&'c Set>>> {
    let entries = cx.read_all(keys, |value| Set::of(value).is_some())?;
    Ok(entries.into_iter().map(|entry| Set::of(&entry?.value)).collect())
}

/// Asks the smallest set which of its members all others have.
fn intersection<'s>(sets: &[Option<&'s Set>]) -> impl Iterator<Item = Item<'s>> {
    let sets: Option<Vec<&Set>> = sets.iter().copied().collect();
    let mut sets = sets.unwrap_or_default();
    sets.sort_by_key(|set| set.len());
    let smallest = sets.first().copied();
    let is_in_all = move |member: &Item| sets[1..].iter().all(|set| set.contains(member));
    smallest.into_iter().flat_map(Set::iter).filter(is_in_all)
}

fn intersect<'s>(sets: &[Option<&'s Set>]) -> Vec<Item<'s>> {
    intersection(sets).collect()
}

fn unite<'s>(sets: &[Option<&'s Set>]) -> Vec<Item<'s>> {
    let mut seen = Set::new();
    sets.iter()
        .flatten()
        .flat_map(|set| set.iter())
        .filter(|member| seen.add(member, &Limits::DEFAULT))
        .collect()
}

/// Asks each other set for each member of the first; or, where the others are many and small,
/// unites them first.
fn subtract<'s>(sets: &[Option<&'s Set>]) -> Vec<Item<'s>> {
    let [Some(first), others @ ..] = sets else { return Vec::new() };
    let others: Vec<&Set> = others.iter().copied().flatten().collect();
    let total: usize = others.iter().map(|set| set.len()).sum();
    let is_in_none = |member: &Item| !others.iter().any(|set| set.contains(member));
    if first.len().saturating_mul(others.len()) <= total {
        return first.iter().filter(is_in_none).collect();
    }
    let mut united = Set::new();
    let others = others.iter().flat_map(|set| set.iter());
    others.for_each(|member| _ = united.add(&member, &Limits::DEFAULT));
    first.iter().filter(|member| !united.contains(member)).collect()
}

fn answer(cx: &mut Ctx, args: Args, combine: Algebra, reply: &mut Reply) -> Result {
    let members = combine(&sets(cx, args.remaining())?);
    reply.set(members.len());
    members.iter().for_each(|member| reply.bulk(member));
    Ok(())
}

fn store(
    cx: &mut Ctx,
    mut args: Args,
    combine: Algebra,
    event: &'static str,
    reply: &mut Reply,
) -> Result {
    let target = args.key();
    let limits = cx.limits().clone();
    let mut result = Set::new();
    for member in combine(&sets(cx, args.remaining())?) {
        result.add(&member, &limits);
    }
    reply.count(result.len());
    if result.is_empty() {
        cx.remove(target, "del");
    } else {
        cx.put(target, result, event);
    }
    Ok(())
}

fn sinter(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, intersect, reply)
}

fn sinterstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    store(cx, args, intersect, "sinterstore", reply)
}

fn sunion(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, unite, reply)
}

fn sunionstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    store(cx, args, unite, "sunionstore", reply)
}

fn sdiff(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, subtract, reply)
}

fn sdiffstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    store(cx, args, subtract, "sdiffstore", reply)
}

fn sintercard(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let keys = args.counted_keys().map_err(|error| match error {
        Error::Syntax => Error::new("ERR Number of keys can't be greater than number of args"),
        other => other,
    })?;
    let limit = args.limit_option()?;
    reply.count(intersection(&sets(cx, keys)?).take(limit).count());
    Ok(())
}
