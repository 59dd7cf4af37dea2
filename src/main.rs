//! Reads the options and runs the server.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: toril::util::alloc::Counted = toril::util::alloc::Counted;

fn main() -> ExitCode {
    let mut config = toril::config::Config::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--port" {
            config.port = words.next().and_then(|port| port.parse().ok()).unwrap_or(config.port);
        }
    }
    toril::server::run(config, &[])
}
