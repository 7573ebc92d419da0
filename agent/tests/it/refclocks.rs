//! The agent's binary with reference clocks that are played by this test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::loopback::seconds;
use crate::support::{Folder, agent};

/// A program that says, five times a second, that UTC is `ahead` of this machine's clock.
fn gpsd(socket: &Path, ahead: f64, garbage: bool) -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let (until, path) = (Arc::clone(&stop), socket.to_owned());
    thread::spawn(move || {
        let socket = UnixDatagram::unbound().unwrap();
        while !until.load(Ordering::Relaxed) {
            let now = agent::sys::clock::realtime().as_ns();
            let mut bytes = Vec::new();
            bytes.extend((now / 1_000_000_000).to_ne_bytes());
            bytes.extend((now % 1_000_000_000 / 1_000).to_ne_bytes());
            bytes.extend(ahead.to_ne_bytes());
            for int in [0, 0, 0, 0x534f_434b_i32] {
                bytes.extend(int.to_ne_bytes());
            }
            let _ = socket.send_to(&bytes, &path);
            if garbage {
                for bad in [&bytes[..39], b"", &[0xff; 40], &[0xff; 2048]] {
                    let _ = socket.send_to(bad, &path);
                }
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    stop
}

/// Proves that a clock which writes to chrony's socket, garbage between its samples, becomes a source
/// whose window contains the truth, with no server at all.
#[test]
fn a_clock_on_a_socket_gives_a_window() {
    let folder = Folder::new();
    let socket = folder.path().join("gps.sock");
    let config = folder.file(
        "agent.toml",
        &format!(
            "[[refclock]]\nkind = \"sock\"\npath = \"{}\"\nname = \"GPS\"\nreference-id = \"GPS\"\n\
             poll = 1\n[ntp]\nservers = [\"127.0.0.1:9\"]\n[observe]\nlisten = \"off\"\n\
             [status]\nsocket = \"off\"\ncontrol = \"off\"\n",
            socket.display()
        ),
    );
    let ahead = 0.25;
    let stop = gpsd(&socket, ahead, true);
    let mut child = agent()
        .args(["run", "--json", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut windows = 0;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().take(60) {
        let view: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let sources = view["sources"].as_array().unwrap();
        let source = sources.iter().find(|source| source["name"] == "GPS").unwrap();
        assert_eq!((&source["kind"], &source["stratum"]), (&"sock".into(), &0.into()), "{source}");
        if view["lo"].is_null() || source["verdict"] != "selected" {
            continue;
        }
        // A stamp in whole microseconds may be one too early.
        let (lo, hi) = (seconds(&view["lo"]), seconds(&view["hi"]));
        assert!(lo <= -ahead && -ahead <= hi && hi - lo < 0.01, "{view}");
        windows += 1;
        if windows == 5 {
            break;
        }
    }
    let made = fs::symlink_metadata(&socket).unwrap();
    assert!(made.file_type().is_socket());
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
    stop.store(true, Ordering::Relaxed);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(windows, 5, "no window within a minute");
}
