//! TORIL WAIT IDLE: an answer once nothing is left to do, or why it is not so.
//!
//! Queues are looked at whenever a key has changed or a client has begun to wait, never in between:
//! nothing else can make them idle.

use super::history::History;
use super::lookout::{Lookout, Outlook, Standing};
use super::report::{self, Report};
use super::waits::Awaiting;
use super::{TIMEOUT_MS, Testing, span_of};
use crate::engine::client::ClientId;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};

/// What TORIL WAIT IDLE asks for.
struct Wanted {
    names: Vec<Vec<u8>>,
    timeout_ms: u64,
    horizon_ms: u64,
}

impl Wanted {
    fn parse(args: &mut Args) -> Result<Self> {
        let mut wanted = Self { names: Vec::new(), timeout_ms: TIMEOUT_MS, horizon_ms: 0 };
        while args.left() > 0 {
            if args.accept("timeout") {
                wanted.timeout_ms = span_of(args, "TIMEOUT")?;
            } else if args.accept("horizon") {
                wanted.horizon_ms = span_of(args, "HORIZON")?;
            } else {
                wanted.names.push(args.given().to_vec());
            }
        }
        Ok(wanted)
    }
}

/// Each name must be that of a queue which is known.
fn check_names(history: &History, names: &[Vec<u8>]) -> Result {
    let queues = history.queues();
    let is_known = |name: &Vec<u8>| queues.iter().any(|queue| queue.is_called(name));
    let Some(unknown) = names.iter().find(|name| !is_known(name)) else { return Ok(()) };
    Err(Error::new(format!("ERR {}", report::no_queue(&report::text(unknown), &queues))))
}

/// A client that waits for idleness.
pub struct Idleness {
    client: ClientId,
    lookout: Lookout,
    started_us: u64,
    deadline_us: u64,
}

impl Awaiting for Idleness {
    type Answer = Report;

    fn client(&self) -> ClientId {
        self.client
    }

    fn look(&mut self, history: &mut History, engine: &Engine) -> std::result::Result<Report, u64> {
        let now_us = engine.keyspace.now.mono_us;
        let (outlook, standings) = self.lookout.look(history, None, engine);
        match outlook {
            Outlook::Busy(next_us) if now_us < self.deadline_us => {
                Err(next_us.unwrap_or(u64::MAX).min(self.deadline_us))
            }
            outlook => Ok(self.report(outlook == Outlook::Idle, standings, history, engine)),
        }
    }

    fn write(&self, report: Report, reply: &mut Reply) {
        report.write(reply);
    }
}

impl Idleness {
    fn report(
        &self,
        is_idle: bool,
        standings: Vec<Standing>,
        history: &mut History,
        engine: &Engine,
    ) -> Report {
        let waited_ms = (engine.keyspace.now.mono_us - self.started_us) / 1_000;
        let horizon_ms = self.lookout.horizon_ms;
        Report::new(is_idle, waited_ms, horizon_ms, &standings, history, engine)
    }
}

pub fn call(testing: &mut Testing, cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    if !args.accept("idle") {
        return Err(Error::misused(args.all()[1], "TORIL"));
    }
    let wanted = Wanted::parse(&mut args)?;
    check_names(&testing.history, &wanted.names)?;
    let started_us = cx.now().mono_us;
    let waiting = Idleness {
        client: cx.client,
        lookout: Lookout::new(wanted.names, wanted.horizon_ms),
        started_us,
        deadline_us: started_us.saturating_add(wanted.timeout_ms.saturating_mul(1_000)),
    };
    testing.idle.begin(waiting, &mut testing.history, cx, args, reply);
    Ok(())
}
