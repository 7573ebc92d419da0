use timebase::{Raw, Span, Timestamp};

/// Agreeing exchanges asked for after one contradiction; doubled by each further one.
const FIRST_TERM: u32 = 3;
/// The longest term: at 16 s it is 6 minutes, and a server behind two disagreeing back-ends stays out.
const LONGEST_TERM: u32 = 24;
/// A source without a contradiction for this long starts with a clean record.
const RECORD: Span = Span::from_secs(3600);

/// Whether a source that contradicted itself may be believed again.
///
/// Two bounds of one source that cannot both be true prove that it was wrong at least once: it stepped,
/// or was cured of an error, or several servers answer at its address. The newest exchange alone is
/// kept. The source takes no part until three more agree with it (they are asked for in a quick burst,
/// so a server that was put right is back within about two seconds); every further contradiction within
/// the hour doubles that number.
#[derive(Clone, Debug, Default)]
pub(super) struct Probation {
    contradictions: u32,
    last: Option<Timestamp<Raw>>,
    left: u32,
}

impl Probation {
    pub(super) fn running(&self) -> bool {
        self.left > 0
    }

    /// Whether there was a contradiction lately.
    pub(super) fn on_record(&self, now: Timestamp<Raw>) -> bool {
        self.last.is_some_and(|last| now - last <= RECORD)
    }

    pub(super) fn agreed(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    pub(super) fn contradicted(&mut self, at: Timestamp<Raw>) {
        if self.last.is_some_and(|last| at - last > RECORD) {
            self.contradictions = 0;
        }
        self.last = Some(at);
        let doublings = self.contradictions.min(8);
        self.contradictions = self.contradictions.saturating_add(1);
        self.left = (FIRST_TERM << doublings).min(LONGEST_TERM);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_double_and_an_hour_clears_the_record() {
        let mut probation = Probation::default();
        let mut at = Timestamp::from_ns(0);
        for term in [3, 6, 12, 24, 24] {
            probation.contradicted(at);
            (0..term).for_each(|_| {
                assert!(probation.running());
                probation.agreed();
            });
            assert!(!probation.running());
            at = at + Span::SECOND;
        }
        probation.contradicted(at + Span::from_secs(4000));
        assert_eq!(probation.left, FIRST_TERM);
    }
}
