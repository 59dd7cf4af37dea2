//! Reads what is asked for and does it: mostly, to run the server.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use toril::config::{self, Invocation};
use toril::host::{exec, hand_over, ping};
use toril::server::{self, sources};
use toril::util::alloc::Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == "exec") {
        return exec::run(&args[1..]).into();
    }
    let args: Result<Vec<String>, OsString> = args.into_iter().map(OsString::into_string).collect();
    let args = match args {
        Ok(args) => args,
        Err(arg) => return stop(&format!("The argument {arg:?} is not UTF-8.")),
    };
    if args.first().is_some_and(|first| first == "ping") {
        return ping::run(&args[1..])
            .map_or_else(|reason| stop(&format!("toril ping: {reason}")), |text| tell(&text));
    }
    if args.first().is_some_and(|first| first == "hand-over") {
        return hand_over::run(&args[1..]).into();
    }
    if args.first().is_some_and(|first| first == "help") {
        return tell(&config::help());
    }
    let sources = match config::argv_to_lines(&args) {
        Invocation::Run(sources) => sources,
        Invocation::Help => return tell(&config::help()),
        Invocation::Version => return tell(&config::version_line()),
        Invocation::Refused(why) => return stop(&why),
    };
    match sources::read(&sources) {
        Ok((config, warnings)) => server::run(config, &sources::config_file(&sources), &warnings),
        Err(error) => stop(&error.to_string()),
    }
}

/// Nobody may be reading any more (`toril --help | head`), which is no reason to panic.
fn tell(text: &str) -> ExitCode {
    let _ = writeln!(io::stdout(), "{}", text.trim_end());
    ExitCode::SUCCESS
}

/// On standard error, where Redis says what is wrong with its settings.
fn stop(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{reason}");
    ExitCode::FAILURE
}
