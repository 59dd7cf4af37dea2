//! The value types alone: what a queue does with them, at the sizes of a busy one.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::ops::Bound::Included;
use toril::config::Limits;
use toril::data::list::Side;
use toril::data::stream::{Keep, StreamId};
use toril::data::{Hash, List, Stream, Zset};
use toril::util::rng::Rng;
use toril::util::shared::Recent;

#[global_allocator]
static ALLOCATOR: toril::util::alloc::Counted = toril::util::alloc::Counted;

const MEMBERS: usize = 1_000_000;

/// As BullMQ scores delayed jobs: milliseconds times 4096.
fn score(number: usize) -> f64 {
    (1_785_000_000_000 + number) as f64 * 4096.0
}

fn zsets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sorted set of a million");
    let ids: Vec<String> = (0..MEMBERS).map(|id| id.to_string()).collect();
    let mut zset = Zset::new();
    for (number, id) in ids.iter().enumerate() {
        zset.insert(id.as_bytes(), score(number), &Limits::DEFAULT);
    }
    println!("{} bytes per member", zset.heap_size() / MEMBERS);
    let mut rng = Rng::from_seed(1);
    let mut next = MEMBERS;
    group.bench_function("append a job, pop the first", |bencher| {
        bencher.iter(|| {
            next += 1;
            zset.insert(next.to_string().as_bytes(), score(next), &Limits::DEFAULT);
            black_box(zset.at(0).1);
            zset.remove_range(0..1);
        });
    });
    group.bench_function("score", |bencher| {
        bencher.iter(|| zset.score(ids[rng.below(MEMBERS)].as_bytes()));
    });
    group.bench_function("rank", |bencher| {
        bencher.iter(|| zset.rank(ids[rng.below(MEMBERS)].as_bytes()));
    });
    group.bench_function("range by score", |bencher| {
        bencher.iter(|| {
            let start = rng.below(MEMBERS);
            zset.ranks_by_score(Included(score(start)), Included(score(start + 10)))
        });
    });
    group.bench_function("move a member", |bencher| {
        bencher.iter(|| {
            let id = ids[rng.below(MEMBERS)].as_bytes();
            zset.insert(id, score(rng.below(2 * MEMBERS)), &Limits::DEFAULT)
        });
    });
}

fn lists(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    let mut list = List::new();
    let mut next = 1_000;
    (0..next).for_each(|id: u32| list.push_front(id.to_string().as_bytes()));
    group.bench_function("push and pop an id", |bencher| {
        bencher.iter(|| {
            next += 1;
            list.push_front(next.to_string().as_bytes());
            black_box(list.peek(Side::Right).is_some());
            list.pop_back();
        });
    });
    group.bench_function("remove one of 1,000 active ids", |bencher| {
        let middle = list.get(500).expect("there are a thousand").to_vec();
        bencher.iter(|| {
            list.remove(-1, &middle);
            list.insert(500, &middle);
        });
    });
    let names: Vec<String> = (0..1_000).map(|id| format!("repeat:4f1d0c{id:06}:1785")).collect();
    let mut list = List::new();
    names.iter().for_each(|name| list.push_front(name.as_bytes()));
    group.bench_function("remove one of 1,000 active names", |bencher| {
        bencher.iter(|| {
            list.remove(-1, names[500].as_bytes());
            list.insert(500, names[500].as_bytes());
        });
    });
}

fn streams(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut stream = Stream::new();
    let mut id = StreamId::new(1_785_000_000_000, 0);
    let mut number = 0;
    criterion.bench_function("stream: append an event, trim to about 10,000", |bencher| {
        bencher.iter(|| {
            number += 1;
            id = StreamId::new(id.ms + number % 2, if number % 2 == 0 { id.seq + 1 } else { 0 });
            let job = number.to_string();
            let fields: [&[u8]; 6] =
                [b"event", b"waiting", b"jobId", job.as_bytes(), b"prev", b"active"];
            stream.append(id, &fields, &limits);
            stream.trim(Keep::Newest(10_000), true, 10_000)
        });
    });
}

/// As BullMQ writes a job, reads it, and counts an attempt.
fn hashes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash of a job");
    let limits = Limits::default();
    let data = format!(r#"{{"to":"{}"}}"#, "x".repeat(240));
    let fields: [(&[u8], &[u8]); 6] = [
        (b"name", b"mail"),
        (b"data", data.as_bytes()),
        (b"opts", br#"{"delay":3600000,"attempts":0}"#),
        (b"timestamp", b"1785556642040"),
        (b"delay", b"3600000"),
        (b"priority", b"0"),
    ];
    let mut recent = Recent::default();
    let mut write = || {
        let mut hash = Hash::new();
        fields.iter().for_each(|(field, value)| assert!(hash.set(field, value, &limits)));
        hash.share(&mut recent);
        hash
    };
    group.bench_function("write", |bencher| bencher.iter(&mut write));
    let mut hash = write();
    group.bench_function("read all", |bencher| {
        bencher.iter(|| hash.iter().map(|(field, value)| field.len() + value.len()).sum::<usize>());
    });
    group.bench_function("read three", |bencher| {
        bencher.iter(|| {
            let fields: [&[u8]; 3] = [b"opts", b"attemptsMade", b"delay"];
            fields.map(|field| hash.get(field).map(|value| value.len()))
        });
    });
    let mut attempts = 0;
    group.bench_function("count an attempt", |bencher| {
        bencher.iter(|| {
            attempts = (attempts + 1) % 100;
            hash.set(b"attemptsMade", itoa::Buffer::new().format(attempts).as_bytes(), &limits)
        });
    });
}

criterion_group!(benches, zsets, lists, streams, hashes);
criterion_main!(benches);
