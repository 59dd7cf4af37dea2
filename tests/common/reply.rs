//! A reply, as a server sent it or as a transcript wants it.

/// What came, or what is wanted; only a wanted reply has the holes that end the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    /// RESP2's second null, `*-1`. RESP3 has one only.
    NullArray,
    Array(Vec<Reply>),
    // RESP3 only; `compare` knows what RESP2 makes of them.
    /// As text: how a number is printed is part of the reply.
    Double(String),
    Boolean(bool),
    BigNumber(String),
    /// Three letters for the format, then the text.
    Verbatim(String, Vec<u8>),
    Map(Vec<(Reply, Reply)>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    // Holes.
    Unordered(Vec<Reply>),
    AnyInteger,
    IntegerWithin(i64, i64),
    AnyString,
    AnyDouble,
    AnyError,
    Any,
    /// A string that the glob matches.
    Match(Vec<u8>),
    /// An error that the glob matches.
    ErrorMatch(Vec<u8>),
    /// Whatever stood here the first time that the name was met.
    Named(String),
    /// No reply, for as long as it is decent to wait.
    Nothing,
    /// The end of the connection.
    Closed,
}

impl Reply {
    /// Reads one reply off the front of `input`: the reply and its length, or `None` if its end
    /// has yet to come.
    pub fn decode(input: &[u8]) -> Option<(Reply, usize)> {
        let mut decoder = Decoder { input, at: 0 };
        let reply = decoder.reply()?;
        Some((reply, decoder.at))
    }

    /// Whether it takes replies that have nothing but their type in common.
    pub fn is_wide(&self) -> bool {
        match self {
            Reply::AnyInteger | Reply::AnyString | Reply::AnyDouble => true,
            Reply::AnyError | Reply::Any => true,
            Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => {
                items.iter().any(Reply::is_wide)
            }
            Reply::Map(pairs) => pairs.iter().any(|(_, value)| value.is_wide()),
            _ => false,
        }
    }

    /// The text of a scalar, as a client would print it or send it back.
    pub fn text(&self) -> Option<Vec<u8>> {
        match self {
            Reply::Simple(text) | Reply::Bulk(text) | Reply::Verbatim(_, text) => {
                Some(text.clone())
            }
            Reply::Integer(number) => Some(number.to_string().into_bytes()),
            Reply::Double(text) | Reply::BigNumber(text) => Some(text.clone().into_bytes()),
            _ => None,
        }
    }
}

struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn reply(&mut self) -> Option<Reply> {
        let line = self.line()?;
        let (kind, rest) = line.split_first().expect("a reply starts with its kind");
        let text = || String::from_utf8(rest.to_vec()).expect("a header is ASCII");
        let number = || text().parse::<i64>().expect("a header ends in a number");
        Some(match kind {
            b'+' => Reply::Simple(rest.to_vec()),
            b'-' => Reply::Error(rest.to_vec()),
            b':' => Reply::Integer(number()),
            b'$' if number() < 0 => Reply::Null,
            b'$' => Reply::Bulk(self.bytes(number() as usize)?),
            b'*' if number() < 0 => Reply::NullArray,
            b'*' => Reply::Array(self.replies(number())?),
            b'_' => Reply::Null,
            b',' => Reply::Double(text()),
            b'#' => Reply::Boolean(rest == b"t"),
            b'(' => Reply::BigNumber(text()),
            b'=' => {
                let content = self.bytes(number() as usize)?;
                let format = String::from_utf8_lossy(&content[..3]).into_owned();
                Reply::Verbatim(format, content[4..].to_vec())
            }
            b'%' => {
                let flat = self.replies(number() * 2)?;
                Reply::Map(flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
            }
            b'~' => Reply::Set(self.replies(number())?),
            b'>' => Reply::Push(self.replies(number())?),
            _ => panic!("no reply starts like this: {}", line.escape_ascii()),
        })
    }

    fn replies(&mut self, count: i64) -> Option<Vec<Reply>> {
        (0..count).map(|_| self.reply()).collect()
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.input[self.at..];
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.at += end + 2;
        Some(rest[..end].to_vec())
    }

    fn bytes(&mut self, len: usize) -> Option<Vec<u8>> {
        let content = self.input.get(self.at..self.at + len + 2)?;
        assert!(content.ends_with(b"\r\n"), "a bulk string has another length than it says");
        self.at += len + 2;
        Some(content[..len].to_vec())
    }
}
