//! Scripts: PUC Lua 5.1 with what Redis adds to it.
//!
//! ```text
//! vm        scripts by name; start, resume, finish
//! fiber     the stack that a script runs on, and its interruption
//! script    source to function: names, flags, titles
//! sandbox   which globals there are, and their protection
//! redis     the `redis` table: redis.call and the like
//! push      a command's reply as Lua values
//! answer    a Lua value as the script's reply; its error
//! cjson cmsgpack structs bit    the libraries
//! stack layout heap random      what they stand on
//! ```
//!
//! No command is known here: scripts reach them through `Commands`.

mod answer;
mod bit;
mod chunk;
mod cjson;
mod cmsgpack;
mod fiber;
mod heap;
mod hoist;
mod layout;
mod push;
mod random;
mod redis;
mod sandbox;
mod script;
mod stack;
mod structs;
mod vm;

pub use answer::OnError;
pub use script::{Flags, Script, Sha};
pub use vm::{Commands, Lua, Outcome, Verdict};
