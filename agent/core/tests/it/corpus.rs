//! The corpus of the fuzz targets, through the same functions.

use std::path::Path;

use replay::replay;

#[path = "../../../../fuzz/entries.rs"]
mod entries;
#[path = "../../../../fuzz/replay.rs"]
mod replay;

/// Proves that no decoder breaks over the corpus, nor over its pieces and variants.
#[test]
fn the_corpus_breaks_nothing() {
    let fuzz = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    replay(fuzz, "ntp_packet", entries::ntp_packet);
    replay(fuzz, "nts_extension", entries::nts_extension);
    replay(fuzz, "nts_ke", entries::nts_ke);
    replay(fuzz, "engine_datagram", entries::engine_datagram);
    replay(fuzz, "spool_frame", entries::spool_frame);
    replay(fuzz, "leap_table", entries::leap_table);
}
