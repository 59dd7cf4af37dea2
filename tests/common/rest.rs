//! A server whose requests come as JSON over HTTP. What needs a connection of its own is refused
//! there; its client goes over to TCP with it, until its case ends.

use super::compare::Dialect;
use super::http::Http;
use super::reply::Reply;
use super::run::Server;
use super::tcp::{PATIENCE, SILENCE, TcpServer, UNANSWERED};
use super::transcript::{Action, Case, Target};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::Duration;

/// Longer requests are no paths.
const PATH_LEN_MAX: usize = 16 * 1024;

/// Commands that mean their connection or may wait, as Upstash's page lists them; and SHUTDOWN.
const REFUSED: &str = "\
    asking auth blmove blmpop blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client discard exec \
    hello monitor multi psubscribe psync punsubscribe quit readonly readwrite replconf reset \
    select shutdown ssubscribe subscribe sunsubscribe sync unsubscribe unwatch wait waitaof watch";

type Request = Vec<Vec<u8>>;

pub struct RestServer {
    inner: TcpServer,
    clients: BTreeMap<usize, Client>,
    /// Requests that HTTP has answered, refused because they need a connection, and because there
    /// is no such command.
    pub answered: usize,
    pub refused: usize,
    pub unknown: usize,
    /// Cases that are over TCP alone.
    pub kept_away: usize,
    is_kept_away: bool,
}

enum Client {
    Http(Caller),
    /// It was refused something.
    Tcp,
}

struct Caller {
    http: Http,
    /// What was sent in one HTTP request, and is not answered yet.
    sent: VecDeque<Vec<Request>>,
    replies: VecDeque<Reply>,
}

impl RestServer {
    pub fn start(program: &Path, dialect: Dialect) -> Self {
        let inner = TcpServer::start(program, Target::Toril, dialect);
        RestServer {
            inner,
            clients: BTreeMap::new(),
            answered: 0,
            refused: 0,
            unknown: 0,
            kept_away: 0,
            is_kept_away: false,
        }
    }

    fn client(&mut self, client: usize) -> &mut Client {
        let port = self.inner.http_port();
        let is_kept_away = self.is_kept_away;
        self.clients.entry(client).or_insert_with(|| {
            if is_kept_away {
                return Client::Tcp;
            }
            let (sent, replies) = (VecDeque::new(), VecDeque::new());
            Client::Http(Caller { http: Http::connect(port), sent, replies })
        })
    }

    fn is_base64(&self) -> bool {
        self.dialect() == Dialect::Base64
    }

    /// Sends a body of JSON to `/`, or to `/pipeline`; for base64, and where bytes are no UTF-8, a
    /// path for each request, one behind the other.
    fn post(&mut self, client: usize, requests: &[Request]) {
        let is_base64 = self.is_base64();
        let headers: &[_] = if is_base64 { &[("upstash-encoding", "base64")] } else { &[] };
        let bodies: Option<Vec<String>> = requests.iter().map(json).collect();
        let bodies = bodies.filter(|_| !is_base64 || !requests.iter().all(is_path));
        let Client::Http(caller) = self.client(client) else { unreachable!("it is over HTTP") };
        let Some(bodies) = bodies else {
            for request in requests {
                caller.http.begin("GET", &path(request), headers, b"");
                caller.sent.push_back(vec![request.clone()]);
            }
            return;
        };
        match &*bodies {
            [body] => caller.http.begin("POST", "/", headers, body.as_bytes()),
            bodies => {
                let body = format!("[{}]", bodies.join(","));
                caller.http.begin("POST", "/pipeline", headers, body.as_bytes());
            }
        }
        caller.sent.push_back(requests.to_vec());
    }

    /// Takes in the answer to what was sent first.
    fn receive_within(&mut self, client: usize, wait: Duration) -> Reply {
        let is_base64 = self.is_base64();
        let Client::Http(caller) = self.client(client) else {
            unreachable!("it is over HTTP");
        };
        if let Some(reply) = caller.replies.pop_front() {
            return reply;
        }
        if caller.sent.is_empty() || !caller.http.hears_within(wait) {
            return Reply::Nothing;
        }
        let Some(answer) = caller.http.receive() else {
            self.clients.remove(&client);
            return Reply::Closed;
        };
        let requests = caller.sent.pop_front().expect("something was sent");
        let body = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        let replies: Vec<Reply> = match (&body, requests.len()) {
            (Value::Array(items), 2..) => {
                assert_eq!((answer.status, items.len()), (200, requests.len()));
                items.iter().map(|item| unwrapped(item, is_base64)).collect()
            }
            (item, _) => {
                let reply = unwrapped(item, is_base64);
                let status = if matches!(reply, Reply::Error(_)) { 400 } else { 200 };
                assert_eq!(answer.status, status, "{}", answer.text());
                vec![reply]
            }
        };
        for (request, reply) in requests.iter().zip(replies) {
            let reply = match self.is_unknown(request, &reply) {
                true => self.ask_inner(client, request),
                false => reply,
            };
            let Client::Http(caller) = self.client(client) else { unreachable!("still") };
            caller.replies.push_back(reply);
        }
        self.receive_within(client, wait)
    }

    /// Whether the answer says, in Upstash's words, that there is no such command.
    fn is_unknown(&mut self, request: &Request, reply: &Reply) -> bool {
        let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let start: String = name.chars().take(128).collect();
        let start = format!("ERR Command is not available: '{start}'. See docs/http.md");
        let is_unknown = matches!(reply, Reply::Error(text) if text.starts_with(start.as_bytes()));
        self.unknown += usize::from(is_unknown);
        self.answered += usize::from(!is_unknown);
        is_unknown
    }

    fn ask_inner(&mut self, client: usize, request: &Request) -> Reply {
        self.inner.send(client, std::slice::from_ref(request));
        self.inner.receive(client, true)
    }

    /// Asks over HTTP what must be refused there.
    fn check_refusal(&mut self, request: &Request) {
        let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
        let as_utf8 = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned().into_bytes();
        let body = json(&request.iter().map(as_utf8).collect()).expect("it is UTF-8 by now");
        let answer = Http::connect(self.inner.http_port()).post("/", &body);
        let text = serde_json::json!(format!(
            "ERR Command \"{name}\" is not allowed in REST or it has a special context path"
        ));
        assert_eq!(answer, (400, format!("{{\"error\":{text}}}")));
        self.refused += 1;
    }
}

/// Whether a case would see what this runner does beside it, or is about who may connect.
fn sees_connections(case: &Case) -> bool {
    const WORDS: &[&str] = &["monitor", "errorstats", "requirepass", "default"];
    case.steps.iter().any(|step| match &step.action {
        Action::Send { words, .. } => {
            words.iter().any(|word| WORDS.iter().any(|text| word.is(text)))
        }
        Action::Advance(_) => false,
    })
}

fn is_refused(request: &Request) -> bool {
    let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
    let reads_streams = is(&request[0], "xread") || is(&request[0], "xreadgroup");
    REFUSED.split(' ').any(|name| is(&request[0], name))
        || (reads_streams
            && request.iter().take_while(|word| !is(word, "streams")).any(|word| is(word, "block")))
}

/// A request as a JSON array, which holds no bytes that are no UTF-8.
fn json(request: &Request) -> Option<String> {
    let words = request.iter().map(|word| std::str::from_utf8(word).ok().map(Value::from));
    Some(Value::Array(words.collect::<Option<_>>()?).to_string())
}

/// Whether the request can be a path. `/get/` is `/get`: an empty argument alone is cut off.
fn is_path(request: &Request) -> bool {
    let len: usize = request.iter().map(Vec::len).sum();
    !request[0].is_empty() && request.get(1) != Some(&Vec::new()) && len < PATH_LEN_MAX
}

fn path(request: &Request) -> String {
    request.iter().map(|word| format!("/{}", percent_encode(word, NON_ALPHANUMERIC))).collect()
}

/// The reply in its envelope.
fn unwrapped(item: &Value, is_base64: bool) -> Reply {
    match (item.get("result"), item.get("error").and_then(Value::as_str)) {
        (Some(result), None) if result == "OK" => Reply::Bulk(b"OK".to_vec()),
        (Some(result), None) => match reply(result, is_base64) {
            Reply::Error(text) => panic!("{} is no base64", text.escape_ascii()),
            reply => reply,
        },
        (None, Some(error)) => Reply::Error(error.into()),
        _ => panic!("{item} is no envelope"),
    }
}

fn reply(value: &Value, is_base64: bool) -> Reply {
    match value {
        Value::Null => Reply::Null,
        Value::Number(number) => Reply::Integer(number.as_i64().expect("numbers are integers")),
        // Inside of arrays errors are strings, but never in base64.
        Value::String(text) if is_base64 => match BASE64.decode(text) {
            Ok(bytes) => Reply::Bulk(bytes),
            Err(_) => Reply::Error(text.clone().into_bytes()),
        },
        Value::String(text) => Reply::Bulk(text.clone().into_bytes()),
        Value::Array(items) => Reply::Array(items.iter().map(|it| reply(it, is_base64)).collect()),
        Value::Bool(_) | Value::Object(_) => panic!("clients take no {value}"),
    }
}

impl Server for RestServer {
    fn target(&self) -> Target {
        self.inner.target()
    }

    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    fn begin(&mut self, case: &Case) {
        self.clients.clear();
        self.is_kept_away = sees_connections(case);
        self.kept_away += usize::from(self.is_kept_away);
        self.inner.begin(case);
    }

    fn send(&mut self, client: usize, requests: &[Request]) {
        let refused: Vec<&Request> = requests.iter().filter(|it| is_refused(it)).collect();
        if !refused.is_empty() && !self.is_kept_away {
            refused.into_iter().for_each(|request| self.check_refusal(request));
            self.clients.insert(client, Client::Tcp);
        }
        match self.client(client) {
            Client::Http(_) => self.post(client, requests),
            Client::Tcp => self.inner.send(client, requests),
        }
    }

    fn settle(&mut self, client: usize) {
        match self.client(client) {
            Client::Http(caller) => drop(caller.http.hears_within(UNANSWERED)),
            Client::Tcp => self.inner.settle(client),
        }
    }

    fn receive(&mut self, client: usize, is_wanted: bool) -> Reply {
        match self.client(client) {
            Client::Http(_) => {
                self.receive_within(client, if is_wanted { PATIENCE } else { SILENCE })
            }
            Client::Tcp => self.inner.receive(client, is_wanted),
        }
    }

    fn leftover(&mut self) -> Option<(usize, Reply)> {
        let callers = self.clients.iter_mut().filter_map(|(&client, it)| match it {
            Client::Http(caller) => Some((client, caller)),
            Client::Tcp => None,
        });
        let at_once = Duration::from_micros(1);
        let mut heard = callers.filter_map(|(client, caller)| {
            let has_more = !caller.replies.is_empty() || caller.http.hears_within(at_once);
            has_more.then_some(client)
        });
        match heard.next() {
            Some(client) => Some((client, self.receive(client, false))),
            None => self.inner.leftover(),
        }
    }

    fn advance(&mut self, span: Duration) -> bool {
        self.inner.advance(span)
    }
}
