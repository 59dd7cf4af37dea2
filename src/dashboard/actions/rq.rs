//! What can be done to queues of RQ 3: each action does to the keys what the library's own would.
//! tests/clients/http/test_actions_rq.py compares the two on twin queues.

use super::bullmq::nothing;
use super::{Order, PageAction, row_on as row, standing};
use crate::queues::Role;
use crate::util::calendar;

const ENDED: &[Role] = &[Role::Failed, Role::Completed];
const WAITING: &[Role] = &[Role::Ready, Role::Later, Role::Blocked];
/// What no worker has.
const AT_REST: &[Role] = &[Role::Ready, Role::Later, Role::Blocked, Role::Failed, Role::Completed];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("cancel",  WAITING,        script!("rq/common", "standing", "rq/cancel"),  meant,   "Cancelled {jobs} of {queue}"),
    row("clean",   AT_REST,        script!("rq/common", "standing", "rq/delete"),  meant,   "Removed {jobs} of {queue}"),
    row("pause",   &[],            script!("rq/suspend"),                          nothing, "Suspended the workers of all queues").called("Suspend all workers"),
    row("promote", &[Role::Later], script!("rq/common", "standing", "rq/enqueue"), meant,   "Let {jobs} of {queue} run now"),
    row("remove",  AT_REST,        script!("rq/common", "standing", "rq/delete"),  meant,   "Removed {jobs} of {queue}"),
    row("resume",  &[],            script!("rq/resume"),                           nothing, "The workers of all queues take jobs again").called("Resume all workers"),
    row("retry",   ENDED,          script!("rq/common", "standing", "rq/enqueue"), meant,   "Retried {jobs} of {queue}"),
];

/// The time, and then what is meant.
fn meant(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let now = calendar::iso(order.engine.keyspace.now.wall_ms).into_bytes();
    Ok([now].into_iter().chain(standing(order)?).collect())
}
