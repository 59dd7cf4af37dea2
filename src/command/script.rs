//! Scripts: EVAL and its family, and the cache of scripts that EVALSHA names.

use super::prelude::*;
use crate::engine::script::Mode;
use crate::lua::{Script, Sha};
use std::rc::Rc;

const READS_AND_WRITES: Keys = Keys::counted(2).with(access::RW | access::ACCESS | access::UPDATE);
const READS: Keys = Keys::counted(2).reads();

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Scripting, &[
    row("eval",       "2.6.0", AtLeast(3), READS_AND_WRITES, &[NoScript, Stale, ShownFirst, NoMandatoryKeys, MayReplicate], eval, "script numkeys [key [key ...]] [arg [arg ...]]", "Runs a script."),
    row("eval_ro",    "7.0.0", AtLeast(3), READS, &[Read, NoScript, Stale, ShownFirst, NoMandatoryKeys], eval_ro, "script numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that may not write."),
    row("evalsha",    "2.6.0", AtLeast(3), READS_AND_WRITES, &[NoScript, Stale, ShownFirst, NoMandatoryKeys, MayReplicate], evalsha, "sha1 numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that was sent before."),
    row("evalsha_ro", "7.0.0", AtLeast(3), READS, &[Read, NoScript, Stale, ShownFirst, NoMandatoryKeys], evalsha_ro, "sha1 numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that was sent before and may not write."),
    container("script", "2.6.0", &[
        row("debug",  "3.2.0", Exactly(3), Keys::none(), &[NoScript], debug, "<YES | SYNC | NO>", "Switches the debugger for scripts off; there is none to switch on."),
        row("exists", "2.6.0", AtLeast(3), Keys::none(), &[NoScript], exists, "sha1 [sha1 ...]", "Tells which scripts EVALSHA would find.").tips(&[ALL_SHARDS, AND]),
        row("flush",  "2.6.0", AtLeast(2), Keys::none(), &[NoScript], flush, "[ASYNC|SYNC]", "Forgets all scripts.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
        help("5.0.0"),
        row("kill",   "2.6.0", Exactly(2), Keys::none(), &[NoScript, AllowBusy], kill, "", "Ends the running script, unless it has written.").tips(&[ALL_SHARDS, ONE_SUCCEEDED]),
        row("load",   "2.6.0", Exactly(3), Keys::none(), &[NoScript, Stale], load, "script", "Keeps a script for EVALSHA.").tips(&[ALL_NODES, ALL_SUCCEEDED]),
    ], "Manages the scripts that EVALSHA knows."),
]);

fn eval(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Mode::ReadWrite, compile, reply)
}

fn eval_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Mode::ReadOnly, compile, reply)
}

fn evalsha(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Mode::ReadWrite, find, reply)
}

fn evalsha_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    run(cx, args, Mode::ReadOnly, find, reply)
}

fn compile(cx: &mut Ctx, source: &[u8]) -> Result<Rc<Script>> {
    cx.engine.scripting.lua().eval(source)
}

fn find(cx: &mut Ctx, sha: &[u8]) -> Result<Rc<Script>> {
    let sha = Sha::parse(sha).ok_or(Error::NoScript)?;
    cx.engine.scripting.lua().find(&sha).ok_or(Error::NoScript)
}

fn run(
    cx: &mut Ctx,
    mut args: Args,
    mode: Mode,
    script: fn(&mut Ctx, &[u8]) -> Result<Rc<Script>>,
    reply: &mut Reply,
) -> Result {
    let name = args.key();
    let count = args.int()?;
    if count > args.left() as i64 {
        return Err(Error::new("ERR Number of keys can't be greater than number of args"));
    }
    let count =
        usize::try_from(count).map_err(|_| Error::new("ERR Number of keys can't be negative"))?;
    let keys = args.take_words(count)?;
    let script = script(cx, name)?;
    cx.run_script(script, keys, args.rest(), mode, reply)
}

fn load(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let script = cx.engine.scripting.lua().load(args.key())?;
    reply.bulk(&script.sha.hex());
    Ok(())
}

fn exists(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    reply.array(args.left());
    for sha in args {
        let lua = cx.engine.scripting.lua();
        reply.flag(Sha::parse(sha).is_some_and(|sha| lua.contains(&sha)));
    }
    Ok(())
}

fn flush(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let is_known = args.left() == 0 || args.accept("async") || args.accept("sync");
    if !is_known || args.left() > 0 {
        return Err(Error::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    cx.engine.scripting.lua().flush();
    reply.ok();
    Ok(())
}

fn kill(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.engine.kill_script()?;
    reply.ok();
    Ok(())
}

/// There is no debugger to switch on; to switch it off is no work. A session begins with nothing
/// unsent, which in a transaction cannot be.
fn debug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if cx.origin == Origin::Exec {
        return Err(Error::new("ERR SCRIPT DEBUG must be called outside a pipeline"));
    }
    if args.accept("no") {
        reply.ok();
        return Ok(());
    }
    Err(Error::new(if args.accept("yes") || args.accept("sync") {
        "ERR toril has no debugger for scripts: try redis.log, or redis-server"
    } else {
        "ERR Use SCRIPT DEBUG YES/SYNC/NO"
    }))
}
