//! What the engine knows of a client.

use super::acl::user::User;
use super::context::Ctx;
use super::dollars::Dollars;
use super::effect::Errand;
use super::parking::Park;
use super::pubsub::{ChannelKind, Subscriptions};
use super::table::Found;
use super::time::Now;
use super::tracking::Tracker;
use super::transaction::Transaction;
use crate::proto::Outbox;
use crate::proto::request::Parser;
use crate::util::hash::CountedUp;
use crate::util::wheel::TimerId;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

/// The id that CLIENT ID answers: counted up from 1, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u64);

/// How a client came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Unix,
    Http,
}

/// Who is at the other end, in the words of CLIENT LIST.
#[derive(Clone, Debug)]
pub struct Peer {
    pub transport: Transport,
    /// `127.0.0.1:50000`, `[::1]:50000`, or `/path/to.sock:0`.
    pub addr: String,
    /// The address at this end.
    pub laddr: String,
    /// The socket's file descriptor, for CLIENT LIST alone.
    pub fd: i32,
    /// Protected mode asks.
    pub is_loopback: bool,
}

impl Peer {
    /// Who comes from the same process, without a socket.
    pub fn inside() -> Self {
        Self {
            transport: Transport::Tcp,
            addr: "127.0.0.1:1".into(),
            laddr: "127.0.0.1:2".into(),
            fd: 3,
            is_loopback: true,
        }
    }
}

/// What a client may do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its next request can be fed.
    Ready,
    /// It waits for a key, a deadline, an effect or the end of a pause.
    Parked,
    /// Its script is suspended: `resume` goes on with it.
    Running,
    /// Its connection closes once its outbox is flushed.
    Closing,
}

/// Whether a client gets replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// Off for the next command, then on.
    SkipNext,
    /// Off for this command, then on.
    SkipThis,
}

/// Whether a client is another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPart {
    /// It is none.
    User,
    /// It follows, or is about to.
    Replica,
    /// It is followed: the client does what that one streams.
    Primary,
}

/// Why a client is parked.
#[derive(Debug)]
pub enum Parked {
    /// For a key.
    Keys(Box<Park>),
    /// For the server's answer to an effect.
    Effect(Box<Errand>),
    /// Until a pause ends; its request has not been consumed.
    Pause,
}

/// One connection.
pub struct Client {
    pub id: ClientId,
    pub peer: Peer,
    pub state: State,
    pub outbox: Outbox,
    /// Where the parser stands in a request of which a part has come.
    pub parser: Option<Box<Parser>>,
    pub db: usize,
    pub is_authenticated: bool,
    /// Its user may do everything.
    pub is_unrestricted: bool,
    pub user: Rc<User>,
    pub name: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    pub lib_version: Box<[u8]>,
    pub transaction: Transaction,
    pub parked: Option<Parked>,
    pub timer: Option<TimerId>,
    /// None before it first subscribes, as most never do.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// What it is told about keys that it keeps copies of.
    pub tracking: Option<Box<Tracker>>,
    /// Where its `$` of each stream stands, with `keep-dollar`.
    pub dollars: Option<Box<Dollars>>,
    pub reply_mode: ReplyMode,
    pub is_monitor: bool,
    pub part: ClientPart,
    pub no_evict: bool,
    pub no_touch: bool,
    pub created_us: u64,
    /// The monotonic clock at its last request, or when it last took some of what it is sent.
    pub active_us: u64,
    /// When the outbox first passed its soft limit.
    pub over_soft_limit_since_us: Option<u64>,
    /// The command of the last request, if there is such a command.
    pub last_command: Option<Found>,
    /// Bytes of an unfinished request that the server keeps.
    pub query_len: usize,
    /// It left while its script was running, which ends first.
    pub is_gone: bool,
    /// It came over HTTP and has shown no token yet.
    pub is_stranger: bool,
    pub is_dirty: bool,
    pub is_runnable: bool,
    /// Bytes received and sent, for CLIENT LIST.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,
    /// What it counts for in `Clients::weight`.
    weight: usize,
}

impl Client {
    pub fn new(id: ClientId, peer: Peer, user: &Rc<User>, now: Now) -> Self {
        Self {
            id,
            peer,
            state: State::Ready,
            outbox: Outbox::default(),
            parser: None,
            db: 0,
            is_authenticated: false,
            is_unrestricted: user.is_unrestricted(),
            user: user.clone(),
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            transaction: Transaction::default(),
            parked: None,
            timer: None,
            subscriptions: None,
            tracking: None,
            dollars: None,
            reply_mode: ReplyMode::On,
            is_monitor: false,
            part: ClientPart::User,
            no_evict: false,
            no_touch: false,
            created_us: now.mono_us,
            active_us: now.mono_us,
            over_soft_limit_since_us: None,
            last_command: None,
            query_len: 0,
            is_gone: false,
            is_stranger: false,
            is_dirty: false,
            is_runnable: false,
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            weight: 0,
        }
    }

    /// Channels, patterns and shard channels that it listens to.
    #[inline]
    pub fn subscriptions(&self) -> usize {
        match &self.subscriptions {
            None => 0,
            Some(_) => ChannelKind::ALL.iter().map(|&kind| self.names(kind).len()).sum(),
        }
    }

    /// Whether the answer to the request under way is to be sent.
    pub fn wants_replies(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::On | ReplyMode::SkipNext)
    }

    /// Whether it is no other server.
    pub fn is_user(&self) -> bool {
        self.part == ClientPart::User
    }

    pub fn is_blocked(&self) -> bool {
        matches!(self.parked, Some(Parked::Keys(_)))
    }

    /// Whether a pause holds its request back.
    pub fn is_held(&self) -> bool {
        matches!(self.parked, Some(Parked::Pause))
    }

    /// Seconds since it came; `now_us` is the monotonic clock.
    pub fn age_s(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.created_us) / 1_000_000
    }

    /// Seconds since it was last active.
    pub fn idle_s(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.active_us) / 1_000_000
    }

    /// Bytes of memory: CLIENT LIST's `tot-mem`, and its part of `maxmemory-clients`.
    pub fn size(&self) -> usize {
        let names = ChannelKind::ALL.iter().flat_map(|&kind| self.names(kind));
        let names = names.chain(self.tracking.iter().flat_map(|tracker| &tracker.prefixes));
        size_of::<Self>()
            + self.outbox.capacity()
            + self.query_len
            + self.words_len()
            + self.name.len()
            + self.lib_name.len()
            + self.lib_version.len()
            + self.transaction.size()
            + self.transaction.watched.iter().map(|(_, key)| key.len()).sum::<usize>()
            + names.map(|name| name.len()).sum::<usize>()
            + self.dollars.as_ref().map_or(0, |dollars| dollars.size())
    }

    /// Bytes of the words of its request that waits or has come in part: CLIENT LIST's `argv-mem`.
    pub fn words_len(&self) -> usize {
        let parked = match &self.parked {
            Some(Parked::Keys(park)) => park.request.words.words_len(),
            _ => 0,
        };
        parked + self.parser.as_ref().map_or(0, |parser| parser.words_len())
    }
}

/// All connections by id, in order of arrival.
#[derive(Default)]
pub struct Clients {
    all: Vec<Option<Box<Client>>>,
    vacant: Vec<usize>,
    /// Where each stands in `all`.
    places: HashMap<ClientId, usize, CountedUp>,
    /// The place of the client that was last asked for, as it is several times per request.
    recent: Cell<usize>,
    pub last_id: u64,
    /// Clients that asked for MONITOR.
    pub monitors: Vec<ClientId>,
    /// Clients whose outbox has grown, in the order in which it first did.
    pub dirty: Vec<ClientId>,
    /// Clients whose further requests can run although no input arrives for them.
    pub runnable: Vec<ClientId>,
    /// How many have shown no token over HTTP.
    pub strangers: usize,
    /// Bytes of memory that those take which `maxmemory-clients` may close, as last weighed.
    pub weight: usize,
}

impl Ctx<'_> {
    /// Has the caller see what all others ask for, or no longer; false if nothing changed.
    pub fn set_monitoring(&mut self, monitors: bool) -> bool {
        let id = self.client;
        let Some(client) = self.caller().filter(|client| client.is_monitor != monitors) else {
            return false;
        };
        client.is_monitor = monitors;
        if monitors {
            self.engine.clients.monitors.push(id);
        } else {
            self.engine.clients.monitors.retain(|&other| other != id);
        }
        true
    }
}

impl Clients {
    pub fn add(&mut self, peer: Peer, user: &Rc<User>, now: Now) -> ClientId {
        self.last_id += 1;
        let id = ClientId(self.last_id);
        let client = Some(Box::new(Client::new(id, peer, user, now)));
        let place = match self.vacant.pop() {
            Some(place) => {
                self.all[place] = client;
                place
            }
            None => {
                self.all.push(client);
                self.all.len() - 1
            }
        };
        self.places.insert(id, place);
        id
    }

    /// Forgets a client and hands it out. None if it has gone before.
    pub fn remove(&mut self, id: ClientId) -> Option<Box<Client>> {
        self.monitors.retain(|&other| other != id);
        let place = self.places.remove(&id)?;
        self.vacant.push(place);
        let client = self.all[place].take()?;
        self.weight -= client.weight;
        self.strangers -= usize::from(client.is_stranger);
        Some(client)
    }

    /// Counts a client among the strangers, or no longer.
    pub fn mark_stranger(&mut self, id: ClientId, is_stranger: bool) {
        let Some(client) = self.get_mut(id) else { return };
        let was_stranger = std::mem::replace(&mut client.is_stranger, is_stranger);
        self.strangers = self.strangers - usize::from(was_stranger) + usize::from(is_stranger);
    }

    /// Looks anew how much memory a client takes.
    pub fn weigh(&mut self, id: ClientId) {
        let Some(client) = self.get_mut(id) else { return };
        let is_kept = client.no_evict || client.is_gone || client.part == ClientPart::Primary;
        let weight = if is_kept { 0 } else { client.size() };
        let before = std::mem::replace(&mut client.weight, weight);
        self.weight = self.weight - before + weight;
    }

    /// The client that was the heaviest when each was last weighed.
    pub fn heaviest(&self) -> Option<ClientId> {
        let heaviest = self.iter().max_by_key(|client| client.weight);
        heaviest.filter(|client| client.weight > 0).map(|client| client.id)
    }

    /// None if the client has gone.
    #[inline]
    pub fn get(&self, id: ClientId) -> Option<&Client> {
        self.all[self.place(id)?].as_deref()
    }

    /// None if the client has gone.
    #[inline]
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        let place = self.place(id)?;
        self.all[place].as_deref_mut()
    }

    #[inline]
    fn place(&self, id: ClientId) -> Option<usize> {
        let recent = self.recent.get();
        match self.all.get(recent) {
            Some(Some(client)) if client.id == id => Some(recent),
            _ => self.look_up(id),
        }
    }

    #[inline(never)]
    fn look_up(&self, id: ClientId) -> Option<usize> {
        let place = *self.places.get(&id)?;
        self.recent.set(place);
        Some(place)
    }

    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Ids in order of arrival.
    pub fn ids(&self) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = self.places.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub fn iter(&self) -> impl Iterator<Item = &Client> {
        self.all.iter().filter_map(Option::as_deref)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Client> {
        self.all.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// Notes that a client's outbox is to be flushed; returns the client.
    #[inline]
    pub fn mark_dirty(&mut self, id: ClientId) -> Option<&mut Client> {
        let place = self.place(id)?;
        let client = self.all[place].as_deref_mut()?;
        if !client.is_dirty {
            client.is_dirty = true;
            self.dirty.push(id);
        }
        Some(client)
    }

    /// Writes bytes that are no reply into a client's outbox.
    pub fn write_out(&mut self, id: ClientId, bytes: &[u8]) {
        if let Some(client) = self.mark_dirty(id) {
            client.outbox.raw(bytes);
        }
    }

    /// Adds a client of the server's own that sees what all others ask for, as MONITOR tells it:
    /// its outbox holds that until it is taken.
    pub fn add_monitor(&mut self, user: &Rc<User>, now: Now) -> ClientId {
        let id = self.add(Peer::inside(), user, now);
        self[id].is_monitor = true;
        self.monitors.push(id);
        id
    }

    /// Notes that a client's further requests can run.
    pub fn mark_runnable(&mut self, id: ClientId) {
        if let Some(client) = self.get_mut(id)
            && !client.is_runnable
        {
            client.is_runnable = true;
            self.runnable.push(id);
        }
    }
}

impl std::ops::Index<ClientId> for Clients {
    type Output = Client;

    #[inline]
    fn index(&self, id: ClientId) -> &Client {
        self.get(id).expect("the client is connected")
    }
}

impl std::ops::IndexMut<ClientId> for Clients {
    #[inline]
    fn index_mut(&mut self, id: ClientId) -> &mut Client {
        self.get_mut(id).expect("the client is connected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_idle_clients_are_cheap() {
        assert!(size_of::<Client>() <= 448, "{}", size_of::<Client>());
    }
}
