//! What can be done to queues of Bull 4: each action does to the keys what the library's own would,
//! and tells who listens. tests/clients/http/actions-bull.test.js compares the two on twin queues.

use super::bullmq::{data, meant, nothing, obliterate, of_state, promote, remove, state};
use super::{Order, PageAction, row_on as row};
use crate::queues::Role;

/// A script: what all have in common, what those of Bull have, and its own.
macro_rules! script {
    ($name:literal: $($part:literal),+) => {
        concat!(
            "-- toril: ", $name, "\n", include_str!("shared.lua"), include_str!("bull/common.lua"),
            $(include_str!(concat!($part, ".lua"))),+
        )
    };
}

const ANY: &[Role] = &[];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",      ANY,              script!("clean": "bullmq/meant", "bull/clean"),      of_state,   "Removed {jobs} of {queue}"),
    row("data",       ANY,              script!("data": "bullmq/data"),                      data,       "Changed the data of a job of {queue}"),
    row("obliterate", ANY,              script!("obliterate": "emptied", "bull/obliterate"), obliterate, "Removed {queue} and {jobs}"),
    row("pause",      ANY,              script!("pause": "bull/pause"),                      nothing,    "Paused {queue}"),
    row("promote",    &[Role::Later],   script!("promote": "bullmq/meant", "bull/promote"),  promote,    "Let {jobs} of {queue} run now"),
    row("remove",     ANY,              script!("remove": "bullmq/meant", "bull/remove"),    remove,     "Removed {jobs} of {queue}"),
    row("resume",     ANY,              script!("resume": "bull/resume"),                    nothing,    "Resumed {queue}"),
    row("retry",      &[Role::Failed],  script!("retry": "bullmq/meant", "bull/retry"),      retry,      "Retried {jobs} of {queue}"),
];

/// Of what has ended, Bull retries what has failed alone.
fn retry(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let state = state(order)?;
    match state.role {
        Role::Failed => meant(order, state),
        _ => Err(format!("only jobs that have failed are retried, not {} ones", state.name)),
    }
}
