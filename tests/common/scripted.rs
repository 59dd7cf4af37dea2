//! A server whose commands all come from a script: each request becomes an EVAL that calls it.

use super::compare::Dialect;
use super::reply::Reply;
use super::run::Server;
use super::transcript::{Case, Target};
use std::collections::{BTreeMap, VecDeque};
use std::slice::from_ref;
use std::time::Duration;
use toril::command::table::table;
use toril::engine::row::Flag;
use toril::engine::table::Table;
use toril::proto::Args;

const SCRIPT: &[u8] = b"return redis.pcall(unpack(ARGV))";

pub struct Scripted<S> {
    inner: S,
    table: Table,
    /// Replies that have come already.
    replies: BTreeMap<usize, VecDeque<Reply>>,
}

impl<S: Server> Scripted<S> {
    pub fn new(inner: S) -> Self {
        Scripted { inner, table: table(), replies: BTreeMap::new() }
    }

    /// Scripts neither wait nor speak of their connection; SELECT in one ends with it.
    fn may_be_scripted(&self, request: &[Vec<u8>]) -> bool {
        let words: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        self.table.resolve(&Args::new(&words)).is_ok_and(|found| {
            let flags = found.row.flags;
            !flags.has(Flag::NoScript) && !flags.has(Flag::Blocking) && found.row.name != "select"
        })
    }
}

/// What a script hears before its command is so much as looked at: the client hears other words.
fn is_refused(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(text) if text.ends_with(b"from script"))
}

impl<S: Server> Server for Scripted<S> {
    fn target(&self) -> Target {
        self.inner.target()
    }

    fn dialect(&self) -> Dialect {
        Dialect::Script
    }

    fn begin(&mut self, case: &Case) {
        self.replies.clear();
        self.inner.begin(case);
    }

    fn send(&mut self, client: usize, requests: &[Vec<Vec<u8>>]) {
        for request in requests {
            if self.may_be_scripted(request) {
                let mut words = vec![b"EVAL".to_vec(), SCRIPT.to_vec(), b"0".to_vec()];
                words.extend_from_slice(request);
                self.inner.send(client, &[words]);
                match self.inner.receive(client, true) {
                    reply if is_refused(&reply) => self.inner.send(client, from_ref(request)),
                    reply => self.replies.entry(client).or_default().push_back(reply),
                }
            } else {
                self.inner.send(client, from_ref(request));
            }
        }
    }

    fn settle(&mut self, client: usize) {
        self.inner.settle(client);
    }

    fn receive(&mut self, client: usize, is_wanted: bool) -> Reply {
        let early = self.replies.get_mut(&client).and_then(VecDeque::pop_front);
        early.unwrap_or_else(|| self.inner.receive(client, is_wanted))
    }

    fn leftover(&mut self) -> Option<(usize, Reply)> {
        let early = self
            .replies
            .iter_mut()
            .find_map(|(client, replies)| Some((*client, replies.pop_front()?)));
        early.or_else(|| self.inner.leftover())
    }

    fn advance(&mut self, span: Duration) -> bool {
        self.inner.advance(span)
    }
}
