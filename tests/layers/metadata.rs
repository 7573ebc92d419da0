use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The top folder of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// One package of the dependency graph, as resolved for Linux.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) licence: String,
    /// Ids of its direct dependencies, without those of builds and tests.
    pub(crate) runs_on: BTreeSet<String>,
    pub(crate) of_the_house: bool,
}

/// Every package by its id.
pub(crate) fn packages() -> BTreeMap<String, Package> {
    let arguments =
        ["metadata", "--format-version=1", "--filter-platform=x86_64-unknown-linux-gnu"];
    let all: Value = serde_json::from_str(&cargo(&arguments)).unwrap();
    let members: BTreeSet<&str> =
        all["workspace_members"].as_array().unwrap().iter().map(text).collect();
    let mut runs_on: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for node in all["resolve"]["nodes"].as_array().unwrap() {
        let normal = |dep: &&Value| {
            dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null())
        };
        let deps = node["deps"].as_array().unwrap().iter().filter(normal);
        runs_on.insert(text(&node["id"]), deps.map(|dep| text(&dep["pkg"]).into()).collect());
    }
    let package = |value: &Value| Package {
        name: text(&value["name"]).into(),
        version: text(&value["version"]).into(),
        licence: value["license"].as_str().unwrap_or("none given").into(),
        runs_on: runs_on.get(text(&value["id"])).cloned().unwrap_or_default(),
        of_the_house: members.contains(text(&value["id"])),
    };
    let used = all["packages"].as_array().unwrap().iter();
    used.filter(|value| runs_on.contains_key(text(&value["id"])))
        .map(|value| (text(&value["id"]).to_owned(), package(value)))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Name and version of everything that `package` runs on, itself included, with the features in use.
///
/// From `cargo tree`: the resolve graph of `cargo metadata` also holds optional crates that no
/// feature switches on.
pub(crate) fn closure(package: &str) -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--edges=normal", "--prefix=none", "--format={p}", "-p", package];
    let all = cargo(&arguments);
    let pair = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        words.next().zip(words.next())
    };
    all.lines().filter_map(pair).collect()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
