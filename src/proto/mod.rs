//! The wire: requests in, replies out. Bytes only; no command is known here.

pub mod args;
pub mod error;
pub mod events;
pub mod json;
pub mod outbox;
pub mod reply;
pub mod request;
pub mod rest;

pub use args::{Args, OwnedArgs};
pub use error::{Error, Result};
pub use json::JsonStyle;
pub use outbox::Outbox;
pub use reply::{Protocol, Reply, Visitor};
