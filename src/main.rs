//! Reads the options and runs the server.

use toril::util::alloc::Counted;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() {}
