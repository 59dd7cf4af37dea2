//! HTTP/1.1: Upstash's REST API on the same data. hyper reads requests and writes answers; a
//! request is JSON, or a path, that becomes commands (proto/rest.rs), and its outbox writes JSON or
//! events.
//!
//! All of a connection lives in one task: a wake polls it whole, so that a request that waits (for
//! the end of CLIENT PAUSE, or of its script) and a stream look at the engine again. docs/http.md
//! says what is served.

use super::Server;
use super::connection::{Connection, Reader, Sending, Stream};
use crate::config::{self, Secret};
use crate::engine::client::{ClientId, Peer, State};
use crate::engine::rights::Rights;
use crate::engine::time::Now;
use crate::engine::{Engine, Ran};
use crate::proto::rest::{self, Command, Route};
use crate::proto::{Args, JsonStyle, Outbox};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, Sleep};

const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
const RESPONSE_FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");
const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

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

/// How far a request and its answer have come.
#[derive(Default)]
struct Exchange {
    phase: Cell<Phase>,
    /// How long the caller may send nothing; None where it need not send.
    patience: Cell<Option<Duration>>,
    /// When that begins; None where nobody has looked since it began.
    silent_since: Cell<Option<Instant>>,
    /// What hyper has said on its own: the request was no HTTP, or its head was too long.
    withheld: RefCell<Vec<u8>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    /// Between requests: what hyper writes now is its own.
    #[default]
    Idle,
    Answering,
    /// The answer's last byte is in hyper's buffer.
    Ending,
}

/// From a request's first byte, its whole head may take this long, however it drips.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// A body may take any time, but not without a byte of it for so long.
const BODY_SILENCE_MAX: Duration = Duration::from_secs(30);

impl Exchange {
    /// The caller has begun to owe bytes, or some have come, or it owes none.
    fn expect(&self, patience: Option<Duration>) {
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
    fn poll_patience(&self, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
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

/// A stream that is silent for longer is taken for dead: by proxies after a minute, by Node's fetch
/// after 300 s.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);
const KEEP_ALIVE: &[u8] = b": keepalive\n\n";

const JSON: &str = "application/json";

fn oversized(max: usize, len: usize) -> String {
    format!("ERR max request size exceeded. Limit: {max}, Actual: {len}")
}

/// Why a request is not run.
struct Refusal {
    status: StatusCode,
    text: String,
}

/// It makes no sense.
fn wrong(text: String) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text }
}

fn too_large(text: String) -> Refusal {
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, text }
}

fn unauthorized() -> Refusal {
    let text = "WRONGPASS invalid or missing auth token. toril prints its token when it starts, \
                unless http-token or requirepass gives it";
    Refusal { status: StatusCode::UNAUTHORIZED, text: text.into() }
}

/// A whole answer for who never came as far as hyper, or whom hyper could not understand.
fn bare(status: StatusCode, text: &str) -> Vec<u8> {
    let body = error_json(text);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

fn error_json(text: &str) -> Vec<u8> {
    let mut outbox = Outbox::json(JsonStyle::default());
    outbox.reply().error_text(text);
    outbox.take()
}

/// HTTP/1.1 asks for one `Host`, HTTP/1.0 does not. Of two, a server on the way may have believed
/// either.
fn check_host(request: &Request<Incoming>) -> Result<(), Refusal> {
    match request.headers().get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Err(wrong("ERR no Host header".into())),
        0 | 1 => Ok(()),
        _ => Err(wrong("ERR more than one Host header".into())),
    }
}

/// Whether an answer is an error as a whole, in JSON or RESP.
fn is_error(output: &[u8]) -> bool {
    output.starts_with(b"{\"error\"") || output.starts_with(b"-")
}

/// The status of an answer that hyper gave on its own.
fn status_of(answer: &[u8]) -> Option<StatusCode> {
    let code = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    StatusCode::from_bytes(code).ok()
}

/// How a caller wants replies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json(JsonStyle),
    Resp2,
}

impl Form {
    fn read(headers: &HeaderMap, transaction: bool) -> Result<Self, Refusal> {
        let value = |name: HeaderName| headers.get(name).map(HeaderValue::as_bytes);
        let base64 = match value(ENCODING) {
            None => false,
            Some(b"base64") => true,
            Some(other) => return Err(unknown(ENCODING, other, "base64")),
        };
        match value(RESPONSE_FORMAT) {
            Some(b"resp2") if base64 => Err(wrong(format!(
                "ERR {RESPONSE_FORMAT}: resp2 and {ENCODING}: base64 exclude each other"
            ))),
            Some(b"resp2") if !transaction => Ok(Self::Resp2),
            None | Some(b"resp2" | b"json") => Ok(Self::Json(JsonStyle { base64, transaction })),
            Some(other) => Err(unknown(RESPONSE_FORMAT, other, "resp2")),
        }
    }

    fn outbox(self) -> Outbox {
        match self {
            Form::Json(style) => Outbox::json(style),
            Form::Resp2 => Outbox::default(),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Form::Json(_) => JSON,
            Form::Resp2 => "application/octet-stream",
        }
    }
}

fn unknown(name: HeaderName, value: &[u8], known: &str) -> Refusal {
    wrong(format!("ERR {name} takes '{known}', not '{}'", value.escape_ascii()))
}

/// Room for those that hyper adds as well.
const ANSWER_HEADERS_MAX: usize = 8;

/// What a request is given for an answer.
struct Given {
    status: StatusCode,
    headers: HeaderMap,
    content: Content,
}

impl Given {
    fn new(status: StatusCode, body: Bytes) -> Self {
        let headers = HeaderMap::with_capacity(ANSWER_HEADERS_MAX);
        Self { status, headers, content: Content::Whole(body) }
    }

    /// What a browser hears when it asks whether a page may ask.
    fn preflight(asked: &HeaderMap) -> Self {
        let mut given = Self::new(StatusCode::OK, Bytes::new())
            .with(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, OPTIONS")
            .with(header::ACCESS_CONTROL_MAX_AGE, "86400");
        // A star would not cover `authorization`. Without the token nothing can be done anyway.
        if let Some(asked) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            given.headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        given
    }

    fn refusal(refusal: Refusal) -> Self {
        let body = error_json(&refusal.text);
        Self::new(refusal.status, body.into()).with(header::CONTENT_TYPE, JSON)
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

/// A response's body.
struct Answer {
    content: Content,
    exchange: Rc<Exchange>,
}

enum Content {
    /// Empty once it is sent.
    Whole(Bytes),
    Events {
        call: Rc<Call>,
        keep_alive: Interval,
    },
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Content::Whole(bytes) => std::mem::take(bytes),
            Content::Events { call, keep_alive } => {
                let output = call.server.engine.borrow_mut().take_chunk(call.id);
                if output.is_empty() {
                    if call.has_left(cx) {
                        return Poll::Ready(None);
                    }
                    ready!(keep_alive.poll_tick(cx));
                    Bytes::from_static(KEEP_ALIVE)
                } else {
                    keep_alive.reset();
                    output.into()
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Events { .. } => SizeHint::default(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.exchange.phase.set(Phase::Ending);
    }
}

impl Call {
    /// Whether the listener to a stream has closed its side: hyper does not look while it writes.
    /// Whatever else comes from it, such as its request's body, means nothing.
    fn has_left(&self, cx: &mut Context<'_>) -> bool {
        loop {
            match discard(self.connection.tcp(), cx) {
                Poll::Pending => return false,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return true,
            }
        }
    }
}

/// The socket as hyper sees it. What hyper writes on its own is kept from the caller, who gets it
/// as JSON.
struct Io {
    reader: Reader,
    call: Rc<Call>,
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
