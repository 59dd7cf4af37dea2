//! Elements that are small integers, as job ids are: 4 bytes each, searched by the vector unit.

use std::collections::VecDeque;

pub(super) type Ids = VecDeque<u32>;

/// The least index from `start` on that holds the id.
pub(super) fn find(ids: &Ids, start: usize, id: u32) -> Option<usize> {
    let (front, back) = ids.as_slices();
    let seam = front.len();
    let in_front = find_in(front, start, id);
    in_front.or_else(|| find_in(back, start.saturating_sub(seam), id).map(|at| seam + at))
}

/// The greatest index below `end` that holds the id.
pub(super) fn find_back(ids: &Ids, end: usize, id: u32) -> Option<usize> {
    let (front, back) = ids.as_slices();
    let seam = front.len();
    let in_back = find_back_in(back, end.saturating_sub(seam), id).map(|at| seam + at);
    in_back.or_else(|| find_back_in(front, end.min(seam), id))
}

/// `position` stops at the first hit and so compares one by one; a block is compared at once.
const BLOCK: usize = 32;

fn holds(block: &[u32], id: u32) -> bool {
    block.iter().fold(false, |found, &it| found | (it == id))
}

fn find_in(ids: &[u32], start: usize, id: u32) -> Option<usize> {
    let blocks = ids.get(start..)?.chunks(BLOCK).position(|block| holds(block, id))?;
    let start = start + blocks * BLOCK;
    ids[start..].iter().position(|&it| it == id).map(|at| start + at)
}

fn find_back_in(ids: &[u32], end: usize, id: u32) -> Option<usize> {
    let blocks = ids[..end].rchunks(BLOCK).position(|block| holds(block, id))?;
    ids[..end - blocks * BLOCK].iter().rposition(|&it| it == id)
}
