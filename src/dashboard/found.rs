//! Keys whose names match a pattern, or that are of one type.

use super::key_walk::Gather;
use crate::engine::keyspace::KeyValue;
use crate::util::glob::{self, Case};

/// Once so many are found, it looks no further.
const ENOUGH: usize = 50;

/// They are looked for anew when so much time has passed since.
const REST_US: u64 = 1_000_000;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// As SCAN has it.
    pub pattern: Vec<u8>,
    /// Empty: of all types.
    pub type_name: String,
    /// Where to begin.
    pub cursor: u64,
}

impl Sought {
    fn is(&self, entry: &KeyValue) -> bool {
        (self.type_name.is_empty() || entry.value.type_name() == self.type_name)
            && glob::matches(&self.pattern, &entry.key.text(), Case::Sensitive)
    }
}

/// Their names.
#[derive(Default)]
pub struct FoundKeys(pub Vec<Box<[u8]>>);

impl Gather for FoundKeys {
    type Wanted = Sought;
    const REST_US: u64 = REST_US;

    fn start(sought: &Sought) -> u64 {
        sought.cursor
    }

    fn take_in(&mut self, sought: &Sought, entry: &KeyValue) {
        if sought.is(entry) {
            self.0.push(Box::from(&*entry.key.text()));
        }
    }

    fn is_enough(&self) -> bool {
        self.0.len() >= ENOUGH
    }
}
