//! The answers over HTTP: results, refusals, and bodies, of which that of an event stream grows
//! while it is sent.

use super::io::{Exchange, Phase};
use super::streams::EventsBody;
use crate::proto::{JsonStyle, Outbox};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

pub const JSON: &str = "application/json";

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

/// Whether an answer is an error as a whole, in JSON or RESP.
pub fn is_error(output: &[u8]) -> bool {
    output.starts_with(b"{\"error\"") || output.starts_with(b"-")
}

/// The status of an answer that hyper gave on its own.
pub fn status_of(answer: &[u8]) -> Option<StatusCode> {
    let code = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    StatusCode::from_bytes(code).ok()
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
    Events(EventsBody),
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
            Content::Events(events) => match ready!(events.poll(cx)) {
                Some(data) => data,
                None => return Poll::Ready(None),
            },
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Events(_) => SizeHint::default(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.exchange.phase.set(Phase::Ending);
    }
}
