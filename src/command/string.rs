//! The commands on strings: bytes, parts of them, and numbers that count.

use super::expire::{self, Moment};
use super::prelude::*;
use crate::data::Str;
use crate::util::extended::Extended;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::String, &[
    row("append",      "2.0.0", Exactly(3), Keys::one(1).inserts(),                          &[Write, DenyOom, Fast], append,      "key value",                  "Puts bytes behind a string."),
    row("decr",        "1.0.0", Exactly(2), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], decr,        "key",                        "Subtracts one from an integer."),
    row("decrby",      "1.0.0", Exactly(3), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], decrby,      "key decrement",              "Subtracts from an integer."),
    row("get",         "1.0.0", Exactly(2), Keys::one(1).reads(),                            &[Read, Fast],           get,         "key",                        "Answers a string."),
    row("getdel",      "6.2.0", Exactly(2), Keys::one(1).pops(),                             &[Write, Fast],          getdel,      "key",                        "Answers a string and deletes its key."),
    row("getex",       "6.2.0", AtLeast(2), Keys::one(1).updates().with(access::ACCESS),     &[Write, Fast],          getex,       "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]", "Answers a string and sets when its key goes."),
    row("getrange",    "2.4.0", Exactly(4), Keys::one(1).reads(),                            &[Read],                 getrange,    "key start end",              "Answers a part of a string."),
    row("getset",      "1.0.0", Exactly(3), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], getset,      "key value",                  "Sets a string and answers the one before."),
    row("incr",        "1.0.0", Exactly(2), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], incr,        "key",                        "Adds one to an integer."),
    row("incrby",      "1.0.0", Exactly(3), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], incrby,      "key increment",              "Adds to an integer."),
    row("incrbyfloat", "2.6.0", Exactly(3), Keys::one(1).updates().with(access::ACCESS),     &[Write, DenyOom, Fast], incrbyfloat, "key increment",              "Adds to a number with a fraction."),
    row("mget",        "1.0.0", AtLeast(2), Keys::span(1, -1).reads(),                       &[Read, Fast],           mget,        "key [key ...]",              "Answers several strings.").tips(&[MULTI_SHARD]),
    row("mset",        "1.0.1", AtLeast(3), Keys::stepped(1, -1, 2).overwrites(),            &[Write, DenyOom],       mset,        "key value [key value ...]",  "Sets several strings.").tips(&[MULTI_SHARD, ALL_SUCCEEDED]),
    row("msetnx",      "1.0.1", AtLeast(3), Keys::stepped(1, -1, 2).with(access::OW | access::INSERT), &[Write, DenyOom], msetnx,   "key value [key value ...]",  "Sets several strings if none of the keys exists."),
    row("psetex",      "2.6.0", Exactly(4), Keys::one(1).overwrites(),                       &[Write, DenyOom],       psetex,      "key milliseconds value",     "Sets a string that goes in some milliseconds."),
    row("set",         "1.0.0", AtLeast(3), Keys::one(1).updates().with(access::ACCESS | access::VARIABLE), &[Write, DenyOom], set,  "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]", "Sets a string, whatever the key held."),
    row("setex",       "2.0.0", Exactly(4), Keys::one(1).overwrites(),                       &[Write, DenyOom],       setex,       "key seconds value",          "Sets a string that goes in some seconds."),
    row("setnx",       "1.0.0", Exactly(3), Keys::one(1).with(access::OW | access::INSERT),  &[Write, DenyOom, Fast], setnx,       "key value",                  "Sets a string if the key does not exist."),
    row("setrange",    "2.2.0", Exactly(4), Keys::one(1).updates(),                          &[Write, DenyOom],       setrange,    "key offset value",           "Overwrites a part of a string."),
    row("strlen",      "2.2.0", Exactly(2), Keys::one(1).inspects(),                         &[Read, Fast],           strlen,      "key",                        "Counts the bytes of a string."),
    row("substr",      "1.0.0", Exactly(4), Keys::one(1).reads(),                            &[Read],                 getrange,    "key start end",              "Answers a part of a string: the old name of GETRANGE."),
]);

fn get(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    answer(cx, args.key(), reply)
}

fn answer(cx: &mut Ctx, key: &[u8], reply: &mut Reply) -> Result {
    match cx.read::<Str>(key)? {
        Some(string) => reply.bulk(&string.bytes()),
        None => reply.null(),
    }
    Ok(())
}

/// A key of another type counts as absent.
fn mget(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    reply.array(args.left());
    for key in args {
        match cx.read::<Str>(key) {
            Ok(Some(string)) => reply.bulk(&string.bytes()),
            Ok(None) | Err(_) => reply.null(),
        }
    }
    Ok(())
}

fn strlen(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let len = cx.read::<Str>(args.key())?.map_or(0, Str::len);
    reply.count(len);
    Ok(())
}

fn getrange(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, start, end) = (args.key(), args.int()?, args.int()?);
    match cx.read::<Str>(key)? {
        Some(string) => reply.bulk(&string.bytes()[string.range(start, end)]),
        None => reply.bulk(b""),
    }
    Ok(())
}

fn set(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, value) = (args.key(), args.given());
    let options = Options::parse(args, true)?;
    let until_ms = options.until_ms(cx.now_ms(), "set")?;
    if options.gets {
        answer(cx, key, reply)?;
    }
    let is_met = options.must_exist.is_none_or(|must_exist| cx.exists(key) == must_exist);
    if is_met && options.ttl == Ttl::Keep {
        cx.put_for(key, Str::of_bytes(value), Lifetime::Kept, "set");
    } else if is_met {
        assign(cx, key, value, until_ms);
    }
    match (options.gets, is_met) {
        (true, _) => {}
        (false, true) => reply.ok(),
        (false, false) => reply.null(),
    }
    Ok(())
}

fn assign(cx: &mut Ctx, key: &[u8], value: &[u8], until_ms: Option<i64>) {
    let lifetime = until_ms.map_or(Lifetime::Endless, Lifetime::Until);
    cx.put_for(key, Str::of_bytes(value), lifetime, "set");
    if let Some(until_ms) = until_ms {
        cx.notify(EventClasses::GENERIC, "expire", key);
        let mut digits = itoa::Buffer::new();
        cx.journal_as(&[b"SET", key, value, b"PXAT", digits.format(until_ms).as_bytes()]);
    }
}

/// What follows the words of SET and GETEX. An option may be repeated, but not contradicted.
struct Options<'a> {
    /// NX is `Some(false)`, XX `Some(true)`.
    must_exist: Option<bool>,
    gets: bool,
    ttl: Ttl<'a>,
}

#[derive(PartialEq)]
enum Ttl<'a> {
    /// SET takes it away, GETEX leaves it as it is.
    Unsaid,
    Keep,
    Persist,
    Until(Moment, &'a [u8]),
}

impl<'a> Options<'a> {
    fn parse(mut args: Args<'a>, is_set: bool) -> Result<Self> {
        let mut options = Self { must_exist: None, gets: false, ttl: Ttl::Unsaid };
        while args.left() > 0 {
            if is_set && args.accept("nx") {
                options.require(false)?;
            } else if is_set && args.accept("xx") {
                options.require(true)?;
            } else if is_set && args.accept("get") {
                options.gets = true;
            } else if is_set && args.accept("keepttl") {
                options.live(Ttl::Keep)?;
            } else if !is_set && args.accept("persist") {
                options.live(Ttl::Persist)?;
            } else {
                let moment = Moment::of_word(args.word()?).ok_or(Error::Syntax)?;
                options.live(Ttl::Until(moment, args.word()?))?;
            }
        }
        Ok(options)
    }

    fn require(&mut self, must_exist: bool) -> Result {
        if self.must_exist == Some(!must_exist) {
            return Err(Error::Syntax);
        }
        self.must_exist = Some(must_exist);
        Ok(())
    }

    fn live(&mut self, ttl: Ttl<'a>) -> Result {
        let repeats = match (&self.ttl, &ttl) {
            (Ttl::Unsaid, _) => true,
            (Ttl::Until(old, _), Ttl::Until(new, _)) => old == new,
            (old, new) => old == new,
        };
        self.ttl = if repeats { ttl } else { return Err(Error::Syntax) };
        Ok(())
    }

    fn until_ms(&self, now_ms: i64, command: &str) -> Result<Option<i64>> {
        match self.ttl {
            Ttl::Until(moment, amount) => moment.read(amount, now_ms, command).map(Some),
            Ttl::Unsaid | Ttl::Keep | Ttl::Persist => Ok(None),
        }
    }
}

fn setex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, seconds, value) = (args.key(), args.given(), args.given());
    let until_ms = Moment::Ex.read(seconds, cx.now_ms(), "setex")?;
    assign(cx, key, value, Some(until_ms));
    reply.ok();
    Ok(())
}

fn psetex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, millis, value) = (args.key(), args.given(), args.given());
    let until_ms = Moment::Px.read(millis, cx.now_ms(), "psetex")?;
    assign(cx, key, value, Some(until_ms));
    reply.ok();
    Ok(())
}

fn setnx(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, value) = (args.key(), args.given());
    let is_new = !cx.exists(key);
    if is_new {
        assign(cx, key, value, None);
    }
    reply.flag(is_new);
    Ok(())
}

fn getset(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, value) = (args.key(), args.given());
    answer(cx, key, reply)?;
    assign(cx, key, value, None);
    cx.journal_as(&[b"SET", key, value]);
    Ok(())
}

fn getdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    answer(cx, key, reply)?;
    cx.remove(key, "del");
    cx.journal_as(&[b"DEL", key]);
    Ok(())
}

fn getex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, now_ms) = (args.key(), cx.now_ms());
    let options = Options::parse(args, false)?;
    let Some(string) = cx.read::<Str>(key)? else {
        reply.null();
        return Ok(());
    };
    let until_ms = options.until_ms(now_ms, "getex")?;
    reply.bulk(&string.bytes());
    if let Some(until_ms) = until_ms {
        expire::expire_at(cx, key, until_ms);
    } else if options.ttl == Ttl::Persist {
        expire::persist_key(cx, key);
    }
    Ok(())
}

fn mset(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    for [key, value] in args.pairs("mset")? {
        assign(cx, key, value, None);
    }
    reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let pairs = args.pairs("msetnx")?;
    let are_new = !pairs.iter().any(|[key, _]| cx.exists(key));
    if are_new {
        for [key, value] in pairs {
            assign(cx, key, value, None);
        }
    }
    reply.flag(are_new);
    Ok(())
}

fn append(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, value) = (args.key(), args.given());
    let len_max = cx.config().proto_max_bulk_len;
    let mut string = cx.edit_or_create::<Str>(key)?;
    if string.is_new() {
        *string = Str::of_bytes(value);
    } else if string.len() + value.len() > len_max {
        return Err(Error::StringTooLong);
    } else {
        string.append(value);
    }
    reply.count(string.len());
    string.commit("append");
    Ok(())
}

fn setrange(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, offset, value) = (args.key(), args.int()?, args.given());
    let len_max = cx.config().proto_max_bulk_len;
    let Ok(offset) = usize::try_from(offset) else {
        return Err(Error::new("ERR offset is out of range"));
    };
    if value.is_empty() {
        let len = cx.edit::<Str>(key)?.map_or(0, |string| string.len());
        reply.count(len);
        return Ok(());
    }
    let mut string = cx.edit_or_create::<Str>(key)?;
    if offset.saturating_add(value.len()) > len_max {
        return Err(Error::StringTooLong);
    }
    string.set_range(offset, value);
    reply.count(string.len());
    string.commit("setrange");
    Ok(())
}

fn incr(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    add(cx, args.key(), 1, reply)
}

fn decr(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    add(cx, args.key(), -1, reply)
}

fn incrby(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, increment) = (args.key(), args.int()?);
    add(cx, key, increment, reply)
}

fn decrby(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, decrement) = (args.key(), args.int()?);
    let Some(increment) = decrement.checked_neg() else {
        return Err(Error::new("ERR decrement would overflow"));
    };
    add(cx, key, increment, reply)
}

fn add(cx: &mut Ctx, key: &[u8], increment: i64, reply: &mut Reply) -> Result {
    let mut string = cx.edit_or_create::<Str>(key)?;
    let before = if string.is_new() { Some(0) } else { string.integer() };
    let after = before.ok_or(Error::NotInteger)?.checked_add(increment).ok_or(Error::Overflow)?;
    *string = Str::of_integer(after);
    reply.int(after);
    string.commit("incrby");
    Ok(())
}

fn incrbyfloat(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, increment) = (args.key(), args.given());
    let mut string = cx.edit_or_create::<Str>(key)?;
    let parse = |text: &[u8]| Extended::parse(text).ok_or(Error::NotFloat);
    let before = if string.is_new() { parse(b"0")? } else { parse(&string.bytes())? };
    let after = before.plus(parse(increment)?);
    if !after.is_finite() {
        return Err(Error::NanOrInfinity);
    }
    let mut text = Vec::new();
    after.write(&mut text);
    *string = Str::of_text(&text);
    reply.bulk(&text);
    string.commit("incrbyfloat");
    // The sum itself: another machine's long doubles may be shorter.
    cx.journal_as(&[b"SET", key, &text, b"KEEPTTL"]);
    Ok(())
}
