//! XDEL, XDELEX and XACKDEL: entries removed by their ids, with or without what groups have pending
//! of them.

use super::*;
use crate::data::stream::{Deletion, References};
use crate::util::number;

const REFERENCES: &[(&str, References)] =
    &[("keepref", References::Keep), ("delref", References::Drop), ("acked", References::Heed)];

/// Reads KEEPREF, DELREF or ACKED, if that is the next word.
pub(super) fn accept_references(args: &mut Args) -> Option<References> {
    REFERENCES.iter().find(|(name, _)| args.accept(name)).map(|(_, references)| *references)
}

/// The word for it; none where none is needed.
pub(super) fn word_of(references: Option<References>) -> &'static [u8] {
    match references.unwrap_or_default() {
        References::Keep => b"",
        References::Drop => b"DELREF",
        References::Heed => b"ACKED",
    }
}

/// What XDELEX and XACKDEL answer of an entry.
fn answer_deletion(reply: &mut Reply, deletion: Deletion) {
    reply.int(match deletion {
        Deletion::Absent => -1,
        Deletion::Done => 1,
        Deletion::Forbidden => 2,
    });
}

/// Reads `[KEEPREF|DELREF|ACKED] IDS numids id [id ...]`, in any order. Of several lists the last
/// one counts.
fn parse_ids<'a>(args: &mut Args<'a>) -> Result<(References, &'a [&'a [u8]])> {
    let (mut references, mut ids) = (None, None);
    while args.left() > 0 {
        if references.is_none()
            && let Some(found) = accept_references(args)
        {
            references = Some(found);
        } else if args.left() > 1 && args.accept("ids") {
            let count = number::parse_i64(args.given()).filter(|&count| count > 0);
            let count =
                count.ok_or_else(|| Error::new("ERR Number of IDs must be a positive integer"))?;
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            ids = Some(args.take_words(count).map_err(|_| {
                Error::new("ERR The `numids` parameter must match the number of arguments")
            })?);
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok((references.unwrap_or_default(), ids.ok_or(Error::Syntax)?))
}

fn answer_absent(reply: &mut Reply, count: usize) {
    reply.array(count);
    (0..count).for_each(|_| answer_deletion(reply, Deletion::Absent));
}

pub(super) fn xdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let Some(mut stream) = cx.edit::<Stream>(args.key())? else {
        reply.int(0);
        return Ok(());
    };
    let ids = args.map(|word| parse_id(word, 0)).collect::<Result<Vec<_>>>()?;
    let removed = ids.into_iter().filter(|&id| stream.delete(id)).count();
    reply.count(removed);
    if removed > 0 {
        stream.commit_many("xdel", removed);
    }
    Ok(())
}

pub(super) fn xdelex(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let key = args.key();
    let (references, words) = parse_ids(&mut args)?;
    let Some(mut stream) = cx.edit::<Stream>(key)? else {
        answer_absent(reply, words.len());
        return Ok(());
    };
    let ids = words.iter().map(|word| parse_id(word, 0)).collect::<Result<Vec<_>>>()?;
    reply.array(ids.len());
    let (mut removed, before) = (0, stream.groups().pending_count());
    for id in ids {
        let deletion = stream.delete_entry(id, references);
        removed += usize::from(deletion == Deletion::Done);
        answer_deletion(reply, deletion);
    }
    let forgotten = before - stream.groups().pending_count();
    commit(stream, removed, forgotten);
    Ok(())
}

pub(super) fn xackdel(cx: &mut Ctx, mut args: Args, reply: &mut Reply) -> Result {
    let (key, name) = (args.key(), args.given());
    let (references, words) = parse_ids(&mut args)?;
    let Some(mut stream) = cx.edit::<Stream>(key)? else {
        answer_absent(reply, words.len());
        return Ok(());
    };
    if stream.groups().get(name).is_none() {
        answer_absent(reply, words.len());
        return Ok(());
    }
    let ids = words.iter().map(|word| parse_id(word, 0)).collect::<Result<Vec<_>>>()?;
    reply.array(ids.len());
    let (mut removed, mut acknowledged) = (0, 0);
    for id in ids {
        let group = stream.parts_mut().1.get_mut(name).expect("it is there");
        if !group.acknowledge(id) {
            answer_deletion(reply, Deletion::Absent);
            continue;
        }
        acknowledged += 1;
        // It may have been deleted before; what is left of it is deleted now.
        match stream.delete_entry(id, references) {
            Deletion::Forbidden => answer_deletion(reply, Deletion::Forbidden),
            deletion => {
                removed += usize::from(deletion == Deletion::Done);
                answer_deletion(reply, Deletion::Done);
            }
        }
    }
    commit(stream, removed, acknowledged);
    Ok(())
}

/// Those who watch and wait hear of entries that are gone, and not of what is pending.
fn commit(stream: Edit<'_, Stream>, removed: usize, forgotten: usize) {
    if removed > 0 {
        stream.commit_many("xdel", removed);
    } else {
        stream.commit_aside(forgotten);
    }
}
