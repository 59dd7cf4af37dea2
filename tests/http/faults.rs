//! Connections that are cut anywhere, while counters are raised.

use super::common::http::{Http, request};
use super::common::program::{Running, ask_all, until};
use socket2::SockRef;
use std::io::Read;
use std::time::Duration;
use toril::util::rng::Rng;

const COUNTERS: usize = 5;
const CONNECTIONS: usize = 2000;
/// No answer is shorter.
const ANSWER_BYTES_MIN: usize = 120;

/// What is known of a counter: requests that were answered raise both, those that were sent whole
/// the second alone.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    answered: usize,
    sent: usize,
}

/// A request that raises a counter, and by how much.
fn raise(counter: usize, rng: &mut Rng) -> (Vec<u8>, usize) {
    let one = format!(r#"["incr","counter:{counter}"]"#);
    let some = 1 + rng.below(4);
    let all = format!("[{}]", vec![one.as_str(); some].join(","));
    let bearer = [("authorization", "Bearer token-of-the-tests")];
    let post = |target: &str, body: &str| request("POST", target, &bearer, body.as_bytes());
    match rng.below(4) {
        0 => (post("/", &one), 1),
        1 => (request("GET", &format!("/incr/counter:{counter}"), &bearer, b""), 1),
        2 => (post("/pipeline", &all), some),
        _ => (post("/multi-exec", &all), some),
    }
}

/// Ends a connection by FIN, or by RST.
fn cut(http: Http, rng: &mut Rng) {
    if rng.below(2) == 0 {
        SockRef::from(&http.stream).set_linger(Some(Duration::ZERO)).expect("it is a socket");
    }
}

#[test]
fn what_is_answered_is_counted_and_nothing_twice() {
    let seed = std::env::var("TORIL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(9);
    println!("TORIL_SEED={seed}");
    let mut rng = Rng::from_seed(seed);
    let server = Running::with_http(&[]);
    let mut known = [Known::default(); COUNTERS];
    for _ in 0..CONNECTIONS {
        let mut http = server.http();
        // Some whole exchanges, then one that is cut.
        for _ in 0..rng.below(3) {
            let counter = rng.below(COUNTERS);
            let (bytes, by) = raise(counter, &mut rng);
            http.send(&bytes);
            let answer = http.receive().expect("it is answered");
            assert_eq!(answer.status, 200);
            known[counter].sent += by;
            known[counter].answered += by;
        }
        let counter = rng.below(COUNTERS);
        let (bytes, by) = raise(counter, &mut rng);
        if rng.below(2) == 0 {
            // Less than the whole request counts for nothing.
            http.send(&bytes[..rng.below(bytes.len())]);
        } else {
            known[counter].sent += by;
            http.send(&bytes);
            let mut some = vec![0; rng.below(ANSWER_BYTES_MIN)];
            let _ = http.stream.read_exact(&mut some);
        }
        cut(http, &mut rng);
    }
    until("the end of all connections", || {
        ask_all(server.port, "INFO clients").contains("connected_clients:1\r")
    });
    let mut http = server.http();
    let mut unanswered = 0;
    for (counter, Known { answered, sent }) in known.into_iter().enumerate() {
        let (_, body) = http.post("/", &format!(r#"["incrby","counter:{counter}",0]"#));
        let count = body.strip_prefix("{\"result\":").and_then(|rest| rest.strip_suffix('}'));
        let count: usize = count.and_then(|count| count.parse().ok()).expect("it is a number");
        assert!((answered..=sent).contains(&count), "{answered} <= {count} <= {sent}");
        unanswered += count - answered;
    }
    assert!(unanswered > 0, "no reply was cut");
}
