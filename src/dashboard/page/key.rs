//! One key: what it holds, page by page, how large that is, and when it goes.

use super::ask_key::{is_worth_showing, queue_of};
use super::keys::Sees;
use super::query::field;
use super::{Drawn, Frame, Page, Row, Viewer, buttons, card, job, moment, shown, text};
use crate::dashboard::{Trouble, actions::commands, ids};
use crate::data::Value;
use crate::data::stream::StreamId;
use crate::queues::{Glance, Queue};
use crate::util::number;
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::json;

/// Elements on a page.
const ELEMENTS_MAX: usize = 50;

/// Characters of an element that are shown.
pub const CHARS_MAX: usize = 400;

/// What is longer is no part of an address: no button names it.
const NAMED_MAX: usize = 2_000;

/// Scores are taken for times within so much of now.
const YEARS_10_MS: i64 = 10 * 365 * 86_400_000;

/// Bytes of a string that are shown.
const STRING_BYTES_MAX: usize = 64 * 1024;

/// What elements of each type are called, and the command that reads them.
struct Shape {
    type_name: &'static str,
    heads: [&'static str; 2],
    words: &'static [&'static str],
}

const SHAPES: [Shape; 6] = [
    Shape { type_name: "string", heads: ["", "Text"], words: &["GET", "x"] },
    Shape { type_name: "list", heads: ["Place", "Element"], words: &["LRANGE", "x", "0", "1"] },
    Shape { type_name: "hash", heads: ["Field", "Value"], words: &["HGETALL", "x"] },
    Shape { type_name: "set", heads: ["", "Member"], words: &["SMEMBERS", "x"] },
    Shape { type_name: "zset", heads: ["Score", "Member"], words: &["ZRANGE", "x", "0", "1"] },
    Shape { type_name: "stream", heads: ["Id", "Fields"], words: &["XRANGE", "x", "-", "+"] },
];

/// What can be done to keys, by type, as far as the user may.
const ACTIONS: [&str; 5] = ["add", "delete", "drop", "edit", "expire"];

pub struct KeyPage {
    pub db: usize,
    pub name: Vec<u8>,
    shape: &'static Shape,
    /// The user may not read values of this type.
    pub is_hidden: bool,
    encoding: &'static str,
    /// It is compressed until somebody reads it.
    is_at_rest: bool,
    /// The queue that it belongs to: its address, its name and its library.
    pub queue: Option<(String, String, &'static str)>,
    can: Vec<&'static str>,
    now_ms: i64,
    /// Elements, or bytes of a string.
    pub len: usize,
    bytes: usize,
    expires_ms: Option<i64>,
    sees: Sees,
    from: usize,
    /// Entries of a stream are shown from behind this one on.
    after: StreamId,
    /// What each element is called, and what it holds.
    elements: Vec<[Vec<u8>; 2]>,
    /// When fields of a hash go, where one of those shown does.
    deadlines: Vec<Option<i64>>,
}

impl KeyPage {
    /// # Errors
    /// There is no such key.
    pub fn new(
        viewer: &Viewer,
        queues: &[Queue],
        db: &str,
        segment: &str,
        query: &str,
    ) -> Result<Self, Trouble> {
        let name: Vec<u8> = percent_decode_str(segment).collect();
        let keyspace = &viewer.engine.keyspace;
        let db = db.parse().ok().filter(|db| *db < keyspace.databases());
        let entry = db.and_then(|db| keyspace.glance(db, &name));
        let (Some(db), Some(entry)) = (db, entry) else {
            let told = text::excerpt(&name, 60);
            return Err(Trouble::Absent(format!("there is no key {told}, or not any more")));
        };
        let type_name = entry.value.type_name();
        let shape = SHAPES.iter().find(|shape| shape.type_name == type_name);
        let shape = shape.expect("each type has its shape");
        let is_hidden = !viewer.may(shape.words);
        let from = field(query, "from").parse().unwrap_or(0);
        let after = stream_id(&field(query, "after")).unwrap_or(StreamId::MIN);
        let view = Glance::new(viewer.engine, db);
        let elements = match is_hidden {
            true => Vec::new(),
            false => elements(view, &name, &entry.value, from, after),
        };
        let may =
            |action: &&str| commands::may(viewer.engine, viewer.user, action, type_name, &name);
        let hash = view.hash(&name).filter(|hash| type_name == "hash" && hash.has_ttls());
        let deadlines = hash.map_or(Vec::new(), |hash| {
            let fields = elements.iter().map(|[field, _]| hash.expires_ms(field).flatten());
            fields.collect()
        });
        Ok(Self {
            db,
            is_at_rest: matches!(entry.value, Value::Cold(_)),
            queue: queue_of(queues, db, &name),
            can: ACTIONS.into_iter().filter(may).collect(),
            now_ms: view.now_ms(),
            deadlines,
            shape,
            is_hidden,
            encoding: entry.value.encoding(),
            len: entry.value.size(),
            bytes: entry.size(),
            expires_ms: keyspace.db(db).expires_ms(entry),
            sees: Sees::of(viewer),
            from,
            after,
            elements,
            name,
        })
    }

    fn is_string(&self) -> bool {
        self.shape.type_name == "string"
    }

    pub fn type_name(&self) -> &'static str {
        self.shape.type_name
    }

    /// Whether its user may do something to it.
    pub fn can(&self, action: &str) -> bool {
        self.can.contains(&action)
    }

    /// A button that asks before something is done to it, or to an element of it.
    fn button(&self, action: &str, at: Option<&[u8]>, class: &str, label: &str) -> Markup {
        let at = at.map_or(String::new(), |at| format!("&at={}", ids::segment(at)));
        let place = format!("keys/{action}?db={}&key={}{at}", self.db, ids::segment(&self.name));
        html! { @if action == "show" || self.can(action) {
            (buttons::ask_about(&place, class, label))
        } }
    }

    /// What can be done to it as a whole.
    fn actions(&self) -> Markup {
        html! {
            div class="actions" data-key="actions" {
                @if self.is_string() && !self.is_hidden {
                    (self.button("edit", Some(b""), "", "Edit"))
                }
                (self.button("add", None, "", "Add"))
                (self.button("expire", None, "", "Expiry"))
                (self.button("delete", None, "danger", "Delete"))
            }
        }
    }

    /// What can be done to an element.
    fn element_actions(&self, index: usize, [name, held]: &[Vec<u8>; 2]) -> Markup {
        let index = (self.from + index).to_string();
        let (at, shown): (&[u8], &[u8]) = match self.type_name() {
            "list" => (index.as_bytes(), held),
            "set" | "zset" => (held, held),
            _ => (name, held),
        };
        let is_text = std::str::from_utf8(if self.type_name() == "zset" { b"" } else { shown });
        html! {
            td class="acts" {
                @if at.len() <= NAMED_MAX {
                    @if self.type_name() != "stream" && is_worth_showing(shown) {
                        (self.button("show", Some(at), "small quiet", "Show"))
                    }
                    @if is_text.is_ok() { (self.button("edit", Some(at), "small quiet", "Edit")) }
                    (self.button("drop", Some(at), "small quiet danger", "Remove"))
                }
            }
        }
    }

    fn has_element_actions(&self) -> bool {
        !self.is_hidden && (self.can("edit") || self.can("drop"))
    }

    /// The moment that a score of a sorted set stands for, in milliseconds: queues keep them as
    /// seconds, as milliseconds, or as BullMQ's delayed jobs do. None if it is like none of these.
    fn moment_of(&self, score: &[u8]) -> Option<i64> {
        // A priority times 2^32 may look like anything.
        let is_priority =
            [&b"prioritized"[..], b"priority"].iter().any(|it| self.name.ends_with(it));
        let score: f64 = std::str::from_utf8(score).ok()?.parse().ok()?;
        let near = |ms: f64| (ms - self.now_ms as f64).abs() < YEARS_10_MS as f64;
        let all = [score, score * 1_000.0, (score / 4096.0).floor()];
        let moment = all.into_iter().find(|ms| near(*ms)).map(|ms| ms as i64);
        moment.filter(|_| self.type_name() == "zset" && !is_priority)
    }
}

/// An id as it is told: `5-1`. None if it is none.
fn stream_id(text: &str) -> Option<StreamId> {
    let (ms, seq) = text.split_once('-')?;
    Some(StreamId::new(ms.parse().ok()?, seq.parse().ok()?))
}

/// A page of what a value holds, in its own order. What rests is made whole for this look alone.
fn elements(
    view: Glance,
    name: &[u8],
    value: &Value,
    from: usize,
    after: StreamId,
) -> Vec<[Vec<u8>; 2]> {
    let numbered = |(at, item): (usize, Vec<u8>)| [(from + at).to_string().into_bytes(), item];
    match value {
        Value::Str(text) => {
            let bytes = text.bytes();
            vec![[Vec::new(), bytes[..bytes.len().min(STRING_BYTES_MAX)].to_vec()]]
        }
        Value::Cold(cold) if cold.is_str() => {
            let mut bytes = view.text(name).unwrap_or_default();
            bytes.truncate(STRING_BYTES_MAX);
            vec![[Vec::new(), bytes]]
        }
        Value::List(_) => {
            let items = view.members(name, from..from + ELEMENTS_MAX);
            items.into_iter().enumerate().map(numbered).collect()
        }
        Value::Set(_) => {
            let items = view.members(name, from..from + ELEMENTS_MAX);
            items.into_iter().map(|item| [Vec::new(), item]).collect()
        }
        Value::Hash(_) | Value::Cold(_) => {
            let Some(hash) = view.hash(name) else { return Vec::new() };
            let fields = hash.iter().skip(from).take(ELEMENTS_MAX);
            fields.map(|(field, value)| [field.to_vec(), value.to_vec()]).collect()
        }
        Value::Zset(zset) => {
            let ranks = from..(from + ELEMENTS_MAX).min(zset.len());
            let scored = ranks.map(|rank| zset.at(rank));
            scored
                .map(|(member, score)| [number::format_double(score).to_vec(), member.to_vec()])
                .collect()
        }
        Value::Stream(stream) => {
            let entries =
                stream.range(after.next().unwrap_or(after), StreamId::MAX).take(ELEMENTS_MAX);
            entries
                .map(|entry| {
                    let pairs = entry.fields().map(|(name, value)| [name, b"=", value].concat());
                    let told: Vec<Vec<u8>> = pairs.collect();
                    [entry.id.to_string().into_bytes(), told.join(&b' ')]
                })
                .collect()
        }
    }
}

impl KeyPage {
    fn facts(&self) -> Markup {
        let unit = if self.is_string() { "Bytes" } else { "Elements" };
        html! {
            section class="card" data-key="facts" {
                header { h2 { "Facts" } }
                dl class="facts" {
                    (job::fact("Type", html! { (self.shape.type_name) }))
                    @if self.sees.encoding {
                        (job::fact("Encoding", html! { (self.encoding) }))
                    }
                    @if !self.is_hidden {
                        (job::fact(unit, html! { (text::number(self.len)) }))
                    }
                    @if self.sees.memory {
                        (job::fact("Memory", html! {
                            (text::bytes(self.bytes))
                            @if self.is_at_rest { small { "compressed until it is read" } }
                        }))
                    }
                    @if self.sees.expiry {
                        (job::fact("Expires in", html! {
                            @match self.expires_ms {
                                Some(ms) => { (moment(ms, "left")) }
                                None => { "never" }
                            }
                        }))
                    }
                    (job::fact("Database", html! { (self.db) }))
                    @if let Some((id, name, library)) = &self.queue {
                        (job::fact("Queue", html! {
                            a class="under" href={ "#/queue/" (id) } { (name) }
                            small { (library) }
                        }))
                    }
                }
            }
        }
    }

    /// The text of a string: JSON folds.
    fn string(&self) -> Markup {
        let text = self.elements.first().map_or(&b""[..], |[_, text]| text);
        html! {
            div data-key="value" {
                (job::value("Text", "text", text))
                @if text.len() < self.len {
                    p class="sub" { "the first " (text::bytes(text.len())) " of it" }
                }
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let has_names = !self.shape.heads[0].is_empty();
        let row = |(at, [name, held]): (usize, &[Vec<u8>; 2])| {
            let key = match self.shape.type_name {
                "stream" => format!("element-{}", text::lossy(name)),
                _ => format!("element-{}", self.from + at),
            };
            let (kind, told) = shown::excerpt(held, CHARS_MAX);
            let html = html! {
                tr data-key=(key) {
                    @if has_names {
                        td class="c-name mono" {
                            (text::excerpt(name, 120))
                            @if let Some(ms) = self.moment_of(name) {
                                " " span class="faint" { (moment(ms, "clock")) }
                            }
                        }
                    }
                    td class="clip mono wide" {
                        @if let Some(kind) = kind { span class="tag" { (kind) } " " }
                        (told)
                    }
                    @if !self.deadlines.is_empty() {
                        td class="num hide-s" {
                            @if let Some(Some(ms)) = self.deadlines.get(at) {
                                (moment(*ms, "left"))
                            }
                        }
                    }
                    @if self.has_element_actions() {
                        (self.element_actions(at, &self.elements[at]))
                    }
                }
            };
            Row { key, html }
        };
        self.elements.iter().enumerate().map(row).collect()
    }

    /// Where it goes on behind what is shown: in a stream by the id, which nobody has to count for.
    fn entries(&self) -> Markup {
        let place = format!("#/key/{}/{}", self.db, ids::segment(&self.name));
        html! {
            div class="foot-line" data-key="pages" {
                span {
                    (text::number(self.elements.len())) " of " (text::number(self.len)) " entries"
                }
                span class="pages" {
                    @if self.after != StreamId::MIN {
                        a class="btn small" href=(place) { "From the start" }
                    }
                    @if let [.., [id, _]] = &*self.elements && self.elements.len() == ELEMENTS_MAX {
                        a class="btn small" href={ (place) "?after=" (text::lossy(id)) } { "After" }
                    }
                }
            }
        }
    }

    fn pages(&self) -> Markup {
        if self.shape.type_name == "stream" {
            return self.entries();
        }
        let name = ids::segment(&self.name);
        let place = |from: usize| format!("#/key/{}/{name}?from={from}", self.db);
        let last = self.from + self.elements.len();
        html! {
            div class="foot-line" data-key="pages" {
                span {
                    @if self.elements.is_empty() { "nothing here" }
                    @else { (text::number(self.from + 1)) "–" (text::number(last)) }
                    " of " (text::number(self.len))
                }
                span class="pages" {
                    @if self.from > 0 {
                        a class="btn small" href=(place(self.from.saturating_sub(ELEMENTS_MAX))) {
                            "Before"
                        }
                    }
                    @if last < self.len { a class="btn small" href=(place(last)) { "After" } }
                }
            }
        }
    }

    fn table(&self, rows: &[Row], pages: &Markup) -> Markup {
        let heads = html! {
            @for head in self.shape.heads.iter().filter(|head| !head.is_empty()) { th { (head) } }
            @if !self.deadlines.is_empty() { th class="num hide-s" { "Expires in" } }
            @if self.has_element_actions() {
                th class="acts" { span class="visually-hidden" { "Actions" } }
            }
        };
        card(&heads, ("elements", rows), pages)
    }
}

impl Page for KeyPage {
    fn title(&self) -> String {
        text::excerpt(&self.name, 60)
    }

    fn draw(&self, frame: &Frame) -> Drawn {
        let (facts, rows) = (self.facts(), self.rows());
        let (string, pages, actions) = (self.string(), self.pages(), self.actions());
        let command = self.shape.words[0];
        let body = html! {
            div class="head" {
                div {
                    p class="crumbs" { a href={ "#/keys?db=" (self.db) } { "Keys" } " / " }
                    h1 class="name" { (text::excerpt(&self.name, 200)) }
                }
                (actions)
            }
            div class="two" {
                div {
                    @if self.is_hidden {
                        p class="sub" { "This user may not read it: that wants " (command) "." }
                    }
                    @else if self.is_string() { (string) }
                    @else { (self.table(&rows, &pages)) }
                }
                div { (facts) }
            }
        };
        let drawn = Drawn::new(frame, body).with_part("facts", facts).with_part("actions", actions);
        match (self.is_hidden, self.is_string()) {
            (true, _) => drawn,
            (false, true) => drawn.with_part("value", string),
            (false, false) => drawn.with_part("pages", pages).with_rows("elements", rows),
        }
    }

    fn json(&self) -> serde_json::Value {
        let told = |[name, held]: &[Vec<u8>; 2]| [text::lossy(name), text::lossy(held)];
        let all: Vec<[String; 2]> = self.elements.iter().map(told).collect();
        json!({
            "name": text::lossy(&self.name), "type": self.shape.type_name,
            "encoding": self.sees.encoding.then_some(self.encoding),
            "len": (!self.is_hidden).then_some(self.len),
            "bytes": self.sees.memory.then_some(self.bytes),
            "expires": self.expires_ms.filter(|_| self.sees.expiry),
            "from": self.from, "elements": all, "deadlines": self.deadlines, "can": self.can,
            "at_rest": self.is_at_rest,
        })
    }
}
