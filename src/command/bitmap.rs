//! The commands on strings as bits: single ones, counts, and integers of any width.

use super::prelude::*;
use crate::data::bitmap::{self, Field, Operation, Overflow};
use crate::data::item::Item;
use crate::data::{Str, Typed};
use crate::util::number;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Bitmap, &[
    row("bitcount",    "2.6.0", AtLeast(2), Keys::one(1).reads(), &[Read], bitcount, "key [start end [BYTE|BIT]]", "Counts the bits that are set."),
    row("bitfield",    "3.2.0", AtLeast(2), Keys::one(1).updates().with(access::ACCESS | access::VARIABLE | access::MAY_ONLY_READ), &[Write, DenyOom], bitfield, "key [GET encoding offset | [OVERFLOW WRAP|SAT|FAIL] <SET encoding offset value | INCRBY encoding offset increment>]...", "Answers and changes integers of any width among the bits."),
    row("bitfield_ro", "6.0.0", AtLeast(2), Keys::one(1).reads(), &[Read, Fast], bitfield_ro, "key [GET encoding offset [GET encoding offset ...]]", "Answers integers of any width among the bits."),
    row("bitop",       "2.6.0", AtLeast(4), Keys::one(2).overwrites().and(Keys::span(3, -1).reads()), &[Write, DenyOom], bitop, "AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE destkey key [key ...]", "Stores what several strings have in common, bit by bit."),
    row("bitpos",      "2.8.7", AtLeast(3), Keys::one(1).reads(), &[Read], bitpos, "key bit [start [end [BYTE|BIT]]]", "Finds the first bit that is set, or that is not."),
    row("getbit",      "2.2.0", Exactly(3), Keys::one(1).reads(), &[Read, Fast], getbit, "key offset", "Answers a bit."),
    row("setbit",      "2.2.0", Exactly(4), Keys::one(1).updates().with(access::ACCESS), &[Write, DenyOom], setbit, "key offset value", "Sets a bit, or takes it away, and answers what it was."),
]);

const EVENT: &str = "setbit";

/// Where a bit is: within the length that a string may have. `#n` counts fields of `bits` each.
fn offset(word: &[u8], bits: Option<u32>, cx: &Ctx) -> Result<usize> {
    let (digits, width) = match (word, bits) {
        ([b'#', digits @ ..], Some(bits)) => (digits, i64::from(bits)),
        _ => (word, 1),
    };
    number::parse_i64(digits)
        .and_then(|index| usize::try_from(index.wrapping_mul(width)).ok())
        .filter(|offset| offset / 8 < cx.config().proto_max_bulk_len)
        .ok_or_else(|| Error::new("ERR bit offset is not an integer or out of range"))
}

fn setbit(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, offset) = (args.key(), offset(args.given(), None, cx)?);
    let is_set = match number::parse_i64(args.given()) {
        Some(0) => false,
        Some(1) => true,
        _ => return Err(Error::new("ERR bit is not an integer or out of range")),
    };
    let mut string = cx.edit_or_create::<Str>(key)?;
    let grows = string.len() <= offset / 8;
    let was_set = bitmap::set(string.edit(offset / 8 + 1), offset, is_set);
    reply.flag(was_set);
    if grows || was_set != is_set {
        string.commit(EVENT);
    }
    Ok(())
}

fn getbit(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, offset) = (args.key(), offset(args.given(), None, cx)?);
    let string = cx.read::<Str>(key)?;
    reply.flag(string.is_some_and(|string| bitmap::get(&string.bytes(), offset)));
    Ok(())
}

/// Some of a string's bits: from one index to another, inclusive. Negative ones count from the end.
struct Span {
    start: i64,
    end: i64,
    counts_bits: bool,
}

impl Span {
    const ALL: Self = Self { start: 0, end: -1, counts_bits: false };

    fn bits(&self, string: &[u8]) -> Range<usize> {
        let unit = if self.counts_bits { 1 } else { 8 };
        let len = (string.len() * 8 / unit) as i64;
        let resolve = |index: i64| if index < 0 { (len + index).max(0) } else { index };
        let (start, end) = (resolve(self.start), resolve(self.end).min(len - 1));
        if start > end { 0..0 } else { start as usize * unit..(end as usize + 1) * unit }
    }
}

/// Reads `[BYTE | BIT]` up to the end.
fn counts_bits(mut args: Args) -> Result<bool> {
    let counts_bits = args.accept("bit");
    if !counts_bits {
        args.accept("byte");
    }
    args.end()?;
    Ok(counts_bits)
}

fn bitcount(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let span = match args.left() {
        0 => Span::ALL,
        2 | 3 => Span { start: args.int()?, end: args.int()?, counts_bits: counts_bits(args)? },
        _ => return Err(Error::Syntax),
    };
    // Both before the begin would otherwise be the first bit.
    let is_reversed = span.start < 0 && span.end < 0 && span.start > span.end;
    let string = cx.read::<Str>(key)?.filter(|_| !is_reversed);
    let ones = string.map_or(0, |string| {
        let bytes = string.bytes();
        bitmap::count_bits(&bytes, span.bits(&bytes))
    });
    reply.int(ones as i64);
    Ok(())
}

fn bitpos(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let is_set = match args.int()? {
        0 => false,
        1 => true,
        _ => return Err(Error::new("ERR The bit argument must be 1 or 0.")),
    };
    if args.left() > 3 {
        return Err(Error::Syntax);
    }
    let start = if args.left() > 0 { args.int()? } else { 0 };
    let end = args.next();
    let counts_bits = counts_bits(args)?;
    let last = end.map(|word| number::parse_i64(word).ok_or(Error::NotInteger)).transpose()?;
    let span = Span { start, end: last.unwrap_or(-1), counts_bits };
    let Some(string) = cx.read::<Str>(key)? else {
        reply.int(if is_set { -1 } else { 0 });
        return Ok(());
    };
    let bytes = string.bytes();
    let bits = span.bits(&bytes);
    match bitmap::find(&bytes, bits.clone(), is_set) {
        Some(at) => reply.count(at),
        // The string goes on in zeros, where nothing says that it ends.
        None if !is_set && end.is_none() && !bits.is_empty() => reply.count(bits.end),
        None => reply.int(-1),
    }
    Ok(())
}

/// By the word that asks for it.
const OPERATIONS: &[(&str, Operation)] = &[
    ("and", Operation::And),
    ("or", Operation::Or),
    ("xor", Operation::Xor),
    ("not", Operation::Not),
    ("diff", Operation::Diff),
    ("diff1", Operation::Diff1),
    ("andor", Operation::AndOr),
    ("one", Operation::One),
];

fn bitop(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let operation = OPERATIONS.iter().find(|(word, _)| args.accept(word));
    let &(word, operation) = operation.ok_or(Error::Syntax)?;
    let (target, sources) = (args.key(), args.remaining());
    let wanted = match operation {
        Operation::Not if sources.len() != 1 => "with a single source key",
        Operation::Diff | Operation::Diff1 | Operation::AndOr if sources.len() < 2 => {
            "with at least two source keys"
        }
        _ => "",
    };
    if !wanted.is_empty() {
        let word = word.to_ascii_uppercase();
        return Err(Error::new(format!("ERR BITOP {word} must be called {wanted}.")));
    }
    let entries = cx.read_all(sources, |value| Str::of(value).is_some())?;
    let strings = entries.iter().map(|entry| entry.and_then(|entry| Str::of(&entry.value)));
    let inputs: Vec<Item> =
        strings.map(|string| string.map_or(Item::of_bytes(b""), Str::bytes)).collect();
    let len = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
    let mut result = Str::new();
    if len > 0 {
        operation.combine(&inputs, result.edit(len));
        cx.put(target, result, "set");
    } else {
        cx.remove(target, "del");
    }
    reply.count(len);
    Ok(())
}

/// One of BITFIELD's steps.
struct Step {
    field: Field,
    offset: usize,
    change: Change,
}

enum Change {
    Nothing,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

impl Step {
    fn parse_all(mut args: Args, cx: &Ctx) -> Result<Vec<Self>> {
        let mut steps = Vec::new();
        let mut overflow = Overflow::Wrap;
        while args.left() > 0 {
            let (reads, sets, adds) =
                (args.accept("get"), args.accept("set"), args.accept("incrby"));
            if !reads && !sets && !adds {
                if !args.accept("overflow") {
                    return Err(Error::Syntax);
                }
                overflow = parse_overflow(args.word()?)?;
                continue;
            }
            let words = args.take_words(if reads { 2 } else { 3 })?;
            let field = parse_field(words[0])?;
            let offset = offset(words[1], Some(field.bits), cx)?;
            let integer = words.get(2).map(|word| number::parse_i64(word).ok_or(Error::NotInteger));
            let change = match integer.transpose()? {
                None => Change::Nothing,
                Some(value) if sets => Change::Set(value, overflow),
                Some(increment) => Change::Add(increment, overflow),
            };
            steps.push(Self { field, offset, change });
        }
        Ok(steps)
    }

    /// Bytes that the string must have for it; 0 if it only reads.
    fn len_min(&self) -> usize {
        match self.change {
            Change::Nothing => 0,
            Change::Set(..) | Change::Add(..) => {
                (self.offset + self.field.bits as usize).div_ceil(8)
            }
        }
    }

    /// Answers what is there, or null where a change is refused. Tells whether it changed anything:
    /// where the string was lengthened for it, a zero is a change too.
    fn run(&self, bytes: &mut [u8], is_longer: bool, reply: &mut Reply) -> bool {
        let Self { field, offset, ref change } = *self;
        let before = field.get(bytes, offset);
        let (after, shown) = match *change {
            Change::Nothing => (Some(before), Some(before)),
            Change::Set(value, overflow) => {
                let after = field.fit(value, overflow);
                (after, after.and(Some(before)))
            }
            Change::Add(increment, overflow) => {
                let after = field.add(before, increment, overflow);
                (after, after)
            }
        };
        match shown {
            Some(integer) => reply.int(integer),
            None => reply.null(),
        }
        let Some(after) = after.filter(|_| !matches!(change, Change::Nothing)) else {
            return false;
        };
        field.set(bytes, offset, after);
        is_longer || after != before
    }
}

fn parse_overflow(word: &[u8]) -> Result<Overflow> {
    match &*number::before_nul(word).to_ascii_lowercase() {
        b"wrap" => Ok(Overflow::Wrap),
        b"sat" => Ok(Overflow::Saturate),
        b"fail" => Ok(Overflow::Fail),
        _ => Err(Error::new("ERR Invalid OVERFLOW type specified")),
    }
}

fn parse_field(word: &[u8]) -> Result<Field> {
    let (is_signed, digits) = match number::before_nul(word) {
        [b'i', digits @ ..] => (true, digits),
        [b'u', digits @ ..] => (false, digits),
        _ => (true, &b""[..]),
    };
    let bits_max = if is_signed { 64 } else { 63 };
    match number::parse_i64(digits) {
        Some(bits @ 1..) if bits <= bits_max => Ok(Field { is_signed, bits: bits as u32 }),
        _ => Err(Error::new(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported \
             but i64 is.",
        )),
    }
}

fn bitfield(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let steps = Step::parse_all(args, cx)?;
    let len_min = steps.iter().map(Step::len_min).max().unwrap_or(0);
    if len_min == 0 {
        return read_fields(cx, key, &steps, reply);
    }
    let mut string = cx.edit_or_create::<Str>(key)?;
    let grows = string.len() < len_min;
    let bytes = string.edit(len_min);
    reply.array(steps.len());
    let changes = steps.iter().filter(|step| step.run(bytes, grows, reply)).count();
    if changes > 0 {
        string.commit_many(EVENT, changes);
    } else if grows {
        string.commit_unannounced();
    }
    Ok(())
}

fn read_fields(cx: &mut Ctx, key: &[u8], steps: &[Step], reply: &mut Reply) -> Result {
    let string = cx.read::<Str>(key)?;
    let bytes = string.map_or(Item::of_bytes(b""), Str::bytes);
    reply.array(steps.len());
    steps.iter().for_each(|step| reply.int(step.field.get(&bytes, step.offset)));
    Ok(())
}

fn bitfield_ro(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let steps = Step::parse_all(args, cx)?;
    if steps.iter().any(|step| step.len_min() > 0) {
        return Err(Error::new("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    read_fields(cx, key, &steps, reply)
}
