//! What a row of the table of settings is, and how settings are read and changed through it.

use super::Config;
use super::rows::{DIRECTIVES, ROWS};
use super::value::{SettingKind, SettingValue};

/// A setting, and all there is to know of it.
pub struct Setting {
    /// As redis.conf writes it.
    pub name: &'static str,
    /// What older versions of Redis called it, or empty. Both names are alive.
    pub alias: &'static str,
    /// Told to who knows its name, and not listed.
    pub is_hidden: bool,
    pub(super) kind: SettingKind,
    pub(super) place: Holder,
    /// Whether it may be changed while the server runs.
    pub change: Changeable,
    /// What toril does with it.
    pub serving: Serving,
    /// What it is for, as `--help` says it.
    pub about: &'static str,
}

/// Whether CONFIG SET may change a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changeable {
    Live,
    AtStart,
    /// Nor is it written into a file: it belongs to one start of the server.
    PerStart,
    /// Where `enable-protected-configs` allows it: a client can have files written elsewhere.
    Guarded,
}

/// What toril does with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    Served,
    /// Accepted with a warning, and kept for CONFIG GET.
    Known,
    /// It guards or moves data, so ignoring it would do harm: only its default is accepted.
    Guards,
}

pub(super) enum Holder {
    Field(fn(&Config) -> SettingValue, fn(&mut Config, SettingValue)),
    /// Nobody but CONFIG GET asks for it. This is its default.
    Kept(&'static str),
}

/// A line of redis.conf that is no setting.
pub(super) struct Directive {
    pub name: &'static str,
    pub serving: Serving,
    pub about: &'static str,
}

pub(super) const fn row(
    name: &'static str,
    kind: SettingKind,
    place: Holder,
    change: Changeable,
    serving: Serving,
    about: &'static str,
) -> Setting {
    Setting { name, alias: "", is_hidden: false, kind, place, change, serving, about }
}

pub(super) const fn directive(
    name: &'static str,
    serving: Serving,
    about: &'static str,
) -> Directive {
    Directive { name, serving, about }
}

impl Setting {
    pub(super) const fn alias(mut self, alias: &'static str) -> Self {
        self.alias = alias;
        self
    }

    pub(super) const fn hidden(mut self) -> Self {
        self.is_hidden = true;
        self
    }

    /// By name or alias, in any case of letters. None if no setting is called so.
    pub fn find(name: &[u8]) -> Option<&'static Self> {
        ROWS.iter().find(|row| {
            row.name.as_bytes().eq_ignore_ascii_case(name)
                || !name.is_empty() && row.alias.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    /// Its value as CONFIG GET answers it. That shows passwords, though no tokens; no log and no
    /// error may show either.
    pub fn text(&self, config: &Config) -> Vec<u8> {
        match self.place {
            Holder::Field(get, _) => match (self.kind, get(config)) {
                (SettingKind::Token, SettingValue::Secret(secret))
                    if secret.reveal().is_empty() =>
                {
                    Vec::new()
                }
                (SettingKind::Token, token) => token.to_string().into_bytes(),
                (_, value) => value.text(),
            },
            Holder::Kept(default) => match config.kept.get(self.name) {
                Some(value) => value.text(),
                None => default.into(),
            },
        }
    }

    /// Its value as a configuration file has it, where nothing is hidden.
    pub(super) fn reveal(&self, config: &Config) -> Vec<u8> {
        match self.place {
            Holder::Field(get, _) => get(config).text(),
            Holder::Kept(_) => self.text(config),
        }
    }

    /// Whether its value must not be logged.
    pub fn is_secret(&self) -> bool {
        matches!(self.kind, SettingKind::Secret | SettingKind::Token)
    }

    /// Reads a value from the words of a line. An error says what would be right.
    pub(super) fn set(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), String> {
        let value = self.kind.parse(words)?;
        match self.place {
            Holder::Field(_, put) => put(config, value),
            Holder::Kept(_) => drop(config.kept.insert(self.name, value)),
        }
        Ok(())
    }

    /// Replaces the name of a directory by its whole path.
    fn find_directory(&self, config: &mut Config, from: &str, world: &World) -> Result<(), String> {
        if let SettingKind::Directory = self.kind {
            config.dir = (world.directory)(from, &config.dir)?;
        }
        Ok(())
    }

    /// Why a server with this value must not run.
    pub(super) fn refusal(&self, config: &Config) -> Option<String> {
        let default = self.text(&Config::default());
        if self.serving != Serving::Guards || self.text(config) == default {
            return None;
        }
        let default = default.escape_ascii();
        Some(format!("only '{default}' can be served: {}", self.about))
    }
}

impl Directive {
    /// By name, in any case of letters. None if no directive is called so.
    pub(super) fn find(name: &[u8]) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|it| it.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// What CONFIG SET asks about who calls it, and where.
pub struct World<'w> {
    /// Whether the caller may change what is `Guarded`.
    pub allows_guarded: bool,
    /// The directory that a name means, seen from another one; or why there is none.
    pub directory: &'w dyn Fn(&str, &str) -> Result<String, String>,
}

/// Why CONFIG SET changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// No setting is called so.
    Unknown {
        /// As it was asked for.
        name: Vec<u8>,
    },
    /// The value does not fit, or the setting may not be changed.
    Failed {
        /// As it was asked for.
        name: Vec<u8>,
        /// What would be right.
        reason: String,
    },
}

impl SetError {
    fn unknown(name: &[u8]) -> Self {
        Self::Unknown { name: name.to_vec() }
    }

    /// Also for whoever carries a change out: a port that is taken, too few open files.
    pub fn failed(name: &[u8], reason: impl Into<String>) -> Self {
        Self::Failed { name: name.to_vec(), reason: reason.into() }
    }

    /// In Redis's words. The name is quoted as it came, so this need not be UTF-8.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Unknown { name } => {
                let start = b"ERR Unknown option or number of arguments for CONFIG SET - '";
                [start, &name[..], b"'"].concat()
            }
            Self::Failed { name, reason } => {
                let start = b"ERR CONFIG SET failed (possibly related to argument '";
                [start, &name[..], b"') - ", reason.as_bytes()].concat()
            }
        }
    }
}

impl Config {
    /// The settings that CONFIG GET lists: each under its name and again under its alias.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        ROWS.iter().filter(|row| !row.is_hidden).flat_map(move |row| {
            let names = [row.name, row.alias].into_iter().filter(|name| !name.is_empty());
            names.map(move |name| (name, row.text(self)))
        })
    }

    /// The value of a setting, by name or alias in any case.
    pub fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        Setting::find(name).map(|row| row.text(self))
    }

    /// CONFIG SET: changes all of these settings or none, and returns those that now differ.
    /// Whether names are right is asked of all of them before the first value is read.
    pub fn set_many(
        &mut self,
        settings: &[(&[u8], &[u8])],
        world: &World,
    ) -> Result<Vec<&'static Setting>, SetError> {
        let mut rows: Vec<&'static Setting> = Vec::with_capacity(settings.len());
        for (name, _) in settings {
            let row = Setting::find(name).ok_or_else(|| SetError::unknown(name))?;
            let is_repeated = rows.iter().zip(settings).any(|(other, (other_name, _))| {
                // By its name and its alias is no duplicate, as in Redis: the last one wins.
                other.name == row.name && other_name.eq_ignore_ascii_case(name)
            });
            let reason = match row.change {
                Changeable::AtStart | Changeable::PerStart => Some("can't set immutable config"),
                Changeable::Guarded if !world.allows_guarded => Some("can't set protected config"),
                _ if is_repeated => Some("duplicate parameter"),
                _ => None,
            };
            if let Some(reason) = reason {
                return Err(SetError::failed(name, reason));
            }
            rows.push(row);
        }
        let mut changed = self.clone();
        for (row, (name, value)) in rows.iter().zip(settings) {
            row.set(&mut changed, &[value])
                .and_then(|()| row.find_directory(&mut changed, &self.dir, world))
                .and_then(|()| row.refusal(&changed).map_or(Ok(()), Err))
                .map_err(|reason| SetError::failed(name, reason))?;
        }
        rows.retain(|row| row.text(self) != row.text(&changed));
        *self = changed;
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// What Redis 7.4.1 answers to `CONFIG GET *` when it is started without options: `name value`.
    const REDIS: &str = include_str!("redis-7.4.1.txt");

    /// How the names of settings begin that Redis has not: it does not serve HTTP, leaves values as
    /// they came, takes each `$` anew, knows nobody who starts it, is not made for tests, begins
    /// with `dbfilename` and mends it by another program.
    const OWN: &[&str] = &[
        "announce",
        "clock",
        "compact-idle-after",
        "enable-toril",
        "exit-with-parent",
        "fixture",
        "http-",
        "import",
        "keep-dollar",
        "load",
        "match",
        "provider",
        "repair",
        "strict",
    ];

    #[test]
    fn names_and_defaults_are_those_of_redis() {
        let wanted: BTreeMap<&str, &str> =
            REDIS.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))).collect();
        let config = Config::default();
        let is_own = |name: &str| OWN.iter().any(|start| name.starts_with(start));
        let found: BTreeMap<&str, String> = config
            .rows()
            .filter(|(name, _)| !is_own(name))
            .map(|(name, text)| (name, String::from_utf8(text).expect("defaults are text")))
            .collect();
        let names: std::collections::BTreeSet<_> = config.rows().map(|(name, _)| name).collect();
        assert_eq!(names.len(), config.rows().count(), "a name stands twice");
        assert!(found.keys().eq(wanted.keys()), "other names");
        let differing: Vec<&str> =
            wanted.iter().filter(|(name, text)| found[**name] != **text).map(|(n, _)| *n).collect();
        // We listen to this machine alone, ask nobody for the working directory, and leave nothing
        // behind unless we are told to.
        assert_eq!(differing, ["bind", "dir", "save"]);
    }

    #[test]
    fn every_row_holds_its_default_and_its_bounds() {
        for row in ROWS {
            let mut config = Config::default();
            let mut texts = vec![row.text(&config)];
            match row.kind {
                SettingKind::Integer(min, max) | SettingKind::Memory(min, max) => {
                    texts.extend([min, max].map(|bound| bound.to_string().into_bytes()));
                }
                SettingKind::Choice(words) => {
                    texts.extend(words.iter().map(|word| word.as_bytes().into()))
                }
                SettingKind::YesNo => texts.extend([b"yes".to_vec(), b"no".to_vec()]),
                SettingKind::PortOrNone => texts.extend([b"0".to_vec(), b"65535".to_vec()]),
                SettingKind::Text | SettingKind::Secret => texts.push(b"x y".to_vec()),
                _ => {}
            }
            for text in texts {
                assert_eq!(row.set(&mut config, &[&text]), Ok(()), "{}", row.name);
                assert_eq!(row.text(&config), text, "{}", row.name);
            }
        }
    }

    /// There is one directory, `/there`, and any caller may change where files lie.
    const WORLD: World = World {
        allows_guarded: true,
        directory: &|from, name| match format!("{from}>{name}").as_str() {
            ".>/there" => Ok("/there".into()),
            other => Err(format!("no {other}")),
        },
    };

    /// Sets pairs of words, and prints what changed or why nothing did.
    fn check(settings: &str, expect: &str) {
        let words: Vec<&[u8]> = settings.split('|').map(str::as_bytes).collect();
        let settings: Vec<(&[u8], &[u8])> =
            words.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let mut config = Config::default();
        let before: Vec<_> = config.rows().collect();
        let found = match config.set_many(&settings, &WORLD) {
            Ok(rows) => {
                let text =
                    |row: &&Setting| format!("{} {}", row.name, row.text(&config).escape_ascii());
                rows.iter().map(text).collect::<Vec<_>>().join(", ")
            }
            Err(error) => {
                assert!(config.rows().eq(before), "some of {settings:?} was set");
                String::from_utf8(error.text()).expect("it quotes text")
            }
        };
        assert_eq!(found, expect);
    }

    #[test]
    fn settings_change_together_or_not_at_all() {
        check("timeout|5|MAXMEMORY|1mb", "timeout 5, maxmemory 1048576");
        check("timeout|0", "");
        check("lua-time-limit|7", "busy-reply-threshold 7");
        check("hash-max-listpack-entries|5|hz|900", "hash-max-listpack-entries 5, hz 500");
        check("rdbcompression|no", "rdbcompression no");
        check(
            "client-output-buffer-limit|replica 1 2 3",
            "client-output-buffer-limit normal 0 0 0 slave 1 2 3 pubsub 33554432 8388608 60",
        );
        check(
            "nope|1|timeout|1",
            "ERR Unknown option or number of arguments for CONFIG SET - 'nope'",
        );
        check("|1", "ERR Unknown option or number of arguments for CONFIG SET - ''");
        let failed = |name: &str, reason: &str| {
            format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
        };
        check("timeout|1|maxmemory|x", &failed("maxmemory", "argument must be a memory value"));
        check("timeout|x|databases|1", &failed("databases", "can't set immutable config"));
        check("dir|/there\0x", "dir /there");
        check("timeout|1|dir|x|maxmemory|x", &failed("dir", "no .>x"));
        check("dbfilename|a", "dbfilename a");
        let reason = "dbfilename can't be a path, just a filename";
        check("dbfilename|a/b", &failed("dbfilename", reason));
        let outsider = World { allows_guarded: false, ..WORLD };
        let error = Config::default().set_many(&[(b"dir", b"/there")], &outsider).err();
        let text = failed("dir", "can't set protected config").into_bytes();
        assert_eq!(error.map(|error| error.text()), Some(text));
        check("timeout|1|TIMEOUT|2", &failed("TIMEOUT", "duplicate parameter"));
        check("tls-port|0", "");
        let reason = "only '0' can be served: clients are served without TLS";
        check("tls-port|1", &failed("tls-port", reason));
    }

    #[test]
    fn passwords_are_set_whole_and_shown_to_config_get_alone() {
        let mut config = Config::default();
        let password = b"a \xff\0b";
        let changed =
            config.set_many(&[(b"requirepass", password)], &WORLD).expect("any bytes will do");
        assert!(changed[0].is_secret());
        assert_eq!(config.get(b"RequirePass").as_deref(), Some(&password[..]));
        assert!(config.requirepass.as_ref().is_some_and(|secret| secret.admits(password)));
        config
            .set_many(&[(b"requirepass", b"geheim"), (b"masterauth", b"geheim")], &WORLD)
            .expect("words");
        assert!(!format!("{config:?}").contains("geheim"));
        config.set_many(&[(b"requirepass", b"")], &WORLD).expect("an empty password takes it away");
        assert!(config.requirepass.is_none());
    }
}
