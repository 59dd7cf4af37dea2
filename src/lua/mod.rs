//! Scripts: PUC Lua 5.1 with what Redis adds to it.
//!
//! ```text
//! run       start, resume, finish: one script at a time
//! cache     scripts by name
//! library register    libraries of functions
//! commands  what scripts reach of the engine
//! vm        the machine
//! fiber     the stack that a script runs on, and its interruption
//! script    source to function: names, flags, titles
//! chunk hoist    compiled code, and functions of it that are made once
//! sandbox   which globals there are, and their protection
//! redis     the `redis` table: redis.call and the like
//! push      a command's reply as Lua values
//! answer    a Lua value as the script's reply; its error
//! cjson cmsgpack structs bit    the libraries
//! stack api layout heap collector random    what they stand on
//! ```
//!
//! No command is known here: scripts reach them through `Commands`.

mod answer;
mod api;
mod bit;
mod cache;
mod chunk;
mod cjson;
mod cmsgpack;
mod collector;
mod commands;
#[cfg(test)]
mod fake;
mod fiber;
mod heap;
mod hoist;
mod layout;
mod library;
mod push;
mod random;
mod redis;
mod register;
mod run;
mod sandbox;
mod script;
mod stack;
mod structs;
mod vm;

pub use answer::OnError;
pub use commands::Commands;
pub use library::{Library, LibraryFunction};
pub use run::{Callable, Lua, Progress, Verdict};
pub use script::{Script, ScriptFlags, Sha, title_of};
