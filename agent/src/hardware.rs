//! Which hardware clock stamps the packets of a local address, if any.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
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
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    known: BTreeMap<IpAddr, Known>,
    /// Clocks that were announced as used, by path.
    told: BTreeSet<String>,
}

/// What was found at an address.
#[derive(Debug)]
struct Known {
    at: Timestamp<Raw>,
    clock: Option<Arc<File>>,
}

impl Hardware {
    pub(crate) fn new(policy: HardwareTimestamps) -> Self {
        let policy = if has_clocks(Path::new("/dev")) { policy } else { HardwareTimestamps::Off };
        Self { policy, found: Mutex::default() }
    }

    /// The clock that stamps what leaves from and comes to `address`, which is asked for only if needed.
    pub(crate) fn clock(&self, address: impl FnOnce() -> Option<IpAddr>) -> Option<Arc<File>> {
        if self.policy == HardwareTimestamps::Off {
            return None;
        }
        self.clock_at(clock::raw(), address()?)
    }

    fn clock_at(&self, now: Timestamp<Raw>, address: IpAddr) -> Option<Arc<File>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { known, told } = &mut *found;
        // Addresses come and go: what is kept of each holds a device open.
        known.retain(|_, known| now - known.at < LOOK_AGAIN);
        if let Some(known) = known.get(&address) {
            return known.clock.clone();
        }
        let clock = self.look(address, told).map(Arc::new);
        known.insert(address, Known { at: now, clock: clock.clone() });
        clock
    }

    fn look(&self, address: IpAddr, told: &mut BTreeSet<String>) -> Option<File> {
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
                if told.insert(path.clone()) {
                    info!("packets through {interface} are stamped by its hardware ({path})");
                }
                Some(clock)
            }
            Err(error) => {
                told.remove(&path);
                warn!("{interface} stamps packets, but its clock cannot be read ({path}: {error})");
                None
            }
        }
    }
}

/// Whether there is any `ptpN`: they are numbered as they appear, and the first may have gone.
fn has_clocks(devices: &Path) -> bool {
    let names =
        fs::read_dir(devices).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let number = |name: &OsString| name.to_str()?.strip_prefix("ptp")?.parse::<u32>().ok();
    names.into_iter().any(|name| number(&name).is_some())
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
        assert!(hardware.found.lock().unwrap().known.is_empty());
    }

    /// Proves that nothing is kept of an address that is no longer asked about.
    #[test]
    fn addresses_of_the_past_are_forgotten() {
        let hardware = Hardware { policy: HardwareTimestamps::Auto, found: Mutex::default() };
        for minute in 0..10 {
            let now = Timestamp::from_ns(0) + Span::from_secs(60 * minute);
            // No host has these (RFC 5737).
            let address = IpAddr::from([192, 0, 2, u8::try_from(minute).unwrap()]);
            assert!(hardware.clock_at(now, address).is_none());
        }
        assert_eq!(hardware.found.lock().unwrap().known.len(), 2);
    }

    /// Proves that a host whose only clock is not the first has one.
    #[test]
    fn any_clock_will_do() {
        let devices =
            std::env::temp_dir().join(format!("truechimer-devices-{}", std::process::id()));
        fs::create_dir_all(&devices).unwrap();
        fs::write(devices.join("ptp_kvm"), "").unwrap();
        assert!(!has_clocks(&devices));
        fs::write(devices.join("ptp1"), "").unwrap();
        assert!(has_clocks(&devices));
        fs::remove_dir_all(&devices).unwrap();
        assert!(!has_clocks(&devices));
    }
}
