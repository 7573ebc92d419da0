//! From where and how requests are sent.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// What the system would choose otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The local address, for servers of its family.
    pub address: Option<IpAddr>,
    /// The network interface: also the way into a VRF.
    pub interface: Option<String>,
    /// Differentiated services code point of datagrams.
    pub dscp: u8,
}

impl Route {
    /// A non-blocking socket for datagrams to `server`, on a port that the kernel chooses at random when
    /// it is connected.
    pub(super) fn datagram(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        let flags = SockFlag::SOCK_NONBLOCK;
        let socket = UdpSocket::from(self.socket(server, SockType::Datagram, flags)?);
        let class = i32::from(self.dscp) << 2;
        match server {
            _ if class == 0 => {}
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &class)?,
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &class)?,
        }
        Ok(socket)
    }

    /// A connection to `server`; making it, and every reading and writing, takes at most `patience`.
    pub fn stream(&self, server: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        let socket = self.socket(server, SockType::Stream, SockFlag::empty())?;
        let limit = TimeVal::milliseconds(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::SendTimeout, &limit)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &limit)?;
        match connect(socket.as_raw_fd(), &SockaddrStorage::from(server)) {
            Ok(()) => Ok(TcpStream::from(socket)),
            // What the kernel calls a connection that was not made within the limit.
            Err(Errno::EINPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
            Err(error) => Err(error.into()),
        }
    }

    fn socket(&self, server: SocketAddr, kind: SockType, flags: SockFlag) -> io::Result<OwnedFd> {
        let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC | flags, None)?;
        // The interface first: an address may be known on it only.
        if let Some(interface) = &self.interface {
            setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
        }
        if let Some(address) = self.address.filter(|own| own.is_ipv4() == server.is_ipv4()) {
            let own = SockaddrStorage::from(SocketAddr::from((address, 0)));
            bind(socket.as_raw_fd(), &own)?;
        }
        Ok(socket)
    }
}
