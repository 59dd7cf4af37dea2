//! EVAL, SCRIPT and their family: scripts are run, and kept so that EVALSHA can name them.

use super::prelude::*;
use crate::engine::script::{Mode, Realm};
use crate::lua::{Callable, Script, Sha};
use std::rc::Rc;

const READS_AND_WRITES: Keys = Keys::counted(2).with(access::RW | access::ACCESS | access::UPDATE);
const READS: Keys = Keys::counted(2).reads();

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Scripting, &[
    row("eval",       "2.6.0", AtLeast(3), READS_AND_WRITES, &[NoScript, Stale, ShownFirst, NoMandatoryKeys, MayReplicate, RunsOthers, ScriptByText], eval, "script numkeys [key [key ...]] [arg [arg ...]]", "Runs a script."),
    row("eval_ro",    "7.0.0", AtLeast(3), READS, &[Read, NoScript, Stale, ShownFirst, NoMandatoryKeys, RunsOthers, ScriptByText], eval_ro, "script numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that may not write."),
    row("evalsha",    "2.6.0", AtLeast(3), READS_AND_WRITES, &[NoScript, Stale, ShownFirst, NoMandatoryKeys, MayReplicate, RunsOthers, ScriptBySha], evalsha, "sha1 numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that was sent before."),
    row("evalsha_ro", "7.0.0", AtLeast(3), READS, &[Read, NoScript, Stale, ShownFirst, NoMandatoryKeys, RunsOthers, ScriptBySha], evalsha_ro, "sha1 numkeys [key [key ...]] [arg [arg ...]]", "Runs a script that was sent before and may not write."),
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
    cx.lua(Realm::Scripts).eval(source)
}

fn find(cx: &mut Ctx, sha: &[u8]) -> Result<Rc<Script>> {
    let script = Sha::parse(sha).and_then(|sha| cx.lua(Realm::Scripts).find(&sha));
    script.ok_or_else(|| cx.config().profile().no_script.map_or(Error::NoScript, Error::new))
}

fn run(
    cx: &mut Ctx,
    mut args: Args,
    mode: Mode,
    script: fn(&mut Ctx, &[u8]) -> Result<Rc<Script>>,
    reply: &mut Reply,
) -> Result {
    let name = args.given();
    let count = args.int()?;
    let keys = take_keys(&mut args, count)?;
    let script = script(cx, name)?;
    cx.run_script(Callable::Script(script), keys, args.remaining(), mode, reply)
}

/// Takes the keys, of which the request says that there are so many.
pub(super) fn take_keys<'a>(args: &mut Args<'a>, count: i64) -> Result<&'a [&'a [u8]]> {
    if count > args.left() as i64 {
        return Err(Error::new("ERR Number of keys can't be greater than number of args"));
    }
    let count =
        usize::try_from(count).map_err(|_| Error::new("ERR Number of keys can't be negative"))?;
    args.take_words(count)
}

fn load(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let script = cx.lua(Realm::Scripts).load(args.given())?;
    reply.bulk(&script.sha.hex());
    Ok(())
}

fn exists(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    reply.array(args.left());
    for sha in args {
        let lua = cx.lua(Realm::Scripts);
        reply.flag(Sha::parse(sha).is_some_and(|sha| lua.contains(&sha)));
    }
    Ok(())
}

fn flush(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let is_known = args.left() == 0 || args.accept("async") || args.accept("sync");
    if !is_known || args.left() > 0 {
        return Err(Error::new("ERR SCRIPT FLUSH only support SYNC|ASYNC option"));
    }
    cx.lua(Realm::Scripts).flush();
    reply.ok();
    Ok(())
}

fn kill(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.kill_script(Realm::Scripts)?;
    reply.ok();
    Ok(())
}

/// There is no debugger to switch on; to switch it off is no work. A session begins with nothing
/// unsent, which in a transaction cannot be.
fn debug(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !cx.may_block() {
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

#[cfg(test)]
mod tests {
    use crate::command::table::table;
    use crate::config::Config;
    use crate::engine::Engine;
    use crate::engine::client::{Peer, State};
    use crate::engine::time::Now;
    use crate::facts::FixedFacts;
    use crate::proto::Args;

    /// How long a slice of a script takes.
    const SLICE_US: u64 = 1000;

    /// Makes requests of an empty server, and returns what the last one answers.
    fn ask(requests: &[&[&str]]) -> String {
        let mut now = Now { wall_ms: 1_800_000_000_123, rest_us: 456, mono_us: 1_000_000 };
        let facts = FixedFacts { look_us: SLICE_US, ..FixedFacts::default() };
        let mut engine = Engine::new(table(), Config::default(), Box::new(facts), now);
        let client = engine.connect(Peer::inside(), now);
        let mut answer = String::new();
        for request in requests {
            let words: Vec<&[u8]> = request.iter().map(|word| word.as_bytes()).collect();
            let mut state = engine.run(client, Args::new(&words), now).state;
            while state == State::Running {
                now.mono_us += SLICE_US;
                now.wall_ms += SLICE_US as i64 / 1000;
                state = engine.resume(client, now);
            }
            answer = engine.take_output(client).escape_ascii().to_string();
        }
        answer
    }

    const SPIN: &str = "for i = 1, 950000 do end";

    #[test]
    fn every_slice_of_a_script_counts() {
        let slow = ["CONFIG", "SET", "slowlog-log-slower-than", "5000"];
        let eval = ["EVAL", SPIN, "0"];
        let stats = ask(&[&eval, &["INFO", "commandstats"]]);
        assert!(stats.contains("cmdstat_eval:calls=1,usec=10000,"), "{stats}");
        let log = ask(&[&slow, &eval, &["SLOWLOG", "GET"]]);
        assert!(log.starts_with(r"*1\r\n*6\r\n:0\r\n:1800000000\r\n:10000\r\n*3\r\n"), "{log}");
        assert!(log.contains(SPIN), "{log}");

        // Its transaction takes as long as all that is in it.
        let queue: [&[&str]; 6] =
            [&["MULTI"], &["PING"], &eval, &["PING"], &["EVAL", SPIN, "0"], &["EXEC"]];
        let stats = ask(&[&queue[..], &[&["INFO", "commandstats"]]].concat());
        assert!(stats.contains("cmdstat_eval:calls=2,usec=20000,"), "{stats}");
        assert!(stats.contains("cmdstat_exec:calls=1,usec=23000,"), "{stats}");
        let log = ask(&[&[&slow[..]], &queue[..], &[&["SLOWLOG", "LEN"]]].concat());
        assert_eq!(log, r":2\r\n");
    }

    #[test]
    fn the_time_has_microseconds() {
        let time = |micros: u32| format!(r"*2\r\n$10\r\n1800000000\r\n$6\r\n{micros}\r\n");
        assert_eq!(ask(&[&["TIME"]]), time(123_456));
        assert!(ask(&[&["MONITOR"], &["PING"]]).contains("+1800000000.123456 "));
        // Nine slices later, of which the last three found the script busy.
        let spin = format!("local a = redis.call('TIME') {SPIN} return redis.call('TIME')");
        let busy = ["CONFIG", "SET", "busy-reply-threshold", "6"];
        assert_eq!(ask(&[&["EVAL", &spin, "0"]]), time(123_456));
        assert_eq!(ask(&[&busy, &["EVAL", &spin, "0"]]), time(132_456));
    }
}
