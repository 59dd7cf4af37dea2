//! Answers: the forms in which a caller can have them, refusals, and bodies, of which that of an
//! event stream grows while it is sent.

use super::wire::{Exchange, Phase};
use super::{Call, discard};
use crate::proto::{JsonStyle, Outbox};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode, Version};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Interval;

pub const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
pub const RESPONSE_FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");
pub const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");

/// A stream that is silent for longer is taken for dead: by proxies after a minute, by Node's fetch
/// after 300 s.
pub const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);
pub const KEEP_ALIVE: &[u8] = b": keepalive\n\n";

pub const JSON: &str = "application/json";

pub fn oversized(max: usize, len: usize) -> String {
    format!("ERR max request size exceeded. Limit: {max}, Actual: {len}")
}

/// Why a request is not run.
pub struct Refusal {
    pub status: StatusCode,
    pub text: String,
}

/// It makes no sense.
pub fn wrong(text: String) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text }
}

pub fn too_large(text: String) -> Refusal {
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, text }
}

pub fn unauthorized() -> Refusal {
    let text = "WRONGPASS invalid or missing auth token. toril prints its token when it starts, \
                unless http-token or requirepass gives it";
    Refusal { status: StatusCode::UNAUTHORIZED, text: text.into() }
}

/// A whole answer for who never came as far as hyper, or whom hyper could not understand.
pub fn bare(status: StatusCode, text: &str) -> Vec<u8> {
    let body = error_json(text);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    answer
}

pub fn error_json(text: &str) -> Vec<u8> {
    let mut outbox = Outbox::json(JsonStyle::default());
    outbox.reply().error_text(text);
    outbox.take()
}

/// HTTP/1.1 asks for one `Host`, HTTP/1.0 does not. Of two, a server on the way may have believed
/// either.
pub fn check_host(request: &Request<Incoming>) -> Result<(), Refusal> {
    match request.headers().get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Err(wrong("ERR no Host header".into())),
        0 | 1 => Ok(()),
        _ => Err(wrong("ERR more than one Host header".into())),
    }
}

/// Whether an answer is an error as a whole, in JSON or RESP.
pub fn is_error(output: &[u8]) -> bool {
    output.starts_with(b"{\"error\"") || output.starts_with(b"-")
}

/// The status of an answer that hyper gave on its own.
pub fn status_of(answer: &[u8]) -> Option<StatusCode> {
    let code = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    StatusCode::from_bytes(code).ok()
}

/// How a caller wants replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Json(JsonStyle),
    Resp2,
}

impl Form {
    pub fn read(headers: &HeaderMap, transaction: bool) -> Result<Self, Refusal> {
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

    pub fn outbox(self) -> Outbox {
        match self {
            Form::Json(style) => Outbox::json(style),
            Form::Resp2 => Outbox::default(),
        }
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Form::Json(_) => JSON,
            Form::Resp2 => "application/octet-stream",
        }
    }
}

pub fn unknown(name: HeaderName, value: &[u8], known: &str) -> Refusal {
    wrong(format!("ERR {name} takes '{known}', not '{}'", value.escape_ascii()))
}

/// Room for those that hyper adds as well.
pub const ANSWER_HEADERS_MAX: usize = 8;

/// What a request is given for an answer.
pub struct Given {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub content: Content,
}

impl Given {
    pub fn new(status: StatusCode, body: Bytes) -> Self {
        let headers = HeaderMap::with_capacity(ANSWER_HEADERS_MAX);
        Self { status, headers, content: Content::Whole(body) }
    }

    /// What a browser hears when it asks whether a page may ask.
    pub fn preflight(asked: &HeaderMap) -> Self {
        let mut given = Self::new(StatusCode::OK, Bytes::new())
            .with(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, OPTIONS")
            .with(header::ACCESS_CONTROL_MAX_AGE, "86400");
        // A star would not cover `authorization`. Without the token nothing can be done anyway.
        if let Some(asked) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            given.headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        given
    }

    pub fn refusal(refusal: Refusal) -> Self {
        let body = error_json(&refusal.text);
        Self::new(refusal.status, body.into()).with(header::CONTENT_TYPE, JSON)
    }

    pub fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

/// A response's body.
pub struct Answer {
    pub content: Content,
    pub exchange: Rc<Exchange>,
}

pub enum Content {
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
