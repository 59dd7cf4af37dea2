//! HTTP/1.1: Upstash's REST API on the same data. hyper reads requests and writes answers; a
//! request is JSON, or a path, that becomes commands (proto/rest.rs), and its outbox writes JSON or
//! events.
//!
//! All of a connection lives in one task: a wake polls it whole, so that a request that waits (for
//! the end of CLIENT PAUSE, or of its script) and a stream look at the engine again. docs/http.md
//! says what is served.

mod answer;
mod wire;

use super::Server;
use super::connection::{Connection, Reader, Sending, Stream};
use crate::config::{self, Secret};
use crate::engine::client::{ClientId, Peer, State};
use crate::engine::rights::Rights;
use crate::engine::time::Now;
use crate::engine::{Engine, Ran};
use crate::proto::rest::{self, Command, Route};
use crate::proto::{Args, Outbox};
use answer::*;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;
use tokio::time::Instant;
use wire::{BODY_SILENCE_MAX, Exchange, HEAD_MAX, Io, Phase};

/// Serves a connection until either side ends it.
pub async fn run(server: Rc<Server>, stream: TcpStream, peer: Peer) {
    let (connection, reader) = Connection::new(Stream::Tcp(stream), Sending::Whole);
    let id = server.enter(&connection, peer);
    let exchange = Rc::default();
    let call = Call { server: server.clone(), connection: connection.clone(), id, exchange };
    // A connection that ends for whatever reason ends here alone.
    let _ = Rc::new(call).serve(reader).await;
    server.leave(id);
    if !connection.is_broken.get() && server.lingering.get() < LINGERING_MAX {
        server.lingering.set(server.lingering.get() + 1);
        let _ = tokio::time::timeout(LINGER_MAX, linger(connection.tcp())).await;
        server.lingering.set(server.lingering.get() - 1);
    }
}

/// Who is answered while still sending has this long to finish.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// So many at a time: they are no clients any more, and `maxclients` does not count them.
const LINGERING_MAX: usize = config::RESERVED_FILES / 2;

/// Reads what is still sent to a connection that is over. A socket that is closed with something
/// unread is reset, and the answer may be lost with it.
async fn linger(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).shutdown(Shutdown::Write)?;
    while poll_fn(|cx| discard(tcp, cx)).await? {}
    Ok(())
}

/// Reads and forgets. False at the end of the stream.
fn discard(tcp: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
    let mut scratch = [0; 4096];
    loop {
        ready!(tcp.poll_read_ready(cx))?;
        match tcp.try_read(&mut scratch) {
            Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
            read => return Poll::Ready(read.map(|len| len > 0)),
        }
    }
}

/// What the tasks of one connection share.
struct Call {
    server: Rc<Server>,
    connection: Rc<Connection>,
    id: ClientId,
    exchange: Rc<Exchange>,
}

impl Call {
    async fn serve(self: Rc<Self>, reader: Reader) -> io::Result<()> {
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
    fn give_up(&self) -> io::Result<()> {
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

    async fn converse(self: Rc<Self>, reader: Reader) -> io::Result<()> {
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
    async fn refuse(&self) -> io::Result<()> {
        let resp = self.server.take_output(self.id);
        let text = String::from_utf8_lossy(&resp);
        let text = text.trim_start_matches('-').trim_end();
        self.write(&bare(StatusCode::SERVICE_UNAVAILABLE, text)).await
    }

    /// The first byte, which stays to be read. None at the end of the stream.
    async fn peek(&self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        let tcp = self.connection.tcp();
        let len = poll_fn(|cx| tcp.poll_peek(cx, &mut ReadBuf::new(&mut byte))).await?;
        Ok((len > 0).then_some(byte[0]))
    }

    async fn write(&self, mut bytes: &[u8]) -> io::Result<()> {
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

    /// Answers one request.
    async fn answer(self: Rc<Self>, request: Request<Incoming>) -> Response<Answer> {
        self.exchange.phase.set(Phase::Answering);
        self.exchange.expect(None);
        let origin = request.headers().get(header::ORIGIN).cloned();
        let given = match *request.method() {
            Method::OPTIONS if check_host(&request).is_ok() => Given::preflight(request.headers()),
            _ => self.given(request).await.unwrap_or_else(Given::refusal),
        };
        let body = Answer { content: given.content, exchange: self.exchange.clone() };
        let mut response = Response::new(body);
        *response.status_mut() = given.status;
        *response.headers_mut() = given.headers;
        // A browser says whose page asks, and then wants to hear that the page may.
        if let Some(origin) = origin {
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, SYNC_TOKEN.into());
            headers.insert(header::VARY, header::ORIGIN.into());
        }
        response
    }

    /// From the checks to the commands. Nothing is read or run before the token is known.
    async fn given(self: &Rc<Self>, request: Request<Incoming>) -> Result<Given, Refusal> {
        check_host(&request)?;
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query());
        if !matches!(head.method, Method::GET | Method::HEAD | Method::POST | Method::PUT) {
            return Ok(Given::new(StatusCode::METHOD_NOT_ALLOWED, Bytes::new())
                .with(header::ALLOW, "GET, HEAD, POST, PUT, OPTIONS"));
        }
        let rights = self.rights(&head.headers, query).ok_or_else(unauthorized)?;
        if head.method == Method::HEAD {
            return Ok(Given::new(StatusCode::OK, Bytes::new()));
        }
        self.server.engine.borrow_mut().trust(self.id, rights);
        let route = rest::route(path, query);
        if let Route::Stream(words) = route {
            return Ok(self.open_stream(&words).await);
        }
        let form = Form::read(&head.headers, route == Route::MultiExec)?;
        self.exchange.expect((!body.is_end_stream()).then_some(BODY_SILENCE_MAX));
        let body = self.read(body).await;
        self.exchange.expect(None);
        let body = body?;
        self.server.with_outbox(self.id, |outbox| *outbox = form.outbox());
        let is_cut = match route {
            Route::Pipeline => {
                let commands = rest::commands(&body, config::HTTP_COMMANDS_MAX).map_err(wrong)?;
                self.pipeline(&commands, form).await;
                false
            }
            Route::MultiExec => {
                let commands = rest::commands(&body, config::HTTP_COMMANDS_MAX).map_err(wrong)?;
                self.transaction(&commands).await?;
                false
            }
            Route::Command | Route::Stream(_) => {
                let command = rest::command(path, query, &body).map_err(wrong)?;
                self.check_size(&command).map_err(too_large)?;
                self.command(&command).await
            }
        };
        let output = self.server.take_output(self.id);
        // A reply that was too large is told of with 200; the errors of a pipeline are its items.
        let has_failed = is_error(&output) && !is_cut && route != Route::Pipeline;
        let status = if has_failed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let given = Given::new(status, output.into()).with(header::CONTENT_TYPE, form.media_type());
        Ok(if has_failed { given } else { self.with_sync_token(given) })
    }

    /// What the token allows; None if it is none of ours.
    fn rights(&self, headers: &HeaderMap, query: Option<&str>) -> Option<Rights> {
        let in_query = rest::token(query);
        let in_header = headers.get(header::AUTHORIZATION).map(|value| {
            let value = value.as_bytes();
            let (scheme, token) = value.split_at(value.len().min("Bearer ".len()));
            if scheme.eq_ignore_ascii_case(b"bearer ") { token } else { value }
        });
        let token = in_query.as_deref().or(in_header)?;
        let engine = self.server.engine.borrow();
        let config = &engine.config;
        let whole = config.http_token.as_ref().or(config.requirepass.as_ref());
        if whole.unwrap_or(&self.server.made_token).admits(token) {
            return Some(Rights::All);
        }
        let may_read = config.http_readonly_token.as_ref().is_some_and(|it| it.admits(token));
        may_read.then_some(Rights::ReadOnly)
    }

    /// Reads a body whole.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
        let max = self.server.engine.borrow().config.client_query_buffer_limit;
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        if announced > max {
            return Err(too_large(oversized(max, announced)));
        }
        let (mut whole, mut first) = (BytesMut::new(), Bytes::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame
                .map_err(|problem| wrong(format!("ERR the body cannot be read: {problem}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                whole.extend_from_slice(&first);
            }
            whole.extend_from_slice(&data);
            if whole.len() > max {
                return Err(too_large(oversized(max, whole.len())));
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// Whether a command is small enough.
    fn check_size(&self, command: &[Cow<[u8]>]) -> Result<(), String> {
        let max = self.server.engine.borrow().config.http_max_request_size;
        let len = command.iter().map(|word| word.len()).sum::<usize>();
        if len > max { Err(oversized(max, len)) } else { Ok(()) }
    }

    /// Whether another reply may follow those of a pipeline that have been written.
    fn check_room(&self) -> Result<(), String> {
        let max = self.server.engine.borrow().config.http_max_request_size;
        let len = self.server.with_outbox(self.id, |outbox| outbox.len()) as usize;
        if len > max { Err(oversized(max, len)) } else { Ok(()) }
    }

    /// Runs one command. True if its reply was too large and an error stands in its place.
    async fn command(&self, words: &[Cow<'_, [u8]>]) -> bool {
        let start = self.begin_reply();
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        self.run(|engine, now| engine.run_rest(self.id, Args::new(&words), now)).await;
        self.cut_off(start)
    }

    /// Where a reply begins that grows no further once it is too large.
    fn begin_reply(&self) -> u64 {
        let max = self.server.engine.borrow().config.http_max_request_size;
        self.server.with_outbox(self.id, |outbox| {
            outbox.bound(max);
            outbox.position()
        })
    }

    /// Puts an error in the place of a reply that is too large. True if it was.
    fn cut_off(&self, start: u64) -> bool {
        let max = self.server.engine.borrow().config.http_max_request_size;
        self.server.with_outbox(self.id, |outbox| {
            let len = (outbox.position() - start) as usize;
            let is_cut = len > max;
            if is_cut {
                outbox.truncate(start);
                outbox.bound(usize::MAX);
                outbox.reply().error_text(oversized(max, len));
            }
            is_cut
        })
    }

    /// Runs commands one after another; those of others may come between. Once the replies are too
    /// large together, no more are run.
    async fn pipeline(&self, commands: &[Command<'_>], form: Form) {
        let between = |outbox: &mut Outbox, text: &[u8]| {
            if form != Form::Resp2 {
                outbox.raw(text);
            }
        };
        let mut turn_us = self.server.now().mono_us;
        self.server.with_outbox(self.id, |outbox| between(outbox, b"["));
        for (at, command) in commands.iter().enumerate() {
            if at > 0 {
                self.server.with_outbox(self.id, |outbox| between(outbox, b","));
            }
            let checked = command.as_ref().map_err(Clone::clone);
            let checked = self.check_room().and(checked);
            match checked.and_then(|words| self.check_size(words).map(|()| words)) {
                Ok(words) => drop(self.command(words).await),
                Err(problem) => {
                    self.server.with_outbox(self.id, |outbox| outbox.reply().error_text(&problem));
                }
            }
            if (at + 1) % config::TURN_COMMANDS_MAX == 0
                || self.server.now().mono_us - turn_us >= config::TURN_US_MAX
            {
                tokio::task::yield_now().await;
                turn_us = self.server.now().mono_us;
            }
        }
        self.server.with_outbox(self.id, |outbox| between(outbox, b"]"));
    }

    /// Runs commands in one turn, or none of them.
    async fn transaction(&self, commands: &[Command<'_>]) -> Result<(), Refusal> {
        let mut requests = Vec::new();
        for command in commands {
            let command = command.as_ref().map_err(|problem| wrong(problem.clone()))?;
            self.check_size(command).map_err(too_large)?;
            requests.push(command.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>());
        }
        let requests: Vec<Args> = requests.iter().map(|words| Args::new(words)).collect();
        let start = self.begin_reply();
        self.run(|engine, now| engine.run_transaction(self.id, &requests, now)).await;
        self.cut_off(start);
        Ok(())
    }

    /// Runs something to its end, however often it is put off.
    async fn run(&self, request: impl Fn(&mut Engine, Now) -> Ran) {
        loop {
            let ran = self.server.turn(&request);
            if ran.state == State::Running {
                tokio::task::spawn_local(self.server.clone().run_script(self.id));
            }
            if ran.is_postponed && ran.state == State::Ready {
                tokio::task::yield_now().await;
            }
            // One that is closing does not go on: `ended` sees to it.
            poll_fn(|_| match self.state() {
                State::Parked | State::Running | State::Closing => Poll::Pending,
                State::Ready => Poll::Ready(()),
            })
            .await;
            if !ran.is_postponed {
                return;
            }
        }
    }

    /// Subscribes, or begins to monitor; the answer has no end.
    async fn open_stream(self: &Rc<Self>, words: &[Cow<'_, [u8]>]) -> Given {
        self.server.with_outbox(self.id, |outbox| *outbox = Outbox::events());
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        self.run(|engine, now| engine.run(self.id, Args::new(&words), now)).await;
        if self.server.with_outbox(self.id, |outbox| is_error(outbox.pending())) {
            let output = self.server.take_output(self.id);
            return Given::new(StatusCode::BAD_REQUEST, output.into())
                .with(header::CONTENT_TYPE, JSON);
        }
        self.connection.sending.set(Sending::Streamed);
        let next = Instant::now() + KEEP_ALIVE_PERIOD;
        let keep_alive = tokio::time::interval_at(next, KEEP_ALIVE_PERIOD);
        let mut given = Given::new(StatusCode::OK, Bytes::new());
        given.content = Content::Events { call: self.clone(), keep_alive };
        let given = given
            .with(header::CONTENT_TYPE, "text/event-stream")
            .with(header::CACHE_CONTROL, "no-cache");
        self.with_sync_token(given)
    }

    /// Names the state of the data: another one after each change.
    fn with_sync_token(&self, mut given: Given) -> Given {
        let engine = self.server.engine.borrow();
        let mut digits = itoa::Buffer::new();
        let changes = digits.format(engine.keyspace.ledger.changes);
        let token = [&engine.run_id[..8], "=", changes].concat();
        let token = HeaderValue::try_from(token).expect("digits are a header's value");
        given.headers.insert(SYNC_TOKEN, token);
        given
    }
}

impl Server {
    fn with_outbox<T>(&self, id: ClientId, use_it: impl FnOnce(&mut Outbox) -> T) -> T {
        let mut engine = self.engine.borrow_mut();
        let mut gone = Outbox::default();
        use_it(engine.outbox(id).unwrap_or(&mut gone))
    }

    fn take_output(&self, id: ClientId) -> Vec<u8> {
        self.engine.borrow_mut().take_output(id)
    }

    /// A token of the system's entropy, for who gave none.
    pub(super) fn make_token(entropy: impl Fn() -> u64) -> Secret {
        let token: String = (0..3).map(|_| format!("{:016x}", entropy())).collect();
        Secret::new(token.as_bytes())
    }
}
