//! Requests of Upstash's REST API: what a path, a query and a body ask for. Words are borrowed from
//! them wherever nothing has to be decoded.

use crate::config;
use percent_encoding::percent_decode;
use serde::Deserializer;
use serde::de::{self, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One command's words, or why there are none.
pub type Command<'a> = Result<Vec<Cow<'a, [u8]>>, String>;

/// The text in an answer `{"result":"..."}`; None if it is anything else, such as an error.
pub fn result_text(answer: &[u8]) -> Option<String> {
    let mut answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    match answer.get_mut("result")?.take() {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    }
}

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// One command: in the path, or in the body where the path is empty.
    Command,
    /// Several commands, each answered by itself.
    Pipeline,
    /// Several commands as one transaction.
    MultiExec,
    /// An event stream, which this command opens.
    Stream(Vec<Cow<'a, [u8]>>),
}

/// Reads a path: its first segment names the route, or the command. `query` is what follows a `?`.
pub fn route<'a>(path: &'a str, query: Option<&'a str>) -> Route<'a> {
    let mut segments = segments(path);
    let first = segments.next().unwrap_or_default();
    let word = |text: &str| first.eq_ignore_ascii_case(text.as_bytes());
    if word("pipeline") {
        return Route::Pipeline;
    }
    if word("multi-exec") {
        return Route::MultiExec;
    }
    let opens = ["subscribe", "psubscribe", "monitor"].into_iter().any(word);
    if !opens {
        return Route::Command;
    }
    let mut words = vec![first.clone()];
    words.extend(segments);
    // `h?llo*` arrives unescaped, as a path and a query.
    let parts = query.into_iter().flat_map(|query| query.split('&'));
    let rest: Vec<&str> = parts.filter(|part| !part.starts_with("_token=")).collect();
    if let (false, true, Some(last)) = (rest.is_empty(), word("psubscribe"), words.last_mut()) {
        last.to_mut().push(b'?');
        last.to_mut().extend(percent_decode(rest.join("&").as_bytes()));
    }
    Route::Stream(words)
}

/// The segments of a path, decoded one by one, so that `%2F` stays inside of its own. A `/` at the
/// end of the name alone adds nothing.
fn segments(path: &str) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = match path.strip_suffix('/') {
        Some(name) if !name.contains('/') => name,
        _ => path,
    };
    path.split('/').map(|segment| percent_decode(segment.as_bytes()).into())
}

/// The pairs of a query in order. `NX` alone has no value, unlike `NX=`.
fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, [u8]>, Option<Cow<'_, [u8]>>)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| match pair.split_once('=') {
        Some((name, value)) => (form(name), Some(form(value))),
        None => (form(pair), None),
    })
}

/// In forms a plus means a space.
fn form(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let text = text.replace('+', " ");
        return percent_decode(text.as_bytes()).collect::<Vec<u8>>().into();
    }
    percent_decode(text.as_bytes()).into()
}

const TOKEN: &[u8] = b"_token";

/// The token that a query gives.
pub fn token(query: Option<&str>) -> Option<Cow<'_, [u8]>> {
    pairs(query).find(|(name, _)| **name == *TOKEN).and_then(|(_, value)| value)
}

/// The command that a path names: its segments, then the body if there is one, then what the query
/// holds. Without a path, the body is the command.
pub fn command<'a>(path: &'a str, query: Option<&'a str>, body: &'a [u8]) -> Command<'a> {
    if path.trim_matches('/').is_empty() {
        return words(&array(text(body)?, config::REST_WORDS_MAX)?);
    }
    let mut words: Vec<Cow<[u8]>> = segments(path).collect();
    if !body.is_empty() {
        words.push(body.into());
    }
    for (name, value) in pairs(query).filter(|(name, _)| **name != *TOKEN) {
        words.push(name);
        words.extend(value);
    }
    Ok(words)
}

/// The commands of a pipeline or a transaction, at most `count_max`. What is wrong with one of them
/// stands in its place.
pub fn commands(body: &[u8], count_max: usize) -> Result<Vec<Command<'_>>, String> {
    let items = array(text(body)?, count_max)?.into_iter().map(|item| item.get());
    Ok(items.map(|item| words(&array(item, config::REST_WORDS_MAX)?)).collect())
}

fn text(body: &[u8]) -> Result<&str, String> {
    str::from_utf8(body).map_err(|problem| format!("ERR failed to parse the body: {problem}"))
}

/// The elements of a JSON array as they are written, at most `count_max`. An element is skipped,
/// not built, so nesting costs nothing.
fn array(body: &str, count_max: usize) -> Result<Vec<&RawValue>, String> {
    if body.trim_ascii().is_empty() {
        return Err("ERR failed to parse the body: EOF, expected JSON array".into());
    }
    let mut is_over = false;
    let mut json = serde_json::Deserializer::from_str(body);
    let elements = Elements { count_max, is_over: &mut is_over };
    let items = json.deserialize_seq(elements).and_then(|items| json.end().map(|()| items));
    match items {
        Ok(items) => Ok(items),
        Err(_) if is_over => {
            Err(format!("ERR too many elements in an array: at most {count_max} are taken"))
        }
        Err(problem) if problem.is_data() => Err("ERR expected JSON array".into()),
        Err(problem) => Err(format!("ERR failed to parse the body: {problem}")),
    }
}

/// Collects the elements of an array, and gives up beyond `count_max`: each costs more memory than
/// it may have taken in the body.
struct Elements<'f> {
    count_max: usize,
    is_over: &'f mut bool,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = elements.next_element()? {
            if items.len() == self.count_max {
                *self.is_over = true;
                return Err(A::Error::custom("too many elements"));
            }
            items.push(item);
        }
        Ok(items)
    }
}

fn words<'a>(items: &[&'a RawValue]) -> Command<'a> {
    if items.is_empty() {
        return Err("ERR empty command".into());
    }
    items.iter().map(|item| word(item.get())).collect()
}

/// A string's text, or a number, `true` or `false` as it is written.
fn word(json: &str) -> Result<Cow<'_, [u8]>, String> {
    match json.as_bytes() {
        [b'"', text @ .., b'"'] if !text.contains(&b'\\') => Ok(text.into()),
        [b'"', ..] => match serde_json::Deserializer::from_str(json).deserialize_bytes(Unescaped) {
            Ok(text) => Ok(text.into()),
            Err(problem) => Err(format!("ERR failed to parse the body: {problem}")),
        },
        b"null" => Err("ERR null args are not supported".into()),
        [open @ (b'[' | b'{'), ..] => {
            Err(format!("ERR unsupported arg type: \"{}\": json.Delim", char::from(*open)))
        }
        text => Ok(text.into()),
    }
}

/// A string with escapes. JavaScript may send half a surrogate pair, which is no character: U+FFFD
/// takes its place.
struct Unescaped;

impl Visitor<'_> for Unescaped {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        const SURROGATES_START: &[u8] = b"\xed\xa0";
        const REPLACEMENT: &[u8; 3] = b"\xef\xbf\xbd";
        let mut text = bytes.to_vec();
        for at in 2..text.len() {
            // Three bytes of UTF-8 for what would be U+D800 to U+DFFF: as many as U+FFFD takes.
            if text[at - 2..at] >= *SURROGATES_START && text[at - 2] == SURROGATES_START[0] {
                text[at - 2..=at].copy_from_slice(REPLACEMENT);
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, query: Option<&str>, body: &str, expect: Result<&str, &str>) {
        let shown = command(path, query, body.as_bytes()).map(|words| {
            let words: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
            words.join("|")
        });
        let expect = expect.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(shown, expect, "{path} {query:?} {body}");
    }

    #[test]
    fn a_path_is_a_command() {
        check("/get/a%2Fb/", None, "", Ok("get|a/b|"));
        check("/get/a/../b", None, "", Ok("get|a|..|b"));
        check("/get//x", None, "", Ok("get||x"));
        check("/info/", None, "", Ok("info"));
        check("/set/foo", Some("EX=100&NX&_token=t"), "bar", Ok("set|foo|bar|EX|100|NX"));
        check("/set/a+b", Some("x=a+b&y="), "", Ok("set|a+b|x|a b|y|"));
        check("/%ff", None, "", Ok("\u{fffd}"));
    }

    #[test]
    fn a_body_is_a_command() {
        check(
            "/",
            None,
            r#"["set","a",1e21,true,"\u00e9\n", 12345678901234567890]"#,
            Ok("set|a|1e21|true|é\n|12345678901234567890"),
        );
        check("/", None, "", Err("ERR failed to parse the body: EOF, expected JSON array"));
        check("/", None, "[]", Err("ERR empty command"));
        check("/", None, r#"{"a":1}"#, Err("ERR expected JSON array"));
        check("/", None, r#"["get",null]"#, Err("ERR null args are not supported"));
        let nested = "ERR unsupported arg type: \"[\": json.Delim";
        check("/", None, r#"[["get","a"]]"#, Err(nested));
        check(
            "/",
            None,
            &"[".repeat(100_000),
            Err("ERR failed to parse the body: EOF while parsing a list at line 1 column 100000"),
        );
    }

    #[test]
    fn half_a_character_is_replaced() {
        check(
            "/",
            None,
            r#"["echo", "a\ud800b\uD83D\ude00\udfff"]"#,
            Ok("echo|a\u{fffd}b😀\u{fffd}"),
        );
        check("/", None, r#"["echo", "\ud83d\ud83d\ude00"]"#, Ok("echo|\u{fffd}😀"));
    }

    #[test]
    fn a_pipeline_tells_what_is_wrong_with_each() {
        let body = br#"[["get","a"],["get",null],[],7]"#;
        let commands = commands(body, 4).expect("an array");
        let problems: Vec<_> = commands.iter().map(|it| it.as_ref().err().cloned()).collect();
        let expect = [
            None,
            Some("ERR null args are not supported"),
            Some("ERR empty command"),
            Some("ERR expected JSON array"),
        ];
        assert_eq!(problems, expect.map(|it| it.map(str::to_owned)));
        assert!(super::commands(body, 3).is_err());
    }

    #[test]
    fn routes_and_tokens() {
        assert_eq!(route("/", None), Route::Command);
        assert_eq!(route("/pipeline/", None), Route::Pipeline);
        assert_eq!(route("/multi-exec", None), Route::MultiExec);
        let words = |words: &[&'static str]| {
            Route::Stream(words.iter().map(|word| word.as_bytes().into()).collect())
        };
        assert_eq!(route("/subscribe/a/b%2Cc", None), words(&["subscribe", "a", "b,c"]));
        let rejoined = words(&["psubscribe", "h?llo*"]);
        assert_eq!(route("/psubscribe/h", Some("llo*")), rejoined);
        assert_eq!(route("/psubscribe/h", Some("")), words(&["psubscribe", "h?"]));
        assert_eq!(route("/psubscribe/h", Some("llo*&_token=x")), rejoined);
        assert_eq!(route("/psubscribe/h", Some("_token=x")), words(&["psubscribe", "h"]));
        assert_eq!(route("/monitor", None), words(&["monitor"]));
        assert_eq!(token(Some("a=1&_token=x%20y")).as_deref(), Some(&b"x y"[..]));
    }
}
