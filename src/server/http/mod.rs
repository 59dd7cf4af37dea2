//! HTTP/1.1 on the same data. hyper reads requests and writes answers; the router decides what a
//! request is for and who may (router.rs), and Upstash's REST API turns it into commands
//! (upstash.rs), or into a stream of events (streams.rs).
//!
//! All of a connection lives in one task: a wake polls it whole, so that a request that waits (for
//! the end of CLIENT PAUSE, or of its script) and a stream look at the engine again. docs/http.md
//! says what is served.

mod answer;
mod io;
mod pages;
mod router;
mod streams;
mod upstash;

use self::io::{BODY_SILENCE_MAX, Exchange, HEAD_MAX, Io};
use super::Server;
use super::connection::{ClientStream, Connection, Reader, Sending};
use crate::config::{self, Secret};
use crate::engine::client::{ClientId, Peer, State};
use crate::proto::Outbox;
use answer::{bare, status_of};
use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
pub use pages::keep_pages;
use router::{absent, unauthorized};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Result;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Serves a connection until either side ends it.
pub async fn run(server: Rc<Server>, stream: TcpStream, peer: Peer) {
    let (connection, reader) = Connection::new(ClientStream::Tcp(stream), Sending::Whole);
    let id = server.enter(&connection, peer);
    let exchange = Rc::default();
    let call = Call { server: server.clone(), connection: connection.clone(), id, exchange };
    // A connection that ends for whatever reason ends here alone.
    let _ = Rc::new(call).serve(reader).await;
    server.leave(id);
    io::linger(&server, &connection).await;
    connection.let_go();
}

/// What the tasks of one connection share.
struct Call {
    server: Rc<Server>,
    connection: Rc<Connection>,
    id: ClientId,
    exchange: Rc<Exchange>,
}

impl Call {
    async fn serve(self: Rc<Self>, reader: Reader) -> Result<()> {
        if self.state() == State::Closing {
            return self.refuse().await;
        }
        let mut timer = None;
        tokio::select! {
            biased;
            () = self.ended() => Ok(()),
            served = self.clone().converse(reader) => served,
            // Behind the conversation, which may have changed what is waited for.
            () = poll_fn(|cx| self.exchange.poll_patience(&mut timer, cx)) => self.give_up(),
        }
    }

    /// Tells a caller who sends nothing, as far as its socket takes it.
    fn give_up(&self) -> Result<()> {
        let status = StatusCode::REQUEST_TIMEOUT;
        self.connection.writer.try_write(&bare(status, &self.problem(status))).map(drop)
    }

    /// Waits until the client is to be gone. Each wake passes here first, so that nothing runs for
    /// who is gone already.
    async fn ended(&self) {
        while !self.connection.is_broken.get() && self.state() != State::Closing {
            poll_fn(|cx| self.connection.wake.poll(cx)).await;
        }
    }

    async fn converse(self: Rc<Self>, reader: Reader) -> Result<()> {
        if self.peek().await? == Some(b'*') {
            let (http, resp) = (self.port(), self.resp_place());
            let text = format!(
                "-ERR this is toril's HTTP port {http}, which does not speak the Redis protocol. \
                 Point Redis clients at {resp}.\r\n"
            );
            return self.write(text.as_bytes()).await;
        }
        let io = Io { reader, call: self.clone() };
        let call = self.clone();
        let service = service_fn(move |request| {
            let call = call.clone();
            async move { Ok::<_, Infallible>(call.answer(request).await) }
        });
        let mut http = http1::Builder::new();
        http.half_close(true)
            .header_read_timeout(None)
            .max_header_size(config::HTTP_HEAD_BYTES_MAX)
            .max_buf_size(config::HTTP_HEAD_BYTES_MAX);
        // What goes wrong on the way ends the connection; what hyper says of it is withheld.
        let served = http.serve_connection(TokioIo::new(io), service).await;
        let withheld = self.exchange.withheld.take();
        let status = match served {
            // hyper leaves it to others to answer HTTP/2.
            Err(problem) if problem.is_parse_version_h2() => {
                Some(StatusCode::HTTP_VERSION_NOT_SUPPORTED)
            }
            _ => status_of(&withheld),
        };
        match status {
            Some(status) => self.write(&bare(status, &self.problem(status))).await,
            None => Ok(()),
        }
    }

    fn state(&self) -> State {
        self.server.engine.borrow().state(self.id)
    }

    fn port(&self) -> u16 {
        self.server.engine.borrow().facts.http_port().unwrap_or_default()
    }

    fn resp_place(&self) -> String {
        self.server.engine.borrow().resp_place()
    }

    /// There are too many clients, or protected mode holds.
    async fn refuse(&self) -> Result<()> {
        let resp = self.server.take_output(self.id).await;
        let text = String::from_utf8_lossy(&resp);
        let text = text.trim_start_matches('-').trim_end();
        self.write(&bare(StatusCode::SERVICE_UNAVAILABLE, text)).await
    }

    /// What was wrong with a request that hyper could not read.
    fn problem(&self, status: StatusCode) -> String {
        match status {
            StatusCode::URI_TOO_LONG => {
                "ERR the URL is too long: send the command as a JSON array in the body".into()
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => format!(
                "ERR the request's head is too large: at most {} bytes and {} headers are taken",
                config::HTTP_HEAD_BYTES_MAX,
                config::HTTP_HEADERS_MAX
            ),
            StatusCode::HTTP_VERSION_NOT_SUPPORTED => "ERR only HTTP/1.1 is spoken here".into(),
            StatusCode::REQUEST_TIMEOUT => format!(
                "ERR the request did not come: its head has {} s, and its body may not rest for \
                 {} s",
                HEAD_MAX.as_secs(),
                BODY_SILENCE_MAX.as_secs()
            ),
            _ => format!(
                "ERR this is not HTTP/1.1. Redis clients are served on {}.",
                self.resp_place()
            ),
        }
    }
}

impl Server {
    fn with_outbox<T>(&self, id: ClientId, use_it: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut engine = self.engine.borrow_mut();
        let mut gone = Outbox::default();
        use_it(engine.outbox(id).unwrap_or(&mut gone))
    }

    /// All that a client was answered, once it may be told.
    async fn take_output(&self, id: ClientId) -> Vec<u8> {
        self.until_synced(id).await;
        self.engine.borrow_mut().take_output(id)
    }

    /// A token of the system's entropy, for who gave none.
    pub(super) fn make_token(entropy: impl Fn() -> u64) -> Secret {
        let token: String = (0..3).map(|_| format!("{:016x}", entropy())).collect();
        Secret::new(token.as_bytes())
    }
}
