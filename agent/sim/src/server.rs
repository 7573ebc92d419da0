use std::collections::VecDeque;

use timebase::{SmearState, Span, Timestamp, Utc};

use crate::{Auth, Leap, Queueing, Rng};

/// Seconds from the NTP era 0 epoch (1900) to the Unix epoch.
const NTP_UNIX_OFFSET_S: i64 = 2_208_988_800;
/// Exchanges that an interleaving server remembers of one client.
const REMEMBERED: usize = 4;

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

/// What is wrong with a server's clock, beside what it claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    /// Nothing.
    None,
    /// It is off by this much.
    Offset(Span),
    /// It runs away at this rate, from that time after the host's first boot on.
    Ramp(Span, f64),
    /// It jumps to this far off and back, each time after so long.
    Jumps(Span, Span),
    /// It swings this far to both sides, once in so long.
    Swings(Span, Span),
    /// It says that answering took this much longer than it did: the delay comes out negative.
    Hasty(Span),
}

/// The knobs of an NTP server whose clock is known exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its clock − UTC. A truthful server keeps this within its root distance.
    pub error: Span,
    /// An honest clock swings this far to both sides, once in so long.
    pub wander: (Span, Span),
    /// What makes it a falseticker.
    pub lie: Lie,
    /// How it treats a leap second.
    pub smear: SmearState,
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
    /// How long before the packet leaves its stamp is written. The interleaved mode mends that.
    pub stamped_early: Queueing,
    /// Whether it knows the interleaved mode (RFC 9769).
    pub interleaved: bool,
    /// How it proves who it is.
    pub auth: Auth,
    /// Whether it answers.
    pub answering: Answering,
}

impl Default for Server {
    /// A stratum 1 server on GPS that is right to a microsecond and says so.
    fn default() -> Self {
        Self {
            error: Span::ZERO,
            wander: (Span::ZERO, Span::from_secs(3600)),
            lie: Lie::None,
            smear: SmearState::None,
            stratum: 1,
            reference_id: *b"GPS\0",
            root_delay: Span::ZERO,
            root_dispersion: Span::from_ns(2_000),
            leap: 0,
            turnaround: Span::from_ns(15_000),
            stamped_early: Queueing::NONE,
            interleaved: false,
            auth: Auth::None,
            answering: Answering::Normally,
        }
    }
}

impl Server {
    /// A server that is off by `error` and claims not to be.
    pub fn off(error: Span) -> Self {
        Self { lie: Lie::Offset(error), ..Self::default() }
    }

    /// Its clock − UTC, `since` after the host's first boot.
    fn error_at(&self, since: Span, leap: Option<Leap>) -> Span {
        let (wander, period) = self.wander;
        let smeared = leap.map_or(Span::ZERO, |leap| leap.smear_error(self.smear, since));
        let lie = match self.lie {
            Lie::None | Lie::Hasty(_) => Span::ZERO,
            Lie::Offset(error) => error,
            Lie::Ramp(from, ppm) => {
                Span::from_secs_f64((since - from).as_secs_f64().max(0.0) * ppm * 1e-6)
            }
            Lie::Jumps(size, every) => {
                let turns = since.as_ns() / every.as_ns().max(1);
                if turns % 2 == 1 { size } else { Span::ZERO }
            }
            Lie::Swings(size, every) => swing(size, every, since),
        };
        self.error + swing(wander, period, since) + smeared + lie
    }
}

fn swing(size: Span, period: Span, since: Span) -> Span {
    let turns = since.as_secs_f64() / period.as_secs_f64();
    Span::from_secs_f64(size.as_secs_f64() * libm::sin(turns * core::f64::consts::TAU))
}

/// When a request came: the true time, its distance from the host's first boot, and the leap to come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp<Utc>,
    pub(crate) since: Span,
    pub(crate) leap: Option<Leap>,
}

/// What a server remembers of one client: receive and transmit stamps of its last answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(VecDeque<([u8; 8], [u8; 8])>);

impl Server {
    /// The answer to `request`, and how long after its arrival it leaves.
    pub(crate) fn answer(
        &self,
        request: &[u8],
        arrival: Arrival,
        memory: &mut Memory,
        rng: &mut Rng,
    ) -> Option<(Span, Vec<u8>)> {
        let whole = request;
        let request: &[u8; 48] = whole.first_chunk()?;
        let field = |at: usize| -> [u8; 8] { core::array::from_fn(|i| request[at + i]) };
        let (origin, received, transmitted) = (field(24), field(32), field(40));
        let mut packet = vec![0u8; 48];
        packet[0] = self.leap << 6 | 4 << 3 | 4;
        packet[2] = request[2];
        packet[3] = (-24i8) as u8;
        packet[24..32].copy_from_slice(&transmitted);
        let hasty = if let Lie::Hasty(by) = self.lie { by } else { Span::ZERO };
        let leapt = arrival.leap.map_or(Span::ZERO, |leap| leap.correction(arrival.since));
        let clock = arrival.at + leapt + self.error_at(arrival.since, arrival.leap);
        let early = self.stamped_early.span(rng);
        let mut t2 = long(clock - hasty.half());
        // Two that arrive at once are told apart, or the second's sending stamp would pass for the first's
        // (RFC 9769 section 2).
        while memory.0.iter().any(|(receive, _)| *receive == t2) {
            t2 = (u64::from_be_bytes(t2) + 1).to_be_bytes();
        }
        let t3 = long(clock + self.turnaround + hasty.half());
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
                packet[16..24].copy_from_slice(&long(clock - Span::from_secs(8)));
            }
        }
        packet[32..40].copy_from_slice(&t2);
        packet[40..48].copy_from_slice(&t3);
        if self.interleaved {
            let former = memory.0.iter().find(|(receive, _)| *receive == origin);
            if let Some((_, transmit)) = former.filter(|_| received != transmitted) {
                packet[24..32].copy_from_slice(&received);
                packet[40..48].copy_from_slice(transmit);
            }
            memory.0.truncate(REMEMBERED - 1);
            memory.0.push_front((t2, long(clock + self.turnaround + early + hasty.half())));
        }
        let packet = self.auth.seal(whole, packet, arrival.since)?;
        Some((self.turnaround + early, packet))
    }
}

/// NTP short format: 16.16 seconds, rounded up because it carries uncertainties.
fn short(span: Span) -> [u8; 4] {
    let units = -(-(i128::from(span.as_ns().max(0)) << 16)).div_euclid(1_000_000_000);
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
        assert_eq!(short(Span::from_secs(1)), [0, 1, 0, 0]);
        assert_eq!(short(Span::NANOSECOND), [0, 0, 0, 1]);
        assert_eq!(short(Span::ZERO), [0, 0, 0, 0]);
    }
}
