//! A client's input, request by request. What a pipeline sent together is found together, so that
//! the memory that its requests will read is fetched at once: each would wait for its own.

use super::client::{ClientId, State};
use super::time::Now;
use super::{Engine, Fed, closing};
use crate::config;
use crate::proto::Args;
use crate::proto::request::{Batch, Parsed, Parser, RequestLimits};

/// What is kept between the looks at input.
#[derive(Default)]
pub(super) struct Input {
    /// For the next client whose request begins.
    parser: Option<Box<Parser>>,
    /// Memory for the requests that `feed` finds; empty between its calls.
    batch: Batch<'static>,
}

impl Engine {
    /// Runs whole requests from the front of `input` until it ends, the client parks, or the
    /// turn's budget is spent.
    pub fn feed(&mut self, id: ClientId, input: &[u8], now: Now) -> Fed {
        self.set_now(now);
        if self.is_closed() {
            return Fed { used: 0, state: self.state(id), has_more: true };
        }
        let gone = Fed { used: 0, state: State::Closing, has_more: false };
        if input.len() > self.config.client_query_buffer_limit
            && self.is_input_over_limit(id, input.len())
        {
            return gone;
        }
        let Some(client) = self.clients.get_mut(id) else { return gone };
        client.query_len = input.len();
        let kept = client.parser.take().or_else(|| self.input.parser.take());
        let mut parser = kept.unwrap_or_default();
        let (used, has_more) = self.feed_requests(id, input, &mut parser);
        self.end_turn();
        self.stats.bytes_in += used as u64;
        let Some(client) = self.clients.get_mut(id) else { return gone };
        let keeper = if parser.is_between() { &mut self.input.parser } else { &mut client.parser };
        *keeper = Some(parser);
        client.bytes_in += used as u64;
        client.query_len = input.len() - used;
        let state = client.state;
        self.weigh(id);
        Fed { used, state, has_more }
    }

    /// Returns the bytes used, and whether it stopped for the turn's budget alone.
    fn feed_requests(&mut self, id: ClientId, input: &[u8], parser: &mut Parser) -> (usize, bool) {
        let started_us = self.start_lap();
        let (mut used, mut commands) = (0, 0);
        let (mut is_over, mut is_spent) = (input.is_empty(), false);
        while !is_over
            && !is_spent
            && let Some(limits) = self.limits_if_ready(id)
        {
            let mut batch = std::mem::take(&mut self.input.batch).recycle();
            let end = parser.find(&input[used..], limits, &mut batch);
            match end {
                Parsed::Partial => is_over = true,
                Parsed::Nothing(len) => used += len,
                Parsed::Broken(error) => {
                    self.answer_with(id, |reply| reply.error(&error));
                    self.clients[id].state = State::Closing;
                }
                Parsed::Request(_) => {
                    self.fetch_ahead(id, &batch);
                    for (words, len) in batch.requests() {
                        let is_first =
                            batch.is_inline() && used == 0 && self.clients[id].bytes_in == 0;
                        if closing::is_http(words[0]) || (is_first && closing::is_http_line(words))
                        {
                            self.refuse_http(id, batch.is_inline());
                            break;
                        }
                        self.request(id, Args::new(words));
                        if self.is_held(id) {
                            break;
                        }
                        used += len;
                        commands += 1;
                        self.settle();
                        is_spent = commands >= config::TURN_COMMANDS_MAX
                            || used >= config::TURN_BYTES_MAX
                            || self.stats.lap_us() - started_us >= config::TURN_US_MAX;
                        // A request may change what the next one may be.
                        if is_spent || self.limits_if_ready(id) != Some(limits) {
                            break;
                        }
                    }
                }
            }
            is_over |= used == input.len();
            self.input.batch = batch.recycle();
        }
        (used, is_spent && !is_over && self.state(id) == State::Ready)
    }

    /// Fetches what the requests of a batch will look up. The first argument is nearly always a
    /// key; where it is none, a look for it changes nothing.
    fn fetch_ahead(&self, id: ClientId, batch: &Batch) {
        if batch.len() > 1 {
            let args = batch.requests().map(|(words, _)| &words[1..]);
            self.keyspace.fetch_ahead(self.clients[id].db, args);
        }
    }

    /// How large a client's next request may be; None if it may send none now.
    #[inline]
    fn limits_if_ready(&self, id: ClientId) -> Option<RequestLimits> {
        let client = self.clients.get(id).filter(|client| client.state == State::Ready)?;
        Some(if !client.is_authenticated && self.acl.needs_login() {
            RequestLimits::unauthenticated()
        } else {
            RequestLimits::authenticated(self.config.proto_max_bulk_len)
        })
    }
}
