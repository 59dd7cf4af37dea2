//! LATENCY: there is no monitor of single slow events yet, so there are none to tell of. SLOWLOG
//! and INFO commandstats say which commands take long. HISTOGRAM is absent.

use super::prelude::*;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("latency", "2.8.13", &[
        row("doctor",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], doctor, "", "Says where to look for what takes long.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("graph",   "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], graph, "event", "Refused: no events are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        help("2.8.13"),
        row("history", "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], no_events, "event", "Lists the latencies of an event: none are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("latest",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], no_events, "", "Lists the latest latency of each event: none are kept.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("reset",   "2.8.13", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], reset, "[event [event ...]]", "Forgets events: none are kept.").tips(&[ALL_NODES, SUM]),
    ], "Tells about latencies."),
]);

fn no_events(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.array(0);
    Ok(())
}

fn reset(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.int(0);
    Ok(())
}

fn graph(_cx: &mut Ctx, mut args: Args, _reply: &mut Reply) -> Result {
    Err(Error::quoting("ERR No samples available for event '", args.key(), "'"))
}

fn doctor(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let text = "toril keeps no latency events. SLOWLOG GET lists slow commands, INFO commandstats \
                the time that each command takes; redis-cli --latency measures from outside.\n";
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}
