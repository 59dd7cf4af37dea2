//! Each library's keys as its clients leave them, and what is read from them. That real clients
//! leave them so is for tests/clients to show.

use super::*;
use crate::command::table::table;
use crate::config::Config;
use crate::engine::client::Peer;
use crate::engine::time::Now;
use crate::facts::FixedFacts;
use crate::proto::Args;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

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

/// A message that waits, as it stands in its queue's hash.
const DRAMATIQ: &str = "HSET dramatiq:default.msgs r1 \
     {\"message_id\":\"m1\",\"actor_name\":\"add\",\"args\":[1],\"kwargs\":{},\"options\":{}}";

const HARD_JOB: &str =
    r#"{"jid":"j1","class":"HardJob","queue":"mail","args":[1],"created_at":1.5}"#;

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
    check(
        &["SADD app:_kombu.binding.celery celery\u{6}\u{16}\u{6}\u{16}celery"],
        &["Celery app:celery"],
    );
    check(&["ZADD arq:queue 1 a", "SET arq:job:a x"], &["arq arq:queue"]);
    check(&[DRAMATIQ], &["dramatiq default"]);
    check(&["HSET a:notes.msgs 1 {}"], &[]);
    check(&["SADD queues default"], &["Sidekiq default"]);
    check(&["LPUSH queue:low no-job", "RPUSH queues default"], &[]);
    check(&[&format!("LPUSH queue:low {HARD_JOB}")], &["Sidekiq low"]);
    check(&[&format!("ZADD schedule 9 {HARD_JOB}")], &["Sidekiq mail"]);
    check(&["ZADD scores 1 a", "HSET user:1:meta name x", "RPUSH list:x:y a"], &[]);
}

#[test]
fn a_later_key_tells_better() {
    let mut engine = server(&["SET bull:mail:stalled-check 1"]);
    let mut known = Known::find(&engine);
    assert_eq!(known.queues()[0].library.name, "Bull");
    ask(&mut engine, &[META]);
    known.learn(Glance::new(&engine, 0), b"bull:mail:meta", &mut Learned::default());
    assert_eq!(known.queues()[0].library.name, "BullMQ");
    known.learn(Glance::new(&engine, 0), b"bull:mail:id", &mut Learned::default());
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
    // With a prefix of all keys, which routing keys lack.
    let prefixed =
        [&binding.replace("_kombu", "app:_kombu"), &held("null").replace("un", "app:un")];
    assert_eq!(look(&prefixed.map(String::as_str)), Look { active: 1, ..base });
}

#[test]
fn what_a_worker_of_dramatiq_has_taken_counts() {
    let dramatiq = |more: &[&str]| look(&[&[DRAMATIQ], more].concat());
    let base = Look::default();
    assert_eq!(dramatiq(&["RPUSH dramatiq:default r1"]), Look { waiting: 1, ..base.clone() });
    let heard = format!("ZADD dramatiq:__heartbeats__ {} w", NOW_MS - 20_000);
    let acks = "SADD dramatiq:__acks__.w.default r1";
    assert_eq!(dramatiq(&[&heard, acks]), Look { active: 1, ..base.clone() });
    let message = |options: &str| {
        DRAMATIQ.replace("m1", "m2").replace(r#""options":{}"#, &format!(r#""options":{options}"#))
    };
    let delayed = message(&format!(r#"{{"eta":{}}}"#, NOW_MS + 7)).replace(".msgs", ".DQ.msgs");
    assert_eq!(dramatiq(&[&delayed]), Look { delayed: 1, next_ms: due_in(7), ..base.clone() });
    let dead =
        message(r#"{"retries":2,"traceback":"at:\nValueError"}"#).replace(".msgs", ".XQ.msgs");
    assert_eq!(dramatiq(&[&dead]), base);

    let engine = server(&[DRAMATIQ, "RPUSH dramatiq:default r1", &dead]);
    let queue = &Known::find(&engine).queues()[0];
    let names = |id: &[u8]| queue.state_of(&engine, id).map(|state| state.name);
    assert_eq!(names(b"m1"), Some("waiting"));
    assert_eq!(names(b"m2"), Some("dead"));
    assert_eq!(names(b"r1"), None);
    // By its id, and by what stands for it in the list.
    assert_eq!(queue.job(&engine, b"r1"), queue.job(&engine, b"m1"));
    let job = queue.job(&engine, b"m2").expect("it is there");
    assert_eq!((&*job.failed_reason, job.attempts_made), (&b"ValueError"[..], 2));
    assert_eq!(job.data, br#"{"args":[1],"kwargs":{}}"#);
}

#[test]
fn what_sidekiq_keeps_of_all_queues_counts_for_each() {
    let sidekiq = |more: &[&str]| look(&[&["SADD queues mail"], more].concat());
    let base = Look::default();
    let push = format!("LPUSH queue:mail {HARD_JOB}");
    assert_eq!(sidekiq(&[&push]), Look { waiting: 1, ..base.clone() });
    let other = HARD_JOB.replace("mail", "other");
    let later = format!("ZADD schedule {}.5 {HARD_JOB} 1 x", NOW_MS / 1000 + 3);
    assert_eq!(sidekiq(&[&later]), Look { delayed: 1, next_ms: due_in(3_500), ..base.clone() });
    let retry = format!("ZADD retry {} {HARD_JOB}", NOW_MS / 1000 + 2);
    assert_eq!(sidekiq(&[&retry]), Look { delayed: 1, next_ms: due_in(2_000), ..base.clone() });
    assert_eq!(sidekiq(&[&format!("ZADD retry 1 {other} 2 {{}} 3 x")]).delayed, 0);
    assert_eq!(sidekiq(&[&format!("ZADD dead 1 {HARD_JOB}")]), base);

    let process = |name: &str, queue: &str| {
        let info = format!(r#"{{"concurrency":3,"queues":["{queue}"]}}"#);
        [format!("SADD processes {name}"), format!("HSET {name} info {info} busy 1")]
    };
    let works = |payload: &str, key: &str| {
        let [mail, mail_info] = process("h:1:a", "mail");
        let [rest, rest_info] = process("h:2:b", "other");
        let work = format!(r#"HSET h:1:a:{key} t1 {{"payload":{payload},"run_at":9}}"#);
        sidekiq(&[&mail, &mail_info, &rest, &rest_info, &work])
    };
    let busy = Look { active: 1, workers: Workers { count: 3, at_work: 3 }, ..base };
    assert_eq!(works(HARD_JOB, "workers"), busy);
    assert_eq!(works(&format!("{HARD_JOB:?}"), "work"), busy);

    let failed =
        HARD_JOB.replace('}', r#","error_class":"E","error_message":"no","retry_count":1}"#);
    let engine = server(&[&push.replace("j1", "j2"), &format!("ZADD dead 1 {failed}")]);
    let queue = &Known::find(&engine).queues()[0];
    let names = |id: &[u8]| queue.state_of(&engine, id).map(|state| state.name);
    assert_eq!((names(b"j2"), names(b"j1"), names(b"j3")), (Some("enqueued"), Some("dead"), None));
    let job = queue.job(&engine, b"j1").expect("it is there");
    assert_eq!((&*job.failed_reason, job.attempts_made), (&b"E: no"[..], 2));
    assert_eq!((&*job.name, job.added_ms), (&b"HardJob"[..], Some(1_500)));
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

/// A memory of jobs of one queue.
struct Remembers<'a>(&'a str, &'a [&'a str]);

impl Remembered for Remembers<'_> {
    fn unended(&self, base: &[u8]) -> Vec<Vec<u8>> {
        let is_known = self.0.as_bytes() == base;
        self.1.iter().filter(|_| is_known).map(|id| id.as_bytes().to_vec()).collect()
    }

    fn base_of(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.1.iter().any(|it| it.as_bytes() == id).then(|| self.0.as_bytes().to_vec())
    }
}

/// What a changed key tells, as `id what`.
fn tells(engine: &Engine, key: &str, remembers: &Remembers) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = told(Glance::new(engine, 0), key.as_bytes(), remembers);
    told.iter().map(|it| format!("{} {} {}", text(&it.base), text(&it.id), it.what)).collect()
}

#[test]
fn keys_of_bee_queue_tell_of_its_jobs() {
    let mut engine = server(&["SET bq:mail:id 4", "HSET bq:mail:jobs 1 {} 2 {} 3 {} 4 {}"]);
    ask(&mut engine, &["RPUSH bq:mail:waiting 2", "RPUSH bq:mail:active 1"]);
    ask(&mut engine, &["ZADD bq:mail:delayed 9 3"]);
    let remembers = Remembers("bq:mail", &["1"]);
    let all = ["bq:mail 1 active", "bq:mail 2 waiting", "bq:mail 3 delayed"];
    assert_eq!(tells(&engine, "bq:mail:waiting", &remembers), all);
    ask(&mut engine, &["DEL bq:mail:active bq:mail:waiting bq:mail:delayed"]);
    ask(&mut engine, &["SADD bq:mail:succeeded 1", "SADD bq:mail:failed 2", "HDEL bq:mail:jobs 3"]);
    let remembers = Remembers("bq:mail", &["1", "2", "3", "4"]);
    let ended = ["bq:mail 1 completed", "bq:mail 2 failed", "bq:mail 3 removed"];
    assert_eq!(tells(&engine, "bq:mail:active", &remembers), ended);
    assert!(tells(&engine, "bull:mail:active", &remembers).is_empty());
}

#[test]
fn keys_of_arq_tell_of_its_jobs() {
    let pickled = |letter: char, rest: &str| format!("\u{8c}\u{1}{letter}\u{94}{rest}");
    // What Python writes is bytes, not text.
    let bytes = |text: String| text.chars().map(|it| it as u32 as u8).collect::<Vec<u8>>();
    let mut engine = server(&[]);
    let client = engine.connect(Peer::inside(), NOW);
    let mut set = |key: &str, value: String| {
        let value = bytes(value);
        engine.run(client, Args::new(&[b"SET", key.as_bytes(), &value]), NOW);
    };
    for id in ["a", "b", "c"] {
        set(&format!("arq:job:{id}"), pickled('f', "\u{8c}\u{7}welcome"));
    }
    set("arq:result:d", pickled('s', "\u{88}"));
    set("arq:result:e", pickled('s', "\u{89}"));
    let queue = format!("ZADD arq:queue {} a {} b {} c", NOW_MS - 1, NOW_MS + 9, NOW_MS - 1);
    ask(&mut engine, &[&queue, "SET arq:in-progress:c 1"]);
    let remembers = Remembers("arq:queue", &["c", "d", "e", "f"]);
    let all = ["a waiting", "b delayed", "c active", "d completed", "e failed", "f removed"];
    let all = all.map(|it| format!("arq:queue {it}"));
    assert_eq!(tells(&engine, "arq:queue", &remembers), all);
    assert_eq!(tells(&engine, "arq:result:d", &remembers), all);
    assert!(tells(&engine, "arq:result:other", &remembers).is_empty());
    let queue = &Known::find(&engine).queues()[0];
    assert_eq!(queue.job(&engine, b"a").expect("it is there").name, b"welcome");
}

#[test]
fn keys_of_celery_tell_of_its_tasks() {
    let binding = "SADD _kombu.binding.celery celery\u{6}\u{16}\u{6}\u{16}celery";
    let message = |id: &str, eta: &str| {
        let body = BASE64.encode(r#"[[1],{"to":"ada"},{}]"#);
        let headers = format!(r#"{{"id":"{id}","task":"welcome","eta":{eta}}}"#);
        let properties = r#"{"delivery_info":{"routing_key":"celery"}}"#;
        format!(r#"{{"headers":{headers},"body":"{body}","properties":{properties}}}"#)
    };
    let none = Remembers("celery", &[]);
    let knows = Remembers("celery", &["a", "b"]);
    let mut engine = server(&[binding, &format!("LPUSH celery {}", message("a", "null"))]);
    assert_eq!(tells(&engine, "celery", &none), ["celery a waiting"]);
    assert!(tells(&engine, "celery", &knows).is_empty());
    let queue = &Known::find(&engine).queues()[0];
    let job = queue.job(&engine, b"a").expect("it is there");
    assert_eq!(job.name, b"welcome");
    assert_eq!(job.data, br#"{"args":[1],"kwargs":{"to":"ada"}}"#);

    let eta = format!("{:?}", crate::util::calendar::iso(NOW_MS + 1000));
    let held =
        |tag: &str, message: String| format!(r#"HSET unacked {tag} [{message},"celery","celery"]"#);
    ask(&mut engine, &[&held("1", message("a", "null"))]);
    assert_eq!(tells(&engine, "unacked", &none), ["celery a active"]);
    ask(&mut engine, &["DEL unacked", &held("2", message("b", &eta))]);
    assert_eq!(tells(&engine, "unacked", &none), ["celery b delayed"]);
    ask(&mut engine, &[r#"SET celery-task-meta-b {"status":"SUCCESS","result":3}"#]);
    assert_eq!(tells(&engine, "celery-task-meta-b", &knows), ["celery b completed"]);
    assert!(tells(&engine, "celery-task-meta-b", &none).is_empty());
    // Acknowledged late, it is still held when its result is there.
    assert!(tells(&engine, "unacked", &knows).is_empty());
    let failure = r#"{"status":"FAILURE","result":{"exc_message":["no"]}}"#;
    ask(&mut engine, &[&format!("SET celery-task-meta-a {failure}")]);
    assert_eq!(tells(&engine, "celery-task-meta-a", &knows), ["celery a failed"]);
}
