//! A counted B+tree: entries in order, and the rank of each.
//!
//! Leaves hold entries and are linked both ways. Nodes hold for each child its least entry, which
//! steers the way down, and how many entries are below it, which gives ranks. Leaves and nodes know
//! their parent, so that whoever knows an entry's leaf (see `index`) needs no way down at all.
//!
//! The tree compares nothing: whoever seeks says which entries come before. Jobs mostly arrive in
//! the order of their scores; so a full leaf at the right edge is not halved but left full.

use std::ops::Range;

use super::members::MemberKey;
use crate::util::fetch::{Fetch, fetch_whole};

/// A member with its score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scored {
    pub score: f64,
    pub key: MemberKey,
}

/// Leaves and nodes both fill 512 bytes.
const LEAF_ENTRIES_MAX: usize = 31;
const NODE_KIDS_MAX: usize = 21;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Leaf {
    entries: [Scored; LEAF_ENTRIES_MAX],
    len: u32,
    parent: u32,
    previous: u32,
    next: u32,
}

/// What is asked for together lies together: the way down reads `least`, the way up `ids` and one
/// of the counts.
#[derive(Clone, Debug)]
struct Node {
    least: [Scored; NODE_KIDS_MAX],
    ids: [u32; NODE_KIDS_MAX],
    counts: [u32; NODE_KIDS_MAX],
    len: u32,
    parent: u32,
}

/// A node's child.
#[derive(Clone, Copy, Debug, Default)]
struct Kid {
    least: Scored,
    id: u32,
    /// Entries below this child.
    count: u32,
}

const _: () = assert!(size_of::<Leaf>() == 512 && size_of::<Node>() == 512);

impl Leaf {
    #[inline]
    fn entries(&self) -> &[Scored] {
        &self.entries[..self.len as usize]
    }
}

impl Node {
    fn new(kids: [Kid; 2]) -> Self {
        let mut node = Self {
            least: [Scored::default(); NODE_KIDS_MAX],
            ids: [NONE; NODE_KIDS_MAX],
            counts: [0; NODE_KIDS_MAX],
            len: 0,
            parent: NONE,
        };
        kids.into_iter().enumerate().for_each(|(at, kid)| node.insert(at, kid));
        node
    }

    fn len(&self) -> usize {
        self.len as usize
    }

    fn least(&self) -> &[Scored] {
        &self.least[..self.len()]
    }

    fn ids(&self) -> &[u32] {
        &self.ids[..self.len()]
    }

    fn counts(&self) -> &[u32] {
        &self.counts[..self.len()]
    }

    /// Looks at all, several at a time, so that no branch depends on where it is. What is left over
    /// behind `len` may be equal too, but does not come first.
    #[inline]
    fn position(&self, id: u32) -> usize {
        let bit = |at, is_equal| u32::from(is_equal) << at;
        let equal = (0..NODE_KIDS_MAX).fold(0, |equal, at| equal | bit(at, self.ids[at] == id));
        let position = equal.trailing_zeros() as usize;
        debug_assert!(position < self.len(), "a parent knows its children");
        position
    }

    fn insert(&mut self, at: usize, kid: Kid) {
        let len = self.len();
        self.len += 1;
        insert_at(&mut self.least, len, at, kid.least);
        insert_at(&mut self.ids, len, at, kid.id);
        insert_at(&mut self.counts, len, at, kid.count);
    }

    fn remove(&mut self, at: usize) {
        let len = self.len();
        self.len -= 1;
        remove_at(&mut self.least, len, at);
        remove_at(&mut self.ids, len, at);
        remove_at(&mut self.counts, len, at);
    }

    fn append(&mut self, other: &Self) {
        let len = self.len();
        self.len += other.len;
        self.least[len..][..other.len()].copy_from_slice(other.least());
        self.ids[len..][..other.len()].copy_from_slice(other.ids());
        self.counts[len..][..other.len()].copy_from_slice(other.counts());
    }

    /// Keeps so many children and returns a node of the others.
    fn split_off(&mut self, kept: usize) -> Self {
        let mut right = self.clone();
        right.least.copy_within(kept.., 0);
        right.ids.copy_within(kept.., 0);
        right.counts.copy_within(kept.., 0);
        right.len -= kept as u32;
        self.len = kept as u32;
        right
    }

    /// The left one of two neighbours, of which one is the child `id`, that fit in one.
    fn mergeable(
        &self,
        id: u32,
        size: impl Fn(usize) -> usize,
        is_small: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let at = self.position(id);
        let pairs = [Some(at), at.checked_sub(1)].into_iter().flatten();
        pairs
            .filter(|left| left + 1 < self.len())
            .find(|&left| is_small(size(left) + size(left + 1)))
    }
}

/// Inserts into the first `len` items of an array that has room.
fn insert_at<T: Copy>(items: &mut [T], len: usize, at: usize, item: T) {
    items.copy_within(at..len, at + 1);
    items[at] = item;
}

fn remove_at<T: Copy>(items: &mut [T], len: usize, at: usize) -> T {
    let item = items[at];
    items.copy_within(at + 1..len, at);
    item
}

/// Boxes under numbers, which fit in half a pointer.
#[derive(Clone, Debug)]
struct Boxes<T> {
    boxes: Vec<Option<Box<T>>>,
    free: Vec<u32>,
}

impl<T> Default for Boxes<T> {
    fn default() -> Self {
        Self { boxes: Vec::new(), free: Vec::new() }
    }
}

impl<T> Boxes<T> {
    fn add(&mut self, item: T) -> u32 {
        let item = Some(Box::new(item));
        match self.free.pop() {
            Some(id) => {
                self.boxes[id as usize] = item;
                id
            }
            None => {
                self.boxes.push(item);
                (self.boxes.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, id: u32) -> Box<T> {
        self.free.push(id);
        self.boxes[id as usize].take().expect("ids name what is there")
    }

    #[inline]
    fn get(&self, id: u32) -> &T {
        self.boxes[id as usize].as_ref().expect("ids name what is there")
    }

    #[inline]
    fn get_mut(&mut self, id: u32) -> &mut T {
        self.boxes[id as usize].as_mut().expect("ids name what is there")
    }

    fn heap_size(&self) -> usize {
        self.boxes.capacity() * size_of::<usize>()
            + self.free.capacity() * size_of::<u32>()
            + (self.boxes.len() - self.free.len()) * size_of::<T>()
    }
}

/// Where an entry is, or belongs: before index `at` of a leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EntryPlace {
    pub leaf: u32,
    pub at: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Tree {
    leaves: Boxes<Leaf>,
    nodes: Boxes<Node>,
    root: u32,
    /// Levels of nodes above the leaves; at 0 the root is a leaf.
    height: usize,
    first: u32,
    last: u32,
    len: usize,
}

impl Tree {
    pub fn new() -> Self {
        let mut leaves = Boxes::default();
        let root = leaves.add(Leaf {
            entries: [Scored::default(); LEAF_ENTRIES_MAX],
            len: 0,
            parent: NONE,
            previous: NONE,
            next: NONE,
        });
        Self { leaves, nodes: Boxes::default(), root, height: 0, first: root, last: root, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn heap_size(&self) -> usize {
        self.leaves.heap_size() + self.nodes.heap_size()
    }

    #[inline]
    pub fn entries(&self, leaf: u32) -> &[Scored] {
        self.leaves.get(leaf).entries()
    }

    pub fn get(&self, place: EntryPlace) -> Scored {
        self.entries(place.leaf)[place.at]
    }

    /// The place behind all entries that come before what is sought.
    pub fn seek(&self, comes_before: impl Fn(Scored) -> bool) -> EntryPlace {
        let leaf = self.seek_leaf(&comes_before);
        let at = self.entries(leaf).partition_point(|&entry| comes_before(entry));
        EntryPlace { leaf, at }
    }

    /// The leaf of that place.
    pub fn seek_leaf(&self, comes_before: impl Fn(Scored) -> bool) -> u32 {
        let mut id = self.root;
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let at = node.least().partition_point(|&least| comes_before(least)).saturating_sub(1);
            id = node.ids[at];
        }
        id
    }

    pub fn at_rank(&self, rank: usize) -> EntryPlace {
        if rank == 0 {
            return EntryPlace { leaf: self.first, at: 0 };
        }
        let mut id = self.root;
        let mut left = rank;
        for _ in 0..self.height {
            let node = self.nodes.get(id);
            let mut at = 0;
            while at + 1 < node.len() && left >= node.counts[at] as usize {
                left -= node.counts[at] as usize;
                at += 1;
            }
            id = node.ids[at];
        }
        EntryPlace { leaf: id, at: left }
    }

    /// How many entries are before this place.
    #[inline]
    pub fn rank(&self, place: EntryPlace) -> usize {
        let mut rank = place.at;
        let mut id = place.leaf;
        let mut parent = self.leaves.get(id).parent;
        while parent != NONE {
            let node = self.nodes.get(parent);
            let before = &node.counts[..node.position(id)];
            rank += before.iter().map(|&count| count as usize).sum::<usize>();
            (id, parent) = (parent, node.parent);
        }
        rank
    }

    /// Puts an entry where it belongs and returns its leaf. `moved` is told of each entry that went
    /// from one leaf to another.
    pub fn insert(
        &mut self,
        mut place: EntryPlace,
        entry: Scored,
        moved: &mut impl FnMut(Scored, u32, u32),
    ) -> u32 {
        if self.entries(place.leaf).len() == LEAF_ENTRIES_MAX {
            let (kept, right) = self.split_leaf(place, entry, moved);
            if place.at > kept || kept == LEAF_ENTRIES_MAX {
                place = EntryPlace { leaf: right, at: place.at - kept };
            }
        }
        let leaf = self.leaves.get_mut(place.leaf);
        insert_at(&mut leaf.entries, leaf.len as usize, place.at, entry);
        leaf.len += 1;
        if place.at == 0 {
            self.set_least(0, place.leaf, entry);
        }
        self.adjust_counts(place.leaf, 1);
        self.len += 1;
        place.leaf
    }

    pub fn remove(
        &mut self,
        place: EntryPlace,
        moved: &mut impl FnMut(Scored, u32, u32),
    ) -> Scored {
        let leaf = self.leaves.get_mut(place.leaf);
        let entry = remove_at(&mut leaf.entries, leaf.len as usize, place.at);
        leaf.len -= 1;
        let (len, least) = (leaf.len as usize, leaf.entries[0]);
        self.len -= 1;
        self.adjust_counts(place.leaf, -1);
        if self.height == 0 {
            return entry;
        }
        if len == 0 {
            self.unlink_leaf(place.leaf);
            return entry;
        }
        if place.at == 0 {
            self.set_least(0, place.leaf, least);
        }
        if len < LEAF_ENTRIES_MAX / 3 {
            self.merge_leaf(place.leaf, moved);
        }
        entry
    }

    /// The entries of these ranks, from either end.
    pub fn range(&self, ranks: Range<usize>) -> Iter<'_> {
        let start = self.at_rank(ranks.start);
        // The last one, not the one behind it, so that a leaf's end needs no special case.
        let end = self.at_rank(ranks.end.saturating_sub(1));
        Iter { tree: self, start, end, left: ranks.len() }
    }

    fn after(&self, place: EntryPlace) -> EntryPlace {
        let leaf = self.leaves.get(place.leaf);
        if place.at + 1 < leaf.len as usize {
            return EntryPlace { leaf: place.leaf, at: place.at + 1 };
        }
        EntryPlace { leaf: leaf.next, at: 0 }
    }

    fn before(&self, place: EntryPlace) -> EntryPlace {
        let leaf = self.leaves.get(place.leaf);
        if place.at > 0 {
            return EntryPlace { leaf: place.leaf, at: place.at - 1 };
        }
        let at = match leaf.previous {
            NONE => 0,
            previous => self.entries(previous).len() - 1,
        };
        EntryPlace { leaf: leaf.previous, at }
    }

    /// Splits a full leaf for an entry that belongs in this place. Returns how many entries it
    /// keeps, and the leaf to its right.
    fn split_leaf(
        &mut self,
        place: EntryPlace,
        entry: Scored,
        moved: &mut impl FnMut(Scored, u32, u32),
    ) -> (usize, u32) {
        let id = place.leaf;
        let grows_at_edge = id == self.last && place.at == LEAF_ENTRIES_MAX;
        let kept = if grows_at_edge { LEAF_ENTRIES_MAX } else { LEAF_ENTRIES_MAX.div_ceil(2) };
        let left = self.leaves.get_mut(id);
        let mut right = left.clone();
        right.entries.copy_within(kept.., 0);
        right.len = (LEAF_ENTRIES_MAX - kept) as u32;
        right.previous = id;
        left.len = kept as u32;
        let (parent, next) = (right.parent, right.next);
        let kid_count = right.len;
        let least = if grows_at_edge { entry } else { right.entries[0] };

        let right_id = self.leaves.add(right);
        self.leaves.get_mut(id).next = right_id;
        match next {
            NONE => self.last = right_id,
            next => self.leaves.get_mut(next).previous = right_id,
        }
        for &entry in self.leaves.get(right_id).entries() {
            moved(entry, id, right_id);
        }
        self.add_kid(0, parent, id, Kid { least, id: right_id, count: kid_count });
        (kept, right_id)
    }

    /// Adds to a node a child of this level, split off the child `left`.
    fn add_kid(&mut self, level: usize, parent: u32, left: u32, kid: Kid) {
        if parent == NONE {
            return self.add_root(level, left, kid);
        }
        let node = self.nodes.get_mut(parent);
        let at = node.position(left) + 1;
        node.counts[at - 1] -= kid.count;
        if node.len() < NODE_KIDS_MAX {
            node.insert(at, kid);
            return self.set_parent(level, kid.id, parent);
        }
        let kept = if at == NODE_KIDS_MAX { NODE_KIDS_MAX } else { NODE_KIDS_MAX.div_ceil(2) };
        let mut right = node.split_off(kept);
        if at <= kept && kept < NODE_KIDS_MAX {
            node.insert(at, kid);
            self.set_parent(level, kid.id, parent);
        } else {
            right.insert(at - kept, kid);
        }
        let grandparent = right.parent;
        let least = right.least[0];
        let count = right.counts().iter().sum();
        let right_id = self.nodes.add(right);
        self.adopt_kids(level, right_id);
        self.add_kid(level + 1, grandparent, parent, Kid { least, id: right_id, count });
    }

    /// Puts a node above the root and its new sibling.
    fn add_root(&mut self, level: usize, left: u32, kid: Kid) {
        let (least, count) = match level {
            0 => (self.entries(left)[0], self.entries(left).len() as u32),
            _ => {
                let node = self.nodes.get(left);
                (node.least[0], node.counts().iter().sum())
            }
        };
        self.root = self.nodes.add(Node::new([Kid { least, id: left, count }, kid]));
        self.height = level + 1;
        self.adopt_kids(level, self.root);
    }

    /// Drops an empty leaf that is not the root.
    fn unlink_leaf(&mut self, id: u32) {
        let leaf = self.leaves.remove(id);
        match leaf.previous {
            NONE => self.first = leaf.next,
            previous => self.leaves.get_mut(previous).next = leaf.next,
        }
        match leaf.next {
            NONE => self.last = leaf.previous,
            next => self.leaves.get_mut(next).previous = leaf.previous,
        }
        self.remove_kid(0, leaf.parent, id);
    }

    /// Removes from a node a child of this level that holds nothing any more.
    fn remove_kid(&mut self, level: usize, parent: u32, id: u32) {
        let node = self.nodes.get_mut(parent);
        let at = node.position(id);
        node.remove(at);
        let (len, least, grandparent) = (node.len(), node.least[0], node.parent);
        if parent == self.root {
            return self.lower_root();
        }
        if len == 0 {
            self.nodes.remove(parent);
            return self.remove_kid(level + 1, grandparent, parent);
        }
        if at == 0 {
            self.set_least(level + 1, parent, least);
        }
        if len < NODE_KIDS_MAX / 3 {
            self.merge_node(level, parent);
        }
    }

    /// A root has at least two children.
    fn lower_root(&mut self) {
        while self.height > 0 && self.nodes.get(self.root).len == 1 {
            let child = self.nodes.remove(self.root).ids[0];
            self.root = child;
            self.height -= 1;
            self.set_parent(self.height, child, NONE);
        }
    }

    /// Neighbours below one parent that fit in three quarters of a leaf become one.
    fn merge_leaf(&mut self, id: u32, moved: &mut impl FnMut(Scored, u32, u32)) {
        let is_small = |len: usize| len <= LEAF_ENTRIES_MAX * 3 / 4;
        let parent = self.leaves.get(id).parent;
        let node = self.nodes.get_mut(parent);
        let size = |at: usize| node.counts[at] as usize;
        let Some(at) = node.mergeable(id, size, is_small) else { return };
        let (left, right) = (node.ids[at], node.ids[at + 1]);
        node.counts[at] += node.counts[at + 1];
        let from = self.leaves.get(right).clone();
        let into = self.leaves.get_mut(left);
        into.entries[into.len as usize..][..from.len as usize].copy_from_slice(from.entries());
        into.len += from.len;
        from.entries().iter().for_each(|&entry| moved(entry, right, left));
        self.unlink_leaf(right);
    }

    /// Neighbours below one parent, whose children are of this level.
    fn merge_node(&mut self, level: usize, id: u32) {
        let is_small = |len: usize| len <= NODE_KIDS_MAX * 3 / 4;
        let parent = self.nodes.get(id).parent;
        let node = self.nodes.get(parent);
        let size = |at: usize| self.nodes.get(node.ids[at]).len();
        let Some(at) = node.mergeable(id, size, is_small) else { return };
        let node = self.nodes.get_mut(parent);
        let (left, right) = (node.ids[at], node.ids[at + 1]);
        node.counts[at] += node.counts[at + 1];
        let from = self.nodes.remove(right);
        self.nodes.get_mut(left).append(&from);
        self.adopt_kids(level, left);
        self.remove_kid(level + 1, parent, right);
    }

    /// Tells a node's children, which are of this level, who their parent is.
    fn adopt_kids(&mut self, level: usize, parent: u32) {
        for at in 0..self.nodes.get(parent).len() {
            self.set_parent(level, self.nodes.get(parent).ids[at], parent);
        }
    }

    fn set_parent(&mut self, level: usize, id: u32, parent: u32) {
        match level {
            0 => self.leaves.get_mut(id).parent = parent,
            _ => self.nodes.get_mut(id).parent = parent,
        }
    }

    fn parent(&self, level: usize, id: u32) -> u32 {
        match level {
            0 => self.leaves.get(id).parent,
            _ => self.nodes.get(id).parent,
        }
    }

    /// The least entry below a child of this level has changed: its ancestors repeat it.
    fn set_least(&mut self, level: usize, mut id: u32, least: Scored) {
        let mut parent = self.parent(level, id);
        while parent != NONE {
            let node = self.nodes.get_mut(parent);
            let at = node.position(id);
            node.least[at] = least;
            if at > 0 {
                break;
            }
            (id, parent) = (parent, node.parent);
        }
    }

    fn adjust_counts(&mut self, leaf: u32, change: i32) {
        let mut id = leaf;
        let mut parent = self.leaves.get(id).parent;
        while parent != NONE {
            let node = self.nodes.get_mut(parent);
            let at = node.position(id);
            let count = &mut node.counts[at];
            *count = count.wrapping_add_signed(change);
            (id, parent) = (parent, node.parent);
        }
    }
}

/// By a leaf.
impl Fetch for Tree {
    type By = u32;

    fn fetch(&self, leaf: u32) {
        fetch_whole(self.leaves.get(leaf));
    }
}

#[derive(Clone)]
pub(super) struct Iter<'a> {
    tree: &'a Tree,
    start: EntryPlace,
    end: EntryPlace,
    left: usize,
}

impl Iterator for Iter<'_> {
    type Item = Scored;

    fn next(&mut self) -> Option<Scored> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.tree.get(self.start);
        self.start = self.tree.after(self.start);
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Scored> {
        self.left = self.left.checked_sub(1)?;
        let entry = self.tree.get(self.end);
        self.end = self.tree.before(self.end);
        Some(entry)
    }
}

#[cfg(test)]
impl Tree {
    /// What holds between operations.
    pub fn check(&self) {
        let (mut leaf, mut previous) = (self.first, NONE);
        let mut len = 0;
        while leaf != NONE {
            assert_eq!(self.leaves.get(leaf).previous, previous);
            len += self.entries(leaf).len();
            (leaf, previous) = (self.leaves.get(leaf).next, leaf);
        }
        assert_eq!((previous, len), (self.last, self.len));
        assert_eq!(self.parent(self.height, self.root), NONE);
        let (count, nodes) = self.check_below(self.height, self.root);
        assert_eq!((count, nodes), (self.len, self.nodes.boxes.len() - self.nodes.free.len()));
    }

    /// Returns the entries and nodes from here on down.
    fn check_below(&self, level: usize, id: u32) -> (usize, usize) {
        if level == 0 {
            return (self.entries(id).len(), 0);
        }
        let node = self.nodes.get(id);
        assert!(node.len() >= if id == self.root { 2 } else { 1 });
        let (mut count, mut nodes) = (0, 1);
        for (at, &kid) in node.ids().iter().enumerate() {
            assert_eq!(self.parent(level - 1, kid), id);
            let below = self.check_below(level - 1, kid);
            assert_eq!(below.0, node.counts[at] as usize);
            assert!(below.0 > 0);
            assert_eq!(node.least[at], self.least(level - 1, kid));
            count += below.0;
            nodes += below.1;
        }
        (count, nodes)
    }

    fn least(&self, level: usize, id: u32) -> Scored {
        match level {
            0 => self.entries(id)[0],
            _ => self.least(level - 1, self.nodes.get(id).ids[0]),
        }
    }
}
