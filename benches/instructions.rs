//! The instructions that the parts of a job take, counted by valgrind's callgrind and held against a
//! budget each: unlike time they are the same on every machine. `cargo bench --bench instructions`
//! prints them, and fails where one is above its budget. A word after `--` selects the cases with
//! this word in their name.
//!
//! The budgets stand in instructions.txt. `-- --record "why"` writes those anew that a count has
//! left by more than the tolerance, up or down, each with this reason.
//!
//! Without valgrind nothing is compared, and without Node no job of BullMQ; it says so, and in CI
//! (CI=true) that is a failure.

use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

mod cases;

#[global_allocator]
static ALLOCATOR: toril::util::alloc::Counted = toril::util::alloc::Counted;

const BUDGETS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");

/// What a case may be above its budget, and what it must be below it to be told so.
const TOLERANCE_PERCENT: u64 = 1;

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

    fn wants(&self, name: &str) -> bool {
        name == self.0
    }
}

/// Runs nothing, and keeps the names.
struct Names(Vec<String>);

impl cases::Measure for Names {
    fn case(&mut self, name: &str, _: &mut dyn FnMut()) {
        self.0.push(name.to_owned());
    }
}

#[inline(never)]
fn run_counted(run: &mut dyn FnMut()) {
    (0..RUNS).for_each(|_| run());
}

/// A line of instructions.txt: `case | instructions a run | why they are so many`.
struct Budget {
    case: String,
    count: u64,
    reason: String,
}

impl Budget {
    fn parse(line: &str) -> Self {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[case, count, reason] = &columns[..] else { panic!("no budget: {line}") };
        let count = count.replace(',', "").parse().expect("a number of instructions");
        Self { case: case.to_owned(), count, reason: reason.to_owned() }
    }

    fn line(&self) -> String {
        format!("{:39} | {:>9} | {}\n", self.case, with_commas(self.count), self.reason)
    }
}

/// 1234567 as 1,234,567.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--case", name] => {
            cases::all(&mut Only(name.to_owned()));
            ExitCode::SUCCESS
        }
        ["--record", reason] if !reason.is_empty() && !reason.contains('|') => {
            compare("", Some(reason))
        }
        ["--record", ..] => {
            println!("--record wants a reason: why the counts are what they are now");
            ExitCode::FAILURE
        }
        [] => compare("", None),
        [part] => compare(part, None),
        _ => {
            println!("one word selects cases, or --record \"why\"");
            ExitCode::FAILURE
        }
    }
}

/// Counts the cases with this part in their name, and records those whose budget is no longer true
/// if there is a reason.
fn compare(part: &str, reason: Option<&str>) -> ExitCode {
    let mut is_well = true;
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return not_run("instructions", "valgrind is missing");
    }
    let text = fs::read_to_string(BUDGETS).expect("the budgets can be read");
    let mut names = Names(Vec::new());
    cases::all(&mut names);
    for name in names.0.iter().filter(|name| !text.contains(&format!("\n{name} "))) {
        println!("{name} HAS NO BUDGET: a line `{name} | 0 | new`, which --record fills");
        is_well = false;
    }
    let mut recorded = String::new();
    for line in text.lines() {
        if line.starts_with('#') {
            recorded += &format!("{line}\n");
            continue;
        }
        let mut budget = Budget::parse(line);
        let missing = budget.case.starts_with("BullMQ").then(cases::bullmq::missing).flatten();
        if let Some(missing) = &missing {
            is_well &= not_run(&budget.case, missing) == ExitCode::SUCCESS;
        }
        if missing.is_some() || !budget.case.contains(part) {
            recorded += &budget.line();
            continue;
        }
        let count = count(&budget.case);
        let verdict = match count * 100 {
            above if above > budget.count * (100 + TOLERANCE_PERCENT) => "ABOVE ITS BUDGET",
            below if below < budget.count * (100 - TOLERANCE_PERCENT) => "below: record it",
            _ => "",
        };
        println!("{:40} {count:7} of {:7} {verdict}", budget.case, budget.count);
        match reason {
            Some(reason) if !verdict.is_empty() => {
                (budget.count, budget.reason) = (count, reason.to_owned());
            }
            _ => is_well &= !verdict.starts_with("ABOVE"),
        }
        recorded += &budget.line();
    }
    if reason.is_some() {
        fs::write(BUDGETS, recorded).expect("the budgets can be written");
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says loudly what was left out; in CI that is a failure.
fn not_run(what: &str, reason: &str) -> ExitCode {
    println!("*** NOT RUN: {what}: {reason} ***");
    let is_ci = env::var("CI").is_ok_and(|value| value == "true");
    if is_ci { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Instructions a run of a case.
fn count(name: &str) -> u64 {
    let program = env::current_exe().expect("a running program has a path");
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
