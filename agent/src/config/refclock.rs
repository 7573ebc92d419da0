use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use timebase::{SmearState, SourceKind, Span};

use super::text;

/// Samples are taken no more often and no more rarely than this, as a power of two in seconds.
const POLL: std::ops::RangeInclusive<i8> = -1..=10;

/// A `[[refclock]]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "documented once, in agent.default.toml")]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the file")]
pub struct Refclock {
    pub kind: RefclockKind,
    pub path: Option<PathBuf>,
    pub unit: Option<u8>,
    pub name: Option<String>,
    pub reference_id: Option<String>,
    #[serde(default = "default_poll")]
    pub poll: i8,
    #[serde(default, with = "text::span")]
    pub offset: Span,
    #[serde(default, with = "text::optional_span", skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    #[serde(default, with = "text::optional_span", skip_serializing_if = "Option::is_none")]
    pub precision: Option<Span>,
    #[serde(default)]
    pub permissions: Permissions,
    #[serde(default)]
    pub edge: Edge,
    pub tai_offset: Option<i32>,
    pub lock: Option<String>,
    #[serde(default)]
    pub smear: Smear,
    #[serde(default)]
    pub prefer: bool,
    #[serde(default)]
    pub trust: bool,
    #[serde(default)]
    pub require: bool,
    #[serde(default)]
    pub noselect: bool,
}

/// Kinds of reference clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefclockKind {
    /// chrony's socket.
    Sock,
    /// ntpd's shared memory.
    Shm,
    /// A pulse per second.
    Pps,
    /// A PTP hardware clock.
    Phc,
}

/// Which edge of a pulse begins the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edge {
    /// The rising one.
    #[default]
    Assert,
    /// The falling one.
    Clear,
}

/// How a source treats leap seconds, by configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Smear(Option<SmearState>);

impl Smear {
    /// `None`: to be found out.
    pub fn fixed(self) -> Option<SmearState> {
        self.0
    }
}

/// Who may write to a socket or segment: as for chmod, in octal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u32);

impl Permissions {
    /// The mode bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self(0o600)
    }
}

impl RefclockKind {
    /// The kind in reports.
    pub fn source_kind(self) -> SourceKind {
        match self {
            Self::Sock => SourceKind::Sock,
            Self::Shm => SourceKind::Shm,
            Self::Pps => SourceKind::Pps,
            Self::Phc => SourceKind::Phc,
        }
    }
}

impl Refclock {
    /// Checks what the types alone do not.
    pub(super) fn validate(&self) -> Result<(), String> {
        match (self.kind, &self.path, self.unit) {
            (RefclockKind::Shm, None, Some(_)) => {}
            (RefclockKind::Shm, ..) => return Err("shm has a unit and no path".to_owned()),
            (_, Some(path), None) if path.is_absolute() => {}
            _ => return Err("has an absolute path and no unit".to_owned()),
        }
        if !POLL.contains(&self.poll) {
            return Err(format!("poll must be from {} to {}", POLL.start(), POLL.end()));
        }
        let id = self.reference_id.as_deref().unwrap_or("GPS");
        if id.is_empty() || id.len() > 4 || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("reference-id must have one to four letters".to_owned());
        }
        if [self.delay(), self.precision()].iter().any(|span| span.is_negative()) {
            return Err("delay and precision cannot be negative".to_owned());
        }
        let name = fleet_proto::convert::name(self.name(), "refclock");
        name.map(drop).map_err(|refusal| refusal.to_string())
    }

    /// What it is called.
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.address())
    }

    /// Where it is.
    pub fn address(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => format!("SHM({})", self.unit.unwrap_or(0)),
        }
    }

    /// Four letters for reports.
    pub fn reference_id(&self) -> [u8; 4] {
        let shm = format!("SHM{}", self.unit.unwrap_or(0));
        let text = self.reference_id.as_deref().unwrap_or(match self.kind {
            RefclockKind::Sock => "SOCK",
            RefclockKind::Shm => &shm,
            RefclockKind::Pps => "PPS",
            RefclockKind::Phc => "PHC",
        });
        let mut id = [0; 4];
        id.iter_mut().zip(text.bytes()).for_each(|(letter, byte)| *letter = byte);
        id
    }

    /// Set, or what is usual for the kind.
    pub fn delay(&self) -> Span {
        self.delay.unwrap_or(match self.kind {
            RefclockKind::Sock | RefclockKind::Shm => Span::MILLISECOND,
            RefclockKind::Pps => Span::from_ns(20_000),
            RefclockKind::Phc => Span::from_ns(2_000),
        })
    }

    /// Set, or what is usual for the kind.
    pub fn precision(&self) -> Span {
        self.precision.unwrap_or(match self.kind {
            RefclockKind::Sock | RefclockKind::Shm | RefclockKind::Pps => Span::MICROSECOND,
            RefclockKind::Phc => Span::from_ns(100),
        })
    }
}

fn default_poll() -> i8 {
    4
}

impl<'de> Deserialize<'de> for Smear {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "auto" {
            return Ok(Self(None));
        }
        let smear = SmearState::from_word(&text);
        let known = "\"auto\", \"none\", \"quadratic\", \"linear\" or \"linear-24h\"";
        smear
            .map(|smear| Self(Some(smear)))
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is none of {known}")))
    }
}

impl Serialize for Smear {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.map_or("auto", SmearState::word))
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o777);
        bits.map(Self).ok_or_else(|| D::Error::custom(format!("\"{text}\" is not like \"0600\"")))
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:04o}", self.0))
    }
}
