//! Transcripts as files: cases of steps, each with the replies that it brings.

use super::compare::Names;
use super::notation;
use super::reply::Reply;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub struct Transcript {
    /// The file's name, without folder and extension.
    pub name: String,
    pub lines: Vec<Line>,
    pub cases: Vec<Case>,
}

/// A line of the file, continuation lines included.
pub struct Line {
    pub number: usize,
    pub text: String,
}

pub struct Case {
    pub name: String,
    pub steps: Vec<Step>,
}

pub struct Step {
    /// Index into `Transcript::lines`.
    pub line: usize,
    pub action: Action,
    /// The replies that come before the next step, from any client, in the order of the file.
    pub replies: Vec<Expected>,
}

pub enum Action {
    Send {
        client: usize,
        words: Vec<Word>,
        /// It waits for the next request of its client and leaves in one write with it.
        is_held: bool,
    },
    Advance(Duration),
}

/// The lines that say what one reply is: one for all servers, then those for some.
pub struct Expected {
    pub client: usize,
    /// Indices into `Transcript::lines`.
    pub lines: Range<usize>,
    pub variants: Vec<(Selector, Reply)>,
}

/// To which servers a line applies: `<`, `<3`, `<7.0`, `<valkey/3`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Selector {
    pub target: Option<Target>,
    pub is_resp3: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    Redis74,
    Redis70,
    Redis82,
    Valkey,
    Toril,
}

impl Target {
    pub const ALL: [Target; 5] =
        [Target::Redis74, Target::Redis70, Target::Redis82, Target::Valkey, Target::Toril];

    /// As a transcript's line says it.
    pub fn tag(self) -> &'static str {
        match self {
            Target::Redis74 => "7.4",
            Target::Redis70 => "7.0",
            Target::Redis82 => "8.2",
            Target::Valkey => "valkey",
            Target::Toril => "toril",
        }
    }
}

impl Selector {
    pub const ALL: Selector = Selector { target: None, is_resp3: false };

    fn parse(text: &str) -> Option<Selector> {
        let mut selector = Selector::ALL;
        for part in text.split('/').filter(|part| !part.is_empty()) {
            match Target::ALL.into_iter().find(|target| target.tag() == part) {
                Some(target) => selector.target = Some(target),
                None if part == "3" => selector.is_resp3 = true,
                None => return None,
            }
        }
        Some(selector)
    }

    pub fn print(self) -> String {
        match (self.target, self.is_resp3) {
            (None, false) => String::new(),
            (None, true) => "3".into(),
            (Some(target), false) => target.tag().into(),
            (Some(target), true) => format!("{}/3", target.tag()),
        }
    }
}

impl Expected {
    /// The reply that this server owes: the line that names it most closely counts.
    pub fn for_target(&self, target: Target, is_resp3: bool) -> &Reply {
        let applies = |selector: &Selector| {
            selector.target.is_none_or(|its| its == target) && (is_resp3 || !selector.is_resp3)
        };
        let (_, reply) = self
            .variants
            .iter()
            .filter(|(selector, _)| applies(selector))
            .max_by_key(|(selector, _)| (selector.target.is_some(), selector.is_resp3))
            .expect("the first line applies to all");
        reply
    }
}

/// A word of a request: text, and names that stand for what was bound to them.
pub struct Word(Vec<Part>);

enum Part {
    Text(Vec<u8>),
    Name(String),
}

impl Word {
    /// Whether it is this text, in capital or small letters.
    pub fn is(&self, text: &str) -> bool {
        matches!(&*self.0, [Part::Text(word)] if word.eq_ignore_ascii_case(text.as_bytes()))
    }

    pub fn resolve(&self, names: &Names) -> Vec<u8> {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => match names.get(name) {
                Some(text) => text.clone(),
                None => panic!("no reply has bound ${name}"),
            },
        };
        self.0.iter().flat_map(part).collect()
    }
}

/// Where the transcripts live.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// All transcripts in the order of their names; those whose name contains one of `filters`, if any.
pub fn load(filters: &[String]) -> Vec<Transcript> {
    let entries = std::fs::read_dir(folder()).expect("the folder of transcripts can be read");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the entry can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let transcripts = paths.iter().map(|path| {
        let name = path.file_stem().expect("it has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).expect("the transcript can be read");
        Transcript::parse(name, &text)
    });
    let is_wanted = |it: &Transcript| {
        filters.is_empty() || filters.iter().any(|filter| it.name.contains(filter.as_str()))
    };
    transcripts.filter(is_wanted).collect()
}

impl Transcript {
    /// The server that decides: Redis 7.4, or Redis 8.2 in the files on what is newer.
    pub fn judge(&self) -> Target {
        match self.name.as_str() {
            name if name.starts_with("redis-8") => Target::Redis82,
            name if name.starts_with("toril") => Target::Toril,
            _ => Target::Redis74,
        }
    }

    /// Whether this server is asked at all: what only Redis 8.2 knows is not put to the others, and
    /// what only toril knows to none of them.
    pub fn is_for(&self, target: Target) -> bool {
        let judge = self.judge();
        match target {
            Target::Toril => true,
            Target::Redis82 => judge == Target::Redis82,
            _ => judge == Target::Redis74,
        }
    }

    pub fn parse(name: String, text: &str) -> Transcript {
        let mut lines: Vec<Line> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            match lines.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) || line == "]" || line == "}" => {
                    last.text += "\n";
                    last.text += line;
                }
                _ => lines.push(Line { number, text: line.to_owned() }),
            }
        }
        let mut transcript = Transcript { name, lines, cases: Vec::new() };
        for index in 0..transcript.lines.len() {
            if let Err(why) = transcript.add_line(index) {
                let line = &transcript.lines[index];
                panic!("{}.txt:{}: {why}\n{}", transcript.name, line.number, line.text);
            }
        }
        transcript
    }

    fn add_line(&mut self, index: usize) -> Result<(), String> {
        let line = self.lines[index].text.trim_end();
        if line.is_empty() || line.starts_with('#') || line.starts_with("DIFFERS: ") {
            return Ok(());
        }
        if let Some(name) = line.strip_prefix("=== ") {
            self.cases.push(Case { name: name.to_owned(), steps: Vec::new() });
            return Ok(());
        }
        let steps = &mut self.cases.last_mut().ok_or("a case starts with `=== its name`")?.steps;
        if let Some(span) = line.strip_prefix("advance ") {
            let action = Action::Advance(parse_span(span)?);
            steps.push(Step { line: index, action, replies: Vec::new() });
            return Ok(());
        }
        let digits = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        let client = if digits == 0 { 1 } else { line[..digits].parse().expect("digits") };
        let rest = &line[digits..];
        if let Some(request) = rest.strip_prefix('>') {
            let is_held = request.starts_with('>');
            let words = parse_words(request.trim_start_matches('>'))?;
            let action = Action::Send { client, words, is_held };
            steps.push(Step { line: index, action, replies: Vec::new() });
            return Ok(());
        }
        let rest = rest.strip_prefix('<').ok_or("nobody knows what this line is")?;
        let (selector, reply) = rest.split_once([' ', '\n']).unwrap_or((rest, ""));
        let selector = Selector::parse(selector).ok_or("nobody knows this server")?;
        let reply = notation::parse(reply)?;
        let replies = &mut steps.last_mut().ok_or("nothing was sent yet")?.replies;
        if selector == Selector::ALL {
            let lines = index..index + 1;
            replies.push(Expected { client, lines, variants: vec![(selector, reply)] });
            return Ok(());
        }
        let last = replies.last_mut().ok_or("a line `<` for all servers comes first")?;
        let is_explained = self.lines[index - 1].text.starts_with("DIFFERS: ")
            || last.variants.last().is_some_and(|(s, _)| s.target == Some(Target::Toril));
        if selector.target == Some(Target::Toril) && !is_explained {
            return Err("the line before must say why: `DIFFERS: ...`".into());
        }
        last.lines.end = index + 1;
        last.variants.push((selector, reply));
        Ok(())
    }
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|why| format!("{text}: {why}"))?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("a span ends in ms, s, m, h or d: {text}")),
    };
    Ok(Duration::from_millis(number * ms))
}

/// Cuts a request into words, as a shell would: blanks part them, quotes hold them together.
/// `"x"*65` repeats a string, `{1..129}` stands for so many words.
fn parse_words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some((range, after)) = parse_range(rest) {
            words.extend(range.map(|number| Word(vec![Part::Text(number.to_string().into())])));
            rest = after.trim_start();
            continue;
        }
        let mut parts = Vec::new();
        while !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
            let (part, after) = parse_part(rest)?;
            parts.push(part);
            rest = after;
        }
        words.push(Word(parts));
        rest = rest.trim_start();
    }
    if words.is_empty() { Err("a request has words".into()) } else { Ok(words) }
}

fn parse_range(text: &str) -> Option<(std::ops::RangeInclusive<u64>, &str)> {
    let (range, rest) = text.strip_prefix('{')?.split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let is_whole = rest.is_empty() || rest.starts_with(char::is_whitespace);
    is_whole.then_some((first.parse().ok()?..=last.parse().ok()?, rest))
}

fn parse_part(text: &str) -> Result<(Part, &str), String> {
    if text.starts_with('"') {
        let (string, rest) = notation::unquote(text)?;
        let Some(times) = rest.strip_prefix('*') else { return Ok((Part::Text(string), rest)) };
        let end = times.find(|c: char| !c.is_ascii_digit()).unwrap_or(times.len());
        let (times, rest) = times.split_at(end);
        let times: usize = times.parse().map_err(|why| format!("{text}: {why}"))?;
        return Ok((Part::Text(string.repeat(times)), rest));
    }
    if let Some(raw) = text.strip_prefix('\'') {
        let (raw, rest) = raw.split_once('\'').ok_or("the string has no end")?;
        return Ok((Part::Text(raw.into()), rest));
    }
    let name = text.strip_prefix('$').filter(|rest| rest.starts_with(char::is_alphabetic));
    if let Some(name) = name {
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
        let (name, rest) = name.split_at(end);
        return Ok((Part::Name(name.into()), rest));
    }
    let first = text.chars().next().expect("it is not empty").len_utf8();
    let is_end = |c: char| c.is_whitespace() || "\"'$".contains(c);
    let end = text[first..].find(is_end).map_or(text.len(), |at| first + at);
    Ok((Part::Text(text[..end].into()), &text[end..]))
}
