//! The page over the queues: what its views show, and what changes in them. It looks at the keys
//! without touching them (queues/glance.rs), and changes nothing.
//!
//! While nobody looks nothing is collected: `Board` is awake from the first request for a view
//! until five seconds after the last, and listens to which keys change only then.
//! server/http/pages.rs serves it.

mod actions;
pub mod app;
mod census;
mod courses;
mod found;
mod ids;
mod key_walk;
mod page;
mod rates;
mod recording;
mod rings;
mod search;
mod sessions;
mod streams;
mod watch;

use crate::engine::Engine;
use crate::engine::acl::selector::right;
use crate::engine::acl::user::User;
use crate::engine::client::ClientId;
use crate::proto::Args;
pub use actions::PageOrder;
use actions::commands;
pub use app::INDEX;
use page::{Drawn, Frame, Page};
pub use sessions::Sessions;
use streams::Streams;
use watch::Watch;

/// Nothing is kept once nobody has looked for so long.
const ASLEEP_US: u64 = 5_000_000;

/// What is kept for a page that nobody has shown for so long is forgotten.
const FORGOTTEN_US: u64 = 3_000_000;

/// Why a view is not shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such view, or no such queue or job any more.
    Absent(String),
    /// The user may not see all queues.
    Forbidden(String),
    /// What is wanted makes no sense.
    Wrong(String),
    /// No more pages can be open.
    TooMany(String),
}

/// In which form a view is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Html,
    Json,
}

/// What the page shows and who has it open.
#[derive(Default)]
pub struct Board {
    pub sessions: Sessions,
    /// None while nobody looks.
    watch: Option<Watch>,
    streams: Streams,
    looked_us: u64,
    /// Nothing is drawn before.
    rests_until_us: u64,
}

impl Board {
    /// A view by its address below `/_toril/view/`.
    ///
    /// # Errors
    /// The user may not see it, or it is not there.
    pub fn view(
        &mut self,
        engine: &mut Engine,
        user: &User,
        path: &str,
        form: Form,
    ) -> Result<String, Trouble> {
        self.look(engine, user)?;
        if let Some(asked) = path.strip_prefix("ask/") {
            let watch = self.watch.as_ref().expect("somebody looks");
            return page::ask_before(watch, engine, user, asked);
        }
        self.seek(engine, path, FIRST_SEARCH_US);
        let page = self.page(engine, user, path)?;
        Ok(match form {
            Form::Html => page.draw(&self.frame(engine, user, path)).whole(page.title()),
            Form::Json => page.json().to_string(),
        })
    }

    /// Wakes up if need be. A view follows.
    fn look(&mut self, engine: &mut Engine, user: &User) -> Result<(), Trouble> {
        if !may_look(engine, user) {
            return Err(Trouble::Forbidden(
                "this user may not see every key: the page wants ~* and +@read".into(),
            ));
        }
        self.looked_us = engine.keyspace.now.mono_us;
        let watch = self.watch.get_or_insert_with(|| Watch::begin(engine));
        watch.catch_up(engine);
        Ok(())
    }

    /// What somebody wants done, ready to be run in their name. `path` names what it is done to and
    /// the action: `queues/ID/retry`, `keys/delete`, `clients/kill`.
    ///
    /// # Errors
    /// They may not, or it cannot be done.
    pub fn order(
        &mut self,
        engine: &mut Engine,
        user: &User,
        path: &str,
        body: &[u8],
    ) -> Result<PageOrder, Trouble> {
        self.look(engine, user)?;
        let (kind, path) = path.split_once('/').unwrap_or((path, ""));
        let body = || actions::read_body(body);
        match kind {
            "keys" => Ok(PageOrder::Command(commands::on_key(engine, user, path, body()?)?)),
            "clients" => Ok(PageOrder::Command(commands::on_client(path, &body()?)?)),
            _ if !may_act(engine, user) => Err(Trouble::Forbidden(
                "this user may look, and change nothing: that wants ~*, +@write, +@read, +select, \
                 +eval and no command of these left out"
                    .into(),
            )),
            _ => {
                let (id, action) = actions::split(path)?;
                let watch = self.watch.as_ref().expect("somebody looks");
                let queue = page::known_queue(watch, engine, id)?;
                let order = actions::Order::read(engine, user, queue, body()?)?;
                Ok(PageOrder::Script(order.script(action)?))
            }
        }
    }

    /// What a view shows beside what there is at this moment: a search or a walk over keys goes on
    /// for so long, and the course of a job is brought up to now.
    fn seek(&mut self, engine: &Engine, path: &str, slice_us: u64) {
        let watch = self.watch.as_mut().expect("somebody looks");
        if let Some(query) = path.strip_prefix("search?") {
            let (text, most) = page::searched(query);
            watch.ask(engine, &text, most);
        } else if let Some((queue, id)) = page::followed(watch, path) {
            watch.courses.follow(engine, &queue, &id);
            return;
        } else if !page::ask_for_keys(watch, engine, path) {
            return;
        }
        watch.search(engine, slice_us);
    }

    /// Whether `search` has something to do.
    pub fn is_searching(&self, engine: &Engine) -> bool {
        let now_us = engine.keyspace.now.mono_us;
        self.watch.as_ref().is_some_and(|watch| watch.is_searching(now_us))
    }

    /// A slice of what open pages search for, which are the queues at first.
    pub fn search(&mut self, engine: &Engine) {
        if let Some(watch) = &mut self.watch {
            watch.search(engine, SEARCH_SLICE_US);
        }
    }

    fn page(&self, engine: &Engine, user: &User, path: &str) -> Result<Box<dyn Page>, Trouble> {
        let watch = self.watch.as_ref().expect("somebody looks");
        page::find(watch, engine, user, path)
    }

    fn frame(&self, engine: &Engine, user: &User, path: &str) -> Frame {
        let watch = self.watch.as_ref().expect("somebody looks");
        Frame::new(watch, engine, user, path)
    }

    /// Opens a stream of what changes in a view, which is written into a client's outbox.
    ///
    /// # Errors
    /// As `view`, or too many are open.
    pub fn open(
        &mut self,
        engine: &mut Engine,
        user: &User,
        client: ClientId,
        path: &str,
    ) -> Result<(), Trouble> {
        self.look(engine, user)?;
        self.page(engine, user, path)?;
        if let (Some(wish), Some(watch)) = (page::wish(path), &mut self.watch) {
            watch.recording.wish(engine, wish);
        }
        self.streams.open(engine, client, path)
    }

    /// Whether `tick` is wanted, and how soon: every 250 ms while a page is open, more often while
    /// something is searched.
    pub fn next_tick_us(&self) -> Option<u64> {
        let watch = self.watch.as_ref()?;
        Some(match () {
            () if watch.has_search() => SEARCH_TICK_US,
            () => TICK_US,
        })
    }

    /// Sends each open page what has changed in what it shows, and falls asleep when none is open.
    pub fn tick(&mut self, engine: &mut Engine) {
        let Some(watch) = &mut self.watch else { return };
        let now_us = engine.keyspace.now.mono_us;
        watch.catch_up(engine);
        self.streams.leave_out_gone(engine);
        watch.record(engine, self.streams.shows(|path| page::wish(path).is_some()));
        if !self.streams.is_empty() {
            self.looked_us = now_us;
            let may_draw = now_us >= self.rests_until_us;
            if may_draw && self.watch.as_mut().is_some_and(|watch| watch.is_to_be_shown(now_us)) {
                let start_us = engine.facts.stopwatch_us();
                self.send(engine);
                let took_us = engine.facts.stopwatch_us() - start_us;
                let rest_us = took_us * SHARE / self.streams.count().max(1) as u64;
                self.rests_until_us = now_us + rest_us.min(REST_US_MAX);
            }
        } else if now_us - self.looked_us > ASLEEP_US {
            if let Some(mut watch) = self.watch.take() {
                watch.recording.end(engine);
            }
            engine.keyspace.aftermath.watch_keys(false);
        }
    }

    fn send(&mut self, engine: &mut Engine) {
        let mut streams = std::mem::take(&mut self.streams);
        for stream in streams.iter_mut() {
            let Some(client) = engine.clients.get(stream.client) else { continue };
            let user = &client.user.clone();
            self.seek(engine, &stream.path, 0);
            let drawn: Option<Drawn> = match self.page(engine, user, &stream.path) {
                Ok(page) => Some(page.draw(&self.frame(engine, user, &stream.path))),
                Err(_) => None,
            };
            stream.send(engine, drawn);
        }
        self.streams = streams;
    }
}

/// How often open pages hear what has changed.
const TICK_US: u64 = 250_000;

/// ... unless drawing for one page would take more of the time than a hundredth; yet
const SHARE: u64 = 100;

/// ... once a second at least.
const REST_US_MAX: u64 = 1_000_000;

/// How often it is while something is searched.
const SEARCH_TICK_US: u64 = 50_000;

/// How long a search takes at once, for the first answer.
const FIRST_SEARCH_US: u64 = 500;

/// How long a slice of it may take.
const SEARCH_SLICE_US: u64 = 150;

/// Pages show every key there is, so they are for who may read them all.
pub fn may_look(engine: &Engine, user: &User) -> bool {
    may_run(engine, user, &[b"HGETALL", b"x"]) && user.has_all_keys(right::READ)
}

/// Whether a user may run a command, which is named with its arguments.
pub fn may_run(engine: &Engine, user: &User, words: &[&[u8]]) -> bool {
    let found = engine.table.resolve(&Args::new(words));
    found.is_ok_and(|found| user.check(found, words).is_ok())
}

/// Whether the page's buttons would do anything for a user: they run scripts. One that was refused
/// half-way would leave half of its work behind, so all that a script may call has to be allowed.
pub fn may_act(engine: &Engine, user: &User) -> bool {
    let may = |name: &&str| may_run(engine, user, &[name.as_bytes(), b"x", b"1", b"x"]);
    actions::COMMANDS.iter().all(may) && user.has_all_keys(right::READ | right::WRITE)
}
