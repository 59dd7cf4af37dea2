//! The append-only file as state machines over bytes: which files it is made of, and what stands in
//! them. Nothing here opens one; whoever does feeds what it reads and does what it is told.
//!
//! An append-only file is a folder: a base, which holds the data as it once was, increments, which
//! hold the journal since, and a manifest, which names them in order (`manifest.rs`). A base is RDB
//! or commands, whatever its name says; an increment is commands (`increment.rs`).

mod increment;
mod manifest;

pub use increment::{AofUnit, IncrementFlaw, IncrementReader, WrongByte};
pub use manifest::{AofFile, AofNames, AofRole, BaseForm, Manifest, ManifestError};
