//! TIME, MONITOR, SHUTDOWN and others: commands about the server itself.

use super::prelude::*;
use crate::engine::effect::Effect;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Server, &[
    row("bgrewriteaof", "1.0.0", Exactly(1), Keys::none(), &[Admin, NoScript, NoAsyncLoading], bgrewriteaof, "", "Writes the append-only file anew, as short as it can be, while clients are served."),
    row("bgsave",       "1.0.0", AtLeast(1), Keys::none(), &[Admin, NoScript, NoAsyncLoading], bgsave, "[SCHEDULE]", "Writes a snapshot of all keys to a file while clients are served."),
    row("lastsave",     "1.0.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast, AclAdmin, Dangerous], lastsave, "", "Answers when the data was saved last, in seconds since 1970; at first, when the server started.").tips(&[VARIES]),
    row("lolwut",       "5.0.0", AtLeast(1), Keys::none(), &[Read, Fast], lolwut, "[VERSION version]", "Answers the version."),
    container("module", "4.0.0", &[
        help("5.0.0"),
        row("list",     "4.0.0", Exactly(2), Keys::none(), &[Admin, NoScript], module_list, "", "Lists the modules: there are none.").tips(&[ORDER_VARIES]),
    ], "Tells about modules, which toril does not load."),
    row("monitor",      "1.0.0", Exactly(1), Keys::none(), &[Admin, NoScript, Loading, Stale, NeedsConnection], monitor, "", "Shows every request that the server runs from here on."),
    row("save",         "1.0.0", Exactly(1), Keys::none(), &[Admin, NoScript, NoAsyncLoading, NoMulti], save, "", "Writes a snapshot of all keys to a file; the server stops meanwhile."),
    row("shutdown",     "1.0.0", AtLeast(1), Keys::none(), &[Admin, NoScript, Loading, Stale, NoMulti, AllowBusy, Saves, NeedsConnection], shutdown, "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]", "Ends the server."),
    row("time",         "2.6.0", Exactly(1), Keys::none(), &[Loading, Stale, Fast], time, "", "Answers the seconds since 1970, and the microseconds of the second.").tips(&[VARIES]),
]);

/// The clock is read once per turn.
fn time(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let now_us = cx.server().time().wall_us();
    reply.array(2);
    reply.bulk_int(now_us / 1_000_000);
    reply.bulk_int(now_us % 1_000_000);
    Ok(())
}

fn lastsave(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.int(cx.server().persistence.saved_s());
    Ok(())
}

fn save(cx: &mut Ctx, args: Args, _reply: &mut Reply) -> Result {
    if cx.server().persistence.is_saving_aside() {
        return Err(Error::new("ERR Background save already in progress"));
    }
    cx.await_effect(Effect::Save { client: cx.client }, args);
    Ok(())
}

fn bgsave(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let is_scheduled = args.accept("schedule");
    args.end()?;
    // Not in the middle of a transaction.
    let is_in_exec = !cx.may_block();
    let waits = is_in_exec || cx.server().persistence.is_rewriting();
    cx.save_aside(is_scheduled || is_in_exec)?;
    reply.status(if waits { "Background saving scheduled" } else { "Background saving started" });
    Ok(())
}

fn bgrewriteaof(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let state = &cx.server().persistence;
    if state.appending.is_none() {
        return Err(Error::new(
            "ERR toril keeps no append-only file: start it with --appendonly yes, or say BGSAVE \
             for a snapshot",
        ));
    }
    if state.is_rewriting() {
        return Err(Error::new("ERR Background append only file rewriting already in progress"));
    }
    let waits = !cx.may_block() || state.is_saving_aside();
    cx.rewrite();
    reply.status(match waits {
        true => "Background append only file rewriting scheduled",
        false => "Background append only file rewriting started",
    });
    Ok(())
}

fn shutdown(cx: &mut Ctx, args: Args, _reply: &mut Reply) -> Result {
    let (mut saves, mut saves_not, mut aborts, mut is_forced) = (false, false, false, false);
    for word in args {
        match &word.to_ascii_lowercase()[..] {
            b"nosave" => saves_not = true,
            b"save" => saves = true,
            b"abort" => aborts = true,
            b"force" => is_forced = true,
            // It would cut short the wait for replicas, of which there are none.
            b"now" => {}
            _ => return Err(Error::Syntax),
        }
    }
    if (aborts && args.left() > 1) || (saves && saves_not) {
        return Err(Error::Syntax);
    }
    if aborts {
        // Nothing delays a shutdown: there is no replica to wait for.
        return Err(Error::new("ERR No shutdown in progress."));
    }
    saves |= !saves_not && !cx.config().save.is_empty();
    // What is not loaded yet cannot be saved, and is in its file.
    saves &= cx.server().persistence.loading().is_none();
    cx.await_effect(Effect::Shutdown { client: Some(cx.client), saves, is_forced }, args);
    Ok(())
}

/// Who says MONITOR may not use keys any more, as in Redis.
fn monitor(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    if !cx.may_block() {
        return Err(Error::new("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    if cx.set_monitoring(true) {
        reply.ok(); // A second MONITOR gets no answer, as in Redis.
    }
    Ok(())
}

fn module_list(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    reply.array(0);
    Ok(())
}

fn lolwut(_cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let (redis, toril) = (crate::config::REDIS_VERSION, crate::config::TORIL_VERSION);
    reply.verbatim("txt", format!("Redis ver. {redis} (toril {toril})\n").as_bytes());
    Ok(())
}
