//! SORT: the elements of a list, a set or a sorted set in an order that other keys may decide.

use super::prelude::*;
use crate::data::{Hash, List, Str, Value, Zset};
use crate::util::number;
use std::cmp::Ordering;

/// Which keys BY and GET read depends on the elements.
const PATTERNS: Keys = Keys::spec(Begin::Unknown, Find::Unknown).reads();

/// What can be sorted.
const SORTED: &[Category] = &[Category::List, Category::Set, Category::Zset];

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::Generic, &[
    row("sort",    "1.0.0", AtLeast(2), Keys::one(1).reads().and(PATTERNS).and(Keys::option("store").overwrites()), &[Write, DenyOom, Dangerous], sort, "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]", "Sorts the elements of a value, and perhaps keeps the result.").acl_families(SORTED),
    row("sort_ro", "7.0.0", AtLeast(2), Keys::one(1).reads().and(PATTERNS), &[Read, Dangerous], sort_ro, "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]", "Sorts the elements of a value.").acl_families(SORTED),
]);

type Element = Box<[u8]>;

struct Options<'a> {
    /// The pattern of the keys whose values decide; None: the elements do themselves.
    by: Option<&'a [u8]>,
    /// BY a pattern without `*`: the order of the value itself, which DESC turns round.
    is_sorted: bool,
    gets: Vec<&'a [u8]>,
    offset: i64,
    /// Negative: all.
    count: i64,
    is_descending: bool,
    is_alpha: bool,
    target: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(mut args: Args<'a>, may_store: bool, may_read_all: bool) -> Result<Self> {
        let mut options = Self {
            by: None,
            is_sorted: true,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            is_descending: false,
            is_alpha: false,
            target: None,
        };
        while args.left() > 0 {
            if args.accept("asc") {
                options.is_descending = false;
            } else if args.accept("desc") {
                options.is_descending = true;
            } else if args.accept("alpha") {
                options.is_alpha = true;
            } else if args.left() > 2 && args.accept("limit") {
                (options.offset, options.count) = (args.int()?, args.int()?);
            } else if args.left() > 1 && args.accept("by") {
                options.by = args.next();
                options.is_sorted &= options.by.is_some_and(|by| by.contains(&b'*'));
                if options.is_sorted && !may_read_all {
                    return Err(denied("BY"));
                }
            } else if args.left() > 1 && args.accept("get") {
                options.gets.extend(args.next());
                if !may_read_all {
                    return Err(denied("GET"));
                }
            } else if may_store && args.left() > 1 && args.accept("store") {
                options.target = args.next();
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(options)
    }

    /// Sets have no order of their own: what is kept, or what a script goes on with, is sorted.
    fn adapt_to_set(&mut self, wants_fixed_order: bool) {
        if !self.is_sorted && (self.target.is_some() || wants_fixed_order) {
            (self.is_sorted, self.is_alpha, self.by) = (true, true, None);
        }
    }
}

/// Which keys a pattern reads nobody knows beforehand.
fn denied(option: &str) -> Error {
    Error::new(format!("ERR {option} option of SORT denied due to insufficient ACL permissions."))
}

fn sort(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    sort_with(cx, args, reply, true)
}

fn sort_ro(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    sort_with(cx, args, reply, false)
}

fn sort_with(cx: &mut Ctx, mut args: Args, reply: &mut Reply, may_store: bool) -> Result {
    let key = args.key();
    let mut options = Options::parse(args, may_store, cx.may_read_all(args))?;
    let wants_fixed_order = cx.wants_fixed_order();
    // Redis unpacks a sorted set for good before it reads it.
    if let Some(Value::Zset(zset)) = cx.peek(key).map(|entry| &entry.value)
        && zset.is_compact()
    {
        cx.edit_existing::<Zset>(key).unpack();
    }
    let mut elements = match cx.read_any(key).map(|entry| &entry.value) {
        None => Vec::new(),
        Some(Value::List(list)) => list.iter().map(|it| Element::from(&*it)).collect(),
        Some(Value::Zset(zset)) => zset.iter().map(|(it, _)| Element::from(&*it)).collect(),
        Some(Value::Set(set)) => {
            options.adapt_to_set(wants_fixed_order);
            options.is_descending &= options.is_sorted;
            set.iter().map(|it| Element::from(&*it)).collect()
        }
        Some(Value::Str(_) | Value::Hash(_) | Value::Stream(_) | Value::Cold(_)) => {
            return Err(Error::WrongType);
        }
    };
    if options.is_sorted {
        elements = ordered(cx, elements, &options)?;
    } else if options.is_descending {
        elements.reverse();
    }
    let start = elements.len().min(usize::try_from(options.offset).unwrap_or(0));
    let count = usize::try_from(options.count).unwrap_or(usize::MAX);
    let end = elements.len().min(start.saturating_add(count));
    let elements = &elements[start..end];
    match options.target {
        Some(target) => store(cx, elements, &options, target, reply),
        None => answer(cx, elements, &options, reply),
    }
    Ok(())
}

fn answer(cx: &mut Ctx, elements: &[Element], options: &Options, reply: &mut Reply) {
    reply.array(elements.len() * options.gets.len().max(1));
    for element in elements {
        if options.gets.is_empty() {
            reply.bulk(element);
        }
        for pattern in &options.gets {
            reply.bulk_or_null(look_up(cx, pattern, element).as_deref());
        }
    }
}

/// What GET does not find is kept as an empty text: a list holds no nulls.
fn store(cx: &mut Ctx, elements: &[Element], options: &Options, target: &[u8], reply: &mut Reply) {
    let mut list = List::new();
    for element in elements {
        if options.gets.is_empty() {
            list.push_back(element);
        }
        for pattern in &options.gets {
            list.push_back(&look_up(cx, pattern, element).unwrap_or_default());
        }
    }
    reply.count(list.len());
    if list.is_empty() {
        cx.remove(target, "del");
    } else {
        let len = list.len();
        cx.put_many(target, list, "sortstore", len);
    }
}

/// What decides an element's place: in one sorting always the same variant, and never NaN.
#[derive(PartialEq, PartialOrd)]
enum Weight {
    Number(f64),
    /// A missing text comes first.
    Text(Option<Vec<u8>>),
    /// The element itself.
    Own,
}

fn ordered(cx: &mut Ctx, elements: Vec<Element>, options: &Options) -> Result<Vec<Element>> {
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = match (options.by, options.is_alpha) {
            (None, true) => Weight::Own,
            (None, false) => Weight::Number(parse_weight(&element)?),
            (Some(by), true) => Weight::Text(look_up(cx, by, &element)),
            (Some(by), false) => match look_up(cx, by, &element) {
                Some(text) => Weight::Number(parse_weight(&text)?),
                None => Weight::Number(0.0),
            },
        };
        weighed.push((weight, element));
    }
    weighed.sort_by(|(left_weight, left), (right_weight, right)| {
        let by_weight = left_weight.partial_cmp(right_weight).expect("weights can be compared");
        // Redis lets elements of equal text stand as they stood.
        let by_element = match left_weight {
            Weight::Text(_) => Ordering::Equal,
            Weight::Number(_) | Weight::Own => left.cmp(right),
        };
        let order = by_weight.then(by_element);
        if options.is_descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

/// As `strtod` reads it: blanks may lead, a NUL ends it, and an empty text is 0. It reports what is
/// too small for all of a double's digits, and here that is refused.
fn parse_weight(text: &[u8]) -> Result<f64> {
    let text = number::before_nul(text);
    if text.is_empty() {
        return Ok(0.0);
    }
    number::parse_f64(number::skip_spaces(text))
        .filter(|weight| !weight.is_subnormal())
        .ok_or_else(|| Error::new("ERR One or more scores can't be converted into double"))
}

/// The value that a pattern means for an element: of the key `weight_*`, of the field in
/// `object_*->field`, or for `#` the element itself. A pattern without `*` means nothing.
fn look_up(cx: &mut Ctx, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|&byte| byte == b'*')?;
    let (prefix, rest) = (&pattern[..star], &pattern[star + 1..]);
    let arrow = rest.windows(2).position(|pair| pair == b"->");
    match arrow.filter(|arrow| arrow + 2 < rest.len()) {
        None => {
            let key = [prefix, element, rest].concat();
            cx.read::<Str>(&key).ok()?.map(|string| string.bytes().to_vec())
        }
        Some(arrow) => {
            let (suffix, field) = (&rest[..arrow], &rest[arrow + 2..]);
            let key = [prefix, element, suffix].concat();
            let value = cx.read::<Hash>(&key).ok()??.get(field);
            value.map(|value| value.to_vec())
        }
    }
}
