//! HTTP as its callers see it, over sockets: its rules and limits, each with its error.

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod faults;
mod limits;
mod pages;
mod routes;
mod strangers;
mod streams;
mod tokens;
mod waiting;

/// The body that tells an error.
fn error(text: &str) -> String {
    format!("{{\"error\":{}}}", serde_json::Value::from(text))
}

/// The error that a body tells.
fn error_in(body: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(body).expect("the body is JSON");
    body["error"].as_str().unwrap_or_else(|| panic!("there is no error in {body}")).to_owned()
}
