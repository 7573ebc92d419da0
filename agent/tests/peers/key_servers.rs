//! Key servers that do everything wrong, and later everything right.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{Backlog, listen};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::chronyd::Chronyd;
use crate::nts::{Authority, options};
use crate::support::{Folder, skip};
use crate::watch::{Watch, accepted, source};

const PROTOCOL: &[u8] = &[0x80, 1, 0, 2, 0, 0];
const AEAD_15: &[u8] = &[0x80, 4, 0, 2, 0, 15];
const END: &[u8] = &[0x80, 0, 0, 0];
/// Longer than the agent waits for anything.
const FOR_EVER: Duration = Duration::from_secs(60);
/// Longer than the agent waits for a connection.
const DEAF_FOR: Duration = Duration::from_secs(7);

/// What is wrong with a key server.
#[derive(Clone, Copy)]
enum Fault {
    /// It takes no connections.
    Deaf,
    /// Before TLS begins: what it says, piece by piece, and whether it then hangs up.
    Plain(&'static [&'static [u8]], Then),
    /// Inside TLS, likewise.
    Tls(&'static [&'static [u8]], Then),
    /// The same octets for ever.
    Endless(&'static [u8]),
    /// A record of TLS that comes one octet at a time.
    Trickle,
    /// A certificate for another name.
    Stranger,
    /// TLS that never heard of keys for NTP.
    NoAlpn,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    HangUp,
    Silence,
}

use Fault::{Deaf, Endless, NoAlpn, Plain, Stranger, Tls, Trickle};
use Then::{HangUp, Silence};

/// Each fault, and the words for it in the log.
const FAULTS: &[(Fault, &str)] = &[
    (Deaf, "timed out"),
    (Plain(&[], Silence), "timed out"),
    (Plain(&[], HangUp), "it hung up"),
    (Plain(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], Silence), "TLS: received corrupt message"),
    (Trickle, "timed out"),
    (Stranger, "not valid for name"),
    (NoAlpn, "it does not speak ntske/1"),
    (Tls(&[], Silence), "timed out"),
    (Tls(&[], HangUp), "the response ends too early"),
    (Tls(&[&[0xa5; 999]], HangUp), "the response ends too early"),
    (Tls(&[PROTOCOL, AEAD_15, &[0, 5, 0, 100, 1, 2, 3]], HangUp), "the response ends too early"),
    (Tls(&[PROTOCOL, &[0x80, 2, 0, 2, 0, 1], END], Silence), "the server says error 1"),
    (Tls(&[PROTOCOL, AEAD_15, END], Silence), "the server gave no cookies"),
    (
        Tls(&[PROTOCOL, &[0x80, 4, 0, 2, 0, 99], &[0, 5, 0, 4, 1, 2, 3, 4], END], Silence),
        "the server has none of our algorithms",
    ),
    (Tls(&[&[0, 5, 0xff, 0xff], &[7; 0xffff], END], Silence), "the response does not end"),
    (Endless(&[0x12, 0x34, 0, 4, 1, 2, 3, 4]), "the response does not end"),
];

/// Listens at `address`. The first who connects gets what `fault` has it, all others get `server`.
fn front(address: IpAddr, fault: Fault, tls: Arc<ServerConfig>, server: SocketAddr) -> u16 {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    if let Deaf = fault {
        // The kernel drops what comes when the queue is full.
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let fill = || TcpStream::connect_timeout(&at, Duration::from_millis(100));
        std::iter::repeat_with(fill).take_while(Result::is_ok).for_each(std::mem::forget);
    }
    thread::spawn(move || {
        if let Deaf = fault {
            thread::sleep(DEAF_FOR);
        } else {
            let (client, _) = listener.accept().unwrap();
            // The client hangs up on most of these.
            thread::spawn(move || drop(misbehave(client, fault, tls)));
        }
        for client in listener.incoming().map_while(Result::ok) {
            relay(&client, &TcpStream::connect(server).unwrap());
        }
    });
    at.port()
}

fn relay(one: &TcpStream, other: &TcpStream) {
    for (from, to) in [(one, other), (other, one)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
}

fn misbehave(mut client: TcpStream, fault: Fault, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    if let Plain(..) | Trickle = fault {
        // A request that is left unread would make the end of the connection an error.
        let _ = client.read(&mut [0; 4096])?;
    }
    let secure = |client| -> std::io::Result<_> {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&tls)).unwrap(), client);
        let _ = stream.read(&mut [0; 4096])?;
        Ok(stream)
    };
    match fault {
        Deaf => {}
        Plain(says, then) => {
            says.iter().try_for_each(|piece| client.write_all(piece))?;
            if then == Silence {
                thread::sleep(FOR_EVER);
            }
        }
        Trickle => {
            // A record of 16 KiB of handshake, which a server's first message may be.
            client.write_all(&[0x16, 3, 3, 0x40, 0, 2, 0, 0x3f, 0xfc])?;
            loop {
                thread::sleep(Duration::from_millis(500));
                client.write_all(&[3])?;
            }
        }
        Tls(says, then) => {
            let mut stream = secure(client)?;
            says.iter().try_for_each(|piece| stream.write_all(piece))?;
            stream.flush()?;
            if then == Silence {
                thread::sleep(FOR_EVER);
            }
        }
        Endless(piece) => {
            let mut stream = secure(client)?;
            loop {
                stream.write_all(piece)?;
            }
        }
        Stranger => drop(secure(client)?),
        NoAlpn => {
            let mut stream = secure(client)?;
            stream.write_all(END)?;
            stream.flush()?;
            thread::sleep(FOR_EVER);
        }
    }
    Ok(())
}

/// The TLS of a server with the certificate and key in these files.
fn tls((certificate, key): &(PathBuf, PathBuf), alpn: bool) -> Arc<ServerConfig> {
    let certificates = vec![CertificateDer::from_pem_file(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config =
        builder.unwrap().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    config.alpn_protocols = if alpn { vec![b"ntske/1".to_vec()] } else { Vec::new() };
    Arc::new(config)
}

/// Proves that no misbehaviour of a key server makes the agent hang, die or take a window from it, that the
/// log says what is wrong, and that each server is used as soon as it behaves.
#[test]
fn key_servers_may_do_anything() {
    let folder = Folder::new();
    let addresses: Vec<_> =
        (2..).zip(FAULTS).map(|(last, _)| Ipv4Addr::new(127, 0, 0, last)).collect();
    let names: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let authority = Authority::new(&folder);
    let (port, directives) = authority.directives(&folder, &names, 2100);
    let Some(server) = Chronyd::at(Ipv4Addr::UNSPECIFIED.into(), &folder, &directives) else {
        return skip("key_servers_may_do_anything", "no chronyd on this machine");
    };
    let own = authority.certify(&folder, &[&["own.example"], &*names].concat(), 2100);
    let strange = authority.certify(&folder, &["other.example"], 2100);
    let tables = FAULTS.iter().zip(&addresses).map(|((fault, _), address)| {
        let tls = match fault {
            Stranger => tls(&strange, true),
            _ => tls(&own, !matches!(fault, NoAlpn)),
        };
        let front = front((*address).into(), *fault, tls, (Ipv4Addr::LOCALHOST, port).into());
        let options = options(&folder, front);
        format!("[[ntp.server]]\nname = \"{address}:{}\"\nmax-poll = 0\n{options}\n", server.port)
    });
    let watch = Watch::start(&folder, &tables.collect::<String>());
    let view = watch.until("every server is used", |view| {
        (0..FAULTS.len()).all(|at| {
            let verdict = source(view, at)["verdict"].as_str().unwrap();
            let unusable = ["no-answer-yet", "authentication", "unreachable"].contains(&verdict);
            assert!(unusable || accepted(view, at) > 0, "{verdict} without an answer: {view}");
            accepted(view, at) > 0
        })
    });
    let log = watch.log();
    for (at, (name, (_, reason))) in names.iter().zip(FAULTS).enumerate() {
        let about = |said: &str| log.lines().find(|line| line.contains(&format!("{name} {said}")));
        let refusal = about("gave no keys").unwrap_or_default();
        assert!(refusal.contains(reason), "{name}: {reason:?} in {refusal:?}");
        assert!(about("gave keys").is_some_and(|keys| keys > refusal), "{name}:\n{log}");
        assert_eq!(source(&view, at)["auth"], "nts");
    }
    watch.until("a window", |view| view["state"] == "synchronised");
}
