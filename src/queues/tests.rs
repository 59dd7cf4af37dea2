//! Each library's keys as its clients leave them, and what is read from them. That real clients
//! leave them so is for tests/clients to show.

use super::*;
use crate::command::table::table;
use crate::config::Config;
use crate::engine::client::Peer;
use crate::engine::time::Now;
use crate::facts::FixedFacts;
use crate::proto::Args;

const NOW_MS: i64 = 1_800_000_000_000;
const NOW: Now = Now { wall_ms: NOW_MS, rest_us: 0, mono_us: 1_000_000 };

/// A server after these requests of one client, each words between blanks.
fn server(requests: &[&str]) -> Engine {
    let facts = Box::new(FixedFacts::default());
    let mut engine = Engine::new(table(), Config::default(), facts, NOW);
    ask(&mut engine, requests);
    engine
}

fn ask(engine: &mut Engine, requests: &[&str]) {
    let client = engine.connect(Peer::inside(), NOW);
    for request in requests {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        engine.run(client, Args::new(&words), NOW);
        let answer = engine.take_output(client);
        assert!(!answer.starts_with(b"-"), "{request}: {}", answer.escape_ascii());
    }
}

fn found(engine: &Engine) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let queues = Known::find(engine).queues();
    queues.iter().map(|it| format!("{} {}", it.library.name, text(it.name()))).collect()
}

/// How the only queue of a server stands.
fn look(requests: &[&str]) -> Look {
    let engine = server(requests);
    let queues = Known::find(&engine).queues();
    assert_eq!(queues.len(), 1, "{:?}", found(&engine));
    queues[0].look(&engine)
}

fn due_in(ms: i64) -> Option<i64> {
    Some(NOW_MS + ms)
}

const META: &str = "HSET bull:mail:meta opts.maxLenEvents 10000";

#[test]
fn queues_are_found_by_their_keys() {
    let check = |requests: &[&str], expect: &[&str]| assert_eq!(found(&server(requests)), expect);
    check(&[META, "SET bull:mail:id 1", "SET bull:mail:stalled-check 1"], &["BullMQ mail"]);
    check(&["HSET app:prod:bull:mail:meta version bullmq:6.7.0"], &["BullMQ mail"]);
    check(
        &["SET bull:mail:id 1", "RPUSH bull:mail:wait 1", "HSET bull:mail:1 name x"],
        &["Bull mail"],
    );
    check(&["SET bull:mail:id 1", "HSET bull:mail:meta paused 1"], &["Bull mail"]);
    check(
        &["SET bq:mail:id 1", "HSET bq:mail:jobs 1 {}", "RPUSH bq:mail:waiting 1"],
        &["bee-queue mail"],
    );
    check(&["SADD rq:queues rq:queue:default", "RPUSH rq:queue:default a"], &["RQ default"]);
    check(
        &["SADD _kombu.binding.celery celery\u{6}\u{16}\u{6}\u{16}celery", "RPUSH celery {}"],
        &["Celery celery"],
    );
    check(
        &["SADD _kombu.binding.celery.pidbox \u{6}\u{16}\u{6}\u{16}celery@host.celery.pidbox"],
        &[],
    );
    check(&["ZADD arq:queue 1 a", "SET arq:job:a x"], &["arq arq:queue"]);
    check(&["ZADD scores 1 a", "HSET user:1:meta name x", "RPUSH list:x:y a"], &[]);
}

#[test]
fn a_later_key_tells_better() {
    let mut engine = server(&["SET bull:mail:stalled-check 1"]);
    let mut known = Known::find(&engine);
    assert_eq!(known.queues()[0].library.name, "Bull");
    ask(&mut engine, &[META]);
    known.learn(Glance::new(&engine, 0), b"bull:mail:meta");
    assert_eq!(known.queues()[0].library.name, "BullMQ");
    known.learn(Glance::new(&engine, 0), b"bull:mail:id");
    assert_eq!(known.queues()[0].library.name, "BullMQ");
}

#[test]
fn how_a_queue_of_bullmq_stands() {
    let base = Look::default();
    assert_eq!(look(&[META]), base);
    assert_eq!(
        look(&[META, "RPUSH bull:mail:wait 1 2 0:0", "ZADD bull:mail:prioritized 1 3"]),
        Look { waiting: 3, ..base.clone() }
    );
    assert_eq!(look(&[META, "RPUSH bull:mail:active 1"]), Look { active: 1, ..base.clone() });
    let delayed = format!("ZADD bull:mail:delayed {} 1", (NOW_MS + 5_000) * 4096 + 7);
    assert_eq!(
        look(&[META, &delayed]),
        Look { delayed: 1, next_ms: due_in(5_000), ..base.clone() }
    );
    assert_eq!(
        look(&[META, "HSET bull:mail:meta paused 1", "RPUSH bull:mail:wait 1"]),
        Look { held: 1, is_paused: true, ..base.clone() }
    );
    assert_eq!(
        look(&[META, "RPUSH bull:mail:wait 1", "SET bull:mail:limiter 1 PX 3000"]),
        Look { waiting: 1, limited_until_ms: due_in(3_000), ..base }
    );
}

#[test]
fn how_a_queue_of_another_library_stands() {
    let base = Look::default();
    let bee = ["SET bq:mail:id 1", "HSET bq:mail:jobs 1 {}"];
    let bee = |more: &str| look(&[&bee[..], &[more]].concat());
    assert_eq!(bee("RPUSH bq:mail:waiting 1"), Look { waiting: 1, ..base.clone() });
    assert_eq!(bee("RPUSH bq:mail:active 1"), Look { active: 1, ..base.clone() });
    let delayed = format!("ZADD bq:mail:delayed {} 1", NOW_MS + 40);
    assert_eq!(bee(&delayed), Look { delayed: 1, next_ms: due_in(40), ..base.clone() });

    let rq = |more: &[&str]| look(&[&["SADD rq:queues rq:queue:default"], more].concat());
    assert_eq!(rq(&["RPUSH rq:queue:default a"]), Look { waiting: 1, ..base.clone() });
    assert_eq!(rq(&["ZADD rq:wip:default 5 a:b"]), Look { active: 1, ..base.clone() });
    assert_eq!(rq(&["RPUSH rq:queue:default:intermediate a"]), Look { active: 1, ..base.clone() });
    let scheduled = format!("ZADD rq:scheduled:default {} a", NOW_MS / 1000 + 60);
    assert_eq!(rq(&[&scheduled]), Look { delayed: 1, next_ms: due_in(60_000), ..base.clone() });
    // rq-scheduler holds jobs of all queues in one place.
    let held =
        format!("ZADD rq:scheduler:scheduled_jobs {} b {} a", NOW_MS / 1000 + 1, NOW_MS / 1000 + 3);
    let origins = ["HSET rq:job:a origin default", "HSET rq:job:b origin other"];
    let ended = "ZADD rq:finished:default 1 x";
    let both = [&[&*held, ended], &origins[..]].concat();
    assert_eq!(rq(&both), Look { delayed: 1, next_ms: due_in(3_000), ..base.clone() });
    let worker = ["SADD rq:workers:default rq:worker:w", "HSET rq:worker:w state busy"];
    assert_eq!(rq(&worker).workers, Workers { count: 1, at_work: 1 });

    let arq = format!("ZADD arq:queue {} a", NOW_MS + 9);
    assert_eq!(
        look(&["SET arq:job:a x", &arq]),
        Look { delayed: 1, next_ms: due_in(9), ..base.clone() }
    );
}

#[test]
fn what_a_worker_of_celery_holds_counts() {
    let binding = "SADD _kombu.binding.celery celery\u{6}\u{16}\u{6}\u{16}celery";
    let celery = |more: &[&str]| look(&[&[binding], more].concat());
    let base = Look::default();
    assert_eq!(
        celery(&["LPUSH celery {}", "LPUSH celery\u{6}\u{16}9 {}"]),
        Look { waiting: 2, ..base.clone() }
    );
    let held = |eta: &str| {
        let headers = format!(r#"{{"headers":{{"id":"a","eta":{eta}}}}}"#);
        format!(r#"HSET unacked tag [{headers},"celery","celery"]"#)
    };
    assert_eq!(celery(&[&held("null")]), Look { active: 1, ..base.clone() });
    let eta = format!("{:?}", crate::util::calendar::iso(NOW_MS + 1000));
    let held_until = Look { delayed: 1, next_ms: due_in(1000), ..base.clone() };
    assert_eq!(celery(&[&held(&eta)]), held_until);
    assert_eq!(celery(&[&held("null").replace("\"celery\"]", "\"other\"]")]), base);
}

#[test]
fn the_next_moment_is_the_earliest_of_all() {
    let next = |requests: &[&str]| {
        let engine = server(requests);
        next_due_ms(&engine, &Known::find(&engine).queues())
    };
    assert_eq!(next(&[META]), None);
    let mail = format!("ZADD bull:mail:delayed {} 1", (NOW_MS + 5_000) * 4096);
    let bee = format!("ZADD bq:mail:delayed {} 1", NOW_MS + 4_000);
    let rq = format!("ZADD rq:scheduled:default {} a", NOW_MS / 1000 + 3);
    let known = "SADD rq:queues rq:queue:default";
    let all =
        [META, &mail, "SET bq:mail:id 1", "HSET bq:mail:jobs 1 {}", &bee, "SELECT 3", known, &rq];
    assert_eq!(next(&all[..2]), due_in(5_000));
    assert_eq!(next(&all[..5]), due_in(4_000));
    assert_eq!(next(&all), due_in(3_000));
    let limit = "SET bull:mail:limiter 1 PX 2000";
    // A limit that holds nobody back is no moment to go to.
    assert_eq!(next(&[META, limit]), None);
    assert_eq!(next(&[META, limit, "RPUSH bull:mail:wait 1"]), due_in(2_001));
    assert_eq!(next(&[META, &mail, "HSET bull:mail:meta paused 1"]), None);
}

#[test]
fn parents_whose_children_have_gone_are_found() {
    let parent = ["HSET bull:mail:3 name x", "ZADD bull:mail:waiting-children 1 3"];
    let stranded = |more: &[&str]| {
        let engine = server(&[&[META], &parent[..], more].concat());
        Known::find(&engine).queues()[0].stranded(&engine)
    };
    assert_eq!(stranded(&[]), [b"3"]);
    let child = "SADD bull:mail:3:dependencies bull:other:1";
    assert_eq!(stranded(&[child]), [b"3"]);
    assert!(stranded(&[child, "HSET bull:other:1 name y"]).is_empty());
}

#[test]
fn what_processes_renew_is_kept() {
    let check = |key: &str, expect: bool| assert_eq!(is_kept(key.as_bytes()), expect, "{key}");
    for key in [
        "bull:mail:7:lock",
        "bull:mail:stalled-check",
        "bq:mail:stallBlock",
        "rq:worker:one",
        "rq:scheduler-lock:default",
        "rq:scheduler_instance:one",
        "rq:scheduler_lock",
        "arq:queue:health-check",
        "arq:in-progress:one",
        "unacked_mutex",
    ] {
        check(key, true);
    }
    for key in ["bull:mail:limiter", "bull:mail:de:x", "rq:job:a", "arq:job:a", "session:1"] {
        check(key, false);
    }
}

#[test]
fn a_job_is_read_and_not_touched() {
    let mut engine = server(&[META, "HSET bull:mail:7 name welcome"]);
    let data = format!(
        "HSET bull:mail:7 data {{\"to\":\"{}\"}} opts {{\"attempts\":3}} atm 1",
        "a".repeat(500)
    );
    ask(
        &mut engine,
        &[&data, "HSET bull:mail:7 failedReason no stacktrace [\"Error:no\"] timestamp 5"],
    );
    let queue = &Known::find(&engine).queues()[0];
    let job = queue.job(&engine, b"7").expect("it is there");
    assert_eq!((&*job.name, job.attempts_made, job.attempts_max), (&b"welcome"[..], 1, 3));
    assert_eq!((job.added_ms, &*job.failed_reason), (Some(5), &b"no"[..]));
    assert_eq!(job.stacktrace, ["Error:no"]);
    assert_eq!(queue.job(&engine, b"8"), None);
    assert_eq!((engine.keyspace.hits, engine.keyspace.misses), (0, 0));
}
