//! chronyd, as a client and as the server of all. Asked by its own protocol (`chronyc tracking`).

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Readings, Task, argument, write};
use crate::private_clock::{Preload, PrivateClock};
use crate::process::Process;

const PATIENCE: Duration = Duration::from_millis(500);
const PORT: &str = "command-port";

/// Version and packet types of the command protocol, and the two of its messages used here.
const PROTOCOL_VERSION: u8 = 6;
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const REQUEST_TRACKING: u16 = 33;
const REPLY_TRACKING: u16 = 5;
const REPLY_BYTES: usize = 104;

/// A chronyd that serves; stopped when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _process: Process,
}

impl Server {
    /// Serves this machine's clock at `address`, or one that is `ahead_s` of it.
    pub(crate) fn start(
        program: &Path,
        address: Ipv4Addr,
        folder: &Path,
        ahead_s: f64,
        preload: &Preload,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let address = free_port(address)?;
        let configuration = folder.join("chrony.conf");
        std::fs::write(
            &configuration,
            format!(
                "local stratum 1\nallow 127.0.0.0/8\nport {}\nbindaddress {}\ncmdport 0\n{}",
                address.port(),
                address.ip(),
                common(folder)
            ),
        )?;
        let environment = if ahead_s == 0.0 {
            Vec::new()
        } else {
            preload.environment(&folder.join("clock"), ahead_s, 0.0)
        };
        let arguments = start_arguments(&argument(&configuration), false);
        let mut process =
            Process::start(program, arguments, &environment, folder.join("log"), false)?;
        std::thread::sleep(Duration::from_millis(300));
        process.check().context("chronyd as a server")?;
        Ok(Self { address, _process: process })
    }
}

/// A port that is free now.
fn free_port(address: Ipv4Addr) -> Result<SocketAddr> {
    let socket = UdpSocket::bind((address, 0)).with_context(|| address.to_string())?;
    Ok(socket.local_addr()?)
}

fn common(folder: &Path) -> String {
    let file = |name: &str| argument(&folder.join(name));
    format!("bindcmdaddress /\npidfile {}\ndriftfile {}\n", file("pid"), file("drift"))
}

fn start_arguments(configuration: &str, steers: bool) -> Vec<String> {
    let user = if nix::unistd::geteuid().is_root() { vec!["-u", "root"] } else { vec![] };
    let mut arguments = vec!["-d"];
    arguments.extend(user);
    arguments.extend((!steers).then_some("-x"));
    arguments.extend(["-f", configuration]);
    arguments.into_iter().map(str::to_owned).collect()
}

/// The configuration is Debian's, with the task's servers and polls.
pub(super) fn arguments(task: &Task, steers: bool, interleaved: bool) -> Result<Vec<String>> {
    let command = free_port(Ipv4Addr::LOCALHOST)?;
    std::fs::write(task.folder.join(PORT), command.port().to_string())?;
    let mut text = format!(
        "port 0\ncmdport {}\nbindcmdaddress 127.0.0.1\nmakestep 1 3\nmaxupdateskew 100.0\nrtcsync\n{}",
        command.port(),
        common(&task.folder)
    );
    let (low, high) = (task.polls.start(), task.polls.end());
    for server in &task.servers {
        let (ip, port) = (server.ip(), server.port());
        let xleave = if interleaved { " xleave" } else { "" };
        let _ =
            writeln!(text, "server {ip} port {port} iburst minpoll {low} maxpoll {high}{xleave}");
    }
    Ok(start_arguments(&write(task, "chrony.conf", &text)?, steers))
}

/// One that steers is judged by its clock, and its window is root delay / 2 + root dispersion + the system
/// time's remaining offset, as its manual says. With `-x` that offset is its estimate, and its window is
/// the first two around it.
pub(super) fn ask(
    folder: &Path,
    steers: bool,
    clock: &PrivateClock,
    readings: &Readings,
) -> Option<()> {
    let port = std::fs::read_to_string(folder.join(PORT)).ok()?.parse().ok()?;
    let before = clock.error_s()?;
    let tracking = Tracking::ask(port)?;
    let truth = f64::midpoint(before, clock.error_s()?);
    let distance = tracking.root_delay / 2.0 + tracking.root_dispersion;
    let (error, half) = if steers {
        (truth, distance + tracking.correction.abs())
    } else {
        // A correction of + 1 s means that the clock is 1 s slow.
        (-tracking.correction - truth, distance)
    };
    readings.add(error, error - half, error + half);
    Some(())
}

/// What `chronyc tracking` shows, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tracking {
    correction: f64,
    root_delay: f64,
    root_dispersion: f64,
}

impl Tracking {
    fn ask(port: u16) -> Option<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.connect((Ipv4Addr::LOCALHOST, port)).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).ok()?;
        // A request is as long as its reply, or it is not answered.
        let mut request = [0; REPLY_BYTES];
        request[0] = PROTOCOL_VERSION;
        request[1] = REQUEST;
        request[4..6].copy_from_slice(&REQUEST_TRACKING.to_be_bytes());
        socket.send(&request).ok()?;
        let mut reply = [0; REPLY_BYTES];
        let length = socket.recv(&mut reply).ok()?;
        Self::parse(&reply[..length])
    }

    fn parse(reply: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(u16::from_be_bytes([*reply.get(at)?, *reply.get(at + 1)?]));
        let float_at =
            |at: usize| Some(float(u32::from_be_bytes(reply.get(at..at + 4)?.try_into().ok()?)));
        let is_reply = reply.get(1) == Some(&REPLY) && u16_at(6)? == REPLY_TRACKING;
        let reference = reply.get(28..32)?;
        // Status 0 is success; no reference is not synchronised.
        if !is_reply || u16_at(8)? != 0 || reference == [0; 4] {
            return None;
        }
        Some(Self {
            correction: float_at(68)?,
            root_delay: float_at(92)?,
            root_dispersion: float_at(96)?,
        })
    }
}

/// A 7-bit exponent and a 25-bit coefficient, both signed.
fn float(word: u32) -> f64 {
    let exponent = (word.cast_signed() >> 25) - 25;
    let coefficient = (word << 7).cast_signed() >> 7;
    f64::from(coefficient) * 2.0_f64.powi(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that chrony's floating-point format is read with its sign and scale.
    #[test]
    fn floats_are_decoded() {
        let encode = |exponent: i32, coefficient: i32| {
            (exponent.cast_unsigned() << 25) | (coefficient.cast_unsigned() & 0x1ff_ffff)
        };
        assert_eq!(float(0), 0.0);
        assert_eq!(float(encode(1, 1 << 24)), -1.0);
        assert_eq!(float(encode(2, 1 << 23)), 1.0);
        assert_eq!(float(encode(-5, 3 << 22)), 3.0 * 2.0_f64.powi(-8));
    }
}
