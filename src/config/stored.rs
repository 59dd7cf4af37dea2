//! The typed fields of `Config`: read from a value, and turned into one.

use super::value::SettingValue;
use super::{
    Announce, AppendSync, EventClasses, LogLevel, MemoryShare, NewUserChannels, OutputLimit,
    Policy, Protected, Provider, SavePoint, Secret, Strict,
};

/// A field that a setting is kept in. `assign` trusts that the kind of the field's row made the
/// value; a test gives every row both of its bounds.
pub trait Stored {
    fn value(&self) -> SettingValue;
    fn assign(&mut self, value: SettingValue);
}

/// `type: field => value of the field, value => field`.
macro_rules! stored {
    ($($type:ty: $field:pat => $value:expr, $given:pat => $assigned:expr;)*) => {$(
        impl Stored for $type {
            fn value(&self) -> SettingValue {
                let $field = self;
                $value
            }

            fn assign(&mut self, value: SettingValue) {
                *self = match value {
                    $given => $assigned,
                    other => unreachable!("{} cannot hold {other:?}", stringify!($type)),
                };
            }
        }
    )*};
}

stored! {
    bool: flag => SettingValue::Flag(*flag), SettingValue::Flag(flag) => flag;
    u16: number => SettingValue::Number((*number).into()),
        SettingValue::Number(number) => number as u16;
    u32: number => SettingValue::Number((*number).into()),
        SettingValue::Number(number) => number as u32;
    u64: number => SettingValue::Number((*number).into()),
        SettingValue::Number(number) => number as u64;
    i64: number => SettingValue::Number((*number).into()),
        SettingValue::Number(number) => number as i64;
    usize: number => SettingValue::Number(*number as i128),
        SettingValue::Number(number) => number as usize;
    EventClasses: classes => SettingValue::Events(*classes),
        SettingValue::Events(classes) => classes;
    Strict: strict => SettingValue::Strict(*strict), SettingValue::Strict(strict) => strict;
    Provider: provider => SettingValue::Word(provider.word()),
        SettingValue::Word(word) => one_of(Provider::from_word(word));
    Vec<String>: words => SettingValue::Words(words.clone()), SettingValue::Words(words) => words;
    Vec<SavePoint>: points => SettingValue::Save(points.clone()),
        SettingValue::Save(points) => points;
    String: text => SettingValue::Text(text.clone()), SettingValue::Text(text) => text;
    // Of what may be absent, the empty text (or mode 0) says that it is.
    Option<String>: text => SettingValue::Text(text.clone().unwrap_or_default()),
        SettingValue::Text(text) => Some(text).filter(|text| !text.is_empty());
    Option<u32>: mode => SettingValue::Mode(mode.unwrap_or(0)),
        SettingValue::Mode(mode) => Some(mode).filter(|mode| *mode != 0);
    Option<Secret>: secret =>
        SettingValue::Secret(secret.clone().unwrap_or_else(|| Secret::new(b""))),
        SettingValue::Secret(secret) => Some(secret).filter(|secret| !secret.reveal().is_empty());
    Policy: policy => SettingValue::Word(policy.word()),
        SettingValue::Word(word) => one_of(Policy::from_word(word));
    LogLevel: level => SettingValue::Word(level.word()),
        SettingValue::Word(word) => one_of(LogLevel::from_word(word));
    Announce: form => SettingValue::Word(form.word()),
        SettingValue::Word(word) => one_of(Announce::from_word(word));
    AppendSync: which => SettingValue::Word(which.word()),
        SettingValue::Word(word) => one_of(AppendSync::from_word(word));
    NewUserChannels: which => SettingValue::Word(which.word()),
        SettingValue::Word(word) => one_of(NewUserChannels::from_word(word));
    Protected: who => SettingValue::Word(who.word()),
        SettingValue::Word(word) => one_of(Protected::from_word(word));
}

/// A port, where 0 is a number like any other.
impl Stored for Option<u16> {
    fn value(&self) -> SettingValue {
        self.as_ref().map_or_else(|| SettingValue::Text(String::new()), Stored::value)
    }

    fn assign(&mut self, value: SettingValue) {
        *self = match value {
            SettingValue::Number(port) => Some(port as u16),
            SettingValue::Text(_) => None,
            other => unreachable!("a port cannot hold {other:?}"),
        };
    }
}

impl Stored for MemoryShare {
    fn value(&self) -> SettingValue {
        match *self {
            Self::Bytes(bytes) => SettingValue::Number(bytes.into()),
            Self::Percent(percent) => SettingValue::Percent(percent),
        }
    }

    fn assign(&mut self, value: SettingValue) {
        *self = match value {
            SettingValue::Number(bytes) => Self::Bytes(bytes as u64),
            SettingValue::Percent(percent) => Self::Percent(percent),
            other => unreachable!("memory cannot hold {other:?}"),
        };
    }
}

impl Stored for [OutputLimit; 3] {
    fn value(&self) -> SettingValue {
        SettingValue::Output(self.map(Some))
    }

    fn assign(&mut self, value: SettingValue) {
        let SettingValue::Output(limits) = value else {
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
