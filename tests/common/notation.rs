//! Replies as text for people: `[1, "two", nil]`.

use super::reply::Reply;
use std::fmt::Write;

/// Reads a whole reply; what is wrong with it, if it cannot be read.
pub fn parse(text: &str) -> Result<Reply, String> {
    let text = text.trim();
    // An error is the rest of the line, so that its text can be read and searched for as it is.
    if let Some(error) = text.strip_prefix('-').filter(|rest| rest.starts_with(is_letter)) {
        return Ok(Reply::Error(error.into()));
    }
    let mut parser = Parser { rest: text };
    let reply = parser.reply()?;
    parser.skip_blanks();
    match parser.rest {
        "" => Ok(reply),
        rest => Err(format!("this is left over: {rest}")),
    }
}

/// Prints a reply, on one line if it has at most `columns_max`, else an element a line.
pub fn print(reply: &Reply, columns_max: usize) -> String {
    if let Reply::Error(text) = reply
        && text.is_ascii()
        && !text.iter().any(u8::is_ascii_control)
        && text.first().is_some_and(u8::is_ascii_alphabetic)
        && !text.ends_with(b" ")
    {
        return format!("-{}", String::from_utf8_lossy(text));
    }
    let line = Printer { columns_max: usize::MAX }.reply(reply, 0);
    if line.len() <= columns_max { line } else { Printer { columns_max }.reply(reply, 0) }
}

/// A string in quotes, with everything but printable ASCII escaped.
pub fn quote(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in text {
        match byte {
            b'"' | b'\\' => write!(out, "\\{}", byte as char),
            b'\n' => write!(out, "\\n"),
            b'\r' => write!(out, "\\r"),
            b'\t' => write!(out, "\\t"),
            b' '..=b'~' => write!(out, "{}", byte as char),
            _ => write!(out, "\\x{byte:02x}"),
        }
        .expect("a String takes everything");
    }
    out + "\""
}

/// Reads a quoted string off the front of `text`, which starts with a double quote: what it says,
/// and the rest of the text.
pub fn unquote(text: &str) -> Result<(Vec<u8>, &str), String> {
    let unended = || format!("the string has no end: {text}");
    let mut out = Vec::new();
    let mut bytes = text.as_bytes().iter().enumerate().skip(1);
    while let Some((at, &byte)) = bytes.next() {
        match byte {
            b'"' => return Ok((out, &text[at + 1..])),
            b'\\' => {
                let (at, &escaped) = bytes.next().ok_or_else(unended)?;
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'x' => {
                        let digits = text.get(at + 1..at + 3).ok_or_else(unended)?;
                        bytes.nth(1);
                        u8::from_str_radix(digits, 16).map_err(|why| format!("{digits}: {why}"))?
                    }
                    b'"' | b'\\' => escaped,
                    _ => return Err(format!("no such escape: \\{}", escaped as char)),
                });
            }
            _ => out.push(byte),
        }
    }
    Err(unended())
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic()
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.".contains(c)
}

/// Words that mean something else than the simple string that they would be.
const RESERVED: &[(&str, Reply)] = &[
    ("nil", Reply::Null),
    ("nil-array", Reply::NullArray),
    ("true", Reply::Boolean(true)),
    ("false", Reply::Boolean(false)),
];

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn reply(&mut self) -> Result<Reply, String> {
        self.skip_blanks();
        let rest = self.rest;
        Ok(match rest.chars().next().ok_or("a reply is missing here")? {
            '"' => Reply::Bulk(self.string()?),
            '[' => Reply::Array(self.replies()?),
            '~' => {
                self.rest = &rest[1..];
                Reply::Unordered(self.replies()?)
            }
            '{' => {
                let pairs = self.list('{', '}', |parser| {
                    let key = parser.reply()?;
                    parser.take(":")?;
                    Ok((key, parser.reply()?))
                });
                Reply::Map(pairs?)
            }
            '(' => self.parenthesis()?,
            '$' => {
                self.rest = &rest[1..];
                Reply::Named(self.word()?.to_owned())
            }
            '+' => {
                self.rest = &rest[1..];
                Reply::Simple(self.string()?)
            }
            '-' if rest[1..].starts_with('"') => {
                self.rest = &rest[1..];
                Reply::Error(self.string()?)
            }
            '-' | '0'..='9' => self.number()?,
            _ => {
                let word = self.word()?;
                let reserved = RESERVED.iter().find(|(name, _)| *name == word);
                reserved.map_or_else(|| Reply::Simple(word.into()), |(_, reply)| reply.clone())
            }
        })
    }

    /// `(int)`, `(double) 1.5`, `(set) [...]` and their like.
    fn parenthesis(&mut self) -> Result<Reply, String> {
        let kind = self.rest[1..].split([' ', ')']).next().unwrap_or_default();
        self.rest = &self.rest[1 + kind.len()..];
        let reply = match kind {
            "match" => Some(Reply::Match(self.string()?)),
            "error" if !self.rest.starts_with(')') => Some(Reply::ErrorMatch(self.string()?)),
            "int" if !self.rest.starts_with(')') => {
                let Reply::Integer(low) = self.number()? else { unreachable!("a number") };
                self.take("..")?;
                let Reply::Integer(high) = self.number()? else { unreachable!("a number") };
                Some(Reply::IntegerWithin(low, high))
            }
            "int" => Some(Reply::AnyInteger),
            "error" => Some(Reply::AnyError),
            "string" => Some(Reply::AnyString),
            "any" => Some(Reply::Any),
            "nothing" => Some(Reply::Nothing),
            "closed" => Some(Reply::Closed),
            _ => None,
        };
        if let Some(reply) = reply {
            self.take(")")?;
            return Ok(reply);
        }
        if kind == "verbatim" {
            let format = self.word()?.to_owned();
            self.take(")")?;
            return Ok(Reply::Verbatim(format, self.string()?));
        }
        self.take(")")?;
        Ok(match kind {
            "double" => {
                self.skip_blanks();
                match self.rest.starts_with(|c| c == '-' || is_word(c)) {
                    true => Reply::Double(self.while_is(|c| c == '+' || is_word(c)).to_owned()),
                    false => Reply::AnyDouble,
                }
            }
            "big" => Reply::BigNumber(self.word()?.to_owned()),
            "set" => Reply::Set(self.replies()?),
            "push" => Reply::Push(self.replies()?),
            _ => return Err(format!("nobody knows what ({kind}) is")),
        })
    }

    fn replies(&mut self) -> Result<Vec<Reply>, String> {
        self.list('[', ']', Self::reply)
    }

    fn list<T>(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        self.take(&open.to_string())?;
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if let Some(rest) = self.rest.strip_prefix(close) {
                self.rest = rest;
                return Ok(items);
            }
            if !items.is_empty() {
                self.take(",")?;
            }
            items.push(item(self)?);
        }
    }

    fn number(&mut self) -> Result<Reply, String> {
        self.skip_blanks();
        let digits = self.rest.strip_prefix('-').unwrap_or(self.rest);
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let (number, rest) = self.rest.split_at(self.rest.len() - digits.len() + end);
        self.rest = rest;
        number.parse().map(Reply::Integer).map_err(|why| format!("{number}: {why}"))
    }

    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.skip_blanks();
        if !self.rest.starts_with('"') {
            return Err(format!("a string in quotes is wanted here: {}", self.rest));
        }
        let (text, rest) = unquote(self.rest)?;
        self.rest = rest;
        Ok(text)
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.skip_blanks();
        match self.while_is(is_word) {
            "" => Err(format!("this is no reply: {}", self.rest)),
            word => Ok(word),
        }
    }

    fn while_is(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn take(&mut self, token: &str) -> Result<(), String> {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.ok_or_else(|| format!("{token} is wanted before: {}", self.rest))?;
        Ok(())
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

struct Printer {
    columns_max: usize,
}

impl Printer {
    fn reply(&self, reply: &Reply, indent: usize) -> String {
        let list = |items: &[Reply]| {
            self.list(items.iter().map(|item| self.reply(item, indent + 2)), ['[', ']'], indent)
        };
        match reply {
            Reply::Simple(text) => {
                let word = String::from_utf8_lossy(text);
                let is_bare = word.starts_with(is_letter)
                    && word.chars().all(is_word)
                    && !RESERVED.iter().any(|(name, _)| *name == word);
                if is_bare { word.into_owned() } else { format!("+{}", quote(text)) }
            }
            Reply::Error(text) => format!("-{}", quote(text)),
            Reply::Integer(number) => number.to_string(),
            Reply::Bulk(text) => quote(text),
            Reply::Null => "nil".into(),
            Reply::NullArray => "nil-array".into(),
            Reply::Array(items) => list(items),
            Reply::Double(text) => format!("(double) {text}"),
            Reply::Boolean(is_true) => is_true.to_string(),
            Reply::BigNumber(text) => format!("(big) {text}"),
            Reply::Verbatim(format, text) => format!("(verbatim {format}) {}", quote(text)),
            Reply::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| {
                    format!("{}: {}", self.reply(key, indent + 2), self.reply(value, indent + 2))
                });
                self.list(pairs, ['{', '}'], indent)
            }
            Reply::Set(items) => format!("(set) {}", list(items)),
            Reply::Push(items) => format!("(push) {}", list(items)),
            Reply::Unordered(items) => format!("~{}", list(items)),
            Reply::AnyInteger => "(int)".into(),
            Reply::IntegerWithin(low, high) => format!("(int {low}..{high})"),
            Reply::AnyString => "(string)".into(),
            Reply::AnyDouble => "(double)".into(),
            Reply::AnyError => "(error)".into(),
            Reply::Any => "(any)".into(),
            Reply::Match(glob) => format!("(match {})", quote(glob)),
            Reply::ErrorMatch(glob) => format!("(error {})", quote(glob)),
            Reply::Named(name) => format!("${name}"),
            Reply::Nothing => "(nothing)".into(),
            Reply::Closed => "(closed)".into(),
        }
    }

    fn list(
        &self,
        items: impl Iterator<Item = String>,
        [open, close]: [char; 2],
        indent: usize,
    ) -> String {
        let items: Vec<String> = items.collect();
        let line = format!("{open}{}{close}", items.join(", "));
        if indent + line.len() <= self.columns_max && !line.contains('\n') {
            return line;
        }
        let margin = " ".repeat(indent + 2);
        let lines: Vec<String> = items.iter().map(|item| format!("{margin}{item}")).collect();
        format!("{open}\n{}\n{}{close}", lines.join(",\n"), " ".repeat(indent))
    }
}
