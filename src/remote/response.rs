//! What servers answer, as a client reads it.

use std::io::{self, BufRead, Read};

/// Bytes of a line, and lists within lists: no server answers with more.
const LINE_BYTES_MAX: u64 = 64 * 1024;
const DEPTH_MAX: usize = 32;

/// What a server answered, in RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// A status or a text, which need not be UTF-8.
    Text(Vec<u8>),
    /// An error, with its code: `ERR unknown command`.
    Error(String),
    /// A whole number.
    Integer(i64),
    /// Nothing there.
    Null,
    /// Answers in order; a map has each key before its value.
    List(Vec<Response>),
}

impl Response {
    /// What stands under a key, if this is a map.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::List(items) = self else { return None };
        let (pairs, _) = items.as_chunks::<2>();
        pairs.iter().find(|[name, _]| name.text() == key).map(|[_, value]| value)
    }

    /// The text that it is, or the texts of a list line by line. What is neither has none.
    pub fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join("\n"),
            _ => String::new(),
        }
    }
}

/// The first answer of these bytes, and how many it takes. None if it is not whole.
pub fn parse(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let mut rest = bytes;
    match read(&mut rest) {
        Ok(response) => Ok(Some((response, bytes.len() - rest.len()))),
        Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// The next answer of a stream.
///
/// # Errors
/// The stream ends before it does, or it is none.
pub fn read(input: &mut impl BufRead) -> io::Result<Response> {
    read_within(input, DEPTH_MAX)
}

fn read_within(input: &mut impl BufRead, depth: usize) -> io::Result<Response> {
    let mut line = Vec::new();
    input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(if line.len() as u64 == LINE_BYTES_MAX { not_understood() } else { ended() });
    };
    let (kind, rest) = line.split_at_checked(1).ok_or_else(not_understood)?;
    let text = || String::from_utf8_lossy(rest).into_owned();
    let number = || text().parse::<i64>().map_err(|_| not_understood());
    match kind {
        b"+" => Ok(Response::Text(rest.to_vec())),
        b"-" => Ok(Response::Error(text())),
        b":" => Ok(Response::Integer(number()?)),
        b"$" | b"*" if number()? < 0 => Ok(Response::Null),
        b"$" => {
            // No more room is made than has come, whatever is claimed.
            let len = number()? as u64;
            let mut bytes = Vec::new();
            input.by_ref().take(len.saturating_add(2)).read_to_end(&mut bytes)?;
            if (bytes.len() as u64) < len.saturating_add(2) {
                return Err(ended());
            }
            bytes.truncate(len as usize);
            Ok(Response::Text(bytes))
        }
        b"*" if depth == 0 => Err(not_understood()),
        b"*" => {
            let items = (0..number()?).map(|_| read_within(input, depth - 1));
            items.collect::<io::Result<_>>().map(Response::List)
        }
        _ => Err(not_understood()),
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed")
}

fn not_understood() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not Redis's protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expect: Result<Response, io::ErrorKind>) {
        let found = read(&mut input.as_bytes()).map_err(|problem| problem.kind());
        assert_eq!(found, expect, "{input:?}");
    }

    #[test]
    fn answers_are_read() {
        let text = |text: &str| Response::Text(text.into());
        check("+PONG\r\n", Ok(text("PONG")));
        check("-ERR no\r\n", Ok(Response::Error("ERR no".into())));
        check(":-7\r\n", Ok(Response::Integer(-7)));
        check("$-1\r\n", Ok(Response::Null));
        check("*-1\r\n", Ok(Response::Null));
        check("$4\r\na\r\nb\r\n", Ok(text("a\r\nb")));
        check("*0\r\n", Ok(Response::List(vec![])));
        check(
            "*2\r\n*1\r\n:1\r\n$0\r\n\r\n",
            Ok(Response::List(vec![Response::List(vec![Response::Integer(1)]), text("")])),
        );
    }

    #[test]
    fn maps_are_read_by_their_keys() {
        let text = |text: &str| Response::Text(text.into());
        let lines = Response::List(vec![text("x"), text("y")]);
        let map = vec![text("a"), Response::Integer(1), text("b"), lines];
        let map = Response::List(map);
        assert_eq!(map.get("a"), Some(&Response::Integer(1)));
        assert_eq!(map.get("b").map(Response::text).as_deref(), Some("x\ny"));
        assert_eq!(map.get("x"), None);
        assert_eq!(Response::Null.get("a"), None);
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        for input in ["", "+PON", "$5\r\nabc", "*1\r\n"] {
            check(input, Err(io::ErrorKind::UnexpectedEof));
        }
        for input in [&"*1\r\n".repeat(200_000), &format!("+{}", "x".repeat(70_000))] {
            check(input, Err(io::ErrorKind::InvalidData));
        }
        check("$9000000000000000000\r\nx", Err(io::ErrorKind::UnexpectedEof));
        for input in ["\r\n", "HTTP/1.1 400 Bad Request\r\n", ":x\r\n", "$\r\n"] {
            check(input, Err(io::ErrorKind::InvalidData));
        }
    }
}
