//! Transactions: MULTI queues, EXEC runs what was queued at once, WATCH makes EXEC conditional.

use super::prelude::*;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Transaction, &[
    row("multi",   "1.2.0", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, AllowBusy, PassesQueue, NeedsConnection, Harmless], multi, "", "Begins a transaction: what follows is queued."),
    row("exec",    "1.2.0", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, SkipSlowlog, PassesQueue, RunsQueue, RunsOthers, NeedsConnection, Harmless], exec, "", "Runs what was queued, unless a watched key was changed."),
    row("discard", "2.0.0", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, AllowBusy, PassesQueue, NeedsConnection], discard, "", "Forgets what was queued."),
    row("watch",   "2.2.0", AtLeast(2), Keys::span(1, -1).inspects(), &[NoScript, Loading, Stale, Fast, AllowBusy, PassesQueue, NeedsConnection], watch, "key [key ...]", "Lets the next EXEC run only if these keys are not changed before."),
    row("unwatch", "2.2.0", Exactly(1), Keys::none(), &[NoScript, Loading, Stale, Fast, AllowBusy, NeedsConnection], unwatch, "", "Forgets which keys are watched."),
]);

fn multi(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let transaction = cx.transaction();
    if transaction.is_open() {
        return Err(Error::new("ERR MULTI calls can not be nested"));
    }
    transaction.queue = Some(Vec::new());
    transaction.is_refused = false;
    reply.ok();
    Ok(())
}

fn discard(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    if !cx.transaction().is_open() {
        return Err(Error::new("ERR DISCARD without MULTI"));
    }
    cx.end_transaction();
    reply.ok();
    Ok(())
}

fn exec(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let transaction = cx.transaction();
    let Some(queue) = transaction.queue.take() else {
        return Err(Error::new("ERR EXEC without MULTI"));
    };
    let is_refused = transaction.is_refused;
    let is_broken = cx.is_watch_broken();
    cx.end_transaction();
    if is_refused {
        return Err(Error::ExecAbort);
    }
    if is_broken {
        reply.null_array();
        return Ok(());
    }
    reply.array(queue.len());
    cx.execute(queue, reply);
    Ok(())
}

fn watch(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    if cx.transaction().is_open() {
        return Err(Error::new("ERR WATCH inside MULTI is not allowed"));
    }
    for key in args {
        cx.watch(key);
    }
    reply.ok();
    Ok(())
}

fn unwatch(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.unwatch();
    reply.ok();
    Ok(())
}
