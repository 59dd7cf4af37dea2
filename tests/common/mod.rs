//! What the test programs share: reading transcripts, and running them against a server.
//!
//! tests/transcripts/README.md describes the format. The way of a line through here: `transcript`
//! cuts a file into cases and steps, `notation` reads and prints replies, `run` sends each request
//! to a `Server` and `compare`s what it answers; `record` writes answers instead. `program` starts
//! toril for tests of its own, `http` speaks to it. `changes` changes keys at random.

// Each test program compiles this for itself and uses its own part of it.
#![allow(dead_code)]

pub mod any;
pub mod certificates;
pub mod changes;
pub mod compare;
pub mod facts;
pub mod http;
pub mod inside;
pub mod journal;
pub mod notation;
pub mod peer;
pub mod program;
pub mod record;
pub mod reply;
pub mod rest;
pub mod run;
pub mod scripted;
pub mod tcp;
pub mod transcript;
