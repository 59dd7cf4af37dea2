//! What can be done to queues of Bull 4: each action does to the keys what the library's own would,
//! and tells who listens. tests/clients/http/actions-bull.test.js compares the two on twin queues.

use super::bullmq::{
    add, data, drain, meant, nothing, obliterate, of_state, promote, remove, state,
};
use super::{Order, PageAction, row_on as row};
use crate::queues::Role;

const ANY: &[Role] = &[];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("add",        ANY,             script!("bull/common", "bull/enqueue", "bull/add"),                     add,        "Added job {id} to {queue}"),
    row("clean",      ANY,             script!("bull/common", "bullmq/meant", "bull/clean"),                   of_state,   "Removed {jobs} of {queue}"),
    row("data",       ANY,             script!("bull/common", "bullmq/data"),                                  data,       "Changed the data of a job of {queue}"),
    row("drain",      ANY,             script!("bull/common", "emptied", "bull/drain"),                        drain,      "Removed {jobs} of {queue}"),
    row("obliterate", ANY,             script!("bull/common", "emptied", "bull/obliterate"),                   obliterate, "Removed {queue} and {jobs}"),
    row("pause",      ANY,             script!("bull/common", "bull/pause"),                                   nothing,    "Paused {queue}"),
    row("promote",    &[Role::Later],  script!("bull/common", "bullmq/meant", "bull/enqueue", "bull/promote"), promote,    "Let {jobs} of {queue} run now"),
    row("remove",     ANY,             script!("bull/common", "bullmq/meant", "bull/remove"),                  remove,     "Removed {jobs} of {queue}"),
    row("resume",     ANY,             script!("bull/common", "bull/resume"),                                  nothing,    "Resumed {queue}"),
    row("retry",      &[Role::Failed], script!("bull/common", "bullmq/meant", "bull/retry"),                   retry,      "Retried {jobs} of {queue}"),
];

/// Of what has ended, Bull retries what has failed alone.
fn retry(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let state = state(order)?;
    match state.role {
        Role::Failed => meant(order, state),
        _ => Err(format!("only jobs that have failed are retried, not {} ones", state.name)),
    }
}
