//! The socket as hyper sees it: how far a request and its answer have come over it. Here it is
//! decided who owes bytes and for how long, what hyper says on its own, and how a connection ends.

use super::Call;
use crate::config;
use crate::server::Server;
use crate::server::connection::{Connection, Reader};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How far a request and its answer have come.
#[derive(Default)]
pub struct Exchange {
    pub phase: Cell<Phase>,
    /// How long the caller may send nothing; None where it need not send.
    patience: Cell<Option<Duration>>,
    /// When that begins; None where nobody has looked since it began.
    silent_since: Cell<Option<Instant>>,
    /// What hyper has said on its own: the request was no HTTP, or its head was too long.
    pub withheld: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// Between requests: what hyper writes now is its own.
    #[default]
    Idle,
    Answering,
    /// The answer's last byte is in hyper's buffer.
    Ending,
}

/// From a request's first byte, its whole head may take this long, however it drips.
pub const HEAD_MAX: Duration = Duration::from_secs(10);

/// A body may take any time, but not without a byte of it for so long.
pub const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);

impl Exchange {
    /// The caller has begun to owe bytes, or some have come, or it owes none.
    pub fn expect(&self, patience: Option<Duration>) {
        self.patience.set(patience);
        self.silent_since.set(None);
    }

    /// Bytes have come. Between requests the first of them begins a head.
    fn received(&self) {
        match (self.phase.get(), self.patience.get()) {
            (Phase::Idle, None) => self.expect(Some(HEAD_MAX)),
            (Phase::Idle, Some(_)) => {}
            (_, patience) => self.expect(patience),
        }
    }

    /// Ends when the caller owes bytes for too long. The clock is read and a timer set only for
    /// those whose bytes have not come at once.
    pub fn poll_patience(
        &self,
        timer: &mut Option<Pin<Box<Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(patience) = self.patience.get() else {
            *timer = None;
            return Poll::Pending;
        };
        if self.silent_since.get().is_none() {
            let now = Instant::now();
            self.silent_since.set(Some(now));
            *timer = Some(Box::pin(tokio::time::sleep_until(now + patience)));
        }
        timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

/// The socket as hyper sees it. What hyper writes on its own is kept from the caller, who gets it
/// as JSON.
pub struct Io {
    pub reader: Reader,
    pub call: Rc<Call>,
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buffer);
        if buffer.filled().len() > len {
            self.call.exchange.received();
        }
        polled
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Call { server, connection, id, exchange } = &*self.call;
        if exchange.phase.get() == Phase::Idle {
            exchange.withheld.borrow_mut().extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        loop {
            match connection.writer.try_write(bytes) {
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                    ready!(connection.tcp().poll_write_ready(cx))?;
                }
                written => {
                    server.engine.borrow_mut().stir(*id, server.now());
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when its own buffer is empty.
        let phase = &self.call.exchange.phase;
        if phase.get() == Phase::Ending {
            phase.set(Phase::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The answer that stands in for hyper's own is still to be written.
        Poll::Ready(Ok(()))
    }
}

/// Who is answered while still sending has this long to finish.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// So many at a time: they are no clients any more, and `maxclients` does not count them.
const LINGERING_MAX: usize = config::RESERVED_FILES / 2;

/// Reads for a moment what is still sent to a connection that is over. A socket that is closed with
/// something unread is reset, and the answer may be lost with it.
pub async fn linger(server: &Server, connection: &Connection) {
    if connection.is_broken.get() || server.lingering.get() >= LINGERING_MAX {
        return;
    }
    server.lingering.set(server.lingering.get() + 1);
    let _ = tokio::time::timeout(LINGER_MAX, drain(connection.tcp())).await;
    server.lingering.set(server.lingering.get() - 1);
}

async fn drain(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).shutdown(Shutdown::Write)?;
    while poll_fn(|cx| discard(tcp, cx)).await? {}
    Ok(())
}

/// Reads and forgets. False at the end of the stream.
pub fn discard(tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut scratch = [0; 4096];
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        match tcp.try_read(&mut scratch) {
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read.map(|len| len > 0)),
        }
    }
}

impl Call {
    /// The first byte, which stays to be read. None at the end of the stream.
    pub(super) async fn peek(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let tcp = self.connection.tcp();
        let len = poll_fn(|cx| tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte))).await?;
        Ok((len > 0).then_some(byte[0]))
    }

    /// Writes all, and waits as often as the socket is full. The error is the socket's.
    pub(super) async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.connection.writer.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| self.connection.writer.poll_writable(cx)).await?;
                }
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }
}
