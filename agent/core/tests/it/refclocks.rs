//! Reference clocks among other sources.

use agent_core::{
    RefclockConfig, RefclockSample, RefclockTime, Refused, SourceId, SourceOptions, Stamp,
};
use timebase::{Leap, Ppb, SourceKind, Span, StampKind, SyncState, Timestamp, Utc, Verdict};

use crate::bench::{Bench, Server};

fn clock(kind: SourceKind) -> RefclockConfig {
    RefclockConfig {
        name: "clock".into(),
        address: "/dev/clock".into(),
        kind,
        reference_id: *b"GPS\0",
        poll_log2: 3,
        precision: Span::MICROSECOND,
        delay: Span::MILLISECOND,
        offset: Span::ZERO,
        lock: None,
        options: SourceOptions::default(),
    }
}

struct Room {
    bench: Bench,
    clock: SourceId,
}

impl Room {
    fn new(servers: Vec<Server>, kind: SourceKind) -> Self {
        let mut bench = Bench::polling(servers, 4, Ppb::from_ppm(-9));
        let now = bench.raw();
        let clock = bench.engine.add_refclock(now, clock(kind));
        Self { bench, clock }
    }

    /// A second passes, with a sample `late` in it of a clock that is `error` ahead.
    fn second(&mut self, error: Span, late: Span, pulse: bool) -> Result<(), Refused> {
        let past = Span::from_ns(self.bench.now.as_ns().rem_euclid(1_000_000_000));
        self.bench.run(Span::SECOND - past + late);
        let truth = Timestamp::<Utc>::from_ns(self.bench.now.as_ns());
        let raw = self.bench.raw();
        let time =
            if pulse { RefclockTime::Pulse } else { RefclockTime::Utc(truth + error - late) };
        let at = Stamp::exact(raw, StampKind::Kernel);
        let sample = RefclockSample { at, time, uncertainty: Span::ZERO, leap: Leap::None };
        self.bench.engine.handle_refclock(raw, self.clock, &sample)
    }

    fn verdict(&mut self) -> Verdict {
        self.bench.report().sources[usize::from(self.clock.0)].verdict
    }
}

/// Proves that a reference clock alone gives a window with the truth, and how it shows in reports.
#[test]
fn a_clock_is_a_source() {
    let mut room = Room::new(vec![], SourceKind::Sock);
    for i in 0..100 {
        // Every eighth message is read far too late.
        let late = Span::from_millis(if i % 8 == 0 { 300 } else { 0 });
        room.second(Span::from_ns(300_000), late, false).unwrap();
    }
    let report = room.bench.report();
    let bounds = report.bounds.unwrap();
    assert!(bounds.contains(Span::ZERO) && bounds.width() < Span::from_millis(3), "{bounds}");
    assert_eq!(report.state, SyncState::Synchronised);
    let source = &report.sources[0];
    assert_eq!(
        (source.kind, source.stratum, source.reference_id),
        (SourceKind::Sock, 0, 0x4750_5300)
    );
    assert_eq!((source.verdict, source.reach, source.poll_log2), (Verdict::Selected, 0xff, 3));
    assert_eq!(source.address, "/dev/clock");
    assert!(report.frequency.is_some());
}

/// Proves that a clock which is wrong is outvoted like any other source, and that one which falls silent
/// becomes unreachable.
#[test]
fn a_wrong_clock_is_outvoted_and_a_silent_one_lost() {
    let mut room = Room::new(vec![Server::default(), Server::default()], SourceKind::Shm);
    for _ in 0..60 {
        room.second(Span::from_millis(50), Span::ZERO, false).unwrap();
    }
    assert_eq!(room.verdict(), Verdict::Falseticker);
    for _ in 0..30 {
        room.second(Span::ZERO, Span::ZERO, false).unwrap();
    }
    room.bench.run(Span::from_secs(60));
    assert!(room.verdict().takes_part());
    room.bench.run(Span::from_secs(60));
    assert_eq!(room.verdict(), Verdict::Unreachable);
}

/// Proves that a pulse alone gives no window, however long it beats.
#[test]
fn a_pulse_alone_gives_no_window() {
    let mut room = Room::new(vec![], SourceKind::Pps);
    for _ in 0..100 {
        assert_eq!(room.second(Span::ZERO, Span::ZERO, true), Err(Refused::Unnumbered));
    }
    let report = room.bench.report();
    assert_eq!(report.bounds, None);
    assert!(!report.sources[0].verdict.takes_part());
    assert_eq!(report.sources[0].refused, 100);
}

/// Proves that a pulse numbered by a server narrows its window, and holds it when that is gone.
#[test]
fn a_pulse_narrows_what_numbers_it() {
    let far =
        Server { out: Span::from_millis(20), back: Span::from_millis(35), ..Server::default() };
    let mut room = Room::new(vec![far], SourceKind::Pps);
    for _ in 0..60 {
        let _ = room.second(Span::ZERO, Span::ZERO, true);
    }
    let bounds = room.bench.report().bounds.unwrap();
    assert!(bounds.contains(Span::ZERO) && bounds.width() < Span::from_millis(3), "{bounds}");
    assert_eq!(room.verdict(), Verdict::Selected);
    room.bench.servers.iter_mut().for_each(|server| server.alive = false);
    for _ in 0..3_000 {
        room.second(Span::ZERO, Span::ZERO, true).unwrap();
    }
    let bounds = room.bench.report().bounds.unwrap();
    assert!(bounds.contains(Span::ZERO) && bounds.width() < Span::from_millis(3), "{bounds}");
}

/// Proves that a pulse which does not mark the second is a falseticker.
#[test]
fn a_pulse_beside_the_second_is_found_out() {
    let mut room = Room::new(vec![Server::default(), Server::default()], SourceKind::Pps);
    for _ in 0..60 {
        let _ = room.second(Span::ZERO, Span::from_millis(200), true);
    }
    assert_eq!(room.verdict(), Verdict::Falseticker);
}
