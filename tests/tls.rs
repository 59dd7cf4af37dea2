//! TLS to a server that is followed: who is believed, and what is said of who is not.

mod common;

use common::certificates::{Certificates, free_port};
use common::peer::Peer;
use common::program::{Folder, Running, ask, ask_all, until};
use common::reply::Reply;
use common::tcp::oracle;
use std::process::Command;

/// Debian's Redis, or PyPI's 7.4, that wants a certificate of each client; and its port of TLS.
fn leader(name: &'static str, files: &Certificates, folder: &Folder) -> Option<(Peer, u16)> {
    let port = free_port();
    let served = files.server_options(port);
    let options = served.iter().map(String::as_str).chain(["--repl-diskless-sync-delay", "0"]);
    let options: Vec<&str> = options.collect();
    let peer = Peer::start_with(name, &oracle(name)?, &folder.0, &options);
    Some((peer, port))
}

/// A follower with these settings of TLS.
fn follower(host: &str, port: u16, options: &[[&str; 2]]) -> Running {
    let primary = format!("{host} {port}");
    let base = [["--tls-replication", "yes"], ["--replicaof", &primary], ["--save", ""]];
    let debug = ["--enable-debug-command", "yes"];
    Running::start(&[&base, &[debug][..], options].concat().concat())
}

fn check_followed(name: &'static str) {
    let (files, folder) = (Certificates::new(&format!("tls-{name}")), Folder::new(name));
    let Some((mut peer, port)) = leader(name, &files, &folder) else { return };
    peer.say("DEBUG POPULATE 20000 p 100");
    let replica = follower(
        "127.0.0.1",
        port,
        &[
            ["--tls-ca-cert-file", &files.path("ca.pem")],
            ["--tls-client-cert-file", &files.path("client.pem")],
            ["--tls-client-key-file", &files.path("client.key")],
        ],
    );
    let is_up = || ask_all(replica.port, "INFO replication").contains("master_link_status:up");
    until("the link is up", is_up);
    peer.say("SET later 1");
    until("all has come", || ask(replica.port, "DBSIZE") == ":20001");
    assert_eq!(ask(replica.port, "DEBUG DIGEST"), ask(peer.port(), "DEBUG DIGEST"));
}

#[test]
fn a_server_is_followed_over_tls() {
    check_followed("redis-7.0");
    check_followed("redis-7.4");
}

/// What the log says of a link that does not come about.
fn check_refused(host: &str, port: u16, options: &[[&str; 2]], expect: &str) {
    let replica = follower(host, port, options);
    until("the link was given up", || {
        ask_all(replica.port, "INFO replication").contains("master_link_status:down")
    });
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let log = replica.stop();
    assert!(log.contains(expect), "{expect}: {log}");
}

#[test]
fn who_is_not_believed_is_not_followed() {
    let (files, folder) = (Certificates::new("tls-refused"), Folder::new("tls-refuses"));
    let Some((_peer, port)) = leader("redis-7.4", &files, &folder) else { return };
    let (ca, certificate, key) =
        (files.path("ca.pem"), files.path("client.pem"), files.path("client.key"));
    let believed = ["--tls-ca-cert-file", &ca];
    let shown = [["--tls-client-cert-file", &certificate], ["--tls-client-key-file", &key]];
    // Nobody whom the system knows vouches for it.
    check_refused("127.0.0.1", port, &shown, "TLS: ");
    check_refused(
        "localhost",
        port,
        &[[believed].as_slice(), &shown].concat(),
        "certificate not valid for name \"localhost\"",
    );
    // It wants to know who we are.
    check_refused("127.0.0.1", port, &[believed], "has ended: ");
    let missing = files.path("nothing.pem");
    let text = format!("tls-ca-cert-file {missing}: ");
    check_refused("127.0.0.1", port, &[["--tls-ca-cert-file", &missing]], &text);
    let text = format!("tls-ca-cert-file {key}: it has no certificate in PEM");
    check_refused("127.0.0.1", port, &[["--tls-ca-cert-file", &key]], &text);
    // A server without TLS waits for the end of what makes no sense to it.
    let plain = Running::start(&["--save", ""]);
    check_refused("127.0.0.1", plain.port, &[believed, ["--repl-timeout", "1"]], "timed out");
}

#[test]
fn all_moves_over_tls() {
    let (files, folder) = (Certificates::new("tls-moves"), Folder::new("tls-moved"));
    let Some((target, port)) = leader("redis-7.4", &files, &folder) else { return };
    let source = Running::start(&["--save", "", "--enable-debug-command", "yes"]);
    ask(source.port, "DEBUG POPULATE 2000 p 100");
    let hand_over = |options: &[[&str; 2]]| {
        let from = format!("redis://127.0.0.1:{}", source.port);
        let to = format!("rediss://127.0.0.1:{port}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
        command.args(["hand-over", "--from", &from]).args(options.concat()).arg(&to);
        let output = command.output().expect("the program starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("it is UTF-8"))
    };
    let (status, said) = hand_over(&[]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("TLS: "), "{said}");
    let (status, said) = hand_over(&[
        ["--tls-ca-cert-file", &files.path("ca.pem")],
        ["--tls-client-cert-file", &files.path("client.pem")],
        ["--tls-client-key-file", &files.path("client.key")],
    ]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(ask(source.port, "DEBUG DIGEST"), ask(target.port(), "DEBUG DIGEST"));
}

/// What is said where connections are to be carried over to who wants a certificate and a login.
fn forward_over_tls(from: u16, to: u16, settings: &[[&str; 2]]) -> (String, Option<i32>) {
    let from = format!("redis://127.0.0.1:{from}");
    let to = format!("rediss://mover:pa%3Ass@127.0.0.1:{to}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_toril"));
    command.args(["hand-over", "--from", &from, "--forward", "1m"]).args(settings.concat());
    let done = command.arg(&to).output().expect("it runs");
    (String::from_utf8_lossy(&done.stderr).into_owned(), done.status.code())
}

/// The old server carries connections over by its own settings, so that it tries them before.
#[test]
fn who_does_not_believe_the_new_server_does_not_hand_over() {
    let (files, folder) = (Certificates::new("tls-tried"), Folder::new("tls-tries"));
    let Some((mut peer, port)) = leader("redis-7.4", &files, &folder) else { return };
    peer.say("ACL SETUSER mover on >pa:ss ~* &* +@all");
    let [own, cert, key] = ["ca.pem", "client.pem", "client.key"].map(|name| files.path(name));
    let settings = [
        ["--tls-ca-cert-file", &*own],
        ["--tls-client-cert-file", &*cert],
        ["--tls-client-key-file", &*key],
    ];
    let source = Running::start(&["--save", ""]);
    let from = source.port;
    let refused = ask(from, "CONFIG SET tls-ca-cert-file /no/such.pem");
    let expect = "Unable to update TLS configuration. Check server logs.";
    assert!(refused.contains(expect), "{refused}");
    // Another authority vouches for nobody there.
    let others = Certificates::new("tls-others");
    let other = others.path("ca.pem");
    ask(from, &format!("CONFIG SET tls-client-cert-file {cert} tls-client-key-file {key}"));
    assert_eq!(ask(from, &format!("CONFIG SET tls-ca-cert-file {other}")), "+OK");
    ask(from, "SET k v");
    let (said, status) = forward_over_tls(from, port, &settings);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("does not reach the target: ") && said.contains("TLS: "), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    assert_eq!(ask(from, "SET k v"), "+OK");
    assert_eq!(peer.say("DBSIZE"), Reply::Integer(0));
}

/// A managed Redis wants TLS and a password, of which clients of a local server know nothing.
#[test]
fn connections_are_carried_over_to_who_wants_tls_and_a_login() {
    let (files, folder) = (Certificates::new("tls-carried"), Folder::new("tls-carries"));
    let Some((mut peer, port)) = leader("redis-7.4", &files, &folder) else { return };
    peer.say("ACL SETUSER mover on >pa:ss ~* &* +@all");
    let settings = [
        ["--tls-ca-cert-file", &*files.path("ca.pem")],
        ["--tls-client-cert-file", &*files.path("client.pem")],
        ["--tls-client-key-file", &*files.path("client.key")],
    ];
    let hand_over = |from: u16| forward_over_tls(from, port, &settings);
    let options = ["--save", "", "--slowlog-log-slower-than", "0", "--slowlog-max-len", "9999"];
    let source = Running::with_http(&options);
    let from = source.port;
    // By the old server's own settings nobody would be believed.
    let (said, status) = hand_over(from);
    assert_eq!(status, Some(1), "{said}");
    let wanted = "connects to the target by its own settings: it wants CONFIG SET tls-ca-cert-file";
    assert!(said.contains(wanted), "{said}");
    assert!(said.contains("nothing was written"), "{said}");
    for [option, file] in settings {
        let setting = option.trim_start_matches("--");
        assert_eq!(ask(from, &format!("CONFIG SET {setting} {file}")), "+OK");
    }
    ask(from, "SET k v");
    let mut open = Peer::connect("toril", from);
    open.say("CLIENT SETNAME me");
    let mut waits = Peer::connect("toril", from);
    let waiting = std::thread::spawn(move || waits.say("BLPOP list 0"));
    let (said, status) = hand_over(from);
    assert_eq!(status, Some(0), "{said}");
    // The password of the other server stands nowhere here.
    assert!(!said.contains("pa:ss"), "{said}");
    let (_, log) = source.http().post("/", r#"["SLOWLOG", "GET", "-1"]"#);
    assert!(log.contains("DONE") && log.contains("(redacted)") && !log.contains("pa:ss"), "{log}");
    assert_eq!(open.say("GET k"), Reply::Bulk("v".into()));
    assert_eq!(open.say("ACL WHOAMI"), Reply::Bulk("mover".into()));
    assert_eq!(open.say("CLIENT GETNAME"), Reply::Bulk("me".into()));
    assert_eq!(ask(from, "RPUSH list x"), ":1");
    let got = waiting.join().expect("it is answered");
    assert_eq!(got, Reply::Array(vec![Reply::Bulk("list".into()), Reply::Bulk("x".into())]));
    assert!(ask_all(from, "ACL WHOAMI").contains("mover"));
    // The first has what TLS may keep back until it is flushed.
    let large = "x".repeat(3_000_000);
    assert_eq!(open.say(&format!("SET large {large}")), Reply::Simple("OK".into()));
    assert_eq!(open.say("GET large"), Reply::Bulk(large.into()));
}

/// Whether a server can be reached, and who may log in there, is asked of the one that is to carry
/// connections over: a wrong password, and nobody who listens.
#[test]
fn who_hands_over_tries_the_way_before() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folder = Folder::new("tries");
    let mut target = Peer::start_in("redis-7.4", &program, &folder.0);
    target.say("ACL SETUSER mover on >secret ~* &* +@all");
    let source = Running::start(&["--save", ""]);
    let port = target.port();
    let reach = |rest: &str| ask(source.port, &format!("TORIL HANDOVER REACH 127.0.0.1 {rest}"));
    assert_eq!(reach(&format!("{port}")), "+OK");
    assert_eq!(reach(&format!("{port} AUTH mover secret")), "+OK");
    let refused = reach(&format!("{port} AUTH mover wrong"));
    assert!(refused.starts_with("-ERR ") && refused.contains("WRONGPASS"), "{refused}");
    let refused = reach(&free_port().to_string());
    assert!(refused.starts_with("-ERR ") && refused.contains("refused"), "{refused}");
    assert!(reach(&format!("{port} TLS")).starts_with("-ERR "));
}
