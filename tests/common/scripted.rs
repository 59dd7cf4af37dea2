//! A server whose commands all come from a script: each request becomes an EVAL that calls it, or
//! an FCALL.

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

const LIBRARY: &[u8] = b"#!lua name=transcripts
redis.register_function('call', function(keys, args) return redis.pcall(unpack(args)) end)";

/// Who calls a request's command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    Script,
    Function,
}

impl Caller {
    /// The words that stand before a request.
    fn words(self) -> [&'static [u8]; 3] {
        match self {
            Self::Script => [b"EVAL", SCRIPT, b"0"],
            Self::Function => [b"FCALL", b"call", b"0"],
        }
    }
}

pub struct Scripted<S> {
    inner: S,
    caller: Caller,
    table: Table,
    /// Replies that have come already.
    replies: BTreeMap<usize, VecDeque<Reply>>,
}

impl<S: Server> Scripted<S> {
    pub fn new(inner: S, caller: Caller) -> Self {
        Scripted { inner, caller, table: table(), replies: BTreeMap::new() }
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
        if self.caller == Caller::Function {
            let load = [b"FUNCTION", &b"LOAD"[..], b"REPLACE", LIBRARY];
            self.inner.send(1, &[load.map(<[u8]>::to_vec).into()]);
            let reply = self.inner.receive(1, true);
            assert!(matches!(reply, Reply::Bulk(_)), "the library is not there: {reply:?}");
        }
    }

    fn send(&mut self, client: usize, requests: &[Vec<Vec<u8>>]) {
        for request in requests {
            if self.may_be_scripted(request) {
                let call = self.caller.words().map(<[u8]>::to_vec);
                let words = call.iter().chain(request).cloned().collect();
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
