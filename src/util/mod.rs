//! What any program could use: nothing in here knows the server around it.

pub mod alloc;
pub mod buckets;
pub mod calendar;
pub mod chunked;
pub mod exact;
pub mod extended;
pub mod fetch;
pub mod glob;
mod grisu;
pub mod hash;
pub mod histogram;
pub mod number;
pub mod pickle;
mod poison;
pub mod quote;
pub mod rng;
pub mod shared;
pub mod slab;
pub mod span;
pub mod sparkline;
pub mod table;
pub mod wheel;
pub mod words;
pub mod zstd;
