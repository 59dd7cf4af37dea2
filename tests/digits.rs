//! Doubles as texts, digit for digit as Redis 7.4.1 prints them: scores, what scripts get of them,
//! and what is digested.

mod common;

use common::peer::Peer;
use common::reply::Reply;
use common::tcp::oracle;
use toril::util::number::format_double;
use toril::util::rng::Rng;

/// Of any size, but more of those that people have: fractions, money, times, sums.
fn random_double(rng: &mut Rng) -> f64 {
    let value = match rng.below(8) {
        0 => f64::from_bits(rng.next_u64()),
        1 => rng.next_f64(),
        2 => rng.below(100_000_000) as f64 * 0.001 + rng.below(1000) as f64 * 1e-7,
        3 => 1_700_000_000_000.0 + rng.next_f64() * 1e11,
        4 => rng.next_f64() * 10f64.powi(rng.below(40) as i32 - 20),
        // A time of a whole day, and other round ones.
        5 => rng.below(1000) as f64 * 10f64.powi(rng.below(18) as i32),
        6 => 2f64.powi(rng.below(2000) as i32 - 1000).next_down(),
        _ => rng.next_u64() as f64 * [1.0, 0.5, -0.1, 1e3][rng.below(4)],
    };
    if value.is_finite() { value } else { 0.5 }
}

/// Scores in batches: gives them to a server, and shows what it answers to each.
fn ask_scores(peer: &mut Peer, scores: &[f64], mut visit: impl FnMut(f64, &[u8])) {
    let members: Vec<String> = (0..scores.len()).map(|at| at.to_string()).collect();
    let texts: Vec<String> = scores.iter().map(|score| format!("{score:e}")).collect();
    let mut words = vec![&b"ZADD"[..], b"z"];
    for (text, member) in texts.iter().zip(&members) {
        words.extend([text.as_bytes(), member.as_bytes()]);
    }
    peer.say("DEL z");
    assert_eq!(peer.ask(&words), Reply::Integer(scores.len() as i64));
    let mut words = vec![&b"ZMSCORE"[..], b"z"];
    words.extend(members.iter().map(|member| member.as_bytes()));
    let Reply::Array(replies) = peer.ask(&words) else { panic!("there are scores") };
    for (score, reply) in scores.iter().zip(replies) {
        visit(*score, &reply.text().expect("a score"));
    }
}

#[test]
fn a_million_doubles_have_the_digits_of_redis() {
    let Some(program) = oracle("redis-7.4") else { return };
    let mut redis = Peer::start("redis-7.4", &program);
    let mut rng = Rng::from_seed(2010);
    for _ in 0..1000 {
        let scores: Vec<f64> = (0..1000).map(|_| random_double(&mut rng)).collect();
        ask_scores(&mut redis, &scores, |score, text| {
            let own = format_double(score);
            assert_eq!(
                own.escape_ascii().to_string(),
                text.escape_ascii().to_string(),
                "{score:e}"
            );
        });
    }
}

#[test]
fn commands_scripts_and_digests_have_them() {
    let Some(program) = oracle("redis-7.4") else { return };
    let mut rng = Rng::from_seed(72);
    let mut peers = [Peer::start("redis-7.4", &program), Peer::toril()];
    let mut check = |words: &[&[u8]]| {
        let [there, here] = peers.each_mut().map(|peer| peer.ask(words));
        let shown: Vec<_> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
        assert_eq!(here, there, "{shown:?}");
    };
    let script = b"redis.setresp(3) local it = redis.call('ZSCORE', KEYS[1], ARGV[1]) \
        return {it, it.double, tostring(it.double), redis.call('ZINCRBY', KEYS[1], 0, ARGV[1])}";
    for at in 0..3000 {
        let (first, second) = (random_double(&mut rng), random_double(&mut rng));
        let (first, second) = (format!("{first:e}"), format!("{second:e}"));
        let (key, member) = (format!("z{}", at % 7), format!("m{}", at % 300));
        let (key, member) = (key.as_bytes(), member.as_bytes());
        check(&[b"ZADD", key, first.as_bytes(), member]);
        check(&[b"ZINCRBY", key, second.as_bytes(), member]);
        check(&[b"EVAL", script, b"1", key, member]);
    }
    check(&[b"ZADD", b"z", b"72347.4181319329", b"known"]);
    check(&[b"ZSCORE", b"z", b"known"]);
    check(&[b"ZRANGE", b"z0", b"0", b"-1", b"WITHSCORES"]);
    check(&[b"DEBUG", b"DIGEST"]);
}

/// In a listpack a zero has no sign. So the digest of a sorted set whose encoding a reload changes
/// is another one then, in Redis as here.
#[test]
fn a_zero_loses_its_sign_where_it_does_in_redis() {
    let Some(program) = oracle("redis-7.4") else { return };
    let folders =
        ["redis", "toril"].map(|name| common::program::Folder::new(&format!("zero-{name}")));
    let own = std::path::Path::new(env!("CARGO_BIN_EXE_toril"));
    let mut peers = [
        Peer::start_in("redis-7.4", &program, &folders[0].0),
        Peer::start_in("toril", own, &folders[1].0),
    ];
    let long = "x".repeat(65);
    let all = format!(
        "ZADD small -0 a 1 b;ZADD long -0 a -0 {long} -0 b;ZREM long {long};ZADD s 0 a;\
         ZUNIONSTORE minus 1 s WEIGHTS -1;CONFIG SET zset-max-listpack-entries 2;\
         ZADD three -0 a 1 b 2 c;ZREM three b c;ZADD four -0 a 1 b -0 c;ZRANGESTORE kept four 0 1;\
         COPY four same;ZREM same b;SORT small STORE sorted;DEBUG DIGEST;DEBUG RELOAD;DEBUG DIGEST;\
         CONFIG SET zset-max-listpack-entries 128;DEBUG RELOAD;DEBUG DIGEST"
    );
    let ask = |peer: &mut Peer, line: &str| peer.say(line);
    let mut digests = Vec::new();
    for line in all.split(';') {
        let [there, here] = peers.each_mut().map(|peer| ask(peer, line));
        assert_eq!(here, there, "{line}");
        if line == "DEBUG DIGEST" {
            digests.push(here);
        }
        for key in ["small", "long", "minus", "three", "four", "kept", "same"] {
            for line in [format!("ZRANGE {key} 0 -1 WITHSCORES"), format!("OBJECT ENCODING {key}")]
            {
                let [there, here] = peers.each_mut().map(|peer| ask(peer, &line));
                assert_eq!(here, there, "{line}");
            }
        }
    }
    assert_ne!(digests[0], digests[1]);
}
