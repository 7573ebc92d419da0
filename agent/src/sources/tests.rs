use super::*;

fn name(text: &str) -> ServerName {
    text.parse().unwrap()
}

fn fake_root(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = std::env::temp_dir().join(format!("truechimer-{test}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

/// Proves that names, both kinds of address and ports are read, and shown as people write them.
#[test]
fn server_names_are_read_as_people_write_them() {
    for (text, host, port, shown) in [
        ("ntp.example.net", "ntp.example.net", 123, "ntp.example.net"),
        ("127.0.0.1:11123", "127.0.0.1", 11123, "127.0.0.1:11123"),
        ("2001:db8::1", "2001:db8::1", 123, "2001:db8::1"),
        ("[2001:db8::1]:5", "2001:db8::1", 5, "[2001:db8::1]:5"),
        ("[2001:db8::1]", "2001:db8::1", 123, "2001:db8::1"),
        ("localhost:123", "localhost", 123, "localhost"),
    ] {
        let name = name(text);
        assert_eq!((name.host(), name.port()), (host, port), "{text}");
        assert_eq!(name.to_string(), shown);
    }
    for bad in ["", ":123", "a b", "host:port", "host:0", "host:99999", "[::1", "exa/mple"] {
        assert!(bad.parse::<ServerName>().is_err(), "{bad}");
    }
}

/// Proves that servers, pools, peers, ports and included directories of a chrony.conf are found.
#[test]
fn chrony_conf_is_understood() {
    let root = fake_root(
        "chrony",
        &[
            (
                "etc/chrony/chrony.conf",
                "# server commented.example\nconfdir /etc/chrony/conf.d\nsourcedir /run/chrony-dhcp\n\
                 pool 2.debian.pool.ntp.org iburst\nserver 192.0.2.7 port 1123 iburst\n\
                 peer peer.example\nmakestep 1 3\nserver\n",
            ),
            ("etc/chrony/conf.d/extra.conf", "pool small.example maxsources 2\n"),
            ("etc/chrony/conf.d/ignored.txt", "server ignored.example\n"),
            ("run/chrony-dhcp/eth0.sources", "server 192.0.2.9\n"),
        ],
    );
    let (origin, chosen) = configured(&root);
    assert!(origin.ends_with("etc/chrony/chrony.conf"), "{origin}");
    let found: Vec<_> = chosen.servers.iter().map(|s| (s.name.to_string(), s.sources())).collect();
    let expected = [
        ("small.example", 2),
        ("192.0.2.9", 1),
        ("2.debian.pool.ntp.org", 4),
        ("192.0.2.7:1123", 1),
        ("peer.example", 1),
    ];
    assert_eq!(found, expected.map(|(name, n)| (name.to_owned(), n)));
    fs::remove_dir_all(root).unwrap();
}

/// Proves that the options of a chrony.conf that mean something here are taken over, with its key file,
/// its certificates and its least number of sources; and that those which contradict each other here
/// are not.
#[test]
fn chrony_options_are_taken_over() {
    let root = fake_root(
        "chrony-options",
        &[(
            "etc/chrony.conf",
            "keyfile /etc/chrony.keys\nminsources 2\nntstrustedcerts /etc/own-ca.pem\n\
             server a.example iburst minpoll -3 maxpoll 5 prefer trust key 7 xleave\n\
             server b.example nts ntsport 4461 key 9 require offline burst\n\
             server c.example noselect prefer minpoll 99 maxpoll 4\n",
        )],
    );
    let chosen = configured(&root).1;
    assert_eq!(chosen.keys_file, Some(root.join("etc/chrony.keys")));
    assert_eq!(chosen.min_sources, Some(2));
    let [a, b, c] = chosen.servers.as_slice() else { panic!("three servers") };
    assert_eq!((a.min_poll, a.max_poll, a.iburst), (Some(-3), Some(5), Some(true)));
    assert_eq!((a.key, a.prefer, a.trust, a.interleaved), (Some(7), true, true, true));
    assert_eq!((b.nts, b.nts_port, b.key), (true, 4461, None));
    assert_eq!(b.nts_ca_file, Some(root.join("etc/own-ca.pem")));
    assert_eq!((b.require, b.offline, b.burst, b.iburst), (true, true, true, Some(false)));
    assert_eq!((c.noselect, c.prefer), (true, false));
    assert_eq!((c.min_poll, c.max_poll), (Some(17), Some(17)));
    fs::remove_dir_all(root).unwrap();
}

/// Proves that timesyncd's drop-ins count, fallbacks only when nothing else is named, and that a
/// host without any configuration asks the public pool.
#[test]
fn timesyncd_conf_is_understood() {
    let root = fake_root(
        "timesyncd",
        &[
            ("etc/systemd/timesyncd.conf", "[Time]\n#NTP=no\nFallbackNTP=fallback.example\n"),
            ("etc/systemd/timesyncd.conf.d/site.conf", "[Time]\nNTP=a.example b.example\n"),
        ],
    );
    let (origin, chosen) = configured(&root);
    assert!(origin.ends_with("site.conf"), "{origin}");
    assert_eq!(chosen.servers, [Server::one(name("a.example")), Server::one(name("b.example"))]);
    fs::remove_file(root.join("etc/systemd/timesyncd.conf.d/site.conf")).unwrap();
    assert_eq!(configured(&root).1.servers, [Server::one(name("fallback.example"))]);
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(configured(&root).1.servers.len(), PUBLIC_POOL.len());
}
