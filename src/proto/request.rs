//! Requests as bytes: arrays of bulk strings, or one line of words ("inline", as typed by hand).
//!
//! The parser keeps where it stopped, so that a large request that arrives in pieces is looked at
//! once; the bytes themselves stay with whoever reads the socket, at the front of its next input.

use super::error::Error;
use super::reply;
use crate::config::{ARGS_MAX, INLINE_BYTES_MAX, PREAUTH_ARGS_MAX, PREAUTH_BULK_BYTES_MAX};
use crate::util::number;
use crate::util::words;

/// What a look at the input found.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// Whole requests of this many bytes; the batch has them.
    Request(usize),
    /// Nothing to do in this many bytes: an empty line, or `*0`.
    Nothing(usize),
    /// The request's end has not arrived.
    Partial,
    /// The connection is to be closed: what follows cannot be read.
    Broken(Error),
}

/// How large a request may be. An unauthenticated client gets little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestLimits {
    /// Words.
    pub args_max: usize,
    /// Bytes of one word.
    pub bulk_bytes_max: usize,
    /// Whether the errors are those for clients who may send more.
    pub authenticated: bool,
}

impl RequestLimits {
    /// What a client may send that is known.
    pub fn authenticated(bulk_bytes_max: usize) -> Self {
        Self { args_max: ARGS_MAX, bulk_bytes_max, authenticated: true }
    }

    /// What a client may send before AUTH.
    pub fn unauthenticated() -> Self {
        Self {
            args_max: PREAUTH_ARGS_MAX,
            bulk_bytes_max: PREAUTH_BULK_BYTES_MAX,
            authenticated: false,
        }
    }
}

/// Appends a request as the parser reads it.
pub fn write(words: &[&[u8]], out: &mut Vec<u8>) {
    reply::header(out, b'*', words.len() as i64);
    words.iter().for_each(|word| reply::bulk(out, word));
}

/// Whole requests, one behind the other in the input.
#[derive(Debug, Default)]
pub struct Batch<'a> {
    /// Of all requests.
    words: Vec<&'a [u8]>,
    /// Of each request, where its words end, and its length in bytes.
    ends: Vec<(usize, usize)>,
    is_inline: bool,
}

/// Requests of a batch: enough to hide how slow memory is. What is found and then not run after
/// all, since its client parked, is to be found again.
pub const BATCH_LEN_MAX: usize = 16;

/// ... and bytes after which no other joins them: long requests have little to gain, and a turn may
/// end before it has run those that were found.
const BATCH_BYTES_MAX: usize = 1024;

impl<'a> Batch<'a> {
    /// How many requests.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether the batch is one request that came as a line of words.
    pub fn is_inline(&self) -> bool {
        self.is_inline
    }

    /// Each request's words, and its length in bytes.
    pub fn requests(&self) -> impl Iterator<Item = (&[&'a [u8]], usize)> {
        let mut start = 0;
        self.ends.iter().map(move |&(end, len)| {
            let words = &self.words[start..end];
            start = end;
            (words, len)
        })
    }

    /// An empty batch that keeps the memory under a new lifetime, if it is not much.
    pub fn recycle<'b>(mut self) -> Batch<'b> {
        if self.words.capacity() > KEPT_WORDS_MAX {
            return Batch::default();
        }
        self.words.clear();
        self.ends.clear();
        // Collecting in place keeps the allocation; there is no element to convert.
        let none = |_: &[u8]| -> &'b [u8] { unreachable!("the list is empty") };
        let words = self.words.into_iter().map(none).collect();
        Batch { words, ends: self.ends, is_inline: false }
    }

    /// Adds the array at the front of `input` and returns its length, if it is whole and has short
    /// headers, as nearly all. None adds nothing, and says nothing about what is there.
    #[inline]
    fn add_whole(&mut self, input: &'a [u8], limits: RequestLimits) -> Option<usize> {
        let start = self.words.len();
        let len = self.add_words(input, limits);
        match len {
            Some(len) => self.ends.push((self.words.len(), len)),
            None => self.words.truncate(start),
        }
        len
    }

    #[inline]
    fn add_words(&mut self, input: &'a [u8], limits: RequestLimits) -> Option<usize> {
        let (count, mut rest) = short_header(input, b'*')?;
        if count == 0 || count > limits.args_max {
            return None;
        }
        for _ in 0..count {
            let (len, behind) = short_header(rest, b'$')?;
            let (word, behind) = behind.split_at_checked(len)?;
            if len > limits.bulk_bytes_max {
                return None;
            }
            // The two bytes behind a word are not looked at, as in Redis.
            rest = behind.get(2..)?;
            self.words.push(word);
        }
        Some(input.len() - rest.len())
    }
}

/// The state between two looks at a connection's input.
#[derive(Debug, Default)]
pub struct Parser {
    /// The words found so far, as offsets from the request's first byte.
    spans: Vec<(usize, usize)>,
    /// Where to go on.
    at: usize,
    /// How many words of an array are still to come; 0 between requests.
    missing: usize,
    /// The length of the bulk string whose header has been read.
    bulk: Option<usize>,
    /// An inline request's words with quotes and escapes resolved; `spans` point here then.
    inline: Option<Vec<u8>>,
}

/// A list of words larger than this is given back once the request has been dealt with: one of a
/// million would hold 32 MB for good.
const KEPT_WORDS_MAX: usize = 1024;

impl Parser {
    /// Looks at `input`, whose first byte is the first that no request has claimed yet, and puts
    /// the whole requests at its front into the empty `batch`: several arrays, or one line. Those
    /// that are not run are found again.
    pub fn find<'a>(
        &'a mut self,
        input: &'a [u8],
        limits: RequestLimits,
        batch: &mut Batch<'a>,
    ) -> Parsed {
        let mut used = 0;
        if self.is_between() {
            while batch.len() < BATCH_LEN_MAX && used < BATCH_BYTES_MAX {
                let Some(len) = batch.add_whole(&input[used..], limits) else { break };
                used += len;
            }
        }
        if used > 0 { Parsed::Request(used) } else { self.find_odd(input, limits, batch) }
    }

    /// As `find` for one request, of any kind: a line, one that comes in parts, or none at all.
    #[cold]
    fn find_odd<'a>(
        &'a mut self,
        input: &'a [u8],
        limits: RequestLimits,
        batch: &mut Batch<'a>,
    ) -> Parsed {
        let end = self.parse(input, limits);
        if let Parsed::Request(len) = end {
            batch.is_inline = self.inline.is_some();
            let text = self.inline.as_deref().unwrap_or(input);
            batch.words.extend(self.spans.iter().map(|&(start, end)| &text[start..end]));
            batch.ends.push((batch.words.len(), len));
            trim(&mut self.spans);
        }
        end
    }

    /// Bytes at the front of the input that need no second look.
    pub fn parsed_len(&self) -> usize {
        self.at
    }

    /// Bytes of the words of a request of which a part has come.
    pub fn words_len(&self) -> usize {
        self.spans.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether the next look begins anew anyway, so that the parser may serve somebody else.
    pub fn is_between(&self) -> bool {
        self.missing == 0
    }

    /// As `find_odd`, but the words are `spans`.
    fn parse(&mut self, input: &[u8], limits: RequestLimits) -> Parsed {
        if self.missing == 0 {
            self.reset();
            match input.first() {
                None => return Parsed::Partial,
                Some(b'*') => match self.array_header(input, limits) {
                    Ok(Some(())) => {}
                    Ok(None) => return Parsed::Partial,
                    Err(error) => return Parsed::Broken(error),
                },
                Some(_) => return self.inline(input),
            }
            if self.missing == 0 {
                return Parsed::Nothing(self.at);
            }
        }
        match self.bulks(input, limits) {
            Ok(true) => Parsed::Request(self.at),
            Ok(false) => Parsed::Partial,
            Err(error) => Parsed::Broken(error),
        }
    }

    fn reset(&mut self) {
        self.spans.clear();
        trim(&mut self.spans);
        self.at = 0;
        self.bulk = None;
        self.inline = None;
    }

    fn array_header(&mut self, input: &[u8], limits: RequestLimits) -> Result<Option<()>, Error> {
        let Some(end) = line_end(input, "mbulk count")? else {
            return Ok(None);
        };
        let count = number::parse_i64(&input[1..end]);
        let count = count.filter(|&count| count <= ARGS_MAX as i64);
        let Some(count) = count else {
            return Err(broken("invalid multibulk length"));
        };
        if count > limits.args_max as i64 && !limits.authenticated {
            return Err(broken("unauthenticated multibulk length"));
        }
        self.missing = count.max(0) as usize;
        self.at = end + 2;
        Ok(Some(()))
    }

    /// Reads on through the array; true once it is whole.
    fn bulks(&mut self, input: &[u8], limits: RequestLimits) -> Result<bool, Error> {
        while self.missing > 0 {
            let len = match self.bulk {
                Some(len) => len,
                None => {
                    let rest = &input[self.at.min(input.len())..];
                    let Some(end) = line_end(rest, "bulk count")? else {
                        return Ok(false);
                    };
                    if rest[0] != b'$' {
                        let start = "ERR Protocol error: expected '$', got '";
                        return Err(Error::quoting(start, &rest[..1], "'"));
                    }
                    let len = number::parse_i64(&rest[1..end]).filter(|&len| len >= 0);
                    let len = match len {
                        Some(len) if len as usize <= limits.bulk_bytes_max => len as usize,
                        Some(_) if !limits.authenticated => {
                            return Err(broken("unauthenticated bulk length"));
                        }
                        _ => return Err(broken("invalid bulk length")),
                    };
                    self.at += end + 2;
                    self.bulk = Some(len);
                    len
                }
            };
            // The two bytes behind it are not looked at, as in Redis.
            if input.len() < self.at + len + 2 {
                return Ok(false);
            }
            self.spans.push((self.at, self.at + len));
            self.at += len + 2;
            self.bulk = None;
            self.missing -= 1;
        }
        Ok(true)
    }

    fn inline(&mut self, input: &[u8]) -> Parsed {
        let Some(end) = end_of_line(input, b'\n') else {
            return if input.len() > INLINE_BYTES_MAX {
                Parsed::Broken(broken("too big inline request"))
            } else {
                Parsed::Partial
            };
        };
        let line = &input[..end];
        let Some((bytes, spans)) = words::split(line.strip_suffix(b"\r").unwrap_or(line)) else {
            return Parsed::Broken(broken("unbalanced quotes in request"));
        };
        if spans.is_empty() {
            return Parsed::Nothing(end + 1);
        }
        self.spans = spans;
        self.inline = Some(bytes);
        Parsed::Request(end + 1)
    }
}

/// Gives a large list back: what it said is needed no more.
fn trim(spans: &mut Vec<(usize, usize)>) {
    if spans.capacity() > KEPT_WORDS_MAX {
        *spans = Vec::new();
    }
}

fn broken(what: &str) -> Error {
    Error::new(format!("ERR Protocol error: {what}"))
}

/// A header of up to five digits, as nearly all are: its number, and what is behind it. What is
/// longer or odd is left to `line_end` and `parse_i64`, which search twice.
#[inline]
fn short_header(line: &[u8], kind: u8) -> Option<(usize, &[u8])> {
    let digit = |byte: u8| usize::from(byte - b'0');
    let line = line.strip_prefix(&[kind])?;
    match *line {
        [one @ b'0'..=b'9', b'\r', _, ref rest @ ..] => Some((digit(one), rest)),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9', b'\r', _, ref rest @ ..] => {
            Some((10 * digit(ten) + digit(one), rest))
        }
        [b'1'..=b'9', ..] => {
            let len = line.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
            let number = line[..len].iter().fold(0, |number, &byte| 10 * number + digit(byte));
            let rest = line[len..].strip_prefix(b"\r")?.get(1..)?;
            Some((number, rest))
        }
        _ => None,
    }
}

/// Where the line's `\r` stands, if the line is whole.
fn line_end(input: &[u8], what: &str) -> Result<Option<usize>, Error> {
    match end_of_line(input, b'\r') {
        Some(end) if end + 1 < input.len() => Ok(Some(end)),
        Some(_) => Ok(None),
        None if input.len() > INLINE_BYTES_MAX => Err(broken(&format!("too big {what} string"))),
        None => Ok(None),
    }
}

/// Where `end` stands. Redis searches as in a C string, so a zero before it hides it for good.
fn end_of_line(input: &[u8], end: u8) -> Option<usize> {
    memchr::memchr2(end, 0, input).filter(|&at| input[at] == end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits =
        RequestLimits { args_max: 100, bulk_bytes_max: 1000, authenticated: true };

    /// Reads all of `input` as it would arrive in one piece, and byte by byte.
    fn check(input: &[u8], expect: &[&[&[u8]]]) {
        for piece in [input.len(), 1] {
            let (mut parser, mut start, mut end) = (Parser::default(), 0, 0);
            let mut found: Vec<Vec<Vec<u8>>> = Vec::new();
            while end < input.len() {
                end = (end + piece).min(input.len());
                loop {
                    let mut batch = Batch::default();
                    match parser.find(&input[start..end], LIMITS, &mut batch) {
                        Parsed::Request(len) => {
                            let to_vec =
                                |words: &[&[u8]]| words.iter().map(|it| it.to_vec()).collect();
                            found.extend(batch.requests().map(|(words, _)| to_vec(words)));
                            start += len;
                        }
                        Parsed::Nothing(len) => start += len,
                        Parsed::Partial => break,
                        Parsed::Broken(error) => panic!("{error}"),
                    }
                }
            }
            assert_eq!(found, expect, "in pieces of {piece}");
            assert_eq!(start, input.len());
        }
    }

    #[test]
    fn arrays_and_lines() {
        check(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", &[&[b"GET", b"k"]]);
        check(b"*1\r\n$0\r\n\r\n*1\r\n$4\r\n\r\n\r\n\r\n", &[&[b""], &[b"\r\n\r\n"]]);
        check(
            b"PING\r\n\r\n  set  a \"b c\\x41\\n\" '\\'' \n",
            &[&[b"PING"], &[b"set", b"a", b"b cA\n", b"'"]],
        );
        check(b"*0\r\n*-1\r\nPING\n", &[&[b"PING"]]);
        check(b"get \"\"\r\n", &[&[b"get", b""]]);
    }

    #[test]
    fn a_zero_hides_the_end_of_its_line() {
        for input in [&b"PING\0\r\nPING\r\n"[..], b"*1\0\r\n$4\r\nPING\r\n"] {
            assert_eq!(Parser::default().parse(input, LIMITS), Parsed::Partial);
        }
        check(b"*1\r\n$3\r\na\0b\r\n", &[&[b"a\0b"]]);
    }

    #[test]
    fn what_was_found_and_not_run_is_found_again() {
        let input =
            [&b"*1\r\n$1\r\na\r\n".repeat(BATCH_LEN_MAX - 1)[..], b"*1\r\n$2\r\nb"].concat();
        let mut parser = Parser::default();
        let mut batch = Batch::default();
        let request_len = 11;
        let whole_len = request_len * (BATCH_LEN_MAX - 1);
        assert_eq!(parser.find(&input, LIMITS, &mut batch), Parsed::Request(whole_len));
        assert_eq!(batch.requests().count(), BATCH_LEN_MAX - 1);
        // All but the first wait, and the last has arrived meanwhile.
        let rest = [&input[request_len..], b"c\r\n"].concat();
        let mut batch = Batch::default();
        assert_eq!(parser.find(&rest, LIMITS, &mut batch), Parsed::Request(rest.len()));
        let last: &[&[u8]] = &[b"bc"];
        assert_eq!(batch.requests().last(), Some((last, 12)));
    }

    #[test]
    fn the_longest_request_is_waited_for() {
        assert_eq!(Parser::default().parse(b"*2147483647\r\n", LIMITS), Parsed::Partial);
    }

    fn check_broken(input: &[u8], limits: RequestLimits, expect: &str) {
        match Parser::default().parse(input, limits) {
            Parsed::Broken(error) => {
                assert_eq!(error, broken(expect))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_cannot_be_read() {
        let preauth = RequestLimits::unauthenticated();
        check_broken(b"*a\r\n", LIMITS, "invalid multibulk length");
        check_broken(b"*2147483648\r\n", LIMITS, "invalid multibulk length");
        check_broken(b"*1\r\n:1\r\n", LIMITS, "expected '$', got ':'");
        check_broken(b"*1\r\n$-1\r\n", LIMITS, "invalid bulk length");
        check_broken(b"*1\r\n$01\r\n", LIMITS, "invalid bulk length");
        check_broken(b"*01\r\n", LIMITS, "invalid multibulk length");
        check_broken(b"*1\r\n$1001\r\n", LIMITS, "invalid bulk length");
        check_broken(b"*11\r\n", preauth, "unauthenticated multibulk length");
        check_broken(b"*1\r\n$16385\r\n", preauth, "unauthenticated bulk length");
        check_broken(b"get \"a\n", LIMITS, "unbalanced quotes in request");
        check_broken(b"get \"a\"b\n", LIMITS, "unbalanced quotes in request");
        check_broken(&[b'a'; 70_000], LIMITS, "too big inline request");
        check_broken(&[b'*'; 70_000], LIMITS, "too big mbulk count string");
        check_broken(&[&[0; 70_000][..], b"\r\n"].concat(), LIMITS, "too big inline request");
        check_broken(&[&[b'*'][..], &[0; 70_000]].concat(), LIMITS, "too big mbulk count string");
    }
}
