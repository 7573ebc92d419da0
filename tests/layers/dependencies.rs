use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::metadata::{closure, packages, root};

/// Who may depend on whom inside the house. A new crate states its place here.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("timebase", &[]),
    ("fleet-proto", &["timebase"]),
    ("agent-core", &["timebase"]),
    ("agent-sim", &["agent-core", "timebase"]),
    ("agent", &["agent-core", "fleet-proto", "timebase"]),
    ("agent-fleet", &["agent", "agent-sim", "fleet-proto", "timebase"]),
    ("risk", &["timebase"]),
    ("store", &["risk", "timebase"]),
    ("web", &["risk", "store", "timebase"]),
    ("collector", &["fleet-proto", "risk", "store", "timebase", "web"]),
    ("house-bench", &["store", "timebase"]),
    ("house-tests", &["agent-core", "fleet-proto", "timebase"]),
];

/// Crates without IO and without a clock, and the few outside crates they may use.
const PURE: &[(&str, &str, &[&str])] = &[
    ("timebase", "timebase/src/lib.rs", &[]),
    ("agent-core", "agent/core/src/lib.rs", AGENT_CORE_USES),
    ("risk", "collector/risk/src/lib.rs", &[]),
];

/// Arithmetic, and RustCrypto's ciphers with what they are made of.
const AGENT_CORE_USES: &[&str] = &[
    "aead",
    "aes",
    "aes-gcm-siv",
    "aes-siv",
    "block-buffer",
    "cfg-if",
    "cipher",
    "cmac",
    "cmov",
    "cpubits",
    "cpufeatures",
    "crc32fast",
    "crypto-common",
    "ctr",
    "ctutils",
    "dbl",
    "digest",
    "hybrid-array",
    "inout",
    "libm",
    "md-5",
    "polyval",
    "rand_core",
    "sha1",
    "sha2",
    "subtle",
    "typenum",
    "universal-hash",
];

/// What no shipped program runs on: a second TLS stack, a second calendar.
const BANNED: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "chrono"];

/// What the pages may not use: they cannot talk to agents, nor to the world.
const NOT_IN_WEB: &[&str] = &["tonic", "reqwest", "prost"];

const PROGRAMS: &[&str] = &["agent", "agent-fleet", "collector"];

/// Proves that every crate depends only on what the map of the house allows.
#[test]
fn crates_depend_only_downwards() {
    let packages = packages();
    let rules: BTreeMap<_, _> = MAY_DEPEND_ON.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages.values().filter(|package| package.of_the_house) {
        let Some(allowed) = rules.get(package.name.as_str()) else {
            wrong.push(format!("{} has no place in this table", package.name));
            continue;
        };
        for id in package.runs_on.iter().filter(|id| packages[*id].of_the_house) {
            let name = packages[id].name.as_str();
            if !allowed.contains(&name) {
                wrong.push(format!("{} may not depend on {name}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Proves that the pure crates have no standard library and only the outside crates listed for them.
#[test]
fn pure_crates_are_pure() {
    for (name, lib, allowed) in PURE {
        let text = fs::read_to_string(root().join(lib)).unwrap();
        assert!(text.lines().any(|line| line == "#![no_std]"), "{lib} is not #![no_std]");
        for (used, _) in closure(name) {
            let of_the_house = MAY_DEPEND_ON.iter().any(|(house, _)| *house == used);
            assert!(of_the_house || allowed.contains(&used.as_str()), "{name} uses {used}");
        }
    }
}

/// Proves that one TLS stack and one calendar are in the programs, and each in one version.
#[test]
fn programs_have_one_library_per_job() {
    let mut wrong = Vec::new();
    for program in PROGRAMS {
        let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, version) in closure(program) {
            versions.entry(name).or_default().insert(version);
        }
        assert!(versions.len() > 20, "{program} runs on only {} crates", versions.len());
        wrong.extend(BANNED.iter().filter(|name| versions.contains_key(**name)).map(|name| {
            format!("{program} runs on {name}: cargo tree -p {program} -e normal -i {name}")
        }));
        for name in ["axum", "hyper", "jiff", "prost", "rustls", "sqlx", "tokio", "tonic"] {
            if versions.get(name).is_some_and(|all| all.len() > 1) {
                wrong.push(format!("{program} runs on several {name}: {:?}", versions[name]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Proves that the pages can reach the store and nothing on the network.
#[test]
fn pages_cannot_call_out() {
    for (name, _) in closure("web") {
        assert!(!NOT_IN_WEB.contains(&name.as_str()), "web runs on {name}");
    }
}
