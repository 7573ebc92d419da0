//! Worlds that once broke, lived through again; and a few that never did.

use std::path::Path;

use agent_sim::soak;

/// Every seed kept by the soak command holds now.
#[test]
fn worlds_that_broke_once_hold() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let mut broken = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        let seed = text.split_whitespace().next().unwrap().parse().unwrap();
        if let Err(what) = soak::run(seed) {
            broken.push(format!("{seed}: {what}"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The first random worlds hold.
#[test]
fn a_handful_of_random_worlds_hold() {
    let broken: Vec<_> = (1..=20).filter_map(|seed| Some((seed, soak::run(seed).err()?))).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
