//! The corpus of the fuzz targets, through the same functions.

use std::fs;
use std::path::Path;

#[path = "../../../../fuzz/entries.rs"]
mod entries;

fn replay(target: &str, entry: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut replayed = 0;
    for file in fs::read_dir(&folder).expect("a corpus") {
        let bytes = fs::read(file.expect("a file").path()).expect("its octets");
        entry(&bytes);
        // What was cut off or has a flipped bit is no worse.
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

/// Proves that no decoder breaks over the corpus, nor over its pieces and variants.
#[test]
fn the_corpus_breaks_nothing() {
    replay("ntp_packet", entries::ntp_packet);
    replay("nts_extension", entries::nts_extension);
    replay("nts_ke", entries::nts_ke);
    replay("engine_datagram", entries::engine_datagram);
    replay("spool_frame", entries::spool_frame);
}
