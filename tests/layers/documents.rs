use std::fs;

use timebase::{Answer, SyncState, Verdict};

use crate::metadata::root;

/// Proves that every word a report can carry is explained where protocol words are looked up.
#[test]
fn words_of_the_wire_are_documented() {
    let text = fs::read_to_string(root().join("docs/WIRE.md")).unwrap();
    let verdicts = Verdict::all().map(Verdict::word);
    let states = SyncState::ALL.into_iter().map(SyncState::word);
    let answers = Answer::ALL.into_iter().map(Answer::word);
    let missing: Vec<_> = verdicts
        .chain(states)
        .chain(answers)
        .filter(|word| !text.contains(&format!("`{word}`")))
        .collect();
    assert!(missing.is_empty(), "docs/WIRE.md does not explain {missing:?}");
}

/// Proves that every reason of refusal is explained beside them, and on the pages.
#[test]
fn reasons_of_refusal_are_documented() {
    let wire = fs::read_to_string(root().join("docs/WIRE.md")).unwrap();
    let source = fs::read_to_string(root().join("collector/src/ingest/reason.rs")).unwrap();
    let word = |line: &str| Some(line.split_once("=> \"")?.1.split_once('"')?.0.to_owned());
    let words: Vec<_> = source.lines().filter_map(word).collect();
    assert!(words.len() > 5, "only {words:?}");
    let missing: Vec<_> =
        words.iter().filter(|word| !wire.contains(&format!("| `{word}` |"))).collect();
    assert!(missing.is_empty(), "docs/WIRE.md does not explain {missing:?}");
    let pages = fs::read_to_string(root().join("web/src/present/words.rs")).unwrap();
    let missing: Vec<_> =
        words.iter().filter(|word| !pages.contains(&format!("\"{word}\" => "))).collect();
    assert!(missing.is_empty(), "the pages do not explain {missing:?}");
}

/// Proves that the documents name no file that is not there.
#[test]
fn paths_in_the_documents_exist() {
    let tops =
        ["agent/", "collector/", "docs/", "migrations/", "proto/", "run.d/", "tests/", "web/"];
    let mut seen = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/WIRE.md",
        "docs/METRICS.md",
        "docs/OPERATIONS.md",
        "docs/SCALE.md",
        "docs/SQL.md",
    ] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for path in quoted.chain(linked) {
            if tops.iter().any(|top| path.starts_with(top)) && !path.contains('*') {
                assert!(root().join(path).exists(), "{document} names {path}");
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} paths seen");
}

/// Proves that the sample configuration files are TOML as they stand.
#[test]
fn sample_files_parse() {
    for file in ["collector/collector.default.toml", "agent/agent.default.toml"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let parsed: Result<toml::Table, _> = toml::from_str(&text);
        assert!(parsed.is_ok(), "{file}: {parsed:?}");
    }
}
