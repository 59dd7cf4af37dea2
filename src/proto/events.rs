//! Published messages and MONITOR's lines as an event stream, in the shape of Upstash's REST API.
//! Each event is one `data: ` line, its fields joined by commas.

use super::json::quoted;
use super::outbox::Writer;
use super::reply::Visitor;

/// Appends events. An event is an array without arrays in it, or a line of MONITOR's.
#[derive(Debug, Default)]
pub struct Events {
    out: Vec<u8>,
    /// Fields to come of the event under way.
    left: usize,
}

impl Events {
    fn field(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.left = self.left.saturating_sub(1);
        self.out.extend_from_slice(if self.left == 0 { b"\n\n" } else { b"," });
    }

    /// An event is one line: in JSON line ends are blanks, which may be spaces; other text that has
    /// some becomes a JSON string.
    fn text(&mut self, bytes: &[u8]) {
        if !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            return self.field(String::from_utf8_lossy(bytes).as_bytes());
        }
        let mut line = Vec::new();
        if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
            let is_end = |byte: u8| matches!(byte, b'\r' | b'\n');
            line.extend(bytes.iter().map(|&byte| if is_end(byte) { b' ' } else { byte }));
        } else {
            quoted(bytes, &mut line);
        }
        self.field(&line);
    }
}

const DATA: &[u8] = b"data: ";

impl Writer for Events {
    fn written(&self) -> &Vec<u8> {
        &self.out
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    fn is_between(&self) -> bool {
        self.left == 0
    }
}

impl Visitor for Events {
    /// MONITOR's answer is quoted, its lines are not.
    fn status(&mut self, text: &[u8]) {
        self.out.extend_from_slice(DATA);
        self.text(if text == b"OK" { b"\"OK\"" } else { text });
    }

    /// A refusal, of which there is no stream.
    fn error(&mut self, text: &[u8]) {
        self.out.extend_from_slice(b"{\"error\":");
        quoted(text, &mut self.out);
        self.out.push(b'}');
    }

    fn integer(&mut self, value: i64) {
        self.field(itoa::Buffer::new().format(value).as_bytes());
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.text(bytes);
    }

    fn null(&mut self) {
        self.field(b"null");
    }

    fn array(&mut self, count: usize) {
        self.out.extend_from_slice(DATA);
        self.left = count;
    }

    fn open(&mut self) -> usize {
        self.array(usize::MAX);
        self.out.len()
    }

    fn close(&mut self, _slot: usize, _count: usize) {
        self.left = 0;
    }

    fn mark(&mut self) -> usize {
        self.out.len()
    }

    fn rollback(&mut self, mark: usize) {
        self.out.truncate(mark);
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::{Outbox, Reply};

    fn check(write: impl FnOnce(&mut Reply), expect: &str) {
        let mut outbox = Outbox::events();
        write(&mut outbox.reply());
        assert_eq!(String::from_utf8_lossy(outbox.pending()), expect);
    }

    fn message<'a>(text: &'a [u8]) -> impl FnOnce(&mut Reply) + 'a {
        move |reply| {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(b"chat");
            reply.bulk(text);
        }
    }

    #[test]
    fn an_event_is_one_line() {
        check(message(b"hi, you"), "data: message,chat,hi, you\n\n");
        check(message(b"a\r\nb"), "data: message,chat,\"a\\r\\nb\"\n\n");
        check(message(b"{\"a\":\r\n1}"), "data: message,chat,{\"a\":  1}\n\n");
        check(message(b""), "data: message,chat,\n\n");
    }

    #[test]
    fn subscriptions_and_monitor_look_as_documented() {
        let subscribed = |reply: &mut Reply| {
            for (channel, count) in [(b"a", 1), (b"b", 2)] {
                reply.push(3);
                reply.bulk(b"subscribe");
                reply.bulk(channel);
                reply.int(count);
            }
        };
        check(subscribed, "data: subscribe,a,1\n\ndata: subscribe,b,2\n\n");
        let monitor = |reply: &mut Reply| {
            reply.ok();
            reply.status("1.5 [0 127.0.0.1:1] \"GET\" \"k\"");
        };
        check(monitor, "data: \"OK\"\n\ndata: 1.5 [0 127.0.0.1:1] \"GET\" \"k\"\n\n");
    }
}
