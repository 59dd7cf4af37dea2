//! Event streams: an answer that grows while it is sent, until its reader leaves.

use super::Call;
use super::answer::{Content, Given, JSON, is_error};
use super::io::discard;
use crate::proto::{Args, Outbox};
use crate::server::connection::Sending;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header;
use std::borrow::Cow;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Interval};

/// A stream that is silent for longer is taken for dead: by proxies after a minute, by Node's fetch
/// after 300 s.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);
const KEEP_ALIVE: &[u8] = b": keepalive\n\n";

/// What a client listens to, as it arrives.
pub struct EventsBody {
    call: Rc<Call>,
    keep_alive: Interval,
}

impl EventsBody {
    pub fn new(call: Rc<Call>) -> Self {
        let next = Instant::now() + KEEP_ALIVE_PERIOD;
        Self { call, keep_alive: tokio::time::interval_at(next, KEEP_ALIVE_PERIOD) }
    }

    /// The next chunk; None once the listener has left.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Self { call, keep_alive } = self;
        let output = call.server.engine.borrow_mut().take_chunk(call.id);
        if !output.is_empty() {
            keep_alive.reset();
            return Poll::Ready(Some(output.into()));
        }
        if call.has_left(cx) {
            return Poll::Ready(None);
        }
        ready!(keep_alive.poll_tick(cx));
        Poll::Ready(Some(Bytes::from_static(KEEP_ALIVE)))
    }
}

impl Call {
    /// Subscribes, or begins to monitor; the answer has no end.
    pub(super) async fn open_stream(self: &Rc<Self>, words: &[Cow<'_, [u8]>]) -> Given {
        self.server.with_outbox(self.id, |outbox| *outbox = Outbox::events());
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        self.run(|engine, now| engine.run(self.id, Args::new(&words), now)).await;
        self.server.until_synced(self.id).await;
        if self.server.with_outbox(self.id, |outbox| is_error(outbox.pending())) {
            let output = self.server.take_output(self.id).await;
            return Given::new(StatusCode::BAD_REQUEST, output.into())
                .with(header::CONTENT_TYPE, JSON);
        }
        self.connection.sending.set(Sending::Streamed);
        let mut given = Given::new(StatusCode::OK, Bytes::new());
        given.content = Content::Events(EventsBody::new(self.clone()));
        let given = given
            .with(header::CONTENT_TYPE, "text/event-stream")
            .with(header::CACHE_CONTROL, "no-cache");
        self.with_sync_token(given)
    }

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
