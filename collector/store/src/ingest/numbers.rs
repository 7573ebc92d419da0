//! Enumerations as numbers, those of `proto/fleet/v1/report.proto`. A test of the collector, which knows
//! both sides, holds them equal.

use timebase::{Authentication, Discipliner, Leap, StampKind, SyncState};

/// `store.sample.state`.
pub fn state_number(state: SyncState) -> i16 {
    match state {
        SyncState::Starting => 1,
        SyncState::Synchronised => 2,
        SyncState::Holdover => 3,
        SyncState::FreeRunning => 4,
        SyncState::Stepped => 5,
    }
}

/// `store.host_state.leap`.
pub fn leap_number(leap: Leap) -> i16 {
    match leap {
        Leap::None => 1,
        Leap::Insert => 2,
        Leap::Delete => 3,
        Leap::Unsynchronised => 4,
    }
}

/// `store.host_state.discipliner`.
pub fn discipliner_number(discipliner: Discipliner) -> i16 {
    match discipliner {
        Discipliner::None => 1,
        Discipliner::Chronyd => 2,
        Discipliner::Timesyncd => 3,
        Discipliner::Ntpd => 4,
        Discipliner::NtpdRs => 5,
        Discipliner::Ptp4l => 6,
        Discipliner::Agent => 7,
    }
}

/// `store.source_state.authentication`.
pub fn authentication_number(authentication: Authentication) -> i16 {
    match authentication {
        Authentication::None => 1,
        Authentication::Mac => 2,
        Authentication::Nts => 3,
    }
}

/// `store.source_state.stamps`.
pub fn stamps_number(stamps: StampKind) -> i16 {
    match stamps {
        StampKind::User => 1,
        StampKind::Kernel => 2,
        StampKind::Hardware => 3,
    }
}
