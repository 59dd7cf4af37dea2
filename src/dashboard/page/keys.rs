//! The keys of a database: how many begin alike and what they weigh, and those that match a pattern
//! or are of one type, found piece by piece.

use super::query::field;
use super::{Drawn, Frame, Page, Row, Viewer, card, moment, text};
use crate::dashboard::census::{CountedKeys, Weight};
use crate::dashboard::found::Sought;
use crate::dashboard::ids;
use crate::dashboard::watch::Watch;
use crate::engine::Engine;
use maud::{Markup, html};
use serde_json::json;

/// As many beginnings are shown, those that weigh most.
const BRANCHES_MAX: usize = 40;

/// What makes a pattern of a text.
const SIGNS: [char; 4] = ['*', '?', '[', '\\'];

const TYPES: [&str; 6] = ["string", "hash", "list", "set", "zset", "stream"];

pub struct KeysPage {
    asked: Asked,
    /// The databases that hold keys, with how many.
    databases: Vec<(usize, usize)>,
    lines: Vec<Line>,
    visited: usize,
    /// How far they were looked for, in percent.
    percent: usize,
    /// Where to go on; 0 if there is no more, or they are still being looked for.
    next: u64,
    sees: Sees,
    tree: Option<Tree>,
}

/// Keys that begin alike.
struct Tree {
    all: Weight,
    others: Weight,
    /// How far they are counted, in percent.
    percent: usize,
    /// Those that weigh most, and how many there are.
    branches: Vec<(Vec<u8>, Weight)>,
    count: usize,
}

/// Has keys looked for and counted, if a view shows them.
pub fn ask_for_keys(watch: &mut Watch, engine: &Engine, path: &str) -> bool {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    if place != "keys" {
        return false;
    }
    let asked = Asked::read(engine, query);
    watch.found.ask(engine, asked.db, asked.sought());
    if asked.is_counted() {
        watch.census.ask(engine, asked.db, asked.prefix());
    }
    true
}

/// What is looked for, as the query of the address says.
struct Asked {
    db: usize,
    /// As it was typed.
    pattern: String,
    type_name: String,
    cursor: u64,
}

/// What the user may know of a key.
#[derive(Clone, Copy)]
pub struct Sees {
    pub expiry: bool,
    pub memory: bool,
    pub encoding: bool,
}

struct Line {
    name: Vec<u8>,
    type_name: &'static str,
    bytes: usize,
    expires_ms: Option<i64>,
}

impl Asked {
    fn read(engine: &Engine, query: &str) -> Self {
        let number = |name| field(query, name).parse().unwrap_or(0);
        Self {
            db: (number("db") as usize).min(engine.keyspace.databases() - 1),
            pattern: field(query, "match"),
            type_name: field(query, "type"),
            cursor: number("cursor"),
        }
    }

    /// Whether keys are counted as well: all whose names begin so, rather than those that match.
    fn is_counted(&self) -> bool {
        self.type_name.is_empty() && !self.pattern.contains(SIGNS) && self.cursor == 0
    }

    fn prefix(&self) -> Vec<u8> {
        self.pattern.clone().into_bytes()
    }

    /// A text without signs is the beginning of a name.
    fn sought(&self) -> Sought {
        let is_pattern = self.pattern.contains(SIGNS);
        let end = if is_pattern { "" } else { "*" };
        let pattern = [self.pattern.as_bytes(), end.as_bytes()].concat();
        Sought { pattern, type_name: self.type_name.clone(), cursor: self.cursor }
    }

    /// The address of what is looked for, beginning at a cursor.
    fn place(&self, cursor: u64) -> String {
        let Self { db, pattern, type_name, .. } = self;
        let pattern = ids::segment(pattern.as_bytes());
        let type_name = ids::segment(type_name.as_bytes());
        format!("#/keys?db={db}&match={pattern}&type={type_name}&cursor={cursor}")
    }

    fn of_type(&self, type_name: &str) -> String {
        let pattern = self.pattern.clone();
        Self { db: self.db, pattern, type_name: type_name.into(), cursor: 0 }.place(0)
    }

    /// What lies below the prefix that is shown. None if no address could name it.
    fn below(&self, branch: &[u8]) -> Option<String> {
        let branch = std::str::from_utf8(branch).ok().filter(|it| !it.contains(SIGNS))?;
        Some(self.beginning(&format!("{}{branch}", self.pattern)))
    }

    /// All that begins so.
    fn beginning(&self, pattern: &str) -> String {
        let pattern = pattern.to_owned();
        Self { db: self.db, pattern, type_name: String::new(), cursor: 0 }.place(0)
    }

    fn of_database(&self, db: usize) -> String {
        let (pattern, type_name) = (self.pattern.clone(), self.type_name.clone());
        Self { db, pattern, type_name, cursor: 0 }.place(0)
    }
}

impl Sees {
    pub fn of(viewer: &Viewer) -> Self {
        Self {
            expiry: viewer.may(&["PTTL", "x"]),
            memory: viewer.may(&["MEMORY", "USAGE", "x"]),
            encoding: viewer.may(&["OBJECT", "ENCODING", "x"]),
        }
    }
}

impl KeysPage {
    pub fn new(watch: &Watch, viewer: &Viewer, query: &str) -> Self {
        let engine = viewer.engine;
        let asked = Asked::read(engine, query);
        let sees = Sees::of(viewer);
        let databases = (0..engine.keyspace.databases())
            .map(|db| (db, engine.keyspace.db(db).len()))
            .filter(|&(db, count)| count > 0 || db == asked.db);
        let databases = databases.collect();
        let found = watch.found.of(engine, asked.db, &asked.sought());
        let names = found.iter().flat_map(|(found, _)| &found.what.0);
        let lines = names.filter_map(|name| Line::of(engine, asked.db, name)).collect();
        let (visited, next, percent) =
            found.map_or((0, 0, 0), |(found, percent)| (found.visited, found.cursor, percent));
        let next = if percent < 100 { 0 } else { next };
        let counted = watch.census.of(engine, asked.db, &asked.prefix());
        let tree = counted.filter(|_| asked.is_counted());
        let tree = tree.map(|(counted, percent)| Tree::of(&counted.what, percent));
        Self { asked, databases, lines, visited, percent, next, sees, tree }
    }
}

impl Tree {
    fn of(counted: &CountedKeys, percent: usize) -> Self {
        let heaviest = counted.heaviest();
        let shown = heaviest.iter().take(BRANCHES_MAX);
        Self {
            all: counted.all,
            others: counted.others,
            percent,
            branches: shown.map(|(name, weight)| (name.to_vec(), *weight)).collect(),
            count: heaviest.len(),
        }
    }
}

impl Line {
    /// None if it has gone meanwhile.
    fn of(engine: &Engine, db: usize, name: &[u8]) -> Option<Self> {
        let entry = engine.keyspace.glance(db, name)?;
        Some(Self {
            name: name.to_vec(),
            type_name: entry.value.type_name(),
            bytes: entry.size(),
            expires_ms: engine.keyspace.db(db).expires_ms(entry),
        })
    }

    fn key(&self) -> String {
        format!("key-{}", ids::segment(&self.name))
    }

    fn row(&self, db: usize, sees: Sees) -> Markup {
        html! {
            tr data-key=(self.key()) {
                td class="c-name clip" {
                    a class="mono" href={ "#/key/" (db) "/" (ids::segment(&self.name)) } {
                        @if self.name.is_empty() { span class="faint" { "the empty name" } }
                        @else { (text::excerpt(&self.name, 120)) }
                    }
                }
                td { (self.type_name) }
                td class="num hide-s" { @if sees.memory { (text::bytes(self.bytes)) } }
                td class="num hide-s" {
                    @match self.expires_ms.filter(|_| sees.expiry) {
                        Some(ms) => { (moment(ms, "left")) }
                        None => { span class="faint" { "–" } }
                    }
                }
            }
        }
    }
}

impl KeysPage {
    fn filter(&self) -> Markup {
        let current = |is_chosen: bool| is_chosen.then_some("page");
        let chosen = &self.asked.type_name;
        html! {
            form class="seek" data-go="keys" role="search" {
                input type="hidden" name="db" value=(self.asked.db);
                input type="hidden" name="type" value=(chosen);
                input name="match" value=(self.asked.pattern) autocomplete="off" spellcheck="false"
                    placeholder="the beginning of a name, or user:*:mail" aria-label="Names";
                button class="btn" { "Find" }
            }
            nav class="nav across" aria-label="Types" {
                a href=(self.asked.of_type("")) aria-current=[current(chosen.is_empty())] { "All" }
                @for name in TYPES {
                    a href=(self.asked.of_type(name)) aria-current=[current(chosen == name)] {
                        (name)
                    }
                }
            }
            @if self.databases.len() > 1 {
                nav class="nav across" aria-label="Databases" {
                    @for &(db, _) in &self.databases {
                        @let is_chosen = db == self.asked.db;
                        a href=(self.asked.of_database(db)) aria-current=[current(is_chosen)] {
                            "db" (db)
                        }
                    }
                }
            }
        }
    }

    /// The prefix that is shown, each part of it a way back.
    fn crumbs(&self) -> Markup {
        let parts: Vec<&str> = self.asked.pattern.split_inclusive(':').collect();
        html! {
            a href=(self.asked.beginning("")) { "all" }
            @for at in 0..parts.len() {
                " / " a href=(self.asked.beginning(&parts[..=at].concat())) { (parts[at]) }
            }
        }
    }

    /// How many keys begin alike; nothing where none do.
    fn tree(&self) -> Markup {
        let is_worth_it =
            |tree: &&Tree| !tree.branches.is_empty() || !self.asked.pattern.is_empty();
        html! {
            div data-key="tree" {
                @if let Some(tree) = self.tree.as_ref().filter(is_worth_it) {
                    section class="card" {
                        header {
                            h2 class="crumbs" { (self.crumbs()) }
                            span class="side-note" {
                                @if tree.percent < 100 { (tree.percent) " % counted: " }
                                (text::number(tree.all.keys)) " keys"
                                @if self.sees.memory { ", " (text::bytes(tree.all.bytes)) }
                            }
                        }
                        (self.branches(tree))
                    }
                }
            }
        }
    }

    fn branches(&self, tree: &Tree) -> Markup {
        let line = |name: Markup, weight: Weight| {
            html! {
                li { div class="line" {
                    (name)
                    span class="what" { (text::number(weight.keys)) }
                    @if self.sees.memory { span class="bytes" { (text::bytes(weight.bytes)) } }
                } }
            }
        };
        let called = |name: &[u8]| {
            let told = text::excerpt(name, 80);
            match self.asked.below(name) {
                Some(place) => html! { a href=(place) { b { (told) } } },
                None => html! { span { (told) } },
            }
        };
        let more = tree.count - tree.branches.len();
        html! {
            @if !tree.branches.is_empty() {
                ul class="tree keys" {
                    @for (name, weight) in &tree.branches { (line(called(name), *weight)) }
                    @if more > 0 {
                        li {
                            div class="line faint" {
                                (text::number(more)) " more, that weigh less"
                            }
                        }
                    }
                    @if tree.others.keys > 0 {
                        (line(html! { span class="faint" { "all others" } }, tree.others))
                    }
                }
            }
        }
    }

    fn count(&self) -> usize {
        let own = self.databases.iter().find(|(db, _)| *db == self.asked.db);
        own.map_or(0, |(_, count)| *count)
    }

    fn pages(&self) -> Markup {
        html! {
            div class="foot-line" data-key="pages" {
                span {
                    (text::number(self.lines.len())) " found among "
                    (text::number(self.visited)) " of " (text::number(self.count())) " keys"
                    @if self.percent < 100 { ", looking further" }
                }
                span class="pages" {
                    @if self.asked.cursor != 0 {
                        a class="btn small" href=(self.asked.place(0)) { "From the start" }
                    }
                    @if self.next != 0 {
                        a class="btn small" href=(self.asked.place(self.next)) { "Further" }
                    }
                }
            }
        }
    }
}

impl Page for KeysPage {
    fn title(&self) -> String {
        "Keys".into()
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let (db, sees, pages, tree) = (self.asked.db, self.sees, self.pages(), self.tree());
        let rows = self.lines.iter().map(|line| Row { key: line.key(), html: line.row(db, sees) });
        let rows: Vec<Row> = rows.collect();
        let heads = html! {
            th { "Name" } th { "Type" } th class="num hide-s" { "Memory" }
            th class="num hide-s" { "Expires in" }
        };
        let body = html! {
            div class="head" { div { h1 { (self.title()) } } }
            (frame.server_tabs())
            (self.filter())
            (tree)
            (card(&heads, ("keys", &rows), &pages))
        };
        Drawn::new(frame, body)
            .with_part("tree", tree)
            .with_part("pages", pages)
            .with_rows("keys", rows)
    }

    fn json(&self) -> serde_json::Value {
        let told = |line: &Line| {
            json!({
                "name": text::lossy(&line.name), "type": line.type_name,
                "address": format!("key/{}/{}", self.asked.db, ids::segment(&line.name)),
                "bytes": self.sees.memory.then_some(line.bytes),
                "expires": line.expires_ms.filter(|_| self.sees.expiry),
            })
        };
        let all: Vec<_> = self.lines.iter().map(told).collect();
        let tree = self.tree.as_ref().filter(|_| self.sees.memory).map(|tree| {
            let branches = tree.branches.iter();
            let branches = branches.map(|(name, it)| json!([text::lossy(name), it.keys, it.bytes]));
            json!({
                "keys": tree.all.keys, "bytes": tree.all.bytes, "percent": tree.percent,
                "others": tree.others.keys, "branches": branches.collect::<Vec<_>>(),
            })
        });
        json!({
            "keys": all, "cursor": self.next.to_string(), "visited": self.visited,
            "settled": self.percent == 100, "count": self.count(), "tree": tree,
        })
    }
}
