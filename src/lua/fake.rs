//! For the unit tests of this folder: commands that answer in one shape each, and how a script is
//! run on them.

use super::{Callable, Commands, Lua, Progress, Verdict};
use crate::config::LogLevel;
use crate::proto::{Args, Error, Protocol, Reply, Result};

pub const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Commands that answer in one shape each, and count their calls.
#[derive(Debug, Default)]
pub struct Fake {
    calls: usize,
    pub log: Vec<String>,
}

impl Commands for Fake {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
        self.calls += 1;
        let count = args.left();
        match args.all()[0] {
            b"echo" => reply.bulk(args.all()[1]),
            b"ok" => reply.ok(),
            b"count" => reply.count(count),
            b"null" => reply.null(),
            b"list" => reply.bulks(args.remaining()),
            b"map" => {
                reply.map(count / 2);
                args.for_each(|word| reply.bulk(word));
            }
            b"set" => {
                reply.set(count);
                args.for_each(|word| reply.bulk(word));
            }
            b"later" => {
                let slot = reply.array_later();
                args.for_each(|word| reply.bulk(word));
                reply.close(slot, count);
            }
            b"regret" => {
                let mark = reply.mark();
                reply.array(2);
                reply.int(1);
                reply.rollback(mark);
                reply.int(2);
            }
            b"double" => reply.double(1.5),
            b"boolean" => reply.boolean(true),
            b"deep" => {
                (0..20).for_each(|_| reply.array(1));
                reply.int(1);
            }
            b"nested" => {
                reply.array(2);
                reply.map(1);
                reply.bulk(b"k");
                reply.array(0);
                reply.set(0);
            }
            b"endless" => {
                reply.array(usize::MAX / 2);
                while !reply.is_over() {
                    reply.bulk(b"more");
                }
            }
            b"panic" => panic!("a handler panicked"),
            _ => return Err(Error::new("ERR no")),
        }
        Ok(())
    }

    fn acl_check(&mut self, args: Args<'_>) -> Option<bool> {
        (args.all()[0] == b"echo").then_some(true)
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.log.push(format!("{level:?} {}", message.escape_ascii()));
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Notice
    }

    fn clock_s(&self) -> f64 {
        7.5
    }

    fn set_replication(&mut self, _: bool, _: bool) {}
}

/// Runs a script to its end, or kills it at its first suspension if `kill` says so.
pub fn run(lua: &mut Lua, source: &str, words: &[&[u8]], protocol: Protocol, kill: bool) -> String {
    let mut fake = Fake::default();
    let mut out = Vec::new();
    let mut reply = Reply::bytes(&mut out, protocol);
    let script = match lua.eval(source.as_bytes()) {
        Ok(script) => script,
        Err(error) => return error.to_string(),
    };
    let mut outcome =
        lua.start(Callable::Script(script), &words[..words.len().min(1)], words, &mut fake);
    let mut suspensions = 0;
    while outcome == Progress::Suspended {
        suspensions += 1;
        assert!(suspensions < 1_000, "it runs for ever: {source}");
        let verdict = if kill { Verdict::Kill } else { Verdict::GoOn };
        outcome = lua.resume(verdict, &mut fake);
    }
    match lua.finish(&mut reply, &mut |_, _| {}) {
        Ok(()) => out.escape_ascii().to_string(),
        Err(error) => error.to_string(),
    }
}

/// Runs a script with `words` as `ARGV`, the first one also as `KEYS`.
pub fn run_once(lua: &mut Lua, source: &str, words: &[&[u8]]) -> String {
    run(lua, source, words, Protocol::Resp2, false)
}

/// Holds the answer of a script in RESP2 against `expect`. Panics if it differs.
pub fn check(source: &str, expect: &str) {
    let mut lua = Lua::new(MEMORY_BYTES_MAX);
    assert_eq!(run(&mut lua, source, &[b"a", b"b"], Protocol::Resp2, false), expect, "{source}");
}

/// As `check`, in RESP3.
pub fn check_resp3(source: &str, expect: &str) {
    let mut lua = Lua::new(MEMORY_BYTES_MAX);
    assert_eq!(run(&mut lua, source, &[b"a", b"b"], Protocol::Resp3, false), expect, "{source}");
}
