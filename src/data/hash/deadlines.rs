//! A deadline for each of a row of places, and which comes first.
//!
//! The places are those of a hash's fields. Below lie the deadlines, 8 bytes each; above them, for
//! each group of 32, the earliest; above those the same again, until a level has no more than 32.
//! So a change costs a look at one group of each level, and finding the earliest likewise, however
//! many there are. All but the lowest level together take a thirtieth of it.

use crate::util::chunked::Chunked;

/// The deadline of a place that has none, and later than any other.
const NEVER: i64 = i64::MAX;

const GROUP: usize = 32;

#[derive(Clone, Debug)]
pub(super) struct Deadlines {
    /// Never empty: the lowest is always there.
    levels: Vec<Chunked<i64>>,
    /// Of all.
    earliest_ms: i64,
}

impl Deadlines {
    /// So many places without a deadline.
    pub fn new(len: usize) -> Self {
        let mut lowest = Chunked::with_capacity(len);
        (0..len).for_each(|_| lowest.push(NEVER));
        let mut deadlines = Self { levels: vec![lowest], earliest_ms: NEVER };
        (0..len.div_ceil(GROUP)).for_each(|group| deadlines.renew(group * GROUP));
        deadlines
    }

    /// None if the place has none.
    pub fn get(&self, at: usize) -> Option<i64> {
        Some(self.levels[0][at]).filter(|at_ms| *at_ms != NEVER)
    }

    /// None if no place has one.
    pub fn earliest_ms(&self) -> Option<i64> {
        Some(self.earliest_ms).filter(|at_ms| *at_ms != NEVER)
    }

    /// Where the earliest lies; the first of equal ones. None if no place has one.
    pub fn earliest(&self) -> Option<usize> {
        self.earliest_ms()?;
        let top = self.levels.len() - 1;
        let all = 0..self.levels[top].len();
        let of_top = all.clone().find(|at| self.levels[top][*at] == self.earliest_ms)?;
        self.levels[..top].iter().rev().try_fold(of_top, |group, level| {
            group_of(level, group * GROUP).find(|at| level[*at] == self.earliest_ms)
        })
    }

    /// How many lie before a moment. Looks at all.
    pub fn count_before(&self, end_ms: i64) -> usize {
        self.levels[0].iter().filter(|at_ms| **at_ms < end_ms).count()
    }

    /// That of each place; None where there is none.
    pub fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        self.levels[0].iter().map(|at_ms| Some(*at_ms).filter(|at_ms| *at_ms != NEVER))
    }

    pub fn set(&mut self, at: usize, at_ms: Option<i64>) {
        let at_ms = at_ms.unwrap_or(NEVER);
        if std::mem::replace(&mut self.levels[0][at], at_ms) != at_ms {
            self.renew(at);
        }
    }

    /// A further place, without a deadline.
    pub fn push(&mut self) {
        self.levels[0].push(NEVER);
        self.renew(self.levels[0].len() - 1);
    }

    /// Takes a place out. The last takes its place, or all behind it close the gap.
    pub fn remove(&mut self, at: usize, with_last: bool) {
        let last = self.levels[0].len() - 1;
        if with_last {
            self.levels[0].swap_remove(at);
            self.renew(at);
            self.renew(last);
        } else {
            self.levels[0].remove(at);
            (at / GROUP..=last / GROUP).for_each(|group| self.renew(group * GROUP));
        }
    }

    pub fn heap_size(&self) -> usize {
        let levels = self.levels.iter().map(Chunked::heap_size).sum::<usize>();
        self.levels.capacity() * size_of::<Chunked<i64>>() + levels
    }

    /// Puts right what stands above a place where something has changed, come or gone.
    fn renew(&mut self, mut at: usize) {
        for above in 1.. {
            let len = self.levels[above - 1].len();
            if len <= GROUP {
                self.levels.truncate(above);
                break;
            }
            if self.levels.len() == above {
                self.levels.push(Chunked::default());
            }
            let (lower, upper) = self.levels.split_at_mut(above);
            let (lower, upper) = (&lower[above - 1], &mut upper[0]);
            while upper.len() > len.div_ceil(GROUP) {
                upper.pop();
            }
            // A level that is new is made of all that lies below it.
            while upper.len() < len.div_ceil(GROUP) {
                upper.push(earliest_of(lower, upper.len() * GROUP));
            }
            at /= GROUP;
            if at < upper.len() {
                upper[at] = earliest_of(lower, at * GROUP);
            }
        }
        let top = self.levels.last().expect("the lowest is always there");
        self.earliest_ms = top.iter().copied().min().unwrap_or(NEVER);
    }
}

/// The places of a group that begins there.
fn group_of(level: &Chunked<i64>, start: usize) -> std::ops::Range<usize> {
    start..level.len().min(start + GROUP)
}

fn earliest_of(level: &Chunked<i64>, start: usize) -> i64 {
    group_of(level, start).map(|at| level[at]).min().unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::Rng;

    #[test]
    fn random_changes_agree_with_a_list() {
        for seed in 0..30 {
            let mut rng = Rng::from_seed(seed);
            let len = [0, 1, 32, 33, 1_100][rng.below(5)];
            let mut deadlines = Deadlines::new(len);
            let mut model = vec![None; len];
            let len_max = [40, 1_200, 40_000][rng.below(3)];
            for _ in 0..3_000 {
                match rng.below(5) {
                    0 | 1 if model.len() < len_max => {
                        for _ in 0..1 + rng.below(len_max / 20) {
                            deadlines.push();
                            model.push(None);
                        }
                    }
                    2 if !model.is_empty() => {
                        let (at, with_last) = (rng.below(model.len()), model.len() > 512);
                        deadlines.remove(at, with_last);
                        if with_last {
                            model.swap_remove(at)
                        } else {
                            model.remove(at)
                        };
                    }
                    _ if !model.is_empty() => {
                        let at = rng.below(model.len());
                        model[at] = [None, Some(rng.below(1_000) as i64)][rng.below(2)];
                        deadlines.set(at, model[at]);
                        assert_eq!(deadlines.get(at), model[at]);
                    }
                    _ => {}
                }
                let earliest = model.iter().flatten().min().copied();
                assert_eq!(deadlines.earliest_ms(), earliest, "seed {seed}");
                let first = earliest.and_then(|it| model.iter().position(|at| *at == Some(it)));
                assert_eq!(deadlines.earliest(), first, "seed {seed}");
            }
            assert!(deadlines.iter().eq(model.iter().copied()));
            let before = model.iter().flatten().filter(|at_ms| **at_ms < 500).count();
            assert_eq!(deadlines.count_before(500), before);
        }
    }
}
