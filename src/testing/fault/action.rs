//! What becomes of a request, a connection or the whole server that a fault hits: the words behind
//! `action=`, and those that say more of it.

use super::kinds::{KINDS, Kind};
use crate::engine::client::Transport;
use crate::engine::fixture::Stage;
use crate::proto::{Error, Result};
use crate::util::span;
use std::collections::BTreeMap;

/// What becomes of who is hit.
#[derive(Clone, Copy)]
pub enum Action {
    /// The rule's text, just before the request would run.
    Error,
    /// What such a cause would answer.
    Kind(&'static Kind),
    /// The connection ends, with nothing run or with nothing answered.
    End(Ending, Moment),
    /// The reply comes later by some milliseconds from here to there, and so do those behind it.
    Delay(u64, u64),
    /// The first half of the reply's bytes, then that.
    Half(Then),
    /// Nothing is run or answered on this connection any more.
    Blackhole,
    /// The whole server stands still for so many milliseconds.
    Slow(u64),
    /// A new connection is reset.
    Refuse,
    /// A new connection is told that there are too many.
    MaxClients,
    /// All connections end, and nobody can connect for so many milliseconds.
    Restart { keeps_data: bool, down_ms: u64 },
    /// Who waits is sent away, and for so many milliseconds nothing can be written.
    Failover { down_ms: u64 },
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As when the program closes it.
    Close,
    /// As when the machine has gone: what is on the way is lost.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The request is not run.
    Before,
    /// It has run, and its reply is withheld.
    After,
}

/// What follows half a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Close,
    /// Nothing, for good.
    Hang,
}

/// Words that say more of an action, and what each was given.
pub type Arguments = BTreeMap<&'static str, String>;

/// All of them.
pub const ARGUMENTS: [&str; 6] = ["at", "data", "down", "ms", "text", "then"];

/// An action by its name.
struct Form {
    name: &'static str,
    /// The words that it takes.
    takes: &'static [&'static str],
    make: fn(&Arguments) -> Result<Action>,
}

/// Beside the kinds, in alphabetical order.
const FORMS: &[Form] = &[
    Form { name: "blackhole", takes: &[], make: |_| Ok(Action::Blackhole) },
    Form { name: "close", takes: &["at"], make: |given| end(Ending::Close, given) },
    Form { name: "delay", takes: &["ms"], make: delay },
    Form { name: "error", takes: &["text"], make: error },
    Form { name: "failover", takes: &["down"], make: failover },
    Form { name: "half", takes: &["then"], make: half },
    Form { name: "maxclients", takes: &["text"], make: |_| Ok(Action::MaxClients) },
    Form { name: "refuse", takes: &[], make: |_| Ok(Action::Refuse) },
    Form { name: "reset", takes: &["at"], make: |given| end(Ending::Reset, given) },
    Form { name: "restart", takes: &["data", "down"], make: restart },
    Form { name: "slow", takes: &["ms"], make: slow },
];

impl Action {
    /// The action of that name, as its words say.
    pub fn named(name: &str, given: &Arguments) -> Result<Self> {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let form = FORMS.iter().find(|form| form.name == name);
        let takes: &[&str] = match (kind, form) {
            (Some(_), _) => &["text"],
            (_, Some(form)) => form.takes,
            _ => {
                let names = Self::names();
                return Err(Error::new(format!(
                    "ERR there is no action '{name}': there are {names}"
                )));
            }
        };
        if let Some(stray) = given.keys().find(|word| !takes.contains(word)) {
            let but = match takes.len() {
                0 => "no such words".to_owned(),
                _ => format!("{} alone", takes.join(" and ")),
            };
            return Err(Error::new(format!(
                "ERR action={name} has no use for '{stray}': it takes {but}"
            )));
        }
        match (kind, form) {
            (Some(kind), _) => Ok(Action::Kind(kind)),
            (_, Some(form)) => (form.make)(given),
            _ => unreachable!("one of them was found"),
        }
    }

    pub fn names() -> String {
        let forms = FORMS.iter().map(|form| form.name);
        let mut names: Vec<&str> = forms.chain(KINDS.iter().map(|kind| kind.name)).collect();
        names.sort_unstable();
        names.join(", ")
    }

    /// Whether it happens to the reply of a request: in a transaction, to EXEC's.
    pub fn is_of_reply(self) -> bool {
        match self {
            Action::End(_, moment) => moment == Moment::After,
            Action::Delay(..) | Action::Half(_) | Action::Slow(_) => true,
            _ => false,
        }
    }

    /// Whether it hits connections, each once, at their first request: this is when a connection
    /// tells whether it is a test's.
    pub fn is_of_connections(self) -> bool {
        matches!(self, Action::Refuse | Action::MaxClients)
    }

    /// Whether it happens to the whole server, so that once is enough, and no request is needed.
    pub fn is_of_server(self) -> bool {
        matches!(self, Action::Restart { .. } | Action::Failover { .. })
    }

    /// Where in the checklist it hits requests.
    pub fn stage(self) -> Stage {
        match self {
            Action::Kind(kind) => kind.stage,
            Action::Refuse | Action::MaxClients => Stage::Named,
            // The request that sets it off is refused like those that follow.
            Action::Failover { .. } => Stage::Allowed,
            _ => Stage::Admitted,
        }
    }

    /// Whether callers of this kind know it. Over HTTP an answer comes whole, once it is there.
    pub fn is_for(self, transport: Transport) -> bool {
        let is_of_bytes = matches!(self, Action::Delay(..) | Action::Half(_) | Action::Blackhole);
        transport != Transport::Http || !is_of_bytes
    }
}

fn error(given: &Arguments) -> Result<Action> {
    match given.get("text").filter(|text| !text.is_empty()) {
        Some(_) => Ok(Action::Error),
        None => Err(Error::new("ERR action=error wants its text, such as text=ERR boom")),
    }
}

fn end(how: Ending, given: &Arguments) -> Result<Action> {
    let moments = [("before", Moment::Before), ("after", Moment::After)];
    Ok(Action::End(how, choice(given, "at", moments)?))
}

fn half(given: &Arguments) -> Result<Action> {
    let ends = [("close", Then::Close), ("hang", Then::Hang)];
    Ok(Action::Half(choice(given, "then", ends)?))
}

/// One of two; the first unless something else is said.
fn choice<T: Copy>(given: &Arguments, word: &str, choices: [(&str, T); 2]) -> Result<T> {
    let Some(value) = given.get(word) else { return Ok(choices[0].1) };
    let chosen = choices.iter().find(|(name, _)| name == value).map(|(_, choice)| *choice);
    chosen.ok_or_else(|| {
        let [(first, _), (second, _)] = choices;
        Error::new(format!("ERR {word} is {first} or {second}, not '{value}'"))
    })
}

fn delay(given: &Arguments) -> Result<Action> {
    let Some(value) = given.get("ms") else {
        return Err(Error::new("ERR action=delay wants ms, such as ms=200 or ms=200-400"));
    };
    let (least, most) = value.split_once('-').unwrap_or((value, value));
    let span = span::parse_ms(least).zip(span::parse_ms(most));
    let span = span.filter(|(least, most)| least <= most);
    span.map(|(least, most)| Action::Delay(least, most)).ok_or_else(|| {
        Error::new(format!(
            "ERR ms wants milliseconds, from the least to the most, such as 200 or 200-400, not \
             '{value}'"
        ))
    })
}

fn restart(given: &Arguments) -> Result<Action> {
    let keeps_data = choice(given, "data", [("keep", true), ("lose", false)])?;
    Ok(Action::Restart { keeps_data, down_ms: down(given, 500)? })
}

fn failover(given: &Arguments) -> Result<Action> {
    Ok(Action::Failover { down_ms: down(given, 2_000)? })
}

fn down(given: &Arguments, usual_ms: u64) -> Result<u64> {
    let Some(value) = given.get("down") else { return Ok(usual_ms) };
    span::parse_ms(value).ok_or_else(|| {
        Error::new(format!("ERR down wants a duration such as 500ms, not '{value}'"))
    })
}

/// So long a server may stand still: what waits behind it cannot be answered to, nor ended.
const SLOW_MS_MAX: u64 = 60_000;

fn slow(given: &Arguments) -> Result<Action> {
    let Some(value) = given.get("ms") else {
        return Err(Error::new("ERR action=slow wants ms, such as ms=200"));
    };
    let span = span::parse_ms(value).filter(|&ms| ms <= SLOW_MS_MAX);
    span.map(Action::Slow).ok_or_else(|| {
        Error::new(format!(
            "ERR ms wants milliseconds such as 200, at most {SLOW_MS_MAX}, not '{value}'"
        ))
    })
}
