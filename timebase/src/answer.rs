use core::fmt;

/// What comparing an interval with a limit can say. There is no fifth answer.
///
/// The order is the order of urgency *between answers that rest on data*; [`Answer::Unknown`] sorts
/// between safe and possible so that "worst of" never lets it pass for safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// The whole interval is inside the limit.
    Safe,
    /// No usable data. Never shown or counted as safe.
    Unknown,
    /// The interval overlaps the limit: it may be, the data cannot tell.
    Possible,
    /// The whole interval is outside the limit.
    Certain,
}

impl Answer {
    /// Every answer, most urgent first.
    pub const ALL: [Self; 4] = [Self::Certain, Self::Possible, Self::Unknown, Self::Safe];

    /// The word used in pages, JSON and SQL.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Possible => "possible",
            Self::Safe => "safe",
            Self::Unknown => "unknown",
        }
    }

    /// The answer a [`word`](Self::word) stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|answer| answer.word() == word)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
