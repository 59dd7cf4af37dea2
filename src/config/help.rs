//! The texts of `--help` and `--version`.

use super::rows::ROWS;
use super::table::Serving;
use super::{Config, REDIS_VERSION, TORIL_VERSION};
use crate::util::alloc;

/// One line, made as redis-server makes it: tools take its first dotted number for Redis's version.
pub fn version_line() -> String {
    format!(
        "Redis server v={REDIS_VERSION} (toril {TORIL_VERSION}) sha=00000000:0 malloc={} \
         bits={} build=0",
        alloc::NAME,
        usize::BITS
    )
}

/// What `--help` prints.
pub fn help() -> String {
    let mut text = format!(
        "toril {TORIL_VERSION}: an in-memory queue server. BullMQ and other clients use it in place of \
         Redis {REDIS_VERSION}.\n{USAGE}"
    );
    let defaults = Config::default();
    for row in ROWS.iter().filter(|row| row.serving == Serving::Served) {
        let default = String::from_utf8_lossy(&row.text(&defaults)).into_owned();
        let default = if default.is_empty() { "\"\"".into() } else { default };
        text += &format!("  --{:<28} {} ({default})\n", row.name, row.about);
    }
    text + NOT_SERVED
}

const USAGE: &str = "
Usage: toril [redis.conf] [--name value ...] [-]

  toril                                 serves 127.0.0.1:6379
  toril --port 6380 --maxmemory 100mb   settings by their names in redis.conf
  toril redis.conf --port 6380          a file, and a setting that overrides it
  toril -                               settings from standard input
  toril --version                       says which version this is
  toril exec -- npm test                a command beside a server of its own: toril exec --help
  toril ping                            whether a server answers: toril ping --help
  toril hand-over redis://host:port     all moves to another server: toril hand-over --help

Settings, with what they are if not given:

";

const NOT_SERVED: &str = "
Redis's other settings are accepted with a warning. Those that guard or move data, such as tls-port
or cluster-enabled, stop the start, because that is not there yet.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_what_is_served() {
        let help = help();
        let check = |name: &str, end: &str| {
            let is_told =
                |line: &str| line.starts_with(&format!("  --{name} ")) && line.ends_with(end);
            assert!(help.lines().any(is_told), "{name} {end}");
        };
        check("port", " (6379)");
        check("requirepass", " (\"\")");
        assert!(!help.contains("no-appendfsync-on-rewrite"));
    }

    #[test]
    fn the_first_dotted_number_is_the_version_of_redis() {
        let line = version_line();
        let is_dotted =
            |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
        assert_eq!(line.split(' ').find(is_dotted), Some("v=7.4.0"));
    }
}
