/// Why a report, a batch or a session was refused: one word on the wire, in SQL and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A field is missing, out of range or unknown to this version.
    Malformed,
    /// Its seq is not above that of the report before it.
    OutOfOrder,
    /// It was made after the batch that carries it was sent.
    FromTheFuture,
    /// The batch holds more reports than [`Welcome`](fleet_proto::pb::Welcome) allowed.
    BatchTooLarge,
    /// The batch lacks the raw stamp of its own boot, or has one of another boot.
    BadStamps,
    /// The four stamps of an exchange contradict each other.
    BadWitness,
    /// More reports than the host's quota allows.
    OverQuota,
    /// The session speaks for another host than its credential belongs to.
    WrongHost,
    /// The credential was revoked.
    Revoked,
    /// The agent does not read the answers it is sent.
    SlowReader,
    /// The session broke the order of messages.
    Protocol,
    /// The database refused its rows, and will again.
    Unstorable,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::OutOfOrder,
        Self::FromTheFuture,
        Self::BatchTooLarge,
        Self::BadStamps,
        Self::BadWitness,
        Self::OverQuota,
        Self::WrongHost,
        Self::Revoked,
        Self::SlowReader,
        Self::Protocol,
        Self::Unstorable,
    ];

    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::OutOfOrder => "out-of-order",
            Self::FromTheFuture => "from-the-future",
            Self::BatchTooLarge => "batch-too-large",
            Self::BadStamps => "bad-stamps",
            Self::BadWitness => "bad-witness",
            Self::OverQuota => "over-quota",
            Self::WrongHost => "wrong-host",
            Self::Revoked => "revoked",
            Self::SlowReader => "slow-reader",
            Self::Protocol => "protocol",
            Self::Unstorable => "unstorable",
        }
    }
}
