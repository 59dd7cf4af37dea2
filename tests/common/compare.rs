//! Whether a reply is the one that a transcript wants, in the protocol that it came in.

use super::reply::Reply;
use std::collections::BTreeMap;

/// How a reply travelled. Transcripts say what is meant; this says what becomes of it on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Dialect {
    /// Has neither doubles nor booleans, maps nor sets, and two nulls.
    Resp2,
    Resp3,
    /// RESP2 through a Lua script, whose numbers are doubles, and which has one null.
    Script,
    /// RESP2 as JSON: one kind of string and one null.
    Json,
    /// The same with strings in base64, which spares bytes that are no UTF-8.
    Base64,
}

/// What `$name` stands for, since its first reply came.
pub type Names = BTreeMap<String, Vec<u8>>;

pub fn matches(wanted: &Reply, got: &Reply, dialect: Dialect, names: &mut Names) -> bool {
    use Reply::*;
    let is_lowered = dialect != Dialect::Resp3;
    let is_json = matches!(dialect, Dialect::Json | Dialect::Base64);
    match (wanted, got) {
        (Bulk(wanted) | Verbatim(_, wanted), Bulk(got)) if dialect == Dialect::Json => {
            wanted == got || as_utf8(wanted) == *got
        }
        // RESP has one line for these; and errors are plain text whatever becomes of strings.
        (Simple(wanted), Bulk(got)) | (Error(wanted), Error(got)) if is_json => {
            let got = on_one_line(got);
            got == *wanted || got == as_utf8(wanted)
        }
        (Any, got) => !matches!(got, Nothing | Closed),
        (Named(name), got) => match (got.text(), names.get(name)) {
            (None, _) => false,
            (Some(text), Some(known)) => text == *known,
            (Some(text), None) => names.insert(name.clone(), text).is_none(),
        },
        (AnyInteger, Integer(_)) | (AnyError, Error(_)) | (AnyDouble, Double(_)) => true,
        (AnyString, Simple(_) | Bulk(_) | Verbatim(..)) => true,
        (AnyDouble, Bulk(text)) => {
            is_lowered && String::from_utf8_lossy(text).parse::<f64>().is_ok()
        }
        (IntegerWithin(low, high), Integer(number)) => (low..=high).contains(&number),
        (Match(glob), Simple(text) | Bulk(text) | Verbatim(_, text)) => is_like(glob, text),
        (ErrorMatch(glob), Error(text)) => is_like(glob, text),
        // Doubles hold no larger integers; what comes of those is the script's affair.
        (Integer(wanted), Integer(_))
            if dialect == Dialect::Script && wanted.unsigned_abs() > 1 << 53 =>
        {
            true
        }
        (Null, NullArray) | (NullArray, Null) => dialect != Dialect::Resp2,
        (Array(wanted), Array(got)) | (Push(wanted), Push(got)) => {
            in_order(wanted, got, dialect, names)
        }
        (Push(wanted), Array(got)) => is_lowered && in_order(wanted, got, dialect, names),
        (Unordered(wanted), Array(got)) | (Set(wanted), Set(got)) => {
            in_any_order(&singles(wanted), &singles(got), dialect, names)
        }
        (Set(wanted), Array(got)) => {
            is_lowered && in_any_order(&singles(wanted), &singles(got), dialect, names)
        }
        (Map(wanted), Map(got)) => in_any_order(&pairs(wanted), &pairs(got), dialect, names),
        (Map(wanted), Array(got)) => {
            let got: Vec<Vec<Reply>> = got.chunks(2).map(<[_]>::to_vec).collect();
            is_lowered && in_any_order(&pairs(wanted), &got, dialect, names)
        }
        (Double(wanted) | BigNumber(wanted), Bulk(got)) => is_lowered && wanted.as_bytes() == got,
        (Boolean(wanted), Integer(got)) => is_lowered && i64::from(*wanted) == *got,
        (Verbatim(_, wanted), Bulk(got)) => is_lowered && wanted == got,
        (wanted, got) => wanted == got,
    }
}

fn in_order(wanted: &[Reply], got: &[Reply], dialect: Dialect, names: &mut Names) -> bool {
    wanted.len() == got.len()
        && wanted.iter().zip(got).all(|(wanted, got)| {
            matches(wanted, got, dialect, names) || is_told(wanted, got, dialect)
        })
}

/// Whether an error has become a string: inside of arrays JSON has nothing else for it.
fn is_told(wanted: &Reply, got: &Reply, dialect: Dialect) -> bool {
    match (wanted, got) {
        (Reply::Error(wanted), Reply::Bulk(got)) => {
            dialect == Dialect::Json && as_utf8(wanted) == *got
        }
        _ => false,
    }
}

/// Compares groups of replies as multisets: groups of one for a set, of two for a map.
fn in_any_order(
    wanted: &[Vec<Reply>],
    got: &[Vec<Reply>],
    dialect: Dialect,
    names: &mut Names,
) -> bool {
    let mut left: Vec<&Vec<Reply>> = got.iter().collect();
    let all_found = wanted.iter().all(|wanted| {
        let found = left.iter().position(|got| in_order(wanted, got, dialect, names));
        found.map(|index| left.swap_remove(index)).is_some()
    });
    all_found && left.is_empty()
}

fn singles(replies: &[Reply]) -> Vec<Vec<Reply>> {
    replies.iter().map(|reply| vec![reply.clone()]).collect()
}

fn pairs(pairs: &[(Reply, Reply)]) -> Vec<Vec<Reply>> {
    pairs.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect()
}

/// What JSON makes of bytes.
fn as_utf8(bytes: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).into_owned().into_bytes()
}

fn on_one_line(text: &[u8]) -> Vec<u8> {
    let is_end = |byte: u8| matches!(byte, b'\r' | b'\n');
    text.iter().map(|&byte| if is_end(byte) { b' ' } else { byte }).collect()
}

/// Globs here have `*` and `?` only, and both match line ends.
fn is_like(glob: &[u8], text: &[u8]) -> bool {
    match (glob, text) {
        ([], []) => true,
        ([b'*', glob @ ..], text) => (0..=text.len()).any(|at| is_like(glob, &text[at..])),
        ([b'?', glob @ ..], [_, text @ ..]) => is_like(glob, text),
        ([byte, glob @ ..], [same, text @ ..]) if byte == same => is_like(glob, text),
        _ => false,
    }
}

/// The narrowest reply with holes that both replies match: what differs from run to run is a hole.
pub fn generalize(a: &Reply, b: &Reply) -> Reply {
    use Reply::*;
    let each = |a: &[Reply], b: &[Reply]| a.iter().zip(b).map(|(a, b)| generalize(a, b)).collect();
    let is_permuted = |a: &[Reply], b: &[Reply]| {
        in_any_order(&singles(a), &singles(b), Dialect::Resp3, &mut Names::new())
    };
    match (a, b) {
        (a, b) if a == b => a.clone(),
        (Integer(_) | AnyInteger, Integer(_)) => AnyInteger,
        (Double(_) | AnyDouble, Double(_)) => AnyDouble,
        (Simple(_) | Bulk(_) | Verbatim(..) | AnyString, Simple(_) | Bulk(_) | Verbatim(..)) => {
            AnyString
        }
        (Error(_) | AnyError, Error(_)) => AnyError,
        (Set(a), Set(b)) if is_permuted(a, b) => Set(a.clone()),
        (Set(a), Set(b)) if a.len() == b.len() => Set(each(a, b)),
        (Unordered(a), Array(b)) if is_permuted(a, b) => Unordered(a.clone()),
        (Unordered(a) | Array(a), Array(b)) if a.len() == b.len() => {
            let each: Vec<Reply> = each(a, b);
            let was_wide = a.iter().any(Reply::is_wide);
            let is_mixed_up = !was_wide && each.iter().any(Reply::is_wide) && is_permuted(a, b);
            if is_mixed_up { Unordered(a.clone()) } else { Array(each) }
        }
        (Push(a), Push(b)) if a.len() == b.len() => Push(each(a, b)),
        (Map(x), Map(y)) => {
            if in_any_order(&pairs(x), &pairs(y), Dialect::Resp3, &mut Names::new()) {
                return Map(x.clone());
            }
            let value_in_y = |key: &Reply| y.iter().find(|(other, _)| other == key);
            let same_keys =
                x.len() == y.len() && x.iter().all(|(key, _)| value_in_y(key).is_some());
            if !same_keys {
                return Any;
            }
            let merged = x.iter().map(|(key, value)| {
                let (_, other) = value_in_y(key).expect("the keys are the same");
                (key.clone(), generalize(value, other))
            });
            Map(merged.collect())
        }
        _ => Any,
    }
}

/// What RESP3 said, with its one null split into the two that RESP2 said.
pub fn with_nulls_of(resp3: &Reply, resp2: &Reply) -> Reply {
    use Reply::*;
    let each = |resp3: &[Reply], resp2: &[Reply]| {
        resp3.iter().zip(resp2).map(|(resp3, resp2)| with_nulls_of(resp3, resp2)).collect()
    };
    match (resp3, resp2) {
        (Null, NullArray) => NullArray,
        (Array(resp3), Array(resp2)) if resp3.len() == resp2.len() => Array(each(resp3, resp2)),
        (Push(resp3), Array(resp2)) if resp3.len() == resp2.len() => Push(each(resp3, resp2)),
        (Map(resp3), Array(resp2)) if resp3.len() * 2 == resp2.len() => {
            let pairs = resp3.iter().zip(resp2.chunks(2)).map(|((key, value), pair)| {
                (with_nulls_of(key, &pair[0]), with_nulls_of(value, &pair[1]))
            });
            Map(pairs.collect())
        }
        _ => resp3.clone(),
    }
}
