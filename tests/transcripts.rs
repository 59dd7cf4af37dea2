//! Every transcript against toril: over TCP and in process, in RESP2 and RESP3.

mod common;

use common::compare::Dialect;
use common::run::{self, Server};
use common::tcp::TcpServer;
use common::transcript::{self, Target};
use std::path::Path;

fn check(server: &mut dyn Server) {
    let report = run::run(server, &transcript::load(&[]));
    println!("{}", report.summary());
    assert!(report.failures.is_empty(), "\n{}\n", report.failures.join("\n\n"));
    assert!(report.passed > 0, "no transcript has run");
}

fn check_over_tcp(dialect: Dialect) {
    let program = Path::new(env!("CARGO_BIN_EXE_toril"));
    check(&mut TcpServer::start(program, Target::Toril, dialect));
}

#[test]
fn over_tcp_in_resp2() {
    check_over_tcp(Dialect::Resp2);
}

#[test]
fn over_tcp_in_resp3() {
    check_over_tcp(Dialect::Resp3);
}
