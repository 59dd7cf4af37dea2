//! TORIL CLOCK: the wall clock, which tests may move. Time-outs of blocked clients and the like go
//! by the monotonic clock, which they cannot.

use super::Testing;
use crate::engine::effect::Reading;
use crate::engine::{Ctx, Engine};
use crate::proto::{Args, Error, Reply, Result};
use crate::util::calendar;

/// The clock as the server shows it.
#[derive(Debug)]
pub struct TestClock {
    reading: Reading,
}

impl TestClock {
    pub fn new(_: &Engine) -> Self {
        Self { reading: Reading::default() }
    }

    /// The server has moved it, or says why it could not.
    pub fn moved(&mut self, _: &mut Engine, moved: std::result::Result<Reading, String>) {
        if let Ok(reading) = moved {
            self.reading = reading;
        }
    }
}

pub fn call(testing: &mut Testing, cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    if args.left() > 0 {
        return Err(Error::misused(args.all()[1], "TORIL"));
    }
    let Reading { ahead_ms, frozen_ms } = testing.clock.reading;
    reply.map(3);
    reply.bulk(b"mode");
    reply.bulk(if frozen_ms.is_some() { b"frozen" } else { b"running" });
    reply.bulk(b"now");
    reply.bulk(calendar::iso(cx.now_ms()).as_bytes());
    reply.bulk(b"offset_ms");
    reply.int(ahead_ms);
    Ok(())
}
