//! What outlives the process, as state machines over bytes. Nothing here opens a file; whoever does
//! feeds what it reads and does what it is told.
//!
//! A snapshot is one file of RDB (`load.rs`). An append-only file is a folder: a base, which holds
//! the data as it once was, increments, which hold the journal since, and a manifest, which names
//! them in order (`manifest.rs`). A base is RDB or commands, whatever its name says; an increment
//! is commands (`increment.rs`).

mod increment;
mod link;
mod load;
mod manifest;
mod sent;

pub use increment::{AofUnit, IncrementFlaw, IncrementReader, WrongByte};
pub use link::{Link, LinkFault, LinkProgress};
pub use load::{LoadInto, LoadOptions, LoadProgress, LoadReport, Loader};
pub use manifest::{AofFile, AofNames, AofRole, BaseForm, Manifest, ManifestError};
pub use sent::SentSnapshot;
