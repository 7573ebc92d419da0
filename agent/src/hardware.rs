//! Which hardware clock stamps the packets of a local address, if any.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use timebase::{Bounds, Raw, Span, Timestamp};
use tracing::{info, warn};

use crate::config::HardwareTimestamps;
use crate::sys::clock;
use crate::sys::nic::{self, Decision};
use crate::sys::phc::{self, Against, Reading};

/// Interfaces are looked at again after this: other programs switch their stamps on and off.
const LOOK_AGAIN: Span = Span::from_secs(64);

/// The clocks by local address. Without hardware clocks on this host it never looks at an interface.
#[derive(Debug)]
pub(crate) struct Hardware {
    policy: HardwareTimestamps,
    known: Mutex<BTreeMap<IpAddr, Known>>,
}

/// What was found at an address.
#[derive(Debug)]
struct Known {
    at: Timestamp<Raw>,
    clock: Option<Arc<File>>,
}

impl Hardware {
    pub(crate) fn new(policy: HardwareTimestamps) -> Self {
        let none = !Path::new("/dev/ptp0").exists();
        let policy = if none { HardwareTimestamps::Off } else { policy };
        Self { policy, known: Mutex::default() }
    }

    /// The clock that stamps what leaves from and comes to `address`, which is asked for only if needed.
    pub(crate) fn clock(&self, address: impl FnOnce() -> Option<IpAddr>) -> Option<Arc<File>> {
        if self.policy == HardwareTimestamps::Off {
            return None;
        }
        let (address, now) = (address()?, clock::raw());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&address);
        if let Some(known) = before.filter(|known| now - known.at < LOOK_AGAIN) {
            return known.clock.clone();
        }
        let was_used = before.is_some_and(|known| known.clock.is_some());
        let clock = self.look(address, was_used).map(Arc::new);
        known.insert(address, Known { at: now, clock: clock.clone() });
        clock
    }

    fn look(&self, address: IpAddr, was_used: bool) -> Option<File> {
        let interface = nic::with_address(address)?;
        let ability = nic::ability(&interface).ok()?;
        let may_switch_on = self.policy == HardwareTimestamps::Configure;
        match nic::decide(may_switch_on, &ability, nic::mode(&interface).ok().as_ref()) {
            Decision::Software => return None,
            Decision::Use => {}
            Decision::SwitchOn => match nic::switch_on(&interface) {
                Ok(()) => info!("{interface} stamps packets from now on"),
                Err(error) => {
                    warn!("{interface} does not stamp packets: {error}");
                    return None;
                }
            },
        }
        let path = format!("/dev/ptp{}", ability.clock()?);
        match phc::open(Path::new(&path)) {
            Ok(clock) => {
                if !was_used {
                    info!("packets through {interface} are stamped by its hardware ({path})");
                }
                Some(clock)
            }
            Err(error) => {
                warn!("{interface} stamps packets, but its clock cannot be read ({path}: {error})");
                None
            }
        }
    }
}

/// `hardware clock − raw` now, where `realtime − raw` is as given: by the tightest of a few readings.
pub(crate) fn less_raw(clock: &File, realtime_less_raw: Bounds) -> Option<Bounds> {
    let (against, readings) = phc::read(clock).ok()?;
    let tightest = readings.into_iter().min_by_key(|reading| reading.after - reading.before)?;
    difference(against, tightest, realtime_less_raw)
}

fn difference(against: Against, reading: Reading, realtime_less_raw: Bounds) -> Option<Bounds> {
    let Reading { before, device, after } = reading;
    let of = |host| Span::from_ns(device.saturating_sub(host));
    let less_host = Bounds::new(of(after), of(before))?;
    Some(match against {
        Against::Raw => less_host,
        Against::Realtime => Bounds::new(
            less_host.lo() + realtime_less_raw.lo(),
            less_host.hi() + realtime_less_raw.hi(),
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that what lies between a hardware clock and the raw clock is bounded by the readings around
    /// it, directly or by way of the system clock.
    #[test]
    fn the_difference_is_between_the_readings() {
        let none = Bounds::around(Span::ZERO, Span::ZERO);
        let reading = Reading { before: 100, device: 37_000, after: 140 };
        let direct = difference(Against::Raw, reading, none).unwrap();
        assert_eq!((direct.lo().as_ns(), direct.hi().as_ns()), (36_860, 36_900));
        let offset = Bounds::around(Span::from_ns(1_000), Span::from_ns(5));
        let round = difference(Against::Realtime, reading, offset).unwrap();
        assert_eq!((round.lo().as_ns(), round.hi().as_ns()), (37_855, 37_905));
        let backwards = Reading { before: 140, device: 37_000, after: 100 };
        assert_eq!(difference(Against::Raw, backwards, none), None);
    }

    /// Proves that nothing is looked for where it is not wanted.
    #[test]
    fn off_is_off() {
        let hardware = Hardware::new(HardwareTimestamps::Off);
        assert!(hardware.clock(|| Some(IpAddr::from([127, 0, 0, 1]))).is_none());
        assert!(hardware.known.lock().unwrap().is_empty());
    }
}
