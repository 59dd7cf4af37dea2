//! What a pipeline's commands will read, asked for step by step. A step reads what the one before
//! it has asked for and asks for what that leads to, so that whoever takes a step for each of many
//! commands, and only then the next one, waits for all of their memory at once. Changes nothing.

use super::indexed::Indexed;
use super::zset::{self, Zset};
use super::{Str, Value};
use crate::util::fetch::Fetch;
use crate::util::number;

pub enum Step<'a> {
    /// To a large set's member of this hash.
    Member(&'a Indexed<()>, u64),
    /// To a large hash's field of this hash.
    Field(&'a Indexed<Str>, u64),
    Text(&'a Str),
    Score(&'a Zset, zset::ZsetStep<'a>),
}

impl<'a> Step<'a> {
    /// The first step of a command with these arguments behind the key. In sorted sets scores come
    /// first.
    pub fn first(value: &'a Value, args: &[&'a [u8]]) -> Option<Self> {
        match (value, args) {
            (Value::Str(it), _) => Step::Text(it).take(),
            (Value::Hash(it), [field, ..]) => {
                let pairs = it.large_or_fetch()?;
                Some(Step::Field(pairs, pairs.fetch_table(field)))
            }
            (Value::Set(it), [member, ..]) => {
                let members = it.large_or_fetch()?;
                Some(Step::Member(members, members.fetch_table(member)))
            }
            (Value::Zset(it), [score, member]) => {
                let step = it.first_step(member, number::parse_f64(score))?;
                Some(Step::Score(it, step))
            }
            (Value::Zset(it), [.., member]) => Some(Step::Score(it, it.first_step(member, None)?)),
            (Value::Hash(_) | Value::Set(_) | Value::Zset(_), [])
            | (Value::List(_) | Value::Stream(_) | Value::Cold(_), _) => None,
        }
    }

    /// Takes the step and returns the next one.
    pub fn take(self) -> Option<Self> {
        match self {
            Step::Member(members, hash) => members.fetch(hash).map(Step::Text),
            Step::Field(pairs, hash) => pairs.fetch(hash).map(Step::Text),
            Step::Text(text) => {
                text.fetch(());
                None
            }
            Step::Score(zset, step) => Some(Step::Score(zset, zset.take_step(step)?)),
        }
    }
}
