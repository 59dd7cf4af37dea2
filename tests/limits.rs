//! What clients may make the server keep for them: replies that they do not read, requests without
//! an end, and all of it together. And in which order they are answered.

mod common;

use common::facts::FixedFacts;
use common::program::{PATIENCE, Running, ask, ask_all, until};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State};
use toril::engine::time::Now;

const NOW: Now = Now::new(1_790_000_000_000, 0);

fn engine(facts: FixedFacts) -> Engine {
    Engine::new(table(), Config::default(), Box::new(facts), NOW)
}

fn answer(engine: &mut Engine, id: ClientId, request: &str) -> String {
    engine.feed(id, format!("{request}\r\n").as_bytes(), NOW);
    String::from_utf8(engine.take_output(id)).expect("it is ASCII")
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("it is a time");
    stream
}

/// All that comes until the server closes.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(problem) if problem.kind() == ErrorKind::ConnectionReset => rest,
        Err(problem) => panic!("it was not closed: {problem}; {} bytes came", rest.len()),
    }
}

/// A field of INFO.
fn fact(port: u16, section: &str, name: &str) -> u64 {
    let text = ask_all(port, &format!("INFO {section}"));
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("{name}: {text}")).parse().expect("a number")
}

/// A field of CLIENT LIST, of the client whose last command was this; 0 if there is none yet.
fn listed(port: u16, command: &str, field: &str) -> usize {
    let text = ask_all(port, "CLIENT LIST");
    let line = text.lines().find(|line| line.contains(&format!(" cmd={command} ")));
    let Some(line) = line else { return 0 };
    let value = line.split(' ').find_map(|word| word.strip_prefix(&format!("{field}=")));
    value.unwrap_or_else(|| panic!("{field}: {line}")).parse().expect("a number")
}

#[test]
fn whoever_is_answered_last_is_written_to_first() {
    let mut engine = engine(FixedFacts::default());
    let [waiter, pusher] = [(); 2].map(|()| engine.connect(Peer::inside(), NOW));
    engine.feed(waiter, b"BRPOP q 0\r\n", NOW);
    while engine.next_dirty().is_some() {}
    engine.feed(pusher, b"LPUSH q job\r\n", NOW);
    let order: Vec<ClientId> = std::iter::from_fn(|| engine.next_dirty()).collect();
    assert_eq!(order, [waiter, pusher]);
}

/// 600,000 answers would once have lain in one block, which doubled while everybody waited.
#[test]
fn replies_that_nobody_reads_cost_their_length_and_no_time() {
    const COUNT: usize = 100_000;
    let server = Running::start(&[]);
    assert_eq!(ask(server.port, &format!("SET k {}", "x".repeat(1024))), "+OK");
    let lazy = connect(server.port);
    let mut asking = lazy.try_clone().expect("it is a socket");
    let asking = std::thread::spawn(move || asking.write_all(&b"GET k\r\n".repeat(COUNT)));
    let mut worst = Duration::ZERO;
    let waiting = COUNT * 1000 / 2; // The sockets hold the rest.
    until("the replies", || {
        let started = Instant::now();
        assert_eq!(ask(server.port, "PING"), "+PONG");
        worst = worst.max(started.elapsed());
        listed(server.port, "get", "omem") > waiting
    });
    assert!(worst < Duration::from_millis(500), "{worst:?}");
    let _ = asking.join().expect("it does not panic");
    until("all replies", || listed(server.port, "get", "qbuf") == 0);
    let taken = listed(server.port, "get", "tot-mem");
    assert!(taken < COUNT * 1033 * 5 / 4, "{taken} bytes");
    assert!(listed(server.port, "get", "oll") > waiting / 20_000);
    let mut answers = Vec::new();
    (&lazy).write_all(b"QUIT\r\n").expect("it reads");
    (&lazy).read_to_end(&mut answers).expect("it closes");
    assert_eq!(answers.len(), COUNT * 1033 + "+OK\r\n".len());
    server.stop();
}

/// As Redis: nothing is delivered, and nothing behind it runs.
#[test]
fn a_reply_beyond_the_limit_ends_the_connection() {
    let limit = "normal 1000000 0 0";
    let server = Running::start(&["--client-output-buffer-limit", limit]);
    assert_eq!(ask(server.port, "HSET h field value"), ":1");
    for _ in 0..20 {
        ask(server.port, &format!("RPUSH l{}", " 12345678".repeat(7_000)));
    }
    let kept = fact(server.port, "memory", "used_memory");
    for request in [
        "LRANGE l 0 -1",
        "HRANDFIELD h -2147483648 WITHVALUES",
        "SORT l",
        "MULTI\r\nLRANGE l 0 69999\r\nLRANGE l 70000 -1\r\nEXEC",
    ] {
        let stream = connect(server.port);
        let started = Instant::now();
        let pipeline = format!("SET before 1\r\n{request}\r\nSET behind 1\r\n");
        (&stream).write_all(pipeline.as_bytes()).expect("it reads");
        assert_eq!(rest(&stream).escape_ascii().to_string(), "", "{request}");
        assert!(started.elapsed() < Duration::from_secs(2), "{request}: {:?}", started.elapsed());
        assert_eq!(ask(server.port, "EXISTS behind"), ":0", "{request}");
        assert_eq!(ask(server.port, "DEL before"), ":1", "{request}");
    }
    assert_eq!(fact(server.port, "stats", "client_output_buffer_limit_disconnections"), 4);
    let most = fact(server.port, "memory", "used_memory_peak");
    assert!(most < kept + 8_000_000, "{kept} bytes, and {most} at most");
    // Within the limit it arrives.
    assert_eq!(ask(server.port, "LRANGE l 0 49999"), "*50000");
    server.stop();
}

/// Nobody writes to it any more, and still its time ends.
#[test]
fn a_reader_that_stays_behind_is_closed_when_its_time_is_over() {
    let server = Running::start(&["--client-output-buffer-limit", "normal 0 100000 1"]);
    assert_eq!(ask(server.port, &format!("SET k {}", "x".repeat(60_000))), "+OK");
    let stream = connect(server.port);
    (&stream).write_all(&b"GET k\r\n".repeat(1_000)).expect("it reads");
    let started = Instant::now();
    let name = "client_output_buffer_limit_disconnections";
    until("the end", || fact(server.port, "stats", name) == 1);
    assert!(started.elapsed() > Duration::from_millis(900), "{:?}", started.elapsed());
    server.stop();
}

#[test]
fn a_reply_longer_than_half_of_the_memory_is_an_error() {
    let mut engine = engine(FixedFacts { total_memory: 2_000_000, ..FixedFacts::default() });
    let id = engine.connect(Peer::inside(), NOW);
    answer(&mut engine, id, "SADD s member");
    answer(&mut engine, id, "HSET h f v");
    answer(&mut engine, id, "ZADD z 1 member");
    let text = "-OOM the reply would be longer than 1000000 bytes, half of the machine's memory: \
                ask for less, or set client-output-buffer-limit\r\n";
    for request in [
        "SRANDMEMBER s -2147483648",
        "HRANDFIELD h -2147483648 WITHVALUES",
        "ZRANDMEMBER z -2147483648 WITHSCORES",
    ] {
        assert_eq!(answer(&mut engine, id, request), text, "{request}");
    }
    assert_eq!(answer(&mut engine, id, "PING"), "+PONG\r\n");
    // Of an array that has begun there is no way back to an error.
    let exec =
        "MULTI\r\nEVAL \"for i = 1, 1e6 do end return 1\" 0\r\nSRANDMEMBER s -999999\r\nEXEC";
    let other = engine.connect(Peer::inside(), NOW);
    let text = answer(&mut engine, other, exec);
    assert_eq!(text, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n");
    while engine.resume(other, NOW) == State::Running {}
    assert_eq!(engine.state(other), State::Closing);
    assert_eq!(engine.take_output(other), b"");
    // What a script throws away is not made.
    let text = answer(&mut engine, id, "EVAL \"redis.call('srandmember','s',-2^40)return 1\" 0");
    assert_eq!(text, ":1\r\n");
}

#[test]
fn the_largest_clients_go_when_all_are_too_large_together() {
    let server = Running::start(&[]);
    let begin = |name: &str, size: usize, option: &str| {
        let stream = connect(server.port);
        let start = format!("CLIENT SETNAME {name}\r\n{option}*2\r\n$4\r\nECHO\r\n$9000000\r\n");
        (&stream).write_all(start.as_bytes()).expect("it reads");
        (&stream).write_all(&vec![b'x'; size]).expect("it reads");
        stream
    };
    let exempt = begin("exempt", 4_000_000, "CLIENT NO-EVICT ON\r\n");
    let small = begin("small", 1_000_000, "");
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1500000\r\n{}\r\n", "x".repeat(1_500_000));
    let queueing = begin("queueing", 0, &format!("MULTI\r\n{set}"));
    let large = begin("large", 2_000_000, "");
    let clients = || ask_all(server.port, "CLIENT LIST");
    until("the input", || clients().contains("qbuf=200"));
    assert_eq!(ask(server.port, "CONFIG SET maxmemory-clients 3mb"), "+OK");
    until("the largest to go", || !clients().contains("name=large"));
    assert_eq!(rest(&large).escape_ascii().to_string(), "+OK\\r\\n");
    let names =
        |clients: String| ["exempt", "small", "queueing"].map(|name| clients.contains(name));
    assert_eq!(names(clients()), [true; 3]);
    // Whoever was there when the next one grew goes if it is the largest.
    let larger = begin("larger", 1_400_000, "");
    until("the next", || !clients().contains("name=queueing"));
    assert_eq!(names(clients()), [true, true, false]);
    assert_eq!(fact(server.port, "stats", "evicted_clients"), 2);
    assert_eq!(ask(server.port, "CONFIG SET maxmemory-clients 0"), "+OK");
    drop((exempt, small, queueing, larger));
    server.stop();
}

#[test]
fn requests_without_end_are_cut_off() {
    let server = Running::start(&["--client-query-buffer-limit", "1mb"]);
    let megabytes = vec![b'x'; 3 * 1024 * 1024];
    for start in ["*2\r\n$3\r\nGET\r\n$100000000\r\n", "BLPOP nothing 0\r\n"] {
        let stream = connect(server.port);
        // What comes behind the limit may meet a closed socket.
        let mut writer = &stream;
        let _ = writer.write_all(start.as_bytes()).and_then(|()| writer.write_all(&megabytes));
        assert_eq!(rest(&stream).escape_ascii().to_string(), "", "{start:?}");
    }
    assert_eq!(fact(server.port, "stats", "client_query_buffer_limit_disconnections"), 2);
    server.stop();
}

/// What is unread counts; words of a request that have come whole do not.
#[test]
fn the_limit_on_input_is_where_redis_has_it() {
    const LIMIT: usize = 1024 * 1024;
    let server = Running::start(&["--client-query-buffer-limit", "1mb"]);
    let echo = |len: usize| format!("*2\r\n$4\r\nECHO\r\n${len}\r\n");
    for (start, len, is_closed) in [
        ("BLPOP nothing 0\r\n".to_owned(), LIMIT, false),
        ("BLPOP nothing 0\r\n".to_owned(), LIMIT + 1, true),
        (echo(2 * LIMIT), LIMIT, false),
        (echo(2 * LIMIT), LIMIT + 1, true),
    ] {
        let stream = connect(server.port);
        (&stream).write_all(start.as_bytes()).expect("it reads");
        (&stream).write_all(&vec![b'x'; len]).expect("it reads");
        if is_closed {
            assert_eq!(rest(&stream).len(), 0, "{start:?} {len}");
        } else {
            let wait = Some(Duration::from_millis(200));
            stream.set_read_timeout(wait).expect("it is a time");
            let heard = (&stream).read(&mut [0]).map_err(|problem| problem.kind());
            assert_eq!(heard, Err(ErrorKind::WouldBlock), "{start:?} {len}");
        }
    }
    // The two bytes behind a value are unread as well.
    for (len, is_closed) in [(LIMIT - 2, false), (LIMIT - 1, true)] {
        let stream = connect(server.port);
        (&stream).write_all(echo(len).as_bytes()).expect("it reads");
        until("the start", || ask_all(server.port, "CLIENT LIST").contains("argv-mem=4 "));
        let _ = (&stream).write_all(format!("{}\r\n", "x".repeat(len)).as_bytes());
        let mut answer = Vec::new();
        let _ = (&stream).take(len as u64).read_to_end(&mut answer);
        assert_eq!(answer.is_empty(), is_closed, "{len}: {} bytes", answer.len());
    }
    let count = 400_001;
    let words = format!("*{count}\r\n$3\r\nDEL\r\n{}", "$1\r\nk\r\n".repeat(count - 1));
    let stream = connect(server.port);
    (&stream).write_all(words.as_bytes()).expect("it reads");
    let mut answer = [0; 4];
    (&stream).read_exact(&mut answer).expect("it answers");
    assert_eq!(&answer, b":0\r\n");
    server.stop();
}

/// What MULTI has queued counts as input too.
#[test]
fn transactions_without_end_are_cut_off() {
    let server = Running::start(&["--client-query-buffer-limit", "1mb"]);
    let limit = 1024 * 1024;
    let set =
        |size: usize| format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n{}\r\n", "x".repeat(size));
    // Each request is kept with 28 bytes beside the value; what is still unread counts as well.
    for (size, count, is_closed) in
        [(limit / 4 - 64, 4, false), (limit / 4 - 20, 4, true), (1, 40_000, true)]
    {
        let mut stream = connect(server.port);
        // What comes behind the limit may meet a closed socket.
        let mut queueing = stream.try_clone().expect("it is a socket");
        let requests = format!("MULTI\r\n{}EXEC\r\nQUIT\r\n", set(size).repeat(count));
        let queueing = std::thread::spawn(move || queueing.write_all(requests.as_bytes()));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let _ = queueing.join().expect("it does not panic");
        let executed = String::from_utf8(answer).expect("it is ASCII").ends_with("+OK\r\n+OK\r\n");
        assert_eq!(executed, !is_closed, "{count} values of {size} bytes");
    }
    assert_eq!(fact(server.port, "stats", "client_query_buffer_limit_disconnections"), 2);
    server.stop();
}
