//! Which addresses a message may be sent to: a URL in a configuration must not turn the collector into
//! a way to reach what only the collector can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The addresses that an endpoint may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guard {
    /// Loopback and private networks too.
    pub(super) allow_private: bool,
}

impl Guard {
    /// Why `address` is refused; `None` if it is not.
    pub(super) fn refusal(self, address: IpAddr) -> Option<&'static str> {
        match address {
            IpAddr::V4(v4) => self.refusal_v4(v4),
            IpAddr::V6(v6) => self.refusal_v6(v6),
        }
    }

    fn refusal_v4(self, v4: Ipv4Addr) -> Option<&'static str> {
        let [a, b, ..] = v4.octets();
        match (a, b) {
            (0, _) => Some("unspecified address"),
            // Where clouds serve credentials to whoever asks from inside.
            (169, 254) => Some("link-local address"),
            (224.., _) => Some("multicast or reserved address"),
            (127, _) if !self.allow_private => Some("loopback address without allow-private"),
            (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) if !self.allow_private => {
                Some("private address without allow-private")
            }
            _ => None,
        }
    }

    fn refusal_v6(self, v6: Ipv6Addr) -> Option<&'static str> {
        if let Some(v4) = embedded_v4(v6) {
            return self.refusal_v4(v4);
        }
        match v6.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified address"),
            [0, 0, 0, 0, 0, 0, 0, 1] if !self.allow_private => {
                Some("loopback address without allow-private")
            }
            // RFC 8215: where in it the IPv4 address stands, only the local network knows.
            [0x64, 0xff9b, 1, ..] => Some("locally translated address"),
            [0xfe80..=0xfebf, ..] => Some("link-local address"),
            [0xff00..=0xffff, ..] => Some("multicast address"),
            // AWS answers on fd00:ec2::254 as it does on 169.254.169.254.
            [0xfd00, 0x0ec2, ..] => Some("metadata address"),
            [0xfc00..=0xfdff, ..] if !self.allow_private => {
                Some("private address without allow-private")
            }
            _ => None,
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped (::ffff:0:0/96) or compatible (::/96), by NAT64
/// (64:ff9b::/96) or by 6to4 (2002::/16).
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => return None, // unspecified and loopback are IPv6's own
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

/// Names are resolved and judged in one step, so that a name cannot answer differently the second time.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let refused = found.iter().find_map(|at| Some((at.ip(), guard.refusal(at.ip())?)));
            let allowed: Vec<SocketAddr> =
                found.into_iter().filter(|at| guard.refusal(at.ip()).is_none()).collect();
            match refused {
                Some((address, why)) if allowed.is_empty() => {
                    Err(format!("{} is {address}: {why}", name.as_str()).into())
                }
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata, multicast and unspecified addresses are always refused, private ones unless allowed,
    /// in whichever notation.
    #[test]
    fn addresses_are_judged() {
        let refused = |text: &str, allow_private| {
            Guard { allow_private }.refusal(text.parse().unwrap()).is_some()
        };
        for always in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(refused(always, false) && refused(always, true), "{always}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "::1",
            "fc00::1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "2002:c0a8:1::1",
        ] {
            assert!(refused(private, false) && !refused(private, true), "{private}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:101:101::1"]
        {
            assert!(!refused(public, false), "{public}");
        }
    }
}
