//! An outbox: what a client is still to be sent. It is a chain of chunks, appended to at the back,
//! written only from the front, freed chunk by chunk as the socket takes them.
//!
//! A reply lies whole in the last chunk, so that it can be marked and taken back. A last chunk that
//! is full is sealed before the next reply begins: from then on it is only read, and however much
//! piles up behind it, nothing is moved. Positions count bytes since the client came, so that they
//! mean the same whatever has been sent.
//!
//! Nothing is sent beyond the positions `ready` and `synced`: what stands there waits for something
//! else, the latter for a log to be on the disk. Nothing waits unless somebody sets it.

use super::events::Events;
use super::json::{Json, JsonStyle};
use super::reply::{Protocol, Reply, Visitor};
use std::collections::VecDeque;

/// One client's answers and pushes, in the client's own format. Holds no memory while empty.
pub struct Outbox {
    /// The last chunk, which is still written.
    form: Form,
    /// None, as nearly always: what waits fits one chunk.
    sealed: Option<Box<Sealed>>,
    /// The position at which the last chunk begins.
    start: u64,
    /// The position up to which the socket has taken everything.
    sent: u64,
    /// Nothing beyond this position is sent, nor beyond the other.
    ready: u64,
    synced: u64,
    /// What the next answer is lowered to.
    pub protocol: Protocol,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            form: Form::default(),
            sealed: None,
            start: 0,
            sent: 0,
            ready: u64::MAX,
            synced: u64::MAX,
            protocol: Protocol::default(),
        }
    }
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
    /// All that was written and not taken yet.
    fn written(&self) -> &Vec<u8>;
    /// The same, for who takes it.
    fn buffer(&mut self) -> &mut Vec<u8>;
    /// Whether it keeps no place in its buffer, which then may be taken away.
    fn is_between(&self) -> bool;
    /// Keeps nothing more once its buffer is longer than this.
    fn bound(&mut self, _len_max: usize) {}
}

/// Chunks ahead of the last, oldest first.
#[derive(Default)]
struct Sealed {
    chunks: VecDeque<Vec<u8>>,
    /// Bytes in them, sent or not.
    len: u64,
    /// Bytes of memory they take.
    capacity: usize,
}

/// What waits in an outbox, as Redis tells it apart: a small buffer, and large chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxSize {
    /// Large chunks, the last one left out if it is small.
    pub chunks: usize,
    /// Bytes of memory that they take.
    pub chunk_bytes: usize,
    /// Bytes that wait in the last chunk if that is small, and those it has room for.
    pub last: usize,
    /// Bytes that the last chunk has room for, if it is small.
    pub last_capacity: usize,
}

/// A last chunk of so many bytes is sealed, and one that is empty but larger is given back. As much
/// as Redis gives its chunks.
const CHUNK_BYTES: usize = 16 * 1024;

/// Room for a last reply in a chunk that follows another.
const CHUNK_CAPACITY: usize = CHUNK_BYTES + CHUNK_BYTES / 8;

impl Outbox {
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
        self.reply_within(u64::MAX)
    }

    /// As `reply`, for an answer that is lost anyway once it is longer than `bytes_max`.
    #[inline]
    pub fn reply_within(&mut self, bytes_max: u64) -> Reply<'_> {
        self.seal_if_full();
        match &mut self.form {
            Form::Resp(bytes) => Reply::bytes_within(bytes, self.protocol, bytes_max),
            Form::Other(writer) => Reply::visit(&mut **writer, self.protocol),
        }
    }

    /// Lets what is written from here on, in however many parts, grow beyond `bytes_max` by one
    /// value at most. What is lost shows in the length. RESP has its bound reply by reply.
    pub fn bound(&mut self, bytes_max: usize) {
        if let Form::Other(writer) = &mut self.form {
            let len = writer.written().len();
            writer.bound(len.saturating_add(bytes_max));
        }
    }

    /// Whether bytes that were written as RESP for several clients may be appended as they are.
    pub fn is_resp(&self) -> bool {
        matches!(self.form, Form::Resp(_))
    }

    /// Bytes that are no reply: what was written elsewhere, or what stands around replies.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.seal_if_full();
        self.buffer().extend_from_slice(bytes);
    }

    #[inline]
    fn seal_if_full(&mut self) {
        if self.last().len() >= CHUNK_BYTES {
            self.seal();
        }
    }

    #[cold]
    fn seal(&mut self) {
        if let Form::Other(writer) = &self.form
            && !writer.is_between()
        {
            return;
        }
        let mut chunk = std::mem::replace(self.buffer(), Vec::with_capacity(CHUNK_CAPACITY));
        if chunk.capacity() > chunk.len() / 4 * 5 {
            chunk.shrink_to_fit();
        }
        self.start += chunk.len() as u64;
        let sealed = self.sealed.get_or_insert_default();
        sealed.len += chunk.len() as u64;
        sealed.capacity += chunk.capacity();
        sealed.chunks.push_back(chunk);
    }

    fn last(&self) -> &Vec<u8> {
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

    /// The position at which the first chunk begins.
    fn front(&self) -> u64 {
        self.start - self.sealed.as_ref().map_or(0, |sealed| sealed.len)
    }

    /// Lets what stands before `position` be sent, and nothing beyond; `u64::MAX` lets all be sent.
    pub fn set_ready(&mut self, position: u64) {
        self.ready = position.max(self.sent);
    }

    /// As `set_ready`, for who writes a log: both must let go.
    pub fn set_synced(&mut self, position: u64) {
        self.synced = position.max(self.sent);
    }

    /// Whether a log lets only a part be sent.
    pub fn awaits_sync(&self) -> bool {
        self.synced < self.position()
    }

    /// The position up to which all may be sent.
    fn ready(&self) -> u64 {
        self.ready.min(self.synced).min(self.position())
    }

    /// Whether anything may be sent.
    pub fn has_ready(&self) -> bool {
        self.sent < self.ready()
    }

    /// What may be sent, in order, in pieces that are not empty.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let skipped = (self.sent - self.front()) as usize;
        let sealed = self.sealed.iter().flat_map(|sealed| &sealed.chunks);
        let mut skip = Some(skipped);
        let mut left = (self.ready() - self.sent) as usize;
        let pieces = sealed.chain([self.last()]);
        let pieces = pieces.map(move |chunk| {
            let piece = &chunk[skip.take().unwrap_or(0)..];
            let piece = &piece[..piece.len().min(left)];
            left -= piece.len();
            piece
        });
        pieces.filter(|piece| !piece.is_empty())
    }

    /// Whether `pending` is all that may be sent, as nearly always.
    pub fn is_one_piece(&self) -> bool {
        self.sealed.is_none()
    }

    /// What may be sent next.
    pub fn pending(&self) -> &[u8] {
        let place = |position: u64| (position - self.start) as usize;
        match self.is_one_piece() {
            true => &self.last()[place(self.sent)..place(self.ready())],
            false => self.pieces().next().unwrap_or_default(),
        }
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.position()
    }

    /// Bytes that wait to be sent.
    pub fn len(&self) -> u64 {
        self.position() - self.sent
    }

    /// Bytes of memory held.
    pub fn capacity(&self) -> usize {
        self.last().capacity() + self.sealed().1
    }

    fn sealed(&self) -> (usize, usize) {
        self.sealed.as_ref().map_or((0, 0), |sealed| (sealed.chunks.len(), sealed.capacity))
    }

    /// What waits, as Redis tells it apart.
    pub fn usage(&self) -> OutboxSize {
        let (chunks, chunk_bytes) = self.sealed();
        let (last, capacity) = (self.last().len(), self.last().capacity());
        if last > CHUNK_BYTES {
            return OutboxSize {
                chunks: chunks + 1,
                chunk_bytes: chunk_bytes + capacity,
                ..OutboxSize::default()
            };
        }
        let sent = self.sent.saturating_sub(self.start) as usize;
        OutboxSize { chunks, chunk_bytes, last: last - sent, last_capacity: capacity }
    }

    /// The socket took `count` bytes from the front.
    #[inline]
    pub fn consume(&mut self, count: usize) {
        self.sent += count as u64;
        self.free_sent_chunks();
        if self.sealed.is_some() {
            return;
        }
        let sent = (self.sent - self.start) as usize;
        let bytes = self.buffer();
        let (len, capacity) = (bytes.len(), bytes.capacity());
        if sent == len {
            if capacity > CHUNK_BYTES {
                *bytes = Vec::new();
            } else {
                bytes.clear();
            }
            self.start = self.sent;
        } else if sent > CHUNK_BYTES && sent > len / 2 {
            // Amortised: what moves is smaller than what was sent since the last move.
            bytes.drain(..sent);
            self.start = self.sent;
        }
    }

    fn free_sent_chunks(&mut self) {
        while let Some(sealed) = &mut self.sealed {
            let Some(front) = sealed.chunks.front() else {
                self.sealed = None;
                return;
            };
            if self.start - sealed.len + front.len() as u64 > self.sent {
                return;
            }
            sealed.len -= front.len() as u64;
            sealed.capacity -= front.capacity();
            sealed.chunks.pop_front();
        }
    }

    /// All that may be sent, for a transport that sends it whole.
    pub fn take(&mut self) -> Vec<u8> {
        if self.sent != self.front() || self.ready() < self.position() {
            let part: Vec<u8> = self.pieces().flatten().copied().collect();
            self.consume(part.len());
            return part;
        }
        let last = std::mem::take(self.buffer());
        self.start += last.len() as u64;
        self.sent = self.start;
        match self.sealed.take() {
            None => last,
            Some(sealed) => {
                let mut all = Vec::with_capacity(sealed.len as usize + last.len());
                sealed.chunks.iter().chain([&last]).for_each(|chunk| all.extend_from_slice(chunk));
                all
            }
        }
    }

    /// As `take`, but chunk by chunk, so that what is not yet taken still counts as waiting. Empty
    /// if nothing may be sent.
    pub fn take_chunk(&mut self) -> Vec<u8> {
        if self.sent != self.front() || self.ready() < self.position() {
            return self.take();
        }
        let front = self.sealed.as_mut().and_then(|sealed| sealed.chunks.pop_front());
        let Some(chunk) = front else { return self.take() };
        self.sent += chunk.len() as u64;
        if let Some(sealed) = &mut self.sealed {
            sealed.len -= chunk.len() as u64;
            sealed.capacity -= chunk.capacity();
        }
        chunk
    }

    /// Where the next answer would begin; `truncate` takes back what was written since.
    pub fn position(&self) -> u64 {
        self.start + self.last().len() as u64
    }

    /// Takes back what was written since `position`, which was the end of a whole answer or of a
    /// part of the one under way.
    pub fn truncate(&mut self, position: u64) {
        assert!(position >= self.start, "a sealed chunk is only read");
        let len = (position - self.start) as usize;
        match &mut self.form {
            Form::Resp(bytes) => bytes.truncate(len),
            Form::Other(writer) => writer.rollback(len),
        }
    }

    /// Takes back what was written since `position`, however much that is, but for what was sent.
    pub fn cut(&mut self, position: u64) {
        let position = position.max(self.sent);
        while position < self.start {
            self.truncate(self.start);
            let Some(sealed) = &mut self.sealed else { return };
            let Some(mut last) = sealed.chunks.pop_back() else { return };
            sealed.len -= last.len() as u64;
            sealed.capacity -= last.capacity();
            self.start -= last.len() as u64;
            // What is left of it is written again, as the last chunk.
            last.truncate(position.saturating_sub(self.start) as usize);
            self.buffer().extend_from_slice(&last);
        }
        self.truncate(position);
    }

    /// Throws away what waits.
    pub fn clear(&mut self) {
        self.truncate(self.start);
        self.sealed = None;
        self.sent = self.start;
        *self.buffer() = Vec::new();
    }
}

/// Shows what may be sent.
impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pieces = self.pieces().map(|piece| piece.escape_ascii().to_string());
        f.debug_tuple("Outbox").field(&pieces.collect::<String>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    fn pending(outbox: &Outbox) -> Vec<u8> {
        outbox.pieces().flatten().copied().collect()
    }

    #[test]
    fn bytes_leave_from_the_front() {
        let mut outbox = Outbox::default();
        outbox.reply().status("OK");
        outbox.consume(3);
        outbox.reply().int(7);
        assert_eq!(outbox.pending(), b"\r\n:7\r\n");
        outbox.consume(6);
        assert!(outbox.is_empty());
    }

    #[test]
    fn nothing_is_sent_beyond_what_is_ready() {
        let mut outbox = Outbox::default();
        outbox.raw(&[b'x'; 2 * CHUNK_BYTES]);
        outbox.set_ready(outbox.position() + 4);
        outbox.reply().int(1);
        outbox.reply().int(2);
        assert_eq!(outbox.take_chunk().len(), 2 * CHUNK_BYTES + 4);
        assert!(!outbox.has_ready() && outbox.pending().is_empty() && !outbox.is_empty());
        assert!(outbox.take_chunk().is_empty() && outbox.take().is_empty());
        outbox.set_ready(outbox.position() - 2);
        assert_eq!(outbox.pending(), b":2");
        outbox.consume(2);
        outbox.reply().int(3);
        assert!(outbox.pending().is_empty());
        outbox.set_ready(u64::MAX);
        assert_eq!(outbox.take(), b"\r\n:3\r\n");
        assert!(outbox.is_empty() && !outbox.has_ready());
    }

    #[test]
    fn a_slow_reader_does_not_pin_what_was_sent() {
        let mut outbox = Outbox::default();
        for _ in 0..1000 {
            outbox.reply().bulk(&[b'x'; 1000]);
        }
        let whole = outbox.capacity();
        assert!(whole < 1_250_000, "{whole} bytes for a million");
        outbox.consume(600_000);
        assert!(outbox.capacity() < whole / 2, "{} bytes", outbox.capacity());
        assert_eq!(outbox.len(), 1000 * 1009 - 600_000);
    }

    #[test]
    fn a_long_answer_is_given_back_half_by_half() {
        let mut outbox = Outbox::default();
        outbox.raw(&[b'x'; 100_000]);
        outbox.consume(60_000);
        assert_eq!(outbox.position(), 100_000);
        assert_eq!(outbox.len(), 40_000);
        assert_eq!(outbox.last().len(), 40_000);
    }

    #[test]
    fn an_answer_that_is_taken_back_leaves_the_chunks_before_it() {
        let mut outbox = Outbox::default();
        outbox.raw(&[b'x'; 2 * CHUNK_BYTES]);
        outbox.reply().int(1);
        let position = outbox.position();
        outbox.reply().bulk(&[b'y'; CHUNK_BYTES]);
        outbox.truncate(position);
        outbox.reply().int(2);
        assert!(pending(&outbox).ends_with(b"x:1\r\n:2\r\n"));
        outbox.clear();
        assert_eq!((outbox.len(), outbox.capacity()), (0, 0));
    }

    /// Whatever was sent of it, and however many chunks it takes.
    #[test]
    fn what_is_cut_off_is_not_sent() {
        let whole: Vec<u8> = (0..5 * CHUNK_BYTES).map(|at| at as u8).collect();
        for sent in [0, 10, CHUNK_BYTES + 10] {
            for len in [0, 20, CHUNK_BYTES, 2 * CHUNK_BYTES + 1, 5 * CHUNK_BYTES] {
                let mut outbox = Outbox::default();
                whole.chunks(1000).for_each(|piece| outbox.raw(piece));
                outbox.consume(sent);
                outbox.cut(len as u64);
                outbox.reply().int(1);
                let expect = [&whole[sent..len.max(sent)], b":1\r\n"].concat();
                assert_eq!(outbox.len(), expect.len() as u64);
                assert_eq!(pending(&outbox), expect, "{sent}, {len}");
                outbox.consume(expect.len());
                assert!(outbox.is_empty() && outbox.capacity() <= 2 * CHUNK_CAPACITY);
            }
        }
    }

    #[test]
    fn an_answer_that_grows_too_long_ends() {
        let mut outbox = Outbox::default();
        let mut reply = outbox.reply_within(1000);
        reply.array(usize::MAX >> 1);
        let mut count = 0;
        while !reply.is_over() {
            reply.bulk(b"0123456789");
            count += 1;
        }
        assert!((55..65).contains(&count), "{count}");
        assert!(outbox.len() < 1100);
    }

    /// Chunks against one long buffer.
    #[test]
    fn whatever_is_written_and_sent_comes_out_in_order() {
        let mut rng = Rng::from_seed(7);
        let mut outbox = Outbox::default();
        let mut expect: Vec<u8> = Vec::new();
        for step in 0..20_000_u64 {
            match rng.below(4) {
                0 | 1 => {
                    let most = if rng.below(50) == 0 { 60_000 } else { 500 };
                    let text = vec![step as u8; rng.below(most)];
                    outbox.raw(&text);
                    expect.extend_from_slice(&text);
                }
                2 => {
                    let position = outbox.position();
                    outbox.reply().bulk(&[b'z'; 300]);
                    outbox.truncate(position);
                }
                _ => {
                    let count = rng.below(outbox.pending().len() + 1);
                    let sent: Vec<u8> = expect.drain(..count).collect();
                    assert_eq!(outbox.pending()[..count], sent);
                    outbox.consume(count);
                }
            }
            assert_eq!(outbox.len(), expect.len() as u64);
            if expect.len() > 300_000 {
                // What has been sent in part is sent to its end first.
                let count = outbox.pending().len();
                outbox.consume(count);
                expect.drain(..count);
                let chunk = outbox.take_chunk();
                assert!(!chunk.is_empty() && expect.starts_with(&chunk));
                assert_eq!(outbox.take(), expect.split_off(chunk.len()));
                expect.clear();
                assert!(outbox.take_chunk().is_empty());
            }
        }
        assert_eq!(pending(&outbox), expect);
    }
}
