//! The reader of increments on whatever a file may hold, in whatever blocks it may be fed.
//!
//! The input's first line holds the lengths of the blocks, a byte each, over and over; the rest is
//! the file. What is found must not depend on the blocks, and must come back when it is written
//! again. Cut where it is said to be whole, the file must be whole, and hold the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use toril::persist::{IncrementFlaw, IncrementReader};
use toril::proto::request;

type Words = Vec<Vec<u8>>;

/// A unit: where it begins and ends, whether it is a transaction, and its commands.
type Unit = (u64, u64, bool, Vec<Words>);

fuzz_target!(|data: &[u8]| {
    let Some(end) = data.iter().position(|&byte| byte == b'\n') else { return };
    let (lengths, file) = (&data[..end], &data[end + 1..]);
    let (units, flaw) = read(file, &[]);
    assert_eq!(read(file, lengths), (units.clone(), flaw.clone()), "the blocks matter");

    let mut last = 0;
    for (offset, end, _, _) in &units {
        assert!(last <= *offset && offset < end, "units lie one behind the other");
        last = *end;
    }
    if let Some(flaw) = flaw {
        assert_eq!((flaw.whole_bytes, flaw.len), (last, file.len() as u64));
        assert!(flaw.lost_bytes() > 0 && flaw.zeroes <= flaw.lost_bytes());
        assert!(file[..file.len() - flaw.zeroes as usize].last() != Some(&0));
        assert!(flaw.wrong.is_none_or(|(_, at)| (last..flaw.len).contains(&at)));
        assert!(!flaw.text("file").is_empty() && flaw.lines_of_cut("file").len() >= 3);
    }
    assert_eq!(read(&file[..last as usize], lengths), (units.clone(), None), "it is not whole");

    let again: Vec<u8> = units.iter().flat_map(write).collect();
    let (found, flaw) = read(&again, lengths);
    assert_eq!(flaw, None);
    let without_places = |units: Vec<Unit>| -> Vec<_> {
        units
            .into_iter()
            .map(|(_, _, is_transaction, commands)| (is_transaction, commands))
            .collect()
    };
    assert_eq!(without_places(found), without_places(units), "it does not come back");
});

/// Reads `file` in blocks of these lengths, over and over, or in one block if there are none.
fn read(file: &[u8], lengths: &[u8]) -> (Vec<Unit>, Option<IncrementFlaw>) {
    let mut reader = IncrementReader::new(0);
    let mut units = Vec::new();
    let mut lengths = lengths.iter().cycle();
    let mut rest = file;
    while !rest.is_empty() {
        let len = lengths.next().map_or(rest.len(), |&len| usize::from(len.max(1)));
        let (block, after) = rest.split_at(len.min(rest.len()));
        rest = after;
        reader.feed(block);
        while let Some(unit) = reader.next_unit() {
            let mut commands = Vec::new();
            let each = unit.try_each(|words| {
                commands.push(words.iter().map(|word| word.to_vec()).collect());
                Ok::<(), ()>(())
            });
            assert_eq!((each, commands.len()), (Ok(()), unit.len()));
            units.push((unit.offset, unit.end, unit.is_transaction, commands));
        }
    }
    (units, reader.flaw())
}

fn write((_, _, is_transaction, commands): &Unit) -> Vec<u8> {
    let mut bytes = Vec::new();
    if *is_transaction {
        request::write(&[b"MULTI"], &mut bytes);
    }
    for words in commands {
        request::write(&words.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut bytes);
    }
    if *is_transaction {
        request::write(&[b"EXEC"], &mut bytes);
    }
    bytes
}
