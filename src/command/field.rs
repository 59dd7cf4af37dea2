//! The commands on TTLs of a hash's fields, and those that read or set fields along with one.
//!
//! What goes into the journal names the moment and the fields that it was set for: as HPEXPIREAT,
//! or as HDEL where the moment has passed.

use super::expire::{Condition, Moment};
use super::prelude::*;
use crate::data::Hash;
use crate::util::number;
use Moment::{Ex, ExAt, Px, PxAt};

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Hash, &[
    row("hexpire",      "7.4.0", AtLeast(6), Keys::one(1).updates(),                                           &[Write, DenyOom, Fast], hexpire,      "key seconds [NX | XX | GT | LT] <FIELDS numfields field [field ...]>",                "Lets fields go in some seconds."),
    row("hexpireat",    "7.4.0", AtLeast(6), Keys::one(1).updates(),                                           &[Write, DenyOom, Fast], hexpireat,    "key unix-time-seconds [NX | XX | GT | LT] <FIELDS numfields field [field ...]>",      "Lets fields go at a second of Unix time."),
    row("hexpiretime",  "7.4.0", AtLeast(5), Keys::one(1).reads(),                                             &[Read, Fast],           hexpiretime,  "key <FIELDS numfields field [field ...]>",                                            "Tells at which second of Unix time fields go."),
    row("hgetdel",      "8.0.0", AtLeast(5), Keys::one(1).deletes().with(access::ACCESS),                      &[Write, Fast],          hgetdel,      "key <FIELDS numfields field [field ...]>",                                            "Answers the values of fields and removes them."),
    row("hgetex",       "8.0.0", AtLeast(5), Keys::one(1).updates().with(access::ACCESS),                      &[Write, Fast],          hgetex,       "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] <FIELDS numfields field [field ...]>", "Answers the values of fields and sets when they go."),
    row("hpersist",     "7.4.0", AtLeast(5), Keys::one(1).updates(),                                           &[Write, Fast],          hpersist,     "key <FIELDS numfields field [field ...]>",                                            "Lets fields stay that would have gone."),
    row("hpexpire",     "7.4.0", AtLeast(6), Keys::one(1).updates(),                                           &[Write, DenyOom, Fast], hpexpire,     "key milliseconds [NX | XX | GT | LT] <FIELDS numfields field [field ...]>",           "Lets fields go in some milliseconds."),
    row("hpexpireat",   "7.4.0", AtLeast(6), Keys::one(1).updates(),                                           &[Write, DenyOom, Fast], hpexpireat,   "key unix-time-milliseconds [NX | XX | GT | LT] <FIELDS numfields field [field ...]>", "Lets fields go at a millisecond of Unix time."),
    row("hpexpiretime", "7.4.0", AtLeast(5), Keys::one(1).reads(),                                             &[Read, Fast],           hpexpiretime, "key <FIELDS numfields field [field ...]>",                                            "Tells at which millisecond of Unix time fields go."),
    row("hpttl",        "7.4.0", AtLeast(5), Keys::one(1).reads(),                                             &[Read, Fast],           hpttl,        "key <FIELDS numfields field [field ...]>",                                            "Tells in how many milliseconds fields go."),
    row("hsetex",       "8.0.0", AtLeast(6), Keys::one(1).updates(),                                           &[Write, DenyOom, Fast], hsetex,       "key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] <FIELDS numfields field value [field value ...]>", "Sets fields and when they go."),
    row("httl",         "7.4.0", AtLeast(5), Keys::one(1).reads(),                                             &[Read, Fast],           httl,         "key <FIELDS numfields field [field ...]>",                                            "Tells in how many seconds fields go."),
]);

/// What is answered for a field.
const NO_FIELD: i64 = -2;
const NO_TTL: i64 = -1;
const UNMET: i64 = 0;
const DONE: i64 = 1;
const REMOVED: i64 = 2;

const NOT_COUNTED: &str = "ERR Number of fields must be a positive integer";

/// Reads FIELDS, their count, and as many of them, up to the end.
fn fields<'a>(mut args: Args<'a>, not_counted: &str) -> Result<&'a [&'a [u8]]> {
    if !args.accept("fields") {
        return Err(Error::new(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let count = args.next().and_then(number::parse_i64).filter(|count| *count > 0);
    let count = count.ok_or_else(|| Error::new(not_counted))?;
    let fields = args.remaining();
    if fields.len() as u64 != count as u64 {
        return Err(Error::new("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

/// What becomes of fields at a moment, in milliseconds of Unix time: they go then, or at once if it
/// has passed.
#[derive(Clone, Copy)]
struct Expiry {
    at_ms: i64,
    is_past: bool,
}

impl Expiry {
    fn new(at_ms: i64, now_ms: i64) -> Self {
        Self { at_ms, is_past: at_ms <= now_ms }
    }

    /// False if there is no such field.
    fn apply(self, hash: &mut Hash, field: &[u8]) -> bool {
        if self.is_past { hash.remove(field) } else { hash.set_expiry(field, Some(self.at_ms)) }
    }

    fn event(self) -> &'static str {
        if self.is_past { "hdel" } else { "hexpire" }
    }

    fn journal(self, cx: &mut Ctx, key: &[u8], fields: &[&[u8]]) {
        if self.is_past {
            journal_fields(cx, &[b"HDEL", key], fields);
        } else {
            let (mut moment, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
            let moment = moment.format(self.at_ms).as_bytes();
            let count = count.format(fields.len()).as_bytes();
            journal_fields(cx, &[b"HPEXPIREAT", key, moment, b"FIELDS", count], fields);
        }
    }
}

fn journal_fields(cx: &mut Ctx, start: &[&[u8]], fields: &[&[u8]]) {
    if cx.has_journal() {
        cx.journal_as(&[start, fields].concat());
    }
}

fn hexpire(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_fields(cx, args, reply, Ex, "hexpire")
}

fn hpexpire(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_fields(cx, args, reply, Px, "hpexpire")
}

fn hexpireat(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_fields(cx, args, reply, ExAt, "hexpireat")
}

fn hpexpireat(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    expire_fields(cx, args, reply, PxAt, "hpexpireat")
}

/// A key of another type comes before what is wrong with the words, as in Redis, here and below.
fn expire_fields(
    cx: &mut Ctx,
    mut args: Args,
    reply: &mut Reply,
    moment: Moment,
    command: &str,
) -> Result {
    let (key, amount, now_ms) = (args.key(), args.given(), cx.now_ms());
    let hash = cx.edit::<Hash>(key)?;
    let expiry = Expiry::new(moment.read_for_field(amount, now_ms, command)?, now_ms);
    let mut condition = Condition::default();
    condition.accept(&mut args);
    let fields = fields(args, "ERR Parameter `numFields` should be greater than 0")?;
    let met = expire_where(hash, fields, &condition, expiry, reply);
    if !met.is_empty() {
        expiry.journal(cx, key, &met);
    }
    Ok(())
}

/// Returns the fields whose TTL met the condition.
fn expire_where<'a>(
    hash: Option<Edit<Hash>>,
    fields: &[&'a [u8]],
    condition: &Condition,
    expiry: Expiry,
    reply: &mut Reply,
) -> Vec<&'a [u8]> {
    reply.array(fields.len());
    let mut met = Vec::new();
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.int(NO_FIELD));
        return met;
    };
    hash.expect_ttls();
    for &field in fields {
        let present_ms = hash.expires_ms(field);
        let is_met = present_ms.is_some_and(|it| condition.holds(it, expiry.at_ms));
        reply.int(match present_ms {
            None => NO_FIELD,
            Some(_) if !is_met => UNMET,
            Some(_) if expiry.is_past => REMOVED,
            Some(_) => DONE,
        });
        if is_met {
            expiry.apply(&mut hash, field);
            met.push(field);
        }
    }
    if !met.is_empty() {
        hash.commit_many(expiry.event(), met.len());
    }
    met
}

fn hpersist(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let hash = cx.edit::<Hash>(args.key())?;
    let fields = fields(args, NOT_COUNTED)?;
    reply.array(fields.len());
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.int(NO_FIELD));
        return Ok(());
    };
    let mut is_changed = false;
    for field in fields {
        let is_there = hash.contains(field);
        let had_ttl = persist(&mut hash, field);
        is_changed |= had_ttl;
        reply.int(match (is_there, had_ttl) {
            (false, _) => NO_FIELD,
            (true, false) => NO_TTL,
            (true, true) => DONE,
        });
    }
    if is_changed {
        hash.commit("hpersist");
    }
    Ok(())
}

fn httl(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    tell(cx, args, reply, |at_ms| to_seconds(at_ms - now_ms))
}

fn hpttl(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let now_ms = cx.now_ms();
    tell(cx, args, reply, |at_ms| at_ms - now_ms)
}

fn hexpiretime(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    tell(cx, args, reply, to_seconds)
}

fn hpexpiretime(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    tell(cx, args, reply, |at_ms| at_ms)
}

/// Rounded up, other than those of keys.
fn to_seconds(millis: i64) -> i64 {
    (millis + 999) / 1000
}

fn tell(cx: &mut Ctx, mut args: Args, reply: &mut Reply, form: impl Fn(i64) -> i64) -> Result {
    let hash = cx.read::<Hash>(args.key())?;
    let fields = fields(args, NOT_COUNTED)?;
    reply.array(fields.len());
    for field in fields {
        let expires_ms = hash.and_then(|hash| hash.expires_ms(field));
        reply.int(expires_ms.map_or(NO_FIELD, |at_ms| at_ms.map_or(NO_TTL, &form)));
    }
    Ok(())
}

fn hgetdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let hash = cx.edit::<Hash>(key)?;
    let fields = fields(args, NOT_COUNTED)?;
    let removed = read_and(hash, fields, reply, "hdel", Hash::remove);
    if !removed.is_empty() {
        journal_fields(cx, &[b"HDEL", key], &removed);
    }
    Ok(())
}

/// Answers fields' values, does something to each that is there, and returns those of which it says
/// that this was a change.
fn read_and<'a>(
    hash: Option<Edit<Hash>>,
    fields: &[&'a [u8]],
    reply: &mut Reply,
    event: &'static str,
    change: impl Fn(&mut Hash, &[u8]) -> bool,
) -> Vec<&'a [u8]> {
    reply.array(fields.len());
    let mut changed = Vec::new();
    let Some(mut hash) = hash else {
        fields.iter().for_each(|_| reply.null());
        return changed;
    };
    for &field in fields {
        match hash.get(field) {
            Some(value) => reply.bulk(&value),
            None => reply.null(),
        }
        if change(&mut hash, field) {
            changed.push(field);
        }
    }
    if !changed.is_empty() {
        hash.commit_many(event, changed.len());
    }
    changed
}

fn hgetex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, now_ms) = (args.key(), cx.now_ms());
    let mut hash = cx.edit::<Hash>(key)?;
    let persists = args.accept("persist");
    let moment = args.peek().and_then(Moment::of_word).filter(|_| !persists);
    let expiry = match moment {
        Some(moment) => {
            args.next();
            let at_ms = moment.read_for_field(args.word()?, now_ms, "hgetex")?;
            Some(Expiry::new(at_ms, now_ms))
        }
        None => None,
    };
    let fields = fields(args, NOT_COUNTED)?;
    let sets_ttls = expiry.is_some() || persists;
    hash.iter_mut().filter(|_| sets_ttls).for_each(|hash| hash.expect_ttls());
    if let Some(expiry) = expiry {
        let changed =
            read_and(hash, fields, reply, expiry.event(), |hash, field| expiry.apply(hash, field));
        if !changed.is_empty() {
            expiry.journal(cx, key, &changed);
        }
        return Ok(());
    }
    let changed =
        read_and(hash, fields, reply, "hpersist", |hash, field| persists && persist(hash, field));
    if !changed.is_empty() {
        let mut buffer = itoa::Buffer::new();
        let count = buffer.format(changed.len()).as_bytes();
        journal_fields(cx, &[b"HPERSIST", key, b"FIELDS", count], &changed);
    }
    Ok(())
}

/// Whether the field would have gone.
fn persist(hash: &mut Hash, field: &[u8]) -> bool {
    matches!(hash.expires_ms(field), Some(Some(_))) && hash.set_expiry(field, None)
}

/// What stands before HSETEX's fields.
#[derive(Default)]
struct SetOptions {
    /// Which fields there must be for any to be set: all if true, none if false.
    wants_all: Option<bool>,
    expiry: Option<Expiry>,
    keeps_ttl: bool,
}

impl SetOptions {
    /// Reads them up to FIELDS.
    fn read(args: &mut Args, now_ms: i64) -> Result<Self> {
        let mut options = Self::default();
        while !args.accept("fields") {
            let word = args.peek().ok_or_else(|| Error::wrong_arity("hsetex"))?;
            let wants_all = args.accept("fxx");
            if wants_all || args.accept("fnx") {
                if options.wants_all.replace(wants_all).is_some() {
                    return Err(Error::new(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                continue;
            }
            let keeps_ttl = args.accept("keepttl");
            let moment = Moment::of_word(word);
            if !keeps_ttl && moment.is_none() {
                return Err(Error::quoting("ERR unknown argument: ", word, ""));
            }
            if options.keeps_ttl || options.expiry.is_some() {
                return Err(Error::new(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            options.keeps_ttl = keeps_ttl;
            if let Some(moment) = moment {
                args.next();
                let amount = args.next().ok_or_else(|| Error::wrong_arity("hsetex"))?;
                let at_ms = moment.read_for_field(amount, now_ms, "hsetex")?;
                options.expiry = Some(Expiry::new(at_ms, now_ms));
            }
        }
        Ok(options)
    }

    fn admits(&self, hash: Option<&Hash>, pairs: &[[&[u8]; 2]]) -> bool {
        self.wants_all.is_none_or(|wanted| {
            let has = |field: &[u8]| hash.is_some_and(|hash| hash.contains(field));
            pairs.iter().all(|[field, _]| has(field) == wanted)
        })
    }
}

/// Reads HSETEX's count of fields, and as many pairs, up to the end.
fn pairs<'a>(args: &mut Args<'a>) -> Result<&'a [[&'a [u8]; 2]]> {
    let count = args.next().ok_or_else(|| Error::wrong_arity("hsetex"))?;
    let count = number::parse_i64(count).filter(|count| (1..=i32::MAX.into()).contains(count));
    let count = count.ok_or_else(|| Error::new("ERR invalid number of fields"))?;
    let pairs = args.pairs("hsetex")?;
    if pairs.len() as u64 == count as u64 { Ok(pairs) } else { Err(Error::wrong_arity("hsetex")) }
}

fn hsetex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, now_ms) = (args.key(), cx.now_ms());
    let options = SetOptions::read(&mut args, now_ms)?;
    let pairs = pairs(&mut args)?;
    if !options.admits(cx.read::<Hash>(key)?, pairs) {
        reply.flag(false);
        return Ok(());
    }
    reply.flag(true);
    let mut hash = cx.edit_or_create::<Hash>(key)?;
    for [field, value] in pairs {
        let (fields, limits) = hash.with_limits();
        if options.keeps_ttl {
            fields.set_keeping_ttl(field, value, limits);
        } else {
            fields.set(field, value, limits);
        }
    }
    hash.commit_many("hset", pairs.len());
    if let Some(expiry) = options.expiry {
        expire_set(cx, key, expiry, pairs);
    }
    Ok(())
}

/// Sets when fields go that were just set.
fn expire_set(cx: &mut Ctx, key: &[u8], expiry: Expiry, pairs: &[[&[u8]; 2]]) {
    let mut hash = cx.edit_existing::<Hash>(key);
    hash.expect_ttls();
    pairs.iter().for_each(|[field, _]| _ = expiry.apply(&mut hash, field));
    hash.commit(expiry.event());
    if expiry.is_past {
        let fields: Vec<&[u8]> = pairs.iter().map(|[field, _]| *field).collect();
        journal_fields(cx, &[b"HDEL", key], &fields);
    } else {
        let (mut moment, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let moment = moment.format(expiry.at_ms).as_bytes();
        let count = count.format(pairs.len()).as_bytes();
        let start: [&[u8]; 6] = [b"HSETEX", key, b"PXAT", moment, b"FIELDS", count];
        journal_fields(cx, &start, pairs.as_flattened());
    }
}
