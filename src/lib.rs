//! toril: a Redis-protocol-compatible in-memory queue server.
//!
//! The modules stand in reading order; each imports only those above it (tests/tidy checks).

// Unit tests share with the others what an engine is told of the world.
#[cfg(test)]
extern crate self as toril;
#[cfg(test)]
#[path = "../tests/common/facts.rs"]
mod facts;

#[allow(unsafe_code)]
pub mod util;

pub mod config;

#[allow(unsafe_code)]
pub mod data;

pub mod proto;

#[allow(unsafe_code)]
pub mod lua;

pub mod engine;

pub mod command;

pub mod server;
