//! toril: a Redis-protocol-compatible in-memory queue server.
//!
//! Tests of programs in Rust start one with [`Server::start`].
//!
//! The modules stand in reading order; each imports only those above it (tests/tidy checks).

// Unit tests share with the others what an engine is told of the world.
#[cfg(test)]
extern crate self as toril;
#[cfg(test)]
#[path = "../tests/common/facts.rs"]
mod facts;

// What a program around the server may use says what it is, down to the last field. The other
// modules are open to tests, benches and fuzz targets: comments stand where a name does not do.

#[allow(unsafe_code)]
pub mod util;

#[warn(missing_docs)]
pub mod config;

#[allow(unsafe_code)]
pub mod data;

#[warn(missing_docs)]
pub mod proto;

pub mod rdb;

#[allow(unsafe_code)]
pub mod lua;

pub mod engine;

#[warn(missing_docs)]
pub mod command;

pub mod queues;

pub mod persist;

pub mod testing;

pub mod dashboard;

pub mod remote;

#[warn(missing_docs)]
pub mod server;

#[warn(missing_docs)]
pub mod host;

pub use host::{HostError as Error, Response, TestServer as Server};
