//! Standard output, and readers of it that stop reading.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::Value;

use crate::support::{Process, agent};

/// The least that a pipe can hold: one page.
const PIPE_BYTES: i32 = 4096;
/// As many servers as make a line longer than that.
const SERVERS: usize = 14;
/// What is asked every second is asked again within this, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sockets that never answer.
fn silent_servers() -> (Vec<UdpSocket>, String) {
    let bound = || UdpSocket::bind("127.0.0.1:0").unwrap();
    let sockets: Vec<_> = (0..SERVERS).map(|_| bound()).collect();
    let names = sockets.iter().map(|socket| socket.local_addr().unwrap().to_string());
    let names = names.collect::<Vec<_>>().join(",");
    (sockets, names)
}

/// Proves that a reader which stops reading stops neither the requests nor the agent's end, and that
/// whoever reads on finds whole lines.
#[tokio::test]
async fn a_stalled_reader_stops_nothing() {
    let (sockets, names) = silent_servers();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES)).unwrap();
    let mut child = Process::start(
        agent()
            .args(["run", "--json", "--poll", "0", "--observe", "off", "--server", &names])
            .stdout(writer),
    );
    tokio::time::sleep(Duration::from_secs(4)).await;
    // What was asked until now is forgotten.
    let mut request = [0; 2048];
    let server = &sockets[0];
    server.set_nonblocking(true).unwrap();
    while server.recv(&mut request).is_ok() {}
    server.set_nonblocking(false).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.recv(&mut request).expect("requests go on while nobody reads");

    let mut lines = BufReader::new(File::from(reader)).lines();
    for _ in 0..3 {
        let line = lines.next().unwrap().unwrap();
        let view: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(view["sources"].as_array().unwrap().len(), SERVERS);
        assert!(line.len() > PIPE_BYTES as usize, "{} bytes prove nothing", line.len());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (code, took) = child.terminate().await;
    assert_eq!(code, Some(0));
    assert!(took < PATIENCE, "it took {took:?} to end");
}
