//! What can be done to queues of Sidekiq 6 and later: each action does to the keys what the
//! library's own would. tests/clients/http/actions-sidekiq.test.js compares the two.

use super::bullmq::nothing;
use super::{Order, PageAction, row_on as row};
use crate::queues::{Glance, Role, sidekiq_processes};

macro_rules! script {
    ($name:literal: $($part:literal),+) => {
        concat!(
            "-- toril: ", $name, "\n", include_str!("shared.lua"),
            $(include_str!(concat!("sidekiq/", $part, ".lua"))),+
        )
    };
}

const LATER: &[Role] = &[Role::Later];
const AT_REST: &[Role] = &[Role::Ready, Role::Later, Role::Failed];

#[rustfmt::skip]
pub const ACTIONS: &[PageAction] = &[
    row("clean",   AT_REST,         script!("clean": "common", "../standing", "delete"),    meant,     "Removed {jobs} of {queue}"),
    row("clear",   &[],             script!("clear": "clear"),                              nothing,   "Removed {jobs} that waited in {queue}").called("Clear the queue"),
    row("kill",    LATER,           script!("kill": "common", "../standing", "kill"),       meant,     "Put {jobs} of {queue} to the dead ones"),
    row("promote", LATER,           script!("promote": "common", "../standing", "enqueue"), renewed,   "Let {jobs} of {queue} run now"),
    row("quiet",   &[],             script!("quiet": "quiet"),                              processes, "The processes of {queue} take no more jobs").called("Quiet its processes"),
    row("remove",  AT_REST,         script!("remove": "common", "../standing", "delete"),   meant,     "Removed {jobs} of {queue}"),
    row("retry",   &[Role::Failed], script!("retry": "common", "../standing", "enqueue"),   renewed,   "Retried {jobs} of {queue}"),
];

fn meant(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    order.standing(&|_| vec![Vec::new()])
}

/// Jobs as they are to wait: from now on, and with one attempt more.
fn renewed(order: &Order) -> Result<Vec<Vec<u8>>, String> {
    let now_ms = order.engine.keyspace.now.wall_ms;
    order.standing(&|text| vec![renew(text, now_ms).unwrap_or_else(|| text.to_vec())])
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

/// A field of a JSON object, by its name as it is written, and where its value stands.
type Field<'t> = (&'t [u8], std::ops::Range<usize>);

/// The fields of a JSON object. What they hold is only passed over: a number of any length stays as
/// it is written. None if it is no object.
fn fields(text: &[u8]) -> Option<Vec<Field<'_>>> {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).ok()?;
    let mut all = Vec::new();
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    let (mut name, mut start, mut text_start) = (&text[..0], None, 0);
    for (at, &byte) in text.iter().enumerate() {
        if is_text {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => {
                    is_text = false;
                    if depth == 1 && start.is_none() {
                        name = &text[text_start..at];
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => (is_text, text_start) = (true, at + 1),
            b':' if depth == 1 => start = Some(at + 1),
            b',' | b'}' if depth == 1 => {
                if let Some(from) = start.take() {
                    let held = &text[from..at];
                    let from = from + held.len() - held.trim_ascii_start().len();
                    all.push((name, from..from + held.trim_ascii().len()));
                }
                depth -= i32::from(byte == b'}');
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    (text.trim_ascii_start().first() == Some(&b'{')).then_some(all)
}

/// A JSON object with another value of a field, or with one field more. None if it is no object.
fn with_field(text: &[u8], name: &str, value: &[u8]) -> Option<Vec<u8>> {
    let all = fields(text)?;
    if let Some((_, range)) = all.iter().find(|(field, _)| *field == name.as_bytes()) {
        return Some([&text[..range.start], value, &text[range.end..]].concat());
    }
    let end = text.iter().rposition(|&byte| byte == b'}')?;
    let comma: &[u8] = if all.is_empty() { b"" } else { b"," };
    Some([&text[..end], comma, b"\"", name.as_bytes(), b"\":", value, b"}"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_changed_and_all_else_stays_as_it_is_written() {
        let check = |text: &str, expect: Option<&str>| {
            let told = with_field(text.as_bytes(), "n", b"7");
            assert_eq!(told.as_deref().map(String::from_utf8_lossy).as_deref(), expect, "{text}");
        };
        check(r#"{"n":1,"a":[{"n":2}]}"#, Some(r#"{"n":7,"a":[{"n":2}]}"#));
        check(r#"{"a":"\"n\":3","n": 12345678901234567890 }"#, Some(r#"{"a":"\"n\":3","n": 7 }"#));
        check(r#"{"a":{"n":1}}"#, Some(r#"{"a":{"n":1},"n":7}"#));
        check("{}", Some(r#"{"n":7}"#));
        check("[1]", None);
        check("{", None);
    }

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
