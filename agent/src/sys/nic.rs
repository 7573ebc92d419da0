//! What a network interface's hardware does about timestamps: asked first, and changed only on request.

use std::io;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;

const SIOCETHTOOL: u64 = 0x8946;
const SIOCSHWTSTAMP: u64 = 0x89b0;
const SIOCGHWTSTAMP: u64 = 0x89b1;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
const TX_OFF: i32 = 0;
const TX_ON: i32 = 1;
const RX_NONE: i32 = 0;
const RX_ALL: i32 = 1;

/// `struct hwtstamp_config`: what is switched on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    flags: i32,
    tx_type: i32,
    rx_filter: i32,
}

/// `struct ethtool_ts_info`: what there is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    cmd: u32,
    so_timestamping: u32,
    phc_index: i32,
    tx_types: u32,
    tx_reserved: [u32; 3],
    rx_filters: u32,
    rx_reserved: [u32; 3],
}

impl Ability {
    /// The number of the clock that stamps, `/dev/ptpN`.
    pub fn clock(&self) -> Option<u32> {
        let raw = self.so_timestamping & libc::SOF_TIMESTAMPING_RAW_HARDWARE != 0;
        u32::try_from(self.phc_index).ok().filter(|_| raw)
    }
}

/// What to do about an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The kernel's stamps are what there is.
    Software,
    /// Its stamps are there to be used.
    Use,
    /// Nobody uses its stamps: they may be switched on.
    SwitchOn,
}

/// What to do about an interface that can do `ability` and does `mode`. What another program has switched
/// on is used and never changed.
pub fn decide(may_switch_on: bool, ability: &Ability, mode: Option<&Mode>) -> Decision {
    let Some(mode) = mode.filter(|_| ability.clock().is_some()) else { return Decision::Software };
    if mode.tx_type != TX_OFF || mode.rx_filter != RX_NONE {
        return Decision::Use;
    }
    let able = ability.tx_types & 1 << TX_ON != 0 && ability.rx_filters & 1 << RX_ALL != 0;
    if may_switch_on && able { Decision::SwitchOn } else { Decision::Software }
}

/// The interface that has the address.
pub fn with_address(address: IpAddr) -> Option<String> {
    let has_it = |interface: &nix::ifaddrs::InterfaceAddress| {
        let own = interface.address.as_ref()?;
        let v4 = own.as_sockaddr_in().map(|own| IpAddr::from(own.ip()));
        let own = v4.or_else(|| own.as_sockaddr_in6().map(|own| IpAddr::from(own.ip())))?;
        (own == address).then(|| interface.interface_name.clone())
    };
    getifaddrs().ok()?.find_map(|interface| has_it(&interface))
}

/// What the interface can do.
pub fn ability(interface: &str) -> io::Result<Ability> {
    let mut ability = Ability { cmd: ETHTOOL_GET_TS_INFO, ..Ability::default() };
    ioctl(interface, SIOCETHTOOL, &mut ability)?;
    Ok(ability)
}

/// What the interface does now.
pub fn mode(interface: &str) -> io::Result<Mode> {
    let mut mode = Mode::default();
    ioctl(interface, SIOCGHWTSTAMP, &mut mode)?;
    Ok(mode)
}

/// Lets the interface stamp every packet. Only after [`Decision::SwitchOn`].
pub fn switch_on(interface: &str) -> io::Result<()> {
    let mut mode = Mode { flags: 0, tx_type: TX_ON, rx_filter: RX_ALL };
    ioctl(interface, SIOCSHWTSTAMP, &mut mode)
}

#[expect(unsafe_code, reason = "these ioctls have no safe wrapper")]
fn ioctl<T>(interface: &str, request: u64, argument: &mut T) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::1]:0"))?;
    // SAFETY: all-zero bytes are a valid ifreq (integers and a null pointer).
    let mut ifreq: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= ifreq.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in ifreq.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    ifreq.ifr_ifru.ifru_data = std::ptr::from_mut(argument).cast();
    // SAFETY: each request above is used with the structure that the kernel reads and writes for it, which
    // outlives the call, as does the ifreq that points to it.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), request as _, &raw mut ifreq) };
    if outcome < 0 { Err(Errno::last().into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that hardware stamps are used where they are on, switched on only on request and where
    /// nobody uses them, and never asked of what cannot give them.
    #[test]
    fn what_others_switched_on_is_never_changed() {
        let able = Ability {
            so_timestamping: libc::SOF_TIMESTAMPING_RAW_HARDWARE,
            tx_types: 0b11,
            rx_filters: 0b11,
            ..Ability::default()
        };
        let off = Mode::default();
        let ptp = Mode { tx_type: TX_ON, rx_filter: 12, ..off };
        for (may, ability, mode, decision) in [
            (false, able, Some(off), Decision::Software),
            (true, able, Some(off), Decision::SwitchOn),
            (false, able, Some(ptp), Decision::Use),
            (true, able, Some(ptp), Decision::Use),
            (true, able, None, Decision::Software),
            (true, Ability { phc_index: -1, ..able }, Some(ptp), Decision::Software),
            (true, Ability { so_timestamping: 0, ..able }, Some(ptp), Decision::Software),
            (true, Ability { rx_filters: 1, ..able }, Some(off), Decision::Software),
        ] {
            assert_eq!(
                decide(may, &ability, mode.as_ref()),
                decision,
                "{may} {ability:?} {mode:?}"
            );
        }
    }

    /// Proves that the loopback interface is found by its address and has no hardware to stamp with.
    #[test]
    fn loopback_has_no_hardware() {
        let Some(interface) = with_address(IpAddr::from([127, 0, 0, 1])) else { return };
        assert!(ability(&interface).map_or(true, |ability| ability.clock().is_none()));
        assert!(mode(&interface).is_err());
        assert!(mode("much-too-long-for-a-name").is_err());
    }
}
