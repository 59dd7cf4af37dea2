//! The `redis` table of scripts, above all `redis.call`.

use super::layout::LuaValue;
use super::push::{Discard, Pusher, push_command_error};
use super::script::Sha;
use super::stack::{LuaKind, Raise, Returns, Stack, c_function};
use super::vm::Vm;
use crate::config::LogLevel;
use crate::proto::{Args, Protocol, Reply};
use crate::util::number::{self, NumberText};
use mlua::ffi::lua_CFunction;
use std::ffi::c_int;

pub(super) const VERSION: &str = "7.4.0";
const VERSION_NUMBER: f64 = 0x0007_0400 as f64;

const LOG_LEVELS: [LogLevel; 4] =
    [LogLevel::Debug, LogLevel::Verbose, LogLevel::Notice, LogLevel::Warning];

const REPLICATE_TO_FILE: i32 = 1;
const REPLICATE_TO_REPLICAS: i32 = 2;
const REPLICATE_TO_ALL: i32 = REPLICATE_TO_FILE | REPLICATE_TO_REPLICAS;

fn functions() -> [(&'static str, lua_CFunction); 12] {
    [
        ("call", c_function(|lua| call(lua, true))),
        ("pcall", c_function(|lua| call(lua, false))),
        ("error_reply", c_function(error_reply)),
        ("status_reply", c_function(status_reply)),
        ("sha1hex", c_function(sha1hex)),
        ("log", c_function(log)),
        ("setresp", c_function(set_protocol)),
        ("set_repl", c_function(set_replication)),
        ("acl_check_cmd", c_function(acl_check)),
        // What follows does nothing: effects are replicated always, and there is no debugger.
        (
            "replicate_commands",
            c_function(|lua| {
                lua.push_boolean(true);
                Ok(1)
            }),
        ),
        (
            "breakpoint",
            c_function(|lua| {
                lua.push_boolean(false);
                Ok(1)
            }),
        ),
        ("debug", c_function(|_| Ok(0))),
    ]
}

const CONSTANTS: [(&str, f64); 10] = [
    ("LOG_DEBUG", 0.0),
    ("LOG_VERBOSE", 1.0),
    ("LOG_NOTICE", 2.0),
    ("LOG_WARNING", 3.0),
    ("REPL_NONE", 0.0),
    ("REPL_AOF", REPLICATE_TO_FILE as f64),
    ("REPL_SLAVE", REPLICATE_TO_REPLICAS as f64),
    ("REPL_REPLICA", REPLICATE_TO_REPLICAS as f64),
    ("REPL_ALL", REPLICATE_TO_ALL as f64),
    ("REDIS_VERSION_NUM", VERSION_NUMBER),
];

pub(super) fn push_library(lua: Stack<'_>) {
    lua.push_table(0, 32);
    for (name, function) in functions() {
        lua.push_function(function);
        lua.set_field(-2, name);
    }
    for (name, value) in CONSTANTS {
        lua.push_number(value);
        lua.set_field(-2, name);
    }
    lua.push_bytes(VERSION.as_bytes());
    lua.set_field(-2, "REDIS_VERSION");
}

/// Pushes what of it a library sees while it is loaded: nothing that needs a caller.
pub(super) fn push_for_libraries(lua: Stack<'_>) {
    lua.push_table(0, 8);
    lua.push_function(c_function(log));
    lua.set_field(-2, "log");
    for (name, value) in CONSTANTS.iter().filter(|(name, _)| !name.starts_with("REPL_")) {
        lua.push_number(*value);
        lua.set_field(-2, name);
    }
    lua.push_bytes(VERSION.as_bytes());
    lua.set_field(-2, "REDIS_VERSION");
}

/// Runs a command. Its words are the Lua strings where they lie on the stack; its reply goes onto
/// the stack above them.
fn call(lua: Stack<'_>, raises: bool) -> Returns {
    let vm = lua.vm();
    let result = if vm.is_killed.get() {
        Err(CallRefusal::Own("script is being killed"))
    } else {
        with_words(lua, |words| match lua.wants_nothing() {
            true => discard(vm, words),
            false => push_reply(vm, lua, words),
        })
        .unwrap_or_else(|text| Err(CallRefusal::Own(text)))
    };
    match result {
        Ok(is_error) if is_error && raises => return Err(Raise::Top),
        Ok(_) => return Ok(1),
        Err(CallRefusal::Own(text)) => lua.push_error_table(format!("ERR {text}").as_bytes()),
        Err(CallRefusal::Command(text)) => push_command_error(lua, &text),
    }
    if raises { Err(Raise::Top) } else { Ok(1) }
}

enum CallRefusal {
    /// The call itself was wrong.
    Own(&'static str),
    /// The command refused, or answered with an error that nobody looks at.
    Command(Vec<u8>),
}

/// Pushes the reply; true if it is an error.
///
/// # Errors
///
/// The refusal, with nothing pushed.
fn push_reply(vm: &Vm, lua: Stack<'_>, words: &[&[u8]]) -> Result<bool, CallRefusal> {
    let base = lua.top();
    let mut frames = vm.frames.take();
    let mut pusher = Pusher::new(lua, &mut frames);
    let mut reply = Reply::visit(&mut pusher, vm.protocol.get());
    let result = vm.commands(|commands| commands.call(Args::new(words), &mut reply));
    let (is_error, overflowed) = (pusher.is_error, pusher.overflowed);
    let is_cut = vm.heap.is_exceeded();
    vm.frames.set(frames);
    match result {
        Ok(()) if overflowed => {
            lua.set_top(base);
            Err(CallRefusal::Own("reached lua stack limit"))
        }
        Ok(()) if is_cut => {
            lua.set_top(base);
            Err(CallRefusal::Own("not enough memory"))
        }
        Ok(()) => {
            debug_assert_eq!(lua.top(), base + 1, "a reply is one value");
            Ok(is_error)
        }
        Err(error) => {
            lua.set_top(base);
            Err(CallRefusal::Command(error.text().to_owned()))
        }
    }
}

/// Runs a command whose reply the script does not take: nothing is built, and the reply is no
/// error.
///
/// # Errors
///
/// The refusal, or the error that the reply is.
fn discard(vm: &Vm, words: &[&[u8]]) -> Result<bool, CallRefusal> {
    let mut discard = Discard::default();
    let mut reply = Reply::visit(&mut discard, vm.protocol.get());
    let result = vm.commands(|commands| commands.call(Args::new(words), &mut reply));
    match (result, discard.error) {
        (Err(error), _) => Err(CallRefusal::Command(error.text().to_owned())),
        (Ok(()), Some(text)) => Err(CallRefusal::Command(text)),
        (Ok(()), None) => Ok(false),
    }
}

/// An argument of `redis.call`.
enum Word<'a> {
    Text(&'a [u8]),
    Number(f64),
}

/// Hands the arguments of the running function to `run` as words.
///
/// # Errors
///
/// If there is none, or one is neither string nor number; `run` is not called then.
fn with_words<R>(lua: Stack<'_>, run: impl FnOnce(&[&[u8]]) -> R) -> Result<R, &'static str> {
    let count = lua.top();
    if count == 0 {
        return Err("Please specify at least one argument for this redis lib call");
    }
    let word = |value: &LuaValue| match value.number() {
        // SAFETY: it is an argument, which stays where it is; results are pushed above it.
        None => unsafe { value.bytes() }.map(Word::Text),
        Some(number) => Some(Word::Number(number)),
    };
    // SAFETY: nothing is pushed or popped before all are collected.
    match unsafe { lua.slots() } {
        Some(slots) => collect(lua, count as usize, || slots.iter().map_while(word), run),
        None => {
            let word = |index| stock_word(lua, index);
            collect(lua, count as usize, || (1..=count).map_while(word), run)
        }
    }
}

/// The argument at `index`, as the C interface gives it; None if it is neither string nor number.
fn stock_word<'vm>(lua: Stack<'vm>, index: c_int) -> Option<Word<'vm>> {
    match lua.kind(index) {
        // SAFETY: it is an argument, which stays where it is.
        LuaKind::String => unsafe { lua.bytes(index) }.map(Word::Text),
        LuaKind::Number => lua.number(index).map(Word::Number),
        _ => None,
    }
}

/// Collects `count` words and hands them to `run`. Numbers become text in a buffer, the shortest
/// that reads back the same, since Lua's own 14 digits would lose some.
fn collect<'a, R, W: Iterator<Item = Word<'a>>>(
    lua: Stack<'_>,
    count: usize,
    arguments: impl Fn() -> W,
    run: impl FnOnce(&[&[u8]]) -> R,
) -> Result<R, &'static str> {
    let vm = lua.vm();
    let mut digits = vm.digits.take();
    digits.clear();
    let mut words: Vec<&[u8]> = vm.words.take();
    words.extend(arguments().map(|word| match word {
        Word::Text(text) => text,
        Word::Number(number) => {
            digits.push(number_text(number));
            &[] // Its text may still move.
        }
    }));
    let is_complete = words.len() == count;
    if !digits.is_empty() {
        let numbers = words.iter_mut().zip(arguments());
        let numbers = numbers.filter(|(_, word)| matches!(word, Word::Number(_)));
        numbers.zip(&digits).for_each(|((word, _), text)| *word = text);
    }
    let result = match is_complete {
        true => Ok(run(&words)),
        false => Err("Lua redis lib command arguments must be strings or integers"),
    };
    vm.words.set(emptied(words));
    vm.digits.set(digits);
    result
}

/// The buffer of words, for other words.
fn emptied(mut words: Vec<&[u8]>) -> Vec<&'static [u8]> {
    words.clear();
    // SAFETY: only a lifetime changes, and nothing that has it is left.
    unsafe { std::mem::transmute::<Vec<&[u8]>, Vec<&'static [u8]>>(words) }
}

/// Zero has no sign here, NaN has.
#[inline]
fn number_text(value: f64) -> NumberText {
    match value {
        0.0 => "0".into(),
        _ if value.is_nan() && value.is_sign_negative() => "-nan".into(),
        _ => number::format_double(value),
    }
}

fn error_reply(lua: Stack<'_>) -> Returns {
    if lua.top() != 1 || lua.kind(1) != LuaKind::String {
        lua.push_error_table(b"ERR wrong number or type of arguments");
        return Ok(1);
    }
    // SAFETY: it is an argument, and copied before the result replaces anything.
    let text = unsafe { lua.bytes(1) }.unwrap_or_default();
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    // The first word is the code; a text of one word has none.
    let text = match memchr::memchr(b' ', text) {
        Some(_) => text.to_vec(),
        None => [b"ERR ", text].concat(),
    };
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |at| at + 1);
    lua.push_error_table(&text[..end]);
    Ok(1)
}

fn status_reply(lua: Stack<'_>) -> Returns {
    if lua.top() != 1 || lua.kind(1) != LuaKind::String {
        lua.push_error_table(b"ERR wrong number or type of arguments");
        return Ok(1);
    }
    lua.push_table(0, 1);
    lua.push_copy(1);
    lua.set_field(-2, "ok");
    Ok(1)
}

fn sha1hex(lua: Stack<'_>) -> Returns {
    if lua.top() != 1 {
        return Err(lua.error_table(b"ERR wrong number of arguments"));
    }
    // SAFETY: it is an argument.
    let sha = Sha::of(unsafe { lua.bytes(1) }.unwrap_or_default());
    lua.push_bytes(&sha.hex());
    Ok(1)
}

fn log(lua: Stack<'_>) -> Returns {
    if lua.top() < 2 {
        return Err(lua.error_table(b"ERR redis.log() requires two arguments or more."));
    }
    let Some(level) = lua.number(1) else {
        return Err(lua.error_table(b"ERR First argument must be a number (log level)."));
    };
    let level = usize::try_from(level as i64).ok().and_then(|level| LOG_LEVELS.get(level).copied());
    let Some(level) = level else {
        return Err(lua.error_table(b"ERR Invalid log level."));
    };
    lua.vm().commands(|commands| {
        if level >= commands.log_level() {
            let words = 2..=lua.top();
            // SAFETY: they are arguments, which stay where they are.
            let words = words.filter_map(|index| unsafe { lua.bytes(index) });
            let words: Vec<&[u8]> = words.collect();
            commands.log(level, &words.join(&b' '));
        }
    });
    Ok(0)
}

fn set_protocol(lua: Stack<'_>) -> Returns {
    if lua.top() != 1 {
        return Err(lua.error_table(b"ERR redis.setresp() requires one argument."));
    }
    let protocol = match lua.number(1).unwrap_or_default() as i64 {
        2 => Protocol::Resp2,
        3 => Protocol::Resp3,
        _ => return Err(lua.error_table(b"ERR RESP version must be 2 or 3.")),
    };
    lua.vm().protocol.set(protocol);
    Ok(0)
}

fn set_replication(lua: Stack<'_>) -> Returns {
    if lua.top() != 1 {
        return Err(lua.error_table(b"ERR redis.set_repl() requires one argument."));
    }
    let flags = lua.number(1).unwrap_or_default() as i32;
    if flags & !REPLICATE_TO_ALL != 0 {
        return Err(lua.error_table(
            b"ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
        ));
    }
    let (to_file, to_replicas) =
        (flags & REPLICATE_TO_FILE != 0, flags & REPLICATE_TO_REPLICAS != 0);
    lua.vm().commands(|commands| commands.set_replication(to_file, to_replicas));
    Ok(0)
}

fn acl_check(lua: Stack<'_>) -> Returns {
    let vm = lua.vm();
    let allowed =
        with_words(lua, |words| vm.commands(|commands| commands.acl_check(Args::new(words))));
    match allowed {
        Ok(Some(allowed)) => lua.push_boolean(allowed),
        Ok(None) => {
            return Err(lua.error_table(b"ERR Invalid command passed to redis.acl_check_cmd()"));
        }
        Err(text) => return Err(lua.error_table(format!("ERR {text}").as_bytes())),
    }
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, MEMORY_BYTES_MAX};
    use super::super::{Callable, Lua, Progress};
    use super::*;

    #[test]
    fn the_log_and_the_clock_are_the_engines() {
        let mut lua = Lua::new(MEMORY_BYTES_MAX);
        let source =
            b"redis.log(redis.LOG_WARNING, 'a', 1) redis.log(0, 'b') return os.clock() * 2";
        let script = lua.eval(source).unwrap();
        let (mut fake, mut out) = (Fake::default(), Vec::new());
        assert_eq!(lua.start(Callable::Script(script), &[], &[], &mut fake), Progress::Done);
        lua.finish(&mut Reply::bytes(&mut out, Protocol::Resp2), &mut |_, _| {}).unwrap();
        assert_eq!((out.as_slice(), fake.log), (&b":15\r\n"[..], vec!["Warning a 1".to_owned()]));
    }
}
