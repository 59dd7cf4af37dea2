//! EXPIRE, TTL and their family: when a key expires, and how long that is from now.

use super::prelude::*;
use crate::data::hash::EXPIRES_MS_MAX;
use crate::proto::args::is_keyword;
use crate::util::number;
use Moment::{Ex, ExAt, Px, PxAt};

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("expire",      "1.0.0", AtLeast(3), Keys::one(1).updates(), &[Write, Fast], expire,      "key seconds [NX | XX | GT | LT]",                "Lets a key go in some seconds."),
    row("expireat",    "1.2.0", AtLeast(3), Keys::one(1).updates(), &[Write, Fast], expireat,    "key unix-time-seconds [NX | XX | GT | LT]",      "Lets a key go at a second of Unix time."),
    row("expiretime",  "7.0.0", Exactly(2), Keys::one(1).reads(),   &[Read, Fast],  expiretime,  "key",                                            "Tells at which second of Unix time a key goes."),
    row("persist",     "2.2.0", Exactly(2), Keys::one(1).updates(), &[Write, Fast], persist,     "key",                                            "Lets a key stay that would have gone."),
    row("pexpire",     "2.6.0", AtLeast(3), Keys::one(1).updates(), &[Write, Fast], pexpire,     "key milliseconds [NX | XX | GT | LT]",           "Lets a key go in some milliseconds."),
    row("pexpireat",   "2.6.0", AtLeast(3), Keys::one(1).updates(), &[Write, Fast], pexpireat,   "key unix-time-milliseconds [NX | XX | GT | LT]", "Lets a key go at a millisecond of Unix time."),
    row("pexpiretime", "7.0.0", Exactly(2), Keys::one(1).reads(),   &[Read, Fast],  pexpiretime, "key",                                            "Tells at which millisecond of Unix time a key goes."),
    row("pttl",        "2.6.0", Exactly(2), Keys::one(1).reads(),   &[Read, Fast],  pttl,        "key",                                            "Tells in how many milliseconds a key goes.").tips(&[VARIES]),
    row("ttl",         "1.0.0", Exactly(2), Keys::one(1).reads(),   &[Read, Fast],  ttl,         "key",                                            "Tells in how many seconds a key goes.").tips(&[VARIES]),
]);

/// The four ways in which a request gives a moment, by the words of SET's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Seconds of Unix time.
    ExAt,
    /// Milliseconds of Unix time.
    PxAt,
}

impl Moment {
    /// The kind that an option's word names, in any case of letters. None if it names none.
    pub fn of_word(word: &[u8]) -> Option<Self> {
        let words = [("ex", Ex), ("px", Px), ("exat", ExAt), ("pxat", PxAt)];
        let is_it = |(name, _): &&(&str, Self)| is_keyword(word, name);
        words.iter().find(is_it).map(|(_, moment)| *moment)
    }

    /// In milliseconds of Unix time.
    fn unix_ms(self, amount: i64, now_ms: i64) -> Option<i64> {
        let unit_ms = if matches!(self, Ex | ExAt) { 1000 } else { 1 };
        let start_ms = if matches!(self, Ex | Px) { now_ms } else { 0 };
        amount.checked_mul(unit_ms)?.checked_add(start_ms)
    }

    /// Reads the amount as SET does, where it must be positive.
    pub fn read(self, amount: &[u8], now_ms: i64, command: &str) -> Result<i64> {
        let amount = number::parse_i64(amount).ok_or(Error::NotInteger)?;
        let at_ms = self.unix_ms(amount, now_ms).filter(|_| amount > 0);
        at_ms.ok_or_else(|| invalid_time(command))
    }

    /// Reads the amount as HEXPIRE does.
    pub fn read_for_field(self, amount: &[u8], now_ms: i64, command: &str) -> Result<i64> {
        let amount = number::parse_i64(amount).ok_or(Error::NotInteger)?;
        if amount < 0 {
            return Err(Error::new("ERR invalid expire time, must be >= 0"));
        }
        let at_ms = self.unix_ms(amount, now_ms).filter(|at_ms| *at_ms <= EXPIRES_MS_MAX);
        at_ms.ok_or_else(|| invalid_time(command))
    }
}

fn invalid_time(command: &str) -> Error {
    Error::new(format!("ERR invalid expire time in '{command}' command"))
}

/// Sets when an existing key goes, or removes it if that moment has passed.
pub(super) fn expire_at(cx: &mut Ctx, key: &[u8], at_ms: i64) {
    if at_ms <= cx.now_ms() {
        cx.remove(key, "del");
        cx.journal_as(&[b"DEL", key]);
        return;
    }
    cx.set_expiry(key, Some(at_ms), "expire");
    cx.journal_as(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
}

/// Lets a key stay. False if it would have stayed anyway, or if there is none.
pub(super) fn persist_key(cx: &mut Ctx, key: &[u8]) -> bool {
    let goes = cx.expires_ms(key).is_some();
    if goes {
        cx.set_expiry(key, None, "persist");
        cx.journal_as(&[b"PERSIST", key]);
    }
    goes
}

fn expire(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_if(cx, args, reply, Ex, "expire")
}

fn pexpire(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_if(cx, args, reply, Px, "pexpire")
}

fn expireat(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_if(cx, args, reply, ExAt, "expireat")
}

fn pexpireat(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_if(cx, args, reply, PxAt, "pexpireat")
}

fn expire_if(
    cx: &mut Ctx,
    mut args: Args,
    reply: &mut Reply,
    moment: Moment,
    command: &str,
) -> Result {
    let (key, amount) = (args.key(), args.given());
    let condition = Condition::parse(args)?;
    let amount = number::parse_i64(amount).ok_or(Error::NotInteger)?;
    let at_ms = moment.unix_ms(amount, cx.now_ms()).ok_or_else(|| invalid_time(command))?;
    let is_met = cx.exists(key) && condition.holds(cx.expires_ms(key), at_ms);
    if is_met {
        expire_at(cx, key, at_ms);
    }
    reply.flag(is_met);
    Ok(())
}

/// Which present TTL lets EXPIRE set its own: NX none, XX any, GT a shorter one, LT a longer one.
#[derive(Default)]
pub(super) struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(mut args: Args) -> Result<Self> {
        let mut condition = Self::default();
        while let Some(word) = args.peek() {
            if !condition.accept(&mut args) {
                return Err(Error::quoting("ERR Unsupported option ", word, ""));
            }
        }
        let Self { nx, xx, gt, lt } = condition;
        if nx && (xx || gt || lt) {
            return Err(Error::new(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if gt && lt {
            return Err(Error::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(condition)
    }

    /// Reads the next word if it is one of a condition.
    pub fn accept(&mut self, args: &mut Args) -> bool {
        let Self { nx, xx, gt, lt } = self;
        let words = [("nx", nx), ("xx", xx), ("gt", gt), ("lt", lt)];
        let accepted = words.into_iter().find(|(word, _)| args.accept(word));
        accepted.map(|(_, is_set)| *is_set = true).is_some()
    }

    /// What has no TTL lives longer than anything that has one.
    pub fn holds(&self, present_ms: Option<i64>, at_ms: i64) -> bool {
        let is_shorter = present_ms.is_some_and(|present_ms| present_ms < at_ms);
        let is_longer = present_ms.is_none_or(|present_ms| present_ms > at_ms);
        !(self.nx && present_ms.is_some()
            || self.xx && present_ms.is_none()
            || self.gt && !is_shorter
            || self.lt && !is_longer)
    }
}

fn persist(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    reply.flag(persist_key(cx, args.key()));
    Ok(())
}

fn ttl(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    tell(cx, args, reply, |at_ms| to_seconds(at_ms - now_ms))
}

fn pttl(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    tell(cx, args, reply, |at_ms| at_ms - now_ms)
}

fn expiretime(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    tell(cx, args, reply, to_seconds)
}

fn pexpiretime(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    tell(cx, args, reply, |at_ms| at_ms)
}

/// To the nearest second, and far from overflowing.
fn to_seconds(millis: i64) -> i64 {
    millis / 1000 + i64::from(millis % 1000 >= 500)
}

/// -2 without a key, -1 without a TTL.
fn tell(cx: &mut Ctx, mut args: Args, reply: &mut Reply, form: impl Fn(i64) -> i64) -> Result {
    let key = args.key();
    reply.int(match cx.inspect(key) {
        None => -2,
        Some(_) => cx.expires_ms(key).map_or(-1, form),
    });
    Ok(())
}
