//! The corpus of the fuzz targets, through the same functions.

use std::path::Path;

use replay::replay;

#[path = "../../../fuzz/host_entries.rs"]
mod entries;
#[path = "../../../fuzz/replay.rs"]
mod replay;

/// Proves that no decoder breaks over the corpus, nor over its pieces and variants.
#[test]
fn the_corpus_breaks_nothing() {
    let fuzz = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    replay(fuzz, "sock_sample", entries::sock_sample);
    replay(fuzz, "shm_sample", entries::shm_sample);
    replay(fuzz, "chrony_conf", entries::chrony_conf);
    replay(fuzz, "chrony_keys", entries::chrony_keys);
    replay(fuzz, "timesyncd_conf", entries::timesyncd_conf);
}
