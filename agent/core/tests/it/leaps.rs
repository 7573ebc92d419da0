//! Leap seconds: servers that leap, that do not, that do so early or late, and that smear.

use timebase::{
    Bounds, Leap, LeapSecond, LeapTable, Ppb, Report, SmearState, Span, Timestamp, Unusable, Utc,
    Verdict,
};

use crate::bench::{Bench, Leaping, START, Server};

/// 2026-12-01T00:00:00Z, the end of the month in which the bench begins.
const MIDNIGHT: Timestamp<Utc> = Timestamp::from_ns(1_796_083_200_000_000_000);

fn hours(hours: i64) -> Span {
    Span::from_secs(hours * 3600)
}

fn leap(insert: bool) -> LeapSecond {
    LeapSecond { at: MIDNIGHT, insert }
}

fn steps(insert: bool) -> Leaping {
    Leaping { leap: leap(insert), smear: SmearState::None, late: Span::ZERO, announces: true }
}

fn smears(smear: SmearState) -> Leaping {
    Leaping { smear, announces: false, ..steps(true) }
}

fn table(insert: bool) -> LeapTable {
    let second =
        if insert { "Leap 2026 Nov 30 23:59:60 + S" } else { "Leap 2026 Nov 30 23:59:59 - S" };
    LeapTable::parse(&format!("Leap 2016 Dec 31 23:59:60 + S\n{second}\n#expires 1830000000\n"))
        .expect("a table")
}

/// A host and servers that never leaps itself, `before` the leap second.
struct Night {
    bench: Bench,
    shift: Span,
    insert: bool,
}

impl Night {
    fn new(leapings: &[Option<Leaping>], before: Span, insert: bool) -> Self {
        let shift = MIDNIGHT - START - before;
        let servers = leapings.iter().map(|leaping| Server {
            error: shift,
            leaping: *leaping,
            ..Server::default()
        });
        let mut bench = Bench::polling(servers.collect(), 5, Ppb::from_ppm(3));
        bench.host_error = shift;
        Self { bench, shift, insert }
    }

    fn with_table(mut self) -> Self {
        self.bench.engine.handle_leap_table(self.bench.raw(), table(self.insert));
        self
    }

    /// Time since the leap second began, or would have.
    fn since(&self) -> Span {
        let happens = if self.insert { MIDNIGHT } else { MIDNIGHT - Span::SECOND };
        self.bench.now + self.shift - happens
    }

    /// Runs until `since` the leap second, and checks at every step that no window excludes the truth.
    fn run_until(&mut self, since: Span, every: Span) -> (Report, usize) {
        let mut windows = 0;
        loop {
            let left = since - self.since();
            self.bench.run(left.min(every));
            let report = self.bench.report();
            if let Some(bounds) = report.bounds {
                windows += 1;
                for error in self.errors() {
                    assert!(bounds.contains(error), "{bounds} not {error} at {}", self.since());
                }
            }
            if left <= every {
                return (report, windows);
            }
        }
    }

    /// The error of a host clock that did not leap; two within the leap second, by convention.
    fn errors(&self) -> Vec<Span> {
        let step = leap(self.insert).step();
        let since = self.since();
        if since < Span::ZERO {
            vec![Span::ZERO]
        } else if since <= Span::SECOND {
            vec![Span::ZERO, step]
        } else {
            vec![step]
        }
    }
}

fn narrow(report: &Report) -> Bounds {
    let bounds = report.bounds.expect("a window");
    assert!(bounds.width() < Span::from_millis(20), "{bounds}");
    bounds
}

/// Proves that a leap second that the servers announce is crossed without a wrong window, an unhappy
/// source or a lasting doubt, inserted or deleted.
#[test]
fn announced_leap_seconds_are_crossed() {
    for insert in [true, false] {
        let mut night = Night::new(&[Some(steps(insert)); 4], hours(2), insert);
        let (report, _) = night.run_until(-Span::from_secs(60), Span::from_secs(30));
        assert_eq!(report.leap, leap(insert).warning());
        assert_eq!(report.tai_offset_s, None);
        narrow(&report);
        let (_, windows) = night.run_until(Span::from_secs(10), Span::from_millis(250));
        assert!(windows > 250, "{windows} windows around the leap second");
        let (report, _) = night.run_until(Span::from_secs(600), Span::from_secs(5));
        narrow(&report);
        assert_eq!(report.leap, Leap::None);
        assert!(report.sources.iter().all(|source| source.verdict.takes_part()), "{report:?}");
    }
}

/// Proves that with the table the leap second leaves no doubt at all once it is over.
#[test]
fn the_table_leaves_no_doubt() {
    for insert in [true, false] {
        let mut night = Night::new(&[Some(steps(insert)); 3], hours(1), insert).with_table();
        let (report, _) = night.run_until(-Span::from_secs(60), Span::from_secs(30));
        assert_eq!((report.leap, report.tai_offset_s), (leap(insert).warning(), Some(11)));
        let (report, _) = night.run_until(Span::from_millis(1_500), Span::from_millis(100));
        narrow(&report);
        assert!(report.statistical.is_some());
        assert_eq!(report.tai_offset_s, Some(if insert { 12 } else { 10 }));
        let (report, _) = night.run_until(Span::from_secs(300), Span::from_secs(5));
        assert!(report.sources.iter().all(|source| source.verdict.takes_part()), "{report:?}");
    }
}

/// Proves that servers which leap a moment early or late are not blamed, and that one which never leaps
/// is a falseticker afterwards.
#[test]
fn late_leapers_are_forgiven_and_deserters_named() {
    for with_table in [true, false] {
        let late = |ms| Some(Leaping { late: Span::from_millis(ms), ..steps(true) });
        let leapings = [late(-3_000), late(0), late(2_500), late(100_000_000)];
        let mut night = Night::new(&leapings, hours(1), true);
        if with_table {
            night = night.with_table();
        }
        night.run_until(-Span::from_secs(20), Span::from_secs(20));
        night.run_until(Span::from_secs(20), Span::from_millis(200));
        let (report, _) = night.run_until(Span::from_secs(900), Span::from_secs(5));
        let verdicts: Vec<_> = report.sources.iter().map(|source| source.verdict).collect();
        assert!(verdicts[..3].iter().all(|verdict| verdict.takes_part()), "{verdicts:?}");
        assert_eq!(verdicts[3], Verdict::Falseticker);
        narrow(&report);
    }
}

/// Proves that a leap second which is announced and does not come is taken back.
#[test]
fn a_leap_second_that_does_not_come_is_taken_back() {
    let false_alarm = Leaping { late: hours(1_000), ..steps(true) };
    let mut night = Night::new(&[Some(false_alarm); 3], hours(1), true);
    night.run_until(-Span::from_secs(5), Span::from_secs(20));
    night.bench.run(Span::from_secs(605));
    let report = night.bench.report();
    assert!(narrow(&report).contains(Span::ZERO));
    assert!(report.sources.iter().all(|source| source.verdict.takes_part()));
}

/// Proves that a minority that smears is found, named and left out, whatever its shape, with a table or
/// by the others' announcements alone, and is back in the window when the smear is over.
#[test]
fn a_smearing_minority_is_left_out() {
    let shapes = [SmearState::Linear24h, SmearState::Linear, SmearState::Quadratic];
    for (smear, with_table) in shapes.into_iter().flat_map(|smear| [(smear, true), (smear, false)])
    {
        let stepping = Some(steps(true));
        let leapings = [stepping, stepping, stepping, Some(smears(smear))];
        let mut night = Night::new(&leapings, hours(13), true);
        if with_table {
            night = night.with_table();
        }
        let (report, _) = night.run_until(hours(3), Span::from_secs(120));
        narrow(&report);
        assert_eq!(report.smear, SmearState::None);
        assert_eq!(report.sources[3].verdict, Verdict::Unusable(Unusable::Smear), "{smear:?}");
        assert_eq!(report.sources[3].smear, smear);
        let (report, _) = night.run_until(hours(19), Span::from_secs(120));
        assert!(report.sources[3].verdict.takes_part(), "{smear:?}");
    }
}

/// Proves that a majority that smears carries the window, corrected and declared, without the minority
/// that steps.
#[test]
fn a_smearing_majority_carries_the_window() {
    for smear in [SmearState::Linear24h, SmearState::Linear, SmearState::Quadratic] {
        let smearing = Some(smears(smear));
        let mut night =
            Night::new(&[smearing, smearing, smearing, Some(steps(true))], hours(13), true)
                .with_table();
        let (report, _) = night.run_until(hours(4), Span::from_secs(120));
        narrow(&report);
        assert_eq!(report.smear, smear);
        assert_eq!(report.sources[3].verdict, Verdict::Unusable(Unusable::Smear), "{smear:?}");
        let (report, _) = night.run_until(hours(18), Span::from_secs(120));
        narrow(&report);
        assert_eq!(report.smear, SmearState::None);
        assert!(report.sources.iter().all(|source| source.verdict.takes_part()));
    }
}

/// Proves that where every source smears, the window is wide while the shape is open, and narrow and
/// declared once it is known or configured.
#[test]
fn where_all_smear_the_shape_is_found() {
    for smear in [SmearState::Linear24h, SmearState::Linear, SmearState::Quadratic] {
        let mut night = Night::new(&[Some(smears(smear)); 3], hours(13), true).with_table();
        let (report, _) = night.run_until(hours(8), Span::from_secs(120));
        narrow(&report);
        assert_eq!(report.smear, smear);
        let (report, _) = night.run_until(hours(18), Span::from_secs(120));
        narrow(&report);
    }
    let mut night =
        Night::new(&[Some(smears(SmearState::Linear24h)); 3], hours(13), true).with_table();
    for i in 0..3 {
        night.bench.engine.set_smear(agent_core::SourceId(i), Some(SmearState::Linear24h));
    }
    let (report, _) = night.run_until(-hours(6), Span::from_secs(120));
    narrow(&report);
    assert_eq!(report.smear, SmearState::Linear24h);
}

/// Proves that a table which is valid overrules what servers announce, and one that has expired does not.
#[test]
fn a_valid_table_overrules_announcements() {
    for (expires, warning) in [(1_830_000_000, Leap::None), (1_796_000_000, Leap::Insert)] {
        let false_alarm = Leaping { late: hours(1_000), ..steps(true) };
        let quiet = Leaping { announces: false, ..false_alarm };
        let leapings = [Some(false_alarm), Some(false_alarm), Some(quiet)];
        let mut night = Night::new(&leapings, hours(2), true);
        night.bench.run(Span::from_secs(600));
        assert_eq!(night.bench.report().leap, Leap::Insert);
        let text = format!("Leap 2016 Dec 31 23:59:60 + S\n#expires {expires}\n");
        let table = LeapTable::parse(&text).expect("a table");
        night.bench.engine.handle_leap_table(night.bench.raw(), table);
        let (report, _) = night.run_until(-Span::from_secs(60), Span::from_secs(30));
        assert_eq!(report.leap, warning);
        night.bench.servers.iter_mut().for_each(|server| server.alive = false);
        night.bench.run(hours(2));
        let bounds = night.bench.report().bounds.expect("a window");
        assert!(bounds.contains(Span::ZERO), "{bounds}");
        assert_eq!(bounds.contains(Span::SECOND), warning == Leap::Insert, "{bounds}");
    }
}

/// Proves that a doubt about a leap second lasts until a server is heard, and that the first ones to be
/// heard settle it, whether it came or not.
#[test]
fn a_doubt_lasts_until_somebody_answers() {
    for silence in [hours(3), hours(8)] {
        for comes in [true, false] {
            let late = if comes { Span::ZERO } else { hours(1_000) };
            let mut night = Night::new(&[Some(Leaping { late, ..steps(true) }); 3], hours(6), true);
            night.run_until(-Span::from_secs(60), Span::from_secs(60));
            night.bench.servers.iter_mut().for_each(|server| server.alive = false);
            night.bench.run(silence);
            let bounds = night.bench.report().bounds.expect("a window");
            assert!(bounds.contains(Span::ZERO) && bounds.contains(Span::SECOND), "{bounds}");
            night.bench.servers.iter_mut().for_each(|server| server.alive = true);
            night.bench.run(Span::from_secs(300));
            let report = night.bench.report();
            let truth = if comes { Span::SECOND } else { Span::ZERO };
            assert!(narrow(&report).contains(truth), "{silence} {comes}: {:?}", report.bounds);
            assert!(report.sources.iter().all(|source| source.verdict.takes_part()));
        }
    }
}

/// Proves that servers which are heard so late that their former answers cannot tell any more are
/// believed anew after a while, and that no window on the way leaves the truth out.
#[test]
fn a_doubt_that_cannot_be_settled_ends_with_a_new_beginning() {
    for silence in [hours(30), hours(24 * 60)] {
        let mut night = Night::new(&[Some(steps(true)); 3], hours(6), true);
        night.run_until(-Span::from_secs(60), Span::from_secs(60));
        night.bench.servers.iter_mut().for_each(|server| server.alive = false);
        night.run_until(silence, hours(12));
        night.bench.servers.iter_mut().for_each(|server| server.alive = true);
        let (report, _) = night.run_until(silence + hours(3), Span::from_secs(10));
        narrow(&report);
        assert!(report.sources.iter().all(|source| source.verdict.takes_part()));
    }
}
