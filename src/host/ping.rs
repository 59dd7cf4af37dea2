//! `toril ping`: whether a server answers, for health checks where there is no shell.

use super::session::Session;
use crate::remote::Response;
use std::time::Duration;
use std::{env, io};

/// Health checks want to know soon.
const PATIENCE: Duration = Duration::from_secs(3);

/// What `toril ping --help` prints.
pub const USAGE: &str = "\
Usage: toril ping [-h host] [-p port] [-a password]

Asks the server at this host (127.0.0.1) and port (6379) whether it is there. Says PONG and ends
with status 0 if it is, and with status 1 otherwise. The password may stand in REDISCLI_AUTH.";

/// `PONG`, or why there is none.
pub fn run(args: &[String]) -> Result<String, String> {
    let (mut host, mut port, mut password) =
        ("127.0.0.1".to_owned(), 6379, env::var("REDISCLI_AUTH").ok());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} needs a value"));
        match arg.as_str() {
            "--help" => return Ok(USAGE.into()),
            "-h" => host = value()?.clone(),
            "-p" => {
                let text = value()?;
                port = text.parse().map_err(|_| format!("{text} is no port"))?;
            }
            "-a" => password = Some(value()?.clone()),
            _ => return Err(format!("there is no {arg}\n\n{USAGE}")),
        }
    }
    match ask(&host, port, password.as_deref()) {
        Ok(Response::Text(text)) if text == b"PONG" => Ok("PONG".into()),
        Ok(Response::Error(text)) => Err(format!("{host}:{port}: {text}")),
        Ok(other) => Err(format!("{host}:{port}: it answers {other:?}")),
        Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {
            Err(format!("{host}:{port}: no answer within {} s", PATIENCE.as_secs()))
        }
        Err(problem) => Err(format!("{host}:{port}: {problem}")),
    }
}

fn ask(host: &str, port: u16, password: Option<&str>) -> io::Result<Response> {
    let mut session = Session::open(host, port, PATIENCE)?;
    if let Some(password) = password
        && let answer @ Response::Error(_) = session.ask(&["AUTH", password])?
    {
        return Ok(answer);
    }
    session.ask(&["PING"])
}
