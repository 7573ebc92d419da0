use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::{Bounds, Ppb, Span};

/// What kind of time source this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// An NTP server.
    Ntp,
    /// Samples that a program on this host sends to a socket (chrony's SOCK).
    Sock,
    /// Samples that a program on this host puts into shared memory (ntpd's SHM).
    Shm,
    /// A pulse per second.
    Pps,
    /// A hardware clock of PTP.
    Phc,
}

impl SourceKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Ntp, Self::Sock, Self::Shm, Self::Pps, Self::Phc];

    /// The word used in pages, JSON, SQL and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ntp => "ntp",
            Self::Sock => "sock",
            Self::Shm => "shm",
            Self::Pps => "pps",
            Self::Phc => "phc",
        }
    }

    /// The kind a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// How a source treats leap seconds: it steps at the leap, or smears it over hours.
///
/// The duration and the curve are those in use by operators: chrony's `smoothtime … leaponly` and
/// fbclock begin at the leap; the public 24 h smears run from noon to noon around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SmearState {
    /// It shows UTC: a leap second is a step.
    #[default]
    None,
    /// A quadratic smear over 62,500 s that begins at the leap.
    Quadratic,
    /// A linear smear over 62,500 s that begins at the leap.
    Linear,
    /// A linear smear over 24 h, from noon to noon.
    Linear24h,
}

impl SmearState {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::None, Self::Quadratic, Self::Linear, Self::Linear24h];

    /// The word used in pages, JSON, SQL and on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quadratic => "quadratic",
            Self::Linear => "linear",
            Self::Linear24h => "linear-24h",
        }
    }

    /// The kind a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|smear| smear.word() == word)
    }
}

/// How the packets of a source are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// By a symmetric key (RFC 8573).
    Mac,
    /// By Network Time Security (RFC 8915).
    Nts,
}

impl Authentication {
    /// The word used in pages, JSON and SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Mac => "mac",
            Self::Nts => "nts",
        }
    }
}

/// Where a packet's local timestamp was taken. Later stages add scheduling delay to the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StampKind {
    /// In the agent, around the system call.
    User,
    /// By the kernel, in the driver.
    Kernel,
    /// By the network card.
    Hardware,
}

impl StampKind {
    /// The word used in pages, JSON and SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Kernel => "kernel",
            Self::Hardware => "hardware",
        }
    }
}

/// The leap indicator (RFC 5905 figure 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Leap {
    /// No warning.
    #[default]
    None,
    /// The last minute of the day has 61 seconds.
    Insert,
    /// The last minute of the day has 59 seconds.
    Delete,
    /// The clock is not synchronised.
    Unsynchronised,
}

/// What the selection decided about a source, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Agrees with the majority and has the narrowest bounds: the window rests on it first.
    Selected,
    /// Agrees with the majority and narrows the window.
    Combined,
    /// Agrees with the majority, but is too wide to add anything.
    Outlier,
    /// Disagrees with the majority: its claim cannot be true.
    Falseticker,
    /// Answers no more.
    Unreachable,
    /// Takes no part, for the reason given.
    Unusable(Unusable),
}

/// Why a source takes no part in the selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// No answer yet.
    NoAnswerYet,
    /// It says that it is not synchronised.
    Unsynchronised,
    /// Its stratum is 16 or more, or out of range.
    Stratum,
    /// It claims a root distance beyond the limit.
    RootDistance,
    /// Its stamps cannot be true: it answers before it is asked, or says so, or leaves them out.
    BadStamps,
    /// It asked to be left alone (kiss code DENY or RSTR).
    Denied,
    /// Its answers contradict its own earlier answers.
    Contradictory,
    /// There is no majority: sources disagree and no side is the larger one.
    NoMajority,
    /// The configuration says to watch it only.
    Noselect,
    /// Its answers do not prove who sent them, though the configuration asks for that.
    Authentication,
    /// It smears leap seconds and the majority does not, or the other way round.
    Smear,
    /// It is not asked: somebody said so.
    Offline,
    /// Fewer sources agree than the configuration asks for, or none of those that it requires.
    MinSources,
    /// This host's oscillator is faster or slower than its drift limit allows.
    Oscillator,
}

/// Every verdict with its reason, as one list for codecs and documentation.
const VERDICTS: [(Verdict, &str); 19] = [
    (Verdict::Selected, "selected"),
    (Verdict::Combined, "combined"),
    (Verdict::Outlier, "outlier"),
    (Verdict::Falseticker, "falseticker"),
    (Verdict::Unreachable, "unreachable"),
    (Verdict::Unusable(Unusable::NoAnswerYet), "no-answer-yet"),
    (Verdict::Unusable(Unusable::Unsynchronised), "unsynchronised"),
    (Verdict::Unusable(Unusable::Stratum), "bad-stratum"),
    (Verdict::Unusable(Unusable::RootDistance), "root-distance"),
    (Verdict::Unusable(Unusable::BadStamps), "bad-stamps"),
    (Verdict::Unusable(Unusable::Denied), "denied"),
    (Verdict::Unusable(Unusable::Contradictory), "contradictory"),
    (Verdict::Unusable(Unusable::NoMajority), "no-majority"),
    (Verdict::Unusable(Unusable::Noselect), "noselect"),
    (Verdict::Unusable(Unusable::Authentication), "authentication"),
    (Verdict::Unusable(Unusable::Smear), "smear"),
    (Verdict::Unusable(Unusable::Offline), "offline"),
    (Verdict::Unusable(Unusable::MinSources), "min-sources"),
    (Verdict::Unusable(Unusable::Oscillator), "oscillator"),
];

impl Verdict {
    /// Every verdict.
    pub fn all() -> impl Iterator<Item = Self> {
        VERDICTS.into_iter().map(|(verdict, _)| verdict)
    }

    /// The word used in pages, JSON, SQL and on the wire; unusable sources show their reason.
    pub fn word(self) -> &'static str {
        VERDICTS.iter().find(|(verdict, _)| *verdict == self).map_or("", |(_, word)| word)
    }

    /// The verdict a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        VERDICTS.iter().find(|(_, w)| *w == word).map(|(verdict, _)| *verdict)
    }

    /// Whether the source's bounds took part in the window.
    pub fn takes_part(self) -> bool {
        matches!(self, Self::Selected | Self::Combined | Self::Outlier)
    }

    /// One sentence for people.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Selected => "agrees with the majority and has the narrowest bounds",
            Self::Combined => "agrees with the majority and narrows the window",
            Self::Outlier => "agrees with the majority but is too wide to add anything",
            Self::Falseticker => "disagrees with the majority: its claim cannot be true",
            Self::Unreachable => "does not answer any more",
            Self::Unusable(why) => match why {
                Unusable::NoAnswerYet => "has not answered yet",
                Unusable::Unsynchronised => "says that it is not synchronised",
                Unusable::Stratum => "has a stratum outside 1 to 15",
                Unusable::RootDistance => "claims a root distance beyond the limit",
                Unusable::BadStamps => "sends stamps that cannot be true",
                Unusable::Denied => "refuses to serve this host (kiss code DENY or RSTR)",
                Unusable::Contradictory => "contradicts its own earlier answers",
                Unusable::NoMajority => "sources disagree and no side is the majority",
                Unusable::Noselect => "is only watched, as configured",
                Unusable::Authentication => "does not prove who it is, as configured",
                Unusable::Smear => "treats leap seconds otherwise than the majority",
                Unusable::Offline => "is not asked, as somebody told this host",
                Unusable::MinSources => "agrees, but too few sources do, or none of those required",
                Unusable::Oscillator => "shows that this host's oscillator exceeds its drift limit",
            },
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// All that an agent reports about one of its sources.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceReport {
    /// Its kind.
    pub kind: SourceKind,
    /// The name it was configured with: `host[:port]`.
    pub name: String,
    /// The address in use, `ip:port`; empty before the name was resolved.
    pub address: String,
    /// What the selection decided.
    pub verdict: Verdict,
    /// The last eight polls, newest in the lowest bit; set means answered.
    pub reach: u8,
    /// Poll interval, log2 seconds.
    pub poll_log2: i8,
    /// What this source alone says about the host clock's error, now.
    pub bounds: Option<Bounds>,
    /// Point estimate of the host clock's error from this source.
    pub offset: Option<Span>,
    /// Network delay of the best recent exchange, both ways.
    pub delay: Option<Span>,
    /// The least network delay in memory, both ways.
    pub least_delay: Option<Span>,
    /// What the majority's window proves of this path: delay towards the server less delay back.
    pub asymmetry: Option<Bounds>,
    /// RMS difference of recent offsets.
    pub jitter: Option<Span>,
    /// The server's stratum; 0 when unknown.
    pub stratum: u8,
    /// The server's reference id, as sent.
    pub reference_id: u32,
    /// The server's own delay to its reference.
    pub root_delay: Span,
    /// The server's own claim of error against its reference.
    pub root_dispersion: Span,
    /// The server's leap indicator.
    pub leap: Leap,
    /// How its packets are authenticated.
    pub authentication: Authentication,
    /// Whether the newest answer was interleaved (RFC 9769): its sending stamp is then exact.
    pub interleaved: bool,
    /// How it treats leap seconds.
    pub smear: SmearState,
    /// Where the packets of the best recent exchange were stamped, the worse of both directions.
    pub stamps: StampKind,
    /// Answers accepted since start.
    pub accepted: u64,
    /// Answers refused since start (wrong origin, malformed, impossible).
    pub refused: u64,
    /// Rate of the host's oscillator against this source, where it is known.
    pub frequency: Option<Ppb>,
}

/// The reference id as people write it: four letters at stratum 1, else an IPv4 address or hash.
pub fn reference_id_text(stratum: u8, id: u32) -> String {
    let bytes = id.to_be_bytes();
    let printable = |b: &u8| (0x21..0x7f).contains(b) || *b == 0;
    if stratum <= 1 && bytes.iter().all(printable) {
        let text = bytes.iter().take_while(|b| **b != 0).map(|b| char::from(*b));
        return text.collect::<String>().trim_end().to_string();
    }
    format!("{}.{}.{}.{}", bytes[0], bytes[1], bytes[2], bytes[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_a_word_of_its_own() {
        for verdict in Verdict::all() {
            assert_eq!(Verdict::from_word(verdict.word()), Some(verdict));
        }
        assert_eq!(Verdict::from_word("nonsense"), None);
    }

    #[test]
    fn reference_ids_read_as_people_write_them() {
        assert_eq!(reference_id_text(1, u32::from_be_bytes(*b"GPS\0")), "GPS");
        assert_eq!(reference_id_text(2, 0x7f00_0001), "127.0.0.1");
        assert_eq!(reference_id_text(1, 0x0102_0304), "1.2.3.4");
    }
}
