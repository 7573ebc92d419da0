//! Shares of a whole, and stretches of the past, as coordinates of drawings.

/// Width of a drawing in its own units; its height is the template's.
const WIDTH: f64 = 1000.0;
/// What is there at all is drawn this wide, or nobody would see it.
const LEAST: f64 = 3.0;

/// A piece of a bar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    /// Its colour, by class.
    pub(crate) class: String,
    pub(crate) x: f64,
    pub(crate) width: f64,
    /// What it is and how much, on hover.
    pub(crate) title: String,
}

/// Shares one after another, with a mark where the room ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) shares: Vec<Share>,
    /// Where the room ends, if it is known.
    pub(crate) end: Option<f64>,
    /// Width of what lies beyond it.
    pub(crate) beyond: f64,
}

impl Bar {
    /// Shares as (class, title, bytes) on an axis from 0 to `axis` bytes.
    pub(crate) fn new(shares: &[(String, String, i64)], room: Option<u64>, axis: f64) -> Self {
        let scale = WIDTH / axis.max(1.0);
        let mut x = 0.0;
        let mut drawn = Vec::new();
        for (class, title, bytes) in shares.iter().filter(|share| share.2 > 0) {
            let width = (*bytes as f64 * scale).max(LEAST).min(WIDTH - x);
            drawn.push(Share {
                class: class.clone(),
                x: tenths(x),
                width: tenths(width),
                title: title.clone(),
            });
            x += width;
        }
        let end = room.map(|room| tenths(room as f64 * scale));
        let beyond = end.map_or(0.0, |end| tenths((x - end).max(0.0)));
        Self { shares: drawn, end, beyond }
    }
}

/// A stretch of the past on a logarithmic axis of age, newest at the right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Age {
    pub(crate) x: f64,
    pub(crate) width: f64,
}

impl Age {
    /// Ages that are marked on the axis: a month, a day, an hour.
    pub(crate) const MARKS: [f64; 3] = [30.0 * 86_400.0, 86_400.0, 3_600.0];
    const NEWEST_S: f64 = 60.0;
    const OLDEST_S: f64 = 10.0 * 365.0 * 86_400.0;

    /// From one age to another, seconds.
    pub(crate) fn between(oldest_s: f64, newest_s: f64) -> Self {
        let (from, to) = (Self::place(oldest_s), Self::place(newest_s));
        let width = (to - from).max(LEAST);
        let x = from.min(WIDTH - width);
        Self { x: tenths(x), width: tenths(width) }
    }

    /// Where an age is.
    pub(crate) fn place(age_s: f64) -> f64 {
        let age = age_s.clamp(Self::NEWEST_S, Self::OLDEST_S);
        let share = (age / Self::NEWEST_S).ln() / (Self::OLDEST_S / Self::NEWEST_S).ln();
        tenths(WIDTH * (1.0 - share))
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(bytes: &[i64]) -> Vec<(String, String, i64)> {
        bytes.iter().map(|bytes| (String::new(), String::new(), *bytes)).collect()
    }

    /// Proves that shares lie side by side in proportion, that a small one is seen, that what is not there is not
    /// drawn, and that what does not fit is told.
    #[test]
    fn shares_of_the_room() {
        let fits = Bar::new(&shares(&[500, 0, 250]), Some(1_000), 1_000.0);
        let places: Vec<_> = fits.shares.iter().map(|share| (share.x, share.width)).collect();
        assert_eq!(places, [(0.0, 500.0), (500.0, 250.0)]);
        assert_eq!((fits.end, fits.beyond), (Some(1_000.0), 0.0));
        let beyond = Bar::new(&shares(&[1_500, 500]), Some(1_000), 2_000.0);
        assert_eq!((beyond.end, beyond.beyond), (Some(500.0), 500.0));
        let small = Bar::new(&shares(&[1]), None, 1e12);
        assert_eq!((small.shares[0].width, small.end, small.beyond), (LEAST, None, 0.0));
    }

    /// Proves that time runs left to right, and that nothing leaves the drawing.
    #[test]
    fn ages_run_to_the_right() {
        let (hours, days) = (Age::between(7_200.0, 0.0), Age::between(30.0 * 86_400.0, 7_200.0));
        assert_eq!(hours.x + hours.width, WIDTH);
        assert!(
            days.x < hours.x && (days.x + days.width - hours.x).abs() < 0.2,
            "{days:?} {hours:?}"
        );
        assert_eq!(Age::between(1e12, 1e12).x, 0.0);
        assert!(Age::between(0.0, 0.0).x >= 0.0 && Age::between(0.0, 0.0).x < WIDTH);
        assert!(Age::MARKS.iter().map(|age| Age::place(*age)).is_sorted());
    }
}
