//! The commands: one file per family, each with a table of rows and then the handlers.

mod acl;
mod arguments;
mod bitmap;
mod client;
mod cluster;
mod commands;
mod complexity;
mod config;
mod connection;
mod database;
mod debug;
mod dump;
mod expire;
mod field;
mod function;
mod generic;
mod geo;
mod hash;
mod history;
mod hyperloglog;
mod info;
mod latency;
mod lcs;
mod list;
mod memory;
mod migrate;
mod object;
mod pubsub;
mod random;
mod replication;
mod scan;
mod script;
mod server;
mod set;
mod slowlog;
mod sort;
mod stream;
mod string;
pub mod table;
mod toril;
mod transaction;
mod zset;

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
