//! One connection, one task: reads, feeds the engine, and sends what `Server::flush` could not.

use super::{Server, forwarding};
use crate::engine::Fed;
use crate::engine::client::{ClientId, Peer, State};
use crate::proto::Outbox;
use crate::util::hash::CountedUp;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A stream of either kind.
pub enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl ClientStream {
    fn split(self) -> (Reader, SocketWriter) {
        match self {
            ClientStream::Tcp(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Tcp(reader), SocketWriter::Tcp(writer))
            }
            ClientStream::Unix(stream) => {
                let (reader, writer) = stream.into_split();
                (Reader::Unix(reader), SocketWriter::Unix(writer))
            }
        }
    }
}

/// The half that the connection's task alone reads.
pub enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Reader::Tcp(reader) => Pin::new(reader).poll_read(cx, buffer),
            Reader::Unix(reader) => Pin::new(reader).poll_read(cx, buffer),
        }
    }
}

/// The half that whoever flushes writes to.
pub enum SocketWriter {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

impl SocketWriter {
    /// Writes what the socket takes at once, and says how many bytes that is. The error is
    /// `WouldBlock` if it takes none.
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            SocketWriter::Tcp(writer) => writer.try_write(bytes),
            SocketWriter::Unix(writer) => writer.try_write(bytes),
        }
    }

    /// Writes as much of an outbox as one call takes.
    pub fn try_send(&self, outbox: &Outbox) -> io::Result<usize> {
        if outbox.is_one_piece() {
            return self.try_write(outbox.pending());
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(outbox.pieces()) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        match self {
            SocketWriter::Tcp(writer) => writer.try_write_vectored(&slices[..count]),
            SocketWriter::Unix(writer) => writer.try_write_vectored(&slices[..count]),
        }
    }

    /// Wakes the connection's task alone, and needs no memory for that, unlike `writable`.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            SocketWriter::Tcp(writer) => writer.as_ref().poll_write_ready(cx),
            SocketWriter::Unix(writer) => writer.as_ref().poll_write_ready(cx),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            SocketWriter::Tcp(writer) => writer.as_ref().as_fd(),
            SocketWriter::Unix(writer) => writer.as_ref().as_fd(),
        }
    }
}

/// Pieces of an outbox, of some 16 KB each, that are written at once: what a socket takes.
const SLICES_MAX: usize = 16;

/// All connections, by client.
pub type Connections = Rc<RefCell<HashMap<ClientId, Rc<Connection>, CountedUp>>>;

/// How what a client is to be sent gets to its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Whoever flushes writes it.
    Directly,
    /// The connection's task takes it when the request is done.
    Whole,
    /// The connection's task takes it as it comes, and is woken for it.
    Streamed,
}

/// What others may do with a connection: write to it, wake its task, break it.
pub struct Connection {
    pub writer: SocketWriter,
    pub sending: Cell<Sending>,
    pub wake: Wake,
    /// The socket failed, or the client is to be gone at once.
    pub is_broken: Cell<bool>,
    /// Its end is a reset.
    pub is_reset: Cell<bool>,
}

impl Connection {
    /// A connection, and the half of its stream that its task reads.
    pub fn new(stream: ClientStream, sending: Sending) -> (Rc<Self>, Reader) {
        let (reader, writer) = stream.split();
        let connection = Self {
            writer,
            sending: Cell::new(sending),
            wake: Wake::default(),
            is_broken: Cell::new(false),
            is_reset: Cell::new(false),
        };
        (Rc::new(connection), reader)
    }

    /// Ends it at once.
    pub fn end(&self) {
        self.is_broken.set(true);
        self.wake.call();
    }

    /// As `end`. The peer learns of a reset where its kind of socket has one, as TCP does.
    pub fn reset(&self) {
        if let SocketWriter::Tcp(writer) = &self.writer {
            let _ = SockRef::from(writer.as_ref()).set_linger(Some(Duration::ZERO));
        }
        self.is_reset.set(true);
        self.end();
    }

    /// Lets go of a connection that is over. One that is to be reset says no goodbye first.
    pub fn let_go(self: Rc<Self>) {
        if self.is_reset.get()
            && let Ok(connection) = Rc::try_unwrap(self)
            && let SocketWriter::Tcp(writer) = connection.writer
        {
            writer.forget();
        }
    }

    /// The socket of a connection that came over TCP.
    pub fn tcp(&self) -> &TcpStream {
        match &self.writer {
            SocketWriter::Tcp(writer) => writer.as_ref(),
            SocketWriter::Unix(_) => unreachable!("HTTP is served over TCP alone"),
        }
    }
}

/// Calls a connection's task; a call that comes before the task waits for one is kept.
#[derive(Default)]
pub struct Wake {
    is_called: Cell<bool>,
    task: Cell<Option<Waker>>,
}

impl Wake {
    pub fn call(&self) {
        self.is_called.set(true);
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_called.take() {
            return Poll::Ready(());
        }
        self.task.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

/// Room for one read, shared by all connections: a client that is idle holds no buffer.
pub const SCRATCH_BYTES: usize = 64 * 1024;

/// Serves a connection until either side ends it. The future is most of what an idle connection
/// costs, so that what only the beginning needs stays out of it.
pub fn run(server: Rc<Server>, stream: ClientStream, peer: Peer) -> impl Future<Output = ()> {
    let (connection, mut reader) = Connection::new(stream, Sending::Directly);
    let id = server.enter(&connection, peer);
    async move {
        // What has arrived and could not be run yet.
        let mut input = BytesMut::new();
        let mut fed = None;
        loop {
            let (state, has_more) = match fed.take() {
                Some(fed) => fed,
                None => feed_rest(&server, id, &mut input),
            };
            let (has_ready, has_output) = match server.engine.borrow_mut().outbox(id) {
                Some(outbox) => (outbox.has_ready(), !outbox.is_empty()),
                None => (false, false),
            };
            if connection.is_broken.get() || state == State::Closing && !has_output {
                break;
            }
            if has_more {
                // Others come first.
                tokio::task::yield_now().await;
                continue;
            }
            if input.is_empty() {
                input = BytesMut::new();
            }
            // A parked client's further requests are read as well: else nobody sees that it has
            // gone.
            let may_read = state != State::Closing;
            tokio::select! {
                biased;
                () = poll_fn(|cx| connection.wake.poll(cx)) => {}
                writable = poll_fn(|cx| connection.writer.poll_writable(cx)), if has_ready => {
                    if writable.is_err() {
                        break;
                    }
                    server.send(&mut server.engine.borrow_mut(), id);
                }
                received = poll_fn(|cx| receive(&server, &mut reader, id, &mut input, cx)),
                    if may_read =>
                {
                    if let Ok(None) = received {
                        // Who says no more may still read what waits for the disk.
                        Box::pin(server.until_synced(id)).await;
                        server.send(&mut server.engine.borrow_mut(), id);
                    }
                    let Ok(Some(outcome)) = received else { break };
                    fed = Some(outcome);
                    if !input.is_empty() {
                        server.turn(|engine, now| engine.note_input(id, input.len(), now));
                    }
                }
            }
        }
        let carried = server.engine.borrow_mut().take_carried(id);
        server.leave(id);
        match carried {
            Some(carried) => forwarding::carry_on(server, carried, connection, reader, input),
            None => connection.let_go(),
        }
    }
}

/// What became of a client's input: its state, and whether the turn's budget alone ended it.
type Outcome = (State, bool);

/// Runs what input there is; None at the end of the stream.
fn receive(
    server: &Rc<Server>,
    reader: &mut Reader,
    id: ClientId,
    input: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<Option<Outcome>>> {
    let mut scratch = server.scratch.take();
    let mut buffer = ReadBuf::new(&mut scratch);
    // `poll_read` knows that a short read has emptied the socket, and spares the next one.
    let polled = Pin::new(reader).poll_read(cx, &mut buffer);
    let len = buffer.filled().len();
    let received = match polled {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Err(problem)) => Poll::Ready(Err(problem)),
        Poll::Ready(Ok(())) if len == 0 => Poll::Ready(Ok(None)),
        Poll::Ready(Ok(())) => {
            server.engine.borrow_mut().stats.reads += 1;
            Poll::Ready(Ok(Some(feed_new(server, id, input, &scratch[..len]))))
        }
    };
    server.scratch.set(scratch);
    received
}

/// Runs what has just arrived, from where it lies if nothing older waits; keeps what is left.
fn feed_new(server: &Rc<Server>, id: ClientId, input: &mut BytesMut, new: &[u8]) -> Outcome {
    if !input.is_empty() || server.engine.borrow().state(id) != State::Ready {
        input.extend_from_slice(new);
        return feed_rest(server, id, input);
    }
    let fed = feed(server, id, new);
    input.extend_from_slice(&new[fed.used..]);
    (fed.state, fed.has_more)
}

/// Runs what is left of earlier input, as far as one turn goes.
fn feed_rest(server: &Rc<Server>, id: ClientId, input: &mut BytesMut) -> Outcome {
    let state = server.engine.borrow().state(id);
    if input.is_empty() || state != State::Ready {
        return (state, false);
    }
    let fed = feed(server, id, input);
    input.advance(fed.used);
    (fed.state, fed.has_more)
}

fn feed(server: &Rc<Server>, id: ClientId, input: &[u8]) -> Fed {
    let fed = server.turn(|engine, now| engine.feed(id, input, now));
    if fed.state == State::Running {
        tokio::task::spawn_local(server.clone().run_script(id));
    }
    fed
}

impl Server {
    pub(super) fn enter(self: &Rc<Self>, connection: &Rc<Connection>, peer: Peer) -> ClientId {
        let id = self.engine.borrow_mut().connect(peer, self.now());
        self.connections.borrow_mut().insert(id, connection.clone());
        self.flush();
        id
    }

    pub(super) fn leave(self: &Rc<Self>, id: ClientId) {
        self.connections.borrow_mut().remove(&id);
        self.turn(|engine, now| engine.disconnect(id, now));
    }

    /// Goes on with a suspended script: at once while it is within its time, then slice by slice
    /// between other tasks, until it ends or is killed, or the process ends.
    pub(super) async fn run_script(self: Rc<Self>, id: ClientId) {
        loop {
            let state = {
                let mut engine = self.engine.borrow_mut();
                engine.resume(id, self.now())
            };
            if state != State::Running {
                break;
            }
            if self.engine.borrow().is_busy() || self.stop.is_wanted() {
                self.flush();
                tokio::task::yield_now().await;
            }
        }
        self.flush();
        if let Some(connection) = self.connection(id) {
            connection.wake.call();
        }
    }
}
