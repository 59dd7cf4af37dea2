//! What a provider does not know: its refusal of a command, a subcommand or an option, in its own
//! words.

use crate::config::Profile;
use crate::engine::table::{Found, Table};
use crate::proto::{Args, Error};
use std::ops::Range;

/// How an older server refuses what it does not know.
#[derive(Clone, Copy)]
enum Refusal {
    /// It counts the words.
    Arity,
    Syntax,
    /// Of a subcommand.
    Subcommand,
}

use Refusal::{Arity, Subcommand, Syntax};

/// Behind the last word.
const END: usize = usize::MAX;

/// An option: the version that brought it, the commands, the words among which it may stand, what
/// it looks like, and how it is refused.
struct LaterOption {
    since: &'static str,
    commands: &'static [&'static str],
    at: Range<usize>,
    is_it: fn(&[u8]) -> bool,
    refusal: Refusal,
}

const fn later(
    since: &'static str,
    commands: &'static [&'static str],
    at: Range<usize>,
    is_it: fn(&[u8]) -> bool,
    refusal: Refusal,
) -> LaterOption {
    LaterOption { since, commands, at, is_it, refusal }
}

/// Whether a word is one of these.
macro_rules! words {
    ($($word:literal),+) => {
        |word| [$(&$word[..]),+].iter().any(|it| it.eq_ignore_ascii_case(word))
    };
}

/// Options that stand in the history of their commands (command/history.rs) and can be told from
/// other words by where they stand. Those of XADD cannot (`xadd_since`).
const OPTIONS: &[LaterOption] = &[
    later("7.0.0", &["expire", "expireat", "pexpire", "pexpireat"], 3..END, |_| true, Arity),
    later("7.0.0", &["bitcount"], 4..END, words!(b"byte", b"bit"), Syntax),
    later("7.0.0", &["bitpos"], 5..END, words!(b"byte", b"bit"), Syntax),
    later("7.0.0", &["shutdown"], 1..END, words!(b"now", b"force", b"abort"), Syntax),
    later("7.0.0", &["info"], 2..END, |_| true, Syntax),
    later("7.0.0", &["config|get"], 3..END, |_| true, Subcommand),
    later("7.0.0", &["config|set"], 4..END, |_| true, Subcommand),
    later("7.0.0", &["xgroup|create", "xgroup|setid"], 5..END, words!(b"entriesread"), Subcommand),
    later("7.0.0", &["xsetid"], 3..END, |_| true, Arity),
    later("7.2.0", &["zrank", "zrevrank"], 3..END, |_| true, Arity),
    later("7.4.0", &["hscan"], 3..END, words!(b"novalues"), Syntax),
    later("8.2.0", &["bitop"], 1..2, words!(b"diff", b"diff1", b"andor", b"one"), Syntax),
    later("8.2.0", &["xtrim"], 4..END, words!(b"keepref", b"delref", b"acked"), Syntax),
];

/// The version that knows how XADD's id is told, or what an older server takes for its id: `5-*`
/// came with 7.0, and options of 8.2 stand where an id was due. None if the id is as it ever was.
fn xadd_since(words: &[&[u8]]) -> Option<&'static str> {
    let mut at = 2;
    while let Some(word) = words.get(at) {
        at += match &word.to_ascii_lowercase()[..] {
            b"nomkstream" => 1,
            b"limit" => 2,
            b"maxlen" | b"minid" => {
                let is_told = words.get(at + 1).is_some_and(|it| matches!(*it, b"=" | b"~"));
                2 + usize::from(is_told)
            }
            b"keepref" | b"delref" | b"acked" => return Some("8.2.0"),
            id => {
                let ms = id.strip_suffix(b"-*").unwrap_or_default();
                let is_open = !ms.is_empty() && ms.iter().all(u8::is_ascii_digit);
                return is_open.then_some("7.0.0");
            }
        };
    }
    None
}

/// Why a provider does not run a request, in its own words; None if it does.
pub fn refusal(profile: &Profile, found: Found, args: &Args) -> Option<Error> {
    let name = found.full_name();
    let words = args.all();
    if profile.lacks(&name, found.row.since) {
        return Some(unknown(profile, found, words));
    }
    let later = OPTIONS.iter().find(|option| {
        let may_be = option.commands.contains(&&*name) && profile.is_newer(option.since);
        let places = option.at.start..option.at.end.min(words.len());
        may_be && words.get(places).is_some_and(|words| words.iter().any(|it| (option.is_it)(it)))
    });
    if let Some(option) = later {
        return Some(match option.refusal {
            Arity => Error::wrong_arity(&name),
            Syntax => Error::Syntax,
            Subcommand => old_subcommand(found, words[1]),
        });
    }
    if name == "xadd" && xadd_since(words).is_some_and(|since| profile.is_newer(since)) {
        return Some(Error::new("ERR Invalid stream ID specified as stream command argument"));
    }
    // Each of them was there before 7.0, but not with the other.
    let has = |option: &[u8]| words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(option));
    let is_both = name == "set" && profile.is_newer("7.0.0") && has(b"nx") && has(b"get");
    is_both.then_some(Error::Syntax)
}

/// A command that is not there, or a subcommand of one that is.
fn unknown(profile: &Profile, found: Found, words: &[&[u8]]) -> Error {
    let container = found.container.filter(|row| !profile.lacks(row.name, row.since));
    match (container, profile.has_old_texts) {
        (Some(_), true) => old_subcommand(found, words[1]),
        (Some(row), false) => Table::unknown_subcommand(row, words[1]),
        (None, true) => old_unknown(words),
        (None, false) => Table::unknown_command(words),
    }
}

/// As Redis 6 says it.
fn old_subcommand(found: Found, name: &[u8]) -> Error {
    let container = found.container.map_or("", |row| row.name).to_ascii_uppercase();
    let start = "ERR Unknown subcommand or wrong number of arguments for '";
    Error::quoting(start, name, &format!("'. Try {container} HELP."))
}

/// As Redis 6 says it: it quotes otherwise.
fn old_unknown(words: &[&[u8]]) -> Error {
    const QUOTED_BYTES_MAX: usize = 128;
    let short = |word: &[u8], max: usize| {
        let word = &word[..word.len().min(max)];
        String::from_utf8_lossy(word.split(|&byte| byte == 0).next().unwrap_or(word)).into_owned()
    };
    let mut quoted = String::new();
    for word in &words[1..] {
        if quoted.len() >= QUOTED_BYTES_MAX {
            break;
        }
        quoted += &format!("`{}`, ", short(word, QUOTED_BYTES_MAX - quoted.len()));
    }
    let name = short(words[0], QUOTED_BYTES_MAX);
    Error::new(format!("ERR unknown command `{name}`, with args beginning with: {quoted}"))
}
