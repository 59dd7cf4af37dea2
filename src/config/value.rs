//! A setting's value between its text and its field.
//!
//! `SettingKind` reads the words of a line, or of CONFIG SET, and refuses them with Redis's own
//! reasons; `SettingValue` writes the one spelling in which CONFIG GET answers.

use std::fmt;

use super::{ClientClass, EventClasses, OutputLimit, SavePoint, Secret, Strict};
use crate::util::number;

/// What a setting may be. Bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub enum SettingKind {
    YesNo,
    Integer(i128, i128),
    /// A TCP port, or nothing.
    PortOrNone,
    /// As `Integer`, but Redis takes what lies outside of 1 to 500 as the nearest that does not.
    Hertz,
    /// Bytes, with a unit if need be: `100mb`.
    Memory(i128, i128),
    /// Bytes, or a share of maxmemory: `5%`.
    MemoryOrPercent,
    /// A file mode, in octal.
    Mode(i128, i128),
    Choice(&'static [&'static str]),
    Text,
    /// The name of a directory, which is looked for when it is set.
    Directory,
    FileName(&'static str),
    /// Text that no log, no error and no MONITOR shows.
    Secret,
    /// As `Secret`, and CONFIG GET does not show it either.
    Token,
    Addresses,
    Events,
    SavePoints,
    OutputLimits,
    Percentiles,
    /// Checks, with their levels.
    Strict,
    OomScores,
    /// `host port`, or `no one`.
    Master,
}

#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    Flag(bool),
    Number(i128),
    Percent(i64),
    Mode(u32),
    Word(&'static str),
    Text(String),
    Secret(Secret),
    Words(Vec<String>),
    Events(EventClasses),
    Save(Vec<SavePoint>),
    Strict(Strict),
    /// By class; None leaves a class as it is.
    Output([Option<OutputLimit>; 3]),
}

/// Reads the words of a setting that is a list, however they were separated.
type ParseList = fn(&[&str]) -> Result<SettingValue, String>;

const ADDRESSES_MAX: usize = 16;
const WRONG_COUNT: &str = "wrong number of arguments";

impl SettingKind {
    /// Reads a directive's arguments, or says what they should have been.
    pub fn parse(self, words: &[&[u8]]) -> Result<SettingValue, String> {
        if let Self::Secret | Self::Token = self {
            return Ok(SettingValue::Secret(Secret::new(only(words)?)));
        }
        let words: Option<Vec<&str>> =
            words.iter().map(|word| std::str::from_utf8(word).ok()).collect();
        let words = words.ok_or("argument must be UTF-8 text")?;
        match self.parse_list() {
            Some(parse) => match words[..] {
                [] | [""] => parse(&[]),
                // `--save "3600 1"`; and CONFIG SET always has the list in one word.
                [all] => parse(&all.split(' ').collect::<Vec<_>>()),
                _ => parse(&words),
            },
            None => self.parse_word(only(&words)?),
        }
    }

    /// Whether a value is several words.
    pub fn is_list(self) -> bool {
        self.parse_list().is_some()
    }

    fn parse_list(self) -> Option<ParseList> {
        Some(match self {
            Self::Addresses => addresses,
            Self::SavePoints => save_points,
            Self::OutputLimits => output_limits,
            Self::Percentiles => percentiles,
            Self::OomScores => oom_scores,
            Self::Master => master,
            _ => return None,
        })
    }

    fn parse_word(self, word: &str) -> Result<SettingValue, String> {
        match self {
            Self::YesNo => match word.to_ascii_lowercase().as_str() {
                "yes" => Ok(SettingValue::Flag(true)),
                "no" => Ok(SettingValue::Flag(false)),
                _ => Err("argument must be 'yes' or 'no'".into()),
            },
            Self::Integer(min, max) => within(parse_integer(word)?.into(), min, max),
            Self::PortOrNone if word.is_empty() => Ok(SettingValue::Text(String::new())),
            Self::PortOrNone => within(parse_integer(word)?.into(), 0, u16::MAX.into()),
            Self::Hertz => {
                let hertz = parse_integer(word)?;
                within(hertz.into(), 0, i32::MAX.into())?;
                Ok(SettingValue::Number(hertz.clamp(1, 500).into()))
            }
            Self::Memory(min, max) => {
                let bytes = parse_memory(word).ok_or("argument must be a memory value")?;
                within(bytes.into(), min, max)
            }
            Self::MemoryOrPercent => match word.strip_suffix('%').map(parse_natural) {
                Some(Some(0)) => Ok(SettingValue::Number(0)),
                Some(Some(percent @ 1..=100)) => Ok(SettingValue::Percent(percent)),
                Some(Some(_)) => Err("percentage argument must be less or equal to 100".into()),
                Some(None) => Err("argument must be a memory or percent value".into()),
                None => match parse_memory(word) {
                    Some(bytes) => Ok(SettingValue::Number(bytes.into())),
                    None => Err("argument must be a memory or percent value".into()),
                },
            },
            Self::Mode(min, max) => match u32::from_str_radix(word, 8) {
                Ok(mode) if (min..=max).contains(&mode.into()) => Ok(SettingValue::Mode(mode)),
                Ok(_) => Err(format!("argument must be between {min:o} and {max:o} inclusive")),
                Err(_) => Err("argument couldn't be parsed as an octal number".into()),
            },
            Self::Choice(words) => {
                match words.iter().find(|known| known.eq_ignore_ascii_case(word)) {
                    Some(known) => Ok(SettingValue::Word(known)),
                    None => Err(format!(
                        "argument(s) must be one of the following: {}",
                        words.join(", ")
                    )),
                }
            }
            Self::Events => match EventClasses::from_letters(word) {
                Some(classes) => Ok(SettingValue::Events(classes)),
                None => Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            },
            Self::Strict => Strict::default().read(word).map(SettingValue::Strict),
            Self::FileName(name) if word.contains(['/', '\\']) => {
                let kind = if name == "appenddirname" { "dirname" } else { "filename" };
                Err(format!("{name} can't be a path, just a {kind}"))
            }
            Self::FileName(name) if word.is_empty() && name != "dbfilename" => {
                Err(format!("{name} can't be empty"))
            }
            // What follows a NUL is no part of a name.
            Self::Directory => {
                Ok(SettingValue::Text(word.split('\0').next().unwrap_or_default().into()))
            }
            _ => Ok(SettingValue::Text(word.into())),
        }
    }
}

fn only<T: Copy>(words: &[T]) -> Result<T, String> {
    match *words {
        [word] => Ok(word),
        _ => Err(WRONG_COUNT.into()),
    }
}

fn within(number: i128, min: i128, max: i128) -> Result<SettingValue, String> {
    if (min..=max).contains(&number) {
        Ok(SettingValue::Number(number))
    } else {
        Err(format!("argument must be between {min} and {max} inclusive"))
    }
}

fn parse_integer(word: &str) -> Result<i64, String> {
    number::parse_i64(word.as_bytes()).ok_or("argument couldn't be parsed into an integer".into())
}

fn parse_natural(word: &str) -> Option<i64> {
    number::parse_i64(word.as_bytes()).filter(|number| *number >= 0)
}

/// Bytes: digits, then a unit in any case. `k m g` count in thousands, `kb mb gb` in 1024. As in
/// Redis no digits at all are 0; unlike there, what does not fit into 64 bits is refused.
pub fn parse_memory(word: &str) -> Option<u64> {
    let unit_at = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (digits, unit) = word.split_at(unit_at);
    let count: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1000 * 1000,
        "mb" => 1 << 20,
        "g" => 1000 * 1000 * 1000,
        "gb" => 1 << 30,
        _ => return None,
    };
    count.checked_mul(unit)
}

fn addresses(words: &[&str]) -> Result<SettingValue, String> {
    if words.len() > ADDRESSES_MAX {
        return Err("Too many bind addresses specified.".into());
    }
    Ok(SettingValue::Words(words.iter().map(ToString::to_string).collect()))
}

fn save_points(words: &[&str]) -> Result<SettingValue, String> {
    let points = words.chunks(2).map(|pair| {
        let [seconds, changes] = pair else {
            return None;
        };
        let seconds = parse_natural(seconds).filter(|seconds| *seconds > 0)? as u64;
        Some(SavePoint { seconds, changes: parse_natural(changes)? as u64 })
    });
    match points.collect() {
        Some(points) => Ok(SettingValue::Save(points)),
        None => Err("Invalid save parameters".into()),
    }
}

fn output_limits(words: &[&str]) -> Result<SettingValue, String> {
    let mut limits = [None; 3];
    for limit in words.chunks(4) {
        let [class, hard, soft, seconds] = limit else {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        };
        let class = ClientClass::from_word(&class.to_ascii_lowercase())
            .ok_or("Invalid client class specified in buffer limit configuration.")?;
        let (Some(hard_bytes), Some(soft_bytes), Some(soft_s)) =
            (parse_memory(hard), parse_memory(soft), parse_natural(seconds))
        else {
            return Err("Error in hard, soft or soft_seconds setting in buffer limit \
                        configuration."
                .into());
        };
        limits[class as usize] =
            Some(OutputLimit { hard_bytes, soft_bytes, soft_s: soft_s as u64 });
    }
    Ok(SettingValue::Output(limits))
}

fn percentiles(words: &[&str]) -> Result<SettingValue, String> {
    let mut percentiles = Vec::new();
    for word in words {
        let percentile: f64 =
            word.parse().map_err(|_| "Invalid latency-tracking-info-percentiles parameters")?;
        if !(0.0..=100.0).contains(&percentile) {
            return Err("latency-tracking-info-percentiles parameters should sit between \
                        [0.0,100.0]"
                .into());
        }
        percentiles.push(percentile.to_string());
    }
    Ok(SettingValue::Words(percentiles))
}

fn oom_scores(words: &[&str]) -> Result<SettingValue, String> {
    if words.len() != 3 {
        return Err(WRONG_COUNT.into());
    }
    let is_score = |word: &&str| {
        number::parse_i64(word.as_bytes()).is_some_and(|score| (-2000..=2000).contains(&score))
    };
    if !words.iter().all(is_score) {
        return Err("Invalid oom-score-adj-values, elements must be between -2000 and 2000.".into());
    }
    Ok(SettingValue::Words(words.iter().map(ToString::to_string).collect()))
}

fn master(words: &[&str]) -> Result<SettingValue, String> {
    match words {
        [] => Ok(SettingValue::Words(Vec::new())),
        [no, one] if no.eq_ignore_ascii_case("no") && one.eq_ignore_ascii_case("one") => {
            Ok(SettingValue::Words(Vec::new()))
        }
        [_, port] => match number::parse_i64(port.as_bytes()) {
            Some(0..=65_535) => {
                Ok(SettingValue::Words(words.iter().map(ToString::to_string).collect()))
            }
            _ => Err("Invalid master port".into()),
        },
        _ => Err(WRONG_COUNT.into()),
    }
}

impl ClientClass {
    /// By its number. CONFIG GET still says `slave`.
    const WORDS: [&'static str; 3] = ["normal", "slave", "pubsub"];

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "normal" => Some(Self::Normal),
            "slave" | "replica" => Some(Self::Replica),
            "pubsub" => Some(Self::Pubsub),
            _ => None,
        }
    }
}

impl SettingValue {
    /// As CONFIG GET answers.
    pub fn text(&self) -> Vec<u8> {
        match self {
            Self::Secret(secret) => secret.reveal().to_vec(),
            shown => shown.to_string().into_bytes(),
        }
    }
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Mode(mode) => write!(f, "{mode:o}"),
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => f.write_str(text),
            Self::Secret(secret) => write!(f, "{secret:?}"),
            Self::Words(words) => f.write_str(&words.join(" ")),
            Self::Events(classes) => f.write_str(&classes.letters()),
            Self::Strict(strict) => write!(f, "{strict}"),
            Self::Save(points) => {
                let points: Vec<String> =
                    points.iter().map(|it| format!("{} {}", it.seconds, it.changes)).collect();
                f.write_str(&points.join(" "))
            }
            Self::Output(limits) => {
                let limits = ClientClass::WORDS.iter().zip(limits);
                let limits: Vec<String> = limits
                    .filter_map(|(class, limit)| {
                        let OutputLimit { hard_bytes, soft_bytes, soft_s } = (*limit)?;
                        Some(format!("{class} {hard_bytes} {soft_bytes} {soft_s}"))
                    })
                    .collect();
                f.write_str(&limits.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads one word, as CONFIG SET does, and prints the value or the reason.
    fn check(kind: SettingKind, word: &str, expect: &str) {
        check_words(kind, &[word], expect);
    }

    fn check_words(kind: SettingKind, words: &[&str], expect: &str) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let found = kind.parse(&words).map_or_else(|reason| reason, |value| value.to_string());
        assert_eq!(found, expect, "{kind:?} {words:?}");
    }

    #[test]
    fn one_word() {
        check(SettingKind::YesNo, "YES", "yes");
        check(SettingKind::YesNo, "1", "argument must be 'yes' or 'no'");
        check(SettingKind::Integer(-1, 9), "-1", "-1");
        check(SettingKind::Integer(-1, 9), "10", "argument must be between -1 and 9 inclusive");
        for word in ["", "+5", " 5", "05", "5.0", "9223372036854775808"] {
            let reason = "argument couldn't be parsed into an integer";
            check(SettingKind::Integer(0, i64::MAX.into()), word, reason);
        }
        check(SettingKind::Mode(0, 0o777), "700", "700");
        check(SettingKind::Mode(0, 0o777), "1777", "argument must be between 0 and 777 inclusive");
        check(SettingKind::Mode(0, 0o777), "999", "argument couldn't be parsed as an octal number");
        check(SettingKind::Choice(&["a", "b"]), "B", "b");
        check(
            SettingKind::Choice(&["a", "b"]),
            "c",
            "argument(s) must be one of the following: a, b",
        );
        check(SettingKind::Events, "KEA", "AKE");
        check(SettingKind::Events, "q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
        check(SettingKind::Hertz, "0", "1");
        check(SettingKind::Hertz, "1000", "500");
        check(SettingKind::Hertz, "-1", "argument must be between 0 and 2147483647 inclusive");
        check_words(SettingKind::Text, &[], "wrong number of arguments");
        check_words(SettingKind::YesNo, &["yes", "no"], "wrong number of arguments");
    }

    #[test]
    fn memory() {
        let kind = SettingKind::Memory(0, u64::MAX.into());
        for (word, expect) in [
            ("", "0"),
            ("00012", "12"),
            ("1b", "1"),
            ("1K", "1000"),
            ("1kb", "1024"),
            ("1m", "1000000"),
            ("100MB", "104857600"),
            ("1g", "1000000000"),
            ("1gb", "1073741824"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            check(kind, word, expect);
        }
        for word in ["1.5gb", "-1", "+1", " 1", "1 mb", "0x10", "1tb", "50%", "20000000000gb"] {
            check(kind, word, "argument must be a memory value");
        }
        check(SettingKind::Memory(0, 5), "1kb", "argument must be between 0 and 5 inclusive");
        check(SettingKind::MemoryOrPercent, "1kb", "1024");
        check(SettingKind::MemoryOrPercent, "50%", "50%");
        check(SettingKind::MemoryOrPercent, "0%", "0");
        check(
            SettingKind::MemoryOrPercent,
            "101%",
            "percentage argument must be less or equal to 100",
        );
        check(SettingKind::MemoryOrPercent, "-5%", "argument must be a memory or percent value");
    }

    #[test]
    fn lists() {
        check(SettingKind::Addresses, "127.0.0.1 -::1", "127.0.0.1 -::1");
        check_words(SettingKind::Addresses, &["*", "::"], "* ::");
        check_words(SettingKind::Addresses, &["a"; 17], "Too many bind addresses specified.");
        check(SettingKind::SavePoints, "", "");
        check(SettingKind::SavePoints, "3600 1 60 0", "3600 1 60 0");
        check_words(SettingKind::SavePoints, &["3600", "1"], "3600 1");
        for word in ["3600 1 300", "0 1", "-1 5", "a b", "60  5", "1 -1"] {
            check(SettingKind::SavePoints, word, "Invalid save parameters");
        }
        check(SettingKind::OutputLimits, "replica 100mb 1k 60", "slave 104857600 1000 60");
        check(SettingKind::OutputLimits, "PUBSUB 1 2 3 normal 4 5 6", "normal 4 5 6 pubsub 1 2 3");
        let count = "Wrong number of arguments in buffer limit configuration.";
        check(SettingKind::OutputLimits, "pubsub 1", count);
        let class = "Invalid client class specified in buffer limit configuration.";
        check(SettingKind::OutputLimits, "master 1 2 3", class);
        let number = "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
        check(SettingKind::OutputLimits, "normal 0 0 -1", number);
        check(SettingKind::Percentiles, "50 99.90 100", "50 99.9 100");
        let range = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
        check(SettingKind::Percentiles, "50 101", range);
        check(SettingKind::OomScores, "0 200 800", "0 200 800");
        check(SettingKind::OomScores, "0 1", "wrong number of arguments");
        check(SettingKind::Master, "no one", "");
        check(SettingKind::Master, "127.0.0.1 6379", "127.0.0.1 6379");
    }
}
