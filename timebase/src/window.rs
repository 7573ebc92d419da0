use core::fmt;

use crate::{Span, Timestamp, Utc};

/// The interval certain to contain true time at some moment: `earliest ≤ UTC ≤ latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockWindow {
    earliest: Timestamp<Utc>,
    latest: Timestamp<Utc>,
}

/// Which of two moments came first, as far as their windows can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first ended before the second began.
    Before,
    /// The first began after the second ended.
    After,
    /// The windows overlap: nobody can know from the clocks alone.
    Undecidable,
}

impl ClockWindow {
    /// `[earliest, latest]`, or `None` if that is empty.
    pub fn new(earliest: Timestamp<Utc>, latest: Timestamp<Utc>) -> Option<Self> {
        (earliest <= latest).then_some(Self { earliest, latest })
    }

    /// No moment before this can be the true time.
    pub const fn earliest(self) -> Timestamp<Utc> {
        self.earliest
    }

    /// No moment after this can be the true time.
    pub const fn latest(self) -> Timestamp<Utc> {
        self.latest
    }

    /// `latest − earliest`.
    pub fn width(self) -> Span {
        self.latest - self.earliest
    }

    /// Whether `utc` may be the true time.
    pub fn contains(self, utc: Timestamp<Utc>) -> bool {
        self.earliest <= utc && utc <= self.latest
    }

    /// Which of the two moments came first.
    pub fn order(self, other: Self) -> Order {
        if self.latest < other.earliest {
            Order::Before
        } else if other.latest < self.earliest {
            Order::After
        } else {
            Order::Undecidable
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Undecidable => "undecidable",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_windows_have_no_order() {
        let w = |a, b| ClockWindow::new(Timestamp::from_ns(a), Timestamp::from_ns(b)).unwrap();
        assert_eq!(w(1, 2).order(w(3, 4)), Order::Before);
        assert_eq!(w(3, 4).order(w(1, 2)), Order::After);
        assert_eq!(w(1, 3).order(w(3, 4)), Order::Undecidable);
        assert!(ClockWindow::new(Timestamp::from_ns(2), Timestamp::from_ns(1)).is_none());
    }
}
