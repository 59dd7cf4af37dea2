//! What is looked for: words that all have to be found, in whichever case of ASCII letters, and
//! where. `welcome "ada lovelace" error:550 data.to:ada@ state:failed queue:mail*`.

use crate::queues::{JobState, JobText, Queue, Role};
use crate::util::glob::{Case, matches};
use memchr::memchr2_iter;
use serde_json::Value as Json;

/// Longer questions are cut: nobody types so much.
const QUERY_LEN_MAX: usize = 1_000;

/// Where a word is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Id,
    Name,
    Error,
    Data,
    /// At the end of a path in the data, as `to` of `data.to`.
    Path(Vec<String>),
}

/// A word, and where it is to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    place: Place,
    /// In lower case.
    word: Vec<u8>,
}

/// All that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// As it was typed.
    pub text: String,
    terms: Vec<Term>,
    /// One of each has to fit, if there are some.
    queues: Vec<String>,
    states: Vec<String>,
    libraries: Vec<String>,
}

impl Query {
    pub fn read(text: &str) -> Self {
        let end = text.floor_char_boundary(QUERY_LEN_MAX);
        let mut query = Self { text: text[..end].to_owned(), ..Self::default() };
        for (name, word) in words(&text[..end]) {
            let lower = word.to_lowercase();
            let mut term = |place| {
                query.terms.push(Term { place, word: word.as_bytes().to_ascii_lowercase() });
            };
            match name {
                "" => term(Place::Anywhere),
                "id" => term(Place::Id),
                "name" => term(Place::Name),
                "error" => term(Place::Error),
                "data" => term(Place::Data),
                "queue" => query.queues.push(word),
                "state" => query.states.push(lower),
                "library" => query.libraries.push(lower),
                _ => {
                    let path = name.trim_start_matches("data.").split('.').map(str::to_owned);
                    term(Place::Path(path.collect()));
                }
            }
        }
        query
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
            && self.queues.is_empty()
            && self.states.is_empty()
            && self.libraries.is_empty()
    }

    /// Whether text is asked for, and not only jobs of some queue or state.
    pub fn has_text(&self) -> bool {
        !self.terms.is_empty()
    }

    /// Whether jobs of a queue may be meant.
    pub fn admits(&self, queue: &Queue) -> bool {
        let is_it = |glob: &String| {
            [queue.name(), &queue.base]
                .iter()
                .any(|name| matches(glob.as_bytes(), name, Case::Sensitive))
        };
        let library = queue.library.name.to_lowercase();
        (self.queues.is_empty() || self.queues.iter().any(is_it))
            && (self.libraries.is_empty() || self.libraries.contains(&library))
            && (self.states.is_empty()
                || queue.library.states.iter().any(|state| self.admits_state(Some(state))))
    }

    /// Whether the state of a job is asked for at all.
    pub fn has_states(&self) -> bool {
        !self.states.is_empty()
    }

    /// Whether a job in this state may be meant: by the beginning of the library's own name for it,
    /// or of BullMQ's.
    pub fn admits_state(&self, state: Option<&JobState>) -> bool {
        let Some(state) = state else { return self.states.is_empty() };
        let names = [state.name, common_name(state.role)];
        let is_it = |asked: &String| names.iter().any(|name| name.starts_with(&**asked));
        self.states.is_empty() || self.states.iter().any(is_it)
    }

    /// Whether all words are found in a job.
    pub fn is_met(&self, job: &JobText) -> bool {
        self.terms.iter().all(|term| term.is_met(job))
    }

    /// The words that may stand in a text, for marking them there.
    pub fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.terms.iter().map(|term| &*term.word)
    }

    /// Words that stand in what a job's hash holds just as they are given here.
    pub fn plain_words(&self) -> impl Iterator<Item = &[u8]> {
        self.terms.iter().filter(|term| term.is_plain()).map(|term| &*term.word)
    }

    /// What may be the id of one job: a word that stands alone, as it was typed. None if there are
    /// several, or it is looked for elsewhere.
    pub fn id(&self) -> Option<String> {
        let [Term { place: Place::Anywhere | Place::Id, .. }] = &self.terms[..] else {
            return None;
        };
        words(&self.text).into_iter().find(|it| matches!(it.0, "" | "id")).map(|(_, word)| word)
    }
}

impl Term {
    fn is_met(&self, job: &JobText) -> bool {
        let has = |text: &[u8]| find(text, &self.word).is_some();
        match &self.place {
            Place::Anywhere => has(job.data) || has(job.name) || has(job.error) || has(job.id),
            Place::Id => has(job.id),
            Place::Name => has(job.name),
            Place::Error => has(job.error),
            Place::Data => has(job.data),
            Place::Path(_) if self.is_plain() && !has(job.data) => false,
            Place::Path(path) => {
                let Ok(mut at) = serde_json::from_slice::<Json>(job.data) else { return false };
                for name in path {
                    at = at.get_mut(name.as_str()).map(Json::take).unwrap_or_default();
                }
                match at {
                    Json::Null => false,
                    Json::String(text) => has(text.as_bytes()),
                    other => has(other.to_string().as_bytes()),
                }
            }
        }
    }

    /// What JSON writes in another way is looked for in what it means.
    fn is_plain(&self) -> bool {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"\\/".contains(byte);
        !matches!(self.place, Place::Path(_)) || self.word.iter().all(is_plain)
    }
}

/// What BullMQ calls the state of such jobs.
pub fn common_name(role: Role) -> &'static str {
    match role {
        Role::Ready => "waiting",
        Role::Working => "active",
        Role::Later => "delayed",
        Role::Blocked => "waiting-children",
        Role::Held => "paused",
        Role::Completed => "completed",
        Role::Failed => "failed",
    }
}

/// The words of a question, each with what stands before its colon, if that means something.
fn words(text: &str) -> Vec<(&str, String)> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '"']).unwrap_or(rest.len());
        let name = rest[..end].split_once(':').map_or("", |(name, _)| name);
        let is_place = ["id", "name", "error", "data", "queue", "state", "library"].contains(&name)
            || name.strip_prefix("data.").is_some_and(|path| !path.is_empty());
        let name = if is_place { name } else { "" };
        let behind = &rest[if is_place { name.len() + 1 } else { 0 }..];
        let (word, len) = match behind.strip_prefix('"') {
            Some(quoted) => match quoted.find('"') {
                Some(end) => (&quoted[..end], end + 2),
                None => (quoted, behind.len()),
            },
            None => {
                let end = behind.find(char::is_whitespace).unwrap_or(behind.len());
                (&behind[..end], end)
            }
        };
        if !word.is_empty() {
            words.push((name, word.to_owned()));
        }
        rest = behind[len..].trim_start();
    }
    words
}

/// Where a word stands in a text, which may have capitals where the word has small letters.
pub fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let Some(&first) = word.first() else { return Some(0) };
    let last = text.len().checked_sub(word.len())?;
    memchr2_iter(first, first.to_ascii_uppercase(), &text[..=last])
        .find(|&at| text[at..at + word.len()].eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobText = JobText {
        id: b"Order-7",
        name: b"welcome",
        data: br#"{"to":"Ada@Example.com","deep":{"list":["x"],"n":42},"q":"a\"b"}"#,
        error: b"SMTP 550 no such mailbox",
    };

    #[test]
    fn all_words_have_to_be_found_where_they_are_meant() {
        let check = |text: &str, expect: bool| {
            assert_eq!(Query::read(text).is_met(&JOB), expect, "{text}");
        };
        for text in [
            "ada@",
            "ADA@example",
            "welcome 550",
            "\"no such\"",
            "error:550",
            "error:\"no such mailbox\"",
            "name:wel data:ada",
            "id:order",
            "order-7",
            "data.to:ada@example.com",
            "data.deep.n:42",
            "data.q:a\"b",
            "data.deep:list",
            "error:",
            "\"no such",
        ] {
            check(text, true);
        }
        for text in [
            "adam@",
            "welcome 551",
            "\"such no\"",
            "name:550",
            "id:welcome",
            "data.from:ada",
            "data.to:example.org",
            "data.deep.list.n:42",
            "http://ada",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn what_begins_with_no_place_is_a_word_as_it_is() {
        assert_eq!(
            words("http://x state:failed a:b"),
            [("", "http://x".to_owned()), ("state", "failed".to_owned()), ("", "a:b".to_owned()),]
        );
        assert!(Query::read("state: queue:").is_empty());
        assert!(!Query::read("state:failed").has_text());
    }

    #[test]
    fn one_word_alone_may_be_an_id() {
        let id = |text: &str| Query::read(text).id();
        assert_eq!(id("Order-7"), Some("Order-7".into()));
        assert_eq!(id("queue:mail 7"), Some("7".into()));
        assert_eq!(id("id:7"), Some("7".into()));
        assert_eq!(id("name:7"), None);
        assert_eq!(id("7 8"), None);
        assert_eq!(id(""), None);
    }

    #[test]
    fn a_word_is_found_as_a_naive_look_finds_it() {
        let naive = |text: &[u8], word: &[u8]| {
            let text = text.to_ascii_lowercase();
            (0..=text.len()).find(|&at| text[at..].starts_with(word))
        };
        for text in [&b""[..], b"a", b"aab", b"xAaBAb", b"\xff\xfea\xffb", b"bbbbbbbba"] {
            for word in [&b""[..], b"a", b"ab", b"aab", b"b", b"\xffb", b"bba", b"c"] {
                assert_eq!(find(text, word), naive(text, word), "{text:?} {word:?}");
            }
        }
    }
}
