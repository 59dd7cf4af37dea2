//! Upstash's REST API: a request is JSON, or a path, that becomes commands (proto/rest.rs), and the
//! client's outbox writes the replies as JSON.

use super::Call;
use super::answer::{Given, JSON, Refusal, is_error, too_large, wrong};
use super::io::BODY_SILENCE_MAX;
use crate::config;
use crate::engine::client::State;
use crate::engine::time::Now;
use crate::engine::{Engine, Ran};
use crate::proto::rest::{self, Command, Route};
use crate::proto::{Args, JsonStyle, Outbox};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
const RESPONSE_FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");
pub const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

fn oversized(max: usize, len: usize) -> String {
    format!("ERR max request size exceeded. Limit: {max}, Actual: {len}")
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

impl Call {
    /// From the token's approval to the commands' replies.
    pub(super) async fn upstash(
        self: &Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Given, Refusal> {
        let (head, body) = request.into_parts();
        let (path, query) = (head.uri.path(), head.uri.query());
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
        let output = self.server.take_output(self.id).await;
        // A reply that was too large is told of with 200; the errors of a pipeline are its items.
        let has_failed = is_error(&output) && !is_cut && route != Route::Pipeline;
        let status = if has_failed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        let given = Given::new(status, output.into()).with(header::CONTENT_TYPE, form.media_type());
        Ok(if has_failed { given } else { self.with_sync_token(given) })
    }

    /// Runs TORIL EXPECT on a body, which it answers with JSON of its own.
    pub(super) async fn expect(
        self: &Rc<Self>,
        request: Request<Incoming>,
    ) -> Result<Given, Refusal> {
        let (_, body) = request.into_parts();
        self.exchange.expect((!body.is_end_stream()).then_some(BODY_SILENCE_MAX));
        let body = self.read(body).await;
        self.exchange.expect(None);
        let body = body?;
        let form = Form::Json(JsonStyle { base64: false, transaction: false });
        self.server.with_outbox(self.id, |outbox| *outbox = form.outbox());
        let words = [&b"TORIL"[..], b"EXPECT", &body].map(Cow::Borrowed);
        self.check_size(&words).map_err(too_large)?;
        self.command(&words).await;
        let output = self.server.take_output(self.id).await;
        let (status, text) = match rest::result_text(&output) {
            Some(text) => (StatusCode::OK, text.into_bytes().into()),
            None => (StatusCode::BAD_REQUEST, output.into()),
        };
        Ok(Given::new(status, text).with(header::CONTENT_TYPE, JSON))
    }

    /// Reads a body whole.
    pub(super) async fn read(&self, mut body: Incoming) -> Result<Bytes, Refusal> {
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
    pub(super) async fn run(&self, request: impl Fn(&mut Engine, Now) -> Ran) {
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

    /// Names the state of the data: another one after each change.
    pub(super) fn with_sync_token(&self, mut given: Given) -> Given {
        let engine = self.server.engine.borrow();
        let mut digits = itoa::Buffer::new();
        let changes = digits.format(engine.keyspace.aftermath.changes);
        let token = [&engine.run_id[..8], "=", changes].concat();
        let token = HeaderValue::try_from(token).expect("digits are a header's value");
        given.headers.insert(SYNC_TOKEN, token);
        given
    }
}
