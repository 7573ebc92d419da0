//! Runs an entry over the corpus of its target.

use std::fs;
use std::path::Path;

/// Each file of `corpus/TARGET`, its beginnings, and what becomes of it when a bit flips.
pub(crate) fn replay(fuzz: &Path, target: &str, entry: fn(&[u8])) {
    let mut replayed = 0;
    for file in fs::read_dir(fuzz.join("corpus").join(target)).expect("a corpus") {
        let bytes = fs::read(file.expect("a file").path()).expect("its octets");
        entry(&bytes);
        for at in 0..bytes.len().min(600) {
            entry(&bytes[..at]);
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            entry(&flipped);
        }
        replayed += 1;
    }
    assert!(replayed > 0, "{target} has no corpus");
}
