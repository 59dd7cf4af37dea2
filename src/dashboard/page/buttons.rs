//! Buttons: one that acts at once says what it will touch, and one that asks first opens a dialog
//! (ask.rs). The page's act.js does what they say.

use super::text;
use crate::queues::Role;
use maud::{Markup, html};
use serde_json::{Value as Json, json};

/// A button that acts at once. `key` is what presses it on the keyboard.
pub fn act(place: &str, order: &Json, class: &str, key: Option<&str>, label: &str) -> Markup {
    html! {
        button type="button" class={ "btn " (class) } data-act={ "queues/" (place) }
            data-order=(order) data-hot=[key] { (label) }
    }
}

/// A button that opens a dialog about a queue or its jobs.
pub fn ask(place: &str, class: &str, label: &str) -> Markup {
    ask_about(&format!("queues/{place}"), class, label)
}

/// A button that opens a dialog about whatever: `keys/delete?...`.
pub fn ask_about(place: &str, class: &str, label: &str) -> Markup {
    html! { button type="button" class={ "btn " (class) } data-ask=(place) { (label) } }
}

/// What is rarely wanted, behind three dots.
pub fn more(buttons: &[Markup]) -> Markup {
    html! {
        details class="menu" {
            summary class="btn icon" aria-label="More" { "···" }
            div { @for button in buttons { (button) } }
        }
    }
}

/// What can be done to one job or to those that are chosen, by the state they are in. Without ids
/// it is those that are chosen.
pub fn of_jobs(queue: &str, state: &str, role: Role, ids: &str) -> (Vec<Markup>, Vec<Markup>) {
    let is_one = !ids.is_empty();
    let order = match is_one {
        true => json!({ "state": state, "ids": [ids] }),
        false => json!({ "state": state, "chosen": true }),
    };
    let size = if is_one { "" } else { "small" };
    let first = format!("{size} {}", if is_one { "primary" } else { "" });
    let now = |action: &str, label: &str| {
        act(&format!("{queue}/{action}"), &order, first.trim(), Some("r"), label)
    };
    let asks = |action: &str, label: &str| {
        let ids = if is_one { format!("?ids={ids}") } else { "?chosen".into() };
        ask(&format!("{queue}/{action}{ids}"), size, label)
    };
    let mut shown = Vec::new();
    let mut more = Vec::new();
    match role {
        Role::Failed => shown.push(now("retry", "Retry")),
        Role::Completed => shown.push(now("retry", "Run again")),
        Role::Later => shown.push(now("promote", "Run now")),
        Role::Ready | Role::Held | Role::Working | Role::Blocked => {}
    }
    if is_one {
        shown.push(asks("add", "Edit and replay"));
        more.push(asks("data", "Edit data"));
    }
    if role == Role::Later {
        more.push(asks("delay", "Change delay"));
    }
    if matches!(role, Role::Ready | Role::Held | Role::Later) {
        more.push(asks("priority", "Change priority"));
    }
    shown.push(asks("remove", "Remove"));
    (shown, more)
}

/// What can be done to all jobs of a state.
pub fn of_state(queue: &str, state: &str, role: Role, count: usize) -> Vec<Markup> {
    let order = json!({ "state": state, "count": count });
    let all = |label: &str| format!("{label} all {}", text::number(count));
    let mut buttons = Vec::new();
    match role {
        Role::Failed => {
            buttons.push(act(&format!("{queue}/retry"), &order, "small", None, &all("Retry")));
        }
        Role::Later => {
            let label = format!("{} now", all("Run"));
            buttons.push(act(&format!("{queue}/promote"), &order, "small", None, &label));
        }
        Role::Completed => {
            buttons.push(ask(&format!("{queue}/retry?state={state}"), "small", "Run all again"));
        }
        Role::Ready | Role::Held | Role::Working | Role::Blocked => {}
    }
    if role != Role::Blocked {
        let place = format!("{queue}/clean?state={state}");
        buttons.push(ask(&place, "small danger", "Remove all"));
    }
    buttons
}
