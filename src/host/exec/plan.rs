//! The command line of `toril exec`: settings of the server, then a command behind `--`.

use crate::config::{Invocation, argv_to_lines};
use crate::server::sources;
use crate::util::span;
use std::ffi::OsString;

/// What `toril exec --help` prints.
pub const USAGE: &str = "\
Usage: toril exec [settings] [--clock] [--wait-idle 5s] [--env NAME=TEMPLATE]... \
-- command [arguments]

Runs a command beside a server of its own, which ends with it, and ends with the command's status.
The command finds it by REDIS_URL, REDIS_HOST, REDIS_PORT, UPSTASH_REDIS_REST_URL,
UPSTASH_REDIS_REST_TOKEN and TORIL_URL.

  toril exec -- npm test
  toril exec --maxmemory 50mb -- pytest       settings of the server, as toril takes them
  toril exec --env CELERY_BROKER_URL={url}/1 -- pytest
                                              one variable more: {url} {host} {port} {http} {token}
  toril exec --clock -- npm test              TORIL CLOCK moves the time of both
  toril exec --wait-idle 5s -- ./enqueue      afterwards waits so long until all jobs are done";

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// The server's command line, as it was given.
    pub settings: Vec<String>,
    pub clock: bool,
    pub wait_idle_ms: Option<u64>,
    /// Names and templates.
    pub variables: Vec<(String, String)>,
    /// Never empty.
    pub command: Vec<OsString>,
}

impl Plan {
    /// None if help is wanted.
    pub fn read(args: &[OsString]) -> Result<Option<Self>, String> {
        let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
        let own: Option<Vec<&str>> = args[..end].iter().map(|arg| arg.to_str()).collect();
        let own = own.ok_or("the settings are not UTF-8")?;
        if let ["-h" | "--help", ..] = own[..] {
            return Ok(None);
        }
        let command = args.get(end + 1..).unwrap_or_default().to_vec();
        if command.is_empty() {
            return Err("a command is wanted behind --, as in 'toril exec -- npm test'".into());
        }
        let mut plan = Self { command, ..Self::default() };
        let mut words = own.into_iter();
        while let Some(word) = words.next() {
            match word {
                "--clock" => plan.clock = true,
                "--wait-idle" => {
                    let span = words.next().and_then(span::parse_ms);
                    plan.wait_idle_ms =
                        Some(span.ok_or("--wait-idle takes a time such as 500ms or 5s")?);
                }
                "--env" => {
                    let variable = words.next().and_then(|text| text.split_once('='));
                    let (name, template) = variable
                        .filter(|(name, _)| !name.is_empty())
                        .ok_or("--env takes NAME=TEMPLATE, such as CELERY_BROKER_URL={url}")?;
                    plan.variables.push((name.into(), template.into()));
                }
                _ => plan.settings.push(word.into()),
            }
        }
        plan.check()?;
        Ok(Some(plan))
    }

    /// Says what is wrong with the settings, before the server does.
    fn check(&self) -> Result<(), String> {
        let read = match argv_to_lines(&self.settings) {
            Invocation::Run(sources) if sources.stdin => {
                return Err("standard input is the command's: put the settings into a file".into());
            }
            Invocation::Run(sources) => sources::read(&sources),
            Invocation::Refused(why) => return Err(why),
            Invocation::Help | Invocation::Version => return Err(USAGE.into()),
        };
        let (config, _) = read.map_err(|error| error.to_string())?;
        if config.daemonize {
            return Err("exec and daemonize contradict each other".into());
        }
        Ok(())
    }

    /// The command line of the server. It listens where nobody else does and begins with nothing,
    /// unless told otherwise; a file may be that of the server in production.
    pub fn server_args(&self) -> Vec<String> {
        let has_file = self.settings.first().is_some_and(|word| !word.starts_with('-'));
        let (file, options) = self.settings.split_at(usize::from(has_file));
        let pid = std::process::id().to_string();
        let mut args = file.to_vec();
        args.extend(["--port", "0", "--bind", "127.0.0.1", "--http-port", "0"].map(Into::into));
        args.extend(["--load", "no"].map(Into::into));
        if self.clock {
            args.extend(["--clock", "yes"].map(Into::into));
        }
        args.extend_from_slice(options);
        args.extend(["--announce", "json", "--exit-with-parent", &pid].map(Into::into));
        args
    }

    /// The command in one short line.
    pub fn title(&self) -> String {
        const CHARS_MAX: usize = 60;
        let words: Vec<_> = self.command.iter().map(|word| word.to_string_lossy()).collect();
        let line = words.join(" ").replace('\n', " ");
        match line.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &str) -> Result<Option<Plan>, String> {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        Plan::read(&args)
    }

    #[test]
    fn settings_and_command_are_told_apart() {
        let plan =
            read("--maxclients 7 --clock --env A={url}=b --wait-idle 1s500ms -- x --clock -- y");
        let expect = Plan {
            settings: vec!["--maxclients".into(), "7".into()],
            clock: true,
            wait_idle_ms: Some(1500),
            variables: vec![("A".into(), "{url}=b".into())],
            command: ["x", "--clock", "--", "y"].map(Into::into).into(),
        };
        assert_eq!(plan, Ok(Some(expect)));
        assert_eq!(read("--help"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |args: &str, expect: &str| {
            let error = read(args).expect_err(args);
            assert!(error.contains(expect), "{args}: {error}");
        };
        check("npm test", "behind --");
        check("--hz 10 --", "behind --");
        check("--wait-idle -- x", "such as 500ms or 5s");
        check("--wait-idle soon -- x", "such as 500ms or 5s");
        check("--env A -- x", "NAME=TEMPLATE");
        check("--env =b -- x", "NAME=TEMPLATE");
        check("--nope 1 -- x", "at line 2\n>>> 'nope \"1\"'\nBad directive");
        check("--daemonize yes -- x", "contradict");
        check("- -- x", "standard input is the command's");
        check("--version -- x", "Usage: toril exec");
        check("--check-system -- x", "toril has no --check-system");
    }

    #[test]
    fn the_server_has_free_ports_unless_told_otherwise() {
        let plan = Plan { settings: ["--port", "7"].map(Into::into).into(), ..Plan::default() };
        let args = plan.server_args().join(" ");
        assert!(
            args.starts_with("--port 0 --bind 127.0.0.1 --http-port 0 --load no --port 7 "),
            "{args}"
        );
        let plan = Plan { settings: ["a.conf", "--hz", "7"].map(Into::into).into(), ..plan };
        let args = plan.server_args().join(" ");
        assert!(args.starts_with("a.conf --port 0 "), "{args}");
    }

    #[test]
    fn a_long_command_is_cut() {
        let title = |words: &[&str]| {
            let command = words.iter().map(Into::into).collect();
            Plan { command, ..Plan::default() }.title()
        };
        assert_eq!(title(&["npm", "test"]), "npm test");
        assert_eq!(title(&["sh", "-c", &"\u{e9}".repeat(99)]).chars().count(), 63);
    }
}
