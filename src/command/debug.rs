//! DEBUG: the few of Redis's subcommands that queue clients' tests call.

use super::prelude::*;
use crate::engine::effect::Effect;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("debug", "1.0.0", AtLeast(2), Keys::none(), &[Admin, NoScript, Loading, Stale, Protected], debug, "SLEEP seconds | OBJECT key | HELP", "Stops the server for a while, or looks into a key."),
]);

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "HELP",
    "    Lists the subcommands.",
    "OBJECT key",
    "    Tells how a value is kept.",
    "SLEEP seconds",
    "    Stops the whole server.",
];

fn debug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let subcommand = args.key();
    match (&subcommand.to_ascii_lowercase()[..], args.rest()) {
        (b"sleep", [seconds]) => {
            // As strtod reads them: what is no number is no time.
            let seconds = crate::util::number::parse_f64(seconds).unwrap_or(0.0).max(0.0);
            let micros = (seconds * 1e6) as u64;
            cx.engine.ask(Effect::Sleep { client: cx.client, micros });
            cx.await_effect(reply);
            Ok(())
        }
        (b"object", [key]) => object(cx, key, reply),
        (b"help", []) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.status(line));
            Ok(())
        }
        _ => Err(Error::misused(subcommand, "DEBUG")),
    }
}

/// Redis's line as far as there is such a thing here: no address, no clock of 24 bits, no dump.
fn object(cx: &mut Ctx, key: &[u8], reply: &mut Reply) -> Result {
    let now = cx.engine.keyspace.now;
    let entry = cx.peek(key).ok_or(Error::NoSuchKey)?;
    reply.status(format!(
        "Value refcount:1 encoding:{} lru_seconds_idle:{}",
        entry.value.encoding(),
        entry.usage.idle_s(now),
    ));
    Ok(())
}
