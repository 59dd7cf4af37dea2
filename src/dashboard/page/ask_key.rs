//! The dialogs before something is done to a key or a client: what it is about, and what will be
//! touched.

use super::ask::{Dialog, GOES, area, form, input, pretty};
use super::key::{CHARS_MAX, KeyPage};
use super::query::field;
use super::shown::{Shown, ShownBytes};
use super::{Viewer, ask, text};
use crate::dashboard::actions::commands::{digest, element};
use crate::dashboard::{Trouble, ids};
use crate::engine::client::ClientId;
use crate::queues::Queue;
use maud::{Markup, html};
use percent_encoding::percent_decode_str;
use serde_json::json;

/// A text that is longer is shown, and not edited.
const EDITED_MAX: usize = 256 * 1024;

/// What a dialog is about.
struct Asked<'e> {
    viewer: &'e Viewer<'e>,
    page: KeyPage,
    name: String,
    /// The key and the element, as they are written in addresses.
    segment: &'e str,
    at: &'e str,
}

type Ask = fn(&Asked) -> Result<Dialog, Trouble>;

const ASKS: &[(&str, Ask)] = &[
    ("add", add),
    ("delete", delete),
    ("drop", drop_one),
    ("edit", edit),
    ("expire", expire),
    ("show", show),
];

/// The dialog before an action on a key: `edit?db=0&key=NAME&at=FIELD`.
///
/// # Errors
/// There is none, the user may not do it, or what it would be about has gone.
pub fn draw(
    viewer: &Viewer,
    queues: &[Queue],
    action: &str,
    query: &str,
) -> Result<String, Trouble> {
    let raw = |name: &str| ask::field(query, name).unwrap_or_default();
    let page = KeyPage::new(viewer, queues, raw("db"), raw("key"), "")?;
    let known = ASKS.iter().find(|(name, _)| *name == action);
    let Some((_, ask)) = known.filter(|_| action == "show" || page.can(action)) else {
        return Err(Trouble::Forbidden(format!("this user may not {action} it")));
    };
    if page.is_hidden && matches!(action, "edit" | "drop" | "show") {
        return Err(Trouble::Forbidden("this user may not read it".into()));
    }
    let name = text::excerpt(&page.name, 60);
    let asked = Asked { viewer, page, name, segment: raw("key"), at: raw("at") };
    Ok(ask::form_of(&format!("keys/{action}"), ask(&asked)?))
}

impl Asked<'_> {
    fn order(&self, was: Option<&[u8]>) -> serde_json::Value {
        json!({
            "db": self.page.db, "key": self.segment, "at": self.at, "was": was.map(digest),
        })
    }

    /// What stands there.
    ///
    /// # Errors
    /// It has gone.
    fn standing(&self) -> Result<Vec<u8>, Trouble> {
        let at: Vec<u8> = percent_decode_str(self.at).collect();
        let standing = element(self.viewer.engine, self.page.db, &self.page.name, &at);
        standing.ok_or_else(|| Trouble::Absent("this is not there any more".into()))
    }

    /// How an element is called in its kind of key: `Field title of user:1`.
    fn called(&self) -> String {
        let at: Vec<u8> = percent_decode_str(self.at).collect();
        let at = text::excerpt(&at, 60);
        match self.page.type_name() {
            "string" => self.name.clone(),
            "list" => format!("Element {at} of {}", self.name),
            "hash" => format!("Field {at} of {}", self.name),
            "stream" => format!("Entry {at} of {}", self.name),
            _ => format!("{at} in {}", self.name),
        }
    }

    fn type_name(&self) -> &'static str {
        self.page.type_name()
    }
}

/// What may be lost with a key that is part of a queue.
fn warning(asked: &Asked) -> String {
    match &asked.page.queue {
        Some((_, name, library)) => format!(
            " It belongs to the queue {name} of {library}, which may lose jobs by it: what the \
             queue's own page does is safe."
        ),
        None => String::new(),
    }
}

fn delete(asked: &Asked) -> Result<Dialog, Trouble> {
    let page = &asked.page;
    let held = match page.type_name() {
        "string" => format!("{} bytes", text::number(page.len)),
        _ => format!("{} elements", text::number(page.len)),
    };
    let held = if page.is_hidden { "all that it holds".into() } else { held };
    Ok(Dialog {
        title: format!("Delete {}?", asked.name),
        say: format!("The {} and {held} go.{} {GOES}", page.type_name(), warning(asked)),
        fields: html! {},
        button: "Delete".into(),
        is_removal: true,
        order: asked.order(None),
    })
}

fn expire(asked: &Asked) -> Result<Dialog, Trouble> {
    Ok(Dialog {
        title: format!("When does {} expire?", asked.name),
        say: format!("Then it goes with all that it holds.{}", warning(asked)),
        fields: form(input("From now", "span", "", "never, or 30s, 5m, 2h")),
        button: "Change".into(),
        is_removal: false,
        order: asked.order(None),
    })
}

fn add(asked: &Asked) -> Result<Dialog, Trouble> {
    let fields = html! {
        @match asked.type_name() {
            "hash" | "stream" => { (input("Field", "name", "", "")) }
            "zset" => { (input("Score", "score", "", "0")) }
            _ => {}
        }
        (area(if asked.type_name() == "zset" { "Member" } else { "Text" }, "text", ""))
    };
    let end = if asked.type_name() == "list" { "It becomes the last element." } else { "" };
    Ok(Dialog {
        title: format!("Add to {}", asked.name),
        say: format!("{end}{}", warning(asked)).trim().into(),
        fields: form(fields),
        button: "Add".into(),
        is_removal: false,
        order: asked.order(None),
    })
}

fn edit(asked: &Asked) -> Result<Dialog, Trouble> {
    let standing = asked.standing()?;
    let is_score = asked.type_name() == "zset";
    let Some(told) = std::str::from_utf8(&standing).ok().filter(|it| it.len() <= EDITED_MAX) else {
        return Err(Trouble::Wrong("this is no text, or too long: it can be shown alone".into()));
    };
    let fields = match is_score {
        true => input("Score", "score", told, "0"),
        false => area("Text", "text", told),
    };
    Ok(Dialog {
        title: asked.called(),
        say: warning(asked).trim().into(),
        fields: form(fields),
        button: "Save".into(),
        is_removal: false,
        order: asked.order(Some(&standing)),
    })
}

fn drop_one(asked: &Asked) -> Result<Dialog, Trouble> {
    let standing = asked.standing()?;
    let with_key = if asked.page.len == 1 && asked.type_name() != "stream" {
        " It is the last: the key goes with it."
    } else {
        ""
    };
    Ok(Dialog {
        title: format!("Remove {}?", lowered(&asked.called())),
        say: format!("{}.{with_key}{} {GOES}", text::excerpt(&standing, 160), warning(asked)),
        fields: html! {},
        button: "Remove".into(),
        is_removal: true,
        order: asked.order(Some(&standing)),
    })
}

/// Names keep their first letter; only words of ours lose its height.
fn lowered(called: &str) -> String {
    for word in ["Element ", "Field ", "Entry "] {
        if let Some(rest) = called.strip_prefix(word) {
            return format!("{}{rest}", word.to_lowercase());
        }
    }
    called.into()
}

/// All of an element: of what is no text, what it says or its bytes.
fn show(asked: &Asked) -> Result<Dialog, Trouble> {
    let standing = asked.standing()?;
    let reading = ShownBytes::of(&standing);
    let told: String = match &reading.shown {
        Shown::Json(_) if !reading.is_packed => pretty(&standing),
        Shown::Json(json) => serde_json::to_string_pretty(json).unwrap_or_default(),
        Shown::Text(told) | Shown::Pickle(told) | Shown::Bytes(told) => told.clone(),
    };
    let told = text::excerpt_lines(&told, EDITED_MAX);
    let fields: Markup = html! { pre class="trace" tabindex="0" { (told) } };
    let kind = reading.kind().map_or(String::new(), |kind| format!(", {kind}"));
    Ok(Dialog {
        title: asked.called(),
        say: format!("{} bytes{kind}", text::number(standing.len())),
        fields,
        button: String::new(),
        is_removal: false,
        order: json!({}),
    })
}

/// Whether a row's element is worth a look of its own: it is long, or no text.
pub fn is_worth_showing(bytes: &[u8]) -> bool {
    bytes.len() > CHARS_MAX / 4 || std::str::from_utf8(bytes).is_err()
}

/// The dialog before a client's connection is closed.
///
/// # Errors
/// It has gone, or the user may not do it.
pub fn draw_client(viewer: &Viewer, action: &str, query: &str) -> Result<String, Trouble> {
    let id = field(query, "id").parse().ok();
    let client = id.and_then(|id| viewer.engine.clients.get(ClientId(id)));
    let Some(client) = client.filter(|_| action == "kill") else {
        return Err(Trouble::Absent("this client is not connected any more".into()));
    };
    if !viewer.may(&["CLIENT", "KILL", "ID", "1"]) {
        return Err(Trouble::Forbidden("this user may not CLIENT KILL".into()));
    }
    let name = text::excerpt(&client.name, 60);
    let called = if name.is_empty() { format!("client {}", client.id.0) } else { name };
    let held = match client.is_blocked() {
        true => " It waits for a key, and gets nothing of it.",
        false => "",
    };
    let dialog = Dialog {
        title: format!("Close the connection of {called}?"),
        say: format!(
            "{} is cut off at once.{held} Most libraries connect anew by themselves.",
            text::lossy(client.peer.addr.as_bytes())
        ),
        fields: html! {},
        button: "Close it".into(),
        is_removal: true,
        order: json!({ "id": client.id.0 }),
    };
    Ok(ask::form_of("clients/kill", dialog))
}

/// The queue that a key belongs to: its address, its name and that of its library.
pub fn queue_of(queues: &[Queue], db: usize, key: &[u8]) -> Option<(String, String, &'static str)> {
    let is_of = |queue: &&Queue| {
        let below = key.strip_prefix(&*queue.base);
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest[0] == b':');
        let mut states = queue.library.states.iter().filter(|state| !state.is_in_hand);
        queue.db == db
            && ((is_below && queue.base.contains(&b':'))
                || states.any(|state| state.key(&queue.base) == key))
    };
    let queue = queues.iter().find(is_of)?;
    let name = text::lossy(queue.name());
    Some((ids::of_queue(queue), name, queue.library.name))
}
