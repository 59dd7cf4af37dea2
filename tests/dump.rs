//! Values travel: what DUMP answers on one server is RESTOREd on another, and reads the same there.
//!
//! Random values of every type go from toril to each server that tests/oracles.sh has installed,
//! from each of them to toril, and from toril to itself. `TORIL_DUMP_SEEDS` says how many seeds.

mod common;

use common::peer::{ORACLES, Peer};
use common::reply::Reply;
use common::tcp;
use toril::util::rng::Rng;

type Word = Vec<u8>;

/// Requests that make one value of the key `k`.
struct Maker<'r> {
    rng: &'r mut Rng,
    requests: Vec<Vec<Word>>,
}

impl Maker<'_> {
    fn request(&mut self, start: &str, words: Vec<Word>) {
        let start = start.split(' ').map(|word| word.as_bytes().to_vec());
        self.requests.push(start.chain(words).collect());
    }

    fn integer(&mut self) -> Word {
        let bits = self.rng.below(64);
        let number = (self.rng.next_u64() >> bits).cast_signed();
        let number = if self.rng.below(4) == 0 { number.wrapping_neg() } else { number };
        number.to_string().into_bytes()
    }

    fn text(&mut self) -> Word {
        let kinds = if self.rng.below(8) == 0 { 10 } else { 7 };
        let len_end = [1, 5, 20, 21, 63, 64, 65, 200, 5_000, 20_000][self.rng.below(kinds)];
        let len = self.rng.below(len_end);
        match self.rng.below(4) {
            0 => self.integer(),
            1 => b"abcd".iter().copied().cycle().take(len).collect(),
            2 => (0..len).map(|_| self.rng.next_u64() as u8).collect(),
            _ => (0..len).map(|_| b"0123456789-.e+ax"[self.rng.below(16)]).collect(),
        }
    }

    fn count(&mut self) -> usize {
        let count_max = [1, 5, 40, 128, 200, 600, 3_000][self.rng.below(7)];
        1 + self.rng.below(count_max)
    }

    fn value(&mut self) {
        match self.rng.below(6) {
            0 => {
                let text = self.text();
                self.request("SET k", vec![text]);
                if self.rng.below(4) == 0 {
                    let text = self.text();
                    self.request("APPEND k", vec![text]);
                }
            }
            1 => {
                for _ in 0..self.count() {
                    let text = self.text();
                    let command = ["RPUSH k", "LPUSH k"][self.rng.below(2)];
                    self.request(command, vec![text]);
                }
            }
            2 => {
                let are_integers = self.rng.below(2) == 0;
                for _ in 0..self.count() {
                    let text = if are_integers { self.integer() } else { self.text() };
                    self.request("SADD k", vec![text]);
                }
            }
            3 => {
                for _ in 0..self.count() {
                    let (field, value) = (self.text(), self.text());
                    self.request("HSET k", vec![field, value]);
                }
                if self.rng.below(2) == 0 {
                    self.expire_fields();
                }
            }
            4 => {
                for _ in 0..self.count() {
                    let (score, member) = (self.score(), self.text());
                    self.request("ZADD k", vec![score, member]);
                }
            }
            _ => self.stream(),
        }
    }

    /// Every other field that was set goes some day; some of them twice.
    fn expire_fields(&mut self) {
        let fields: Vec<Word> = self.requests.iter().map(|words| words[2].clone()).collect();
        for field in fields.into_iter().filter(|_| self.rng.below(2) == 0).collect::<Vec<_>>() {
            let at_ms = 4_102_444_800_000 + self.rng.below(1 << 40);
            self.request(&format!("HPEXPIREAT k {at_ms} FIELDS 1"), vec![field]);
        }
    }

    fn score(&mut self) -> Word {
        match self.rng.below(6) {
            0 => {
                [&b"inf"[..], b"-inf", b"0", b"-0", b"1e300", b"5e-324"][self.rng.below(6)].to_vec()
            }
            1 => (self.rng.below(100) as f64 / 8.0).to_string().into_bytes(),
            2 => self.rng.next_f64().to_string().into_bytes(),
            _ => self.integer(),
        }
    }

    /// Two groups, of which one reads, forgets and acknowledges.
    fn groups(&mut self) {
        self.request("XGROUP CREATE k first 0", Vec::new());
        self.request("XGROUP CREATE k second $ ENTRIESREAD 3", Vec::new());
        for consumer in ["alice", "bob", "1234"] {
            let count = (1 + self.rng.below(60)).to_string().into_bytes();
            let start = format!("XREADGROUP GROUP first {consumer} COUNT");
            let words = [&count[..], b"STREAMS", b"k", b">"].map(<[u8]>::to_vec);
            self.request(&start, words.into());
        }
        let ids = (0..20).map(|at| format!("{}-{}", at / 2, at).into_bytes());
        self.request("XACK k first", ids.collect());
        self.request("XGROUP CREATECONSUMER k first idle", Vec::new());
    }

    fn stream(&mut self) {
        let mut ms = 1;
        for at in 0..self.count().min(400) {
            ms += self.rng.below(3);
            let mut fields = vec![format!("{ms}-{}", at + 1).into_bytes()];
            for name in 0..1 + self.rng.below(3) {
                let name =
                    if self.rng.below(10) == 0 { self.text() } else { vec![b'a' + name as u8] };
                fields.extend([name, self.text()]);
            }
            let id = fields[0].clone();
            self.request("XADD k", fields);
            if self.rng.below(5) == 0 {
                self.request("XDEL k", vec![id]);
            }
        }
        if self.rng.below(4) == 0 {
            let len = self.rng.below(200).to_string().into_bytes();
            self.request("XTRIM k MAXLEN", vec![len]);
        }
        if self.rng.below(2) == 0 {
            self.groups();
        }
        if self.rng.below(4) == 0 {
            self.request("XSETID k 99999-5 ENTRIESADDED 5000 MAXDELETEDID 7-7", Vec::new());
        }
    }
}

/// RDB's version stands in front of the checksum.
fn version(payload: &[u8]) -> u16 {
    let footer = payload.len() - 10;
    u16::from_le_bytes([payload[footer], payload[footer + 1]])
}

/// What was made on one is the same on the other.
fn travel(from: &mut Peer, to: &mut Peer, seed: u64) {
    let mut rng = Rng::from_seed(seed);
    let mut maker = Maker { rng: &mut rng, requests: Vec::new() };
    maker.value();
    let requests = maker.requests;
    from.say("DEL k");
    for request in &requests {
        from.ask(&request.iter().map(|word| &**word).collect::<Vec<_>>());
    }
    let payload = from.dump("k");
    let (source, target) = (from.name, to.name);
    let what = format!("seed {seed}, {source} to {target}: {}", payload[0]);
    let reply = to.restore("copy", &payload);
    // Valkey knows no TTLs of fields but its own, and none of Redis's payloads.
    let is_newer = match target {
        "redis-7.0" => version(&payload) > 10,
        "valkey" => version(&payload) == 12,
        _ => false,
    };
    if is_newer {
        assert!(matches!(reply, Reply::Error(_)), "{what}");
        return;
    }
    assert_eq!(reply, Reply::Simple(b"OK".to_vec()), "{what}");
    assert_eq!(from.read("k"), to.read("copy"), "{what}");
    assert_eq!(from.read_expiries("k"), to.read_expiries("copy"), "{what}");
    // Redis 7.0 does not tell when a consumer was active.
    if source != "redis-7.0" && target != "redis-7.0" {
        assert_eq!(from.read_groups("k"), to.read_groups("copy"), "{what}");
    }
    // Each makes the same of the same bytes. (7.0 and Valkey have rules of their own.)
    if ["toril", "redis-7.4"].contains(&source) && ["toril", "redis-7.4"].contains(&target) {
        assert_eq!(from.restore("copy", &payload), Reply::Simple(b"OK".to_vec()), "{what}");
        assert_eq!(from.encoding("copy"), to.encoding("copy"), "{what}");
    }
}

fn seeds() -> u64 {
    std::env::var("TORIL_DUMP_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(50)
}

#[test]
fn values_read_the_same_wherever_they_are_restored() {
    let mut toril = Peer::toril();
    let mut other = Peer::toril();
    (0..seeds()).for_each(|seed| travel(&mut toril, &mut other, seed));
    for name in ORACLES {
        let Some(program) = tcp::oracle(name) else {
            println!("{name} is missing: tests/oracles.sh installs it");
            continue;
        };
        let mut oracle = Peer::start(name, &program);
        for seed in 0..seeds() {
            travel(&mut toril, &mut oracle, seed);
            travel(&mut oracle, &mut toril, seed);
        }
    }
}
