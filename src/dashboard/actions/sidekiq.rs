//! What can be done to queues of Sidekiq 6 and later: each action does to the keys what the
//! library's own would. tests/clients/http/actions-sidekiq.test.js compares the two.

use super::bullmq::nothing;
use super::fields::{fields, with_field};
use super::{Order, PageAction, row_on as row, standing};
use crate::queues::{Glance, Role, sidekiq_processes};

const LATER: &[Role] = &[Role::Later];
const AT_REST: &[Role] = &[Role::Ready, Role::Later, Role::Failed];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",   AT_REST,         script!("sidekiq/common", "standing", "taken"),           standing,  "Removed {jobs} of {queue}"),
    row("clear",   &[],             script!("sidekiq/common", "sidekiq/clear"),               nothing,   "Removed {jobs} that waited in {queue}").called("Clear the queue"),
    row("kill",    LATER,           script!("sidekiq/common", "standing", "sidekiq/kill"),    standing,  "Put {jobs} of {queue} to the dead ones"),
    row("promote", LATER,           script!("sidekiq/common", "standing", "sidekiq/enqueue"), renewed,   "Let {jobs} of {queue} run now"),
    row("quiet",   &[],             script!("sidekiq/quiet"),                                 processes, "The processes of {queue} take no more jobs").called("Quiet its processes"),
    row("remove",  AT_REST,         script!("sidekiq/common", "standing", "taken"),           standing,  "Removed {jobs} of {queue}"),
    row("retry",   &[Role::Failed], script!("sidekiq/common", "standing", "sidekiq/enqueue"), renewed,   "Retried {jobs} of {queue}"),
];

/// Jobs as they are to wait: from now on, and with one attempt more.
fn renewed(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let now_ms = order.engine.keyspace.now.wall_ms;
    order.standing(&|text| renew(text, now_ms).unwrap_or_else(|| text.to_vec()))
}

/// The names of the processes that take jobs of the queue.
fn processes(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let view = Glance::new(order.engine, order.queue.db);
    let names = sidekiq_processes(view, &order.queue.base);
    if names.is_empty() { Err("no process takes jobs of this queue".into()) } else { Ok(names) }
}

/// None if it is no JSON object.
fn renew(text: &[u8], now_ms: i64) -> Option<Vec<u8>> {
    /// Later moments are milliseconds, as Sidekiq 8 writes them.
    const LAST_OF_SECONDS: f64 = 1e11;
    let number = |name: &str| -> Option<f64> {
        let (_, value) = fields(text)?.into_iter().find(|(field, _)| *field == name.as_bytes())?;
        std::str::from_utf8(&text[value]).ok()?.parse().ok()
    };
    let is_ms = number("created_at").is_some_and(|moment| moment > LAST_OF_SECONDS);
    let now = match is_ms {
        true => now_ms.to_string(),
        false => format!("{}.{:03}", now_ms / 1000, now_ms % 1000),
    };
    let fresh = with_field(text, "enqueued_at", now.as_bytes())?;
    match number("retry_count") {
        Some(count) => with_field(&fresh, "retry_count", (count as i64 - 1).to_string().as_bytes()),
        None => Some(fresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_from_now_on_with_one_attempt_more() {
        let check = |text: &str, expect: &str| {
            let told = renew(text.as_bytes(), 1_790_000_000_042);
            assert_eq!(told.as_deref(), Some(expect.as_bytes()), "{text}");
        };
        check(
            r#"{"jid":"a","created_at":1789.5,"enqueued_at":1.0,"retry_count":2}"#,
            r#"{"jid":"a","created_at":1789.5,"enqueued_at":1790000000.042,"retry_count":1}"#,
        );
        check(
            r#"{"jid":"a","created_at":1789000000000}"#,
            r#"{"jid":"a","created_at":1789000000000,"enqueued_at":1790000000042}"#,
        );
    }
}
