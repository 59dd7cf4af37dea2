//! The instructions that the parts of a job take, counted by valgrind's callgrind and held against a
//! budget each: unlike time they are the same on every machine. `cargo bench --bench instructions`
//! prints them, and fails where one is above its budget.
//!
//! Without valgrind nothing is compared; it says so.

use std::process::{Command, ExitCode, Stdio};

mod cases;

#[global_allocator]
static ALLOCATOR: toril::util::alloc::Counted = toril::util::alloc::Counted;

/// Instructions a run, as measured when last changed. Lower one after it was earned.
const BUDGETS: [(&str, u64); 11] = [
    ("parse SET", 420),
    ("parse EVALSHA of 26 words", 2_200),
    ("SET", 2_470),
    ("GET", 1_890),
    ("SET PX", 3_560),
    ("SET, journaled", 3_000),
    ("script of 24 calls", 80_500),
    ("wheel of 1 M timers: cancel and insert", 320),
    ("wheel of 1 M timers: next deadline", 35),
    ("zset of 1 M members: rank", 950),
    ("zset of 1 M members: change a score", 2_420),
];

/// What a case may be above its budget, and what it must be below it to be told so.
const TOLERANCE_PERCENT: u64 = 10;

const WARM_UP_RUNS: usize = 100;
const RUNS: u64 = 1_000;

/// The function whose instructions count, with all that it calls.
const COUNTED: &str = "*run_counted*";

/// Runs the case of this name.
struct Only(String);

impl cases::Measure for Only {
    fn case(&mut self, name: &str, run: &mut dyn FnMut()) {
        if name == self.0 {
            (0..WARM_UP_RUNS).for_each(|_| run());
            run_counted(run);
        }
    }
}

#[inline(never)]
fn run_counted(run: &mut dyn FnMut()) {
    (0..RUNS).for_each(|_| run());
}

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("--case") {
        cases::all(&mut Only(words.next().expect("--case has a name")));
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("valgrind is missing: no instructions are counted");
        return ExitCode::SUCCESS;
    }
    let mut is_within = true;
    for (name, budget) in BUDGETS {
        let count = count(name);
        let verdict = match count * 100 {
            above if above > budget * (100 + TOLERANCE_PERCENT) => "ABOVE ITS BUDGET",
            below if below < budget * (100 - TOLERANCE_PERCENT) => "below: lower the budget",
            _ => "",
        };
        is_within &= !verdict.starts_with("ABOVE");
        println!("{name:40} {count:7} of {budget:7} {verdict}");
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Instructions a run of a case.
fn count(name: &str) -> u64 {
    let program = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program)
        .args(["--case", name])
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : "));
    let (_, collected) = collected.unwrap_or_else(|| panic!("{name} was not counted:\n{said}"));
    let total: u64 = collected.trim().parse().expect("a number of instructions");
    assert!(total > 0, "{name} was not found");
    total / RUNS
}
