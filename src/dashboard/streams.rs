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

/// A browser opens one for each tab that can be seen.
const STREAMS_MAX: usize = 16;

/// A page whose changes are larger, or who has not read the last ones, is told to fetch its view
/// anew.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// One page.
pub struct OpenPage {
    client: ClientId,
    pub path: String,
    /// What its parts were when they were last sent, hashed, and the order of its rows.
    sent: BTreeMap<String, u64>,
}

/// Those that are open.
#[derive(Default)]
pub struct Streams(Vec<OpenPage>);

impl Streams {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        engine.name_client(client, b"toril-page");
        self.0.push(OpenPage { client, path: path.to_owned(), sent: BTreeMap::new() });
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
    /// Sends the parts that are not as they were. None: the view is gone.
    pub fn send(&mut self, engine: &mut Engine, drawn: Option<Drawn>) {
        let now_ms = engine.keyspace.now.wall_ms;
        let Some(outbox) = engine.outbox(self.client) else { return };
        let Some(drawn) = drawn else {
            self.sent.clear();
            return write(engine, self.client, &json!({ "now": now_ms, "gone": true }));
        };
        let is_first = self.sent.is_empty();
        let lags = !outbox.is_empty();
        let mut parts = Map::new();
        let mut size = 0;
        for (key, html) in &drawn.parts {
            let code = hash(html.as_bytes());
            if self.sent.insert(key.clone(), code) != Some(code) {
                size += html.len();
                parts.insert(key.clone(), Json::from(html.as_str()));
            }
        }
        let mut lists = Map::new();
        for (name, keys) in &drawn.lists {
            let code = hash(keys.join("\n").as_bytes());
            if self.sent.insert(format!("list {name}"), code) != Some(code) {
                lists.insert((*name).to_owned(), Json::from(keys.clone()));
            }
        }
        // What was fetched a moment ago may be older than this: the first frame says all.
        if (parts.is_empty() && lists.is_empty()) && !is_first {
            return;
        }
        if lags || size > FRAME_BYTES_MAX {
            return write(engine, self.client, &json!({ "now": now_ms, "resync": true }));
        }
        write(engine, self.client, &json!({ "now": now_ms, "parts": parts, "lists": lists }));
    }
}

/// Writes one event.
fn write(engine: &mut Engine, client: ClientId, frame: &Json) {
    engine.write_out(client, format!("data: {frame}\n\n").as_bytes());
}
