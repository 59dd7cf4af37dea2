//! Reads the options and runs the server.

fn main() {}
