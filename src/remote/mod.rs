//! Other servers, from outside: how they are reached, what they answer, and what they send to who
//! follows them.

pub mod dial;
mod feed;
mod place;
mod response;
mod talk;

pub use dial::Tls;
pub use feed::{Feed, SentKey};
pub use place::Place;
pub use response::{Response, parse, read};
pub use talk::{PATIENCE, Talk, connect, fault};
