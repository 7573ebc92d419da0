//! The system clock and the host: steps, sleep, starts, the estimate.

use agent_core::{Refused, Stamp};
use timebase::{EventKind, Ppb, Span, StampKind, SyncState};

use crate::bench::{Bench, Server};

#[test]
fn a_step_is_in_the_window_at_once_and_without_a_packet() {
    // Proves that the raw anchor makes a step visible at the next reading, as an event, as a state for
    // one report, and in the bounds.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.run(Span::from_secs(60));
    bench.report();
    assert!(!bench.engine.wants_report());
    let asked = bench.requests.clone();
    bench.host_error = Span::from_millis(700);
    bench.run(Span::from_millis(1));
    assert!(bench.engine.wants_report());
    let report = bench.report();
    assert_eq!(bench.requests, asked, "no packet was needed");
    assert_eq!(report.state, SyncState::Stepped);
    assert_eq!(report.steps, 1);
    let bounds = report.bounds.unwrap();
    assert!(bounds.contains(Span::from_millis(700)) && !bounds.contains(Span::from_millis(690)));
    let step = bench.events.iter().find_map(|kind| match kind {
        EventKind::Step { by } => Some(*by),
        _ => None,
    });
    assert!((step.unwrap() - Span::from_millis(700)).abs() < Span::from_ns(10_000), "{step:?}");
    let next = bench.report();
    assert_eq!((next.state, next.steps), (SyncState::Synchronised, 1));
}

#[test]
fn a_step_that_is_announced_counts_however_small_it_is() {
    // Proves that what the kernel tells begins a clock epoch, also where a slew could have done as much, right
    // before a fast slew, and right after a sleep; that it is told with its size if that is known; and
    // that nothing is said of how the clock strayed across it.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.run(Span::from_secs(60));
    bench.report();
    let by = Span::from_millis(-5);
    for (n, by) in [Some(by), None].into_iter().enumerate() {
        bench.run(Span::from_secs(9));
        bench.set_clock(by.unwrap_or(Span::from_ns(40)), by);
        let report = bench.report();
        assert_eq!((report.steps, report.stray), (n as u32 + 1, None));
        assert_eq!(report.state == SyncState::Stepped, by.is_some());
        assert!(report.bounds.unwrap().contains(bench.host_error));
    }
    // A slew of 2 % goes on from there, and is none.
    for _ in 0..5 {
        bench.host_error += Span::from_millis(20);
        bench.run(Span::SECOND);
    }
    assert_eq!(bench.report().steps, 2);
    bench.sleep(Span::from_secs(60));
    bench.set_clock(by, Some(by));
    assert_eq!(bench.report().steps, 4);
    let told = bench.events.iter().filter(|kind| **kind == EventKind::Step { by }).count();
    let steps = bench.events.iter().filter(|kind| matches!(kind, EventKind::Step { .. })).count();
    assert_eq!((told, steps), (2, 2), "{:?}", bench.events);
}

#[test]
fn after_a_suspend_nothing_old_is_believed() {
    // Proves that the jump of UTC against the raw clock during sleep does not leave a false window.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.run(Span::from_secs(60));
    let slept = Span::from_secs(3600);
    bench.sleep(slept);
    let clock = bench.clock();
    let report =
        bench.engine.status(clock, timebase::KernelClock::default(), timebase::Discipliner::None);
    assert_eq!((report.bounds, report.state), (None, SyncState::Starting));
    assert_eq!(report.steps, 1, "on waking the clock was set: another epoch");
    bench.run(Span::from_secs(5));
    let report = bench.report();
    assert_eq!(report.state, SyncState::Synchronised);
    assert!(report.bounds.unwrap().contains(Span::ZERO));
    assert!(bench.events.contains(&EventKind::Suspended { lasted: slept }));
}

#[test]
fn a_request_that_was_out_during_a_suspend_is_not_measured() {
    // Proves that an answer of before the sleep, read after it, makes no window: the raw clock did not
    // count the time between, so the exchange looks short. The next request is measured as ever.
    let mut bench = Bench::new(vec![Server::default()]);
    bench.run(Span::from_secs(60));
    let (source, token, request) = bench.intercept();
    let sent = Stamp::exact(bench.raw(), StampKind::Kernel);
    let answer = bench.answer(source, &request).encode();
    bench.engine.handle_sent(token, sent);
    bench.sleep(Span::from_secs(3600));
    assert_eq!(bench.deliver(source, &answer), Err(Refused::Unexpected));
    assert_eq!(bench.report().bounds, None);
    bench.run(Span::from_secs(5));
    assert!(bench.report().bounds.unwrap().contains(Span::ZERO));
}

#[test]
fn the_rate_of_the_oscillator_and_the_offset_are_estimated_within_their_sigmas() {
    // Proves that the estimates are near the truth by their own account of themselves.
    for ppm in [-30, 0, 21] {
        let rate = Ppb::from_ppm(ppm);
        let mut bench = Bench::polling(vec![Server::default(); 3], 4, rate);
        bench.host_error = Span::from_millis(-2);
        bench.run(Span::from_secs(1800));
        let report = bench.report();
        let (found, sigma) = (report.frequency.unwrap(), report.frequency_sigma.unwrap());
        assert!((found.as_ppb() - rate.as_ppb()).abs() <= 3 * sigma.as_ppb(), "{found} {sigma}");
        let statistical = report.statistical.unwrap();
        assert!(statistical.window().contains(Span::from_millis(-2)), "{statistical:?}");
        assert!(statistical.sigma < Span::from_millis(1), "{statistical:?}");
    }
}

#[test]
fn before_any_answer_the_host_is_starting_then_free_running() {
    // Proves that no source means no window, said plainly.
    let mut bench = Bench::new(vec![]);
    assert_eq!(bench.report().state, SyncState::Starting);
    bench.run(Span::from_secs(120));
    let report = bench.report();
    assert_eq!((report.state, report.bounds), (SyncState::FreeRunning, None));
}

#[test]
fn a_restarted_agent_goes_on_counting_steps() {
    // Proves that steps are counted from where a former run ended, that the clock epochs of two runs are
    // not the same, and that a step between them is reported like any other.
    let mut bench = Bench::new(vec![]);
    bench.engine.resume(bench.clock(), 4, None);
    let report = bench.report();
    assert_eq!((report.state, report.steps), (SyncState::Starting, 5));
    assert_eq!(bench.events, []);
    let mut bench = Bench::new(vec![]);
    let by = Span::from_millis(-700);
    bench.engine.resume(bench.clock(), 4, Some(by));
    let report = bench.report();
    assert_eq!((report.state, report.steps), (SyncState::Stepped, 5));
    assert_eq!(bench.events, [EventKind::Step { by }]);
}

#[test]
fn starts_and_lost_reports_are_events_of_the_next_report_only() {
    // Proves that events are drained exactly once, and that status does not drain them.
    let mut bench = Bench::new(vec![]);
    let clock = bench.clock();
    bench.engine.handle_started(clock, true);
    bench.engine.handle_dropped_reports(clock, 7);
    let kernel = timebase::KernelClock::default();
    let status = bench.engine.status(clock, kernel, timebase::Discipliner::None);
    assert_eq!(status.events.len(), 2);
    assert_eq!(bench.report().events.len(), 2);
    assert_eq!(bench.report().events, []);
    for _ in 0..1000 {
        bench.engine.handle_dropped_reports(clock, 1);
    }
    assert_eq!(bench.report().events.len(), agent_core::MAX_EVENTS);
    assert_eq!(bench.engine.events_lost(), 1000 - agent_core::MAX_EVENTS as u64);
}
