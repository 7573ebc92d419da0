//! chronyd: interleaved mode, keys, IPv6, and what happens when it goes away.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Folder, Process, agent, finished, skip};
use crate::watch::{Watch, accepted, source};

/// A real chronyd that serves this machine's clock and controls nothing.
pub(crate) struct Chronyd {
    address: IpAddr,
    pub(crate) port: u16,
    program: PathBuf,
    config: PathBuf,
    folder: PathBuf,
    process: Process,
}

impl Chronyd {
    /// Serves at 127.0.0.1, with `directives` beside the usual ones; `None` without a chronyd.
    pub(crate) fn start(folder: &Folder, directives: &str) -> Option<Self> {
        Self::at(Ipv4Addr::LOCALHOST.into(), folder, directives)
    }

    /// Serves at `address`.
    pub(crate) fn at(address: IpAddr, folder: &Folder, directives: &str) -> Option<Self> {
        let given = std::env::var_os("CHRONYD").map(PathBuf::from);
        let usual = ["/usr/sbin/chronyd", "/usr/bin/chronyd"].map(PathBuf::from);
        let program = given.into_iter().chain(usual).find(|path| path.exists())?;
        Self::of(program, address, folder, directives)
    }

    /// The chronyd that is `program`.
    pub(crate) fn of(
        program: PathBuf,
        address: IpAddr,
        folder: &Folder,
        directives: &str,
    ) -> Option<Self> {
        let port = UdpSocket::bind((address, 0)).ok()?.local_addr().unwrap().port();
        let config = folder.file(
            "chrony.conf",
            &format!(
                "local stratum 5\nallow all\nbindaddress {address}\nport {port}\ncmdport 0\n\
                 bindcmdaddress /\npidfile {}\n{directives}\n",
                folder.path().join("chronyd.pid").display()
            ),
        );
        let folder = folder.path().to_owned();
        let process = launch(&program, &config, &folder);
        Some(Self { address, port, program, config, folder, process })
    }

    /// A `[[ntp.server]]` table for it, with `options`.
    pub(crate) fn table(&self, options: &str) -> String {
        let name = std::net::SocketAddr::new(self.address, self.port);
        format!("[[ntp.server]]\nname = \"{name}\"\n{options}\n")
    }

    fn kill(&mut self) {
        self.process.kill_9();
        let _ = std::fs::remove_file(self.folder.join("chronyd.pid"));
    }

    fn restart(&mut self) {
        self.process = launch(&self.program, &self.config, &self.folder);
    }
}

fn launch(program: &PathBuf, config: &PathBuf, folder: &std::path::Path) -> Process {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
    // -x: leave the clock alone; -U: run without root; -d: stay in the foreground.
    Process::start(
        Command::new(program)
            .args(["-x", "-U", "-d", "-u", &user, "-f"])
            .arg(config)
            .stderr(File::create(folder.join("chronyd.log")).unwrap()),
    )
}

/// Proves that interleaved mode is found without being configured, that it is used with kernel stamps,
/// and that the window is then narrow.
#[test]
fn interleaved_mode_is_used() {
    let folder = Folder::new();
    let Some(server) = Chronyd::start(&folder, "") else {
        return skip("interleaved_mode_is_used", "no chronyd on this machine");
    };
    let watch = Watch::start(&folder, &server.table(""));
    let view = watch.until("interleaved answers", |view| {
        source(view, 0)["interleaved"] == true && accepted(view, 0) >= 6
    });
    assert_eq!(source(&view, 0)["stamps"], "kernel");
    assert_eq!(source(&view, 0)["auth"], "none");
    let width = view["hi"].as_f64().unwrap() - view["lo"].as_f64().unwrap();
    assert!(width < 0.005, "{width} s wide");
}

/// Proves that a server can be asked in basic mode only.
#[test]
fn interleaved_mode_can_be_refused() {
    let folder = Folder::new();
    let Some(server) = Chronyd::start(&folder, "") else {
        return skip("interleaved_mode_can_be_refused", "no chronyd on this machine");
    };
    let watch = Watch::start(&folder, &server.table("interleaved = false"));
    let view = watch.until("eight answers", |view| accepted(view, 0) >= 8);
    assert_eq!(source(&view, 0)["interleaved"], false);
}

/// Proves that AES-CMAC and SHA-256 keys are understood by both sides, also in interleaved mode, and that
/// answers under another key, or none, are refused.
#[test]
fn keys_authenticate() {
    let folder = Folder::new();
    let keys = |name: &str, last: &str| {
        let text = format!(
            "7 AES128 HEX:000102030405060708090a0b0c0d0e{last}\n8 SHA256 ASCII:between-{last}\n\
             9 AES256 HEX:{}{last}\n",
            "ab".repeat(31)
        );
        let path = folder.file(name, &text);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640))
            .unwrap();
        path.display().to_string()
    };
    let (shared, other) = (keys("shared.keys", "0f"), keys("other.keys", "ff"));
    let Some(server) = Chronyd::start(&folder, &format!("keyfile {shared}")) else {
        return skip("keys_authenticate", "no chronyd on this machine");
    };
    for key in [7, 8, 9] {
        let table = server.table(&format!("key = {key}"));
        let watch = Watch::start(&folder, &format!("ntp.keys-file = \"{shared}\"\n{table}"));
        let view = watch.until("authenticated answers", |view| {
            accepted(view, 0) >= 6 && source(view, 0)["interleaved"] == true
        });
        assert_eq!(source(&view, 0)["auth"], "mac");
        assert_eq!(view["state"], "synchronised");
    }
    let table = server.table("key = 7");
    let watch = Watch::start(&folder, &format!("ntp.keys-file = \"{other}\"\n{table}"));
    let view = watch.until("misses or refusals", |view| {
        let source = source(view, 0);
        source["refused"].as_u64().unwrap() > 3
            || ["authentication", "unreachable"].contains(&source["verdict"].as_str().unwrap())
    });
    assert_eq!(accepted(&view, 0), 0);
    assert!(view["lo"].is_null(), "a window from a server that could be anybody: {view}");
}

/// Proves that servers are asked over IPv6.
#[test]
fn ipv6_is_spoken() {
    let folder = Folder::new();
    let Some(server) = Chronyd::at(Ipv6Addr::LOCALHOST.into(), &folder, "") else {
        return skip("ipv6_is_spoken", "no chronyd or no IPv6 on this machine");
    };
    let watch = Watch::start(&folder, &server.table(""));
    let view = watch.until("answers", |view| accepted(view, 0) >= 4);
    assert_eq!(source(&view, 0)["stamps"], "kernel");
    assert!(source(&view, 0)["address"].as_str().unwrap().starts_with("[::1]:"));
}

/// Proves that the window outlives its only server, growing, and narrows again when the server is back.
#[test]
fn a_server_dies_and_comes_back() {
    let folder = Folder::new();
    let Some(mut server) = Chronyd::start(&folder, "") else {
        return skip("a_server_dies_and_comes_back", "no chronyd on this machine");
    };
    let watch = Watch::start(&folder, &server.table("iburst = true"));
    let before = watch.until("answers", |view| accepted(view, 0) >= 4);
    server.kill();
    let without = watch.until("the loss is noticed", |view| {
        view["state"] == "holdover" && source(view, 0)["verdict"] == "unreachable"
    });
    assert!(without["lo"].is_f64(), "no window in holdover: {without}");
    server.restart();
    let again = watch.until("answers again", |view| {
        view["state"] == "synchronised" && accepted(view, 0) > accepted(&without, 0) + 4
    });
    let width =
        |view: &serde_json::Value| view["hi"].as_f64().unwrap() - view["lo"].as_f64().unwrap();
    assert!(width(&again) < width(&before) + 0.001);
}

/// Proves that a name that leads nowhere keeps nobody from being asked, and that sources are left alone
/// and asked again on order, by those who may give orders only.
#[test]
fn names_without_addresses_and_orders() {
    let folder = Folder::new();
    let Some(server) = Chronyd::start(&folder, "") else {
        return skip("names_without_addresses_and_orders", "no chronyd on this machine");
    };
    let nowhere = "[[ntp.server]]\nname = \"nowhere.invalid\"\n";
    let watch = Watch::start(&folder, &format!("{}{nowhere}", server.table("")));
    watch.until("a window", |view| view["state"] == "synchronised");
    let order = |word: &str, source: &str| {
        let state = folder.path().join("state");
        finished(agent().args([word, source, "--state-dir"]).arg(state))
    };
    assert_eq!(order("offline", "127.0.0.1").0, Some(0));
    let offline = watch.until("it is offline", |view| source(view, 0)["verdict"] == "offline");
    let (code, _, said) = order("online", "stranger.example");
    assert!(code == Some(1) && said.contains("stranger.example"), "{said}");
    assert_eq!(order("online", "127.0.0.1").1, "1 online\n");
    watch.until("it is asked again", |view| accepted(view, 0) > accepted(&offline, 0) + 2);
    let socket = folder.path().join("state/control.sock");
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
