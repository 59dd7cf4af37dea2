//! INFO keysizes, as Redis 8.0 has it: how many keys of each type are how large.
//!
//! Redis keeps the counts with each change. Here each key is looked at when somebody asks, which
//! takes the server 16 ms for a million keys: so it must be asked for by name.

use super::{Engine, Text};
use crate::data::Value;

/// What is counted of each type: bytes of a string, items of a collection. Streams are not.
const DISTRIBUTIONS: [(&str, &str); 5] = [
    ("string", "strings_sizes"),
    ("list", "lists_items"),
    ("set", "sets_items"),
    ("zset", "zsets_items"),
    ("hash", "hashes_items"),
];

/// A place for 0 and one for each power of two.
const BINS: usize = 1 + u64::BITS as usize;

pub(super) fn write(engine: &Engine, text: &mut Text) {
    for db in 0..engine.keyspace.databases() {
        let mut counts = [[0u64; BINS]; DISTRIBUTIONS.len()];
        for entry in engine.keyspace.db(db).iter() {
            if let Some((of_type, size)) = measure(&entry.value) {
                counts[of_type][bin(size)] += 1;
            }
        }
        for ((_, name), counts) in DISTRIBUTIONS.iter().zip(counts) {
            let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            let bins: Vec<String> =
                filled.map(|(bin, count)| format!("{}={count}", least(bin))).collect();
            if !bins.is_empty() {
                text.field(format_args!("db{db}_distrib_{name}"), bins.join(","));
            }
        }
    }
}

fn measure(value: &Value) -> Option<(usize, usize)> {
    let of_type = DISTRIBUTIONS.iter().position(|(name, _)| *name == value.type_name())?;
    Some((of_type, value.size()))
}

fn bin(size: usize) -> usize {
    size.checked_ilog2().map_or(0, |power| 1 + power as usize)
}

/// The least size of a bin, in the greatest unit of which it is a multiple: `512`, `1K`.
fn least(bin: usize) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];
    match bin.checked_sub(1) {
        None => "0".into(),
        Some(power) => format!("{}{}", 1u64 << (power % 10), UNITS[power / 10]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_bins_of_powers_of_two() {
        let check = |size, expect: &str| assert_eq!(least(bin(size)), expect, "{size}");
        check(0, "0");
        check(1, "1");
        check(3, "2");
        check(1023, "512");
        check(1024, "1K");
        check((1 << 20) - 1, "512K");
        check(1 << 30, "1G");
        check(usize::MAX, "8E");
    }
}
