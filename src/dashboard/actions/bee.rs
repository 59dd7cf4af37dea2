//! What can be done to queues of bee-queue 2: each action does to the keys what the library's own
//! would. tests/clients/http/actions-bee.test.js compares the two on twin queues.

use super::bullmq::{delay, obliterate};
use super::{PageAction, row_on as row, standing};
use crate::queues::Role;

const LATER: &[Role] = &[Role::Later];
/// What no worker has.
const AT_REST: &[Role] = &[Role::Ready, Role::Later, Role::Failed, Role::Completed];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",      AT_REST,         script!("bee/common", "standing", "bee/delete"),  standing,   "Removed {jobs} of {queue}"),
    row("delay",      LATER,           script!("bee/common", "bee/delay"),               delay,      "Changed when {jobs} of {queue} will run"),
    row("obliterate", &[],             script!("bee/common", "emptied", "bee/destroy"),  obliterate, "Removed {queue} and {jobs}"),
    row("promote",    LATER,           script!("bee/common", "standing", "bee/enqueue"), standing,   "Let {jobs} of {queue} run now"),
    row("remove",     AT_REST,         script!("bee/common", "standing", "bee/delete"),  standing,   "Removed {jobs} of {queue}"),
    row("retry",      &[Role::Failed], script!("bee/common", "standing", "bee/enqueue"), standing,   "Retried {jobs} of {queue}"),
];
