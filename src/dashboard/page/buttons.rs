//! Buttons: one that acts at once says what it will touch, and one that asks first opens a dialog
//! (ask.rs). The page's act.js does what they say.

use super::chips::Like;
use super::text;
use crate::dashboard::actions::Offers;
use crate::dashboard::ids;
use crate::queues::Role;
use maud::{Markup, html};
use serde_json::{Value as Json, json};

/// What some libraries alone can do to jobs, and what its button says.
const OTHERS: &[(&str, &str)] =
    &[("abort", "Abort"), ("cancel", "Cancel"), ("kill", "Kill"), ("revoke", "Revoke")];

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
pub fn of_jobs(
    offers: Offers,
    queue: &str,
    state: &str,
    role: Role,
    ids: &str,
) -> (Vec<Markup>, Vec<Markup>) {
    let is_one = !ids.is_empty();
    let order = match is_one {
        true => json!({ "state": state, "ids": [ids] }),
        false => json!({ "state": state, "chosen": true }),
    };
    let size = if is_one { "" } else { "small" };
    let first = format!("{size} {}", if is_one { "primary" } else { "" });
    let now = |action: &str, class: &str, key: Option<&str>, label: &str| {
        act(&format!("{queue}/{action}"), &order, class.trim(), key, label)
    };
    let asks = |action: &str, label: &str| {
        let ids = if is_one { format!("?ids={ids}") } else { "?chosen".into() };
        ask(&format!("{queue}/{action}{ids}"), size, label)
    };
    let can = |action: &str| offers.has_for(action, role);
    let mut shown = Vec::new();
    let mut more = Vec::new();
    match role {
        Role::Failed if can("retry") => shown.push(now("retry", &first, Some("r"), "Retry")),
        Role::Completed if can("retry") => {
            shown.push(now("retry", &first, Some("r"), "Run again"));
        }
        Role::Later if can("promote") => {
            shown.push(now("promote", &first, Some("r"), "Run now"));
        }
        _ => {}
    }
    if is_one && can("add") {
        shown.push(asks("add", "Edit and replay"));
    }
    if is_one && can("data") {
        more.push(asks("data", "Edit data"));
    }
    if role == Role::Later && can("delay") {
        more.push(asks("delay", "Change delay"));
    }
    if matches!(role, Role::Ready | Role::Held | Role::Later) && can("priority") {
        more.push(asks("priority", "Change priority"));
    }
    for (action, label) in OTHERS.iter().filter(|(action, _)| can(action)) {
        more.push(now(action, size, None, label));
    }
    if is_one && role == Role::Working && can("unlock") {
        more.push(asks("unlock", "Drop its lock"));
    }
    if can("remove") {
        shown.push(asks("remove", "Remove"));
    }
    (shown, more)
}

/// What can be done to all jobs of a state, or to those of them that are alike: a state's name, its
/// role, and how many jobs are in it.
pub fn of_state(
    offers: Offers,
    queue: &str,
    (state, role, count): (&str, Role, usize),
    like: &Like,
) -> Vec<Markup> {
    let order = like.narrow(json!({ "state": state, "count": count }));
    let all = |label: &str| match like.is_all() {
        true => format!("{label} all {}", text::number(count)),
        false => format!("{label} all like this"),
    };
    let can = |action: &str| offers.has_for(action, role) && (like.is_all() || offers.can_narrow());
    let place = |action: &str| {
        format!("{queue}/{action}?state={}{}", ids::segment(state.as_bytes()), like.query())
    };
    let mut buttons = Vec::new();
    match role {
        Role::Failed if can("retry") => {
            buttons.push(act(&format!("{queue}/retry"), &order, "small", None, &all("Retry")));
        }
        Role::Later if can("promote") => {
            let label = format!("{} now", all("Run"));
            buttons.push(act(&format!("{queue}/promote"), &order, "small", None, &label));
        }
        Role::Completed if can("retry") && like.is_all() => {
            buttons.push(ask(&place("retry"), "small", "Run all again"));
        }
        _ => {}
    }
    if role != Role::Blocked && can("clean") {
        let label = if like.is_all() { "Remove all" } else { "Remove all like this" };
        buttons.push(ask(&place("clean"), "small danger", label));
    }
    buttons
}
