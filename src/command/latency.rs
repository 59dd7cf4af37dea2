//! LATENCY: what took long, by event, and the times of each command as a histogram.

use super::commands;
use super::prelude::*;
use crate::engine::latency::{LatencyEvent, Spike, Spikes};
use crate::engine::table::Found;
use crate::util::histogram::Histogram;
use crate::util::sparkline;
use std::fmt::Write;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    container("latency", "2.8.13", &[
        row("doctor",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], doctor, "", "Tells in words what took long, and what to do about it.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("graph",   "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], graph, "event", "Draws the latencies of an event.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        help("2.8.13"),
        row("histogram", "7.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], histogram, "[command [command ...]]", "Counts for each command how many calls took up to so many microseconds.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("history", "2.8.13", Exactly(3), Keys::none(), &[Admin, NoScript, Loading, Stale], history, "event", "Lists the latencies of an event with their seconds.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("latest",  "2.8.13", Exactly(2), Keys::none(), &[Admin, NoScript, Loading, Stale], latest, "", "Answers for each event when it last took long, how long, and the worst there ever was.").tips(&[VARIES, ALL_NODES, SPECIAL_REPLY]),
        row("reset",   "2.8.13", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale], reset, "[event [event ...]]", "Forgets the latencies of these events, or all.").tips(&[ALL_NODES, SUM]),
    ], "Tells what took at least latency-monitor-threshold milliseconds."),
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

fn latest(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let latencies = &cx.server().stats.latencies;
    let newest = |spikes: &Spikes| spikes.all.back().copied();
    let latest: Vec<_> =
        latencies.iter().filter_map(|(event, it)| Some((event, it, newest(it)?))).collect();
    reply.array(latest.len());
    for (event, spikes, newest) in latest {
        reply.array(4);
        reply.bulk(event.name().as_bytes());
        reply.int(newest.time_s);
        reply.int(newest.millis as i64);
        reply.int(spikes.worst_ms as i64);
    }
    Ok(())
}

fn history(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some((_, spikes)) = find(cx, args.given()) else {
        reply.array(0);
        return Ok(());
    };
    reply.array(spikes.all.len());
    for spike in &spikes.all {
        reply.array(2);
        reply.int(spike.time_s);
        reply.int(spike.millis as i64);
    }
    Ok(())
}

fn find<'a>(cx: &'a Ctx, name: &[u8]) -> Option<(LatencyEvent, &'a Spikes)> {
    let event = LatencyEvent::named(name)?;
    Some((event, cx.server().stats.latencies.get(&event)?))
}

fn reset(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    // Here alone Redis does not mind capitals.
    let named = |name: &[u8]| LatencyEvent::named(&name.to_ascii_lowercase());
    let events: Vec<LatencyEvent> = args.filter_map(named).collect();
    let are_named = args.left() > 0;
    reply.count(cx.forget_latencies(are_named.then_some(&events)));
    Ok(())
}

fn graph(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let name = args.given();
    let now_s = cx.now().wall_ms / 1000;
    let Some((event, spikes)) = find(cx, name) else {
        return Err(Error::quoting("ERR No samples available for event '", name, "'"));
    };
    let millis = || spikes.all.iter().map(|spike| spike.millis);
    let (high, low) = (millis().max().unwrap_or(0), millis().min().unwrap_or(0));
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        event.name(),
        spikes.worst_ms,
        "-".repeat(80),
    );
    let label = |spike: &Spike| (age(now_s - spike.time_s), spike.millis);
    text += &sparkline::draw(&spikes.all.iter().map(label).collect::<Vec<_>>());
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// In the greatest unit of which one has passed.
fn age(seconds: i64) -> String {
    const UNITS: [(i64, char); 3] = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
    let (unit, letter) = unit.copied().unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

/// What to do about each event.
const ADVICE: [(LatencyEvent, &str); 4] = [
    (
        LatencyEvent::Command,
        "SLOWLOG GET lists the commands that took long, and LATENCY HISTOGRAM how long each command \
         takes. A script that runs long, KEYS, and reading a large collection whole stop \
         everybody else.",
    ),
    (
        LatencyEvent::FastCommand,
        "Commands that are fast by themselves took long: look for a machine that is short of CPU or \
         that swaps. redis-cli --intrinsic-latency measures it without a server.",
    ),
    (LatencyEvent::ExpireCycle, "Very many keys had the same time to live: spread their ends."),
    (
        LatencyEvent::EvictionCycle,
        "Memory is short while clients write: raise maxmemory, or give keys a time to live.",
    ),
];

fn doctor(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let engine = cx.server();
    let (threshold_ms, latencies) =
        (engine.config.latency_monitor_threshold_ms, &engine.stats.latencies);
    let now_s = engine.keyspace.now.wall_ms / 1000;
    let mut text = String::new();
    if threshold_ms == 0 {
        text += "Latencies are not watched. CONFIG SET latency-monitor-threshold 100 keeps what \
                 takes 100 ms and more.\n";
    }
    if latencies.is_empty() && threshold_ms > 0 {
        let _ = writeln!(text, "Nothing has taken {threshold_ms} ms.");
    }
    for (number, (event, spikes)) in (1..).zip(latencies) {
        let _ = writeln!(text, "{number}. {}: {}", event.name(), summary(spikes, now_s));
    }
    for (_, advice) in ADVICE.iter().filter(|(event, _)| latencies.contains_key(event)) {
        let _ = writeln!(text, "- {advice}");
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

fn summary(spikes: &Spikes, now_s: i64) -> String {
    let count = spikes.all.len() as u64;
    let average = spikes.all.iter().map(|spike| spike.millis).sum::<u64>() / count;
    let deviations = spikes.all.iter().map(|spike| spike.millis.abs_diff(average));
    let period_s = (now_s - spikes.all[0].time_s) as f64 / count as f64;
    format!(
        "{count} latency spikes (average {average}ms, mean deviation {}ms, period {period_s:.2} \
         sec). Worst all time event {}ms.",
        deviations.sum::<u64>() / count,
        spikes.worst_ms,
    )
}
