//! Who starts a server, or asks one from outside: `toril exec`, `toril ping`, `toril hand-over`,
//! and the tests of programs in Rust.

pub mod exec;
mod guard;
pub mod hand_over;
pub mod ping;
mod session;

pub use crate::remote::Response;
pub use guard::{HostError, RestAccess, ServerClock, TestServer};
pub use session::Session;
