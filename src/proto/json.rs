//! Replies as JSON, in the shape of Upstash's REST API. That is `{"result":…}` or `{"error":…}`
//! around values that look as in RESP2. Values come lowered to RESP2, so maps are flat and doubles
//! are strings; what only RESP3 has is written all the same, should a reply ever ask for it.

use super::outbox::Writer;
use super::reply::Visitor;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// How a body of JSON is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonStyle {
    /// Strings in base64, as the clients of Upstash ask for; errors and the answer `OK` are plain.
    pub base64: bool,
    /// The reply is EXEC's: the envelopes stand around the elements, not around the whole.
    pub transaction: bool,
}

/// Appends replies as JSON. An array knows how many elements it still waits for, so that a reply
/// may be written in pieces, as EXEC's is when a script in it is suspended.
#[derive(Debug)]
pub struct Json {
    out: Vec<u8>,
    style: JsonStyle,
    open: Vec<Level>,
    /// The buffer's length beyond which nothing is kept: the answer is lost, and need not be JSON.
    len_max: usize,
}

/// An array under way.
#[derive(Debug)]
struct Level {
    start: usize,
    /// Elements to come; `usize::MAX` where nobody knows yet.
    left: usize,
    /// Where its last whole element starts.
    last: usize,
}

/// Most answers fit: their buffer is made once.
const USUAL_BYTES: usize = 128;

impl Json {
    /// An answer with nothing in it yet.
    pub fn new(style: JsonStyle) -> Self {
        let out = Vec::with_capacity(USUAL_BYTES);
        Self { out, style, open: Vec::new(), len_max: usize::MAX }
    }

    fn is_enveloped(&self) -> bool {
        self.open.len() == usize::from(self.style.transaction)
    }

    /// What stands before a value. Returns where the value starts.
    fn begin(&mut self, key: &str) -> usize {
        let start = self.out.len();
        if !self.open.is_empty() && self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
        if self.is_enveloped() || (key == ERROR && self.open.is_empty()) {
            self.out.extend_from_slice(b"{\"");
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
        }
        start
    }

    /// What stands behind a value, and behind each array that it completes.
    fn end(&mut self, mut start: usize) {
        loop {
            if self.is_enveloped() {
                self.out.push(b'}');
            }
            let Some(level) = self.open.last_mut() else { return };
            level.last = start;
            level.left -= 1;
            if level.left > 0 {
                return;
            }
            start = level.start;
            self.open.pop();
            self.out.push(b']');
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        if self.style.base64 {
            base64(bytes, &mut self.out);
        } else {
            quoted(bytes, &mut self.out);
        }
    }

    fn plain(&mut self, text: &[u8]) {
        if self.is_full() {
            return;
        }
        let start = self.begin(RESULT);
        self.out.extend_from_slice(text);
        self.end(start);
    }
}

const RESULT: &str = "result";
const ERROR: &str = "error";

/// A JSON string. JSON is UTF-8: bytes that are not come out as U+FFFD.
pub fn quoted(bytes: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(bytes);
    serde_json::to_writer(out, &*text).expect("a string is JSON, and memory takes it");
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("four letters for three bytes");
    out.push(b'"');
}

impl Writer for Json {
    fn written(&self) -> &Vec<u8> {
        &self.out
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Arrays under way know where they begin, and an answer in JSON is sent whole.
    fn is_between(&self) -> bool {
        false
    }

    fn bound(&mut self, len_max: usize) {
        self.len_max = len_max;
    }
}

impl Visitor for Json {
    fn status(&mut self, text: &[u8]) {
        if text == b"OK" && self.is_enveloped() {
            return self.plain(b"\"OK\"");
        }
        self.bulk(text);
    }

    fn error(&mut self, text: &[u8]) {
        if self.is_full() {
            return;
        }
        let is_whole = self.open.is_empty() && !self.is_enveloped();
        let start = self.begin(ERROR);
        quoted(text, &mut self.out);
        if is_whole {
            self.out.push(b'}');
        }
        self.end(start);
    }

    fn integer(&mut self, value: i64) {
        self.plain(itoa::Buffer::new().format(value).as_bytes());
    }

    fn bulk(&mut self, bytes: &[u8]) {
        if self.is_full() {
            return;
        }
        let start = self.begin(RESULT);
        self.string(bytes);
        self.end(start);
    }

    fn null(&mut self) {
        self.plain(b"null");
    }

    fn array(&mut self, count: usize) {
        if self.is_full() {
            return;
        }
        let start = self.begin(RESULT);
        self.out.push(b'[');
        if count == 0 {
            self.out.push(b']');
            self.end(start);
        } else {
            self.open.push(Level { start, left: count, last: start });
        }
    }

    fn open(&mut self) -> usize {
        self.array(usize::MAX);
        self.open.len()
    }

    fn close(&mut self, slot: usize, _count: usize) {
        if self.is_full() {
            return;
        }
        assert_eq!(self.open.len(), slot, "an array is closed while another is open in it");
        if let Some(level) = self.open.pop() {
            self.out.push(b']');
            self.end(level.start);
        }
    }

    fn is_full(&self) -> bool {
        self.out.len() > self.len_max
    }

    fn mark(&mut self) -> usize {
        self.out.len()
    }

    fn rollback(&mut self, mark: usize) {
        self.out.truncate(mark);
        self.open.retain(|level| level.start < mark);
        if let Some(level) = self.open.last_mut().filter(|level| level.last >= mark) {
            level.left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Outbox, Reply};

    const PLAIN: JsonStyle = JsonStyle { base64: false, transaction: false };
    const BASE64: JsonStyle = JsonStyle { base64: true, ..PLAIN };
    const EXEC: JsonStyle = JsonStyle { transaction: true, ..PLAIN };

    fn check(style: JsonStyle, write: impl FnOnce(&mut Reply), expect: &str) {
        let mut outbox = Outbox::json(style);
        write(&mut outbox.reply());
        assert_eq!(String::from_utf8_lossy(outbox.pending()), expect);
    }

    #[test]
    fn values_look_as_in_resp2() {
        check(PLAIN, |reply| reply.int(-7), r#"{"result":-7}"#);
        check(PLAIN, |reply| reply.null(), r#"{"result":null}"#);
        check(PLAIN, |reply| reply.double(0.1), r#"{"result":"0.1"}"#);
        check(PLAIN, |reply| reply.boolean(true), r#"{"result":1}"#);
        check(PLAIN, |reply| reply.array(0), r#"{"result":[]}"#);
        check(PLAIN, |reply| reply.error_text("ERR no \"x\""), r#"{"error":"ERR no \"x\""}"#);
        let nested = |reply: &mut Reply| {
            reply.array(2);
            reply.map(1);
            reply.bulk(b"a\n");
            reply.array(0);
            reply.status("x");
        };
        check(PLAIN, nested, r#"{"result":[["a\n",[]],"x"]}"#);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        check(
            PLAIN,
            |reply| reply.bulk(b"a\xff\xfeb\0"),
            "{\"result\":\"a\u{fffd}\u{fffd}b\\u0000\"}",
        );
    }

    #[test]
    fn base64_spares_the_answer_ok_alone() {
        check(BASE64, |reply| reply.ok(), r#"{"result":"OK"}"#);
        check(BASE64, |reply| reply.bulk(b"OK"), r#"{"result":"T0s="}"#);
        check(BASE64, |reply| reply.status("PONG"), r#"{"result":"UE9ORw=="}"#);
        let inside = |reply: &mut Reply| {
            reply.array(3);
            reply.ok();
            reply.int(1);
            reply.bulk(b"");
        };
        check(BASE64, inside, r#"{"result":["T0s=",1,""]}"#);
    }

    #[test]
    fn a_transaction_has_an_envelope_around_each_element() {
        let replies = |reply: &mut Reply| {
            reply.array(3);
            reply.ok();
            reply.error_text("WRONGTYPE no");
            reply.array(1);
            reply.int(1);
        };
        let expect = r#"[{"result":"OK"},{"error":"WRONGTYPE no"},{"result":[1]}]"#;
        check(EXEC, replies, expect);
        check(EXEC, |reply| reply.error_text("EXECABORT no"), r#"{"error":"EXECABORT no"}"#);
        check(EXEC, |reply| reply.array(0), "[]");
    }

    #[test]
    fn an_array_may_learn_its_count_late() {
        let late = |reply: &mut Reply| {
            reply.array(2);
            let slot = reply.array_later();
            reply.int(1);
            reply.int(2);
            reply.close(slot, 2);
            reply.int(3);
        };
        check(PLAIN, late, r#"{"result":[[1,2],3]}"#);
    }

    /// Not more than it may hold and one value; and it can be used again once that is taken back.
    #[test]
    fn an_answer_that_is_too_long_takes_no_memory() {
        let mut outbox = Outbox::json(EXEC);
        outbox.raw(b"[");
        let start = outbox.position();
        for round in 0..3 {
            outbox.bound(1000);
            outbox.reply().array(1000);
            for _ in 0..1000 {
                let mut reply = outbox.reply();
                reply.array(2);
                reply.bulk(&[b'x'; 100]);
                let slot = reply.array_later();
                reply.int(1);
                reply.error_text("ERR no");
                reply.close(slot, 2);
            }
            assert!((1001..1200).contains(&outbox.position()), "round {round}: {outbox:?}");
            outbox.truncate(start);
        }
        outbox.bound(1000);
        outbox.reply().array(1);
        outbox.reply().int(1);
        assert_eq!(outbox.take(), br#"[[{"result":1}]"#);
    }

    #[test]
    fn what_is_taken_back_leaves_the_count_right() {
        let retried = |reply: &mut Reply| {
            reply.array(2);
            let mark = reply.mark();
            reply.array(2);
            reply.int(1);
            reply.rollback(mark);
            reply.array(1);
            reply.int(1);
            reply.rollback(mark);
            reply.int(2);
            reply.int(3);
        };
        check(PLAIN, retried, r#"{"result":[2,3]}"#);
    }
}
