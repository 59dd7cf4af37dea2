//! What lies beside Upstash's paths, and which pages may ask there.

use super::common::http::request;
use super::common::program::{Running, ask_all};
use super::error_in;

const ORIGIN: (&str, &str) = ("origin", "http://evil.example");

#[test]
fn where_toril_has_nothing_no_page_of_another_origin_reads_that() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    for path in ["/_toril", "/_toril/", "/_toril/nothing", "/_toril/nothing/x?y=1"] {
        for method in ["GET", "POST", "DELETE"] {
            let answer = http.ask(method, path, &[ORIGIN], b"[\"set\",\"k\",\"v\"]");
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(error_in(answer.text()), "ERR there is nothing at this path");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
            assert_eq!(answer.header("upstash-sync-token"), None, "{method} {path}");
        }
        let asked = [
            ORIGIN,
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,x-toril"),
        ];
        let answer = http.ask("OPTIONS", path, &asked, b"");
        assert_eq!((answer.status, answer.text()), (403, ""), "{path}");
        let told = |name: &str| answer.header(&format!("access-control-{name}")).is_some();
        assert!(!["allow-origin", "allow-headers", "allow-methods"].into_iter().any(told));
    }
    // Nothing was run, and the connection serves on.
    assert_eq!(http.post("/", r#"["exists","k"]"#), (200, r#"{"result":0}"#.into()));
    assert!(!ask_all(server.port, "INFO commandstats").contains("cmdstat_set:"));
}

#[test]
fn a_name_that_only_looks_like_it_is_a_command() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    for path in ["/_TORIL/x", "/%5Ftoril/x", "/_torilx"] {
        let answer = http.ask("GET", path, &[ORIGIN], b"");
        assert_eq!(answer.status, 400, "{path}");
        assert!(error_in(answer.text()).starts_with("ERR Command is not available: '_TORIL"));
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN.1));
    }
}

#[test]
fn a_second_host_is_refused_without_a_word_to_other_origins() {
    let server = Running::with_http(&[]);
    let mut http = server.http();
    let answer = http.ask("GET", "/_toril/session", &[ORIGIN, ("host", "b")], b"");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn a_test_asks_what_became_of_a_job() {
    let server = Running::with_http(&["--fixture", "yes"]);
    let mut http = server.http();
    let body = br#"{"queue":"mail","state":"completed","within":0}"#;
    let answer = http.ask("POST", "/_toril/expect", &[ORIGIN], body);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let text = answer.text();
    assert!(text.starts_with(r#"{"count":0,"ids":[],"met":false,"why":"expected 1 "#), "{text}");

    let answer = http.ask("POST", "/_toril/expect", &[], b"{}");
    assert_eq!(answer.status, 400);
    assert_eq!(error_in(answer.text()), "ERR an expectation names its queue");

    http.send(&request("POST", "/_toril/expect", &[("authorization", "Bearer wrong")], body));
    assert_eq!(http.receive().expect("it is told").status, 401);

    // Waiting ends with what is waited for.
    let add = r#"["xadd","bull:mail:events","*","event","completed","jobId","7"]"#;
    let mut other = server.http();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let body = br#"{"queue":"mail","state":"completed"}"#;
            http.ask("POST", "/_toril/expect", &[], body).text().to_owned()
        });
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(other.post("/", add).0, 200);
        let told = asked.join().expect("it is answered");
        assert_eq!(told, r#"{"count":1,"ids":["7"],"met":true}"#);
    });
}
