//! What connections cost that do nothing, what they cost as workers that wait for a job, and
//! whether a push costs more when many wait.

use crate::report;
use crate::server::{Client, Server, request, write_request};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Workers wait on this many queues, as those of a machine with many services do.
const QUEUES: usize = 100;
/// Longer than the measurement takes.
const WAIT_S: &str = "600";
/// What came with the connections has settled before the CPU is watched.
const SETTLING_TIME: Duration = Duration::from_secs(1);
const WATCH_TIME: Duration = Duration::from_secs(3);
/// Fewer pushes must do for a server that is slow at them: some look at every worker each time.
const PUSH_TIME_MAX: Duration = Duration::from_secs(10);

pub fn measure(server: &Server, count: usize, workers: usize, pushes: usize) -> io::Result<()> {
    rustix::process::setrlimit(rustix::process::Resource::Nofile, file_limit(count.max(workers))?)?;
    // The first ones pay for what all share.
    let mut first = connect(server, 10)?;
    let before = server.resident_bytes()?;
    let bytes_each = || -> io::Result<f64> {
        Ok((server.resident_bytes()?.saturating_sub(before)) as f64 / count as f64)
    };

    let mut clients = connect(server, count)?;
    report("idleCpuPercent", cpu_percent(server)?);
    report("idleBytes", bytes_each()?);

    for (index, client) in clients.iter_mut().enumerate() {
        client.send(&request(&["BZPOPMIN", &format!("queue:{}", index % QUEUES), WAIT_S]))?;
    }
    first[0].ping()?;
    report("parkedCpuPercent", cpu_percent(server)?);
    report("parkedBytes", bytes_each()?);
    drop(clients);

    for (name, workers) in [("pushTo1Us", 1), ("pushToManyUs", workers)] {
        report(name, push_us(server, workers, pushes)?);
    }
    Ok(())
}

/// Standard streams and a few connections come on top.
fn file_limit(connections: usize) -> io::Result<rustix::process::Rlimit> {
    let wanted = connections as u64 + 100;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    match limit.maximum {
        Some(maximum) if maximum < wanted => {
            Err(io::Error::other(format!("{wanted} open files are not allowed: ulimit -Hn")))
        }
        maximum => Ok(rustix::process::Rlimit { current: Some(wanted), maximum }),
    }
}

/// Connections that have each asked and been answered once.
fn connect(server: &Server, count: usize) -> io::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = server.connect()?;
        client.ping()?;
        clients.push(client);
    }
    Ok(clients)
}

fn cpu_percent(server: &Server) -> io::Result<f64> {
    thread::sleep(SETTLING_TIME);
    let (share, ()) = server.busy_share(|| {
        thread::sleep(WATCH_TIME);
        Ok(())
    })?;
    Ok(share * 100.0)
}

/// The server's CPU time for a push, its delivery to the worker that has waited longest, and that
/// worker's next request.
fn push_us(server: &Server, workers: usize, pushes: usize) -> io::Result<f64> {
    let wait = request(&["BZPOPMIN", "jobs", WAIT_S]);
    let push = request(&["ZADD", "jobs", "0", "job"]);
    let (mut delivery, mut producer) = (Vec::new(), server.connect()?);
    write_request(&mut delivery, &["jobs", "job", "0"]);
    let mut waiting = connect(server, workers)?;
    for worker in &mut waiting {
        worker.send(&wait)?;
        // So that they wait in this order.
        producer.ping()?;
    }
    let (end, before) = (Instant::now() + PUSH_TIME_MAX, server.cpu_time()?);
    let mut pushed = 0;
    while pushed < pushes && Instant::now() < end {
        producer.ask(&push, b":1\r\n")?;
        let worker = &mut waiting[pushed % workers];
        worker.expect(&delivery)?;
        worker.send(&wait)?;
        pushed += 1;
    }
    producer.ping()?;
    Ok((server.cpu_time()? - before).as_secs_f64() * 1e6 / pushed as f64)
}
