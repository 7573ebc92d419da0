//! chronyd with Network Time Security.

use std::net::TcpListener;

use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

use crate::chronyd::Chronyd;
use crate::support::{Folder, skip};
use crate::watch::{Watch, accepted, source};

/// A chronyd whose certificate is for `name` and good from 2020 to `until`; the authority is in `ca.pem`.
fn secured(folder: &Folder, name: &str, until: i32) -> Option<(Chronyd, u16)> {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    folder.file("ca.pem", &authority.self_signed(&authority_key).unwrap().pem());
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![name.to_owned()]).unwrap();
    certificate.not_before = date_time_ymd(2020, 1, 1);
    certificate.not_after = date_time_ymd(until, 1, 1);
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let certificate = folder.file("server.pem", &certificate.pem());
    let key = folder.file("server.key", &key.serialize_pem());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let directives = format!(
        "ntsport {port}\nntsservercert {}\nntsserverkey {}\nntsdumpdir {}\n",
        certificate.display(),
        key.display(),
        folder.path().display()
    );
    Some((Chronyd::start(folder, &directives)?, port))
}

fn options(folder: &Folder, port: u16) -> String {
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
