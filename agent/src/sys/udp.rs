//! UDP sockets whose packets the kernel stamps on their way out and in.
//!
//! A fresh connected socket per request: the port is random every time, and only the server asked can
//! answer. Stamps are CLOCK_REALTIME; turning them into the raw scale is the caller's job
//! ([`crate::exchange`]), because it takes clock readings around the exchange.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, TimestampingFlag, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use timebase::{Host, Timestamp};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use super::readiness::watch;
use super::route::Route;

/// Longest answer read. NTP without extension fields has 48 bytes; more than this is not NTP.
pub const MAX_DATAGRAM: usize = 2048;
/// Room for control messages: three stamps, an extended error with its address, and slack.
const CONTROL_BYTES: usize = 512;
/// How long to wait for the kernel's stamp of a sent packet. Drivers give it within microseconds of
/// the packet's departure; a queue longer than this means no stamp worth having.
const SENT_STAMP_PATIENCE: Duration = Duration::from_millis(20);
/// Error-queue entries looked at for one packet, so that a flood of ICMP errors cannot hold us.
const MAX_ERROR_ENTRIES: usize = 16;

/// One socket for one request.
#[derive(Debug)]
pub struct StampedSocket {
    socket: AsyncFd<UdpSocket>,
    stamped: bool,
    by_hardware: bool,
}

/// A datagram and the moment the kernel received it, if it says.
#[derive(Debug)]
pub struct Received {
    /// The payload.
    pub bytes: Vec<u8>,
    /// When it was received.
    pub stamps: Stamps,
}

/// What is known of one packet's moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamps {
    /// By the kernel, on CLOCK_REALTIME.
    pub kernel: Option<Timestamp<Host>>,
    /// By the network interface, on its own clock, in nanoseconds.
    pub hardware: Option<i64>,
}

impl StampedSocket {
    /// A socket on a random port, connected to `server`.
    pub fn connect(server: SocketAddr, route: &Route) -> io::Result<Self> {
        let socket = route.datagram(server)?;
        let stamped = ask_for_stamps(&socket).is_ok();
        socket.connect(server)?;
        let interest = Interest::READABLE | Interest::ERROR;
        Ok(Self { socket: watch(socket, interest)?, stamped, by_hardware: false })
    }

    /// The address it sends from.
    pub fn local_address(&self) -> Option<IpAddr> {
        self.socket.get_ref().local_addr().ok().map(|own| own.ip())
    }

    /// Asks for the interface's stamps, too.
    pub fn want_hardware_stamps(&mut self) {
        let hardware = TimestampingFlag::SOF_TIMESTAMPING_RAW_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_RX_HARDWARE
            | TimestampingFlag::SOF_TIMESTAMPING_TX_HARDWARE
            | TimestampingFlag::from_bits_retain(libc::SOF_TIMESTAMPING_OPT_TX_SWHW);
        let flags = software_stamps() | hardware;
        self.by_hardware = setsockopt(self.socket.get_ref(), sockopt::Timestamping, &flags).is_ok();
    }

    /// Whether the kernel agreed to stamp this socket's packets.
    pub fn is_stamped(&self) -> bool {
        self.stamped
    }

    /// Sends one datagram. A full send queue is an error: late requests are worthless.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        let sent = self.socket.get_ref().send(packet)?;
        if sent == packet.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// When `packet`, the socket's first, was sent; nothing if that is not said soon.
    pub async fn sent_stamps(&self, packet: &[u8]) -> Stamps {
        let mut stamps = Stamps::default();
        if !self.stamped {
            return stamps;
        }
        // Giving up leaves what was found by then.
        let _ = tokio::time::timeout(SENT_STAMP_PATIENCE, async {
            loop {
                // Looked at once more after waking; only an empty queue clears the readiness.
                if self.take_sent_stamps(packet, &mut stamps) {
                    return;
                }
                let Ok(mut ready) = self.socket.ready(Interest::ERROR).await else { return };
                if self.take_sent_stamps(packet, &mut stamps) {
                    return;
                }
                ready.clear_ready_matching(Ready::ERROR);
            }
        })
        .await;
        stamps
    }

    /// Waits for the next datagram. An ICMP error (port unreachable) is an `Err`.
    pub async fn receive(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await?;
            match receive_now(self.socket.get_ref().as_raw_fd(), MsgFlags::empty()) {
                Ok((bytes, control)) => {
                    return Ok(Received { bytes, stamps: control.stamps });
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.drain_error_queue();
                    ready.clear_ready();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The kernel numbers what it stamps (OPT_ID) and loops the frame back, at whose end the packet is.
    /// Either tells; where one is lacking, the other is enough. Whether nothing more is expected.
    fn take_sent_stamps(&self, packet: &[u8], stamps: &mut Stamps) -> bool {
        let fd = self.socket.get_ref().as_raw_fd();
        for _ in 0..MAX_ERROR_ENTRIES {
            let done =
                if self.by_hardware { stamps.hardware.is_some() } else { stamps.kernel.is_some() };
            if done {
                return true;
            }
            let Ok((frame, control)) = receive_now(fd, MsgFlags::MSG_ERRQUEUE) else {
                return false;
            };
            if control.stamps_packet == Some(0) || frame.ends_with(packet) {
                stamps.kernel = stamps.kernel.or(control.stamps.kernel);
                stamps.hardware = stamps.hardware.or(control.stamps.hardware);
            }
        }
        false
    }

    fn drain_error_queue(&self) {
        let fd = self.socket.get_ref().as_raw_fd();
        for _ in 0..MAX_ERROR_ENTRIES {
            if receive_now(fd, MsgFlags::MSG_ERRQUEUE).is_err() {
                return;
            }
        }
    }
}

/// Keeps the kernel stamping received packets as long as it lives.
///
/// Linux turns the stamping of all received packets on with the first socket that wants it, from a
/// work queue, so the first packets of a lone socket go unstamped. One idle socket for the life of
/// the process avoids that.
#[derive(Debug)]
pub struct StampingHeld {
    _socket: UdpSocket,
}

impl StampingHeld {
    /// Turns stamping on; an error means that this kernel gives no software stamps.
    pub fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))
            .or_else(|_| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)))?;
        ask_for_stamps(&socket)?;
        Ok(Self { _socket: socket })
    }
}

fn ask_for_stamps(socket: &UdpSocket) -> Result<(), Errno> {
    setsockopt(socket, sockopt::Timestamping, &software_stamps())
}

fn software_stamps() -> TimestampingFlag {
    TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_OPT_ID
}

/// What the control messages of one `recvmsg` said.
#[derive(Default)]
struct Control {
    /// Of reception, or of sending for an error-queue entry.
    stamps: Stamps,
    /// For an error-queue entry that carries a stamp: the number of the sent packet (OPT_ID).
    stamps_packet: Option<u32>,
}

fn receive_now(fd: RawFd, flags: MsgFlags) -> Result<(Vec<u8>, Control), Errno> {
    let mut bytes = [0; MAX_DATAGRAM];
    let mut control_bytes = [0; CONTROL_BYTES];
    let mut control = Control::default();
    let length = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message = recvmsg::<SockaddrStorage>(
            fd,
            &mut parts,
            Some(&mut control_bytes),
            flags | MsgFlags::MSG_DONTWAIT,
        )?;
        // Truncated control messages (Err) mean no stamp, not no packet.
        for item in message.cmsgs().into_iter().flatten() {
            match item {
                ControlMessageOwned::ScmTimestampsns(stamps) => {
                    let ns = |time: TimeSpec| {
                        Some(time.tv_sec().saturating_mul(1_000_000_000) + time.tv_nsec())
                            .filter(|ns| *ns != 0)
                    };
                    control.stamps = Stamps {
                        kernel: ns(stamps.system).map(Timestamp::from_ns),
                        hardware: ns(stamps.hw_raw),
                    };
                }
                ControlMessageOwned::Ipv4RecvErr(error, _)
                | ControlMessageOwned::Ipv6RecvErr(error, _)
                    if error.ee_origin == libc::SO_EE_ORIGIN_TIMESTAMPING =>
                {
                    control.stamps_packet = Some(error.ee_data);
                }
                _ => {}
            }
        }
        message.bytes
    };
    Ok((bytes[..length].to_vec(), control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{SockaddrIn, getsockname, getsockopt};

    /// Proves that a request leaves from the address, through the interface and with the code point asked
    /// for, and that its stamp is found.
    #[tokio::test]
    async fn a_request_takes_the_route_asked_for() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = Some(IpAddr::from([127, 0, 0, 7]));
        let route = Route { address, interface: Some("lo".to_owned()), dscp: 46 };
        let client = StampedSocket::connect(server.local_addr().unwrap(), &route).unwrap();
        client.send(b"request").unwrap();
        let (length, from) = server.recv_from(&mut [0; 64]).unwrap();
        assert_eq!((length, Some(from.ip())), (7, address));
        let socket = client.socket.get_ref();
        assert_eq!(getsockopt(socket, sockopt::Ipv4Tos).unwrap(), 46 << 2);
        if client.is_stamped() {
            assert!(client.sent_stamps(b"request").await.kernel.is_some());
        }
        let own: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
        assert_ne!(own.port(), 0);
    }

    /// Proves that servers of the other address family are asked all the same.
    #[tokio::test]
    async fn an_address_of_the_other_family_is_no_obstacle() {
        let Ok(server) = UdpSocket::bind("[::1]:0") else { return };
        let route = Route { address: Some(IpAddr::from([127, 0, 0, 7])), ..Route::default() };
        let client = StampedSocket::connect(server.local_addr().unwrap(), &route).unwrap();
        client.send(b"request").unwrap();
        assert!(server.recv_from(&mut [0; 64]).unwrap().1.ip().is_loopback());
    }

    /// Proves that an interface that does not exist is an error and not another way.
    #[tokio::test]
    async fn a_missing_interface_is_an_error() {
        let route = Route { interface: Some("none-such".to_owned()), ..Route::default() };
        assert!(StampedSocket::connect("127.0.0.1:9".parse().unwrap(), &route).is_err());
    }
}
