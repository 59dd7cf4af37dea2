//! The page over the queues, on an engine on which time passes as the test says: what it finds, and
//! that it costs nothing while nobody looks.

#[path = "../common/mod.rs"]
mod common;

mod keys;

use common::facts::FixedFacts;
use toril::command::table::table;
use toril::config::Config;
use toril::dashboard::{Board, Form, Trouble};
use toril::engine::Engine;
use toril::engine::client::{ClientId, Peer, State};
use toril::engine::time::Now;
use toril::proto::{Args, Outbox};

struct Bench {
    engine: Engine,
    board: Board,
    client: ClientId,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        Self::slow(0)
    }

    /// So many microseconds pass between two looks at the stopwatch.
    fn slow(look_us: u64) -> Self {
        let now = Now::new(1_790_000_000_000, 0);
        let facts = Box::new(FixedFacts { look_us, ..FixedFacts::default() });
        let mut engine = Engine::new(table(), Config::default(), facts, now);
        let peer = Peer { addr: "127.0.0.1:50001".into(), ..Peer::inside() };
        let client = engine.connect(peer, now);
        Self { engine, board: Board::default(), client, now }
    }

    fn ask(&mut self, words: &[&str]) {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.engine.run(self.client, Args::new(&words), self.now);
        let outbox = self.engine.outbox(self.client).expect("it is connected");
        assert!(!outbox.take().starts_with(b"-"));
    }

    fn pass(&mut self, ms: u64) {
        self.now = Now::new(self.now.wall_ms + ms as i64, self.now.mono_us + ms * 1000);
        self.engine.tick(self.now);
    }

    fn view(&mut self, path: &str) -> serde_json::Value {
        let user = self.engine.acl.default_user().clone();
        let shown = self.board.view(&mut self.engine, &user, path, Form::Json);
        serde_json::from_str(&shown.expect("it is shown")).expect("it is JSON")
    }

    /// A view as a user sees it whose rules these are.
    fn html(&mut self, path: &str, rules: &[&str]) -> Result<String, Trouble> {
        self.ask(&[&["acl", "setuser", "ada", "reset", "on", "nopass"], rules].concat());
        let user = self.engine.acl.get(b"ada").expect("it was made").clone();
        self.board.view(&mut self.engine, &user, path, Form::Html)
    }

    /// The names of the queues that the overview shows.
    fn queues(&mut self) -> Vec<String> {
        let view = self.view("overview");
        let queues = view["queues"].as_array().expect("a list");
        queues.iter().map(|queue| queue["name"].as_str().expect("a name").to_owned()).collect()
    }

    /// Does what a page wants done: what it is told.
    fn act(&mut self, path: &str, body: &serde_json::Value) -> Result<serde_json::Value, Trouble> {
        let user = self.engine.acl.default_user().clone();
        let body = body.to_string();
        let order = self.board.order(&mut self.engine, &user, path, body.as_bytes())?;
        let words: Vec<&[u8]> = order.words().iter().map(Vec::as_slice).collect();
        self.engine.clients.get_mut(self.client).expect("it is connected").db = order.db();
        self.engine.run(self.client, Args::new(&words), self.now);
        self.engine.clients.get_mut(self.client).expect("it is connected").db = 0;
        let answer = self.engine.outbox(self.client).expect("it is connected").take();
        assert!(!answer.starts_with(b"-"), "{}", String::from_utf8_lossy(&answer));
        let answer = if answer == b":0\r\n" { 0.into() } else { serde_json::Value::Null };
        Ok(order.outcome(&self.engine, &answer))
    }

    /// The order of a dialog: what its form would send.
    fn dialog(&mut self, path: &str) -> serde_json::Value {
        let user = self.engine.acl.default_user().clone();
        let html = self.board.view(&mut self.engine, &user, path, Form::Html).expect("it is asked");
        let order = html.split("data-order=\"").nth(1).and_then(|rest| rest.split('"').next());
        let order = order.expect("it has an order").replace("&quot;", "\"");
        serde_json::from_str(&order).expect("it is JSON")
    }

    /// Whether the engine notes which keys change.
    fn notes_changes(&mut self) -> bool {
        let _ = self.engine.keyspace.aftermath.take_changed_keys();
        self.ask(&["set", "noted", "x"]);
        !self.engine.keyspace.aftermath.take_changed_keys().is_empty()
    }
}

const META: &str = "opts.maxLenEvents";

#[test]
fn five_seconds_after_the_last_look_nothing_is_noted() {
    let mut bench = Bench::new();
    assert!(!bench.notes_changes());
    assert_eq!(bench.board.next_tick_us(), None);
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail"]);
    assert!(bench.notes_changes());
    bench.pass(4_900);
    bench.board.tick(&mut bench.engine);
    assert!(bench.board.next_tick_us().is_some());
    bench.pass(200);
    bench.board.tick(&mut bench.engine);
    assert_eq!(bench.board.next_tick_us(), None);
    assert!(!bench.notes_changes());
    // A second look finds what has come meanwhile.
    bench.ask(&["hset", "bull:other:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail", "other"]);
}

#[test]
fn an_open_page_keeps_it_awake_and_is_sent_what_has_changed() {
    let mut bench = Bench::new();
    let reader = open(&mut bench, "overview");
    let frames = |bench: &mut Bench| {
        bench.board.tick(&mut bench.engine);
        let taken = bench.engine.outbox(reader).map(Outbox::take).unwrap_or_default();
        String::from_utf8(taken).expect("it is text")
    };
    assert!(frames(&mut bench).contains("No queue yet"));
    for _ in 0..30 {
        bench.pass(250);
        bench.board.tick(&mut bench.engine);
        let _ = frames(&mut bench);
    }
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    bench.ask(&["lpush", "bull:mail:wait", "1"]);
    bench.pass(250);
    assert!(frames(&mut bench).contains("MABidWxsOm1haWw"));
    // The same again is not sent again.
    bench.ask(&["set", "unrelated", "1"]);
    bench.pass(250);
    assert_eq!(frames(&mut bench), "");
    bench.engine.disconnect(reader, bench.now);
    bench.pass(5_300);
    bench.board.tick(&mut bench.engine);
    assert_eq!(bench.board.next_tick_us(), None);
}

#[test]
fn a_page_that_does_not_read_is_not_sent_a_backlog() {
    let mut bench = Bench::new();
    let reader = open(&mut bench, "overview");
    let waiting = |bench: &mut Bench| bench.engine.outbox(reader).map_or(0, |it| it.len());
    bench.board.tick(&mut bench.engine);
    let first = waiting(&mut bench);
    assert!(first > 0);
    for number in 0..100 {
        bench.ask(&["hset", &format!("bull:{number}:meta"), META, "10000"]);
        bench.pass(250);
        bench.board.tick(&mut bench.engine);
        assert_eq!(waiting(&mut bench), first);
    }
    let _ = bench.engine.outbox(reader).map(Outbox::take);
    bench.pass(1_000);
    bench.board.tick(&mut bench.engine);
    let frame = bench.engine.outbox(reader).map(Outbox::take).expect("it is connected");
    assert!(String::from_utf8_lossy(&frame).contains("resync"));
}

#[test]
fn an_open_overview_loses_its_last_queue() {
    let mut bench = Bench::new();
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    bench.view("overview");
    let reader = open(&mut bench, "overview");
    let frames = |bench: &mut Bench| {
        go_on(bench, 1_100);
        let taken = bench.engine.outbox(reader).map(Outbox::take).unwrap_or_default();
        String::from_utf8(taken).expect("it is text")
    };
    assert!(frames(&mut bench).contains("MABidWxsOm1haWw"));
    bench.ask(&["flushall"]);
    // It is another view now, without a table.
    assert!(frames(&mut bench).contains("resync"));
    assert!(!frames(&mut bench).contains("resync"));
}

#[test]
fn what_a_frame_has_no_room_for_goes_with_a_later_one() {
    let mut bench = Bench::new();
    let change_all = |bench: &mut Bench| {
        for queue in 0..100 {
            let words = [format!("bull:{queue}:meta"), format!("bull:{queue}:wait")];
            bench.ask(&["hset", &words[0], META, "10000"]);
            bench.ask(&["lpush", &words[1], "1"]);
        }
        go_on(bench, 1_000);
    };
    change_all(&mut bench);
    let reader = open(&mut bench, "overview");
    let frame = |bench: &mut Bench| -> serde_json::Value {
        change_all(bench);
        let taken = bench.engine.outbox(reader).map(Outbox::take).unwrap_or_default();
        let text = String::from_utf8(taken).expect("it is text");
        serde_json::from_str(text.trim().trim_start_matches("data: ")).expect("it is JSON")
    };
    // All rows are new to it.
    assert_eq!(frame(&mut bench)["resync"], true);
    let mut told = std::collections::BTreeSet::new();
    let mut frames = 0;
    while told.len() < 100 {
        let frame = frame(&mut bench);
        let parts = frame["parts"].as_object().expect("parts");
        let bytes: usize = parts.values().map(|it| it.as_str().map_or(0, str::len)).sum();
        assert!(bytes <= 64 * 1024, "{bytes}");
        // A row is called by its queue: the database, nothing, and the base, in base64.
        told.extend(parts.keys().filter(|key| key.starts_with("MABid")).cloned());
        frames += 1;
        assert!(frames < 10, "{} of 100 queues after {frames} frames", told.len());
    }
    assert!(frames > 1);
}

#[test]
fn queues_come_and_go_with_their_keys() {
    let mut bench = Bench::new();
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    assert_eq!(bench.queues(), ["mail"]);
    bench.ask(&["rpush", "rq:queue:reports", "id"]);
    bench.ask(&["sadd", "rq:queues", "rq:queue:reports"]);
    assert_eq!(bench.queues(), ["mail", "reports"]);
    bench.ask(&["del", "bull:mail:meta"]);
    assert_eq!(bench.queues(), ["reports"]);
    bench.ask(&["flushall"]);
    assert!(bench.queues().is_empty());
}

#[test]
fn a_minute_of_history_is_there_at_the_first_look() {
    let mut bench = Bench::new();
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    let event = |bench: &mut Bench, at_ms: i64, fields: &[&str]| {
        let id = format!("{at_ms}-0");
        bench.ask(&[&["xadd", "bull:mail:events", &id, "event"], fields].concat());
    };
    let at = bench.now.wall_ms - 30_000;
    let due = (at + 100).to_string();
    event(&mut bench, at, &["delayed", "jobId", "7", "delay", &due]);
    event(&mut bench, at + 103, &["waiting", "jobId", "7", "prev", "delayed"]);
    event(&mut bench, at + 107, &["active", "jobId", "7", "prev", "waiting"]);
    event(&mut bench, at + 200, &["completed", "jobId", "7"]);
    let view = bench.view("overview");
    assert_eq!(view["queues"][0]["late"], 3, "{view}");
    assert_eq!(view["queues"][0]["wait"], 7, "{view}");
    // Ninety seconds later that is no more the last minute.
    bench.pass(90_000);
    let view = bench.view("overview");
    assert!(view["queues"][0]["late"].is_null(), "{view}");
}

const ALL: &[&str] = &["~*", "&*", "+@all"];
const HOSTILE: &str = "<img/src=x>";

#[test]
fn clients_are_shown_with_what_each_does() {
    let mut bench = Bench::new();
    let mut other = |words: &[&str]| {
        let id = bench.engine.connect(Peer::inside(), bench.now);
        bench.engine.name_client(id, HOSTILE.as_bytes());
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        bench.engine.run(id, Args::new(&words), bench.now);
        id
    };
    let waits = other(&["blpop", "jobs", HOSTILE, "0"]);
    other(&["subscribe", "news"]);
    other(&["monitor"]);
    other(&["multi"]);
    let view = bench.view("clients");
    assert_eq!(view["count"], 5, "{view}");
    let told = |at: usize, name: &str| view["clients"][at][name].clone();
    assert_eq!(told(1, "id"), waits.0);
    assert_eq!(told(1, "command"), "BLPOP");
    assert_eq!(told(1, "waits"), serde_json::json!(["jobs", HOSTILE]));
    let html = bench.html("clients", ALL).expect("it is shown");
    for text in ["listens to 1 channel", "sees what all ask for", "0 commands so far"] {
        assert!(html.contains(text), "{text}: {html}");
    }
    assert!(html.contains("&lt;img/src=x&gt;") && !html.contains(HOSTILE), "{html}");
}

#[test]
fn the_slow_log_names_its_scripts() {
    let mut bench = Bench::new();
    bench.ask(&["config", "set", "slowlog-log-slower-than", "0"]);
    bench.ask(&["set", "key", HOSTILE]);
    bench.ask(&["eval", "-- counts words\nreturn 1", "0"]);
    let view = bench.view("slowlog");
    assert_eq!(view["entries"][0]["script"], "counts words", "{view}");
    assert_eq!(view["entries"][1]["words"], serde_json::json!(["set", "key", HOSTILE]), "{view}");
    let html = bench.html("slowlog", ALL).expect("it is shown");
    assert!(html.contains("set key &lt;img/src=x&gt;") && !html.contains(HOSTILE), "{html}");
    bench.ask(&["config", "set", "slowlog-log-slower-than", "-1"]);
    let html = bench.html("slowlog", ALL).expect("it is shown");
    assert!(html.contains("nothing is kept"), "{html}");
}

#[test]
fn moments_that_took_long_stand_beside_the_slow_log() {
    // Each command takes a tenth of a second by this stopwatch.
    let mut bench = Bench::slow(100_000);
    assert!(bench.html("slowlog", ALL).expect("it is shown").contains("latency-monitor-threshold"));
    bench.ask(&["config", "set", "latency-monitor-threshold", "50"]);
    bench.ask(&["set", "key", "text"]);
    let view = bench.view("slowlog");
    assert_eq!(view["moments"][0]["event"], "command", "{view}");
    assert!(view["moments"][0]["worst"].as_u64().is_some_and(|ms| ms >= 100), "{view}");
    assert!(bench.html("slowlog", ALL).expect("it is shown").contains("latency-command"));
    let hidden = bench.view("slowlog");
    assert!(!hidden["moments"].is_null());
    let html = bench.html("slowlog", &["~*", "+@all", "-latency|latest"]).expect("it is shown");
    assert!(!html.contains("latency-command"), "{html}");
}

#[test]
fn commands_are_shown_with_their_calls_and_errors() {
    let mut bench = Bench::new();
    bench.ask(&["set", "key", "text"]);
    bench.ask(&["set", "key", "text"]);
    let wrong = Args::new(&[b"lpush", b"key", b"item"]);
    bench.engine.run(bench.client, wrong, bench.now);
    assert!(bench.engine.outbox(bench.client).expect("it is connected").take().starts_with(b"-"));
    let view = bench.view("commands");
    let find = |name: &str| {
        let all = view["commands"].as_array().expect("a list");
        all.iter().find(|it| it["name"] == name).expect("it was called").clone()
    };
    assert_eq!((&find("SET")["calls"], &find("SET")["errors"]), (&2.into(), &0.into()), "{view}");
    assert_eq!(find("LPUSH")["errors"], 1, "{view}");
    let html = bench.html("commands", ALL).expect("it is shown");
    assert!(html.contains("<code>ACL SETUSER</code>"), "{html}");
    // A second later there are two notes of the totals.
    assert!(find("SET")["second"].is_null());
    for _ in 0..10 {
        bench.ask(&["set", "key", "text"]);
    }
    bench.pass(2_000);
    let view = bench.view("commands");
    let set = view["commands"].as_array().and_then(|all| all.iter().find(|it| it["name"] == "SET"));
    assert_eq!(set.expect("it was called")["second"], 5.0, "{view}");
}

#[test]
fn what_a_user_may_not_run_it_does_not_see() {
    let mut bench = Bench::new();
    for (view, command) in [
        ("keys", "scan"),
        ("clients", "client|list"),
        ("slowlog", "slowlog|get"),
        ("commands", "info"),
        ("monitor", "monitor"),
    ] {
        let link = format!("href=\"#/{view}\"");
        let left_out = format!("-{command}");
        let rules = ["~*", "&*", "+@all", &left_out];
        let shown = bench.html("overview", &rules).expect("it is shown");
        assert!(!shown.contains(&link), "{view}: {shown}");
        let refused = bench.html(view, &rules);
        assert!(matches!(&refused, Err(Trouble::Forbidden(_))), "{view}: {refused:?}");
        assert!(bench.html("overview", ALL).expect("it is shown").contains(&link), "{view}");
    }
    // Who may read may list the keys, and no more than that.
    let shown = bench.html("overview", &["~*", "+@read"]).expect("it is shown");
    assert_eq!(shown.matches("href=\"#/keys\"").count(), 1, "{shown}");
    assert!(!shown.contains("#/clients"), "{shown}");
    let shown = bench.html("overview", &["~*", "+@read", "-scan"]).expect("it is shown");
    assert!(!shown.contains("aria-label=\"Server\""), "{shown}");
    let refused = bench.html("key/0/noted", &["~*", "+@read", "-scan"]);
    assert!(matches!(&refused, Err(Trouble::Forbidden(_))), "{refused:?}");
}

/// A page that shows a view, until it is closed.
fn open(bench: &mut Bench, path: &str) -> ClientId {
    let reader = bench.engine.connect(Peer::inside(), bench.now);
    let user = bench.engine.acl.default_user().clone();
    bench.board.open(&mut bench.engine, &user, reader, path).expect("it is opened");
    reader
}

/// Some time passes, and pages are told what they are to be told.
fn go_on(bench: &mut Bench, ms: u64) {
    bench.pass(ms);
    bench.board.tick(&mut bench.engine);
}

#[test]
fn what_all_ask_for_is_recorded_from_a_click_on() {
    let mut bench = Bench::new();
    bench.engine.name_client(bench.client, HOSTILE.as_bytes());
    assert_eq!(bench.view("monitor")["on"], 0);
    bench.ask(&["set", "unseen", "x"]);
    let reader = open(&mut bench, "monitor?on=1");
    bench.ask(&["set", "key", HOSTILE]);
    bench.ask(&["eval", "return redis.call('get', KEYS[1])", "1", "key"]);
    go_on(&mut bench, 250);
    let view = bench.view("monitor?on=1");
    assert_eq!((&view["count"], &view["going"]), (&3.into(), &true.into()), "{view}");
    let told = |at: usize| {
        let all = ["client", "command", "words"].map(|name| &view["commands"][at][name]);
        all.map(|it| it.as_str().expect("a text").to_owned())
    };
    assert_eq!(told(2), [HOSTILE, "SET", &format!("\"key\" \"{HOSTILE}\"")]);
    assert_eq!(told(0), ["", "GET", "\"key\""]);
    for (filter, fit) in [
        ("client=img", 2),
        ("client=127.0", 2),
        ("command=get", 1),
        ("words=%22key", 3),
        ("words=unseen", 0),
        ("scripts=no", 2),
        ("command=set&words=src", 1),
    ] {
        assert_eq!(bench.view(&format!("monitor?on=1&{filter}"))["fit"], fit, "{filter}");
    }
    let html = bench.html("monitor?on=1&client=%3Cimg", ALL).expect("it is shown");
    assert!(html.contains("&lt;img/src=x&gt;") && !html.contains(HOSTILE), "{html}");
    // It ends by itself, and what was recorded is still shown.
    go_on(&mut bench, 30_000);
    bench.ask(&["set", "late", "x"]);
    go_on(&mut bench, 250);
    let view = bench.view("monitor?on=1");
    assert_eq!(view["going"], false, "{view}");
    assert!(!view.to_string().contains("late"), "{view}");
    bench.engine.disconnect(reader, bench.now);
    go_on(&mut bench, 5_300);
    go_on(&mut bench, 5_300);
    assert_eq!(bench.board.next_tick_us(), None);
}

#[test]
fn a_recording_goes_on_if_asked_to_and_ends_when_nobody_sees_it() {
    let mut bench = Bench::new();
    let clients = bench.view("clients")["count"].clone();
    let monitors = |bench: &Bench| bench.engine.clients.monitors.len();
    let reader = open(&mut bench, "monitor?on=1&keep=yes");
    assert_eq!(monitors(&bench), 1);
    for _ in 0..150 {
        go_on(&mut bench, 250);
    }
    assert_eq!(monitors(&bench), 1);
    // Whoever wants another view of it opens another stream.
    bench.engine.disconnect(reader, bench.now);
    go_on(&mut bench, 1_000);
    let reader = open(&mut bench, "monitor?on=1&keep=yes&command=get");
    assert_eq!(bench.view("monitor?on=1")["going"], true);
    bench.engine.disconnect(reader, bench.now);
    go_on(&mut bench, 2_100);
    assert_eq!(monitors(&bench), 0);
    assert_eq!(bench.view("clients")["count"], clients);

    // So many commands end it, those of one moment that are too many to read count as well.
    let reader = open(&mut bench, "monitor?on=2");
    for _ in 0..9_999 {
        bench.ask(&["ping"]);
    }
    go_on(&mut bench, 250);
    let view = bench.view("monitor?on=2");
    assert_eq!((&view["going"], &view["missed"]), (&true.into(), &7_999.into()), "{view}");
    bench.ask(&["ping"]);
    go_on(&mut bench, 250);
    assert_eq!(bench.view("monitor?on=2")["going"], false);
    bench.engine.disconnect(reader, bench.now);
    open(&mut bench, "monitor?on=3");
    open(&mut bench, "monitor?on=3&stop=yes");
    assert_eq!(monitors(&bench), 0);
}

/// A job as BullMQ keeps it, of which nothing has happened yet.
fn add_job(bench: &mut Bench, queue: &str, id: &str, name: &str, data: &str) {
    bench.ask(&["hset", &format!("bull:{queue}:meta"), META, "10000"]);
    let key = format!("bull:{queue}:{id}");
    bench.ask(&["hset", &key, "name", name, "data", data, "timestamp", "1", "opts", "{}"]);
    bench.ask(&["lpush", &format!("bull:{queue}:wait"), id]);
}

/// The ids that a search has found by the end of a few ticks.
fn search(bench: &mut Bench, query: &str) -> (serde_json::Value, Vec<String>) {
    let view = bench.view(&format!("search?q={query}"));
    let hits = view["hits"].as_array().expect("a list");
    let ids = hits.iter().map(|hit| hit["id"].as_str().expect("a text").to_owned()).collect();
    (view, ids)
}

#[test]
fn jobs_are_found_by_id_and_by_their_text() {
    let mut bench = Bench::new();
    for number in 1..=120 {
        let data = format!("{{\"to\":\"user{number}@example.com\"}}");
        add_job(&mut bench, "mail", &number.to_string(), "welcome", &data);
    }
    add_job(&mut bench, "other", "custom-7", "report", "{\"to\":\"ada@example.com\"}");
    bench.ask(&["hset", "bull:mail:7", "failedReason", "SMTP 550"]);
    bench.ask(&["lrem", "bull:mail:wait", "1", "7"]);
    bench.ask(&["zadd", "bull:mail:failed", "1", "7"]);
    // What is no job is none: a scheduler has no moment at which it was added.
    bench.ask(&["hset", "bull:mail:repeat:user7", "name", "user7", "data", "{}"]);
    bench.ask(&["hset", "elsewhere:1", "data", "user7", "timestamp", "1"]);
    let (view, ids) = search(&mut bench, "7");
    assert_eq!(ids[0], "7", "{view}");
    assert_eq!(view["hits"][0]["state"], "failed", "{view}");
    assert_eq!(view["hits"][0]["address"], "job/MABidWxsOm1haWw/7", "{view}");
    assert_eq!(search(&mut bench, "user7@").1, ["7"]);
    assert_eq!(search(&mut bench, "USER7%40+550").1, ["7"]);
    assert_eq!(
        search(&mut bench, "user7").1,
        ["79", "78", "77", "76", "75", "74", "73", "72", "71", "70", "7"]
    );
    assert_eq!(search(&mut bench, "data.to:ada").1, ["custom-7"]);
    assert_eq!(search(&mut bench, "custom-7").1, ["custom-7"]);
    assert_eq!(search(&mut bench, "state:failed").1, ["7"]);
    assert_eq!(search(&mut bench, "queue:oth*").1, ["custom-7"]);
    assert_eq!(search(&mut bench, "example+queue:other").1, ["custom-7"]);
    assert_eq!(search(&mut bench, "example+library:rq").1, [""; 0]);
    let (view, ids) = search(&mut bench, "welcome");
    assert_eq!((ids.len(), &view["full"]), (50, &true.into()), "{view}");
    let (view, ids) = search(&mut bench, "welcome&most=200");
    assert_eq!((ids.len(), &view["done"]), (120, &true.into()), "{view}");
    assert_eq!((&view["searched"], &view["of"]), (&121.into(), &121.into()), "{view}");
    let (view, _) = search(&mut bench, "mai");
    assert_eq!(view["queues"], serde_json::json!(["mail"]), "{view}");
    assert!(search(&mut bench, "").1.is_empty());
}

#[test]
fn what_changes_while_it_is_searched_is_looked_at_again() {
    let mut bench = Bench::new();
    for number in 1..=10 {
        add_job(&mut bench, "mail", &number.to_string(), "welcome", "{\"to\":\"ada\"}");
    }
    // The second text makes the index.
    assert_eq!(search(&mut bench, "absent").1.len(), 0);
    assert_eq!(search(&mut bench, "ada").1.len(), 10);
    bench.ask(&["del", "bull:mail:3"]);
    bench.ask(&["hset", "bull:mail:4", "data", "{\"to\":\"bob\"}"]);
    add_job(&mut bench, "mail", "11", "welcome", "{\"to\":\"ada\"}");
    let (view, mut ids) = search(&mut bench, "ada");
    ids.sort();
    assert_eq!(ids, ["1", "10", "11", "2", "5", "6", "7", "8", "9"], "{view}");
    assert_eq!(search(&mut bench, "bob").1, ["4"]);
    bench.ask(&["lrem", "bull:mail:wait", "1", "5"]);
    bench.ask(&["zadd", "bull:mail:completed", "1", "5"]);
    bench.ask(&["hset", "bull:mail:5", "finishedOn", "1"]);
    let (view, _) = search(&mut bench, "id:5");
    assert_eq!(view["hits"][0]["state"], "completed", "{view}");
    // A queue that becomes known later, and databases that are exchanged.
    bench.ask(&["hset", "bull:late:1", "name", "x", "data", "\"zebra\"", "timestamp", "1"]);
    assert_eq!(search(&mut bench, "zebra").1.len(), 0);
    bench.ask(&["hset", "bull:late:meta", META, "10000"]);
    assert_eq!(search(&mut bench, "zebr").1, ["1"]);
    bench.ask(&["swapdb", "0", "3"]);
    let (view, _) = search(&mut bench, "bob");
    assert_eq!(view["hits"][0]["address"], "job/MwBidWxsOm1haWw/4", "{view}");
    bench.ask(&["flushall"]);
    assert_eq!(search(&mut bench, "welcome").1.len(), 0);
}

/// So many jobs, of which each says its number.
fn fill(bench: &mut Bench, count: usize) {
    bench.ask(&["hset", "bull:mail:meta", META, "10000"]);
    for number in 1..=count {
        let data = format!("{{\"to\":\"user{number}@example.com\",\"body\":\"hello {number}\"}}");
        add_job(bench, "mail", &number.to_string(), "welcome", &data);
    }
}

#[test]
fn a_search_goes_on_slice_by_slice_and_says_how_far_it_is() {
    let mut bench = Bench::slow(10);
    fill(&mut bench, 2_000);
    while bench.view("overview")["queues"][0]["counts"]["waiting"] != 2_000 {}
    bench.pass(250);
    // Queues are searched first.
    while bench.board.is_searching(&bench.engine) {
        bench.board.search(&bench.engine);
    }
    let (view, _) = search(&mut bench, "user1%40");
    let searched = |view: &serde_json::Value| view["searched"].as_u64().expect("a number");
    // 500 us, and 10 a look.
    let mut before = searched(&view);
    assert!((1..=50).contains(&before) && view["of"] == 2_000, "{view}");
    let mut slices = 0_usize;
    while bench.board.is_searching(&bench.engine) {
        bench.board.search(&bench.engine);
        slices += 1;
        if slices.is_multiple_of(20) {
            let (view, _) = search(&mut bench, "user1%40");
            let now = searched(&view);
            assert!(now - before <= 20 * 16 + 51, "{view}");
            before = now;
        }
    }
    assert!(slices > 80, "{slices}");
    let (view, ids) = search(&mut bench, "user1%40");
    assert_eq!((ids, &view["settled"]), (vec!["1".to_owned()], &true.into()), "{view}");
    // Once somebody else is shown nothing is done for it.
    let _ = search(&mut bench, "user2%40");
    assert!(bench.board.is_searching(&bench.engine));
    bench.pass(2_100);
    assert!(!bench.board.is_searching(&bench.engine));
}

#[test]
fn the_index_comes_with_the_second_text_and_goes_with_the_last_page() {
    let mut bench = Bench::new();
    fill(&mut bench, 1_000);
    let index = |bench: &mut Bench, query: &str| {
        let (view, _) = search(bench, query);
        view["index"].as_u64().expect("a number")
    };
    assert_eq!(index(&mut bench, "state:waiting"), 0);
    assert_eq!(index(&mut bench, "user12"), 0);
    // The same is no second.
    assert_eq!(index(&mut bench, "user12"), 0);
    let size = index(&mut bench, "user123");
    // Two blocks of 512 keys at 64 bytes each, and what a block takes beside.
    assert!((2 * 512 * 64..2 * 512 * 64 + 1_000).contains(&size), "{size}");
    for number in [1, 9, 500, 999] {
        let text = format!("\"user{number}@\"");
        assert_eq!(search(&mut bench, &text.replace('"', "%22")).1, [number.to_string()]);
    }
    // A minute without a search, though a page is open.
    for _ in 0..61 {
        bench.pass(1_000);
        bench.view("overview");
    }
    assert_eq!(index(&mut bench, "user12"), 0);
    assert!(index(&mut bench, "user123") > 0);
    bench.pass(5_100);
    bench.board.tick(&mut bench.engine);
    assert_eq!(bench.board.next_tick_us(), None);
    assert_eq!(index(&mut bench, "user12"), 0);
    // With too little memory there is none, and all is found without.
    bench.ask(&["config", "set", "maxmemory", "1"]);
    assert_eq!(index(&mut bench, "user1234"), 0);
    assert_eq!(search(&mut bench, "user999").1, ["999"]);
}

#[test]
fn a_search_leaves_no_trace_and_what_rests_stays_at_rest() {
    let mut bench = Bench::new();
    fill(&mut bench, 3_000);
    for number in 1..=3_000 {
        let text = format!("{:x}", number as u64 * 0x9e37_79b9_7f4a);
        bench.ask(&["hset", &format!("bull:mail:{number}"), "token", &text.repeat(6)]);
    }
    for _ in 0..12 {
        bench.pass(1_000);
        while bench.engine.has_idle_work() {
            bench.engine.work_while_idle(bench.now);
        }
    }
    let cold = |bench: &Bench| {
        let entries = bench.engine.keyspace.db(0).iter();
        entries.filter(|entry| matches!(entry.value, toril::data::Value::Cold(_))).count()
    };
    assert_eq!(cold(&bench), 3_000);
    let told = |bench: &mut Bench| {
        let mut ask = |words: &[&[u8]]| {
            bench.engine.run(bench.client, Args::new(words), bench.now);
            let outbox = bench.engine.outbox(bench.client).expect("it is connected");
            String::from_utf8_lossy(&outbox.take()).into_owned()
        };
        let stats = ask(&[b"info", b"stats"]);
        let stats: Vec<String> =
            stats.lines().filter(|it| it.starts_with("keyspace_")).map(str::to_owned).collect();
        assert_eq!(stats.len(), 2);
        (stats, ask(&[b"object", b"idletime", b"bull:mail:7"]))
    };
    let before = told(&mut bench);
    for query in ["user7%40", "user77%40", "absent", "hello+2999"] {
        let (view, _) = search(&mut bench, query);
        assert_eq!(view["done"], true, "{view}");
        let found = usize::from(query != "absent");
        assert_eq!(view["hits"].as_array().map(Vec::len), Some(found), "{view}");
    }
    assert_eq!(cold(&bench), 3_000);
    assert_eq!(told(&mut bench), before);
}

#[test]
fn jobs_of_other_libraries_are_found_as_their_keys_tell() {
    let mut bench = Bench::new();
    bench.ask(&["sadd", "rq:queues", "rq:queue:reports"]);
    bench.ask(&["rpush", "rq:queue:reports", "uuid-1"]);
    let job = ["description", "app.report(needle=1)", "origin", "reports", "created_at", "2026"];
    bench.ask(&[&["hset", "rq:job:uuid-1"][..], &job].concat());
    bench.ask(&["hset", "bq:bee:jobs", "1", "{\"data\":{\"n\":\"needle\"},\"options\":{}}"]);
    bench.ask(&["rpush", "bq:bee:waiting", "1"]);
    bench.ask(&["sadd", "_kombu.binding.celery", "celery\u{6}\u{16}\u{6}\u{16}celery"]);
    let body = "W1sibmVlZGxlIl0sIHt9LCB7fV0=";
    let message = format!(
        "{{\"body\":\"{body}\",\"headers\":{{\"id\":\"uuid-2\",\"task\":\"app.add\"}},\
         \"properties\":{{\"delivery_info\":{{\"routing_key\":\"celery\"}}}}}}"
    );
    bench.ask(&["lpush", "celery", &message]);
    let (view, mut ids) = search(&mut bench, "needle");
    ids.sort();
    assert_eq!(ids, ["1", "uuid-1", "uuid-2"], "{view}");
    assert_eq!(search(&mut bench, "needle+library:celery").1, ["uuid-2"]);
    assert_eq!(search(&mut bench, "library:rq+state:queued").1, ["uuid-1"]);
    assert_eq!(search(&mut bench, "library:rq+state:waiting").1, ["uuid-1"]);
    assert_eq!(search(&mut bench, "uuid-1").1, ["uuid-1"]);
    let (view, _) = search(&mut bench, "name:app.add");
    let address = view["hits"][0]["address"].as_str().expect("an address").to_owned();
    assert_eq!(bench.view(&address)["name"], "app.add");
}

#[test]
fn what_is_found_is_shown_as_text() {
    let mut bench = Bench::new();
    add_job(&mut bench, HOSTILE, HOSTILE, HOSTILE, &format!("\"{HOSTILE} {HOSTILE}\""));
    let key = format!("bull:{HOSTILE}:{HOSTILE}");
    bench.ask(&["hset", &key, "failedReason", HOSTILE]);
    for query in ["img/src", "%3Cimg", "id:%3Cimg", "error:img", "img/src%3Dx%3E+%3Cimg", "state:w"]
    {
        let html = bench.html(&format!("search?q={query}"), ALL).expect("it is shown");
        assert!(html.contains("&lt;") && html.contains("data-key=\"hit-"), "{query}: {html}");
        assert!(!html.contains(HOSTILE) && !html.contains("<img"), "{query}: {html}");
    }
}
