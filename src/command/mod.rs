//! The commands: one file per family, each with a table of rows and then the handlers.

pub mod acl;
pub mod arguments;
pub mod client;
pub mod cluster;
pub mod commands;
pub mod complexity;
mod config;
pub mod connection;
pub mod database;
pub mod debug;
pub mod expire;
pub mod generic;
pub mod hash;
pub mod history;
pub mod info;
pub mod latency;
pub mod lcs;
pub mod list;
pub mod memory;
pub mod object;
pub mod pubsub;
mod random;
pub mod scan;
pub mod script;
pub mod server;
pub mod set;
pub mod slowlog;
pub mod sort;
pub mod stream;
pub mod string;
pub mod table;
pub mod transaction;
pub mod zset;

/// What every family needs to write rows and handlers.
#[allow(unused_imports, reason = "not every family needs all of it")]
mod prelude {
    pub use crate::config::EventClasses;
    pub use crate::engine::keys::{Begin, Find, Keys, access};
    pub use crate::engine::keyspace::{Edit, Lifetime};
    pub use crate::engine::row::Arity::{AtLeast, Exactly};
    pub use crate::engine::row::Flag::*;
    pub use crate::engine::row::tip::*;
    pub use crate::engine::row::{Category, Family, Row, container, help, row};
    pub use crate::engine::{Attempt, Ctx, Empty, On, Timeout, Wait, Woken};
    pub use crate::proto::{Args, Error, Protocol, Reply, Result};
    pub use std::ops::Range;
}
