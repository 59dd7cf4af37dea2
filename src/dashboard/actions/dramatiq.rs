//! What can be done to queues of dramatiq 2. A delayed message that a worker has taken is left to
//! it: it stands in its memory. tests/clients/http/test_actions_dramatiq.py compares.

use super::fields::{fields, with_field};
use super::{Order, PageAction, row_on as row, standing};
use crate::queues::{Glance, Role, delayed_message};

/// What no worker runs.
const AT_REST: &[Role] = &[Role::Ready, Role::Later, Role::Failed];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",   AT_REST,         script!("dramatiq/common", "standing", "dramatiq/delete"),  standing, "Removed {jobs} of {queue}"),
    row("promote", &[Role::Later],  script!("dramatiq/common", "standing", "dramatiq/promote"), due,      "Let {jobs} of {queue} run now"),
    row("remove",  AT_REST,         script!("dramatiq/common", "standing", "dramatiq/delete"),  standing, "Removed {jobs} of {queue}"),
    row("retry",   &[Role::Failed], script!("dramatiq/common", "standing", "dramatiq/enqueue"), standing, "Retried {jobs} of {queue}"),
];

/// Delayed messages as they are to be.
fn due(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let view = Glance::new(order.engine, order.queue.db);
    let now = view.now_ms().to_string();
    order.standing(&|id| {
        let text = delayed_message(view, &order.queue.base, id).unwrap_or_default();
        with_eta(&text, now.as_bytes()).unwrap_or(text)
    })
}

/// A message with another moment at which it is due. None if it is none that could be delayed.
fn with_eta(text: &[u8], eta: &[u8]) -> Option<Vec<u8>> {
    let (_, range) = fields(text)?.into_iter().find(|(name, _)| *name == b"options")?;
    with_field(text, "options", &with_field(&text[range], "eta", eta)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_due_at_another_moment_and_all_else_stays_as_it_is_written() {
        let check = |text: &str, expect: Option<&str>| {
            let told = with_eta(text.as_bytes(), b"7");
            assert_eq!(told.as_deref(), expect.map(str::as_bytes), "{text}");
        };
        check(
            r#"{"kwargs":{"eta":1.50},"options":{"eta":1,"a":"eta"},"n":1}"#,
            Some(r#"{"kwargs":{"eta":1.50},"options":{"eta":7,"a":"eta"},"n":1}"#),
        );
        check(r#"{"options":[]}"#, None);
        check("{}", None);
    }
}
