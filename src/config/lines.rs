//! Settings as the lines of a redis.conf.
//!
//! Later lines override earlier ones, except that `save` lines add up. What is wrong stops the
//! reading, in Redis's form and words. A line that may hold a password is shown without it.

use std::fmt;
use std::io;

use super::rows::ROWS;
use super::table::{Directive, Serving, Setting};
use super::value::SettingKind;
use super::{Config, INCLUDE_DEPTH_MAX, Policy, REDIS_VERSION};
use crate::util::words;

/// What to tell whoever started the server, in several lines.
#[derive(Debug)]
pub struct ConfigError(String);

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fetches the texts of the files that a path names: one, or all that it matches.
pub type Include<'a> = &'a mut dyn FnMut(&str) -> io::Result<Vec<String>>;

impl Config {
    /// Reads settings over the defaults.
    ///
    /// The warnings name what is accepted without effect, one line per reason. They belong after
    /// the Ready line: tools take a word like `error` before it, even in the name of a setting, for
    /// a failed start.
    pub fn from_lines(
        text: &str,
        include: Include<'_>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let mut reader = Reader {
            config: Self::default(),
            include,
            save: None,
            refused: Vec::new(),
            has_policy: false,
            ignored: Vec::new(),
        };
        reader.read(text, 0)?;
        reader.finish()
    }
}

struct Reader<'a> {
    config: Config,
    include: Include<'a>,
    /// The row of `save`, once a line has replaced the default.
    save: Option<&'static Setting>,
    /// Settings that must not be what they are. A later line may still put them right, so that
    /// `toril redis.conf --appendonly no` starts whatever the file says.
    refused: Vec<(&'static str, ConfigError)>,
    /// A line has said what `maxmemory-policy` is.
    has_policy: bool,
    /// The names of what has no effect, by reason.
    ignored: Vec<(&'static str, Vec<&'static str>)>,
}

impl Reader<'_> {
    fn read(&mut self, text: &str, depth: usize) -> Result<(), ConfigError> {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |reason: String| wrong_line(number, line, &reason);
            let Some((bytes, spans)) = words::split(line.as_bytes()) else {
                return Err(wrong("Unbalanced quotes in configuration line".into()));
            };
            let words: Vec<&[u8]> = spans.iter().map(|&(start, end)| &bytes[start..end]).collect();
            match words[..] {
                [name, path] if name.eq_ignore_ascii_case(b"include") => {
                    self.include(path, depth, wrong)?;
                }
                [name, ref user @ ..] if is_user(name) && !user.is_empty() => {
                    self.user(user).map_err(wrong)?;
                }
                [name, ref values @ ..] => match Setting::find(name) {
                    Some(row) => {
                        self.set(row, values).map_err(wrong)?;
                        self.refused.retain(|(name, _)| *name != row.name);
                        let refusal = row.refusal(&self.config);
                        self.refused.extend(refusal.map(|reason| (row.name, wrong(reason))));
                    }
                    None => self.directive(name).map_err(wrong)?,
                },
                [] => {}
            }
        }
        Ok(())
    }

    fn include(
        &mut self,
        path: &[u8],
        depth: usize,
        wrong: impl Fn(String) -> ConfigError,
    ) -> Result<(), ConfigError> {
        if depth == INCLUDE_DEPTH_MAX {
            return Err(wrong("These files include each other without end".into()));
        }
        let path = String::from_utf8_lossy(path);
        let texts =
            (self.include)(&path).map_err(|error| ConfigError::cannot_open(&path, &error))?;
        texts.iter().try_for_each(|text| self.read(text, depth + 1))
    }

    fn set(&mut self, row: &'static Setting, values: &[&[u8]]) -> Result<(), String> {
        if let SettingKind::SavePoints = row.kind {
            let earlier = std::mem::take(&mut self.config.save);
            row.set(&mut self.config, values)?;
            if self.save.replace(row).is_some() && *values != [b""] {
                self.config.save.splice(0..0, earlier);
            }
            return Ok(());
        }
        row.set(&mut self.config, values)?;
        self.has_policy |= row.name == "maxmemory-policy";
        if row.serving == Serving::Known {
            self.ignore(row.name, row.about);
        }
        Ok(())
    }

    /// What the rules are is for who knows the commands to read.
    fn user(&mut self, words: &[&[u8]]) -> Result<(), String> {
        if self.config.users.iter().any(|known| known[0] == words[0]) {
            return Err(format!(
                "Error in user declaration '{}': Duplicate user found. A user can only be defined \
                 once in config files",
                words[0].escape_ascii()
            ));
        }
        self.config.users.push(words.iter().map(|word| word.to_vec()).collect());
        Ok(())
    }

    /// A line that is no setting.
    fn directive(&mut self, name: &[u8]) -> Result<(), String> {
        match Directive::find(name) {
            Some(it) if it.serving == Serving::Known => {
                self.ignore(it.name, it.about);
                Ok(())
            }
            Some(it) => Err(format!("'{}' cannot be served: {}", it.name, it.about)),
            None => {
                let nearest = match nearest(&String::from_utf8_lossy(name)) {
                    Some(row) => format!("\nThe nearest directive is '{}'.", row.name),
                    None => String::new(),
                };
                Err(format!("Bad directive or wrong number of arguments{nearest}"))
            }
        }
    }

    fn ignore(&mut self, name: &'static str, about: &'static str) {
        match self.ignored.iter_mut().find(|(reason, _)| *reason == about) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => self.ignored.push((about, vec![name])),
        }
    }

    fn finish(mut self) -> Result<(Config, Vec<String>), ConfigError> {
        if let Some((_, error)) = self.refused.pop() {
            return Err(error);
        }
        let profile = self.config.profile();
        if let Some(policy) = profile.policy.filter(|_| !self.has_policy) {
            self.config.maxmemory_policy = policy;
        }
        if profile.has_no_noeviction && self.config.maxmemory_policy == Policy::NoEviction {
            return Err(ConfigError(format!(
                "maxmemory-policy noeviction cannot be had at {}: leave it out, and see what your \
                 queue says",
                self.config.provider.word()
            )));
        }
        let warnings = self.ignored.iter().map(|(about, names)| {
            format!("Accepted without effect ({about}): {}", names.join(", "))
        });
        Ok((self.config, warnings.collect()))
    }
}

/// What toril does beside serving.
const SUBCOMMANDS: [&str; 4] = ["exec", "hand-over", "help", "ping"];

impl ConfigError {
    /// A file that is named could not be read.
    pub fn cannot_open(path: &str, error: &io::Error) -> Self {
        Self(format!("Fatal error, can't open config file '{path}': {error}"))
    }

    /// There is no file of this name, which might be meant for something else that toril does.
    pub fn no_subcommand(word: &str) -> Self {
        let errors = |name: &&&str| typing_errors(word, name);
        let meant = SUBCOMMANDS.iter().min_by_key(errors).filter(|it| errors(it) <= 2);
        let meant = meant.map_or(String::new(), |name| format!(" Is `toril {name}` meant?"));
        Self(format!(
            "There is neither a configuration file nor a subcommand '{word}'.{meant} The \
             subcommands are {}; toril --help tells more.",
            SUBCOMMANDS.join(", ")
        ))
    }
}

fn wrong_line(number: usize, line: &str, reason: &str) -> ConfigError {
    ConfigError(format!(
        "\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\n\
         Reading the configuration file, at line {number}\n\
         >>> '{}'\n\
         {reason}",
        without_secrets(line)
    ))
}

/// The line, or its first word alone where a password may follow: also behind a name that is
/// mistyped, or glued to its value.
fn without_secrets(line: &str) -> String {
    let name = line.split([' ', '\t']).next().unwrap_or_default().trim_matches(['"', '\'']);
    let is_secret =
        |row: &&Setting| row.is_secret() && name.to_ascii_lowercase().starts_with(row.name);
    if let Some(row) = ROWS.iter().find(is_secret) {
        format!("{} (hidden)", row.name)
    } else if is_user(name.as_bytes())
        || nearest(name).is_some_and(Setting::is_secret)
        || Directive::find(name.as_bytes()).is_some_and(|it| it.serving == Serving::Guards)
    {
        format!("{name} (hidden)")
    } else {
        line.to_string()
    }
}

/// Whether a line that begins so makes a user.
pub(super) fn is_user(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"user")
}

/// The setting whose name is at most two typing errors away.
fn nearest(name: &str) -> Option<&'static Setting> {
    let name = name.to_ascii_lowercase();
    let distances = ROWS.iter().map(|row| (typing_errors(&name, row.name), row));
    let (distance, row) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2).then_some(row)
}

/// Letters to insert, leave out or replace to make one of the other (Levenshtein's distance).
fn typing_errors(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, from) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, to) in (1..).zip(other.bytes()) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[column];
            row[column] = replaced.min(diagonal + 1).min(row[column - 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads lines, and prints the settings that are named in `expect` with the warnings behind
    /// them, or what stands below the heading of the error.
    fn check(text: &str, expect: &str) {
        let mut include = |path: &str| match path {
            "more.conf" => Ok(vec!["timeout 78\n".to_string()]),
            "loop.conf" => Ok(vec!["include loop.conf".to_string()]),
            "*.conf" => Ok(vec!["timeout 1".to_string(), "timeout 2\nnope 2\n".to_string()]),
            "*.none" => Ok(Vec::new()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let found = match Config::from_lines(text, &mut include) {
            Ok((config, warnings)) => {
                let names = expect.lines().filter_map(|line| line.split_once(" = "));
                let settings = names.map(|(name, _)| {
                    let text = config.get(name.as_bytes()).expect("the setting is known");
                    format!("{name} = {}", text.escape_ascii())
                });
                settings.chain(warnings).collect::<Vec<_>>().join("\n")
            }
            Err(error) => {
                let heading = "\n*** FATAL CONFIG FILE ERROR (Redis 7.4.0) ***\n\
                               Reading the configuration file, at ";
                error.to_string().replace(heading, "")
            }
        };
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn lines_are_read() {
        check("", "");
        check("# comment\n\n \tTimeout 7 \r\n", "timeout = 7");
        check("timeout 7\ntimeout 8", "timeout = 8");
        check("requirepass 'it\\'s \"'", "requirepass = it\\'s \\\"");
        check("requirepass \"\\x00\\xffa\"", "requirepass = \\x00\\xffa");
        check("bind 127.0.0.1 -::1\nbind 10.0.0.1", "bind = 10.0.0.1");
        check("list-max-ziplist-size -3", "list-max-listpack-size = -3");
        check(
            "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6",
            "client-output-buffer-limit = normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6",
        );
        check(
            "include more.conf\nhz 20",
            "timeout = 78\nAccepted without effect (what is due is done when it is due, without a clock to tune): hz",
        );
    }

    #[test]
    fn a_provider_has_a_policy_where_nobody_says() {
        check("provider elasticache", "maxmemory-policy = volatile-lru");
        let policy = "maxmemory-policy noeviction\n";
        check(&format!("{policy}provider elasticache"), "maxmemory-policy = noeviction");
        check(&format!("provider elasticache\n{policy}"), "maxmemory-policy = noeviction");
        check("provider elasticache-serverless", "maxmemory-policy = volatile-lru");
        let reason = "maxmemory-policy noeviction cannot be had at elasticache-serverless: leave \
                      it out, and see what your queue says";
        check(&format!("{policy}provider elasticache-serverless"), reason);
        check(
            "strict yes,keys=error",
            "strict = crossslot,foreign,policy,wrongtype,commands,keys=error",
        );
    }

    #[test]
    fn save_lines_add_up() {
        check("save \"\"", "save = ");
        check("save", "save = ");
        check("save 60 1\nsave 30 2", "save = 60 1 30 2");
        check("save 5 6\nsave \"\"\nsave 7 8", "save = 7 8");
        check("save \"60 1 30 2\"", "save = 60 1 30 2");
        check("save 60 1\nsave \"\"", "save = ");
    }

    #[test]
    fn what_has_no_effect_is_named() {
        check(
            "activerehashing no\nlfu-decay-time 2\nactiverehashing no\nio-threads 4\nappendonly no\n\
             lua-replicate-commands yes",
            "Accepted without effect (what is due is done when it is due, without a clock to tune): activerehashing\n\
             Accepted without effect (eviction has no finer controls yet): lfu-decay-time\n\
             Accepted without effect (one thread serves all clients): io-threads\n\
             Accepted without effect (it has no effect in Redis either): lua-replicate-commands",
        );
    }

    #[test]
    fn what_guards_data_stops_the_start() {
        check("replicaof 127.0.0.1 6379\nreplicaof no one", "");
        check("cluster-enabled no\ntls-port 0\nreplicaof no one\naclfile \"\"", "");
        check("replicaof 127.0.0.1 6379", "replicaof = 127.0.0.1 6379");
    }

    #[test]
    fn what_is_wrong_is_shown() {
        let unknown = "Bad directive or wrong number of arguments";
        check("nope 1", &format!("line 1\n>>> 'nope 1'\n{unknown}"));
        check(
            "\nmaxmemori 1",
            &format!("line 2\n>>> 'maxmemori 1'\n{unknown}\nThe nearest directive is 'maxmemory'."),
        );
        check("timeout", "line 1\n>>> 'timeout'\nwrong number of arguments");
        check("timeout 7 # no", "line 1\n>>> 'timeout 7 # no'\nwrong number of arguments");
        check("maxmemory zz", "line 1\n>>> 'maxmemory zz'\nargument must be a memory value");
        let quotes = "Unbalanced quotes in configuration line";
        check("timeout \"5", &format!("line 1\n>>> 'timeout \"5'\n{quotes}"));
        check("include", &format!("line 1\n>>> 'include'\n{unknown}"));
        check("include *.conf", &format!("line 2\n>>> 'nope 2'\n{unknown}"));
        let deep = "These files include each other without end";
        check("include loop.conf", &format!("line 1\n>>> 'include loop.conf'\n{deep}"));
        check("include no.conf", "Fatal error, can't open config file 'no.conf': entity not found");
    }

    #[test]
    fn passwords_are_not_shown() {
        for line in [
            "requirepass geheim x",
            "requirepass \"geheim",
            "REQUIREPASS=geheim",
            "requirepas geheim",
            "'masterauth' geheim x",
            "rename-command CONFIG geheim",
            "user x on\nuser x >geheim",
        ] {
            let error = Config::from_lines(line, &mut |_| Ok(Vec::new())).expect_err(line);
            let error = error.to_string();
            assert!(error.contains("(hidden)") && !error.contains("geheim"), "{error}");
        }
    }
}
