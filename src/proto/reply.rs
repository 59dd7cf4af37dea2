//! The reply writer. Handlers speak RESP3 meaning (map, set, double, boolean, null); lowering to
//! RESP2 happens here once, for sockets, scripts and other transports alike.

use super::error::Error;
use crate::util::number;

/// The version of the protocol that a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every client speaks until HELLO: no maps, sets, doubles or booleans.
    #[default]
    Resp2,
    /// With types for each of them, and pushes out of turn.
    Resp3,
}

/// Where values go that are not written as RESP: the Lua stack, a JSON body. It sees them already
/// lowered to the protocol of the reply; an aggregate's elements follow its announcement.
pub trait Visitor {
    /// A short text that is not data.
    fn status(&mut self, text: &[u8]);
    /// A refusal, its code first.
    fn error(&mut self, text: &[u8]);
    /// An integer.
    fn integer(&mut self, value: i64);
    /// Any bytes.
    fn bulk(&mut self, bytes: &[u8]);
    /// The absent value: `null_array` where RESP2 would say `*-1`, which scripts cannot tell apart.
    fn null(&mut self);
    /// The absent array of RESP2.
    fn null_array(&mut self) {
        self.null();
    }
    /// So many values follow.
    fn array(&mut self, count: usize);

    // What only RESP3 has: where nothing else is said, as RESP2 would have it.

    /// A double. As RESP2: its text.
    fn double(&mut self, value: f64) {
        self.bulk(&number::format_double(value));
    }
    /// A boolean. As RESP2: 1 or 0.
    fn boolean(&mut self, value: bool) {
        self.integer(i64::from(value));
    }
    /// An integer of any size, as text.
    fn big_number(&mut self, digits: &[u8]) {
        self.bulk(digits);
    }
    /// `format` is three letters, such as `txt`.
    fn verbatim(&mut self, _format: &[u8], bytes: &[u8]) {
        self.bulk(bytes);
    }
    /// So many pairs of values follow. As RESP2: an array of twice as many.
    fn map(&mut self, pairs: usize) {
        self.array(pairs * 2);
    }
    /// So many values follow, none of them twice. As RESP2: an array.
    fn set(&mut self, count: usize) {
        self.array(count);
    }

    /// An array whose count becomes known at `close`. Only one is open at a time per level.
    fn open(&mut self) -> usize;
    /// Says the count of the array that `open` gave this array.
    fn close(&mut self, array: usize, count: usize);
    /// Where the next value would begin.
    fn mark(&mut self) -> usize;
    /// Takes back what was written since.
    fn rollback(&mut self, mark: usize);
    /// Whether what is still to come would not be kept: who makes up values without an end asks.
    fn is_full(&self) -> bool {
        false
    }
}

/// Appends values to the caller's answer. Nothing is built first, nothing is parsed back.
pub struct Reply<'a> {
    out: Out<'a>,
    protocol: Protocol,
    /// The buffer's length beyond which the reply is lost.
    len_max: usize,
}

enum Out<'a> {
    /// RESP into the connection's output buffer: concrete, inlined, no indirect call.
    Bytes(&'a mut Vec<u8>),
    /// Lua pushes onto its stack, HTTP appends JSON to the body: one indirect call per value.
    Visit(&'a mut dyn Visitor),
}

/// An array that waits for its count.
#[must_use]
pub struct OpenArray(usize);

/// A place to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark(usize);

impl<'a> Reply<'a> {
    /// Appends RESP, without a bound.
    pub fn bytes(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self::bytes_within(out, protocol, u64::MAX)
    }

    /// Once the reply is longer than `bytes_max`, what is still written goes nowhere, and `is_over`
    /// says so. What has been written stays.
    pub fn bytes_within(out: &'a mut Vec<u8>, protocol: Protocol, bytes_max: u64) -> Self {
        let len_max = (out.len() as u64).saturating_add(bytes_max) as usize;
        Self { out: Out::Bytes(out), protocol, len_max }
    }

    /// Tells a visitor, which has its own bound.
    pub fn visit(visitor: &'a mut dyn Visitor, protocol: Protocol) -> Self {
        Self { out: Out::Visit(visitor), protocol, len_max: usize::MAX }
    }

    /// Whether the reply has outgrown what its reader is given, so that nobody will see it: a loop
    /// that makes up values without an end may stop.
    pub fn is_over(&self) -> bool {
        match &self.out {
            Out::Bytes(out) => out.len() > self.len_max,
            Out::Visit(visitor) => visitor.is_full(),
        }
    }

    /// Ends the reply if it is over: before each value that a long one may consist of.
    #[inline]
    fn look_at_length(&mut self) {
        if let Out::Bytes(out) = &self.out
            && out.len() > self.len_max
        {
            self.out = Out::Visit(Box::leak(Box::new(Nowhere)));
        }
    }

    /// The version that values are lowered to.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// HELLO and `redis.setresp` change it in the middle of a reply.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The status OK.
    #[inline]
    pub fn ok(&mut self) {
        match &mut self.out {
            Out::Bytes(out) => out.extend_from_slice(b"+OK\r\n"),
            Out::Visit(visitor) => visitor.status(b"OK"),
        }
    }

    /// A short text that is not data: `OK`, `QUEUED`, `string`.
    pub fn status(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match &mut self.out {
            Out::Bytes(out) => line(out, b'+', text),
            Out::Visit(visitor) => visitor.status(text),
        }
    }

    /// An error as an element, inside EXEC; a handler's own refusal is its `Err`.
    #[cold]
    pub fn error(&mut self, error: &Error) {
        self.error_text(error.text());
    }

    /// As `error`, for a text with its code in front.
    pub fn error_text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match &mut self.out {
            Out::Bytes(out) => line(out, b'-', text),
            Out::Visit(visitor) => visitor.error(text),
        }
    }

    /// An integer.
    #[inline]
    pub fn int(&mut self, value: i64) {
        self.look_at_length();
        match &mut self.out {
            Out::Bytes(out) => header(out, b':', value),
            Out::Visit(visitor) => visitor.integer(value),
        }
    }

    /// How many there are.
    pub fn count(&mut self, count: usize) {
        self.int(count as i64);
    }

    /// 1 or 0 in both protocols; where RESP3 has a true boolean, see `boolean`.
    pub fn flag(&mut self, value: bool) {
        self.int(i64::from(value));
    }

    /// Any bytes.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.look_at_length();
        match &mut self.out {
            Out::Bytes(out) => bulk(out, bytes),
            Out::Visit(visitor) => visitor.bulk(bytes),
        }
    }

    /// Bytes, or the null of `null`.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// An integer as text.
    pub fn bulk_int(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    /// `$-1` in RESP2, `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        self.look_at_length();
        match &mut self.out {
            Out::Bytes(out) => out.extend_from_slice(match self.protocol {
                Protocol::Resp2 => b"$-1\r\n",
                Protocol::Resp3 => b"_\r\n",
            }),
            Out::Visit(visitor) => visitor.null(),
        }
    }

    /// `*-1` in RESP2, `_` in RESP3: where an array was expected.
    pub fn null_array(&mut self) {
        match &mut self.out {
            Out::Bytes(out) => out.extend_from_slice(match self.protocol {
                Protocol::Resp2 => b"*-1\r\n",
                Protocol::Resp3 => b"_\r\n",
            }),
            Out::Visit(visitor) => visitor.null_array(),
        }
    }

    /// As `double`, with seventeen digits behind the point and without the zeros at their end.
    pub fn long_double(&mut self, value: f64) {
        self.look_at_length();
        let text = format!("{value:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.bulk(text.as_bytes()),
            (Protocol::Resp3, Out::Bytes(out)) => line(out, b',', text.as_bytes()),
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.double(value),
        }
    }

    /// A bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        self.look_at_length();
        let text = number::format_double(value);
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.bulk(&text),
            (Protocol::Resp3, Out::Bytes(out)) => line(out, b',', &text),
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.double(value),
        }
    }

    /// 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.flag(value),
            (Protocol::Resp3, Out::Bytes(out)) => {
                out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" });
            }
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.boolean(value),
        }
    }

    /// A bulk string in RESP2.
    pub fn big_number(&mut self, digits: &[u8]) {
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.bulk(digits),
            (Protocol::Resp3, Out::Bytes(out)) => line(out, b'(', digits),
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.big_number(digits),
        }
    }

    /// Text for people, whose `format` is three letters; a bulk string in RESP2.
    pub fn verbatim(&mut self, format: impl AsRef<[u8]>, bytes: &[u8]) {
        let format = format.as_ref();
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.bulk(bytes),
            (Protocol::Resp3, Out::Bytes(out)) => {
                header(out, b'=', (bytes.len() + 4) as i64);
                out.extend_from_slice(format);
                out.push(b':');
                out.extend_from_slice(bytes);
                out.extend_from_slice(b"\r\n");
            }
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.verbatim(format, bytes),
        }
    }

    /// Announces `count` elements.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.look_at_length();
        match &mut self.out {
            Out::Bytes(out) => header(out, b'*', count as i64),
            Out::Visit(visitor) => visitor.array(count),
        }
    }

    /// RESP2 has no maps: `pairs` travel as an array twice as long. Only this function knows.
    pub fn map(&mut self, pairs: usize) {
        self.look_at_length();
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.array(pairs * 2),
            (Protocol::Resp3, Out::Bytes(out)) => header(out, b'%', pairs as i64),
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.map(pairs),
        }
    }

    /// An array in RESP2.
    pub fn set(&mut self, count: usize) {
        match (self.protocol, &mut self.out) {
            (Protocol::Resp2, _) => self.array(count),
            (Protocol::Resp3, Out::Bytes(out)) => header(out, b'~', count as i64),
            (Protocol::Resp3, Out::Visit(visitor)) => visitor.set(count),
        }
    }

    /// Announces attributes of the value that follows them. False where there are none, as in
    /// RESP2: the value follows at once.
    pub fn attributes(&mut self, pairs: usize) -> bool {
        match (self.protocol, &mut self.out) {
            (Protocol::Resp3, Out::Bytes(out)) => header(out, b'|', pairs as i64),
            _ => return false,
        }
        true
    }

    /// A message that answers no request; an array in RESP2.
    pub fn push(&mut self, count: usize) {
        match (self.protocol, &mut self.out) {
            (Protocol::Resp3, Out::Bytes(out)) => header(out, b'>', count as i64),
            _ => self.array(count),
        }
    }

    /// An array whose count is not yet known; `close` says it. Costs a move of its elements by a
    /// few bytes, so count first where counting is cheap.
    pub fn array_later(&mut self) -> OpenArray {
        match &mut self.out {
            Out::Bytes(out) => OpenArray(out.len()),
            Out::Visit(visitor) => OpenArray(visitor.open()),
        }
    }

    /// Says how many values have followed `array_later`.
    pub fn close(&mut self, array: OpenArray, count: usize) {
        match &mut self.out {
            Out::Bytes(out) => {
                let mut text = Vec::with_capacity(24);
                header(&mut text, b'*', count as i64);
                out.splice(array.0..array.0, text);
            }
            Out::Visit(visitor) => visitor.close(array.0, count),
        }
    }

    /// Where the next value will stand.
    pub fn mark(&mut self) -> Mark {
        match &mut self.out {
            Out::Bytes(out) => Mark(out.len()),
            Out::Visit(visitor) => Mark(visitor.mark()),
        }
    }

    /// Takes back all values since the mark, which is of this reply.
    pub fn rollback(&mut self, mark: Mark) {
        match &mut self.out {
            Out::Bytes(out) => out.truncate(mark.0),
            Out::Visit(visitor) => visitor.rollback(mark.0),
        }
    }

    /// Several bulk strings as one array.
    pub fn bulks<T: AsRef<[u8]>>(&mut self, texts: &[T]) {
        self.array(texts.len());
        for text in texts {
            self.bulk(text.as_ref());
        }
    }
}

/// Where a reply goes that is over. It takes no memory, so that one may be leaked for each.
struct Nowhere;

impl Visitor for Nowhere {
    fn status(&mut self, _: &[u8]) {}
    fn error(&mut self, _: &[u8]) {}
    fn integer(&mut self, _: i64) {}
    fn bulk(&mut self, _: &[u8]) {}
    fn null(&mut self) {}
    fn array(&mut self, _: usize) {}
    fn open(&mut self) -> usize {
        0
    }
    fn close(&mut self, _: usize, _: usize) {}
    fn mark(&mut self) -> usize {
        0
    }
    fn rollback(&mut self, _: usize) {}
    fn is_full(&self) -> bool {
        true
    }
}

/// A line may not contain line ends: an error that quotes a request would otherwise forge replies.
fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[inline]
pub(super) fn header(out: &mut Vec<u8>, kind: u8, value: i64) {
    match u8::try_from(value) {
        // Most are this short.
        Ok(digit @ 0..=9) => out.extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']),
        _ => long_header(out, kind, value),
    }
}

#[inline]
fn long_header(out: &mut Vec<u8>, kind: u8, value: i64) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[inline]
pub(super) fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    // With the longest header there is.
    out.reserve(bytes.len() + 24);
    header(out, b'$', bytes.len() as i64);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(protocol: Protocol, write: impl FnOnce(&mut Reply), expect: &str) {
        let mut out = Vec::new();
        write(&mut Reply::bytes(&mut out, protocol));
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn resp3_meaning_is_lowered_once() {
        let all = |reply: &mut Reply| {
            reply.map(1);
            reply.double(1.5);
            reply.boolean(true);
            reply.set(1);
            reply.null();
            reply.null_array();
            reply.verbatim("txt", b"hi");
        };
        check(Protocol::Resp2, all, "*2\r\n$3\r\n1.5\r\n:1\r\n*1\r\n$-1\r\n*-1\r\n$2\r\nhi\r\n");
        check(Protocol::Resp3, all, "%1\r\n,1.5\r\n#t\r\n~1\r\n_\r\n_\r\n=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn an_array_may_learn_its_count_late() {
        let late = |reply: &mut Reply| {
            let array = reply.array_later();
            reply.int(1);
            reply.int(2);
            reply.close(array, 2);
        };
        check(Protocol::Resp2, late, "*2\r\n:1\r\n:2\r\n");
    }

    #[test]
    fn a_line_cannot_forge_a_second_one() {
        check(Protocol::Resp2, |reply| reply.error_text("ERR a\r\n+OK"), "-ERR a  +OK\r\n");
    }
}
