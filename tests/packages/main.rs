//! The packages that packaging/build makes, installed into fresh projects and used there without
//! network: npm's from a registry on loopback that knows nothing else, PyPI's from its file.
//!
//! By default the binary inside is the one that cargo has built for the tests, and npm is the one
//! that is there. `TORIL_PACKAGES=whole cargo test --test packages` builds the static binary, which
//! takes some minutes, and adds the other package managers and what is measured.
//! `TORIL_PACKAGES=packaging/dist` does the same with packages that are there already.
//! `cargo test --test packages -- vitest` runs the cases with `vitest` in their name.
//!
//! What the projects need beside toril is installed here, as in tests/clients. Where Node or Python
//! is missing, its cases are passed over with a loud line, but in CI (CI=true) that is a failure.

#[path = "../common/npm.rs"]
mod npm;

mod contents;
mod made;
mod managers;
mod node;
mod processes;
mod python;
mod rust;
mod scripts;

use made::Made;
use std::process::ExitCode;
use std::time::Instant;

/// Why a case has not passed.
#[derive(Clone)]
enum Trouble {
    /// What it needs is not on this machine.
    Missing(String),
    Failed(String),
}

type Outcome = Result<(), Trouble>;

fn failed(reason: impl Into<String>) -> Trouble {
    Trouble::Failed(reason.into())
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(failed(otherwise())) }
}

struct Case {
    name: &'static str,
    is_brief: bool,
    run: fn(&Made) -> Outcome,
}

const fn brief(name: &'static str, run: fn(&Made) -> Outcome) -> Case {
    Case { name, is_brief: true, run }
}

const fn whole(name: &'static str, run: fn(&Made) -> Outcome) -> Case {
    Case { name, is_brief: false, run }
}

/// All files in one process, with the modules of the file before.
const ONE_WORKER: &[&str] = &["--no-isolate", "--maxWorkers=1"];

#[rustfmt::skip]
const CASES: &[Case] = &[
    brief("versions-are-equal",       contents::versions_are_equal),
    brief("builds-are-repeatable",    contents::builds_are_repeatable),
    brief("install-checks-the-sum",   scripts::install_checks_the_sum),
    brief("action-starts-a-server",   scripts::action_starts_a_server),
    whole("binary-is-static",         contents::binary_is_static),
    brief("node-start",               |made| node::test_files(made, &["start.test.mjs"])),
    brief("node-clock",               |made| node::test_files(made, &["clock.test.mjs"])),
    brief("node-exec",                |made| node::test_files(made, &["exec.test.mjs"])),
    brief("node-orphans",             |made| node::test_files(made, &["orphans.test.mjs"])),
    brief("node-types",               node::types),
    brief("vitest-forks",             |made| node::vitest(made, "vitest", &["--pool=forks"])),
    brief("vitest-threads",           |made| node::vitest(made, "vitest", &["--pool=threads"])),
    whole("vitest-one-worker",        |made| node::vitest(made, "vitest", ONE_WORKER)),
    brief("vitest-shared",            |made| node::vitest(made, "vitest-shared", &[])),
    brief("jest",                     |made| node::jest(made, "jest", &[])),
    whole("jest-in-band",             |made| node::jest(made, "jest", &["--runInBand"])),
    brief("jest-shared",              |made| node::jest(made, "jest-shared", &["--maxWorkers=2"])),
    brief("example-bullmq-vitest",    |made| node::example(made, "bullmq-vitest", "vitest")),
    brief("example-bullmq-jest",      |made| node::example(made, "bullmq-jest", "jest")),
    brief("example-nestjs-vitest",    |made| node::example(made, "nestjs-vitest", "vitest")),
    brief("example-playwright-exec",  node::example_with_exec),
    brief("example-rq-pytest",        |made| python::example(made, "rq-pytest")),
    brief("example-celery-pytest",    |made| python::example(made, "celery-pytest")),
    brief("crate-has-no-allocator",   rust::has_no_allocator),
    brief("example-apalis-cargo",     rust::example),
    brief("pip",                      |made| python::pytest(made, &[])),
    brief("pip-xdist",                |made| python::pytest(made, &["-n", "4"])),
    whole("pip-session",              python::session_scope),
    whole("npm-11",                   |made| managers::npm(made, "npm-11")),
    whole("npm-10",                   |made| managers::npm(made, "npm-10")),
    whole("npm-9",                    |made| managers::npm(made, "npm-9")),
    whole("npm-10-forgets-platforms", managers::npm_10_forgets_platforms),
    whole("npm-omits-optional",       managers::npm_omits_optional),
    whole("yarn-1",                   managers::yarn_1),
    whole("yarn-4",                   managers::yarn_4),
    whole("pnpm-10",                  managers::pnpm_10),
    whole("pnpm-12",                  managers::pnpm_12),
    whole("hundred-servers",          |made| node::test_files(made, &["hundred.test.mjs"])),
];

fn main() -> ExitCode {
    // What starts with a dash is for cargo's own test harness, which this program does without.
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let form = std::env::var("TORIL_PACKAGES").unwrap_or_default();
    let is_whole = !form.is_empty();
    let is_wanted = |case: &&Case| match filters.as_slice() {
        [] => is_whole || case.is_brief,
        filters => filters.iter().any(|part| case.name.contains(part)),
    };
    let made = match Made::new(&form) {
        Ok(made) => made,
        Err(Trouble::Missing(reason)) if !is_ci() => {
            println!("*** NOT RUN: {reason} ***");
            return ExitCode::SUCCESS;
        }
        Err(Trouble::Missing(reason) | Trouble::Failed(reason)) => {
            println!("FAILED: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for case in CASES.iter().filter(is_wanted) {
        let started = Instant::now();
        match (case.run)(&made).and_then(|()| processes::none_is_left(&made)) {
            Ok(()) => {
                println!("ok {} in {:.1} s", case.name, started.elapsed().as_secs_f32());
                passed += 1;
            }
            Err(Trouble::Missing(reason)) if !is_ci() => {
                println!("*** NOT RUN: {}: {reason} ***", case.name);
                skipped += 1;
            }
            Err(Trouble::Missing(reason) | Trouble::Failed(reason)) => {
                println!("FAILED {}: {reason}", case.name);
                failed += 1;
            }
        }
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
