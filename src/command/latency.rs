//! LATENCY: the times of each command as a histogram. There is no monitor of single slow events
//! yet, so there are none to tell of.

use super::commands;
use super::prelude::*;
use crate::engine::table::Found;
use crate::util::histogram::Histogram;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("latency", "2.8.13", &[
        row("doctor",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], doctor, "", "Says where to look for what takes long.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("graph",   "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], graph, "event", "Refused: no events are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        help("2.8.13"),
        row("histogram", "7.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], histogram, "[command [command ...]]", "Counts for each command how many calls took up to so many microseconds.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("history", "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], no_events, "event", "Lists the latencies of an event: none are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("latest",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], no_events, "", "Lists the latest latency of each event: none are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("reset",   "2.8.13", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], reset, "[event [event ...]]", "Forgets events: none are kept.").tips(&[ALL_NODES, SUM]),
    ], "Tells about latencies."),
]);

/// Of all commands, or of those named: a container stands for its subcommands. What has not run has
/// none.
fn histogram(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    let table = cx.table();
    let wanted: Vec<Found> = match args.left() {
        0 => table.all().collect(),
        _ => {
            let named = args.filter_map(|name| commands::find(cx, name));
            named.flat_map(|found| [found].into_iter().chain(table.subcommands(found))).collect()
        }
    };
    let calls = &cx.server().stats.calls;
    let kept =
        wanted.iter().filter_map(|found| Some((found, calls[found.index].latency.as_ref()?)));
    let kept: Vec<(&Found, &Histogram)> =
        kept.map(|(found, latency)| (found, &**latency)).collect();
    reply.map(kept.len());
    for (found, latency) in kept {
        reply.bulk(found.full_name().as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(latency.count() as i64);
        reply.bulk(b"histogram_usec");
        let doublings = latency.doublings();
        reply.map(doublings.len());
        for (micros, count) in doublings {
            reply.int(micros as i64);
            reply.int(count as i64);
        }
    }
    Ok(())
}

fn no_events(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.array(0);
    Ok(())
}

fn reset(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.int(0);
    Ok(())
}

fn graph(_cx: &mut Ctx, mut args: Args, _reply: &mut Reply) -> Result {
    Err(Error::quoting("ERR No samples available for event '", args.given(), "'"))
}

fn doctor(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let text = "toril keeps no latency events. SLOWLOG GET lists slow commands, LATENCY HISTOGRAM \
                the time that each command takes; redis-cli --latency measures from outside.\n";
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}
