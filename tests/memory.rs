//! What the counting allocator counts, with it installed as the program installs it.

use std::thread;

use toril::util::alloc::{Counted, allocated_bytes};

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// More than the other threads of the test harness move meanwhile.
const SLACK: usize = 100_000;

/// One test, since tests that run at once would share the count.
#[test]
fn what_is_alive_is_counted_across_threads() {
    let check = |expect: usize| {
        let found = allocated_bytes();
        assert!(found.abs_diff(expect) < SLACK, "{found} bytes, not about {expect}");
    };
    let start = allocated_bytes();
    let mut block = vec![1u8; 1_000_000];
    check(start + 1_000_000);
    block.reserve_exact(4_000_000);
    check(start + 5_000_000);
    block.truncate(1_000);
    block.shrink_to_fit();
    check(start);
    let zeroed = vec![0u8; 2_000_000];
    check(start + 2_000_000);

    thread::spawn(move || drop(zeroed)).join().expect("dropping does not panic");
    check(start);
    let many = thread::spawn(|| (0..10_000).map(|_| Box::new([0u8; 200])).collect::<Vec<_>>());
    let many = many.join().expect("collecting does not panic");
    check(start + 10_000 * 208);
    drop(many);
    check(start);
}
