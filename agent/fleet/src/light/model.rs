//! What a light host reports: a formula of its seed and the time, believable and cheap. No engine runs.

use agent_sim::Rng;
use fleet_proto::pb;
use prost::Message;
use timebase::{BootId, Verdict};

use super::pace::Stretch;
use super::wire;

/// Sources of every host.
const SOURCES: usize = 3;
/// Each is asked so often: between two polls nothing that is said of it changes.
const POLL_LOG2: i32 = 6;
const POLL_NS: i64 = 1_000_000_000 << POLL_LOG2;
/// How fast a window grows between polls.
const DRIFT_PPM: i64 = 15;
/// The host clock swings around its mean error in this time.
const SWING_NS: f64 = 1.1e12;
const SERVICES: [&str; 6] =
    ["keystone", "nova-api", "nova-compute", "neutron", "ceph-mon", "ceph-osd"];

/// What is wrong with every report of a host that sends garbage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// Its window is empty.
    EmptyWindow,
    /// It was made after its batch was sent.
    FromTheFuture,
    /// The host claims a leap indicator that nobody knows.
    UnknownWord,
}

impl Garbage {
    pub(crate) const ALL: [Self; 3] = [Self::EmptyWindow, Self::FromTheFuture, Self::UnknownWord];
}

/// One host. Times are nanoseconds of the world's elapsed time; errors are host clock − UTC.
#[derive(Debug)]
pub(crate) struct LightHost {
    pub(crate) number: usize,
    pub(crate) boot: BootId,
    began_ns: i64,
    raw_at_start_ns: i64,
    rate_ppb: i64,
    error_ns: i64,
    swing_ns: f64,
    swing_phase: f64,
    noise: u64,
    garbage: Option<Garbage>,
    sources: [Source; SOURCES],
}

#[derive(Debug)]
struct Source {
    /// When it is asked, within the poll interval.
    phase_ns: i64,
    round_trip_ns: i64,
    error_ns: i64,
    /// The poll that `encoded` tells of.
    poll: i64,
    encoded: Vec<u8>,
}

impl LightHost {
    /// Host `number` of the fleet of `seed`; `began_ns` is the UTC at which the world began. Every run is
    /// another boot.
    pub(crate) fn new(number: usize, seed: u64, began_ns: i64, garbage: Option<Garbage>) -> Self {
        let mut rng = rng_of(number, seed);
        let source = |rng: &mut Rng| Source {
            phase_ns: rng.below(POLL_NS as usize) as i64,
            round_trip_ns: rng.between(80e3, 600e3) as i64,
            error_ns: rng.between(-20e3, 20e3) as i64,
            poll: i64::MIN,
            encoded: Vec::new(),
        };
        let uptime_ns = (rng.between(0.1, 200.0) * 86_400e9) as i64;
        Self {
            number,
            boot: BootId::from_bytes(Rng::new(rng.bits() ^ began_ns.cast_unsigned()).bytes16()),
            began_ns,
            raw_at_start_ns: uptime_ns,
            rate_ppb: (rng.normal() * 8_000.0) as i64,
            error_ns: (rng.normal() * 50e3) as i64,
            swing_ns: rng.between(5e3, 60e3),
            swing_phase: rng.unit(),
            noise: rng.bits(),
            garbage,
            sources: std::array::from_fn(|_| source(&mut rng)),
        }
    }

    /// What it says of itself.
    pub(crate) fn info(&self) -> pb::HostInfo {
        pb::HostInfo {
            name: format!("light-{}", self.number),
            service: SERVICES[self.number % SERVICES.len()].to_owned(),
            labels: [("fleet".to_owned(), "light model".to_owned())].into(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            simulated: true,
        }
    }

    /// Its CLOCK_REALTIME.
    pub(crate) fn realtime_ns(&self, at: i64) -> i64 {
        self.began_ns + at + self.error(at)
    }

    /// Its CLOCK_MONOTONIC_RAW.
    pub(crate) fn raw_ns(&self, at: i64) -> i64 {
        self.raw_at_start_ns + at + at / 1_000 * self.rate_ppb / 1_000_000
    }

    /// The true error of its clock: known only here.
    fn error(&self, at: i64) -> i64 {
        let turn = at as f64 / SWING_NS + self.swing_phase;
        self.error_ns + (self.swing_ns * (turn * std::f64::consts::TAU).sin()) as i64
    }

    /// The reports of a stretch, as they stand in a batch.
    pub(crate) fn encode(&mut self, stretch: Stretch, into: &mut Vec<u8>) {
        for n in 0..i64::from(stretch.count) {
            let at = stretch.at_ns + n * stretch.step_ns;
            let seq = stretch.first + n.cast_unsigned();
            for index in 0..SOURCES {
                self.poll_source(index, at);
            }
            let report = self.report(seq, at);
            wire::put_report(into, &report, self.sources.iter().map(|source| &source.encoded[..]));
        }
    }

    /// All of it but the sources, which are kept encoded.
    fn report(&self, seq: u64, at: i64) -> pb::Report {
        let mut rng = Rng::new(self.noise ^ seq);
        let error = self.error(at);
        // The narrowest source rules; the window has grown since that was asked.
        let nearest = self.sources.iter().min_by_key(|source| source.round_trip_ns);
        let (half, age) = nearest.map_or((0, 0), |source| {
            (source.round_trip_ns / 2, (at - source.phase_ns).rem_euclid(POLL_NS))
        });
        let width = half + 1_000 + age / 1_000_000 * DRIFT_PPM;
        let noise = (rng.normal() * 2e3) as i64;
        let bounds = pb::Bounds { lo_ns: error - width, hi_ns: error + width };
        let mut report = pb::Report {
            seq,
            steps: 0,
            raw_ns: self.raw_ns(at),
            realtime_ns: self.realtime_ns(at),
            bounds: Some(bounds),
            statistical: Some(pb::Statistical {
                offset_ns: error + noise.clamp(-width, width),
                sigma_ns: 2_500,
                k: 3.0,
                samples: 16,
            }),
            frequency_ppb: Some(self.rate_ppb + noise / 200),
            frequency_sigma_ppb: Some(40),
            drift_limit_ppb: DRIFT_PPM * 1_000,
            state: pb::SyncState::Synchronised.into(),
            leap: pb::Leap::None.into(),
            discipliner: pb::Discipliner::Chronyd.into(),
            kernel: Some(pb::KernelClock {
                synchronised: true,
                max_error_ns: 4_000_000 + age / 2_000,
                estimated_error_ns: 20_000,
                frequency_ppb: -self.rate_ppb,
                status: 0x2001,
                tai_offset_s: 37,
            }),
            rate: Some(pb::RateBounds {
                lo_ppb: self.rate_ppb - 1_000,
                hi_ppb: self.rate_ppb + 1_000,
            }),
            drift_ceiling_ppb: Some(100_000),
            tai_offset_s: Some(37),
            stray_ns: Some(noise.abs()),
            ..pb::Report::default()
        };
        match self.garbage {
            None => {}
            Some(Garbage::EmptyWindow) => report.bounds = Some(pb::Bounds { lo_ns: 1, hi_ns: -1 }),
            Some(Garbage::FromTheFuture) => report.raw_ns += 3_600_000_000_000,
            Some(Garbage::UnknownWord) => report.leap = 99,
        }
        report
    }

    /// Encodes a source anew if it has been asked since.
    fn poll_source(&mut self, index: usize, at: i64) {
        let source = &self.sources[index];
        let poll = (at - source.phase_ns).div_euclid(POLL_NS);
        if poll == source.poll {
            return;
        }
        let asked = poll * POLL_NS + source.phase_ns;
        let mut rng = Rng::new(self.noise ^ poll.cast_unsigned().rotate_left(20 + index as u32));
        let queue_ns = rng.exponential(30e3) as i64;
        let half = (source.round_trip_ns + queue_ns) / 2;
        let offset = self.error(asked) + source.error_ns + (rng.normal() * 3e3) as i64;
        let best = self.sources.iter().all(|other| source.round_trip_ns <= other.round_trip_ns);
        let verdict = if best { Verdict::Selected } else { Verdict::Combined };
        let answered = (self.raw_at_start_ns / POLL_NS + poll).cast_unsigned();
        let wire = pb::Source {
            name: format!("ntp-{}.dc", index + 1),
            address: format!("10.0.0.{}:123", index + 1),
            verdict: verdict.word().to_owned(),
            reach: 0xff,
            poll_log2: POLL_LOG2,
            bounds: Some(pb::Bounds {
                lo_ns: offset - half - 550_000,
                hi_ns: offset + half + 550_000,
            }),
            offset_ns: Some(offset),
            delay_ns: Some(source.round_trip_ns + queue_ns),
            jitter_ns: Some(3_000 + queue_ns / 8),
            authentication: pb::Authentication::None.into(),
            stamps: pb::StampKind::Kernel.into(),
            accepted: answered,
            refused: 0,
            frequency_ppb: Some(self.rate_ppb),
            kind: "ntp".to_owned(),
            least_delay_ns: Some(source.round_trip_ns),
            detail: Some(pb::source::Detail::Ntp(pb::NtpDetail {
                stratum: 2,
                reference_id: u32::from_be_bytes([10, 1, 0, 1 + index as u8]),
                root_delay_ns: 400_000,
                root_dispersion_ns: 150_000,
                leap: pb::Leap::None.into(),
            })),
            ..pb::Source::default()
        };
        let source = &mut self.sources[index];
        source.poll = poll;
        source.encoded.clear();
        wire.encode(&mut source.encoded).expect("invariant: a Vec has room");
    }
}

/// The randomness of one host: of its own for each number and seed.
pub(crate) fn rng_of(number: usize, seed: u64) -> Rng {
    Rng::new(Rng::new(seed).bits() ^ (number as u64).wrapping_mul(0xd6e8_feb8_6659_fd93))
}

#[cfg(test)]
mod tests {
    use super::*;
    use timebase::Report;

    const BEGAN: i64 = 1_700_000_000_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn reports(host: &mut LightHost, stretch: Stretch) -> Vec<pb::Report> {
        let mut octets = Vec::new();
        host.encode(stretch, &mut octets);
        pb::Batch::decode(&octets[..]).unwrap().reports
    }

    /// Proves that what a light host says is what the vocabulary can hold, that its window holds the true
    /// error of its clock, and that a report sent again is the same report.
    #[test]
    fn reports_are_believable_and_repeatable() {
        for number in 0..50 {
            let mut host = LightHost::new(number, 7, BEGAN, None);
            let stretch = Stretch { first: 1, count: 60, at_ns: 5 * SECOND, step_ns: 10 * SECOND };
            let made = reports(&mut host, stretch);
            assert_eq!(made, reports(&mut host, stretch), "host {number}");
            for (n, wire) in made.into_iter().enumerate() {
                let at = (5 + 10 * n as i64) * SECOND;
                let report = Report::try_from(wire).unwrap();
                let bounds = report.bounds.unwrap();
                let error = report.realtime.as_ns() - (BEGAN + at);
                assert_eq!(report.seq.0, n as u64 + 1);
                assert!(bounds.lo().as_ns() <= error && error <= bounds.hi().as_ns());
                assert_eq!(
                    report.sources.iter().filter(|s| s.verdict.takes_part()).count(),
                    SOURCES
                );
            }
        }
    }

    /// Proves that nothing is said anew of a source between two polls, and that its counters advance with
    /// each: a collector that writes only what changed finds as much to write as from real agents.
    #[test]
    fn sources_change_at_their_polls() {
        let mut host = LightHost::new(3, 1, BEGAN, None);
        let stretch = Stretch { first: 1, count: 640, at_ns: 0, step_ns: SECOND };
        let made = reports(&mut host, stretch);
        for index in 0..SOURCES {
            let of = |report: &pb::Report| report.sources[index].clone();
            let changes = made.windows(2).filter(|two| of(&two[0]) != of(&two[1])).count();
            assert!((9..=10).contains(&changes), "{changes} changes in ten polls");
            let counted = of(&made[639]).accepted - of(&made[0]).accepted;
            assert_eq!(counted, changes as u64);
        }
    }

    /// Proves that garbage is refused by the codec, or is of the future: nothing of it can be stored.
    #[test]
    fn garbage_cannot_be_stored() {
        for garbage in Garbage::ALL {
            let mut host = LightHost::new(3, 1, BEGAN, Some(garbage));
            let stretch = Stretch { first: 1, count: 1, at_ns: SECOND, step_ns: SECOND };
            let wire = reports(&mut host, stretch).remove(0);
            match Report::try_from(wire) {
                Ok(report) => assert!(report.raw.as_ns() > host.raw_ns(2 * SECOND), "{garbage:?}"),
                Err(_) => assert_ne!(garbage, Garbage::FromTheFuture),
            }
        }
    }

    /// Proves that the same number of another seed, and another number of the same seed, is another host.
    #[test]
    fn hosts_differ() {
        let rate = |number, seed| LightHost::new(number, seed, BEGAN, None).rate_ppb;
        assert_eq!(rate(5, 1), rate(5, 1));
        assert_ne!(rate(5, 1), rate(6, 1));
        assert_ne!(rate(5, 1), rate(5, 2));
    }
}
