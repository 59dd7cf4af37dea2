//! SLOWLOG: commands that took long.

use super::prelude::*;
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("slowlog", "2.2.12", &[
        row("get",   "2.2.12", AtLeast(2), Keys::none(), &[Admin, Loading, Stale], get, "[count]", "Answers the newest entries, 10 unless told otherwise; -1 means all.").tips(&[ALL_NODES, VARIES]),
        help("6.2.0"),
        row("len",   "2.2.12", Exactly(2), Keys::none(), &[Admin, Loading, Stale], len, "", "Counts the entries.").tips(&[ALL_NODES, SUM, VARIES]),
        row("reset", "2.2.12", Exactly(2), Keys::none(), &[Admin, Loading, Stale], reset, "", "Forgets all entries.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
    ], "Tells which commands took longer than slowlog-log-slower-than."),
]);

const ENTRIES_DEFAULT: usize = 10;

fn get(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let count = match args.next() {
        None => ENTRIES_DEFAULT,
        Some(_) if args.left() > 0 => return Err(Error::misused(args.all()[1], "SLOWLOG")),
        Some(word) => match number::parse_i64(word) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => count as usize,
            _ => return Err(Error::new("ERR count should be greater than or equal to -1")),
        },
    };
    let entries = &cx.server().stats.slowlog.entries;
    reply.array(count.min(entries.len()));
    for entry in entries.iter().take(count) {
        reply.array(6);
        reply.int(entry.id as i64);
        reply.int(entry.time_s);
        reply.int(entry.micros as i64);
        reply.bulks(&entry.args);
        reply.bulk(entry.client_addr.as_bytes());
        reply.bulk(&entry.client_name);
    }
    Ok(())
}

fn len(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.count(cx.server().stats.slowlog.entries.len());
    Ok(())
}

fn reset(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.clear_slowlog();
    reply.ok();
    Ok(())
}
