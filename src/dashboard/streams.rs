//! The streams of open pages: each says which view it shows, and is sent what has changed in that,
//! part by part.

use super::Trouble;
use super::page::Drawn;
use crate::engine::Engine;
use crate::engine::client::{ClientId, State};
use crate::proto::Outbox;
use crate::util::hash::hash;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;

/// What clients are called that are pages.
pub const NAME: &[u8] = b"toril-page";

/// A browser opens one for each tab that can be seen.
const STREAMS_MAX: usize = 16;

/// Of changes that take more, some go with the next frame. Parts that are new to a page cannot
/// wait: one that would be sent more of them, or has not read the last frame, is told to fetch its
/// view anew.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// One page.
pub struct OpenPage {
    pub client: ClientId,
    pub path: String,
    /// What its parts were when they were last sent, hashed, and the order of its rows.
    sent: BTreeMap<String, u64>,
    /// The first part that the last frame had no room for.
    postponed: Option<String>,
    /// It has not read what it was sent.
    is_behind: bool,
    /// It has been told that what it shows is gone.
    is_gone: bool,
}

/// Those that are open.
#[derive(Default)]
pub struct Streams(Vec<OpenPage>);

impl Streams {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether some page shows such a view.
    pub fn shows(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|stream| is_it(&stream.path))
    }

    /// # Errors
    /// Too many are open already.
    pub fn open(
        &mut self,
        engine: &mut Engine,
        client: ClientId,
        path: &str,
    ) -> Result<(), Trouble> {
        self.leave_out_gone(engine);
        if self.0.len() >= STREAMS_MAX {
            return Err(Trouble::TooMany(format!("{STREAMS_MAX} pages are open: close one")));
        }
        if let Some(outbox) = engine.outbox(client) {
            *outbox = Outbox::events();
        }
        engine.name_client(client, NAME);
        self.0.push(OpenPage {
            client,
            path: path.to_owned(),
            sent: BTreeMap::new(),
            postponed: None,
            is_behind: false,
            is_gone: false,
        });
        Ok(())
    }

    /// Forgets those whose clients have left.
    pub fn leave_out_gone(&mut self, engine: &Engine) {
        self.0.retain(|stream| engine.state(stream.client) != State::Closing);
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenPage> {
        self.0.iter_mut()
    }
}

impl OpenPage {
    /// Sends the parts that are not as they were. None: the view is gone. A page that has not read
    /// what it was sent is sent nothing more until it has, and then told to fetch its view.
    pub fn send(&mut self, engine: &mut Engine, drawn: Option<Drawn>) {
        let now_ms = engine.keyspace.now.wall_ms;
        let Some(outbox) = engine.outbox(self.client) else { return };
        if !outbox.is_empty() {
            self.is_behind = true;
            return;
        }
        let Some(drawn) = drawn else {
            if !self.is_gone {
                self.is_gone = true;
                write(engine, self.client, &json!({ "now": now_ms, "gone": true }));
            }
            return;
        };
        self.is_gone = false;
        let is_first = self.sent.is_empty();
        let changed = self.compare(drawn);
        let is_too_much = changed.is_other_view || changed.bytes > FRAME_BYTES_MAX;
        if std::mem::take(&mut self.is_behind) || is_too_much {
            write(engine, self.client, &json!({ "now": now_ms, "resync": true }));
        } else if is_first || !changed.parts.is_empty() || !changed.lists.is_empty() {
            // What was fetched a moment ago may be older than this: the first frame says all.
            let Changed { parts, lists, .. } = changed;
            write(engine, self.client, &json!({ "now": now_ms, "parts": parts, "lists": lists }));
        }
    }

    /// What is not as it was when this was last asked.
    fn compare(&mut self, drawn: Drawn) -> Changed {
        let before = std::mem::take(&mut self.sent);
        let mut changed = Changed::default();
        let mut parts = drawn.parts;
        // What had no room comes first now, so that each has its turn.
        let postponed = self.postponed.take();
        let first = parts.iter().position(|(key, _)| Some(key) == postponed.as_ref());
        parts.rotate_left(first.unwrap_or(0));
        for (key, html) in parts {
            let (code, sent) = (hash(html.as_bytes()), before.get(&key).copied());
            let has_room = changed.bytes + html.len() <= FRAME_BYTES_MAX;
            match sent {
                Some(sent) if sent != code && !has_room => {
                    self.postponed.get_or_insert_with(|| key.clone());
                    self.sent.insert(key, sent);
                }
                _ => {
                    self.sent.insert(key.clone(), code);
                    if sent != Some(code) {
                        changed.bytes += html.len();
                        changed.parts.insert(key, html.into());
                    }
                }
            }
        }
        for (name, keys) in drawn.lists {
            let (key, code) = (format!("list {name}"), hash(keys.join("\n").as_bytes()));
            if before.get(&key) != Some(&code) {
                changed.lists.insert(name.to_owned(), keys.into());
            }
            self.sent.insert(key, code);
        }
        // A view that has lost a list has become another, as the overview without a queue.
        let is_lost = |key: &&String| key.starts_with("list ") && !self.sent.contains_key(*key);
        changed.is_other_view = before.keys().any(|key| is_lost(&key));
        changed
    }
}

/// What a page is to be sent.
#[derive(Default)]
struct Changed {
    parts: Map<String, Json>,
    lists: Map<String, Json>,
    bytes: usize,
    is_other_view: bool,
}

/// Writes one event.
fn write(engine: &mut Engine, client: ClientId, frame: &Json) {
    engine.write_out(client, format!("data: {frame}\n\n").as_bytes());
}
