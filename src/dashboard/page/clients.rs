//! The clients: who is connected since when, and what each does now or asked for last.

use super::{Drawn, Frame, Page, Row, Viewer, buttons, moment, text};
use crate::engine::client::{Client, Parked, State, Transport};
use crate::engine::time::Now;
use maud::{Markup, html};
use serde_json::json;

/// As many are shown, in order of arrival.
const SHOWN_MAX: usize = 200;

/// As many of the keys that a client waits for are named.
const KEYS_NAMED_MAX: usize = 3;

pub struct ClientsPage {
    lines: Vec<Line>,
    count: usize,
    can_kill: bool,
}

struct Line {
    id: u64,
    name: String,
    address: String,
    user: String,
    db: usize,
    since_ms: i64,
    doing: Doing,
    memory: usize,
}

/// What a client does.
enum Doing {
    Monitors,
    Listens(usize),
    /// It waits for keys, as a command said.
    Waits(String, Vec<String>),
    IsHeld,
    RunsScript,
    /// The server does something for it.
    IsServed(String),
    Queues(usize),
    /// It asked for this last, so long ago.
    Asked(String, i64),
    /// It speaks HTTP: it has the page open, or fetches a view of it.
    Looks,
    Nothing,
}

impl ClientsPage {
    pub fn new(viewer: &Viewer) -> Self {
        let engine = viewer.engine;
        let ids = engine.clients.ids();
        let first = ids.iter().take(SHOWN_MAX).filter_map(|&id| engine.clients.get(id));
        let lines = first.map(|client| Line::of(client, engine.keyspace.now)).collect();
        let can_kill = viewer.may(&["CLIENT", "KILL", "ID", "1"]);
        Self { lines, count: ids.len(), can_kill }
    }
}

/// A moment of the monotonic clock on the wall clock, to the second, so that a row stays the same
/// as long as its client does.
fn second_of(at_us: u64, now: Now) -> i64 {
    let past_ms = (now.mono_us.saturating_sub(at_us) / 1000) as i64;
    (now.wall_ms - past_ms + 500) / 1000 * 1000
}

impl Line {
    fn of(client: &Client, now: Now) -> Self {
        let library = [&client.lib_name, &client.lib_version].map(|it| text::lossy(it));
        let address = format!("{} {}", client.peer.addr, library.join(" "));
        Self {
            id: client.id.0,
            name: text::excerpt(&client.name, 60),
            address: address.trim_end().into(),
            user: text::excerpt(&client.user.name, 40),
            db: client.db,
            since_ms: second_of(client.created_us, now),
            doing: Doing::of(client, now),
            memory: client.size(),
        }
    }

    fn key(&self) -> String {
        format!("client-{}", self.id)
    }

    fn row(&self, can_kill: bool) -> Markup {
        html! {
            tr data-key=(self.key()) {
                td class="c-name" {
                    @if self.name.is_empty() { span class="faint" { "without a name" } }
                    @else { b { (self.name) } }
                    " " span class="tag" { (self.id) }
                }
                td { (self.doing.told()) }
                td class="hide-m faint mono" { (self.address) }
                td class="hide-m soft" { (self.user) }
                td class="num hide-s" { (self.db) }
                td class="num hide-s" { (text::bytes(self.memory)) }
                td class="num hide-s" { (moment(self.since_ms, "ago")) }
                @if can_kill {
                    td class="acts" {
                        @let place = format!("clients/kill?id={}", self.id);
                        (buttons::ask_about(&place, "small", "Close"))
                    }
                }
            }
        }
    }
}

impl Doing {
    fn of(client: &Client, now: Now) -> Self {
        match &client.parked {
            Some(Parked::Keys(park)) => {
                let words = park.request.words.words();
                let keys = words[park.attempt.keys()].iter().map(|key| text::excerpt(key, 60));
                return Self::Waits(spoken(&park.request.found.full_name()), keys.collect());
            }
            Some(Parked::Pause) => return Self::IsHeld,
            _ => {}
        }
        let last = client.last_command.map(|found| spoken(&found.full_name()));
        match last {
            _ if client.is_monitor => Self::Monitors,
            _ if client.subscriptions() > 0 => Self::Listens(client.subscriptions()),
            _ if client.state == State::Running => Self::RunsScript,
            Some(last) if client.parked.is_some() => Self::IsServed(last),
            Some(last) => match client.transaction.count() {
                Some(count) => Self::Queues(count),
                None => Self::Asked(last, second_of(client.active_us, now)),
            },
            None if client.peer.transport == Transport::Http => Self::Looks,
            None => Self::Nothing,
        }
    }

    fn told(&self) -> Markup {
        html! {
            @match self {
                Self::Monitors => { "sees what all ask for: " code { "MONITOR" } }
                Self::Listens(1) => { "listens to 1 channel" }
                Self::Listens(count) => { "listens to " (text::number(*count)) " channels" }
                Self::Waits(command, keys) => {
                    "waits: " code { (command) }
                    @for key in keys.iter().take(KEYS_NAMED_MAX) { " " span class="mono" { (key) } }
                    @if keys.len() > KEYS_NAMED_MAX {
                        " and " (keys.len() - KEYS_NAMED_MAX) " more keys"
                    }
                }
                Self::IsHeld => { span class="warn" { "held back: " code { "CLIENT PAUSE" } } }
                Self::RunsScript => { "runs a script" }
                Self::IsServed(command) => { "is served: " code { (command) } }
                Self::Queues(1) => { code { "MULTI" } ", 1 command so far" }
                Self::Queues(count) => { code { "MULTI" } ", " (count) " commands so far" }
                Self::Asked(command, ms) => {
                    code { (command) } " " span class="faint" { (moment(*ms, "ago")) }
                }
                Self::Looks => { span class="faint" { "speaks HTTP" } }
                Self::Nothing => { span class="faint" { "has asked for nothing" } }
            }
        }
    }

    /// The command that it is about, for JSON.
    fn command(&self) -> &str {
        match self {
            Self::Waits(command, _) | Self::IsServed(command) | Self::Asked(command, _) => command,
            Self::Monitors => "MONITOR",
            Self::Queues(_) => "MULTI",
            Self::Listens(_) | Self::IsHeld | Self::RunsScript => "",
            Self::Looks | Self::Nothing => "",
        }
    }
}

/// A command's name as it is typed: `CLIENT LIST`.
pub fn spoken(full_name: &str) -> String {
    full_name.to_uppercase().replace('|', " ")
}

impl Page for ClientsPage {
    fn title(&self) -> String {
        "Clients".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let rows =
            self.lines.iter().map(|line| Row { key: line.key(), html: line.row(self.can_kill) });
        let said = html! {
            (text::number(self.count)) " connected"
            @if self.count > SHOWN_MAX { ", the first " (SHOWN_MAX) " of them" }
        };
        let heads = html! {
            th { "Client" } th { "Now" } th class="hide-m" { "Address" }
            th class="hide-m" { "User" } th class="num hide-s" { "Database" }
            th class="num hide-s" { "Memory" } th class="num hide-s" { "Connected" }
            @if self.can_kill { th class="acts" { span class="visually-hidden" { "Close" } } }
        };
        Drawn::table(frame, &self.title(), &said, &heads, ("clients", rows.collect()))
    }

    fn json(&self) -> serde_json::Value {
        let told = |line: &Line| {
            let waits = if let Doing::Waits(_, keys) = &line.doing { keys.clone() } else { vec![] };
            json!({
                "id": line.id, "name": line.name, "address": line.address, "user": line.user,
                "db": line.db, "since": line.since_ms, "bytes": line.memory,
                "command": line.doing.command(), "waits": waits,
            })
        };
        let all: Vec<_> = self.lines.iter().map(told).collect();
        json!({ "clients": all, "count": self.count })
    }
}
