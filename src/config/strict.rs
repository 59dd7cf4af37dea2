//! `strict`: which habits of clients are looked for that do harm elsewhere, and what is done about
//! them. What is not said here the provider decides (provider.rs).

use super::{Check, Level, Provider};
use std::fmt;

/// What was asked for of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// At the provider's level, or else its own.
    On,
    At(Level),
}

/// The checks that were asked for; of the others the provider says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strict {
    asked: [Option<Asked>; Check::WORDS.len()],
    /// What would be a warning is an error.
    is_loud: bool,
}

impl Check {
    /// How loud it is where nobody says.
    fn usual(self) -> Level {
        match self {
            Self::WrongType => Level::Log,
            Self::Commands => Level::Error,
            _ => Level::Warn,
        }
    }

    /// Whether `yes` means it too. The others are noise for those who do not ask for them.
    fn is_usual(self) -> bool {
        !matches!(self, Self::Undeclared | Self::Keys | Self::Prefixless)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::WORDS.iter().filter_map(|word| Self::from_word(word))
    }
}

impl Strict {
    /// Reads words on top of what was asked for, separated by commas: `yes`, `no`, `error`, checks,
    /// and checks with a level.
    ///
    /// # Errors
    ///
    /// What a word should have been.
    pub fn read(mut self, text: &str) -> Result<Self, String> {
        for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
            let word = word.to_ascii_lowercase();
            match word.as_str() {
                "no" => self = Self::default(),
                "yes" => self.ask_for_usual(false),
                "error" => self.ask_for_usual(true),
                _ => self.ask_for(&word)?,
            }
        }
        Ok(self)
    }

    fn ask_for_usual(&mut self, is_loud: bool) {
        self.is_loud = is_loud;
        for check in Check::all().filter(|check| check.is_usual()) {
            self.asked[check as usize] = Some(Asked::On);
        }
    }

    fn ask_for(&mut self, word: &str) -> Result<(), String> {
        let (name, level) = word.split_once('=').unzip();
        let name = name.unwrap_or(word);
        let check = Check::from_word(name).ok_or_else(|| {
            format!("there is no check '{name}': there are {}", Check::WORDS.join(", "))
        })?;
        let level = level.map(|level| {
            Level::from_word(level).ok_or_else(|| {
                format!("there is no level '{level}': there are {}", Level::WORDS.join(", "))
            })
        });
        self.asked[check as usize] = Some(level.transpose()?.map_or(Asked::On, Asked::At));
        Ok(())
    }

    /// What is done about a check with this provider.
    pub fn level(&self, check: Check, provider: Provider) -> Level {
        let of_provider = provider.profile().level(check);
        let level = match self.asked[check as usize] {
            Some(Asked::At(level)) => return level,
            Some(Asked::On) => of_provider.unwrap_or(check.usual()),
            None => return of_provider.unwrap_or(Level::Off),
        };
        if self.is_loud && level == Level::Warn { Level::Error } else { level }
    }

    /// Whether anything is looked for.
    pub fn is_on(&self, provider: Provider) -> bool {
        Check::all().any(|check| self.level(check, provider) != Level::Off)
    }
}

/// As it may be written again.
impl fmt::Display for Strict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<String> = Vec::new();
        if self.is_loud {
            words.push("error".into());
        }
        for check in Check::all() {
            match self.asked[check as usize] {
                Some(Asked::At(level)) => words.push(format!("{}={}", check.word(), level.word())),
                Some(Asked::On) if !(self.is_loud && check.is_usual()) => {
                    words.push(check.word().into());
                }
                _ => {}
            }
        }
        out.write_str(&if words.is_empty() { "no".into() } else { words.join(",") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads words, and prints them as CONFIG GET would, or why they are wrong.
    fn check(text: &str, expect: &str) {
        let found = Strict::default().read(text);
        let found = found.map_or_else(|reason| reason, |strict| strict.to_string());
        assert_eq!(found, expect, "{text}");
        if let Ok(strict) = Strict::default().read(expect) {
            assert_eq!(strict.to_string(), expect, "{text}");
        }
    }

    #[test]
    fn what_is_asked_for() {
        check("", "no");
        check("no", "no");
        check("yes", "crossslot,foreign,policy,wrongtype,commands");
        check("error", "error");
        check("error,undeclared", "error,undeclared");
        check("yes,no,Keys", "keys");
        check("foreign=off, crossslot=ERROR", "crossslot=error,foreign=off");
        let checks =
            "crossslot, foreign, undeclared, policy, wrongtype, commands, keys, prefixless";
        check("cross", &format!("there is no check 'cross': there are {checks}"));
        check("keys=loud", "there is no level 'loud': there are off, log, warn, error");
        check("keys=", "there is no level '': there are off, log, warn, error");
    }

    #[test]
    fn a_check_has_a_level() {
        let check = |text: &str, provider: Provider, which: Check, expect: Level| {
            let strict = Strict::default().read(text).unwrap();
            assert_eq!(strict.level(which, provider), expect, "{text} {which:?}");
        };
        check("no", Provider::None, Check::CrossSlot, Level::Off);
        check("yes", Provider::None, Check::CrossSlot, Level::Warn);
        check("yes", Provider::None, Check::Undeclared, Level::Off);
        check("yes", Provider::None, Check::WrongType, Level::Log);
        check("error", Provider::None, Check::WrongType, Level::Log);
        check("error", Provider::None, Check::Foreign, Level::Error);
        check("error,keys", Provider::None, Check::Keys, Level::Error);
        check("error,keys=warn", Provider::None, Check::Keys, Level::Warn);
        check("no", Provider::MemoryDb, Check::CrossSlot, Level::Error);
        check("yes", Provider::MemoryDb, Check::CrossSlot, Level::Error);
        check("crossslot=warn", Provider::MemoryDb, Check::CrossSlot, Level::Warn);
        check("no", Provider::Dragonfly, Check::Undeclared, Level::Error);
        check("no", Provider::None, Check::Commands, Level::Off);
    }
}
