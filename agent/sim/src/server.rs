use timebase::{Span, Timestamp, Utc};

/// Seconds from the NTP era 0 epoch (1900) to the Unix epoch.
const NTP_UNIX_OFFSET_S: i64 = 2_208_988_800;

/// How a server treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// It answers.
    Normally,
    /// It is dead.
    Not,
    /// It answers with a kiss code (RFC 5905 section 7.4).
    Kiss([u8; 4]),
}

/// An NTP server whose clock is known exactly.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// Its clock − UTC. A truthful server keeps this within its root distance.
    pub error: Span,
    /// Its stratum.
    pub stratum: u8,
    /// What it says its reference is.
    pub reference_id: [u8; 4],
    /// What it claims as delay to its reference.
    pub root_delay: Span,
    /// What it claims as error against its reference.
    pub root_dispersion: Span,
    /// Leap indicator, 0 to 3.
    pub leap: u8,
    /// Time between receiving and answering.
    pub turnaround: Span,
    /// Whether it answers.
    pub answering: Answering,
}

impl Default for Server {
    /// A stratum 1 server on GPS that is right to a microsecond and says so.
    fn default() -> Self {
        Self {
            error: Span::ZERO,
            stratum: 1,
            reference_id: *b"GPS\0",
            root_delay: Span::ZERO,
            root_dispersion: Span::from_ns(2_000),
            leap: 0,
            turnaround: Span::from_ns(15_000),
            answering: Answering::Normally,
        }
    }
}

impl Server {
    /// The answer to `request` that arrived at true time `arrived`, and when it leaves.
    pub fn answer(
        &self,
        request: &[u8; 48],
        arrived: Timestamp<Utc>,
    ) -> Option<(Timestamp<Utc>, [u8; 48])> {
        let leaves = arrived + self.turnaround;
        let mut packet = [0u8; 48];
        packet[0] = self.leap << 6 | 4 << 3 | 4;
        packet[2] = request[2];
        packet[3] = (-24i8) as u8;
        packet[24..32].copy_from_slice(&request[40..48]);
        match self.answering {
            Answering::Not => return None,
            Answering::Kiss(code) => {
                packet[0] |= 3 << 6;
                packet[12..16].copy_from_slice(&code);
            }
            Answering::Normally => {
                packet[1] = self.stratum;
                packet[4..8].copy_from_slice(&short(self.root_delay));
                packet[8..12].copy_from_slice(&short(self.root_dispersion));
                packet[12..16].copy_from_slice(&self.reference_id);
                packet[16..24].copy_from_slice(&long(arrived + self.error - Span::from_secs(8)));
            }
        }
        packet[32..40].copy_from_slice(&long(arrived + self.error));
        packet[40..48].copy_from_slice(&long(leaves + self.error));
        Some((leaves, packet))
    }
}

/// NTP short format: 16.16 seconds, rounded up because it carries uncertainties.
fn short(span: Span) -> [u8; 4] {
    let units = (i128::from(span.as_ns().max(0)) << 16).div_euclid(1_000_000_000) + 1;
    u32::try_from(units).unwrap_or(u32::MAX).to_be_bytes()
}

/// NTP timestamp format: 32.32 seconds since 1900, the era left out.
fn long(at: Timestamp<Utc>) -> [u8; 8] {
    let seconds = at.as_ns().div_euclid(1_000_000_000) + NTP_UNIX_OFFSET_S;
    let ns = at.as_ns().rem_euclid(1_000_000_000) as u64;
    let fraction = (ns << 32) / 1_000_000_000;
    ((seconds as u64) << 32 | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wire formats of RFC 5905 section 6, against values worked out by hand.
    #[test]
    fn stamps_are_encoded_as_rfc_5905_says() {
        assert_eq!(long(Timestamp::from_ns(0)), [0x83, 0xaa, 0x7e, 0x80, 0, 0, 0, 0]);
        assert_eq!(long(Timestamp::from_ns(500_000_000))[4..], [0x80, 0, 0, 0]);
        assert_eq!(short(Span::from_secs(1)), [0, 1, 0, 1]);
        assert_eq!(short(Span::ZERO), [0, 0, 0, 1]);
    }
}
