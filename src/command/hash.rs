//! The commands on hashes: fields and values under one key.

use super::prelude::*;
use super::random::Picks;
use super::scan;
use crate::data::Hash;
use crate::util::extended::Extended;
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Hash, &[
    row("hdel",         "2.0.0", AtLeast(3), Keys::one(1).deletes(),                      &[Write, Fast],          hdel,         "key field [field ...]",             "Removes fields."),
    row("hexists",      "2.0.0", Exactly(3), Keys::one(1).inspects(),                     &[Read, Fast],           hexists,      "key field",                         "Tells whether a field exists."),
    row("hget",         "2.0.0", Exactly(3), Keys::one(1).reads(),                        &[Read, Fast],           hget,         "key field",                         "Answers the value of a field."),
    row("hgetall",      "2.0.0", Exactly(2), Keys::one(1).reads(),                        &[Read],                 hgetall,      "key",                               "Answers all fields with their values.").tips(&[ORDER_VARIES]),
    row("hincrby",      "2.0.0", Exactly(4), Keys::one(1).updates().with(access::ACCESS), &[Write, DenyOom, Fast], hincrby,      "key field increment",               "Adds to an integer."),
    row("hincrbyfloat", "2.6.0", Exactly(4), Keys::one(1).updates().with(access::ACCESS), &[Write, DenyOom, Fast], hincrbyfloat, "key field increment",               "Adds to a number with a fraction."),
    row("hkeys",        "2.0.0", Exactly(2), Keys::one(1).reads(),                        &[Read],                 hkeys,        "key",                               "Answers all fields.").tips(&[ORDER_VARIES]),
    row("hlen",         "2.0.0", Exactly(2), Keys::one(1).inspects(),                     &[Read, Fast],           hlen,         "key",                               "Counts the fields."),
    row("hmget",        "2.0.0", AtLeast(3), Keys::one(1).reads(),                        &[Read, Fast],           hmget,        "key field [field ...]",             "Answers the values of several fields."),
    row("hmset",        "2.0.0", AtLeast(4), Keys::one(1).updates(),                      &[Write, DenyOom, Fast], hmset,        "key field value [field value ...]", "Sets fields: the old form of HSET."),
    row("hrandfield",   "6.2.0", AtLeast(2), Keys::one(1).reads(),                        &[Read],                 hrandfield,   "key [count [WITHVALUES]]",          "Answers random fields.").tips(&[VARIES]),
    row("hscan",        "2.8.0", AtLeast(3), Keys::one(1).reads(),                        &[Read],                 hscan,        "key cursor [MATCH pattern] [COUNT count] [NOVALUES]", "Walks through fields and values step by step.").tips(&[VARIES]),
    row("hset",         "2.0.0", AtLeast(4), Keys::one(1).updates(),                      &[Write, DenyOom, Fast], hset,         "key field value [field value ...]", "Sets fields."),
    row("hsetnx",       "2.0.0", Exactly(4), Keys::one(1).inserts(),                      &[Write, DenyOom, Fast], hsetnx,       "key field value",                   "Sets a field if it does not exist."),
    row("hstrlen",      "3.2.0", Exactly(3), Keys::one(1).inspects(),                     &[Read, Fast],           hstrlen,      "key field",                         "Counts the bytes of a value."),
    row("hvals",        "2.0.0", Exactly(2), Keys::one(1).reads(),                        &[Read],                 hvals,        "key",                               "Answers all values.").tips(&[ORDER_VARIES]),
]);

fn hget(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field) = (args.key(), args.given());
    match cx.read::<Hash>(key)?.and_then(|hash| hash.get(field)) {
        Some(value) => reply.bulk(&value),
        None => reply.null(),
    }
    Ok(())
}

fn hmget(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let hash = cx.read::<Hash>(args.key())?;
    reply.array(args.left());
    for field in args {
        match hash.and_then(|hash| hash.get(field)) {
            Some(value) => reply.bulk(&value),
            None => reply.null(),
        }
    }
    Ok(())
}

fn hgetall(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let hash = cx.read::<Hash>(args.key())?;
    reply.map(hash.map_or(0, Hash::len));
    for (field, value) in hash.into_iter().flat_map(Hash::iter) {
        reply.bulk(&field);
        reply.bulk(&value);
    }
    Ok(())
}

fn hkeys(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let hash = cx.read::<Hash>(args.key())?;
    reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(field, _)| reply.bulk(&field));
    Ok(())
}

fn hvals(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let hash = cx.read::<Hash>(args.key())?;
    reply.array(hash.map_or(0, Hash::len));
    hash.into_iter().flat_map(Hash::iter).for_each(|(_, value)| reply.bulk(&value));
    Ok(())
}

fn hlen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.read::<Hash>(args.key())?.map_or(0, Hash::len));
    Ok(())
}

fn hexists(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field) = (args.key(), args.given());
    reply.flag(cx.read::<Hash>(key)?.is_some_and(|hash| hash.contains(field)));
    Ok(())
}

fn hstrlen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field) = (args.key(), args.given());
    let value = cx.read::<Hash>(key)?.and_then(|hash| hash.get(field));
    reply.count(value.map_or(0, |value| value.len()));
    Ok(())
}

/// Returns how many of the fields are new.
fn set(cx: &mut Ctx, mut args: Args, command: &str) -> Result<usize> {
    let key = args.key();
    let pairs = args.pairs(command)?;
    let mut hash = cx.edit_or_create::<Hash>(key)?;
    let (fields, limits) = hash.with_limits();
    let added = fields.set_all(pairs, limits);
    hash.commit_many("hset", pairs.len());
    Ok(added)
}

fn hset(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    reply.count(set(cx, args, "hset")?);
    Ok(())
}

fn hmset(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    set(cx, args, "hmset")?;
    reply.ok();
    Ok(())
}

fn hsetnx(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field, value) = (args.key(), args.given(), args.given());
    let mut hash = cx.edit_or_create::<Hash>(key)?;
    let (fields, limits) = hash.with_limits();
    let is_new = fields.set_nx(field, value, limits);
    reply.flag(is_new);
    if is_new {
        hash.commit("hset");
    }
    Ok(())
}

fn hdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(mut hash) = cx.edit::<Hash>(args.key())? else {
        reply.count(0);
        return Ok(());
    };
    let removed = args.filter(|field| hash.remove(field)).count();
    reply.count(removed);
    if removed > 0 {
        hash.commit_many("hdel", removed);
    }
    Ok(())
}

fn hincrby(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field, increment) = (args.key(), args.given(), args.int()?);
    let mut hash = cx.edit_or_create::<Hash>(key)?;
    let before = match hash.get(field) {
        Some(value) => number::parse_i64(&value).ok_or(Error::HashValueNotInteger)?,
        None => 0,
    };
    let after = before.checked_add(increment).ok_or(Error::Overflow)?;
    let (fields, limits) = hash.with_limits();
    fields.set_keeping_ttl(field, &number::format_i64(after), limits);
    reply.int(after);
    hash.commit("hincrby");
    Ok(())
}

fn hincrbyfloat(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, field) = (args.key(), args.given());
    let increment = Extended::parse(args.given()).ok_or(Error::NotFloat)?;
    if !increment.is_finite() {
        return Err(Error::NotFinite);
    }
    let mut hash = cx.edit_or_create::<Hash>(key)?;
    let after = match hash.get(field) {
        Some(value) => Extended::parse(&value).ok_or(Error::HashValueNotFloat)?.plus(increment),
        None => increment,
    };
    if !after.is_finite() {
        return Err(Error::NanOrInfinity);
    }
    let mut text = Vec::new();
    after.write(&mut text);
    let (fields, limits) = hash.with_limits();
    fields.set_keeping_ttl(field, &text, limits);
    let expires_ms = hash.expires_ms(field).flatten();
    reply.bulk(&text);
    hash.commit("hincrbyfloat");
    // The sum itself: another machine's long doubles may be shorter. HSET takes the TTL.
    cx.journal_as(&[b"HSET", key, field, &text]);
    if let Some(at_ms) = expires_ms {
        let mut buffer = itoa::Buffer::new();
        let at_ms = buffer.format(at_ms).as_bytes();
        cx.journal_as(&[b"HPEXPIREAT", key, at_ms, b"FIELDS", b"1", field]);
    }
    Ok(())
}

fn hrandfield(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    if args.left() == 0 {
        match cx.read_with_rng::<Hash>(key)?.and_then(|(hash, rng)| hash.random(rng)) {
            Some((field, _)) => reply.bulk(&field),
            None => reply.null(),
        }
        return Ok(());
    }
    let count = args.signed_count()?;
    let with_values = args.accept("withvalues");
    args.end()?;
    // Redis counts the values as well, in a signed integer.
    if with_values && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(Error::ValueOutOfRange);
    }
    let Some((hash, rng)) = cx.read_with_rng::<Hash>(key)? else {
        reply.array(0);
        return Ok(());
    };
    let picks = Picks::new(count, hash.len(), rng);
    let in_pairs = with_values && reply.protocol() == Protocol::Resp3;
    reply.array(if with_values && !in_pairs { picks.len() * 2 } else { picks.len() });
    for (field, value) in picks.filter_map(|index| hash.at(index)) {
        if reply.is_over() {
            break;
        }
        if in_pairs {
            reply.array(2);
        }
        reply.bulk(&field);
        if with_values {
            reply.bulk(&value);
        }
    }
    Ok(())
}

fn hscan(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let cursor = scan::cursor(&mut args)?;
    let Some(hash) = cx.read::<Hash>(key)? else {
        scan::announce(0, 0, reply);
        return Ok(());
    };
    let options = scan::Options::parse(args, scan::Over::Fields)?;
    let mut found = Vec::new();
    let next = hash.scan(cursor, options.count, &mut |field, value| {
        if options.admits(&field) {
            found.push(field);
            if options.with_values {
                found.push(value);
            }
        }
    });
    scan::answer(next, &found, reply);
    Ok(())
}
