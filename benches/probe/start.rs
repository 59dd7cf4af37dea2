//! How long a server takes from exec to its first PONG, and what it occupies then.
//!
//! The servers that are compared are started by small scripts that set a path of libraries. Their
//! shell does not count: the time begins when the process runs what a running one of its kind does.

use crate::server::{Client, Server};
use crate::{quantile, report};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

const START_TIME_MAX: Duration = Duration::from_secs(10);
const SETTLING_TIME: Duration = Duration::from_secs(1);

pub fn measure(model: &Server, launcher: &str, count: usize) -> io::Result<()> {
    let program = fs::read_link(format!("/proc/{}/exe", model.pid))?;
    let mut waits = Vec::new();
    for round in 1..=count {
        let address = free_address()?;
        let port = address.port().to_string();
        let mut command = Command::new(launcher);
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.stdout(Stdio::null()).current_dir(std::env::temp_dir());

        let process = Ended(command.spawn()?);
        let server = Server { address, pid: process.0.id() };
        let started = moment_of_exec(&server, &program)?;
        first_pong(&server, started)?;
        waits.push(started.elapsed().as_secs_f64() * 1e3);
        if round == count {
            thread::sleep(SETTLING_TIME);
            report("residentBytes", server.resident_bytes()? as f64);
        }
    }
    waits.sort_unstable_by(f64::total_cmp);
    report("firstPongMs", quantile(&waits, 0.5));
    Ok(())
}

/// `spawn` returns once the launcher has been executed, which may be the program itself.
fn moment_of_exec(server: &Server, program: &Path) -> io::Result<Instant> {
    let spawned = Instant::now();
    while fs::read_link(format!("/proc/{}/exe", server.pid))? != program {
        if spawned.elapsed() > START_TIME_MAX {
            return Err(io::Error::other(format!("{} is never executed", program.display())));
        }
    }
    Ok(Instant::now())
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Tries without a pause: a refused connection costs some 20 µs, and a second core is there.
fn first_pong(server: &Server, started: Instant) -> io::Result<()> {
    loop {
        match Client::connect(server.address) {
            Ok(mut client) => return client.ping(),
            Err(error) if started.elapsed() > START_TIME_MAX => return Err(error),
            Err(_) => {}
        }
    }
}

/// A process that ends with this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself, which the missing PONG has told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
