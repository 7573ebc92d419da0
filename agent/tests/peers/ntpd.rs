//! ntpd (NTPsec), which serves on port 123 only: in a network of its own, where it cannot steer the clock
//! either.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{Folder, skip};
use crate::watch::{Watch, accepted, source};

const CONFIG: &str =
    "disable ntp\ntos orphan 5 orphanwait 1\nrestrict default\nrestrict 127.0.0.1\n";

fn ntpd() -> Option<PathBuf> {
    let given = std::env::var_os("NTPD").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = std::env::split_paths(&path).map(|folder| folder.join("ntpd"));
    given
        .into_iter()
        .chain(usual)
        .chain([PathBuf::from("/usr/sbin/ntpd")])
        .find(|path| path.exists())
}

/// A shell in a network and with processes of its own, which end with it.
fn alone(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--pid", "--fork", "--kill-child", "sh", "-c"]);
    command.arg(format!("ip link set lo up && {script}"));
    command
}

/// Proves that ntpd is a source like others, that its keys are understood, and that what it cannot do
/// (interleaved mode) is not asked of it for long.
#[test]
fn ntpd_is_understood_with_and_without_a_key() {
    let name = "ntpd_is_understood_with_and_without_a_key";
    let Some(ntpd) = ntpd() else { return skip(name, "no ntpd on this machine") };
    let possible = alone("true").stderr(Stdio::null()).status();
    if !possible.is_ok_and(|status| status.success()) {
        return skip(name, "no network namespaces for this user");
    }
    let folder = Folder::new();
    let keys = folder.file("keys", "7 AES128 HEX:000102030405060708090a0b0c0d0e0f\n");
    let theirs = folder.file("ntp.keys", "7 AES-128 000102030405060708090a0b0c0d0e0f\n");
    let config = format!("{CONFIG}keys {}\ntrustedkey 7\n", theirs.display());
    let config = folder.file("ntp.conf", &config);
    let daemon = format!("{} -n -c {}", ntpd.display(), config.display());
    for (key, auth) in [("", "none"), ("key = 7", "mac")] {
        let table = format!(
            "ntp.keys-file = \"{}\"\n[[ntp.server]]\nname = \"127.0.0.1\"\n{key}\n",
            keys.display()
        );
        let watch = Watch::wrapped(&folder, &table, |agent| {
            let mut command = alone(&format!("{daemon} >/dev/null 2>&1 & exec \"$0\" \"$@\""));
            command.arg(agent.get_program()).args(agent.get_args());
            command
        });
        let view = watch.until("answers", |view| accepted(view, 0) >= 8);
        assert_eq!(source(&view, 0)["auth"], auth);
        assert_eq!(source(&view, 0)["interleaved"], false);
        assert_eq!(view["state"], "synchronised");
    }
}
