//! What Node is too slow or too coarse to measure, for benches/run: lateness of time-outs, many
//! connections, stalls, the start. Clients are plain threads with blocking sockets, since a
//! runtime of their own would be late as well.
//!
//! ```text
//! cargo bench --bench probe -- PART ADDRESS@PID NUMBER...
//! ```
//!
//! measures the server at ADDRESS, whose process is PID, and prints a line `NAME VALUE` for each
//! figure. Two parts are no measurements but company for those of other programs: `load` keeps a
//! server busy and `fixed` stands in for one, both until their standard input ends.

mod connections;
mod fixed;
mod load;
mod server;
mod stalls;
mod start;
mod timeouts;
mod timer;

use std::io;

const USAGE: &str = "PART is one of:
  timeouts    ADDRESS@PID COUNT                 lateness of COUNT BZPOPMINs, idle and busy
  floor       COUNT                             the same of a bare timer behind a socket
  connections ADDRESS@PID COUNT WORKERS PUSHES  memory and CPU of connections; pushes to WORKERS
  stalls      ADDRESS@PID KEYS ELEMENTS         a pinging client beside what grows and is deleted
  start       ADDRESS@PID PROGRAM COUNT         from exec to the first PONG; PROGRAM may be a script
  load        ADDRESS@PID PERCENT               keeps the server busy for that share of a core
  fixed                                         a BullMQ worker's server of fixed replies";

fn main() -> io::Result<()> {
    // Cargo passes `--bench` as well.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["timeouts", server, count] => timeouts::measure_server(&parse(server), parse(count)),
        ["floor", count] => timeouts::measure_floor(parse(count)),
        ["connections", server, count, workers, pushes] => {
            connections::measure(&parse(server), parse(count), parse(workers), parse(pushes))
        }
        ["stalls", server, keys, elements] => {
            stalls::measure(&parse(server), parse(keys), parse(elements))
        }
        ["start", server, launcher, count] => {
            start::measure(&parse(server), launcher, parse(count))
        }
        ["load", server, percent] => load::until_input_ends(&parse(server), parse(percent)),
        ["fixed"] => fixed::until_input_ends(),
        _ => {
            println!("{USAGE}");
            Ok(())
        }
    }
}

fn parse<T: std::str::FromStr>(word: &str) -> T {
    word.parse().unwrap_or_else(|_| panic!("{word}?\n{USAGE}"))
}

fn report(name: &str, value: f64) {
    println!("{name} {value:.4}");
}

/// The value below which that share of a sorted list lies.
fn quantile<T: Copy>(sorted: &[T], share: f64) -> T {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}
