//! The typed fields of `Config`: read from a value, and turned into one.

use super::value::Value;
use super::{
    EventClasses, LogLevel, MemoryShare, OutputLimit, Policy, Protected, SavePoint, Secret,
};

/// A field that a setting is kept in. `assign` trusts that the kind of the field's row made the
/// value; a test gives every row both of its bounds.
pub trait Stored {
    fn value(&self) -> Value;
    fn assign(&mut self, value: Value);
}

/// `type: field => value of the field, value => field`.
macro_rules! stored {
    ($($type:ty: $field:pat => $value:expr, $given:pat => $assigned:expr;)*) => {$(
        impl Stored for $type {
            fn value(&self) -> Value {
                let $field = self;
                $value
            }

            fn assign(&mut self, value: Value) {
                *self = match value {
                    $given => $assigned,
                    other => unreachable!("{} cannot hold {other:?}", stringify!($type)),
                };
            }
        }
    )*};
}

stored! {
    bool: flag => Value::Flag(*flag), Value::Flag(flag) => flag;
    u16: number => Value::Number((*number).into()), Value::Number(number) => number as u16;
    u32: number => Value::Number((*number).into()), Value::Number(number) => number as u32;
    u64: number => Value::Number((*number).into()), Value::Number(number) => number as u64;
    i64: number => Value::Number((*number).into()), Value::Number(number) => number as i64;
    usize: number => Value::Number(*number as i128), Value::Number(number) => number as usize;
    EventClasses: classes => Value::Events(*classes), Value::Events(classes) => classes;
    Vec<String>: words => Value::Words(words.clone()), Value::Words(words) => words;
    Vec<SavePoint>: points => Value::Save(points.clone()), Value::Save(points) => points;
    String: text => Value::Text(text.clone()), Value::Text(text) => text;
    // Of what may be absent, the empty text (or mode 0) says that it is.
    Option<String>: text => Value::Text(text.clone().unwrap_or_default()),
        Value::Text(text) => Some(text).filter(|text| !text.is_empty());
    Option<u32>: mode => Value::Mode(mode.unwrap_or(0)),
        Value::Mode(mode) => Some(mode).filter(|mode| *mode != 0);
    Option<Secret>: secret => Value::Secret(secret.clone().unwrap_or_else(|| Secret::new(b""))),
        Value::Secret(secret) => Some(secret).filter(|secret| !secret.reveal().is_empty());
    Policy: policy => Value::Word(policy.word()),
        Value::Word(word) => one_of(Policy::from_word(word));
    LogLevel: level => Value::Word(level.word()),
        Value::Word(word) => one_of(LogLevel::from_word(word));
    Protected: who => Value::Word(who.word()),
        Value::Word(word) => one_of(Protected::from_word(word));
}

/// A port, where 0 is a number like any other.
impl Stored for Option<u16> {
    fn value(&self) -> Value {
        self.as_ref().map_or_else(|| Value::Text(String::new()), Stored::value)
    }

    fn assign(&mut self, value: Value) {
        *self = match value {
            Value::Number(port) => Some(port as u16),
            Value::Text(_) => None,
            other => unreachable!("a port cannot hold {other:?}"),
        };
    }
}

impl Stored for MemoryShare {
    fn value(&self) -> Value {
        match *self {
            Self::Bytes(bytes) => Value::Number(bytes.into()),
            Self::Percent(percent) => Value::Percent(percent),
        }
    }

    fn assign(&mut self, value: Value) {
        *self = match value {
            Value::Number(bytes) => Self::Bytes(bytes as u64),
            Value::Percent(percent) => Self::Percent(percent),
            other => unreachable!("memory cannot hold {other:?}"),
        };
    }
}

impl Stored for [OutputLimit; 3] {
    fn value(&self) -> Value {
        Value::Output(self.map(Some))
    }

    fn assign(&mut self, value: Value) {
        let Value::Output(limits) = value else {
            unreachable!("output limits cannot hold {value:?}");
        };
        for (limit, given) in self.iter_mut().zip(limits) {
            *limit = given.unwrap_or(*limit);
        }
    }
}

fn one_of<T>(choice: Option<T>) -> T {
    choice.expect("the row's kind lists the words of this choice")
}
