//! What a client is still to be sent. Appended at the back, written only from the front.

use super::reply::{Protocol, Reply};

/// One client's answers and pushes, in the client's own format. Holds no memory while empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Bytes at the front that the socket has already taken.
    sent: usize,
    pub protocol: Protocol,
}

/// A buffer that grew beyond this is given back once it is empty.
const KEPT_BYTES_MAX: usize = 16 * 1024;

impl Outbox {
    pub fn new(protocol: Protocol) -> Self {
        Self { protocol, ..Self::default() }
    }

    /// A writer for one more answer.
    pub fn reply(&mut self) -> Reply<'_> {
        Reply::bytes(&mut self.bytes, self.protocol)
    }

    /// Text that is no RESP: the HTTP answer to who took this port for a web server.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What is to be sent next.
    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Bytes that wait to be sent.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The socket took `count` bytes from the front.
    pub fn consume(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.sent = 0;
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        } else if self.sent > KEPT_BYTES_MAX && self.sent > self.bytes.len() / 2 {
            // Amortised: what moves is smaller than what was sent since the last move.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Where the next answer would begin; `truncate` takes back what was written since.
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    pub fn truncate(&mut self, position: usize) {
        self.bytes.truncate(position);
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
