//! One connection, one task: reads, feeds the engine, and sends what `Server::flush` could not.

use super::Server;
use crate::engine::client::{ClientId, Peer, State};
use bytes::{Buf, BytesMut};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

/// A stream of either kind.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(bytes),
            Stream::Unix(stream) => stream.try_write(bytes),
        }
    }

    fn try_read_buf(&self, input: &mut BytesMut) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read_buf(input),
            Stream::Unix(stream) => stream.try_read_buf(input),
        }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }

    async fn ready(&self, interest: Interest) -> io::Result<tokio::io::Ready> {
        match self {
            Stream::Tcp(stream) => stream.ready(interest).await,
            Stream::Unix(stream) => stream.ready(interest).await,
        }
    }
}

/// All connections, by client.
pub type Connections = Rc<RefCell<HashMap<ClientId, Rc<Connection>, ahash::RandomState>>>;

/// What others may do with a connection: write to it, wake its task, break it.
pub struct Connection {
    pub stream: Stream,
    pub wake: Notify,
    /// The socket failed, or the client is to be gone at once.
    pub is_broken: Cell<bool>,
}

/// Room for one read: what a client sends in one go mostly fits.
const READ_BYTES: usize = 16 * 1024;

/// A parked client's further requests are kept up to here; then its socket is left to fill.
const PARKED_INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Serves a connection until either side ends it.
pub async fn run(server: Rc<Server>, stream: Stream, peer: Peer) {
    let connection =
        Rc::new(Connection { stream, wake: Notify::new(), is_broken: Cell::new(false) });
    let id = {
        let mut engine = server.engine.borrow_mut();
        let id = engine.connect(peer, server.now());
        server.connections.borrow_mut().insert(id, connection.clone());
        id
    };
    server.flush();
    // A connection that ends for whatever reason ends here alone.
    let _ = exchange(&server, &connection, id).await;
    server.connections.borrow_mut().remove(&id);
    server.turn(|engine, now| engine.disconnect(id, now));
}

async fn exchange(server: &Rc<Server>, connection: &Connection, id: ClientId) -> io::Result<()> {
    let mut input = BytesMut::new();
    loop {
        let (state, has_more) = feed(server, id, &mut input);
        if connection.is_broken.get() {
            return Ok(());
        }
        let has_output =
            server.engine.borrow_mut().outbox(id).is_some_and(|outbox| !outbox.is_empty());
        if state == State::Closing && !has_output {
            return Ok(());
        }
        if has_more {
            // Others come first.
            tokio::task::yield_now().await;
            continue;
        }
        if input.is_empty() {
            input = BytesMut::new();
        }
        let may_read = state != State::Closing
            && (state == State::Ready || input.len() < PARKED_INPUT_BYTES_MAX);
        let interest = match (may_read, has_output) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => {
                connection.wake.notified().await;
                continue;
            }
        };
        tokio::select! {
            biased;
            () = connection.wake.notified() => {}
            ready = connection.stream.ready(interest) => {
                let ready = ready?;
                if ready.is_writable() {
                    server.send(id);
                }
                if ready.is_readable() && may_read && !read(connection, &mut input)? {
                    return Ok(());
                }
            }
        }
    }
}

/// Reads what has arrived; false at the end of the stream.
fn read(connection: &Connection, input: &mut BytesMut) -> io::Result<bool> {
    input.reserve(READ_BYTES);
    match connection.stream.try_read_buf(input) {
        Ok(0) => Ok(false),
        Ok(_) => Ok(true),
        Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => Ok(true),
        Err(problem) => Err(problem),
    }
}

/// Runs what has arrived, as far as one turn goes; says whether there is more to run.
fn feed(server: &Rc<Server>, id: ClientId, input: &mut BytesMut) -> (State, bool) {
    let before = server.engine.borrow().state(id);
    if input.is_empty() || before != State::Ready {
        return (before, false);
    }
    let fed = server.turn(|engine, now| engine.feed(id, input, now));
    input.advance(fed.used);
    if fed.state == State::Running {
        tokio::task::spawn_local(server.clone().run_script(id));
    }
    (fed.state, fed.has_more)
}

impl Server {
    /// Goes on with a suspended script: at once while it is within its time, then slice by slice
    /// between other tasks, until it ends or is killed.
    async fn run_script(self: Rc<Self>, id: ClientId) {
        loop {
            let state = {
                let mut engine = self.engine.borrow_mut();
                engine.resume(id, self.now())
            };
            if state != State::Running {
                break;
            }
            if self.engine.borrow().is_busy() {
                self.flush();
                tokio::task::yield_now().await;
            }
        }
        self.flush();
        if let Some(connection) = self.connection(id) {
            connection.wake.notify_one();
        }
    }
}
