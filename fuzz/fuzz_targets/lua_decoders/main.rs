//! What scripts decode: JSON, MessagePack and C structures that anybody may have sent.
//!
//! The input's first byte picks the library, the rest is what it reads. Decoding may fail; what it
//! yields, encoded and decoded again, must be the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use toril::config::LogLevel;
use toril::lua::{Callable, Commands, Lua, Progress, Verdict};
use toril::proto::{Args, Error, Protocol, Reply, Result};

const MEMORY_BYTES_MAX: usize = 256 << 20;

/// More than any input of a few KB can keep a script busy.
const SLICES_MAX: usize = 10_000;

/// By the first byte. Each ends in an error if a value does not come back.
const SCRIPTS: [&str; 3] =
    [include_str!("json.lua"), include_str!("msgpack.lua"), include_str!("struct.lua")];

thread_local! {
    /// One machine for all inputs, as a server has one.
    static LUA: RefCell<Lua> = RefCell::new(Lua::new(MEMORY_BYTES_MAX));
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, input)) = data.split_first() else { return };
    let source = [include_str!("same.lua"), SCRIPTS[usize::from(choice) % 3]].concat();
    LUA.with_borrow_mut(|lua| {
        let script = lua.eval(source.as_bytes()).expect("the script compiles");
        let mut outcome = lua.start(Callable::Script(script), &[], &[input], &mut NoCommands);
        for _ in 0..SLICES_MAX {
            if outcome == Progress::Done {
                break;
            }
            outcome = lua.resume(Verdict::GoOn, &mut NoCommands);
        }
        assert_eq!(outcome, Progress::Done, "it does not end");
        let mut answer = Vec::new();
        let mut reply = Reply::bytes(&mut answer, Protocol::Resp2);
        if let Err(error) = lua.finish(&mut reply, &mut |_, _| {}) {
            panic!("{error}");
        }
    });
});

/// The scripts call none.
struct NoCommands;

impl Commands for NoCommands {
    fn call(&mut self, _: Args<'_>, _: &mut Reply<'_>) -> Result {
        Err(Error::ScriptUnknownCommand)
    }

    fn acl_check(&mut self, _: Args<'_>) -> Option<bool> {
        None
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> LogLevel {
        LogLevel::Nothing
    }

    fn clock_s(&self) -> f64 {
        0.0
    }

    fn set_replication(&mut self, _: bool, _: bool) {}
}
