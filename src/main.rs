//! Reads the options and runs the server.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::{env, fs};

use toril::config::{self, Config, ConfigError, Invocation, Sources};
use toril::server;
use toril::util::alloc::Counted;
use toril::util::glob::{self, Case};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() -> ExitCode {
    let args: Result<Vec<String>, OsString> =
        env::args_os().skip(1).map(OsString::into_string).collect();
    let sources = match args.as_deref().map(config::argv_to_lines) {
        Ok(Invocation::Run(sources)) => sources,
        Ok(Invocation::Help) => return tell(&config::help()),
        Ok(Invocation::Version) => return tell(&config::version_line()),
        Ok(Invocation::Refused(why)) => return stop(&why),
        Err(arg) => return stop(&format!("The argument {arg:?} is not UTF-8.")),
    };
    match settings(&sources) {
        Ok((config, warnings)) => server::run(config, &config_file(&sources), &warnings),
        Err(error) => stop(&error.to_string()),
    }
}

/// The file first, then standard input, then the options: what comes later overrides.
fn settings(sources: &Sources) -> Result<(Config, Vec<String>), ConfigError> {
    let mut text = String::new();
    if let Some(path) = &sources.conf_path {
        text = fs::read_to_string(path).map_err(|error| ConfigError::cannot_open(path, &error))?;
        text.push('\n');
    }
    if sources.stdin {
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| ConfigError::cannot_open("-", &error))?;
    }
    text += &sources.lines;
    Config::from_lines(&text, &mut included)
}

/// The whole path of the file that is named first, which may be seen from another directory later;
/// empty if there is none.
fn config_file(sources: &Sources) -> String {
    let named = sources.conf_path.as_deref().unwrap_or_default();
    let path = std::path::absolute(named).unwrap_or_else(|_| named.into());
    if named.is_empty() { String::new() } else { path.to_string_lossy().into_owned() }
}

/// The text of an included file, or those of all files that a pattern in the path's last part
/// matches, in the order of their names; there may be none.
fn included(path: &str) -> io::Result<Vec<String>> {
    let (folder, pattern) = path.rsplit_once('/').unwrap_or((".", path));
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![fs::read_to_string(path)?]);
    }
    let Ok(entries) = fs::read_dir(format!("{folder}/")) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|name| glob::matches(pattern.as_bytes(), name.as_bytes(), Case::Sensitive));
    names.sort();
    names.iter().map(|name| fs::read_to_string(format!("{folder}/{name}"))).collect()
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
