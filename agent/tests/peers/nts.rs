//! chronyd with Network Time Security.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;

use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

use crate::chronyd::Chronyd;
use crate::support::{Folder, skip};
use crate::watch::{Watch, accepted, source};

/// A chronyd whose certificate is for `name` and good from 2020 to `until`; the authority is in `ca.pem`.
fn secured(folder: &Folder, name: &str, until: i32) -> Option<(Chronyd, u16)> {
    let (port, directives) = nts_directives(folder, &[name], until);
    Some((Chronyd::start(folder, &directives)?, port))
}

/// What makes a chronyd exchange keys, at the port, with a certificate for `names`.
fn nts_directives(folder: &Folder, names: &[&str], until: i32) -> (u16, String) {
    Authority::new(folder).directives(folder, names, until)
}

/// Who signs the servers' certificates.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Its own certificate is in `ca.pem`.
    pub(crate) fn new(folder: &Folder) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        folder.file("ca.pem", &authority.self_signed(&key).unwrap().pem());
        Self(Issuer::new(authority, key))
    }

    /// Files with a certificate and its key.
    pub(crate) fn certify(
        &self,
        folder: &Folder,
        names: &[&str],
        until: i32,
    ) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let first = names[0].clone();
        let mut certificate = CertificateParams::new(names).unwrap();
        certificate.not_before = date_time_ymd(2020, 1, 1);
        certificate.not_after = date_time_ymd(until, 1, 1);
        let certificate = certificate.signed_by(&key, &self.0).unwrap();
        let certificate = folder.file(&format!("{first}.pem"), &certificate.pem());
        (certificate, folder.file(&format!("{first}.key"), &key.serialize_pem()))
    }

    /// What makes a chronyd exchange keys, at the port.
    pub(crate) fn directives(&self, folder: &Folder, names: &[&str], until: i32) -> (u16, String) {
        let (certificate, key) = self.certify(folder, names, until);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directives = format!(
            "ntsport {port}\nntsservercert {}\nntsserverkey {}\nntsdumpdir {}\n",
            certificate.display(),
            key.display(),
            folder.path().display()
        );
        (port, directives)
    }
}

pub(crate) fn options(folder: &Folder, port: u16) -> String {
    let ca = folder.path().join("ca.pem");
    format!("nts = true\nnts-port = {port}\nnts-ca-file = \"{}\"", ca.display())
}

/// Proves that keys are exchanged, that packets are authenticated by them, in interleaved mode, too, and
/// that fresh cookies come with the answers: many more requests than cookies, one exchange of keys.
#[test]
fn nts_is_spoken_and_cookies_are_refreshed() {
    let folder = Folder::new();
    let Some((server, port)) = secured(&folder, "127.0.0.1", 2100) else {
        return skip("nts_is_spoken_and_cookies_are_refreshed", "no chronyd on this machine");
    };
    let watch = Watch::start(&folder, &server.table(&options(&folder, port)));
    let view = watch.until("many authenticated answers", |view| {
        accepted(view, 0) >= 20 && source(view, 0)["interleaved"] == true
    });
    assert_eq!(source(&view, 0)["auth"], "nts");
    assert_eq!(source(&view, 0)["refused"], 0);
    assert_eq!(view["state"], "synchronised");
    assert_eq!(watch.log().matches(" gave keys ").count(), 1, "{}", watch.log());
}

/// Proves that AES-128-GCM-SIV is agreed on with a server that has it, and that both sides derive the same
/// keys: chronyd since 4.4, if its nettle has GCM-SIV. `TRUECHIMER_TEST_CHRONYD_NEW` names one.
#[test]
fn gcm_siv_is_agreed_on() {
    let Some(program) = std::env::var_os("TRUECHIMER_TEST_CHRONYD_NEW") else {
        // Not among the skips that CI forbids: few systems have such a chronyd.
        println!("SKIPPED gcm_siv_is_agreed_on: TRUECHIMER_TEST_CHRONYD_NEW names no chronyd");
        return;
    };
    let folder = Folder::new();
    let (port, directives) = nts_directives(&folder, &["127.0.0.1"], 2100);
    let loopback = Ipv4Addr::LOCALHOST.into();
    let server = Chronyd::of(program.into(), loopback, &folder, &directives).unwrap();
    let watch = Watch::start(&folder, &server.table(&options(&folder, port)));
    let view = watch.until("many authenticated answers", |view| {
        accepted(view, 0) >= 20 && source(view, 0)["interleaved"] == true
    });
    assert_eq!(
        (&source(&view, 0)["auth"], &source(&view, 0)["refused"]),
        (&"nts".into(), &0.into())
    );
    assert_eq!(watch.log().matches("for AEAD 30, and 8 cookies").count(), 1, "{}", watch.log());
}

/// Proves that keys are used where the server says, by address of either family or by name, and not where
/// they were exchanged, which answers no NTP here.
#[test]
fn the_negotiated_server_is_asked() {
    for (said, address) in [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("localhost", "")] {
        let folder = Folder::new();
        let (port, directives) = nts_directives(&folder, &["127.0.0.1"], 2100);
        let directives = format!("{directives}bindaddress ::1\nntsntpserver {said}\n");
        let Some(server) = Chronyd::start(&folder, &directives) else {
            return skip("the_negotiated_server_is_asked", "no chronyd on this machine");
        };
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = nobody.local_addr().unwrap();
        let table = format!("[[ntp.server]]\nname = \"{name}\"\n{}\n", options(&folder, port));
        let watch = Watch::start(&folder, &table);
        let view = watch.until("authenticated answers", |view| accepted(view, 0) >= 4);
        let asked = source(&view, 0)["address"].as_str().unwrap();
        let port = server.port;
        assert!(asked.starts_with(address) && asked.ends_with(&format!(":{port}")), "{asked}");
        assert_eq!(
            (&source(&view, 0)["auth"], &view["state"]),
            (&"nts".into(), &"synchronised".into())
        );
        nobody.set_nonblocking(true).unwrap();
        assert!(nobody.recv(&mut [0; 1]).is_err(), "{said}: asked where keys were exchanged");
    }
}

/// Proves that a certificate for another name, one that has expired, and one of an unknown authority give
/// no keys, no window, and a log line that says why.
#[test]
fn bad_certificates_are_refused_with_the_reason() {
    let cases = [
        ("other.example", 2100, true, "not valid for name"),
        ("127.0.0.1", 2021, true, "by this host's clock"),
        ("127.0.0.1", 2100, false, "TLS: invalid peer certificate"),
    ];
    for (name, until, trusted, reason) in cases {
        let folder = Folder::new();
        let Some((server, port)) = secured(&folder, name, until) else {
            return skip("bad_certificates_are_refused_with_the_reason", "no chronyd here");
        };
        if !trusted {
            let stranger = rcgen::generate_simple_self_signed(vec!["ca".to_owned()]).unwrap();
            folder.file("ca.pem", &stranger.cert.pem());
        }
        let watch = Watch::start(&folder, &server.table(&options(&folder, port)));
        let view = watch.until(reason, |_| watch.log().contains(" gave no keys "));
        assert!(watch.log().contains(reason), "{reason}: {}", watch.log());
        assert!(view["lo"].is_null() && accepted(&view, 0) == 0, "{view}");
    }
}
