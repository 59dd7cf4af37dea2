//! Client-side caching: who may keep a copy of which key, and the messages that end such copies.
//!
//! **By key.** A client that said CLIENT TRACKING ON is noted as a reader of each key of a command
//! that only reads, after the command has run, whoever ran it: a script, an EXEC, a wait that has
//! ended. The first change of the key tells its readers, and forgets them: a client that reads
//! again is noted again. OPTIN and OPTOUT let CLIENT CACHING decide for the next command.
//!
//! **By prefix.** In the mode BCAST nothing is noted of what a client reads. Each prefix collects
//! the keys that have changed, and at the end of the turn they go out, in one message.
//!
//! A change passes the aftermath (aftermath.rs), as it does for WATCH. There the readers leave the
//! table at once, so that what is read later in the same EXEC is noted anew; the message waits
//! until the command has ended. Own changes are told behind the own reply.
//!
//! A key is a key in whatever database, as in Redis. SWAPDB changes no key, and tells nobody.
//!
//! **What it costs.** A look at one pointer for each command, and at one flag for each change,
//! while nobody tracks. A tracked key with one reader takes 43 bytes, and 4 more with its text
//! unless that ends in a number (keyspace/key.rs); Redis 7.4.1 takes 81 to 127 where these are 43
//! to 87. There are at most `tracking-table-max-keys`: beyond, keys picked at random go, and their
//! readers are told so.

use super::Engine;
use super::client::{Client, ClientId};
use super::context::{Ctx, Origin};
use super::keyspace::{Key, Keyspace};
use super::row::Flag;
use super::table::Found;
use crate::proto::{Protocol, Reply};
use crate::util::hash::Seed;
use crate::util::rng::Rng;
use crate::util::shared::Recent;
use crate::util::slab::Slab;
use crate::util::table::IndexTable;
use std::collections::{BTreeMap, BTreeSet};

/// Where a client in RESP2 hears of what another has read.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Keys that go for want of room after one command. So many more after the next, until there is
/// room: lowering the limit does not stop the world.
const EVICTIONS_MAX: usize = 100;

/// What a client that tracks has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingMode {
    /// All that it reads is noted.
    #[default]
    All,
    /// What it reads behind CLIENT CACHING YES.
    OptIn,
    /// All but what it reads behind CLIENT CACHING NO.
    OptOut,
    /// Nothing is noted: it hears of all keys with its prefixes.
    Broadcast,
}

/// What is known of one client that tracks.
#[derive(Debug, Default)]
pub struct Tracker {
    pub mode: TrackingMode,
    /// Its own changes are not told to it.
    pub noloop: bool,
    /// CLIENT CACHING was said: the next command is the exception.
    pub caching: bool,
    /// Who is told in its place.
    pub redirect: Option<ClientId>,
    /// That client was gone when it was to be told.
    pub is_broken: bool,
    pub prefixes: BTreeSet<Box<[u8]>>,
}

impl Tracker {
    /// Who is told in a client's place, as a number: 0 is itself, and -1 stands for no tracking.
    pub fn redirection(tracker: Option<&Self>) -> i64 {
        tracker.map_or(-1, |tracker| tracker.redirect.map_or(0, |id| id.0 as i64))
    }

    /// Whether what the command under way reads is noted.
    fn notes_reads(&self) -> bool {
        match self.mode {
            TrackingMode::All => true,
            TrackingMode::OptIn => self.caching,
            TrackingMode::OptOut => !self.caching,
            TrackingMode::Broadcast => false,
        }
    }
}

/// Who has read a key: nearly always one.
#[derive(Debug, PartialEq, Eq)]
enum Readers {
    One(ClientId),
    #[expect(clippy::box_collection, reason = "most have one, which this must not make larger")]
    Several(Box<Vec<ClientId>>),
}

impl Readers {
    fn ids(&self) -> &[ClientId] {
        match self {
            Readers::One(id) => std::slice::from_ref(id),
            Readers::Several(ids) => ids,
        }
    }

    /// True if it was none of them.
    fn add(&mut self, id: ClientId) -> bool {
        if self.ids().contains(&id) {
            return false;
        }
        match self {
            Readers::One(first) => *self = Readers::Several(vec![*first, id].into()),
            Readers::Several(ids) => ids.push(id),
        }
        true
    }
}

#[derive(Debug)]
struct Tracked {
    key: Key,
    readers: Readers,
}

const _: () = assert!(size_of::<Tracked>() == 32);

/// Who changes keys. NOLOOP holds for own changes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    client: ClientId,
    /// By a script, which is nobody where prefixes are concerned, as in Redis.
    is_script: bool,
}

impl Author {
    /// Time, or a lack of memory.
    pub const NOBODY: Self = Self { client: ClientId(0), is_script: false };

    #[inline]
    pub(super) fn new(client: ClientId, origin: Origin) -> Self {
        Self { client, is_script: matches!(origin, Origin::Script) }
    }
}

/// What is to be told of a change.
#[derive(Debug)]
pub struct Invalidation {
    /// None: all keys have gone.
    key: Option<Box<[u8]>>,
    readers: Vec<ClientId>,
    author: Author,
}

/// What a client has changed itself, to be told behind its reply and all else.
pub(super) type Own = Vec<(ClientId, Option<Box<[u8]>>)>;

/// One prefix that somebody wants to hear of.
#[derive(Debug, Default)]
struct Prefix {
    clients: BTreeSet<ClientId>,
    /// What has changed in this turn, and who changed it last.
    changed: BTreeMap<Box<[u8]>, Option<ClientId>>,
}

/// All that is tracked. Made when the first client asks for it.
#[derive(Debug)]
pub struct Tracking {
    /// How many clients track.
    clients: usize,
    /// Those that have ended it and are still there.
    ended: BTreeSet<ClientId>,
    hasher: Seed,
    keys: Slab<Tracked>,
    table: IndexTable,
    /// What keys have in common.
    heads: Recent,
    /// Readers of all keys.
    reader_count: usize,
    prefixes: BTreeMap<Box<[u8]>, Prefix>,
    /// Whether a prefix has something to tell at the end of the turn.
    has_broadcast: bool,
    /// After how many commands in a row there were too many keys.
    crowded: usize,
    rng: Rng,
}

impl Tracking {
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            clients: 0,
            ended: BTreeSet::new(),
            hasher: Seed::new(rng.next_u64()),
            keys: Slab::default(),
            table: IndexTable::new(),
            heads: Recent::default(),
            reader_count: 0,
            prefixes: BTreeMap::new(),
            has_broadcast: false,
            crowded: 0,
            rng: Rng::from_seed(rng.next_u64()),
        }
    }

    pub fn client_count(&self) -> usize {
        self.clients
    }

    /// How many keys have readers.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    pub fn reader_count(&self) -> usize {
        self.reader_count
    }

    pub fn prefix_count(&self) -> usize {
        self.prefixes.len()
    }

    /// Bytes of memory, without those of the keys' texts.
    pub fn table_size(&self) -> usize {
        self.keys.heap_size() + self.table.heap_size()
    }

    fn find(&self, key: &[u8]) -> (u64, Option<u32>) {
        let hash = self.hasher.hash(key);
        (hash, self.table.find(hash, |index| self.keys[index].key.is(key)))
    }

    /// Notes a reader of a key.
    fn note(&mut self, key: &[u8], id: ClientId) {
        let is_new = match self.find(key) {
            (_, Some(index)) => self.keys[index].readers.add(id),
            (hash, None) => {
                let key = Key::new(key, &mut self.heads);
                let index = self.keys.insert(Tracked { key, readers: Readers::One(id) });
                self.table.insert(hash, index);
                true
            }
        };
        self.reader_count += usize::from(is_new);
    }

    /// Forgets the readers of a key.
    fn take(&mut self, key: &[u8]) -> Vec<ClientId> {
        let (hash, Some(index)) = self.find(key) else { return Vec::new() };
        self.table.remove(hash, index);
        let readers = self.keys.remove(index).readers;
        self.reader_count -= readers.ids().len();
        match readers {
            Readers::One(id) => vec![id],
            Readers::Several(ids) => *ids,
        }
    }

    /// A key has changed. None if nobody has read it.
    pub fn change(&mut self, key: &[u8], author: Author) -> Option<Invalidation> {
        if !self.prefixes.is_empty() {
            self.collect(key, author);
        }
        let readers = self.take(key);
        (!readers.is_empty()).then(|| Invalidation { key: Some(key.into()), readers, author })
    }

    /// All keys have gone: everybody who tracks is to hear of it.
    pub fn flush(&mut self, author: Author) -> Invalidation {
        self.forget();
        Invalidation { key: None, readers: Vec::new(), author }
    }

    fn forget(&mut self) {
        (self.keys, self.table, self.reader_count) = (Slab::default(), IndexTable::new(), 0);
    }

    /// Notes a change for those prefixes that the key has.
    fn collect(&mut self, key: &[u8], author: Author) {
        let author = (!author.is_script).then_some(author.client);
        for (prefix, state) in &mut self.prefixes {
            if key.starts_with(prefix) {
                state.changed.insert(key.into(), author);
                self.has_broadcast = true;
            }
        }
    }

    /// A key that has to go because there are too many, and its readers.
    fn evict(&mut self) -> Option<(Box<[u8]>, Vec<ClientId>)> {
        let index = self.table.random(&mut self.rng)?;
        let key: Box<[u8]> = (*self.keys[index].key.text()).into();
        let readers = self.take(&key);
        Some((key, readers))
    }
}

impl Ctx<'_> {
    /// What the caller has asked for, if it tracks.
    pub fn tracking(&mut self) -> Option<&mut Tracker> {
        self.caller()?.tracking.as_deref_mut()
    }

    /// Begins to track for the caller, or goes on in another way; prefixes are added to those that
    /// it has.
    pub fn track(&mut self, wanted: Tracker) {
        self.engine.track(self.client, wanted);
    }

    pub fn end_tracking(&mut self) {
        self.engine.end_tracking(self.client);
    }
}

impl Engine {
    fn track(&mut self, id: ClientId, wanted: Tracker) {
        let Keyspace { aftermath, rng, .. } = &mut self.keyspace;
        let tracking = aftermath.begin_tracking(rng);
        let Some(client) = self.clients.get_mut(id) else { return };
        if client.tracking.is_none() {
            tracking.clients += 1;
            tracking.ended.remove(&id);
        }
        for prefix in &wanted.prefixes {
            tracking.prefixes.entry(prefix.clone()).or_default().clients.insert(id);
        }
        let before = client.tracking.take().unwrap_or_default();
        let prefixes = before.prefixes.into_iter().chain(wanted.prefixes).collect();
        client.tracking = Some(Tracker { prefixes, caching: before.caching, ..wanted }.into());
    }

    /// What it has read stays noted, so that whoever begins anew still hears of it, as in Redis.
    pub(super) fn end_tracking(&mut self, id: ClientId) {
        let Some(ended) = self.clients[id].tracking.take() else { return };
        let Some(tracking) = &mut self.keyspace.aftermath.tracking else { return };
        tracking.clients -= 1;
        tracking.ended.insert(id);
        for prefix in &ended.prefixes {
            if let Some(state) = tracking.prefixes.get_mut(prefix) {
                state.clients.remove(&id);
                if state.clients.is_empty() {
                    tracking.prefixes.remove(prefix);
                }
            }
        }
        if tracking.clients == 0 && tracking.keys.is_empty() {
            self.keyspace.aftermath.end_tracking();
        }
    }

    /// A client leaves. With the last that ever tracked, all is forgotten.
    #[cold]
    pub(super) fn leave_tracking(&mut self, id: ClientId) {
        self.end_tracking(id);
        if let Some(tracking) = &mut self.keyspace.aftermath.tracking
            && tracking.ended.remove(&id)
            && tracking.clients == 0
            && tracking.ended.is_empty()
        {
            self.keyspace.aftermath.end_tracking();
        }
    }

    /// A command has run: its keys are noted, if it only read, for the client that sent it or the
    /// script around it. `is_over` says that it has had its answer.
    #[cold]
    pub(super) fn follow(
        &mut self,
        id: ClientId,
        found: Found,
        words: &[&[u8]],
        origin: Origin,
        is_over: bool,
    ) {
        let flags = found.row.flags;
        let Some(tracking) = &mut self.keyspace.aftermath.tracking else { return };
        let tracker = self.clients.get(id).and_then(|client| client.tracking.as_deref());
        let only_reads = flags.has(Flag::Read) && !flags.has(Flag::RunsOthers);
        if only_reads && tracker.is_some_and(Tracker::notes_reads) {
            found.row.keys.visit(words, |place, _| tracking.note(words[place], id));
        }
        if !matches!(origin, Origin::Exec | Origin::Script) {
            if is_over {
                self.end_caching(id);
            }
            self.limit_tracked_keys();
        }
    }

    /// A request has ended: what CLIENT CACHING said was for it, unless a transaction is open.
    pub(super) fn end_caching(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let keeps = |found: Found| {
            found.container.is_some_and(|container| container.flags.has(Flag::KeepsCaching))
        };
        if let Some(tracker) = &mut client.tracking
            && !client.transaction.is_open()
            && !client.last_command.is_some_and(keeps)
        {
            tracker.caching = false;
        }
    }

    fn limit_tracked_keys(&mut self) {
        let keys_max = self.config.tracking_table_max_keys;
        let Some(tracking) = &mut self.keyspace.aftermath.tracking else { return };
        let over = tracking.key_count().saturating_sub(keys_max);
        if keys_max == 0 || over == 0 {
            tracking.crowded = 0;
            return;
        }
        tracking.crowded += 1;
        let count = over.min(EVICTIONS_MAX * tracking.crowded);
        let evicted: Vec<_> = (0..count).map_while(|_| tracking.evict()).collect();
        for (key, readers) in evicted {
            self.tell_readers(&key, &readers, Author::NOBODY, &mut Own::new());
        }
    }

    /// Tells of a change, its author excepted.
    pub(super) fn tell_of_change(&mut self, change: Invalidation, own: &mut Own) {
        let Invalidation { key, readers, author } = change;
        let Some(key) = key else { return self.tell_of_flush(author, own) };
        self.tell_readers(&key, &readers, author, own);
    }

    fn tell_readers(&mut self, key: &[u8], readers: &[ClientId], author: Author, own: &mut Own) {
        for &id in readers {
            let tracker = self.clients.get(id).and_then(|client| client.tracking.as_deref());
            // What it read before it went over to BCAST is nothing to it any more.
            let Some(tracker) = tracker.filter(|it| it.mode != TrackingMode::Broadcast) else {
                continue;
            };
            match author.client == id {
                true if tracker.noloop => {}
                true => own.push((id, Some(key.into()))),
                false => self.invalidate(id, |push| keys(push, [key])),
            }
        }
    }

    fn tell_of_flush(&mut self, author: Author, own: &mut Own) {
        let tracks = |client: &&Client| client.tracking.is_some();
        let mut ids: Vec<ClientId> = self.clients.iter().filter(tracks).map(|it| it.id).collect();
        ids.sort_unstable();
        for id in ids {
            match author.client == id {
                true => own.push((id, None)),
                false => self.invalidate(id, |push| push.null()),
            }
        }
    }

    pub(super) fn tell_own(&mut self, own: Own) {
        for (id, key) in own {
            match key {
                Some(key) => self.invalidate(id, |push| keys(push, [&*key])),
                None => self.invalidate(id, |push| push.null()),
            }
        }
    }

    /// Ends a turn: what has changed under a prefix goes out.
    #[inline]
    pub(super) fn broadcast(&mut self) {
        if self.keyspace.aftermath.tracking.is_some() {
            self.broadcast_changes();
        }
    }

    #[cold]
    fn broadcast_changes(&mut self) {
        let Some(tracking) = &mut self.keyspace.aftermath.tracking else { return };
        if !std::mem::take(&mut tracking.has_broadcast) {
            return;
        }
        let told: Vec<_> = tracking
            .prefixes
            .values_mut()
            .filter(|prefix| !prefix.changed.is_empty())
            .map(|prefix| (prefix.clients.clone(), std::mem::take(&mut prefix.changed)))
            .collect();
        for (clients, changed) in told {
            for id in clients {
                let Some(client) = self.clients.get(id) else { continue };
                let is_deaf = client.tracking.as_ref().is_some_and(|tracking| tracking.noloop);
                let is_told = |author: &Option<ClientId>| !is_deaf || *author != Some(id);
                let wanted = changed.iter().filter(|(_, author)| is_told(author));
                let wanted: Vec<&[u8]> = wanted.map(|(key, _)| &**key).collect();
                if !wanted.is_empty() {
                    self.invalidate(id, |push| keys(push, wanted.iter().copied()));
                }
            }
        }
    }

    /// Sends a client, or whom it has named, what it is to forget.
    fn invalidate(&mut self, id: ClientId, what: impl Fn(&mut Reply)) {
        let Some(client) = self.clients.get_mut(id) else { return };
        let protocol = client.outbox.protocol;
        let Some(tracker) = &mut client.tracking else { return };
        let Some(other) = tracker.redirect else {
            if protocol == Protocol::Resp3 {
                self.deliver(&[id], |push| invalidation(push, &what));
            }
            return;
        };
        let Some(receiver) = self.clients.get(other) else {
            return self.break_redirection(id, other);
        };
        if receiver.outbox.protocol == Protocol::Resp3 {
            self.deliver(&[other], |push| invalidation(push, &what));
        } else if receiver.subscriptions() > 0 {
            self.deliver(&[other], |push| {
                push.push(3);
                push.bulk(b"message");
                push.bulk(CHANNEL);
                what(push);
            });
        }
    }

    fn break_redirection(&mut self, id: ClientId, gone: ClientId) {
        let client = &mut self.clients[id];
        if let Some(tracker) = &mut client.tracking {
            tracker.is_broken = true;
        }
        if client.outbox.protocol == Protocol::Resp3 {
            self.deliver(&[id], |push| {
                push.push(2);
                push.bulk(b"tracking-redir-broken");
                push.int(gone.0 as i64);
            });
        }
    }
}

fn invalidation(push: &mut Reply, what: impl Fn(&mut Reply)) {
    push.push(2);
    push.bulk(b"invalidate");
    what(push);
}

fn keys<'a>(
    push: &mut Reply,
    keys: impl IntoIterator<Item = &'a [u8], IntoIter: ExactSizeIterator>,
) {
    let keys = keys.into_iter();
    push.array(keys.len());
    keys.for_each(|key| push.bulk(key));
}
