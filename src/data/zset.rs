//! To come.

use crate::config::Limits;

#[derive(Clone, Debug, Default)]
pub struct Zset {}

impl Zset {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        true
    }

    pub fn settle(&mut self, _limits: &Limits) {}

    pub fn encoding(&self) -> &'static str {
        "skiplist"
    }

    pub fn heap_size(&self) -> usize {
        0
    }
}
