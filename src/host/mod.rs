//! Who starts a server, or asks one from outside: `toril exec` and `toril ping`.

pub mod exec;
pub mod ping;
mod session;

pub use session::{Response, Session};
