use alloc::vec::Vec;

use timebase::{Raw, Timestamp};

use super::{Packet, SymmetricKey, Trailer};
use crate::nonces::Nonces;
use crate::nts::Association;
use crate::{AuthConfig, Refused};

/// How the packets of one association prove who sent them.
#[derive(Clone, Debug)]
pub(super) enum Authentication {
    None,
    Key(SymmetricKey),
    Nts(Association),
}

impl Authentication {
    pub(super) fn new(config: &AuthConfig, now: Timestamp<Raw>) -> Self {
        match config {
            AuthConfig::None => Self::None,
            AuthConfig::Key(key) => Self::Key(key.clone()),
            AuthConfig::Nts => Self::Nts(Association::new(now)),
        }
    }

    /// For another server in the same place.
    pub(super) fn anew(&self) -> Self {
        match self {
            Self::Nts(association) => Self::Nts(association.anew()),
            other => other.clone(),
        }
    }

    /// A request as it goes on the wire; `None` without the keys for it.
    pub(super) fn seal(&mut self, mut packet: Vec<u8>, nonces: &mut Nonces) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(packet),
            Self::Key(key) => {
                key.sign(&mut packet);
                Some(packet)
            }
            Self::Nts(association) => association.seal(packet, nonces),
        }
    }

    /// Whether an answer comes from whom it should, unchanged.
    pub(super) fn open(&mut self, header: &Packet, bytes: &[u8]) -> Result<(), Refused> {
        match self {
            Self::None => Ok(()),
            Self::Key(key) => key.check(bytes, Trailer::parse(bytes)?.mac),
            Self::Nts(association) => association.open(header, bytes),
        }
    }

    pub(super) fn association(&self) -> Option<&Association> {
        match self {
            Self::Nts(association) => Some(association),
            _ => None,
        }
    }

    pub(super) fn association_mut(&mut self) -> Option<&mut Association> {
        match self {
            Self::Nts(association) => Some(association),
            _ => None,
        }
    }
}
