use alloc::format;
use alloc::string::String;

use timebase::{Bounds, Span};

/// How the issuer of a token, or the writer of a line, rounds its timestamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Not at all: the comparison turns at the limit.
    None,
    /// Down to whole seconds, as most issuers of JSON Web Tokens do.
    #[default]
    WholeSeconds,
}

impl Rounding {
    /// The share of events hit when a clock leads by `lead` and up to `limit` is forgiven.
    ///
    /// A stamp rounded down to whole seconds is behind the issuer's clock by a phase that is uniform
    /// in [0, 1) s, and it is refused if what is left of the lead still exceeds the limit. So the share
    /// is `clamp((lead − limit) / 1 s, 0, 1)`; without rounding it is 0 or 1.
    pub fn share(self, lead: Span, limit: Span) -> f64 {
        match self {
            Self::None if lead > limit => 1.0,
            Self::None => 0.0,
            Self::WholeSeconds => ramp(lead, limit, Span::SECOND),
        }
    }

    /// The share for the least and for the greatest lead in `lead`.
    pub(crate) fn shares(self, lead: Bounds, limit: Span) -> (f64, f64) {
        (self.share(lead.lo(), limit), self.share(lead.hi(), limit))
    }
}

/// `clamp((lead − limit) / over, 0, 1)`.
pub(crate) fn ramp(lead: Span, limit: Span, over: Span) -> f64 {
    ((lead - limit).as_secs_f64() / over.as_secs_f64()).clamp(0.0, 1.0)
}

/// "all", "70 to 72 %", "up to 5 %": the share between `least` and `most`, to whole percent, never
/// rounded to none when it is some.
pub(crate) fn words((least, most): (f64, f64)) -> String {
    let percent = |share: f64| match share {
        s if s <= 0.0 => String::from("0"),
        s if s < 0.01 => String::from("1"),
        // Rounded down, so that "99 %" is said until it is all.
        s => format!("{}", (s * 100.0) as u32),
    };
    let (lo, hi) = (percent(least), percent(most));
    if least >= 1.0 {
        String::from("all")
    } else if least <= 0.0 && most >= 1.0 {
        String::from("any share")
    } else if least <= 0.0 {
        format!("up to {hi} %")
    } else if lo == hi {
        format!("about {hi} %")
    } else {
        format!("{lo} to {hi} %")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The measured rows of validators that do not forgive: refused from 0..1 s by the sub-second
    /// phase, Rust's jsonwebtoken with validate_nbf from 60..61 s, uhlc from exactly 0.5 s.
    #[test]
    fn shares_follow_the_measured_boundaries() {
        let ms = Span::from_millis;
        for (rounding, limit, lead, share) in [
            (Rounding::WholeSeconds, 0, -5, 0.0),
            (Rounding::WholeSeconds, 0, 0, 0.0),
            (Rounding::WholeSeconds, 0, 700, 0.7),
            (Rounding::WholeSeconds, 0, 1000, 1.0),
            (Rounding::WholeSeconds, 60_000, 60_000, 0.0),
            (Rounding::WholeSeconds, 60_000, 60_250, 0.25),
            (Rounding::WholeSeconds, 60_000, 61_000, 1.0),
            (Rounding::None, 500, 500, 0.0),
            (Rounding::None, 500, 501, 1.0),
        ] {
            let found = rounding.share(ms(lead), ms(limit));
            assert!((found - share).abs() < 1e-9, "{rounding:?} {limit} {lead}: {found}");
        }
    }

    /// A share is never rounded into the answer it is not.
    #[test]
    fn shares_read_well() {
        assert_eq!(words((0.7, 0.725)), "70 to 72 %");
        assert_eq!(words((0.7, 0.705)), "about 70 %");
        assert_eq!(words((0.0, 0.001)), "up to 1 %");
        assert_eq!(words((0.999, 0.9999)), "about 99 %");
        assert_eq!(words((1.0, 1.0)), "all");
        assert_eq!(words((0.0, 1.0)), "any share");
    }
}
