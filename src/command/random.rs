//! Which elements HRANDFIELD, SRANDMEMBER and ZRANDMEMBER answer when they are given a count.

use crate::util::rng::Rng;
use std::collections::btree_set;

/// Indices into a collection: so many different ones, in ascending order, or all of them; for a
/// negative count exactly so many, each drawn anew.
pub(super) enum Picks<'r> {
    Different(btree_set::IntoIter<usize>),
    Drawn { left: u64, len: usize, rng: &'r mut Rng },
}

impl<'r> Picks<'r> {
    /// The collection is not empty.
    pub fn new(count: i64, len: usize, rng: &'r mut Rng) -> Self {
        match usize::try_from(count) {
            Ok(count) => Self::Different(rng.distinct_below(len, count).into_iter()),
            Err(_) => Self::Drawn { left: count.unsigned_abs(), len, rng },
        }
    }
}

impl Iterator for Picks<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        match self {
            Self::Different(indices) => indices.next(),
            Self::Drawn { left, len, rng } => {
                *left = left.checked_sub(1)?;
                Some(rng.below(*len))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self {
            Self::Different(indices) => indices.len(),
            Self::Drawn { left, .. } => *left as usize,
        };
        (left, Some(left))
    }
}

impl ExactSizeIterator for Picks<'_> {}
