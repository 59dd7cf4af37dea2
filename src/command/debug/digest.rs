//! DEBUG DIGEST: 20 bytes that are the same on two servers if their data is, whatever the order and
//! the encodings.
//!
//! What has an order is mixed in, step by step: the digest so far and a text's SHA-1 are combined,
//! and SHA-1 of that is the new digest. What has none is added, by exclusive or. These are Redis's
//! own digests, so that a server here can be compared with one there.

use sha1_smol::Sha1;

use crate::data::hash::PairExpiry;
use crate::data::{Hash, Value};
use crate::engine::keyspace::Keyspace;
use crate::util::number;

#[derive(Clone, Copy, Default)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// Order matters.
    fn mix(&mut self, text: &[u8]) {
        self.add(text);
        self.0 = Sha1::from(self.0).digest().bytes();
    }

    /// Order does not matter.
    fn add(&mut self, text: &[u8]) {
        let other = Sha1::from(text).digest().bytes();
        self.0.iter_mut().zip(other).for_each(|(own, other)| *own ^= other);
    }

    /// 40 hexadecimal digits.
    pub fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn mix_value(&mut self, value: &Value) {
        self.mix(&number_of_type(value).to_be_bytes());
        match value {
            Value::Str(it) => self.mix(&it.bytes()),
            Value::List(it) => it.iter().for_each(|element| self.mix(&element)),
            Value::Set(it) => it.iter().for_each(|member| self.add(&member)),
            Value::Zset(it) => {
                for (member, score) in it.iter() {
                    self.add_pair(&member, &number::format_briefly(score));
                }
            }
            Value::Hash(it) => self.mix_hash(it),
            Value::Stream(it) => {
                for entry in it.iter() {
                    self.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
                    for (name, value) in entry.fields() {
                        self.mix(name);
                        self.mix(value);
                    }
                }
            }
            Value::Cold(_) => unreachable!("what is looked at does not rest"),
        }
    }

    /// That a field has a TTL counts, and not how long it is.
    fn mix_hash(&mut self, hash: &Hash) {
        for PairExpiry { field, value, expires_ms } in hash.iter_with_expiry() {
            let mut pair = Self::default();
            pair.mix(&field);
            pair.mix(&value);
            if expires_ms.is_some() {
                pair.add(b"!!hexpire!!");
            }
            self.add(&pair.0);
        }
    }

    fn add_pair(&mut self, first: &[u8], second: &[u8]) {
        let mut pair = Self::default();
        pair.mix(first);
        pair.mix(second);
        self.add(&pair.0);
    }

    /// That there is a TTL counts, and not how long it is.
    fn add_lifetime(&mut self, has_ttl: bool) {
        if has_ttl {
            self.add(b"!!expire!!");
        }
    }

    /// Of one value; of none it is zeros.
    pub fn of_key(keyspace: &mut Keyspace, db: usize, key: &[u8]) -> Self {
        let mut digest = Self::default();
        keyspace.look_at(db, key, |value, has_ttl| {
            digest.mix_value(value);
            digest.add_lifetime(has_ttl);
        });
        digest
    }

    /// Of all databases.
    pub fn of_all(keyspace: &mut Keyspace) -> Self {
        let mut all = Self::default();
        for db in 0..keyspace.databases() {
            if keyspace.db(db).is_empty() {
                continue;
            }
            all.mix(&(db as u32).to_be_bytes());
            keyspace.look_at_all(db, |key, value, has_ttl| {
                let mut digest = Self::default();
                digest.mix(key);
                digest.mix_value(value);
                digest.add_lifetime(has_ttl);
                all.add(&digest.0);
            });
        }
        all
    }
}

/// As Redis counts its types; the fifth is that of modules.
fn number_of_type(value: &Value) -> u32 {
    match value {
        Value::Str(_) => 0,
        Value::List(_) => 1,
        Value::Set(_) => 2,
        Value::Zset(_) => 3,
        Value::Hash(_) => 4,
        Value::Stream(_) => 6,
        Value::Cold(it) if it.is_str() => 0,
        Value::Cold(_) => 4,
    }
}
