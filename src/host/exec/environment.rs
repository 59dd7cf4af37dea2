//! What a command is told of its server: variables of its environment.

use serde_json::Value;
use std::env;
use std::path::PathBuf;

/// A variable for the command. None: there must be none, since what it said before leads elsewhere.
#[derive(Debug, PartialEq)]
pub struct Variable {
    pub name: String,
    pub value: Option<String>,
    /// Whether its value opens something, and must not be shown.
    pub is_secret: bool,
}

/// What is set in any case, as templates.
const KNOWN: [(&str, &str); 6] = [
    ("REDIS_URL", "{url}"),
    ("REDIS_HOST", "{host}"),
    ("REDIS_PORT", "{port}"),
    ("UPSTASH_REDIS_REST_URL", "{http}"),
    ("UPSTASH_REDIS_REST_TOKEN", "{token}"),
    ("TORIL_URL", "{url}"),
];

/// The words that templates may have, and where the announced line has what they stand for.
const WORDS: [(&str, &str); 5] = [
    ("url", "/url"),
    ("host", "/host"),
    ("port", "/port"),
    ("http", "/http/url"),
    ("token", "/http/token"),
];

/// All variables: those that are known, then those that were asked for as names and templates.
pub fn variables(told: &Value, more: &[(String, String)]) -> Result<Vec<Variable>, String> {
    let known = KNOWN.iter().map(|(name, template)| (*name, *template));
    let more = more.iter().map(|(name, template)| (name.as_str(), template.as_str()));
    known.chain(more).map(|(name, template)| Variable::new(name, template, told)).collect()
}

impl Variable {
    fn new(name: &str, template: &str, told: &Value) -> Result<Self, String> {
        let (mut value, mut rest, mut is_there) = (String::new(), template, true);
        while let Some((before, after)) = rest.split_once('{') {
            let (word, after) = after.split_once('}').ok_or_else(|| unknown(template, after))?;
            let (_, place) = WORDS
                .iter()
                .find(|(known, _)| *known == word)
                .ok_or_else(|| unknown(template, word))?;
            value += before;
            match told.pointer(place) {
                Some(Value::String(text)) => value += text,
                Some(Value::Number(number)) => value += &number.to_string(),
                _ => is_there = false,
            }
            rest = after;
        }
        value += rest;
        let is_secret = template.contains("{token}");
        Ok(Self { name: name.into(), value: is_there.then_some(value), is_secret })
    }

    /// What is said of a variable that meant something else before: a test must not be led to
    /// production unawares.
    pub fn replaced(&self, command: &str) -> Option<String> {
        let before = env::var_os(&self.name)?.to_string_lossy().into_owned();
        let is = match &self.value {
            Some(value) if *value == before => return None,
            Some(value) => format!("is {}", self.shown(value)),
            None => "is not set".into(),
        };
        Some(format!("{} was {} and {is} for {command}", self.name, self.shown(&before)))
    }

    /// A value without what opens something: a token, or a password in a URL.
    fn shown(&self, value: &str) -> String {
        if self.is_secret {
            return "(hidden)".into();
        }
        if let Some((scheme, rest)) = value.split_once("://")
            && let Some((login, place)) = rest.rsplit_once('@')
        {
            let user = login.split(':').next().unwrap_or_default();
            return format!("{scheme}://{user}:(hidden)@{place}");
        }
        value.into()
    }
}

fn unknown(template: &str, word: &str) -> String {
    format!("{template}: {{{word}}} is none of {{url}} {{host}} {{port}} {{http}} {{token}}")
}

/// What makes the command's clock that of the server: the file that tells the time, and who reads
/// it, behind what is loaded anyway.
pub fn clock(told: &Value) -> Result<Vec<Variable>, String> {
    let file = told["clock"].as_str().ok_or("the server has no clock that others can follow")?;
    let behind = |name: &str, between: &str, value: &str| {
        let before = env::var(name).unwrap_or_default();
        let all = [before.as_str(), value].map(str::trim).join(between);
        let value = Some(all.trim_start_matches(between).to_owned());
        Variable { name: name.into(), value, is_secret: false }
    };
    let file = Variable { name: "TORIL_CLOCK".into(), value: Some(file.into()), is_secret: false };
    let mut all = vec![file, behind("NODE_OPTIONS", " ", "--import=toril/clock")];
    if let Some(library) = preload() {
        let name = if cfg!(target_os = "macos") { "DYLD_INSERT_LIBRARIES" } else { "LD_PRELOAD" };
        all.push(behind(name, ":", &library.to_string_lossy()));
    }
    Ok(all)
}

/// The library that moves the clock of programs in any language: TORIL_PRELOAD, or what lies
/// beside this program.
fn preload() -> Option<PathBuf> {
    if let Some(path) = env::var_os("TORIL_PRELOAD") {
        return Some(path.into());
    }
    let name = if cfg!(target_os = "macos") { "libtoril_clock.dylib" } else { "libtoril_clock.so" };
    let path = env::current_exe().ok()?.with_file_name(name);
    path.exists().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Value {
        serde_json::json!({
            "url": "redis://127.0.0.1:7", "host": "127.0.0.1", "port": 7,
            "http": { "url": "http://127.0.0.1:8", "token": "geheim" }, "clock": null,
        })
    }

    #[test]
    fn templates_are_filled_in() {
        let check = |template: &str, expect: Result<&str, &str>| {
            let found = Variable::new("X", template, &told()).map(|it| it.value.expect("a value"));
            assert_eq!(found.as_deref().map_err(String::as_str), expect, "{template}");
        };
        check("{url}", Ok("redis://127.0.0.1:7"));
        check("{host}:{port}/3", Ok("127.0.0.1:7/3"));
        check("{http} {token}", Ok("http://127.0.0.1:8 geheim"));
        check("plain }", Ok("plain }"));
        check("", Ok(""));
        let known = "is none of {url} {host} {port} {http} {token}";
        check("a{b}", Err(&format!("a{{b}}: {{b}} {known}")));
        check("a{b", Err(&format!("a{{b: {{b}} {known}")));
    }

    #[test]
    fn where_there_is_nothing_nothing_is_set() {
        let told =
            serde_json::json!({ "url": "unix:///s", "host": null, "port": null, "http": null });
        let found = variables(&told, &[]).expect("the templates are good");
        let set = found.iter().filter(|it| it.value.is_some()).map(|it| it.name.as_str());
        assert_eq!(set.collect::<Vec<_>>(), ["REDIS_URL", "TORIL_URL"]);
    }

    #[test]
    fn what_opens_something_is_not_shown() {
        let variable = |template: &str| Variable::new("X", template, &told()).expect("it is good");
        let check = |value: &str, expect: &str| assert_eq!(variable("{url}").shown(value), expect);
        check("redis://prod:6379", "redis://prod:6379");
        check("redis://:geheim@prod:6379/1", "redis://:(hidden)@prod:6379/1");
        check("rediss://ada:ge@heim@prod", "rediss://ada:(hidden)@prod");
        check("", "");
        assert_eq!(variable("{token}").shown("geheim"), "(hidden)");
    }
}
