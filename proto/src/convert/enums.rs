//! Enumerations, one table each: a variant added on one side without the other does not compile.

use timebase::{Authentication, Discipliner, Leap, StampKind, SyncState};

use super::Refusal;
use crate::pb;

macro_rules! mirrored {
    ($ours:ident, $field:literal, $($variant:ident),+) => {
        impl From<$ours> for pb::$ours {
            fn from(value: $ours) -> Self {
                match value { $($ours::$variant => Self::$variant),+ }
            }
        }
        impl TryFrom<pb::$ours> for $ours {
            type Error = Refusal;
            fn try_from(value: pb::$ours) -> Result<Self, Refusal> {
                match value {
                    pb::$ours::Unspecified => Err(Refusal::UnknownWord($field)),
                    $(pb::$ours::$variant => Ok(Self::$variant)),+
                }
            }
        }
    };
}

mirrored!(SyncState, "state", Starting, Synchronised, Holdover, FreeRunning, Stepped);
mirrored!(Leap, "leap", None, Insert, Delete, Unsynchronised);
mirrored!(Authentication, "authentication", None, Mac, Nts);
mirrored!(StampKind, "stamps", User, Kernel, Hardware);
mirrored!(Discipliner, "discipliner", None, Chronyd, Timesyncd, Ntpd, NtpdRs, Ptp4l, Agent);
