//! What strict mode has found: each habit of a script, or a command, and a client is told once in
//! the log, and counted for TORIL STRICT REPORT.

use crate::config::{Check, Level};
use crate::engine::hash_slot::hash_slot;
use crate::proto::{Error, Reply};
use crate::queues;
use crate::util::quote::quoted;
use std::collections::BTreeMap;

/// Those that are kept: who names each connection differently does not fill the memory. Of more
/// than these nothing is told but how often.
const FINDINGS_MAX: usize = 1_000;

/// How each begins in the log.
pub const LOG_MARK: &str = "strict ";

/// The keys that show it: the one that is wrong, and one that it does not go with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Example {
    pub key: Option<Vec<u8>>,
    pub other: Option<Vec<u8>>,
}

/// What is found of a check, by the script or command and the client's name.
type Place = (Check, String, Vec<u8>);

/// The first of its kind, and how many there were.
struct Finding {
    level: Level,
    text: String,
    example: Example,
    count: u64,
}

#[derive(Default)]
pub struct Findings {
    found: BTreeMap<Place, Finding>,
    /// Beyond `FINDINGS_MAX`.
    untold: u64,
}

impl Findings {
    /// Counts something, and tells it in the log if it is the first of its kind.
    pub fn note(&mut self, place: Place, level: Level, error: &Error, example: Example) {
        let is_full = self.found.len() >= FINDINGS_MAX;
        match self.found.get_mut(&place) {
            Some(known) => {
                known.count += 1;
                known.level = level;
            }
            None if is_full => self.untold += 1,
            None => {
                let text = error.to_string();
                let line = line(&place, &text, &example);
                match level {
                    Level::Log => tracing::info!("{line}"),
                    _ => tracing::warn!("{line}"),
                }
                self.found.insert(place, Finding { level, text, example, count: 1 });
            }
        }
    }

    /// Whether anything of a check was found.
    pub fn has(&self, check: Check) -> bool {
        self.found.keys().any(|(its, _, _)| *its == check)
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// A list of maps, by check, script and client.
    pub fn tell(&self, reply: &mut Reply) {
        reply.array(self.found.len());
        for ((check, script, client), finding) in &self.found {
            reply.map(10);
            let texts = [
                ("check", check.word()),
                ("level", finding.level.word()),
                ("script", script),
                ("text", &finding.text),
            ];
            for (name, text) in texts {
                reply.bulk(name.as_bytes());
                reply.bulk(text.as_bytes());
            }
            reply.bulk(b"client");
            reply.bulk(&shown(client));
            reply.bulk(b"count");
            reply.int(finding.count as i64);
            let Example { key, other } = &finding.example;
            tell_key(reply, ["key", "slot"], key.as_deref());
            tell_key(reply, ["other_key", "other_slot"], other.as_deref());
        }
    }

    pub fn untold(&self) -> u64 {
        self.untold
    }
}

fn tell_key(reply: &mut Reply, names: [&str; 2], key: Option<&[u8]>) {
    reply.bulk(names[0].as_bytes());
    match key {
        Some(key) => reply.bulk(key),
        None => reply.null(),
    }
    reply.bulk(names[1].as_bytes());
    match key {
        Some(key) => reply.int(hash_slot(key).into()),
        None => reply.null(),
    }
}

/// A client's name as people know it: the queue, where a library has put it in code.
fn shown(client: &[u8]) -> Vec<u8> {
    queues::name_in(client).unwrap_or_else(|| client.to_vec())
}

fn line((check, script, client): &Place, text: &str, example: &Example) -> String {
    let client = match &*shown(client) {
        b"" => String::new(),
        name => format!(" by {}", quote(name)),
    };
    let key = |key: &Vec<u8>| format!("{} of slot {}", quote(key), hash_slot(key));
    let keys: Vec<String> = [&example.key, &example.other].into_iter().flatten().map(key).collect();
    let keys = match keys.len() {
        0 => String::new(),
        _ => format!(": {}", keys.join(" beside ")),
    };
    format!("{LOG_MARK}{}: {script}{client}{keys}: {text}", check.word())
}

fn quote(text: &[u8]) -> String {
    let mut out = Vec::new();
    quoted(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_many_but_bounded() {
        let mut findings = Findings::default();
        let mut note = |client: usize| {
            let place = (Check::CrossSlot, "MGET".to_owned(), client.to_string().into_bytes());
            findings.note(place, Level::Warn, &Error::CrossSlot, Example::default());
        };
        (0..FINDINGS_MAX + 5).for_each(&mut note);
        note(0);
        assert_eq!((findings.found.len(), findings.untold()), (FINDINGS_MAX, 5));
        assert_eq!(findings.found.values().map(|it| it.count).sum::<u64>(), 1_001);
    }

    #[test]
    fn a_line_of_the_log() {
        let place = (Check::Foreign, "moveToFinished".to_owned(), b"bull:bWFpbA==:w:a".to_vec());
        let example = Example { key: Some(b"foo".to_vec()), other: Some(b"a\n".to_vec()) };
        let expect = "strict foreign: moveToFinished by \"mail:w:a\": \"foo\" of slot 12182 beside \
                      \"a\\n\" of slot 6481: ERR no";
        assert_eq!(line(&place, "ERR no", &example), expect);
        let place = (Check::Keys, "KEYS".to_owned(), Vec::new());
        assert_eq!(line(&place, "ERR no", &Example::default()), "strict keys: KEYS: ERR no");
    }
}
