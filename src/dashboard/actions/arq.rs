//! What can be done to queues of arq. A job that has ended is not tried again: its arguments are
//! gone but for a pickle. tests/clients/http/test_actions_arq.py compares with the library.

use super::bullmq::delay;
use super::{Order, PageAction, row, standing};

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("abort",   script!("arq/common", "arq/abort"),               named,    "Told workers to abort {jobs} of {queue}"),
    row("clean",   script!("arq/common", "standing", "arq/delete"),  standing, "Removed {jobs} of {queue}"),
    row("delay",   script!("arq/common", "arq/delay"),               delay,    "Changed when {jobs} of {queue} will run"),
    row("promote", script!("arq/common", "standing", "arq/promote"), standing, "Let {jobs} of {queue} run now"),
    row("remove",  script!("arq/common", "standing", "arq/delete"),  standing, "Removed {jobs} of {queue}"),
];

fn named(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    Ok(order.ids()?.to_vec())
}
