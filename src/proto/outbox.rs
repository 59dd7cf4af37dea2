//! What a client is still to be sent. Appended at the back, written only from the front.

use super::events::Events;
use super::json::{Json, JsonStyle};
use super::reply::{Protocol, Reply, Visitor};

/// One client's answers and pushes, in the client's own format. Holds no memory while empty.
#[derive(Default)]
pub struct Outbox {
    form: Form,
    /// Bytes at the front that the socket has already taken.
    sent: usize,
    pub protocol: Protocol,
}

/// How answers are written, and where to.
enum Form {
    Resp(Vec<u8>),
    Other(Box<dyn Writer>),
}

impl Default for Form {
    fn default() -> Self {
        Form::Resp(Vec::new())
    }
}

/// A form other than RESP: a visitor with a buffer of its own.
pub trait Writer: Visitor {
    fn written(&self) -> &Vec<u8>;
    fn buffer(&mut self) -> &mut Vec<u8>;
}

/// A buffer that grew beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = 16 * 1024;

impl Outbox {
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// For a caller who wants JSON.
    pub fn json(style: JsonStyle) -> Self {
        Self { form: Form::Other(Box::new(Json::new(style))), ..Self::default() }
    }

    /// For a listener to an event stream.
    pub fn events() -> Self {
        Self { form: Form::Other(Box::<Events>::default()), ..Self::default() }
    }

    /// A writer for one more answer.
    pub fn reply(&mut self) -> Reply<'_> {
        match &mut self.form {
            Form::Resp(bytes) => Reply::bytes(bytes, self.protocol),
            Form::Other(writer) => Reply::visit(&mut **writer, self.protocol),
        }
    }

    /// Whether bytes that were written as RESP for several clients may be appended as they are.
    pub fn is_resp(&self) -> bool {
        matches!(self.form, Form::Resp(_))
    }

    /// Bytes that are no reply: what was written elsewhere, or what stands around replies.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer().extend_from_slice(bytes);
    }

    fn bytes(&self) -> &Vec<u8> {
        match &self.form {
            Form::Resp(bytes) => bytes,
            Form::Other(writer) => writer.written(),
        }
    }

    fn buffer(&mut self) -> &mut Vec<u8> {
        match &mut self.form {
            Form::Resp(bytes) => bytes,
            Form::Other(writer) => writer.buffer(),
        }
    }

    /// What is to be sent next.
    pub fn pending(&self) -> &[u8] {
        &self.bytes()[self.sent..]
    }

    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes().len()
    }

    /// Bytes that wait to be sent.
    pub fn len(&self) -> usize {
        self.bytes().len() - self.sent
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes().capacity()
    }

    /// The socket took `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        let sent = self.sent + count;
        let bytes = self.buffer();
        let (len, capacity) = (bytes.len(), bytes.capacity());
        self.sent = if sent == len {
            if capacity > KEPT_BYTES_MAX {
                *bytes = Vec::new();
            } else {
                bytes.clear();
            }
            0
        } else if sent > KEPT_BYTES_MAX && sent > len / 2 {
            // Amortised: what moves is smaller than what was sent since the last move.
            bytes.drain(..sent);
            0
        } else {
            sent
        };
    }

    /// All that waits, for a transport that sends it whole. Nothing may have been sent in part.
    pub fn take(&mut self) -> Vec<u8> {
        debug_assert_eq!(self.sent, 0, "a transport sends in parts, or whole");
        std::mem::take(self.buffer())
    }

    /// Where the next answer would begin; `truncate` takes back what was written since.
    pub fn position(&self) -> usize {
        self.bytes().len()
    }

    pub fn truncate(&mut self, position: usize) {
        match &mut self.form {
            Form::Resp(bytes) => bytes.truncate(position),
            Form::Other(writer) => writer.rollback(position),
        }
    }
}

/// Shows what waits.
impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Outbox").field(&self.pending().escape_ascii().to_string()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_from_the_front() {
        let mut outbox = Outbox::new(Protocol::Resp2);
        outbox.reply().status("OK");
        outbox.consume(3);
        outbox.reply().int(7);
        assert_eq!(outbox.pending(), b"\r\n:7\r\n");
        outbox.consume(6);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_slow_reader_does_not_pin_what_was_sent() {
        let mut outbox = Outbox::new(Protocol::Resp2);
        outbox.raw(&[b'x'; 100_000]);
        outbox.consume(60_000);
        assert_eq!(outbox.position(), 40_000);
        assert_eq!(outbox.len(), 40_000);
    }
}
