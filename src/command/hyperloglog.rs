//! HyperLogLog: about how many different elements there are, in at most 12 KB.

use super::prelude::*;
use crate::data::Str;
use crate::data::hyperloglog::{self, Corrupt, REGISTERS};
use crate::proto::args::is_keyword;
use crate::util::rng::Rng;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::HyperLogLog, &[
    row("pfadd",      "2.8.9", AtLeast(2), Keys::one(1).inserts(), &[Write, DenyOom, Fast], pfadd, "key [element [element ...]]", "Adds elements to a HyperLogLog."),
    row("pfcount",    "2.8.9", AtLeast(2), Keys::span(1, -1).with(access::RW | access::ACCESS), &[Read, MayReplicate], pfcount, "key [key ...]", "Answers about how many elements were added to any of the HyperLogLogs."),
    row("pfdebug",    "2.8.9", Exactly(3), Keys::one(2).with(access::RW | access::ACCESS), &[Write, DenyOom, Admin], pfdebug, "subcommand key", "Shows the form of a HyperLogLog (ENCODING, DECODE, GETREG), or makes it dense (TODENSE)."),
    row("pfmerge",    "2.8.9", AtLeast(2), Keys::one(1).inserts().with(access::ACCESS).and(Keys::span(2, -1).reads()), &[Write, DenyOom], pfmerge, "destkey [sourcekey [sourcekey ...]]", "Adds to a HyperLogLog what was added to others."),
    row("pfselftest", "2.8.9", Exactly(1), Keys::none(), &[Admin], pfselftest, "", "Tests the registers and the counts of HyperLogLogs."),
]);

const EVENT: &str = "pfadd";

impl From<Corrupt> for Error {
    fn from(_: Corrupt) -> Self {
        Error::new("INVALIDOBJ Corrupted HLL object detected")
    }
}

fn check(string: &Str) -> Result {
    match hyperloglog::is_valid(&string.bytes()) {
        true => Ok(()),
        false => Err(Error::new("WRONGTYPE Key is not a valid HyperLogLog string value.")),
    }
}

/// A key's HyperLogLog, made if there is none.
fn edit_or_create<'c>(cx: &'c mut Ctx, key: &[u8]) -> Result<Edit<'c, Str>> {
    let mut string = cx.edit_or_create::<Str>(key)?;
    if string.is_new() {
        *string = hyperloglog::empty();
    }
    check(&string)?;
    Ok(string)
}

fn pfadd(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, len_max) = (args.key(), cx.limits().hll_sparse_bytes_max);
    let mut string = edit_or_create(cx, key)?;
    let mut changes = usize::from(string.is_new());
    // One element changes nothing where it is refused; those before another one do.
    let is_sparse = !hyperloglog::is_dense(&string.bytes());
    let before = (is_sparse && args.left() > 1).then(|| string.clone());
    for element in args {
        match hyperloglog::add(&mut string, element, len_max) {
            Ok(has_changed) => changes += usize::from(has_changed),
            Err(corrupt) => {
                if let Some(before) = before {
                    *string = before;
                }
                return Err(corrupt.into());
            }
        }
    }
    reply.flag(changes > 0);
    if changes > 0 {
        hyperloglog::forget_count(&mut string);
        string.commit_many(EVENT, changes);
    }
    Ok(())
}

/// That a count is kept is a change, though the command only reads: the next one need not count.
fn pfcount(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.left() > 1 {
        let (registers, _) = merge(cx, args.remaining())?;
        reply.int(hyperloglog::count_registers(&registers) as i64);
        return Ok(());
    }
    let key = args.key();
    let Some(string) = cx.read::<Str>(key)? else {
        reply.int(0);
        return Ok(());
    };
    check(string)?;
    let bytes = string.bytes();
    if let Some(count) = hyperloglog::kept_count(&bytes) {
        reply.int(count as i64);
        return Ok(());
    }
    let count = hyperloglog::count(&bytes)?;
    reply.int(count as i64);
    let mut string = cx.edit_existing::<Str>(key);
    hyperloglog::keep_count(&mut string, count);
    string.commit_unannounced();
    Ok(())
}

/// The highest registers of several keys, and whether one of them is dense.
fn merge(cx: &mut Ctx, keys: &[&[u8]]) -> Result<(Box<hyperloglog::Registers>, bool)> {
    let (mut registers, mut is_dense) = (hyperloglog::no_registers(), false);
    for key in keys {
        if let Some(string) = cx.read::<Str>(key)? {
            check(string)?;
            let bytes = string.bytes();
            is_dense |= hyperloglog::is_dense(&bytes);
            hyperloglog::merge(&mut registers, &bytes)?;
        }
    }
    Ok((registers, is_dense))
}

fn pfmerge(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let len_max = cx.limits().hll_sparse_bytes_max;
    let (registers, is_dense) = merge(cx, args.remaining())?;
    // It is as sound as those that were merged, of which it is one.
    let mut string = edit_or_create(cx, args.key())?;
    if is_dense {
        hyperloglog::make_dense(&mut string)?;
    }
    hyperloglog::raise(&mut string, &registers, len_max)?;
    hyperloglog::forget_count(&mut string);
    reply.ok();
    string.commit(EVENT);
    Ok(())
}

fn pfdebug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (subcommand, key) = (args.given(), args.key());
    let Some(mut string) = cx.edit::<Str>(key)? else {
        return Err(Error::new("ERR The specified key does not exist"));
    };
    check(&string)?;
    if is_keyword(subcommand, "encoding") {
        let is_dense = hyperloglog::is_dense(&string.bytes());
        reply.status(if is_dense { "dense" } else { "sparse" });
    } else if is_keyword(subcommand, "decode") {
        let bytes = string.bytes();
        if hyperloglog::is_dense(&bytes) {
            return Err(Error::new("ERR HLL encoding is not sparse"));
        }
        reply.bulk(hyperloglog::describe(&bytes).as_bytes());
    } else if is_keyword(subcommand, "todense") {
        let has_changed = hyperloglog::make_dense(&mut string)?;
        reply.flag(has_changed);
        if has_changed {
            string.commit_unannounced();
        }
    } else if is_keyword(subcommand, "getreg") {
        let has_changed = hyperloglog::make_dense(&mut string)?;
        let mut registers = hyperloglog::no_registers();
        hyperloglog::merge(&mut registers, &string.bytes())?;
        reply.array(REGISTERS);
        registers.iter().for_each(|rank| reply.int(i64::from(*rank)));
        if has_changed {
            string.commit_unannounced();
        }
    } else {
        return Err(Error::quoting("ERR Unknown PFDEBUG subcommand '", subcommand, "'"));
    }
    Ok(())
}

/// Elements of the self-test: enough for both forms, and a few milliseconds of work.
const TESTED_COUNT: u64 = 20_000;

/// Half as much again as three standard errors of 0.81 %, so that no seed fails it by chance.
const TESTED_ERROR_MAX: f64 = 0.0365;

/// Adds random elements to a sparse one and to a dense one, which must agree with each other and,
/// about, with what was added.
fn pfselftest(cx: &mut Ctx, _: Args, reply: &mut Reply) -> Result {
    let len_max = cx.limits().hll_sparse_bytes_max;
    let mut rng = Rng::from_seed(0);
    let (mut sparse, mut dense) = (hyperloglog::empty(), hyperloglog::empty());
    hyperloglog::make_dense(&mut dense)?;
    for added in 1..=TESTED_COUNT {
        let element = rng.next_u64().to_le_bytes();
        let changes = hyperloglog::add(&mut sparse, &element, len_max)?;
        if changes != hyperloglog::add(&mut dense, &element, len_max)? {
            return Err(Error::new(format!("ERR TESTFAILED The forms differ at element {added}")));
        }
        if !added.is_power_of_two() && added != TESTED_COUNT {
            continue;
        }
        let counts = [&sparse, &dense].map(|string| hyperloglog::count(&string.bytes()));
        let [sparse_count, dense_count] = counts;
        let (found, other) = (sparse_count?, dense_count?);
        let error = found.abs_diff(added) as f64;
        if found != other || error > (added as f64 * TESTED_ERROR_MAX).max(1.0) {
            let counts = format!("{found} and {other} for {added}");
            return Err(Error::new(format!(
                "ERR TESTFAILED Too much is counted, or too little: {counts}"
            )));
        }
    }
    reply.ok();
    Ok(())
}
