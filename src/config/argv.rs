//! The command line of `redis-server`, which is a way to write the lines of a redis.conf.

use crate::util::quote;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Invocation {
    /// Run the server with these settings.
    Run(Sources),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
    /// Something else that redis-server can do, and why not here.
    Refused(String),
}

/// Where the settings come from, in the order in which they are to be read.
#[derive(Debug, Default, PartialEq)]
pub struct Sources {
    /// The file that is named first, if one is.
    pub conf_path: Option<String>,
    /// Whether standard input is read after the file.
    pub stdin: bool,
    /// The options as lines, each behind a line end of its own.
    pub lines: String,
}

/// Reads the arguments that follow the program's name, as redis-server does.
///
/// An argument with `--` opens a line, the next belongs to it whatever it looks like, and so do all
/// that follow without `--`. An argument that holds its own values (`--save 3600 1` in one piece)
/// wants none after it, nor does `--save` alone, which means `--save ""`.
pub fn argv_to_lines(args: &[String]) -> Invocation {
    let mut sources = Sources::default();
    let mut args = args;
    if let [first, rest @ ..] = args {
        match first.as_str() {
            "-v" | "--version" => return Invocation::Version,
            "-h" | "--help" => return Invocation::Help,
            "--test-memory" => return refused(first, "memtester and the kernel's memtest do that"),
            "--check-system" => return refused(first, "no setting of the system can harm it"),
            "-" => sources.stdin = true,
            name if !name.starts_with('-') => sources.conf_path = Some(name.to_string()),
            _ => {}
        }
        if sources.stdin || sources.conf_path.is_some() {
            args = rest;
        }
    }
    if let [rest @ .., last] = args
        && last == "-"
    {
        sources.stdin = true;
        args = rest;
    }
    sources.lines = joined(args);
    Invocation::Run(sources)
}

fn refused(option: &str, instead: &str) -> Invocation {
    Invocation::Refused(format!("toril has no {option}: {instead}."))
}

fn joined(args: &[String]) -> String {
    let mut lines = Vec::new();
    let mut wants_value = false;
    for (index, arg) in args.iter().enumerate() {
        match arg.strip_prefix("--").filter(|_| !wants_value) {
            Some(option) => {
                lines.push(b'\n');
                lines.extend(option.bytes());
                wants_value = !option.is_empty() && !option.contains(' ');
                let ends = args.get(index + 1).is_none_or(|next| next.starts_with("--"));
                if ends && option.eq_ignore_ascii_case("save") {
                    lines.extend(b" \"\"");
                    wants_value = false;
                }
            }
            None => {
                lines.push(if lines.is_empty() { b'\n' } else { b' ' });
                quote::quoted(arg.as_bytes(), &mut lines);
                wants_value = false;
            }
        }
    }
    String::from_utf8(lines).expect("options are UTF-8, and quoted words ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoke(args: &[&str]) -> Invocation {
        argv_to_lines(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn check(args: &[&str], expect: &str) {
        let expect = Sources { lines: expect.into(), ..Sources::default() };
        assert_eq!(invoke(args), Invocation::Run(expect), "{args:?}");
    }

    #[test]
    fn options_become_lines() {
        check(&[], "");
        check(&["--port", "6380", "--bind", "a", "b"], "\nport \"6380\"\nbind \"a\" \"b\"");
        check(
            &["--pidfile", "a b\"\n"],
            r#"
pidfile "a b\"\n""#,
        );
        check(&["--requirepass", "--x", "--port", "1"], "\nrequirepass \"--x\"\nport \"1\"");
        check(&["--timeout 5", "--port", "1"], "\ntimeout 5\nport \"1\"");
        check(&["-p", "1"], "\n\"-p\" \"1\"");
        check(&["--", "x"], "\n \"x\"");
        check(&["--timeout", "5", "a.conf"], "\ntimeout \"5\" \"a.conf\"");
        check(&["--port", "1", "--version"], "\nport \"1\"\nversion");
    }

    #[test]
    fn save_is_spelt_in_many_ways() {
        check(&["--save", "3600", "1"], "\nsave \"3600\" \"1\"");
        check(&["--save", "3600 1"], "\nsave \"3600 1\"");
        check(&["--save 3600 1", "--port", "1"], "\nsave 3600 1\nport \"1\"");
        check(&["--save", "", "--port", "1"], "\nsave \"\"\nport \"1\"");
        check(&["--SAVE", "--port", "1"], "\nSAVE \"\"\nport \"1\"");
        check(&["--save"], "\nsave \"\"");
    }

    #[test]
    fn files_and_standard_input() {
        let run = |conf: Option<&str>, stdin: bool, lines: &str| {
            let conf_path = conf.map(ToString::to_string);
            Invocation::Run(Sources { conf_path, stdin, lines: lines.into() })
        };
        assert_eq!(invoke(&["a.conf"]), run(Some("a.conf"), false, ""));
        assert_eq!(invoke(&["a.conf", "-"]), run(Some("a.conf"), true, ""));
        assert_eq!(invoke(&["-", "--hz", "6"]), run(None, true, "\nhz \"6\""));
        assert_eq!(invoke(&["--hz", "6", "-"]), run(None, true, "\nhz \"6\""));
        assert_eq!(invoke(&["-"]), run(None, true, ""));
    }

    #[test]
    fn other_uses() {
        assert_eq!(invoke(&["-v"]), Invocation::Version);
        assert_eq!(invoke(&["--version", "x"]), Invocation::Version);
        assert_eq!(invoke(&["-h"]), Invocation::Help);
        assert_eq!(invoke(&["--help"]), Invocation::Help);
        assert!(matches!(invoke(&["--check-system"]), Invocation::Refused(_)));
    }
}
