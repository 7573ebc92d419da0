//! Servers that are wrong, dead or unwilling.

use timebase::{Answer, EventKind, Leap, Ppb, Report, Span, SyncState, Unusable, Verdict};

use crate::bench::{Bench, Server};

const BUDGET: Span = Span::from_millis(100);

#[test]
fn three_good_servers_outvote_one_that_is_80_ms_off_and_name_it() {
    // Proves that a falseticker is named and has no part in the window.
    let mut bench = Bench::new(vec![
        Server::default(),
        Server::off(Span::from_millis(80)),
        Server::default(),
        Server::default(),
    ]);
    bench.run(Span::from_secs(10));
    for _ in 0..20 {
        let report = bench.report();
        assert_eq!(report.sources[1].verdict, Verdict::Falseticker);
        assert!(report.sources.iter().filter(|s| s.verdict.takes_part()).count() == 3);
        let bounds = report.bounds.unwrap();
        assert!(bounds.contains(Span::ZERO) && bounds.width() < Span::from_millis(8), "{bounds}");
        assert_eq!(report.state, SyncState::Synchronised);
        bench.run(Span::from_secs(30));
    }
    let named = |kind: &EventKind| matches!(kind, EventKind::SourceChanged { source, to: Verdict::Falseticker, .. } if source == "server-1");
    assert_eq!(bench.events.iter().filter(|kind| named(kind)).count(), 1);
}

#[test]
fn the_only_server_being_3_s_off_is_certain_and_its_cure_is_seen_within_two_reports() {
    // Proves that a wrong sole source shows as a certain drift, and that curing it is believed quickly.
    let mut bench = Bench::polling(vec![Server::off(Span::from_secs(-3))], 2, Ppb::from_ppm(-7));
    bench.run(Span::from_secs(20));
    let report = bench.report();
    assert_eq!(report.bounds.map(|b| b.beyond(BUDGET)), Some(Answer::Certain));
    assert!(report.bounds.unwrap().contains(Span::from_secs(3)));
    bench.servers[0].error = Span::ZERO;
    bench.run(Span::from_secs(20));
    let report = bench.report();
    assert_eq!(report.bounds.map(|b| b.beyond(BUDGET)), Some(Answer::Safe));
    assert_eq!(report.sources[0].verdict, Verdict::Selected);
}

#[test]
fn two_clocks_behind_one_address_are_not_believed() {
    // Proves that a source which goes on contradicting itself loses its vote for good.
    let mut bench = Bench::polling(vec![Server::default(); 3], 2, Ppb::from_ppm(3));
    let mut believed = 0;
    for i in 0..400 {
        let error = if i % 2 == 0 { Span::ZERO } else { Span::from_millis(40) };
        bench.servers[0].error = error;
        bench.run(Span::from_secs(6));
        let report = bench.report();
        assert!(report.bounds.unwrap().contains(Span::ZERO));
        believed += u32::from(report.sources[0].verdict.takes_part());
    }
    assert!(believed < 20, "believed {believed} times of 400");
    assert_eq!(bench.verdicts()[0], Verdict::Unusable(Unusable::Contradictory));
}

#[test]
fn two_servers_that_disagree_give_no_window_rather_than_a_wrong_one() {
    // Proves that without a majority nothing is claimed.
    let mut bench = Bench::new(vec![Server::default(), Server::off(Span::from_millis(80))]);
    bench.run(Span::from_secs(90));
    let report = bench.report();
    assert_eq!(report.bounds, None);
    assert_eq!(report.statistical, None);
    assert_eq!(report.state, SyncState::FreeRunning);
    for source in &report.sources {
        assert_eq!(source.verdict, Verdict::Unusable(Unusable::NoMajority));
        assert!(source.bounds.is_some(), "what each says alone is still shown");
    }
}

#[test]
fn when_all_servers_die_the_window_grows_as_was_learned_and_stays_true() {
    // Proves holdover: unreachable is noticed, the window widens by the measured rate's interval, ever
    // faster but far slower than the ceiling, and at last the host counts as free-running.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.run(Span::from_secs(60));
    assert_eq!(bench.report().state, SyncState::Synchronised);
    bench.servers.iter_mut().for_each(|server| server.alive = false);
    bench.run(Span::from_secs(300));
    let early = bench.report();
    assert_eq!(early.state, SyncState::Holdover);
    assert!(early.sources.iter().all(|s| s.verdict == Verdict::Unreachable && s.reach == 0));
    bench.run(Span::from_secs(1000));
    let late = bench.report();
    assert!(late.bounds.unwrap().contains(Span::ZERO));
    let grown = late.bounds.unwrap().width() - early.bounds.unwrap().width();
    let rates = |report: &Report| report.rate.over(Span::from_secs(1000)).width();
    assert!(rates(&early) <= grown && grown <= rates(&late).times(2), "{grown}");
    assert!(rates(&late) < Ppb::from_ppm(20).over(Span::from_secs(1000)), "{}", late.rate);
    assert_eq!(late.state, SyncState::Holdover);
    bench.run(Span::from_secs(100_000));
    assert_eq!(bench.report().state, SyncState::FreeRunning);
    bench.servers.iter_mut().for_each(|server| server.alive = true);
    bench.run(Span::from_secs(70));
    assert_eq!(bench.report().state, SyncState::Synchronised);
}

#[test]
fn one_dead_server_beside_three_is_unreachable_and_nothing_else_changes() {
    // Proves that a dead source costs its own verdict only.
    let mut servers = vec![Server::default(); 4];
    servers[2].alive = false;
    let mut bench = Bench::new(servers);
    bench.run(Span::from_secs(600));
    let report = bench.report();
    assert_eq!(report.sources[2].verdict, Verdict::Unreachable);
    assert_eq!(report.sources[2].accepted, 0);
    assert_eq!(report.state, SyncState::Synchronised);
}

#[test]
fn names_that_cannot_be_looked_up_do_not_hold_back_the_one_that_can() {
    // Proves that dead names lose their vote like dead servers do.
    let mut servers = vec![Server::default(), Server::default(), Server::default()];
    (servers[1].named, servers[2].named) = (false, false);
    let mut bench = Bench::new(servers);
    bench.run(Span::from_secs(130));
    let report = bench.report();
    assert_eq!(report.state, SyncState::Synchronised);
    assert!(report.bounds.unwrap().contains(Span::ZERO));
    assert_eq!(report.sources[1].verdict, Verdict::Unusable(Unusable::NoAnswerYet));
}

#[test]
fn a_liar_that_answers_first_is_not_believed_before_the_others_were_heard() {
    // Proves that after a start the window waits for the slower majority.
    let slow = || Server { out: Span::from_millis(450), ..Server::default() };
    let mut bench = Bench::new(vec![slow(), Server::off(Span::from_secs(5)), slow()]);
    let mut reports = 0;
    for _ in 0..400 {
        bench.run(Span::from_millis(10));
        let report = bench.report();
        let truth = |bounds: timebase::Bounds| bounds.contains(Span::ZERO);
        assert!(report.bounds.is_none_or(truth), "{:?}", report.bounds);
        reports += u32::from(report.bounds.is_some());
    }
    assert!(reports > 100, "and it does not wait for ever");
}

#[test]
fn deny_stops_all_requests_and_rate_halves_them() {
    // Proves that kisses are honoured: no packet after DENY or RSTR, fewer after RATE.
    for code in [*b"DENY", *b"RSTR"] {
        let mut bench = Bench::new(vec![Server::default(), Server::kiss(code)]);
        bench.run(Span::from_secs(7200));
        assert_eq!(bench.requests[&1], 1, "{code:?}");
        assert_eq!(bench.verdicts()[1], Verdict::Unusable(Unusable::Denied));
    }
    let mut bench = Bench::new(vec![Server::default(), Server::kiss(*b"RATE")]);
    bench.run(Span::from_secs(30));
    bench.servers[1] = Server::default();
    bench.run(Span::from_secs(600));
    let sources = bench.report().sources;
    assert!(sources[1].poll_log2 > sources[0].poll_log2.min(4), "{sources:?}");
    assert!(sources[1].verdict.takes_part(), "slower, but used");
}

#[test]
fn servers_that_say_they_are_no_good_are_believed_in_that() {
    // Proves each reason for unusable, and that the vote comes back with the cure.
    let cases = [
        (Server { leap: Leap::Unsynchronised, ..Server::default() }, Unusable::Unsynchronised),
        (Server { stratum: 16, ..Server::default() }, Unusable::Stratum),
        (
            Server { root_dispersion: Span::from_secs(4), ..Server::default() },
            Unusable::RootDistance,
        ),
    ];
    for (server, why) in cases {
        let mut bench = Bench::new(vec![server]);
        bench.run(Span::from_secs(90));
        let report = bench.report();
        assert_eq!(report.sources[0].verdict, Verdict::Unusable(why));
        assert_eq!((report.bounds, report.state), (None, SyncState::FreeRunning));
        assert!(report.sources[0].refused > 0);
        bench.servers[0] = Server::default();
        bench.run(Span::from_secs(70));
        assert_eq!(bench.verdicts()[0], Verdict::Selected);
    }
}

#[test]
fn verdicts_do_not_flap_among_equal_servers() {
    // Proves that steady servers make no events once they are known.
    let mut bench = Bench::new(vec![Server::default(); 4]);
    bench.run(Span::from_secs(60));
    bench.report();
    bench.events.clear();
    for _ in 0..360 {
        bench.run(Span::from_secs(10));
        bench.report();
    }
    assert_eq!(bench.events, []);
}

#[test]
fn a_leap_warning_of_the_majority_is_passed_on() {
    // Proves that one server alone cannot announce a leap second, and two of three can.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.servers[0].leap = Leap::Insert;
    bench.run(Span::from_secs(70));
    assert_eq!(bench.report().leap, Leap::None);
    bench.servers[1].leap = Leap::Insert;
    bench.run(Span::from_secs(70));
    assert_eq!(bench.report().leap, Leap::Insert);
    assert!(bench.events.contains(&EventKind::LeapChanged { to: Leap::Insert }));
}

#[test]
fn an_oscillator_beyond_its_limit_is_named_and_gives_no_window() {
    // Proves that honest servers are not blamed for a host that runs 80 ppm fast where 50 are allowed.
    let mut bench = Bench::new(vec![Server::default(); 3]);
    bench.rate = Ppb::from_ppm(80);
    bench.run(Span::from_secs(600));
    let report = bench.report();
    assert_eq!(report.bounds, None);
    for source in &report.sources {
        assert_eq!(source.verdict, Verdict::Unusable(Unusable::Oscillator), "{source:?}");
        assert!((source.frequency.unwrap().as_ppb() - 80_000).abs() < 2_000, "{source:?}");
    }
}
