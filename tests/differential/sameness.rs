//! Whether two servers have answered the same.

use crate::common::reply::Reply;
use toril::engine::row::tip;
use toril::engine::table::Found;

/// Times to live differ by what passes between two servers.
const SLACK_MS: i64 = 10_000;

/// How the replies of a command are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// Byte for byte.
    Exact,
    /// The elements in any order.
    AnyOrder,
    /// Fields and values, the pairs in any order.
    AnyOrderOfPairs,
    /// A time, more or less, or several of them.
    About,
}

impl Sameness {
    /// How a command's replies are compared; None if they say nothing, as random ones.
    pub fn of(found: &Found) -> Option<Sameness> {
        let tips = found.row.tips;
        match found.row.name {
            "hgetall" => Some(Sameness::AnyOrderOfPairs),
            "ttl" | "pttl" | "expiretime" | "pexpiretime" | "httl" | "hpttl" | "hexpiretime"
            | "hpexpiretime" => Some(Sameness::About),
            _ if tips.contains(&tip::VARIES) => None,
            _ if tips.contains(&tip::ORDER_VARIES) => Some(Sameness::AnyOrder),
            _ => Some(Sameness::Exact),
        }
    }

    pub fn holds(self, one: &Reply, other: &Reply) -> bool {
        match (self, one, other) {
            (_, one, other) if one == other => true,
            (Sameness::About, Reply::Integer(one), Reply::Integer(other)) => {
                (one - other).abs() <= SLACK_MS && (*one > 0) == (*other > 0)
            }
            (Sameness::About, Reply::Array(one), Reply::Array(other)) => {
                let mut pairs = one.iter().zip(other);
                one.len() == other.len() && pairs.all(|(one, other)| self.holds(one, other))
            }
            (Sameness::AnyOrder, Reply::Array(one), Reply::Array(other))
            | (Sameness::AnyOrder, Reply::Set(one), Reply::Set(other)) => {
                sorted(one) == sorted(other)
            }
            (Sameness::AnyOrderOfPairs, Reply::Array(one), Reply::Array(other)) => {
                sorted(&pairs(one)) == sorted(&pairs(other))
            }
            (Sameness::AnyOrderOfPairs, Reply::Map(one), Reply::Map(other)) => {
                let flat = |map: &[(Reply, Reply)]| {
                    let both = map.iter().map(|(key, value)| vec![key.clone(), value.clone()]);
                    both.map(Reply::Array).collect::<Vec<_>>()
                };
                sorted(&flat(one)) == sorted(&flat(other))
            }
            _ => false,
        }
    }
}

fn sorted(replies: &[Reply]) -> Vec<String> {
    let mut texts: Vec<String> = replies.iter().map(|reply| format!("{reply:?}")).collect();
    texts.sort();
    texts
}

fn pairs(flat: &[Reply]) -> Vec<Reply> {
    flat.chunks(2).map(|pair| Reply::Array(pair.to_vec())).collect()
}
