//! FCALL and FUNCTION: libraries of functions, which are loaded once and called by name.

use super::prelude::*;
use crate::engine::script::{Mode, Realm, RestorePolicy};
use crate::lua::{Callable, Library};
use crate::rdb::{self, Flaw};
use crate::util::glob::{self, Case};

const READS_AND_WRITES: Keys = Keys::counted(2).with(access::RW | access::ACCESS | access::UPDATE);
const READS: Keys = Keys::counted(2).reads();

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Scripting, &[
    row("fcall",    "7.0.0", AtLeast(3), READS_AND_WRITES, &[NoScript, Stale, ShownFirst, NoMandatoryKeys, MayReplicate, RunsOthers, FunctionByName], fcall, "function numkeys [key [key ...]] [arg [arg ...]]", "Calls a function of a library."),
    row("fcall_ro", "7.0.0", AtLeast(3), READS, &[Read, NoScript, Stale, ShownFirst, NoMandatoryKeys, RunsOthers, FunctionByName], fcall_ro, "function numkeys [key [key ...]] [arg [arg ...]]", "Calls a function that may not write."),
    container("function", "7.0.0", &[
        row("delete", "7.0.0", Exactly(3), Keys::none(), &[Write, NoScript], delete, "library-name", "Removes a library.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
        row("dump",   "7.0.0", Exactly(2), Keys::none(), &[NoScript], dump, "", "Answers all libraries as bytes that FUNCTION RESTORE takes, here or on a Redis server."),
        row("flush",  "7.0.0", AtLeast(2), Keys::none(), &[Write, NoScript], flush, "[ASYNC|SYNC]", "Removes all libraries.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
        help("7.0.0"),
        row("kill",   "7.0.0", Exactly(2), Keys::none(), &[NoScript, AllowBusy], kill, "", "Ends the running function, unless it has written.").tips(&[ALL_SHARDS, ONE_SUCCEEDED]),
        row("list",   "7.0.0", AtLeast(2), Keys::none(), &[NoScript], list, "[LIBRARYNAME library-name-pattern] [WITHCODE]", "Tells of the libraries and their functions.").tips(&[ORDER_VARIES]),
        row("load",   "7.0.0", AtLeast(3), Keys::none(), &[Write, DenyOom, NoScript], load, "[REPLACE] function-code", "Runs a library, which registers its functions.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
        row("restore", "7.0.0", AtLeast(3), Keys::none(), &[Write, DenyOom, NoScript], restore, "serialized-value [FLUSH|APPEND|REPLACE]", "Takes up the libraries that FUNCTION DUMP answered.").tips(&[ALL_SHARDS, ALL_SUCCEEDED]),
        row("stats",  "7.0.0", Exactly(2), Keys::none(), &[NoScript, AllowBusy], stats, "", "Tells of the running function, and how many there are.").tips(&[VARIES, ALL_SHARDS, SPECIAL_REPLY]),
    ], "Manages libraries of functions."),
]);

fn fcall(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    call(cx, args, Mode::ReadWrite, reply)
}

fn fcall_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    call(cx, args, Mode::ReadOnly, reply)
}

fn call(cx: &mut Ctx, mut args: Args, mode: Mode, reply: &mut Reply) -> Result {
    let name = args.given();
    let function = cx.libraries().and_then(|lua| lua.function(name));
    let function = function.ok_or(Error::FunctionNotFound)?.clone();
    let count = args.int().map_err(|_| Error::new("ERR Bad number of keys provided"))?;
    let keys = super::script::take_keys(&mut args, count)?;
    cx.run_script(Callable::Function(function), keys, args.remaining(), mode, reply)
}

fn load(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut replaces = false;
    while args.left() > 1 {
        if !args.accept("replace") {
            return Err(Error::quoting("ERR Unknown option given: ", args.given(), ""));
        }
        replaces = true;
    }
    let name = cx.load_library(args.given(), replaces)?;
    reply.bulk(&name);
    Ok(())
}

fn delete(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !cx.remove_library(args.given()) {
        return Err(Error::new("ERR Library not found"));
    }
    reply.ok();
    Ok(())
}

fn flush(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if args.left() > 1 {
        return Err(Error::misused(b"FLUSH", "FUNCTION"));
    }
    if args.left() == 1 && !args.accept("sync") && !args.accept("async") {
        return Err(Error::new("ERR FUNCTION FLUSH only supports SYNC|ASYNC option"));
    }
    cx.flush_libraries();
    reply.ok();
    Ok(())
}

fn dump(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let sources = cx.libraries().into_iter().flat_map(|lua| lua.libraries());
    let sources = sources.map(|library| &*library.source);
    reply.bulk(&rdb::dump_libraries(sources, cx.config().rdbcompression));
    Ok(())
}

fn restore(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let all = args.all().to_vec();
    let payload = args.given();
    if args.left() > 1 {
        return Err(Error::misused(b"RESTORE", "FUNCTION"));
    }
    let policy = if args.left() == 0 || args.accept("append") {
        RestorePolicy::Append
    } else if args.accept("replace") {
        RestorePolicy::Replace
    } else if args.accept("flush") {
        RestorePolicy::Flush
    } else {
        return Err(Error::new(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        ));
    };
    let sources = rdb::restore_libraries(payload).map_err(|flaw| {
        Error::new(match flaw {
            Flaw::Unsealed => "ERR DUMP payload version or checksum are wrong",
            Flaw::Foreign(LIBRARY_BEFORE_7_0) => "ERR Pre-GA function format not supported",
            Flaw::Foreign(_) => "ERR given type is not a function",
            Flaw::Short | Flaw::Corrupt | Flaw::Empty => "ERR Failed loading library payload",
        })
    })?;
    cx.load_libraries(&sources, policy)?;
    // In the version that all take who know functions.
    let own = rdb::dump_libraries(sources.iter().map(|source| &source[..]), true);
    let mut words = all;
    words[2] = &own;
    cx.journal_as(&words);
    reply.ok();
    Ok(())
}

/// What stood before a library in dumps of 7.0's release candidates.
const LIBRARY_BEFORE_7_0: u8 = 246;

fn kill(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    cx.kill_script(Realm::Functions)?;
    reply.ok();
    Ok(())
}

fn list(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (mut pattern, mut with_code) = (None, false);
    while args.left() > 0 {
        if !with_code && args.accept("withcode") {
            with_code = true;
        } else if pattern.is_none() && args.accept("libraryname") {
            let name = args.next();
            pattern = Some(name.ok_or(Error::new("ERR library name argument was not given"))?);
        } else {
            return Err(Error::quoting("ERR Unknown argument ", args.given(), ""));
        }
    }
    let is_wanted = |library: &&Library| {
        pattern.is_none_or(|pattern| glob::matches(pattern, &library.name, Case::Ignored))
    };
    let libraries = cx.libraries().into_iter().flat_map(|lua| lua.libraries());
    let libraries: Vec<&Library> = libraries.filter(is_wanted).collect();
    reply.array(libraries.len());
    libraries.into_iter().for_each(|library| write_library(library, with_code, reply));
    Ok(())
}

fn write_library(library: &Library, with_code: bool, reply: &mut Reply) {
    reply.map(if with_code { 4 } else { 3 });
    reply.bulk(b"library_name");
    reply.bulk(&library.name);
    reply.bulk(b"engine");
    reply.bulk(b"LUA");
    reply.bulk(b"functions");
    reply.array(library.functions.len());
    for function in &library.functions {
        reply.map(3);
        reply.bulk(b"name");
        reply.bulk(&function.name);
        reply.bulk(b"description");
        match &function.description {
            Some(description) => reply.bulk(description),
            None => reply.null(),
        }
        reply.bulk(b"flags");
        reply.set(function.flags.names().count());
        function.flags.names().for_each(|name| reply.status(name));
    }
    if with_code {
        reply.bulk(b"library_code");
        reply.bulk(&library.source);
    }
}

fn stats(cx: &mut Ctx, _args: Args, reply: &mut Reply) -> Result {
    let running = cx.running_script();
    if running.is_some_and(|script| script.realm() == Realm::Scripts) {
        return Err(Error::Busy);
    }
    reply.map(2);
    reply.bulk(b"running_script");
    match running.and_then(|script| Some((script, script.request(cx.now())?))) {
        None => reply.null(),
        Some((script, (request, micros))) => {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(script.callable.to_string().as_bytes());
            reply.bulk(b"command");
            reply.array(request.len());
            request.iter().for_each(|word| reply.bulk(word));
            reply.bulk(b"duration_ms");
            reply.int((micros / 1000) as i64);
        }
    }
    let libraries = cx.libraries();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(libraries.map_or(0, |lua| lua.libraries().count()) as i64);
    reply.bulk(b"functions_count");
    reply.int(libraries.map_or(0, |lua| lua.function_count()) as i64);
    Ok(())
}
