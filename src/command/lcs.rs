//! LCS: the longest common subsequence of two strings.

use super::prelude::*;
use crate::data::Str;

#[rustfmt::skip]
pub const FAMILY: Family = Family::new(Category::String, &[
    row("lcs", "7.0.0", AtLeast(3), Keys::span(1, 2).reads(), &[Read], lcs, "key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]", "Finds the longest common subsequence of two strings."),
]);

fn lcs(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let left = text(cx, args.key())?;
    let right = text(cx, args.key())?;
    let (mut wants_len, mut wants_places, mut shows_lens, mut len_min) = (false, false, false, 0);
    while args.left() > 0 {
        if args.accept("len") {
            wants_len = true;
        } else if args.accept("idx") {
            wants_places = true;
        } else if args.accept("withmatchlen") {
            shows_lens = true;
        } else if args.accept("minmatchlen") {
            len_min = args.int()?;
        } else {
            return Err(Error::Syntax);
        }
    }
    if wants_len && wants_places {
        return Err(Error::new(
            "ERR If you want both the length and indexes, please just use IDX.",
        ));
    }
    let cells = (left.len() + 1).saturating_mul(right.len() + 1);
    if cells.saturating_mul(size_of::<u32>()) > cx.config().proto_max_bulk_len {
        return Err(Error::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }

    let matches = common_parts(&left, &right);
    let len: usize = matches.iter().map(|part| part.len).sum();
    if wants_len {
        reply.count(len);
    } else if wants_places {
        let shown = matches.iter().filter(|part| part.len as i64 >= len_min);
        reply.map(2);
        reply.bulk(b"matches");
        reply.array(shown.clone().count());
        shown.for_each(|part| part.write(shows_lens, reply));
        reply.bulk(b"len");
        reply.count(len);
    } else {
        let parts = matches.iter().rev().map(|part| &left[part.left..part.left + part.len]);
        reply.bulk(&parts.collect::<Vec<_>>().concat());
    }
    Ok(())
}

fn text(cx: &mut Ctx, key: &[u8]) -> Result<Vec<u8>> {
    match cx.read::<Str>(key) {
        Ok(string) => Ok(string.map_or(Vec::new(), |string| string.bytes().to_vec())),
        Err(_) => Err(Error::new("ERR The specified keys must contain string values")),
    }
}

/// A stretch that both strings have, and where it begins in each.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    left: usize,
    right: usize,
    len: usize,
}

impl Part {
    fn write(&self, shows_len: bool, reply: &mut Reply) {
        reply.array(if shows_len { 3 } else { 2 });
        for start in [self.left, self.right] {
            reply.array(2);
            reply.count(start);
            reply.count(start + self.len - 1);
        }
        if shows_len {
            reply.count(self.len);
        }
    }
}

/// The longest common subsequence as the stretches that it consists of, the last one first. Of
/// equally long ones it is Redis's: the walk back prefers to go left in the right string.
fn common_parts(left: &[u8], right: &[u8]) -> Vec<Part> {
    // The cell (i, j) is how long the answer is for the first i and j bytes.
    let width = right.len() + 1;
    let mut lens = vec![0u32; (left.len() + 1) * width];
    for (i, left_byte) in left.iter().enumerate() {
        let (above, row) = lens[i * width..].split_at_mut(width);
        for (j, right_byte) in right.iter().enumerate() {
            let is_common = left_byte == right_byte;
            row[j + 1] = if is_common { above[j] + 1 } else { above[j + 1].max(row[j]) };
        }
    }

    let (mut parts, mut i, mut j, mut len) = (Vec::new(), left.len(), right.len(), 0);
    while i > 0 && j > 0 {
        if left[i - 1] == right[j - 1] {
            (i, j, len) = (i - 1, j - 1, len + 1);
            continue;
        }
        if len > 0 {
            parts.push(Part { left: i, right: j, len });
            len = 0;
        }
        if lens[(i - 1) * width + j] > lens[i * width + j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    if len > 0 {
        parts.push(Part { left: i, right: j, len });
    }
    parts
}
