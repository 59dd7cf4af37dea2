//! The reasons for which the server ends a connection on its own. There are too many, protected
//! mode, a caller who speaks HTTP, requests without an end, replies that nobody reads, idleness.

use super::Engine;
use super::alarms::Alarm;
use super::client::{Client, ClientId, ClientPart, Peer, State, Transport};
use super::effect::Effect;
use super::time::Now;
use crate::config::{ClientClass, MemoryShare, OutputLimit};
use crate::proto::Error;
use crate::util::wheel::TimerId;

/// How often idle clients are looked for.
const IDLE_LOOK_US: u64 = 1_000_000;

/// What a client is told that is one too many.
pub const TOO_MANY_CLIENTS: &str = "ERR max number of clients reached";

const PROTECTED_MODE: &str = "DENIED Redis is running in protected mode because protected mode is \
    enabled and no password is set for the default user. In this mode connections are only \
    accepted from the loopback interface. If you want to connect from external computers, set a \
    password (requirepass), or switch protected mode off with CONFIG SET protected-mode no from \
    this machine or --protected-mode no, once you are sure that nobody on the internet can reach \
    the port.";

pub(super) struct Closing {
    /// How long one reply may be where no setting bounds it: half of the machine's memory.
    reply_bytes_max: u64,
    /// The next look for idle clients.
    idle_look: Option<TimerId>,
}

impl Closing {
    /// On a machine of so much memory; 0 where nobody knows.
    pub fn new(memory_bytes: u64) -> Self {
        let reply_bytes_max = if memory_bytes == 0 { u64::MAX } else { memory_bytes / 2 };
        Self { reply_bytes_max, idle_look: None }
    }
}

impl Engine {
    /// What a client that may not come in is told.
    pub(super) fn refusal(&self, peer: &Peer) -> Option<&'static str> {
        if self.clients.len() >= self.config.maxclients {
            return Some(TOO_MANY_CLIENTS);
        }
        // Whoever wants to keep others out needs a token for more than half of the places.
        let strangers_max = self.config.maxclients.div_ceil(2);
        if peer.transport == Transport::Http && self.clients.strangers >= strangers_max {
            return Some("ERR max number of clients that have shown no token reached");
        }
        let is_open = self.config.protected_mode && self.acl.default_user().needs_no_password;
        (is_open && !peer.is_loopback).then_some(PROTECTED_MODE)
    }

    /// Where clients of Redis are served.
    pub fn resp_place(&self) -> String {
        match (self.facts.tcp_port(), &self.config.unixsocket) {
            (0, Some(path)) => format!("the Unix socket {path}"),
            (port, _) => format!("port {port} (redis://127.0.0.1:{port})"),
        }
    }

    /// Somebody took this port for a web server, or makes a browser do so: nothing runs and the
    /// connection closes. An answer goes to who sent lines, which HTTP is made of.
    pub(super) fn refuse_http(&mut self, id: ClientId, is_inline: bool) {
        self.clients[id].state = State::Closing;
        tracing::warn!("a client spoke HTTP; its connection is closed with nothing run");
        if is_inline {
            self.answer_http(id);
        }
    }

    fn answer_http(&mut self, id: ClientId) {
        let place = self.resp_place();
        let http = match self.facts.http_port() {
            Some(http) => format!("HTTP is served on port {http}."),
            None => "Start toril with --http-port to serve HTTP as well.".into(),
        };
        let body = format!(
            "This is toril, which speaks the Redis protocol on {place}, not HTTP. Point a Redis \
             client at it. {http}\n"
        );
        let head = format!(
            "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        let client = &mut self.clients[id];
        client.outbox.raw(head.as_bytes());
        client.outbox.raw(body.as_bytes());
        self.clients.mark_dirty(id);
    }

    /// Takes note of how much input waits behind a client's last request. More than its limit ends
    /// the client: the request has no end in sight, or too many wait while it is parked.
    pub fn note_input(&mut self, id: ClientId, len: usize, now: Now) {
        self.set_now(now);
        let Some(client) = self.clients.get_mut(id) else { return };
        client.query_len = len;
        if client.state != State::Closing {
            self.is_input_over_limit(id, len);
        }
        self.weigh(id);
    }

    /// Whether more waits than a client may send ahead, in its input and in MULTI; then the client
    /// ends. As in Redis, words that have come whole do not count: a request may have many.
    pub(super) fn is_input_over_limit(&mut self, id: ClientId, input_len: usize) -> bool {
        let Some(client) = self.clients.get_mut(id) else { return false };
        let parsed = client.parser.as_ref().map_or(0, |parser| parser.parsed_len());
        let waiting = input_len.saturating_sub(parsed) + client.transaction.size();
        let is_over = waiting > self.config.client_query_buffer_limit;
        if is_over {
            if client.state == State::Ready {
                client.state = State::Closing;
            }
            self.stats.query_limit_disconnections += 1;
            tracing::warn!("a client whose requests have no end is closed: {waiting} bytes wait");
            self.ask(Effect::Close { client: id });
        }
        is_over
    }

    /// How much may wait for a client; None if it has no limit.
    #[inline]
    fn output_limit(&self, client: &Client) -> Option<OutputLimit> {
        let class = match client.subscriptions() {
            // What a request over HTTP did is answered, come what may: another would do it again.
            // Its replies have a limit of their own.
            0 if client.peer.transport == Transport::Http && !client.is_monitor => return None,
            0 if client.part == ClientPart::Replica => ClientClass::Replica,
            0 => ClientClass::Normal,
            _ => ClientClass::Pubsub,
        };
        Some(self.config.client_output_buffer_limits[class as usize])
    }

    /// Bytes that a client's next reply may have, behind so many that wait.
    #[inline]
    pub(super) fn output_room(&self, client: &Client, waiting: u64) -> u64 {
        match self.output_limit(client) {
            None => self.config.http_max_request_size as u64,
            Some(limit) if limit.hard_bytes > 0 => limit.hard_bytes.saturating_sub(waiting),
            _ => self.closing.reply_bytes_max,
        }
    }

    /// A reply has outgrown its room, and its end was not written. The client is closed if its
    /// output limit is why, or if only a part of it is at hand, of what EXEC answers while a
    /// script in it is suspended. Else there is an error in the reply's place. Over HTTP the server
    /// puts one there, which knows where the whole answer began.
    #[cold]
    pub(super) fn end_long_reply(&mut self, id: ClientId, start: u64, len: u64, is_part: bool) {
        let client = &self.clients[id];
        let Some(limit) = self.output_limit(client) else { return };
        if limit.hard_bytes > 0 || is_part || client.transaction.exec.is_some() {
            let waiting = client.outbox.len().max(len);
            return self.close_for_output(id, waiting);
        }
        if !client.wants_replies() {
            return;
        }
        let outbox = &mut self.clients[id].outbox;
        outbox.truncate(start);
        let error = Error::new(format!(
            "OOM the reply would be longer than {} bytes, half of the machine's memory: ask for \
             less, or set client-output-buffer-limit",
            self.closing.reply_bytes_max
        ));
        outbox.reply().error(&error);
        self.stats.count_error(&error);
    }

    /// Closes a client that let more pile up than its class may, at once or for too long. Looks
    /// again when the time of one that may do so for a while is over.
    pub(super) fn check_output_limit(&mut self, id: ClientId) {
        let now_us = self.keyspace.now.mono_us;
        let Some(client) = self.clients.get(id) else { return };
        let Some(limit) = self.output_limit(client) else { return };
        let (len, since) = (client.outbox.len(), client.over_soft_limit_since_us);
        let is_over_hard = limit.hard_bytes > 0 && len > limit.hard_bytes;
        let is_over_soft = limit.soft_bytes > 0 && len > limit.soft_bytes;
        if !is_over_hard && !is_over_soft && since.is_none() {
            return;
        }
        let span_us = limit.soft_s.saturating_mul(1_000_000);
        let end_us = since.unwrap_or(now_us).saturating_add(span_us);
        if is_over_hard || (is_over_soft && since.is_some() && end_us < now_us) {
            return self.close_for_output(id, len);
        }
        if is_over_soft && since.is_none() {
            // In Redis, too, the time must be over.
            self.alarms.set(end_us.saturating_add(1), Alarm::SoftLimit(id));
        }
        let since = is_over_soft.then_some(since.unwrap_or(now_us));
        self.clients[id].over_soft_limit_since_us = since;
    }

    /// Weighs a client that has taken or freed memory; if all are too heavy together, closes the
    /// heaviest until they are not. Costs nothing unless `maxmemory-clients` is set.
    #[inline]
    pub(super) fn weigh(&mut self, id: ClientId) {
        if self.config.maxmemory_clients != MemoryShare::Bytes(0) {
            self.weigh_one(id);
        }
    }

    #[cold]
    fn weigh_one(&mut self, id: ClientId) {
        self.clients.weigh(id);
        let limit = self.config.maxmemory_clients.bytes(self.config.maxmemory);
        if limit > 0 {
            self.close_heaviest(limit);
        }
    }

    /// Weighs all clients: `maxmemory-clients` was changed, and who came before was not weighed.
    /// Whoever is too heavy is closed when the client that changed it has its answer.
    pub(super) fn weigh_all(&mut self) {
        self.clients.ids().into_iter().for_each(|id| self.clients.weigh(id));
    }

    fn close_heaviest(&mut self, limit: u64) {
        while self.clients.weight as u64 > limit
            && let Some(client) = self.clients.heaviest()
        {
            let size = self.clients[client].size();
            tracing::warn!("maxmemory-clients is exceeded: a client of {size} bytes is closed");
            self.stats.evicted_clients += 1;
            self.disconnect(client, self.keyspace.now);
            self.clients.weigh(client); // It stays until its script has ended.
            self.ask(Effect::Close { client });
        }
    }

    fn close_for_output(&mut self, id: ClientId, waiting: u64) {
        let client = &mut self.clients[id];
        client.state = State::Closing;
        client.outbox.clear();
        self.stats.output_limit_disconnections += 1;
        tracing::warn!("a client that does not read its replies is closed: {waiting} bytes wait");
        self.ask(Effect::Close { client: id });
    }

    pub(super) fn close_idle_clients(&mut self) {
        self.closing.idle_look = None;
        let timeout_us = self.config.timeout_s.saturating_mul(1_000_000);
        let now_us = self.keyspace.now.mono_us;
        if timeout_us == 0 {
            return;
        }
        let is_idle = |client: &Client| {
            client.state == State::Ready
                && client.subscriptions() == 0
                && !client.is_monitor
                && client.is_user()
                && now_us - client.active_us > timeout_us
        };
        let idle: Vec<ClientId> =
            self.clients.iter().filter(|client| is_idle(client)).map(|client| client.id).collect();
        for client in idle {
            self.clients[client].state = State::Closing;
            self.ask(Effect::Close { client });
        }
        self.look_for_idle_clients();
    }

    /// Looks in a while, unless that is planned already.
    pub(super) fn look_for_idle_clients(&mut self) {
        let soon_us = self.keyspace.now.mono_us + IDLE_LOOK_US;
        let alarms = &mut self.alarms;
        self.closing.idle_look.get_or_insert_with(|| alarms.set(soon_us, Alarm::IdleClients));
    }
}

/// Whether a request's first word is one that Redis takes for an attack through a browser, which
/// can be made to send lines of another's choosing behind a POST.
pub(super) fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// `GET / HTTP/1.1`: what a web client says first. Later it may be a value like any other.
pub(super) fn is_http_line(words: &[&[u8]]) -> bool {
    let [_method, target, version] = words else { return false };
    let is_target = [&b"/"[..], b"*", b"http"].iter().any(|start| target.starts_with(start));
    is_target && version.starts_with(b"HTTP/1.")
}
