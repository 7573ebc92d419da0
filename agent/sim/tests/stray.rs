//! What reports say of the system clock between them: it never strayed farther from the straight line.

use agent_sim::{SimHost, fleet};
use timebase::{Span, Timestamp, Utc};

const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
const LOOK_EVERY: Span = Span::from_millis(500);

/// Readings of both clocks, `(raw, realtime)`.
type Reading = (i64, i64);

/// Distance of a reading from the straight line between two others.
fn distance(reading: Reading, (a, b): (Reading, Reading)) -> i64 {
    let along = i128::from(reading.0 - a.0) * i128::from(b.1 - a.1) / i128::from(b.0 - a.0);
    (i128::from(reading.1 - a.1) - along).unsigned_abs() as i64
}

/// Proves, for hosts that are steered by daemons and hosts that nobody steers, some of them stepped or
/// suspended, that the clock was nowhere farther from the line between two reports than the second says,
/// and that it says less than a tenth of what a slew of 500 ppm could do, as a rule.
#[test]
fn no_clock_strays_farther_than_reported() {
    let (mut told, mut close) = (0, 0);
    for config in fleet::hosts(40, 3, Span::from_secs(10)) {
        let name = config.name.clone();
        let mut host = SimHost::new(config, START);
        let (mut reports, mut readings) = (Vec::new(), Vec::<Reading>::new());
        let mut before: Option<(agent_sim::SimReport, Reading)> = None;
        let mut now = START;
        while now < START + Span::from_secs(1_200) {
            now = now + LOOK_EVERY;
            host.advance(now, &mut reports);
            for made in reports.drain(..) {
                let this = (made.report.raw.as_ns(), made.report.realtime.as_ns());
                if let (Some((last, start)), Some(stray)) = (&before, made.report.stray) {
                    assert_eq!((last.boot, last.report.seq.0 + 1), (made.boot, made.report.seq.0));
                    assert_eq!(last.report.steps, made.report.steps);
                    told += 1;
                    close += usize::from(stray < Span::from_ns(125_000));
                    for reading in readings.iter().filter(|r| r.0 > start.0 && r.0 < this.0) {
                        let off = distance(*reading, (*start, this));
                        assert!(off <= stray.as_ns(), "{name}: {off} ns off, {stray} reported");
                    }
                }
                before = Some((made, this));
                readings.clear();
            }
            if let Some(reading) = host.clocks(now) {
                readings.push((reading.raw.as_ns(), reading.realtime.as_ns()));
            }
        }
    }
    assert!(told > 4_000, "{told}");
    assert!(close * 10 > told * 9, "{close} of {told}");
}
