//! MULTI, EXEC and WATCH: what a client has queued, what it watches, and the run of a transaction.
//!
//! An EXEC keeps its place in the client, because a script inside it may be suspended; the run then
//! goes on when the script has ended.

use super::Engine;
use super::client::{ClientId, Parked, State, Transport};
use super::context::{Ctx, Origin};
use super::dispatch::Called;
use super::keyspace::Presence;
use super::row::Flags;
use super::stats::HeldCall;
use super::table::{Found, Request};
use crate::proto::{Args, OwnedArgs, Reply};

#[derive(Debug, Default)]
pub struct Transaction {
    /// None outside MULTI.
    pub queue: Option<Vec<Request>>,
    /// Bytes of the queued requests.
    queue_size: usize,
    /// What any of the queued requests does.
    pub flags: Flags,
    /// A request was refused: EXEC will abort.
    pub is_refused: bool,
    /// Watched keys with their database.
    pub watched: Vec<(usize, Box<[u8]>)>,
    /// A watched key was changed: EXEC will answer null.
    pub is_broken: bool,
    /// An EXEC under way.
    pub exec: Option<Box<Exec>>,
}

/// How far an EXEC has come.
#[derive(Debug)]
pub struct Exec {
    queue: std::vec::IntoIter<Request>,
    /// How many requests it has, those included that have run, and bytes of all.
    count: usize,
    size: usize,
    /// The EXEC itself, once a script or an effect held it up.
    pub(super) call: Option<HeldCall>,
}

impl Transaction {
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Outside of MULTI, whatever was queued or refused.
    pub fn close(&mut self) {
        (self.queue, self.queue_size, self.is_refused) = (None, 0, false);
        self.flags = Flags::default();
    }

    fn push(&mut self, request: Request) {
        self.queue_size += request.words.size();
        self.queue.get_or_insert_default().push(request);
    }

    /// Requests that are queued, or that an EXEC under way consists of; None outside of both.
    pub fn count(&self) -> Option<usize> {
        let of_exec = self.exec.as_ref().map(|exec| exec.count);
        of_exec.or_else(|| self.queue.as_ref().map(Vec::len))
    }

    /// Their bytes.
    pub fn size(&self) -> usize {
        self.exec.as_ref().map_or(self.queue_size, |exec| exec.size)
    }
}

impl Ctx<'_> {
    pub fn transaction(&mut self) -> &mut Transaction {
        &mut self.engine.clients[self.client].transaction
    }

    /// Forgets what was queued and watched.
    pub fn end_transaction(&mut self) {
        self.transaction().close();
        self.engine.unwatch(self.client);
    }

    pub fn watch(&mut self, key: &[u8]) {
        let place = (self.db, Box::from(key));
        let (client, db) = (self.client, self.db);
        let watched = &mut self.transaction().watched;
        if !watched.contains(&place) {
            watched.push(place);
            let keyspace = &mut self.engine.keyspace;
            let was_over = keyspace.presence(db, key) == Presence::Over;
            keyspace.aftermath.watch(db, key, client, was_over);
        }
    }

    /// Whether a watched key was changed, or its time has come since.
    pub fn is_watch_broken(&mut self) -> bool {
        let keyspace = &self.engine.keyspace;
        let transaction = &self.engine.clients[self.client].transaction;
        let has_ended = |(db, key): &(usize, Box<[u8]>)| {
            keyspace.presence(*db, key) == Presence::Over
                && !keyspace.aftermath.was_over(*db, key, self.client)
        };
        transaction.is_broken
            || keyspace.aftermath.broken.contains(&self.client)
            || transaction.watched.iter().any(has_ended)
    }

    /// Runs a transaction's requests; the array that their replies fill has been announced.
    pub fn execute(&mut self, queue: Vec<Request>, reply: &mut Reply) {
        let size = queue.iter().map(|request| request.words.size()).sum();
        let exec = Exec { count: queue.len(), size, queue: queue.into_iter(), call: None };
        self.transaction().exec = Some(exec.into());
        self.goes_on = !self.engine.continue_exec(self.client, &mut self.db, reply);
    }
}

impl Engine {
    /// Keeps a request for EXEC. What is kept counts as input that waits, and has its limit.
    pub(super) fn enqueue(&mut self, id: ClientId, found: Found, args: Args) {
        let flags = self.flags_of(id, found, &args);
        let client = &mut self.clients[id];
        client.transaction.flags = client.transaction.flags.union(flags);
        client.transaction.push(Request { found, words: OwnedArgs::new(args.all()) });
        // A request over HTTP has come whole, and was measured before it is run.
        if client.peer.transport != Transport::Http && self.is_input_over_limit(id, 0) {
            return;
        }
        self.answer_with(id, |reply| reply.status("QUEUED"));
    }

    /// Goes on with the EXEC, if there is one, in which a script or an effect has ended.
    pub(super) fn end_exec_part(&mut self, id: ClientId, db: &mut usize, reply: &mut Reply) {
        if self.continue_exec(id, db, reply) && self.state(id) == State::Running {
            self.clients[id].state = State::Ready;
        }
    }

    /// Runs what is left of an EXEC. False if a script in it was suspended, or an effect is waited
    /// for.
    pub(super) fn continue_exec(
        &mut self,
        id: ClientId,
        db: &mut usize,
        reply: &mut Reply,
    ) -> bool {
        while let Some(exec) = self.clients[id].transaction.exec.as_mut() {
            let Some(queued) = exec.queue.next() else {
                self.end_exec(id, *db);
                break;
            };
            let words = queued.words.words();
            // The rules may have changed since it was queued, even by the transaction itself.
            if let Err(error) = self.recheck_user(id, queued.found, &words, Origin::Exec) {
                self.stats.count_error(&error);
                reply.error(&error);
                continue;
            }
            match self.call(id, queued.found, Args::new(&words), Origin::Exec, db, reply) {
                Called::Done(Ok(())) => {}
                Called::Done(Err(error)) => reply.error(&error),
                Called::Running => return false,
                Called::Parked(parked @ Parked::Effect(_)) => {
                    self.park(id, parked);
                    self.errands.halt_for(id);
                    return false;
                }
                Called::Parked(_) => unreachable!("nothing else waits in EXEC: see `may_block`"),
            }
        }
        true
    }

    fn end_exec(&mut self, id: ClientId, db: usize) {
        let exec = self.clients[id].transaction.exec.take();
        if let Some(call) = exec.and_then(|exec| exec.call) {
            self.clients[id].state = State::Ready;
            let words: Vec<&[u8]> = call.words.iter().map(Vec::as_slice).collect();
            self.feed_monitors(id, db, call.found.row.flags, &words, Origin::Client);
            self.end_held_call(id, call);
        }
    }
}
