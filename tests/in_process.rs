//! Servers inside this process, as the tests of programs in Rust start them.

use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use toril::{Response, Server};

/// What the process has is counted while nobody else starts a server.
static ALONE: Mutex<()> = Mutex::new(());

/// A request whose words stand between single blanks, and its answer.
fn ask(server: &Server, request: &str) -> Response {
    let words: Vec<&str> = request.split(' ').collect();
    server.command(&words).expect("it answers")
}

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(text: &str) -> Response {
    Response::Text(text.into())
}

#[test]
fn several_servers_serve_at_once_and_know_nothing_of_each_other() {
    const KEYS: usize = 20_000;
    let _alone = alone();
    let servers: Vec<Server> = (0..4).map(|_| Server::start().expect("it starts")).collect();
    thread::scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            scope.spawn(move || {
                for key in 0..KEYS {
                    let set = ["SET", &format!("key:{key}"), &format!("{number}:{key}")];
                    assert_eq!(server.command(&set), Ok(text("OK")));
                }
                for key in 0..KEYS {
                    let value = server.command(&["GET", &format!("key:{key}")]);
                    assert_eq!(value, Ok(text(&format!("{number}:{key}"))));
                }
            });
        }
    });
    servers[0].flush().expect("it can be emptied");
    servers[1].command(&["SUBSCRIBE", "channel"]).expect("there are channels");
    assert_eq!(servers[2].command(&["PUBLISH", "channel", "x"]), Ok(Response::Integer(0)));
    let sizes = servers.iter().filter(|server| server.port() != servers[1].port());
    let sizes: Vec<_> = sizes.map(|server| server.command(&["DBSIZE"])).collect();
    let all = Ok(Response::Integer(KEYS as i64));
    assert_eq!(sizes, [Ok(Response::Integer(0)), all.clone(), all]);
    // What one has allocated is not told by another, nor by itself.
    let Ok(Response::Text(memory)) = servers[2].command(&["INFO", "memory"]) else { panic!() };
    assert!(String::from_utf8_lossy(&memory).contains("\r\nused_memory:0\r\n"));
}

/// Whether the server has closed a connection, perhaps before it has read all.
fn is_over(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a time");
    let read = stream.read(&mut [0]).map_err(|problem| problem.kind());
    matches!(read, Ok(0) | Err(ErrorKind::ConnectionReset))
}

/// What the process has by what the system tells of it.
fn process() -> BTreeMap<&'static str, String> {
    let status = fs::read_to_string("/proc/self/status").expect("the system tells");
    let signals = status.lines().filter(|line| line.starts_with("Sig") || line.starts_with("THP"));
    let count = |path: &str| fs::read_dir(path).expect("the system tells").count().to_string();
    BTreeMap::from([
        ("signals", signals.collect::<Vec<_>>().join("\n")),
        ("threads", count("/proc/self/task")),
        ("files", count("/proc/self/fd")),
        ("limit", format!("{:?}", getrlimit(Resource::Nofile))),
        ("directory", std::env::current_dir().expect("there is one").display().to_string()),
    ])
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_dropped_leaves_nothing_and_the_process_stays_as_it_is() {
    let _alone = alone();
    // The event loop keeps a pair of sockets for the process from its first use on.
    drop(Server::start().expect("it starts"));
    let before = process();
    let mut ports = Vec::new();
    for _ in 0..20 {
        let server = Server::with(&["--http-port", "0", "--dir", "/"]).expect("it starts");
        server.command(&["SET", "a", "1"]).expect("it answers");
        let mut parked = TcpStream::connect((server.host(), server.port())).expect("it listens");
        parked.write_all(b"BLPOP nothing 0\r\n").expect("it reads");
        let rest = server.http().expect("it serves HTTP").url.clone();
        let rest = rest.strip_prefix("http://").expect("it is plain");
        let mut waiting = TcpStream::connect(rest).expect("it listens");
        waiting.write_all(b"GET /blpop/nothing/0 HTTP/1.1\r\n").expect("it reads");
        let now = process();
        for fact in ["signals", "limit", "directory"] {
            assert_eq!(now[fact], before[fact]);
        }
        ports.push(server.port());
        drop(server);
        assert!(is_over(parked) && is_over(waiting));
        assert!(TcpStream::connect(("127.0.0.1", ports[ports.len() - 1])).is_err());
    }
    assert_eq!(process(), before);
}

#[test]
fn a_script_without_end_ends_with_its_server() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    let mut client = TcpStream::connect((server.host(), server.port())).expect("it listens");
    client.write_all(b"EVAL \"while true do end\" 0\r\n").expect("it reads");
    thread::sleep(Duration::from_millis(50));
    drop(server);
    assert!(is_over(client));
}

#[test]
fn shutdown_ends_one_server_and_not_the_process() {
    let _alone = alone();
    let (one, other) = (Server::start().expect("it starts"), Server::start().expect("it starts"));
    one.command(&["SHUTDOWN", "NOSAVE"]).expect_err("nobody answers");
    assert_eq!(other.command(&["PING"]), Ok(text("PONG")));
    one.command(&["PING"]).expect_err("nobody listens");
}

#[test]
fn settings_are_those_of_the_program_as_far_as_they_are_its_own() {
    let _alone = alone();
    let server = Server::with(&["--maxclients", "10"]).expect("it starts");
    let told = server.command(&["CONFIG", "GET", "maxclients"]);
    assert_eq!(told, Ok(Response::List(vec![text("maxclients"), text("10")])));
    let set = |name: &str, value: &str| {
        let answer = server.command(&["CONFIG", "SET", name, value]);
        answer.map_err(|error| error.to_string())
    };
    let needs = "needs toril's own process: Server::spawn()";
    let start = "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - ";
    assert_eq!(set("maxmemory", "1mb"), Err(format!("{start}maxmemory {needs}")));
    assert_eq!(set("maxmemory", "0"), Ok(text("OK")));
    assert_eq!(set("maxclients", "20"), Ok(text("OK")));
    assert_eq!(set("loglevel", "debug"), Ok(text("OK")));

    let refused = |settings: &[&str]| {
        Server::with(settings).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(&["--maxmemory", "1mb"]), format!("maxmemory {needs}"));
    assert_eq!(refused(&["--daemonize", "yes"]), format!("daemonize {needs}"));
    assert_eq!(refused(&["--exit-with-parent", "1"]), format!("exit-with-parent {needs}"));
    assert!(refused(&["--nope", "1"]).contains("Bad directive"));
    assert!(refused(&["--bind", "192.0.2.1"]).contains("192.0.2.1"));
}

#[test]
fn what_is_refused_is_an_error_with_the_servers_words() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    let error = server.command(&["LPUSH", "a"]).expect_err("it is refused");
    assert_eq!(error.to_string(), "ERR wrong number of arguments for 'lpush' command");
    let error = server.fault("action='").expect_err("it cannot be read");
    assert_eq!(error.to_string(), "action=': unbalanced quotes");
}

/// A job of BullMQ's that no worker takes; one that failed while nobody looked; none.
#[test]
fn idleness_is_waited_for_and_what_is_not_done_is_told() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    let ask = |request: &str| ask(&server, request);
    let idle = || {
        let idle = server.idle(&["mail"], Duration::from_millis(50));
        idle.map_err(|error| error.to_string())
    };
    ask("HSET bull:mail:meta opts.maxLenEvents 10000");
    assert_eq!(idle(), Ok(()));
    ask("LPUSH bull:mail:wait 1");
    let why = idle().expect_err("a job waits");
    let is_told = why.contains(" ms: 1 of 1 queue\n  mail  1 waiting");
    assert!(why.starts_with("not idle after ") && is_told, "{why}");
    ask("DEL bull:mail:wait");
    ask("HSET bull:mail:1 name welcome data {} attemptsMade 1");
    ask("ZADD bull:mail:failed 1 1");
    ask("XADD bull:mail:events * event failed jobId 1 failedReason no");
    let why = idle().expect_err("a job has failed");
    assert!(why.contains("job 1") && why.contains("no"), "{why}");
    assert_eq!(idle(), Ok(()));
}

#[test]
fn data_is_kept_and_brought_back() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    server.command(&["SET", "a", "1"]).expect("it answers");
    server.snapshot("seed").expect("it can be kept");
    server.flush().expect("it can be emptied");
    server.restore("seed").expect("it can be brought back");
    assert_eq!(server.command(&["GET", "a"]), Ok(text("1")));
    let error = server.restore("other").expect_err("there is none");
    assert_eq!(error.to_string(), "ERR no snapshot 'other': there is 'seed'");
}

#[test]
fn what_is_to_fail_fails_for_others_until_it_is_flushed() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    let mut other = TcpStream::connect((server.host(), server.port())).expect("it listens");
    let mut ask = |request: &str| {
        other.write_all(format!("{request}\r\n").as_bytes()).expect("it reads");
        let mut answer = [0; 200];
        let len = other.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..len]).into_owned()
    };
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.\r\n";
    assert_eq!(server.fault("action=oom cmd=set count=1 name=full"), Ok("full".into()));
    assert_eq!(server.command(&["SET", "a", "1"]), Ok(text("OK")));
    assert_eq!(ask("SET a 1"), oom);
    assert_eq!(ask("SET a 1"), "+OK\r\n");
    server.fault("action=error text='ERR not now' cmd=get").expect("it is a rule");
    assert_eq!(ask("GET a"), "-ERR not now\r\n");
    server.flush().expect("no job is active");
    assert_eq!(ask("GET a"), "$-1\r\n");

    assert_eq!(ask("RPUSH bull:mail:active 7"), ":1\r\n");
    let error = server.flush().expect_err("a job is active");
    let told = "job 7 of mail is active for 1.0 s: close the worker, or await it, before flush()";
    assert_eq!(error.to_string(), told);
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            ask("DEL bull:mail:active");
        });
        server.flush().expect("the job has ended");
    });
}

#[test]
fn what_was_expected_and_did_not_come_is_an_error() {
    let _alone = alone();
    let server = Server::start().expect("it starts");
    let ask = |request: &str| ask(&server, request);
    ask("HSET bull:mail:meta opts.maxLenEvents 10000");
    let expect = |what: &str| {
        let words: Vec<&str> = what.split(' ').collect();
        server.expect(&words, Duration::from_secs(1)).map(drop)
    };
    let error = expect("QUEUE mail STATE completed WITHIN 50").expect_err("nothing has happened");
    assert!(error.to_string().contains("mail"), "{error}");
    ask("HSET bull:mail:7 name welcome data {}");
    ask("XADD bull:mail:events * event completed jobId 7 returnvalue null");
    assert_eq!(expect("QUEUE mail STATE completed WITHIN 50"), Ok(()));
}

#[test]
fn the_clock_goes_by_itself() {
    let _alone = alone();
    let server = Server::with(&["--clock", "yes"]).expect("it starts");
    let ask = |request: &str| ask(&server, request);
    ask("HSET bull:mail:meta opts.maxLenEvents 10000");
    let day_ms = 86_400_000;
    let wall = || {
        let told = ask("TORIL CLOCK");
        let Some(&Response::Integer(ahead_ms)) = told.get("offset_ms") else { panic!("{told:?}") };
        ahead_ms
    };
    let Response::List(time) = ask("TIME") else { panic!("it is a list") };
    let now_ms: i64 = time[0].text().parse::<i64>().expect("it is a number") * 1_000;
    ask(&format!("ZADD bull:mail:delayed {} 1", (now_ms + day_ms) * 4096));
    server.clock().auto().expect("it moves");
    let begun = Instant::now();
    while wall() < day_ms - 10_000 {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never came there");
        thread::sleep(Duration::from_millis(5));
    }
    server.clock().resume().expect("it moves");
    assert_eq!(ask("TORIL CLOCK").get("mode"), Some(&text("running")));
    server.clock().freeze().expect("it moves");
    assert_eq!(ask("TORIL CLOCK").get("mode"), Some(&text("frozen")));
}

#[test]
fn who_moves_the_clock_over_a_workers_connection_is_told() {
    let _alone = alone();
    let server = Server::with(&["--clock", "yes"]).expect("it starts");
    let ask = |request: &str| ask(&server, request);
    ask("HSET bull:mail:meta opts.maxLenEvents 10000");
    ask("RPUSH bull:mail:active 7");
    let mut stream = TcpStream::connect((server.host(), server.port())).expect("it listens");
    let mut refusal = |requests: &str| {
        stream.write_all(requests.as_bytes()).expect("it reads");
        let mut answer = [0; 1000];
        let len = stream.read(&mut answer).expect("it answers");
        String::from_utf8_lossy(&answer[..len]).into_owned()
    };
    let hint = "move the clock over a connection that no worker uses\r\n";
    let told = refusal("TORIL CLOCK ADVANCE 2d TIMEOUT 50\r\n");
    assert!(told.starts_with("-ERR not idle after 50 ms") && !told.contains(hint), "{told}");
    let told = refusal("TORIL CLOCK ADVANCE 2d TIMEOUT 50\r\nPING\r\n");
    assert!(told.starts_with("-ERR not idle after 50 ms") && told.contains(hint), "{told}");
}

/// Runs `spawned`, below, in a process whose environment names the program.
#[test]
fn a_process_of_its_own_can_be_had() {
    let run = |program: &str| {
        let mut command = Command::new(std::env::current_exe().expect("it is a program"));
        let output = command
            .args(["--ignored", "--exact", "spawned", "--nocapture"])
            .env("TORIL_BINARY", program)
            .output()
            .expect("it starts");
        let told = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&told).into_owned())
    };
    let (is_good, told) = run(env!("CARGO_BIN_EXE_toril"));
    assert!(is_good, "{told}");
    let (is_good, told) = run("/no/such");
    assert!(!is_good && told.contains("/no/such: No such file or directory"), "{told}");
    assert!(told.contains("TORIL_BINARY may name a toril executable"), "{told}");
    let (is_good, told) = run("false");
    assert!(!is_good && told.contains("exit status: 1 before it was ready"), "{told}");
}

#[test]
#[ignore = "wants TORIL_BINARY: a_process_of_its_own_can_be_had sets it"]
fn spawned() {
    let server = Server::spawn_with(&["--maxmemory", "100mb"]).unwrap_or_else(|error| {
        panic!("{error}");
    });
    let told = server.command(&["CONFIG", "GET", "maxmemory"]);
    assert_eq!(told, Ok(Response::List(vec![text("maxmemory"), text("104857600")])));
    let port = server.port();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
