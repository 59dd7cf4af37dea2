//! What can be done to queues of Celery 5, with Redis as its broker: what its own commands `purge`
//! and `revoke` do, and to take out a message. tests/clients/http/test_actions_celery.py compares.

use super::bullmq::nothing;
use super::{Order, PageAction, row_on as row, standing};
use crate::queues::{Glance, Role, celery_orders};

const READY: &[Role] = &[Role::Ready];
const NOT_ENDED: &[Role] = &[Role::Ready, Role::Working, Role::Later];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",  READY,     script!("celery/common", "standing", "taken"), standing, "Removed {jobs} of {queue}"),
    row("clear",  &[],       script!("celery/common", "celery/purge"),      nothing,  "Removed {jobs} that waited in {queue}"),
    row("remove", READY,     script!("celery/common", "standing", "taken"), standing, "Removed {jobs} of {queue}"),
    row("revoke", NOT_ENDED, script!("celery/revoke"),                      revoked,  "Revoked {jobs} of {queue}"),
];

fn revoked(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let channel = celery_orders(Glance::new(order.engine, order.queue.db), &order.queue.base);
    Ok([channel].into_iter().chain(order.ids()?.iter().cloned()).collect())
}
