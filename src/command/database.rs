//! DBSIZE, FLUSHALL, FLUSHDB and SWAPDB: commands on whole databases.

use super::prelude::*;
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Database, &[
    row("dbsize",   "1.0.0", Exactly(1), Keys::none(), &[Read, Fast], dbsize, "", "Counts the keys of the database in use.").tips(&[ALL_SHARDS, SUM]),
    row("flushall", "1.0.0", AtLeast(1), Keys::none(), &[Write, Dangerous], flushall, "[ASYNC|SYNC]", "Removes all keys of all databases.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
    row("flushdb",  "1.0.0", AtLeast(1), Keys::none(), &[Write, Dangerous], flushdb, "[ASYNC|SYNC]", "Removes all keys of the database in use.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
    row("swapdb",   "4.0.0", Exactly(3), Keys::none(), &[Write, Fast, Dangerous], swapdb, "index1 index2", "Exchanges two databases."),
]);

fn dbsize(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.keyspace().db(cx.db).len());
    Ok(())
}

fn flushall(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let is_lazy = is_lazy(cx, args)?;
    cx.abandon_saving();
    flush(cx, 0..cx.keyspace().databases(), is_lazy);
    reply.ok();
    Ok(())
}

fn flushdb(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let is_lazy = is_lazy(cx, args)?;
    flush(cx, cx.db..cx.db + 1, is_lazy);
    reply.ok();
    Ok(())
}

/// Whether Redis would free in the background. Here all is freed at once, whatever was asked for.
fn is_lazy(cx: &Ctx, mut args: Args) -> Result<bool> {
    let is_async = args.accept("async");
    let _ = is_async || args.accept("sync");
    args.end()?;
    // A client that asked for SYNC waits for it; a transaction or a script does it itself.
    Ok(is_async || cx.may_block())
}

fn flush(cx: &mut Ctx, dbs: Range<usize>, is_lazy: bool) {
    let count = cx.flush(dbs);
    cx.count_lazily_freed(if is_lazy { count } else { 0 });
}

fn swapdb(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut index = |which: &str| {
        let refusal = || Error::new(format!("ERR invalid {which} DB index"));
        let index = number::parse_i64(args.given()).and_then(|index| i32::try_from(index).ok());
        index.ok_or_else(refusal)
    };
    let (left, right) = (index("first")?, index("second")?);
    let (left, right) = (existing(cx, left)?, existing(cx, right)?);
    cx.swap(left, right);
    reply.ok();
    Ok(())
}

/// The database that a word names.
pub(super) fn db_index(cx: &Ctx, word: &[u8]) -> Result<usize> {
    let index = number::parse_i64(word).ok_or(Error::NotInteger)?;
    let index = i32::try_from(index).map_err(|_| {
        Error::new("ERR value is out of range, value must between -2147483648 and 2147483647")
    })?;
    existing(cx, index)
}

fn existing(cx: &Ctx, index: i32) -> Result<usize> {
    let databases = cx.keyspace().databases();
    usize::try_from(index).ok().filter(|&db| db < databases).ok_or(Error::DbIndexOutOfRange)
}
