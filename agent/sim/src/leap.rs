use timebase::{SmearState, Span};

/// A leap second of the simulated world: at `after`, UTC repeats (`inserted`) or skips one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leap {
    /// When, after the host's first boot.
    pub after: Span,
    /// Whether a second is inserted; else one is deleted.
    pub inserted: bool,
}

/// Length of the smears that chrony recommends and fbclock uses.
const SMEAR_S: f64 = 62_500.0;
/// Length of the public smears, noon to noon.
const DAY_S: f64 = 86_400.0;

impl Leap {
    /// What has to be added to the time that never leaps to get UTC, `since` after the first boot.
    pub fn correction(self, since: Span) -> Span {
        match (since < self.after, self.inserted) {
            (true, _) => Span::ZERO,
            (false, true) => -Span::SECOND,
            (false, false) => Span::SECOND,
        }
    }

    /// A smearing clock less UTC, `since` after the first boot.
    pub fn smear_error(self, shape: SmearState, since: Span) -> Span {
        let age = (since - self.after).as_secs_f64();
        // How much of the second the smear has worked in.
        let done = match shape {
            SmearState::None => return Span::ZERO,
            SmearState::Linear => (age / SMEAR_S).clamp(0.0, 1.0),
            SmearState::Linear24h => (age / DAY_S + 0.5).clamp(0.0, 1.0),
            SmearState::Quadratic => {
                let x = (age / SMEAR_S).clamp(0.0, 1.0);
                if x < 0.5 { 2.0 * x * x } else { 1.0 - 2.0 * (1.0 - x) * (1.0 - x) }
            }
        };
        let second = if self.inserted { -1.0 } else { 1.0 };
        Span::from_secs_f64(second * done) - self.correction(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every smear begins and ends at UTC, is never further off than a second, and the two shapes of
    /// 62,500 s differ by an eighth of a second at the quarter points.
    #[test]
    fn smears_begin_and_end_at_utc() {
        let leap = Leap { after: Span::from_secs(100_000), inserted: true };
        for shape in SmearState::ALL {
            let error = |s| leap.smear_error(shape, Span::from_secs(s));
            assert_eq!((error(0), error(200_000)), (Span::ZERO, Span::ZERO), "{shape:?}");
            assert!((0..2000).all(|k| error(k * 100).abs() <= Span::SECOND), "{shape:?}");
        }
        let quarter = Span::from_secs(100_000 + 15_625);
        let apart = leap.smear_error(SmearState::Quadratic, quarter)
            - leap.smear_error(SmearState::Linear, quarter);
        assert_eq!(apart, Span::from_millis(125));
    }
}
