//! Scripts whose functions are made once (src/lua/hoist.rs), and whose values are read where they lie
//! (src/lua/layout.rs), beside the same scripts without either.
//!
//! The input's bytes make a program. It runs some times, with other words each time: as it is, on a
//! machine that keeps it; the same on a machine that asks Lua's C interface for everything; and with
//! a line that makes the machine leave it alone, as a new script each time. Commands, log and
//! answer must be the same, errors with their lines included.

#![no_main]

mod program;

use libfuzzer_sys::fuzz_target;
use toril::config::LogLevel;
use toril::lua::{Callable, Commands, Lua, Progress, Sha, Verdict};
use toril::proto::{Args, Error, Protocol, Reply, Result};

const MEMORY_BYTES_MAX: usize = 256 << 20;

/// In the same line as the program's first words. A script that could reach functions' environments
/// has none of them made once.
const PLAIN: &str = "do local _ = '_G' end ";

/// So often functions of a program are called, in a run.
const STEPS_MAX: usize = 200;

/// What takes longer is not compared: how many instructions there are in a slice is nobody's
/// promise.
const SLICES_MAX: usize = 2;

/// `KEYS` and `ARGV` of the runs. What the first run has left must not show in the last.
const RUNS: [(&[&[u8]], &[&[u8]]); 4] =
    [(&[], &[]), (&[b"k"], &[b"1"]), (&[], &[b"a", b"2", b"c"]), (&[], &[])];

fuzz_target!(|data: &[u8]| {
    let source = program::program(data);
    // New ones for each input: what is left behind would have the fuzzer look for leaks each time.
    let [mut usual, mut plain, indirect] = std::array::from_fn(|_| Lua::new(MEMORY_BYTES_MAX));
    let mut indirect = indirect.without_direct_access();
    for (run, (keys, argv)) in RUNS.iter().enumerate() {
        let found = observe(&mut usual, &source, keys, argv);
        let hoisting = observe(&mut plain, &format!("{PLAIN}{source} --{run}"), keys, argv);
        let layout = observe(&mut indirect, &source, keys, argv);
        for (what, expect) in [("without hoisting", hoisting), ("without layout", layout)] {
            if let (Some(found), Some(expect)) = (&found, expect) {
                let shown = format_args!("--- run {run}, {what}: {expect:#?}\n--- but {found:#?}");
                assert!(*found == expect, "{source}\n{shown}");
            }
        }
    }
});

/// What a run shows, or none if it takes too long.
fn observe(lua: &mut Lua, source: &str, keys: &[&[u8]], argv: &[&[u8]]) -> Option<Vec<String>> {
    let mut host = Host::default();
    let script = match lua.eval(source.as_bytes()) {
        Ok(script) => script,
        Err(error) => return Some(vec![error.to_string()]),
    };
    let mut outcome = lua.start(Callable::Script(script), keys, argv, &mut host);
    let mut slices = 0;
    while outcome == Progress::Suspended {
        slices += 1;
        let verdict = if slices > SLICES_MAX { Verdict::Kill } else { Verdict::GoOn };
        outcome = lua.resume(verdict, &mut host);
    }
    let mut answer = Vec::new();
    let mut reply = Reply::bytes(&mut answer, Protocol::Resp3);
    let error = lua.finish(&mut reply, &mut |_, _| {}).err();
    if slices > SLICES_MAX {
        return None;
    }
    host.seen.push(answer.escape_ascii().to_string());
    host.seen.extend(error.map(|error| error.to_string()));
    let sha = Sha::of(source.as_bytes()).to_string();
    Some(host.seen.iter().map(|seen| seen.replace(&sha, "(sha)")).collect())
}

/// Remembers what reaches it.
#[derive(Default)]
struct Host {
    seen: Vec<String>,
    steps: usize,
}

impl Commands for Host {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
        let words = args.all();
        if words[0] == b"step" {
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(Error::new("ERR too many steps"));
            }
        } else {
            self.seen.push(words.iter().map(|word| format!("{} ", word.escape_ascii())).collect());
        }
        match words[0] {
            b"step" | b"note" => reply.ok(),
            b"a" => reply.bulks(words),
            b"12" => {
                reply.array(4);
                reply.bulks(words);
                reply.null();
                reply.array(0);
                reply.count(words.len());
            }
            _ => return Err(Error::ScriptUnknownCommand),
        }
        Ok(())
    }

    fn acl_check(&mut self, _: Args<'_>) -> Option<bool> {
        None
    }

    fn log(&mut self, level: LogLevel, message: &[u8]) {
        self.seen.push(format!("{level:?} {}", message.escape_ascii()));
    }

    fn log_level(&self) -> LogLevel {
        LogLevel::Notice
    }

    fn clock_s(&self) -> f64 {
        0.0
    }

    fn set_replication(&mut self, _: bool, _: bool) {}
}
