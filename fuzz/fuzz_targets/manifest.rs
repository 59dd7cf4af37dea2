//! Manifests of whatever bytes: refused, or a chain that comes back when it is written again, and
//! that each step of a rewrite leaves whole.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use toril::persist::{AofNames, AofRole, BaseForm, Manifest};

/// A line may have no more bytes; a name of odd ones grows as it is written.
const LINE_BYTES_MAX: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let manifest = match Manifest::parse(data) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    check(&manifest);
    let names = AofNames::new("a");
    let opened = manifest.opened(&names);
    check(&opened);
    let next = opened.increments.last().expect("one was opened");
    assert!(manifest.increments.iter().all(|file| file.seq < next.seq));
    assert_eq!(opened.chain().count(), manifest.chain().count() + 1);

    for form in [BaseForm::Rdb, BaseForm::Commands] {
        for cut in opened.increments.iter().map(|file| file.seq) {
            let rebased = opened.rebased(&names, form, cut);
            check(&rebased);
            let base = rebased.base.clone().expect("there is a base");
            assert_eq!(base, opened.next_base(&names, form));
            let is_old = |name| opened.role_of(&names, name, 9) == AofRole::Listed;
            assert!(!is_old(&base.name), "a file that is in use would be written over");
            assert_eq!(rebased.increments.first().map(|file| file.seq), Some(cut));
            // Nothing is forgotten before its time, and nothing in use is history.
            let count = |manifest: &Manifest| manifest.chain().count() + manifest.history.len();
            assert_eq!(count(&rebased), count(&opened) + 1);
            assert_eq!(rebased.forgotten().chain().count(), rebased.chain().count());
            check(&rebased.forgotten());
        }
    }
    for file in manifest.chain().chain(&manifest.history) {
        let role = manifest.role_of(&names, &file.name, 9);
        assert!(matches!(role, AofRole::Listed | AofRole::Manifest), "{role:?}");
    }
});

/// It can be written, and read back.
fn check(manifest: &Manifest) {
    let text = manifest.text();
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(lines.len(), manifest.chain().count() + manifest.history.len());
    let seqs: BTreeSet<u64> = manifest.chain().map(|file| file.seq).collect();
    let is_in_bounds = seqs.last().is_none_or(|&seq| i64::try_from(seq).is_ok());
    if !text.is_empty() && is_in_bounds && lines.iter().all(|line| line.len() <= LINE_BYTES_MAX) {
        assert_eq!(Manifest::parse(&text).as_ref(), Ok(manifest));
    }
}
