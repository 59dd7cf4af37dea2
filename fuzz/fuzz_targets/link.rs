//! What a server says that is followed: no panic, and either the old data is there whole or what has
//! come is; a reason where the link ends.
//!
//! The first byte of the input chooses how far the link has come before the rest, the second the
//! size of the pieces in which that comes.

#![no_main]

#[path = "../../tests/common/facts.rs"]
mod facts;

use facts::FixedFacts;
use libfuzzer_sys::fuzz_target;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::time::Now;
use toril::persist::{Link, LinkProgress};

const NOW: Now = Now::new(1_800_000_000_000, 1_000_000);

const GREETING: &[u8] = b"+PONG\r\n+OK\r\n+OK\r\n+OK\r\n";
const WHOLE: &[u8] = b"+FULLRESYNC aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 5\r\n";
const BEGINS: [&[&[u8]]; 4] = [
    &[],
    &[GREETING],
    &[GREETING, WHOLE, b"$EOF:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nREDIS0011"],
    &[GREETING, b"+CONTINUE\r\n"],
];

fuzz_target!(|data: &[u8]| {
    let [begin, piece, rest @ ..] = data else { return };
    let lines = "enable-debug-command yes\n";
    let (config, _) =
        Config::from_lines(lines, &mut |_| unreachable!("nothing is included")).expect("good");
    let mut engine = Engine::new(table(), config, Box::new(FixedFacts::default()), NOW);
    engine.follow_server("127.0.0.1", 1);
    let mut link = Link::new(&engine);
    let begin = BEGINS[usize::from(begin & 3)].concat();
    for piece in [&begin[..]].into_iter().chain(rest.chunks(usize::from(*piece) + 1)) {
        link.feed(piece);
        loop {
            match link.step(&mut engine, NOW) {
                Ok(LinkProgress::Hungry) => break,
                Ok(LinkProgress::More) => {}
                Ok(LinkProgress::Waits) => unreachable!("no script is under way"),
                Err(fault) => {
                    assert!(fault.text.len() > 10, "{}", fault.text);
                    return;
                }
            }
            link.take_output();
        }
        engine.take_effects();
        while engine.next_dirty().is_some() {}
    }
});
