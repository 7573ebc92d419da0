//! The agent's binary against a real chronyd and against garbage, over loopback.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::support::{Folder, Process, agent, eventually, finished, skip};

/// A real chronyd that serves this machine's clock and controls nothing; `None` without one.
pub(crate) fn chronyd(folder: &Folder) -> Option<(Process, String)> {
    let given = std::env::var_os("CHRONYD").map(PathBuf::from);
    let usual = ["/usr/sbin/chronyd", "/usr/bin/chronyd"].map(PathBuf::from);
    let program = given.into_iter().chain(usual).find(|path| path.exists())?;
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = folder.file(
        "chrony.conf",
        &format!(
            "local stratum 5\nallow 127.0.0.0/8\nbindaddress 127.0.0.1\nport {port}\ncmdport 0\n\
             bindcmdaddress /\npidfile {}\n",
            folder.path().join("chronyd.pid").display()
        ),
    );
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    // -x: leave the clock alone; -U: run without root; -d: stay in the foreground.
    let process = Process::start(
        Command::new(program)
            .args(["-x", "-U", "-d", "-u", &user, "-f"])
            .arg(config)
            .stderr(File::create(folder.path().join("chronyd.log")).unwrap()),
    );
    Some((process, format!("127.0.0.1:{port}")))
}

/// A server that answers every request with eight datagrams, none of which is an answer.
fn garbage() -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let name = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut request = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut request) {
            let mut backwards = request[..length].to_vec();
            backwards.reverse();
            let mut claims_server = request[..length].to_vec();
            claims_server[0] = 0x24;
            let answers: [&[u8]; 8] = [
                b"",
                b"garbage",
                &[0; 48],
                &[0xff; 48],
                &[0x24; 2048],
                &request[..length],
                &backwards,
                &claims_server,
            ];
            for answer in answers {
                let _ = socket.send_to(answer, from);
            }
        }
    });
    name
}

pub(crate) fn seconds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn source<'a>(view: &'a Value, name: &str) -> &'a Value {
    let sources = view["sources"].as_array().unwrap();
    sources.iter().find(|source| source["name"] == name).unwrap()
}

/// Proves that every window measured against a server on the same clock contains an error of zero,
/// that kernel stamps are used, and that a server which sends garbage is counted and changes nothing.
#[tokio::test]
async fn every_window_contains_the_truth_beside_garbage() {
    let folder = Folder::new();
    let Some((_chronyd, good)) = chronyd(&folder) else {
        skip("every_window_contains_the_truth_beside_garbage", "no chronyd on this machine");
        return;
    };
    let bad = garbage();
    let mut child = agent()
        .args(["run", "--json", "--poll", "0", "--server", &good, "--server", &bad])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut windows = 0;
    for line in lines {
        let view: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if view["lo"].is_null() {
            continue;
        }
        let (lo, hi) = (seconds(&view["lo"]), seconds(&view["hi"]));
        assert!(lo <= 0.0 && 0.0 <= hi, "a window without the truth: {lo} to {hi}");
        assert!(hi - lo < 0.05, "a useless window: {} s wide", hi - lo);
        let (from_good, from_bad) = (source(&view, &good), source(&view, &bad));
        assert_eq!(from_good["stamps"], "kernel");
        assert_eq!(from_bad["accepted"], 0);
        windows += 1;
        if windows >= 5 && seconds(&from_bad["refused"]) >= 8.0 {
            break;
        }
        assert!(windows < 30, "garbage was not counted: {from_bad}");
    }
    assert!(windows >= 5, "the agent stopped after {windows} windows");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Proves that IPv6 addresses which this host cannot use are said to be so in one line for all of them.
#[tokio::test]
async fn useless_ipv6_addresses_are_told_once() {
    let folder = Folder::new();
    let log = folder.path().join("agent.log");
    // No host can reach a link-local address without being told the link.
    let _running = Process::start(
        agent()
            .args(["run", "--poll", "0", "--server", "[fe80::1]", "--server", "[fe80::2]"])
            .args(["--observe", "off", "--log-format", "json", "--log", "debug", "--state-dir"])
            .arg(folder.path().join("state"))
            .stderr(File::create(&log).unwrap()),
    );
    let text = || fs::read_to_string(&log).unwrap();
    eventually("both addresses are tried twice", || {
        let text = text();
        let tried = |address| text.matches(&format!("no socket to [{address}]")).count() >= 2;
        (tried("fe80::1") && tried("fe80::2")).then_some(())
    })
    .await;
    assert_eq!(text().matches("IPv6 address").count(), 1, "{}", text());
}

/// Proves that `status` shows the running agent's window and sources as a table and as JSON, that its
/// metrics and health answer, and that it needs no privilege to touch a clock.
#[tokio::test]
async fn status_and_metrics_show_the_window() {
    let folder = Folder::new();
    let Some((_chronyd, server)) = chronyd(&folder) else {
        skip("status_and_metrics_show_the_window", "no chronyd on this machine");
        return;
    };
    let state = folder.path().join("state");
    let log = folder.path().join("agent.log");
    let running = Process::start(
        agent()
            .args(["run", "--poll", "0", "--server", &server, "--observe", "127.0.0.1:0"])
            .args(["--log-format", "json", "--state-dir"])
            .arg(&state)
            .stderr(File::create(&log).unwrap()),
    );
    let status =
        |flag: &[&str]| finished(agent().arg("status").args(flag).arg("--state-dir").arg(&state));
    let table = eventually("a window is shown", || {
        let (code, table, _) = status(&[]);
        (code == Some(0) && table.contains("selected")).then_some(table)
    })
    .await;
    for word in ["window", "certain; + is ahead", "state", "kernel", "µs", &server] {
        assert!(table.contains(word), "{word} is missing:\n{table}");
    }
    let (_, json, _) = status(&["--json"]);
    let view: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(view["state"], "synchronised");

    let address = observe_address(&log);
    let metrics = http_get(&address, "/metrics").await;
    for name in [
        "truechimer_agent_window_lo_seconds",
        "truechimer_agent_source_verdict",
        "truechimer_agent_requests_total",
        "truechimer_agent_refused",
    ] {
        assert!(metrics.contains(name), "{name} is missing:\n{metrics}");
    }
    assert!(http_get(&address, "/healthz").await.contains("200 OK"));
    assert!(http_get(&address, "/readyz").await.contains("200 OK"));
    drop(running);
}

/// The address in the log: the port was the system's choice.
fn observe_address(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let messages: Vec<_> =
        lines.filter_map(|line| Some(line["message"].as_str()?.to_owned())).collect();
    let found = messages.iter().find_map(|m| m.strip_prefix("metrics and health on http://"));
    found.unwrap_or_else(|| panic!("no address in {messages:?}")).to_owned()
}

async fn http_get(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
