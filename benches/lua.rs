//! Scripts without an engine: what Lua itself costs.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use toril::config::LogLevel;
use toril::lua::{Callable, Commands, Lua, Progress};
use toril::proto::{Args, Protocol, Reply, Result};

#[global_allocator]
static ALLOCATOR: toril::util::alloc::Counted = toril::util::alloc::Counted;

const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Answers each command with a value of its type, and does nothing.
struct Nothing;

const JOB: [&[u8]; 18] = [
    b"name",
    b"job",
    b"data",
    b"{\"to\":\"someone@example.com\",\"subject\":\"hello\",\"n\":12345}",
    b"opts",
    b"{\"attempts\":3,\"removeOnComplete\":true}",
    b"timestamp",
    b"1700000000000",
    b"delay",
    b"0",
    b"priority",
    b"0",
    b"processedOn",
    b"1700000000001",
    b"ats",
    b"1",
    b"stc",
    b"0",
];

impl Commands for Nothing {
    fn call(&mut self, args: Args<'_>, reply: &mut Reply<'_>) -> Result {
        match args.all()[0] {
            b"HGETALL" => reply.bulks(&JOB),
            b"HMGET" => {
                reply.array(args.left() - 1);
                (1..args.left()).for_each(|_| reply.null());
            }
            b"HGET" | b"RPOPLPUSH" | b"GET" => reply.bulk(b"12"),
            b"HMSET" | b"SET" | b"XTRIM" => reply.ok(),
            b"XADD" => reply.bulk(b"1700000000000-0"),
            b"ZRANGEBYSCORE" => reply.array(0),
            _ => reply.int(1),
        }
        Ok(())
    }

    fn acl_check(&mut self, _: Args<'_>) -> Option<bool> {
        Some(true)
    }

    fn log(&mut self, _: LogLevel, _: &[u8]) {}

    fn log_level(&self) -> LogLevel {
        LogLevel::Warning
    }

    fn clock_s(&self) -> f64 {
        0.0
    }

    fn set_replication(&mut self, _: bool, _: bool) {}
}

/// The calls of BullMQ's moveToFinished when it fetches the next job.
const MOVE_TO_FINISHED: &str = r#"
local rcall = redis.call
local jobKey, stream = KEYS[12], KEYS[4]
if rcall("EXISTS", jobKey) == 1 then
    if rcall("SCARD", jobKey .. ":dependencies") ~= 1 then return -4 end
    if rcall("ZCARD", jobKey .. ":unsuccessful") ~= 1 then return -9 end
    local lockKey = jobKey .. ':lock'
    if rcall("GET", lockKey) == "12" then
        rcall("DEL", lockKey)
        rcall("SREM", KEYS[5], ARGV[1])
    end
    local attributes = rcall("HMGET", jobKey, "parentKey", "parent", "deid")
    rcall("LREM", KEYS[2], -1, ARGV[1])
    local maxEvents = rcall("HGET", KEYS[9], "opts.maxLenEvents")
    rcall("XTRIM", stream, "MAXLEN", "~", maxEvents)
    rcall("HINCRBY", jobKey, "atm", 1)
    rcall("ZADD", KEYS[11], ARGV[2], ARGV[1])
    rcall("HSET", jobKey, ARGV[3], ARGV[4], "finishedOn", ARGV[2])
    rcall("XADD", stream, "*", "event", ARGV[5], "jobId", ARGV[1], ARGV[3], ARGV[4], "prev", "active")
    rcall("HMGET", KEYS[9], "max", "duration", "paused", "concurrency")
    rcall("ZRANGEBYSCORE", KEYS[7], 0, (tonumber(ARGV[2]) + 1) * 0x1000 - 1, "LIMIT", 0, 1000)
    local jobId = rcall("RPOPLPUSH", KEYS[1], KEYS[2])
    if jobId then
        local nextKey = ARGV[6] .. jobId
        rcall("SET", nextKey .. ':lock', ARGV[7], "PX", 30000)
        rcall("XADD", stream, "*", "event", "active", "jobId", jobId, "prev", "waiting")
        rcall("HMSET", nextKey, "processedOn", ARGV[2], "pb", "worker")
        rcall("HINCRBY", nextKey, "ats", 1)
        rcall("HGET", KEYS[9], "max")
        rcall("ZADD", KEYS[14], 0, "0")
        return {rcall("HGETALL", nextKey), jobId, 0, 0}
    end
end
return 0
"#;

fn run(lua: &mut Lua, source: &str, words: &[&[u8]], keys: usize, out: &mut Vec<u8>) {
    let script = lua.eval(source.as_bytes()).expect("it compiles");
    let sha = script.sha;
    drop(script);
    let script = lua.find(&sha).expect("it is cached");
    assert_eq!(
        lua.start(Callable::Script(script), &words[..keys], &words[keys..], &mut Nothing),
        Progress::Done
    );
    out.clear();
    lua.finish(&mut Reply::bytes(out, Protocol::Resp2), &mut |_, _| {}).expect("it succeeds");
}

fn scripts(criterion: &mut Criterion) {
    let mut lua = Lua::new(MEMORY_BYTES_MAX);
    let keys: Vec<Vec<u8>> =
        (0..14).map(|number| format!("bull:queue-name:{number}").into_bytes()).collect();
    let mut words: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    words.extend([
        &b"12"[..],
        b"1700000000123",
        b"returnvalue",
        b"{\"ok\":true}",
        b"completed",
        b"bull:queue-name:",
        b"a-token-of-a-worker",
    ]);
    let mut out = Vec::new();
    let script = lua.load(MOVE_TO_FINISHED.as_bytes()).expect("it compiles");
    criterion.bench_function("script of 24 calls", |bencher| {
        bencher.iter(|| {
            let outcome = lua.start(
                Callable::Script(script.clone()),
                &words[..14],
                &words[14..],
                &mut Nothing,
            );
            assert_eq!(outcome, Progress::Done);
            out.clear();
            lua.finish(&mut Reply::bytes(&mut out, Protocol::Resp2), &mut |_, _| {})
                .expect("it succeeds");
            black_box(&out);
        });
    });

    let loops = [
        ("empty loop", "local f = ARGV", ""),
        ("EXISTS", "local call = redis.call", "call('EXISTS', KEYS[1])"),
        ("EXISTS, used", "local call = redis.call", "local n = call('EXISTS', KEYS[1])"),
        ("ZADD", "local call = redis.call", "call('ZADD', KEYS[1], 0, '0')"),
        (
            "XADD of 9",
            "local call = redis.call",
            "call('XADD', KEYS[1], '*', 'event', ARGV[1], 'jobId', ARGV[1], 'a', 'b')",
        ),
        ("HGETALL of 9", "local call = redis.call", "local t = call('HGETALL', KEYS[1])"),
        ("global read", "", "local t = type"),
        (
            "cmsgpack.unpack",
            "local unpack = cmsgpack.unpack local packed = cmsgpack.pack({delay = 0, attempts = 3, removeOnComplete = true, jobId = '1234567890', timestamp = 1700000000000, priority = 10, backoff = {type = 'exponential', delay = 1000}, tm = {a = 'bcdefghijk'}})",
            "unpack(packed)",
        ),
        (
            "cjson.encode",
            "local encode = cjson.encode local value = {delay = 0, attempts = 3, removeOnComplete = true, jobId = '1234567890', timestamp = 1700000000000, priority = 10, backoff = {type = 'exponential', delay = 1000}}",
            "encode(value)",
        ),
        (
            "cjson.decode",
            "local decode = cjson.decode local text = cjson.encode({delay = 0, attempts = 3, removeOnComplete = true, jobId = '1234567890', timestamp = 1700000000000, priority = 10, backoff = {type = 'exponential', delay = 1000}})",
            "decode(text)",
        ),
    ];
    for (name, prepare, body) in loops {
        let source = format!("{prepare} for _ = 1, 1000 do {body} end return 1");
        criterion.bench_function(&format!("1000 x {name}"), |bencher| {
            bencher.iter(|| run(&mut lua, &source, &words, 14, &mut out));
        });
    }
    criterion.bench_function("return 1", |bencher| {
        bencher.iter(|| run(&mut lua, "return 1", &words[..1], 1, &mut out));
    });
}

criterion_group!(benches, scripts);
criterion_main!(benches);
