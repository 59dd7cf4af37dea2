//! What any program could use: no Redis word in here.

pub mod alloc;
pub mod glob;
pub mod number;
pub mod rng;
pub mod table;
pub mod wheel;
