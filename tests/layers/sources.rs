use std::fs;
use std::path::{Path, PathBuf};

use crate::metadata::root;

/// Longest Rust file: beyond that it does more than one job.
const MOST_LINES: usize = 500;

/// The only places where a real clock is read.
const CLOCKS: &[&str] = &[
    "agent/src/sys/clock.rs",
    "bench/src/clock.rs",
    "collector/src/clock.rs",
    "tests/src/clock.rs",
];

/// The only folder where unsafe code may stand.
const UNSAFE: &str = "agent/src/sys/";

/// Folders with files that nobody here wrote.
const NOT_OURS: &[&str] = &["target", "node_modules", "vendor", ".git", ".sqlx"];

/// Every text file of the repository with its path from the top.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    open.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((from_the_top(&path), text));
            }
        }
    }
    assert!(found.len() > 50, "only {} files seen", found.len());
    found
}

fn from_the_top(path: &Path) -> String {
    let relative: PathBuf = path.strip_prefix(root()).unwrap().into();
    relative.to_string_lossy().into_owned()
}

fn rust_files() -> impl Iterator<Item = (String, String)> {
    files().into_iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// Proves that no Rust file has grown beyond what one reads in a sitting, and none is empty.
#[test]
fn files_have_one_job() {
    let long: Vec<_> = rust_files()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES || *lines == 0)
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines, or empty: {long:#?}");
}

/// Proves that the lint against real clocks is lifted only in the clock modules.
#[test]
fn real_clocks_are_read_in_one_place_per_program() {
    let lint = concat!("disallowed", "_methods");
    let lifted: Vec<_> = rust_files()
        .filter(|(path, text)| text.contains(lint) && !CLOCKS.contains(&path.as_str()))
        .map(|(path, _)| path)
        .collect();
    assert!(lifted.is_empty(), "these files lift clippy::{lint}: {lifted:#?}");
}

/// Proves that unsafe code stands only where the operating system leaves no other way.
#[test]
fn the_system_module_alone_lifts_the_lint_on_unsafe() {
    let lint = concat!("unsafe", "_code");
    let lifted: Vec<_> = rust_files()
        .filter(|(path, text)| text.contains(lint) && !path.starts_with(UNSAFE))
        .map(|(path, _)| path)
        .collect();
    assert!(lifted.is_empty(), "these files lift {lint}: {lifted:#?}");
}

/// Proves that nothing is left half done: no marks for later, no tests that are switched off.
#[test]
fn nothing_is_put_off() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("#[ign", "ore")];
    let mut left = Vec::new();
    for (path, text) in files().into_iter().filter(|(path, _)| path != "LICENSE") {
        let lines = text.lines().enumerate();
        left.extend(
            lines
                .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
                .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim())),
        );
    }
    assert!(left.is_empty(), "{}", left.join("\n"));
}
