//! A file of RDB from whoever made it: refused with a text, or loaded; what was loaded is saved, and
//! loads again as the same.
//!
//! The first byte of the input chooses the head and what may be left out, the second the size of
//! the blocks in which the rest comes.

#![no_main]

#[path = "../../tests/common/facts.rs"]
mod facts;

use facts::FixedFacts;
use libfuzzer_sys::fuzz_target;
use toril::command::table::table;
use toril::config::Config;
use toril::engine::Engine;
use toril::engine::client::Peer;
use toril::engine::persistence::SnapshotKind;
use toril::engine::time::Now;
use toril::persist::{LoadOptions, Loader};
use toril::proto::Args;

const NOW: Now = Now::new(1_800_000_000_000, 1_000_000);

const HEADS: [&[u8]; 4] = [b"", b"REDIS0009", b"REDIS0012", b"VALKEY080"];

fn engine() -> Engine {
    let lines = "enable-debug-command yes\n";
    let (config, _) =
        Config::from_lines(lines, &mut |_| unreachable!("nothing is included")).expect("good");
    Engine::new(table(), config, Box::new(FixedFacts::default()), NOW)
}

fn load(
    engine: &mut Engine,
    file: &[u8],
    options: LoadOptions,
    block: usize,
) -> Result<(), String> {
    let mut blocks = file.chunks(block).map(<[u8]>::to_vec);
    Loader::new(options).read_whole(engine, || Ok(blocks.next().unwrap_or_default()))
}

fn digest(engine: &mut Engine) -> Vec<u8> {
    let client = engine.connect(Peer::inside(), NOW);
    engine.run(client, Args::new(&[b"DEBUG", b"DIGEST"]), NOW);
    engine.take_output(client)
}

fuzz_target!(|data: &[u8]| {
    let [how, block, rest @ ..] = data else { return };
    let options = LoadOptions {
        is_partial: how & 4 != 0,
        repairs: how & 8 != 0,
        merges: how & 16 != 0,
        keeps_expired: how & 32 != 0,
        is_sent: false,
    };
    let mut file = [HEADS[usize::from(how & 3)], rest].concat();
    if how & 64 != 0 {
        // Without a checksum.
        file.extend([&[0xff][..], &[0; 8]].concat());
    }
    let mut first = engine();
    if let Err(text) = load(&mut first, &file, options, usize::from(*block) + 1) {
        assert!(text.len() > 10 && !text.ends_with('.'), "{text}");
        return;
    }
    let mut saved = Vec::new();
    let written: Result<(), ()> = first.save_whole(SnapshotKind::Alone, |bytes| {
        saved.extend_from_slice(bytes);
        Ok(())
    });
    first.end_saving(written.is_ok(), NOW);
    saved.extend([0; 8]);
    let mut second = engine();
    let keeps = LoadOptions { keeps_expired: true, ..LoadOptions::default() };
    load(&mut second, &saved, keeps, 1_000).expect("what was written is read");
    assert_eq!(digest(&mut second), digest(&mut first));
});
