use std::fs;

use serde_json::Value;

use crate::metadata::{packages, root};

/// Licences that may come in with a dependency: none asks anything of those who use the product
/// beyond naming the authors.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Proves that every crate of the build, tests and build scripts included, has an allowed licence.
#[test]
fn every_crate_has_an_allowed_licence() {
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages seen", packages.len());
    let refused: Vec<_> = packages
        .values()
        .filter(|package| !allowed(&package.licence))
        .map(|package| format!("{} {}: {}", package.name, package.version, package.licence))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    for package in packages.values().filter(|package| package.of_the_house) {
        assert_eq!(package.licence, "Apache-2.0", "{}", package.name);
    }
}

/// Proves the same of the npm packages; what only tests use may also be under the MPL.
#[test]
fn every_npm_package_has_an_allowed_licence() {
    for (lock, also) in
        [("web/package-lock.json", ""), ("tests/browser/package-lock.json", "MPL-2.0")]
    {
        let text = fs::read_to_string(root().join(lock)).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let others =
            all["packages"].as_object().unwrap().iter().filter(|(path, _)| !path.is_empty());
        let mut count = 0;
        for (path, package) in others {
            let licence = package["license"].as_str().unwrap_or("none given");
            assert!(allowed(licence) || licence == also, "{lock}: {path} has licence {licence}");
            count += 1;
        }
        assert!(count > 0, "{lock} names no package");
    }
}

/// Proves that the licence expressions are read as SPDX means them, so that the tests above can fail.
#[test]
fn licence_expressions_are_understood() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0-only OR MIT",
        "(MIT OR GPL-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(allowed(good), "{good}");
    }
    for bad in
        ["GPL-3.0-only", "MIT AND GPL-2.0-only", "(MIT OR ISC) AND AGPL-3.0", "none given", ""]
    {
        assert!(!allowed(bad), "{bad}");
    }
}

fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any_of(&mut rest) && rest.is_empty()
}

/// `all-of OR all-of …`; reads all of it whatever the answer.
fn any_of(words: &mut &[&str]) -> bool {
    let mut good = all_of(words);
    while take(words, "OR") {
        good |= all_of(words);
    }
    good
}

/// `licence AND licence …`, each of them a name or a bracket.
fn all_of(words: &mut &[&str]) -> bool {
    let mut good = one(words);
    while take(words, "AND") {
        good &= one(words);
    }
    good
}

fn one(words: &mut &[&str]) -> bool {
    if take(words, "(") {
        let good = any_of(words);
        return take(words, ")") && good;
    }
    let Some((name, rest)) = words.split_first() else { return false };
    *words = rest;
    let mut name = (*name).to_owned();
    if take(words, "WITH")
        && let Some((exception, rest)) = words.split_first()
    {
        name = format!("{name} WITH {exception}");
        *words = rest;
    }
    ALLOWED.contains(&name.as_str())
}

fn take(words: &mut &[&str], word: &str) -> bool {
    let is_next = words.first() == Some(&word);
    if is_next {
        *words = &words[1..];
    }
    is_next
}
