//! Real clients, unmodified, against a running server: the files in tests/clients.
//!
//! Each suite is one test file (BullMQ's files once per version and Redis client) and gets a server
//! of its own, the suites of tests/clients/http one that serves Upstash's REST API as well.
//! `cargo test --test clients -- bullmq` runs those with `bullmq` in their name.
//! TORIL_TEST_SERVER names another server program to run the same files against.
//!
//! What the clients need is installed here: npm's packages as package-lock.json has them, Python's
//! in a virtual environment, of which a suite has its own if it has a list of its own, such as
//! requirements-arq.txt. redis-cli and Sidekiq come from tests/oracles.sh. Where Node, Python or
//! one of these is missing, its suites are passed over with a loud line, but in CI (CI=true) that
//! is a failure.

#[path = "common/npm.rs"]
mod npm;

use npm::{finish, once_per};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// BullMQ's versions (npm aliases in package.json) on the clients that they support.
const BULLMQ: &[&str] = &["6-ioredis", "6-node-redis", "5-ioredis", "4-ioredis", "3-ioredis"];

/// One file may take this long: many times what it needs, and less than a person waits.
const FILE_TIMEOUT_MS: &str = "300000";
/// As many files of a suite run at the same time. They wait for timers more than they compute.
const FILES_AT_ONCE: &str = "4";

const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The suites of this folder speak HTTP.
const HTTP: &str = "http";
/// Nothing secret: a server that runs for one suite, on loopback.
const HTTP_TOKEN: &str = "token-of-the-tests";
const HTTP_READONLY_TOKEN: &str = "token-that-only-reads";

fn main() -> ExitCode {
    // What starts with a dash is for cargo's own test harness, which this program does without.
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted =
        |suite: &Suite| filters.is_empty() || filters.iter().any(|part| suite.name.contains(part));
    let suites: Vec<Suite> = Suite::all().into_iter().filter(is_wanted).collect();
    let tools = Tools::install(&suites);
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for suite in &suites {
        match tools.missing(suite) {
            Some(reason) if std::env::var("CI").is_ok_and(|value| value == "true") => {
                println!("FAILED {}: {reason}", suite.name);
                failed += 1;
            }
            Some(reason) => {
                println!("*** NOT RUN: {}: {reason} ***", suite.name);
                skipped += 1;
            }
            None if suite.run(&tools) => passed += 1,
            None => failed += 1,
        }
    }
    println!("\n{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

#[derive(Clone, Copy, PartialEq)]
enum Runner {
    Node,
    Python,
}

/// What runs against one server.
struct Suite {
    name: String,
    runner: Runner,
    files: Vec<PathBuf>,
    variant: &'static str,
    speaks_http: bool,
}

impl Suite {
    fn all() -> Vec<Suite> {
        let bullmq = test_files(&folder().join("bullmq"), "", ".test.js");
        let bullmq = BULLMQ.iter().map(|variant| Suite {
            name: format!("bullmq-{variant}"),
            runner: Runner::Node,
            files: bullmq.clone(),
            variant,
            speaks_http: false,
        });
        let queues = Suite::of_one_file(&folder(), "", false);
        let http = Suite::of_one_file(&folder().join(HTTP), "http-", true);
        bullmq.chain(queues).chain(http).collect()
    }

    /// A suite for each test file of a folder, named like the file.
    fn of_one_file(folder: &Path, prefix: &str, speaks_http: bool) -> Vec<Suite> {
        let mut suites = Vec::new();
        for (runner, before, after) in
            [(Runner::Node, "", ".test.js"), (Runner::Python, "test_", ".py")]
        {
            for file in test_files(folder, before, after) {
                let name = file.file_name().expect("it is a file").to_string_lossy();
                let name = format!("{prefix}{}", &name[before.len()..name.len() - after.len()]);
                let files = vec![file];
                suites.push(Suite { name, runner, files, variant: "", speaks_http });
            }
        }
        suites
    }

    /// The list of what a suite in Python needs: that of its library, a word of its name, or the
    /// one of all others.
    fn requirements(&self) -> PathBuf {
        let words = self.name.split(['-', '_']);
        let mut lists = words.map(|word| folder().join(format!("requirements-{word}.txt")));
        lists.find(|list| list.exists()).unwrap_or_else(|| folder().join("requirements.txt"))
    }

    /// Whether all its tests passed. What failed is printed as the runner printed it.
    fn run(&self, tools: &Tools) -> bool {
        // Some servers leave files where they are started, and read them again.
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(&self.name);
        let _ = fs::remove_dir_all(&scratch);
        fs::create_dir_all(&scratch).expect("the folder for tests can be written");
        let mut server = Server::start(&scratch, self.speaks_http);
        let started = Instant::now();
        let mut command = self.command();
        command
            .args(&self.files)
            .current_dir(&scratch)
            .env("PATH", &tools.path)
            .env("TORIL_HOST", "127.0.0.1")
            .env("TORIL_PORT", server.port.to_string())
            .env("TORIL_SERVER", program())
            .env("BULLMQ", self.variant)
            .stdin(Stdio::null());
        if let Some(url) = &server.http_url {
            command
                .env("UPSTASH_REDIS_REST_URL", url)
                .env("UPSTASH_REDIS_REST_TOKEN", HTTP_TOKEN)
                .env("TORIL_READONLY_TOKEN", HTTP_READONLY_TOKEN);
        }
        let output = command.output().expect("the runner can be started");
        let seconds = started.elapsed().as_secs_f32();
        let stopped = server.stop();
        let has_passed = output.status.success() && stopped.is_ok();
        let verdict = if has_passed { "ok" } else { "FAILED" };
        let printed = String::from_utf8_lossy(&output.stdout);
        println!("{verdict} {} in {seconds:.1} s: {}", self.name, summary(&printed));
        let is_told = |line: &&str| [": late by ", ": took "].iter().any(|it| line.contains(it));
        for line in printed.lines().filter(is_told) {
            println!("    {}", line.trim_start_matches(['ℹ', ' ']));
        }
        if let Err(reason) = &stopped {
            println!("    {reason}");
        }
        if !output.status.success() {
            print!("{}{}", without_passed(&printed), String::from_utf8_lossy(&output.stderr));
        }
        has_passed
    }

    /// The runner, less its files.
    fn command(&self) -> Command {
        match self.runner {
            Runner::Node => {
                let mut node = Command::new("node");
                // Versions 3 and 4 of BullMQ keep a timer that would hold the process for 15 s.
                node.args(["--test", "--test-force-exit", "--test-reporter=spec"]);
                node.arg(format!("--test-concurrency={FILES_AT_ONCE}"));
                // The whole form of a test takes longer than its brief one.
                let timeout_ms = std::env::var("TORIL_FILE_TIMEOUT_MS");
                let timeout_ms = timeout_ms.as_deref().unwrap_or(FILE_TIMEOUT_MS);
                node.arg(format!("--test-timeout={timeout_ms}"));
                node
            }
            Runner::Python => {
                let mut python =
                    Command::new(environment_of(&self.requirements()).join("bin/python"));
                python.args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"]);
                python.arg("--timeout=60");
                python
            }
        }
    }
}

/// The files of a folder that are named so, in order.
fn test_files(folder: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let is_test = |path: &PathBuf| {
        let name = path.file_name().expect("it has a name").to_string_lossy();
        name.starts_with(prefix) && name.ends_with(suffix)
    };
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("it can be read").path()).filter(is_test).collect();
    files.sort();
    files
}

/// Node's counts, or pytest's last line.
fn summary(printed: &str) -> String {
    let counts: Vec<&str> = ["ℹ pass ", "ℹ fail ", "ℹ skipped "]
        .iter()
        .filter_map(|label| printed.lines().find(|line| line.starts_with(label)))
        .map(|line| line.trim_start_matches("ℹ "))
        .collect();
    if counts.is_empty() {
        printed.lines().last().unwrap_or("").to_owned()
    } else {
        counts.join(", ")
    }
}

/// Node's report up to where it tells the failures again, less what went well. Errors outside of
/// a test are among its remarks.
fn without_passed(printed: &str) -> String {
    let mut told = String::new();
    for line in printed.lines().take_while(|line| *line != "✖ failing tests:") {
        let line_less_indent = line.trim_start();
        let went_well = line_less_indent.starts_with(['✔', '▶', '﹣', 'ℹ']);
        if !went_well || line_less_indent.starts_with("ℹ Error") {
            let _ = writeln!(told, "    {line}");
        }
    }
    told
}

/// The program that the suites run against, whichever folder it is started in.
fn program() -> PathBuf {
    match std::env::var_os("TORIL_TEST_SERVER") {
        Some(program) => fs::canonicalize(program).expect("TORIL_TEST_SERVER is a program"),
        None => PathBuf::from(env!("CARGO_BIN_EXE_toril")),
    }
}

/// Whether that is toril, in whatever build: others have no HTTP and no `--port 0`.
fn is_toril() -> bool {
    let told = Command::new(program()).arg("--version").output();
    told.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("(toril "))
}

struct Server {
    child: Child,
    port: u16,
    http_url: Option<String>,
}

impl Server {
    /// Returns once it accepts connections.
    fn start(scratch: &Path, serves_http: bool) -> Server {
        // toril takes any free port and prints it; others are told one that is free at the moment.
        let port = if is_toril() { 0 } else { free_port() };
        let mut command = Command::new(program());
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        if serves_http {
            command.args(["--http-port", "0", "--http-token", HTTP_TOKEN]);
            command.args(["--http-readonly-token", HTTP_READONLY_TOKEN]);
        }
        let mut child = command
            .current_dir(scratch)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server can be started");
        let mut printed = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut server = Server { child, port, http_url: None };
        let mut told = String::new();
        loop {
            let Some(Ok(line)) = printed.next() else {
                panic!("{} has ended before it was ready:\n{told}", program().display());
            };
            let _ = writeln!(told, "{line}");
            if let Some((_, port)) = line.split_once("Listening on 127.0.0.1:") {
                server.port = port.trim().parse().expect("it is a port");
            }
            if let Some((_, url)) = line.split_once("UPSTASH_REDIS_REST_URL=") {
                server.http_url = Some(url.trim().to_owned());
            }
            if line.contains("Ready to accept connections") {
                break;
            }
        }
        // Servers print to a pipe that is read, or stand still once it is full.
        std::thread::spawn(move || printed.for_each(drop));
        server
    }

    /// Ends it as a person would: that it is still there and ends well is part of each suite.
    fn stop(&mut self) -> Result<(), String> {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while Instant::now() < deadline {
            match self.child.try_wait().expect("it is a child") {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the server has ended with {status}")),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err("the server does not stop".to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    probe.local_addr().expect("it is bound").port()
}

/// What the runners need, or why it is not there.
struct Tools {
    node: Result<(), String>,
    /// By the list of requirements.
    pythons: HashMap<PathBuf, Result<(), String>>,
    redis_cli: Result<(), String>,
    sidekiq: Result<(), String>,
    curl: Result<(), String>,
    http: Result<(), String>,
    /// With the programs of tests/oracles.sh in front.
    path: std::ffi::OsString,
}

impl Tools {
    fn install(suites: &[Suite]) -> Tools {
        let run_by = |runner| suites.iter().filter(move |suite| suite.runner == runner);
        let oracles = match std::env::var_os("TORIL_ORACLES") {
            Some(folder) => PathBuf::from(folder),
            None => folder().with_file_name(".oracles"),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(oracles.join("bin")).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(folders).expect("it was a path before");
        let mut pythons = HashMap::new();
        for suite in run_by(Runner::Python) {
            let requirements = suite.requirements();
            pythons.entry(requirements).or_insert_with_key(|list| install_python(list));
        }
        let needs_node = run_by(Runner::Node).next().is_some();
        Tools {
            node: if needs_node { npm::install(&folder()) } else { Ok(()) },
            pythons,
            redis_cli: finish(Command::new("redis-cli").arg("--version").env("PATH", &path)),
            sidekiq: finish(
                Command::new("sidekiq-ruby").args(["-r", "sidekiq", "-e", "0"]).env("PATH", &path),
            ),
            curl: finish(Command::new("curl").arg("--version")),
            http: is_toril().then_some(()).ok_or_else(|| "this server has no HTTP".to_owned()),
            path,
        }
    }

    fn missing(&self, suite: &Suite) -> Option<&String> {
        let runner = match suite.runner {
            Runner::Node => &self.node,
            Runner::Python => &self.pythons[&suite.requirements()],
        };
        let tool = match suite.name.as_str() {
            "redis-tools" => &self.redis_cli,
            "sidekiq" | "http-actions-sidekiq" => &self.sidekiq,
            "http-curl" => &self.curl,
            _ => &Ok(()),
        };
        let server = if suite.speaks_http { &self.http } else { &Ok(()) };
        [runner, tool, server].into_iter().find_map(|needed| needed.as_ref().err())
    }
}

/// The virtual environment of a list of requirements: `.venv` of `requirements.txt`.
fn environment_of(requirements: &Path) -> PathBuf {
    let name = requirements.file_stem().expect("it is a file").to_string_lossy();
    folder().join(name.replace("requirements", ".venv"))
}

fn install_python(requirements: &Path) -> Result<(), String> {
    let environment = environment_of(requirements);
    once_per(requirements, &environment, || {
        finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
        finish(
            Command::new(environment.join("bin/pip"))
                .args(["install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(requirements),
        )
    })
}
