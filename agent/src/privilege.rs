//! What the process may do: no more than it needs, given up before the first thread starts.

use std::collections::HashSet;

use caps::{CapSet, Capability};
use tracing::{debug, warn};

use crate::config::{Config, HardwareTimestamps};

/// Gives up capabilities. Without discipline the one to set clocks goes, and nothing that runs here can
/// get it back. With discipline it is the one that stays, beside those that sockets need.
pub(crate) fn shed(config: &Config) {
    let outcome = if config.discipline.enabled {
        keep(&needed(config))
    } else {
        lose(Capability::CAP_SYS_TIME)
    };
    if let Err(error) = outcome {
        warn!("capabilities could not be given up: {error}");
    }
}

fn needed(config: &Config) -> HashSet<Capability> {
    // Ports below 1024, and binding to an interface where the kernel still asks for it.
    let mut needed = HashSet::from([
        Capability::CAP_SYS_TIME,
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_NET_RAW,
    ]);
    if config.ntp.hardware_timestamps == HardwareTimestamps::Configure {
        needed.insert(Capability::CAP_NET_ADMIN);
    }
    needed
}

fn keep(needed: &HashSet<Capability>) -> Result<(), caps::errors::CapsError> {
    for other in caps::read(None, CapSet::Bounding)?.difference(needed) {
        unbound(*other);
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: HashSet<Capability> = permitted.intersection(needed).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}

fn lose(capability: Capability) -> Result<(), caps::errors::CapsError> {
    unbound(capability);
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        if caps::has_cap(None, set, capability)? {
            caps::drop(None, set, capability)?;
        }
    }
    Ok(())
}

/// So that not even a set-uid program could have it. Only a process with privileges can say so, and one
/// without has nothing to lose.
fn unbound(capability: Capability) {
    if let Err(error) = caps::drop(None, CapSet::Bounding, capability) {
        debug!("{capability} stays in the bounding set: {error}");
    }
}
