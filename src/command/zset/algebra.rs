//! ZUNION, ZINTER, ZDIFF and their variants: what several sorted sets hold together. Plain sets
//! take part as if all scores were 1.

use super::*;
use crate::data::item::Item;
use crate::data::{Set, Typed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// One key's part in it: a set, a sorted set, or nothing.
struct Input<'c> {
    set: Option<&'c Set>,
    zset: Option<&'c Zset>,
    weight: f64,
}

impl<'c> Input<'c> {
    fn len(&self) -> usize {
        self.set.map_or(0, Set::len) + self.zset.map_or(0, Zset::len)
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        if self.set.is_some_and(|set| set.contains(member)) {
            return Some(1.0);
        }
        self.zset?.score(member)
    }

    fn iter(&self) -> impl Iterator<Item = (Item<'c>, f64)> + use<'c> {
        let unscored = self.set.into_iter().flat_map(Set::iter).map(|member| (member, 1.0));
        unscored.chain(self.zset.into_iter().flat_map(Zset::iter))
    }

    /// Infinity of no weight is zero.
    fn weighted(&self) -> impl Iterator<Item = (Item<'c>, f64)> + use<'c> {
        let weight = self.weight;
        self.iter().map(move |(member, score)| (member, zero_if_nan(score * weight)))
    }
}

fn zero_if_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What becomes of the scores that a member has in several inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(args: &mut Args) -> Result<Self> {
        let known = [("sum", Self::Sum), ("min", Self::Min), ("max", Self::Max)];
        let found = known.into_iter().find(|(word, _)| args.accept(word));
        found.map(|(_, aggregate)| aggregate).ok_or(Error::Syntax)
    }

    fn of(self, total: f64, score: f64) -> f64 {
        match self {
            Aggregate::Sum => zero_if_nan(total + score),
            Aggregate::Min if score < total => score,
            Aggregate::Max if score > total => score,
            Aggregate::Min | Aggregate::Max => total,
        }
    }
}

/// Reads a count of keys and the keys.
fn input_keys<'a>(args: &mut Args<'a>) -> Result<&'a [&'a [u8]]> {
    match args.int()? {
        ..=0 => {
            let name = String::from_utf8_lossy(Args::all(args)[0]).to_ascii_lowercase();
            Err(Error::new(format!("ERR at least 1 input key is needed for '{name}' command")))
        }
        count => args.take_words(count as usize),
    }
}

fn inputs<'c>(cx: &'c mut Ctx, keys: &[&[u8]]) -> Result<Vec<Input<'c>>> {
    let entries =
        cx.read_all(keys, |value| Set::of(value).is_some() || Zset::of(value).is_some())?;
    let values = entries.into_iter().map(|entry| entry.map(|entry| &entry.value));
    let inputs = values.map(|value| Input {
        set: value.and_then(Set::of),
        zset: value.and_then(Zset::of),
        weight: 1.0,
    });
    Ok(inputs.collect())
}

/// Reads inputs and options and returns the result in the order of scores, and how to answer it.
fn evaluate<'c>(
    cx: &'c mut Ctx,
    args: &mut Args,
    operation: Operation,
    is_stored: bool,
) -> Result<(Vec<(Item<'c>, f64)>, Form)> {
    let keys = input_keys(args)?;
    let mut inputs = inputs(cx, keys)?;
    let (mut aggregate, mut form) = (Aggregate::Sum, Form::Bare);
    let has_weights = operation != Operation::Difference;
    while args.left() > 0 {
        if has_weights && args.left() > keys.len() && args.accept("weights") {
            for input in &mut inputs {
                let weight = args.double();
                input.weight = weight.map_err(|_| Error::new("ERR weight value is not a float"))?;
            }
        } else if has_weights && args.accept("aggregate") {
            aggregate = Aggregate::parse(args)?;
        } else if !is_stored && args.accept("withscores") {
            form = Form::Scored;
        } else {
            return Err(Error::Syntax);
        }
    }
    if operation != Operation::Difference {
        // The order of a sum decides on its rounding; this one is Redis's.
        inputs.sort_by_key(Input::len);
    }
    let mut result = match operation {
        Operation::Union => unite(&inputs, aggregate),
        Operation::Intersection => intersect(&inputs, aggregate).collect(),
        Operation::Difference => subtract(&inputs),
    };
    result.sort_unstable_by(|(left, left_score), (right, right_score)| {
        let order = left_score.partial_cmp(right_score).expect("no score is NaN");
        order.then_with(|| left.cmp(right))
    });
    Ok((result, form))
}

fn unite<'c>(inputs: &[Input<'c>], aggregate: Aggregate) -> Vec<(Item<'c>, f64)> {
    let mut members: Vec<_> = inputs.iter().flat_map(Input::weighted).collect();
    // A member's scores stay in the order of the inputs, for this sort is stable.
    #[expect(clippy::unnecessary_sort_by, reason = "a key would borrow from what is sorted")]
    members.sort_by(|(left, _), (right, _)| left.cmp(right));
    members.dedup_by(|(member, score), (before, total)| {
        let is_same = **member == **before;
        if is_same {
            *total = aggregate.of(*total, *score);
        }
        is_same
    });
    members
}

/// Asks all others for each member of the first.
fn intersect<'c>(
    inputs: &[Input<'c>],
    aggregate: Aggregate,
) -> impl Iterator<Item = (Item<'c>, f64)> {
    let (first, others) = inputs.split_first().expect("there is an input");
    first.weighted().filter_map(move |(member, score)| {
        let mut total = score;
        for input in others {
            total = aggregate.of(total, input.score(&member)? * input.weight);
        }
        Some((member, total))
    })
}

fn subtract<'c>(inputs: &[Input<'c>]) -> Vec<(Item<'c>, f64)> {
    let (first, others) = inputs.split_first().expect("there is an input");
    let is_in_none =
        |(member, _): &(Item, f64)| others.iter().all(|input| input.score(member).is_none());
    first.iter().filter(is_in_none).collect()
}

fn answer(cx: &mut Ctx, mut args: Args, operation: Operation, reply: &mut Reply) -> Result {
    let (members, form) = evaluate(cx, &mut args, operation, false)?;
    form.write(members.into_iter(), reply);
    Ok(())
}

pub(super) fn zunion(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Operation::Union, reply)
}

pub(super) fn zinter(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Operation::Intersection, reply)
}

pub(super) fn zdiff(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    answer(cx, args, Operation::Difference, reply)
}

fn keep(
    cx: &mut Ctx,
    mut args: Args,
    operation: Operation,
    event: &'static str,
    reply: &mut Reply,
) -> Result {
    let target = args.key();
    let limits = cx.limits().clone();
    let (members, _) = evaluate(cx, &mut args, operation, true)?;
    let mut zset = Zset::new();
    let longest = members.iter().map(|(member, _)| member.len()).max();
    zset.expect(members.len(), longest.unwrap_or(0), &limits);
    for (member, score) in members {
        zset.insert(&member, score, &limits);
    }
    store(cx, target, zset, event, reply);
    Ok(())
}

pub(super) fn zunionstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    keep(cx, args, Operation::Union, "zunionstore", reply)
}

pub(super) fn zinterstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    keep(cx, args, Operation::Intersection, "zinterstore", reply)
}

pub(super) fn zdiffstore(cx: &mut Ctx, args: Args, reply: &mut Reply) -> Result {
    keep(cx, args, Operation::Difference, "zdiffstore", reply)
}

pub(super) fn zintercard(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let mut inputs = inputs(cx, input_keys(&mut args)?)?;
    let limit = args.limit_option()?;
    inputs.sort_by_key(Input::len);
    reply.count(intersect(&inputs, Aggregate::Sum).take(limit).count());
    Ok(())
}
