//! The wire: requests in, replies out. Bytes only; no command is known here.

pub mod args;
pub mod error;
pub mod outbox;
pub mod reply;
pub mod request;

pub use args::{Args, OwnedArgs};
pub use error::{Error, Result};
pub use outbox::Outbox;
pub use reply::{Mark, Protocol, Reply, Slot, Visitor};
