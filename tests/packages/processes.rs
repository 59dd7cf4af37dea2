//! The processes that packages start: none is left.

use super::made::Made;
use super::{Outcome, check};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a server may take to notice that its parent has ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Programs named toril that run from where the tests have installed packages.
fn running(made: &Made) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let pid = path.file_name()?.to_str()?.parse().ok()?;
            let program = fs::read_link(path.join("exe")).ok()?;
            program.starts_with(&made.folder).then_some((pid, program))
        })
        .filter(|(_, program)| program.ends_with("toril") || program.ends_with("toril (deleted)"))
        .collect()
}

pub fn none_is_left(made: &Made) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    while !running(made).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let left = running(made);
    check(left.is_empty(), || format!("servers are left: {left:?}"))
}
