//! The promise of the whole product, in worlds where truth is known: it lies inside the window.

use agent_sim::{
    Answering, Crystal, Fault, HostConfig, Path, Rng, Server, SimHost, SimReport, SourceLink, fleet,
};
use timebase::{Span, SyncState, Timestamp, Utc, Verdict};

const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);

fn link(name: &str, rtt: Span, error: Span) -> SourceLink {
    let path = Path::symmetric(rtt, Span::from_ns(50_000));
    SourceLink::new(name, path, Server { error, ..Server::default() })
}

fn run(config: HostConfig, length: Span) -> Vec<SimReport> {
    let mut host = SimHost::new(config, START);
    let mut reports = Vec::new();
    host.advance(START + length, &mut reports);
    assert!(!reports.is_empty(), "a host reports");
    reports
}

fn assert_honest(name: &str, reports: &[SimReport]) {
    for r in reports {
        if let Some(bounds) = r.report.bounds {
            assert!(
                bounds.contains(r.true_error),
                "{name}: {:?} outside {bounds}: {:#?}",
                r.true_error,
                r.report
            );
        }
    }
}

fn windows(reports: &[SimReport]) -> usize {
    reports.iter().filter(|r| r.report.bounds.is_some()).count()
}

/// Every host of the demonstration fleet, faults and all, is honest for two hours.
#[test]
fn the_demonstration_fleet_never_lies() {
    for config in fleet::hosts(200, 7, Span::from_secs(10)) {
        let name = config.name.clone();
        assert_honest(&name, &run(config, Span::from_secs(7200)));
    }
}

/// Random honest worlds with a minority of falsetickers, a day each, at several poll intervals.
#[test]
fn a_day_in_random_worlds_is_honest() {
    for seed in 1..=12u64 {
        let mut rng = Rng::new(seed);
        let count = 1 + (rng.bits() % 7) as usize;
        let liars = (count - 1) / 2;
        let links = (0..count)
            .map(|n| {
                let rtt = Span::from_secs_f64(rng.between(50e-6, 80e-3));
                let lie = if n < liars { rng.between(-2.0, 2.0) } else { 0.0 };
                let mut link = link(&format!("s{n}"), rtt, Span::from_secs_f64(lie));
                // Asymmetric on purpose: causality must hold however the delay is split.
                link.path.out = Span::from_secs_f64(rng.between(0.0, rtt.as_secs_f64()));
                link.path.back = rtt - link.path.out;
                link.path.loss = rng.between(0.0, 0.2);
                link
            })
            .collect();
        let low = (rng.bits() % 5) as i8 + 2;
        let config = HostConfig {
            seed,
            links,
            crystal: Crystal {
                rate_ppm: rng.between(-30.0, 30.0),
                walk_ppm: 1e-3,
                ..Crystal::ordinary()
            },
            poll_log2: (low, low + 3),
            faults: vec![
                (Span::from_secs(9_000), None, Fault::Step(Span::from_millis(-1_500))),
                (Span::from_secs(20_000), None, Fault::SourcesDie),
                (Span::from_secs(26_000), None, Fault::SourcesReturn),
                (
                    Span::from_secs(40_000),
                    Some(Span::from_secs(20_000)),
                    Fault::Reboot { down: Span::from_secs(40) },
                ),
            ],
            report_every: Span::from_secs(30),
            ..HostConfig::default()
        };
        let reports = run(config, Span::from_secs(86_400));
        assert_honest(&format!("seed {seed}"), &reports);
        assert!(windows(&reports) * 10 > reports.len() * 8, "seed {seed}: hardly ever a window");
    }
}

/// Without any defence a liar would pull the window along; with three honest servers it is named and
/// ignored.
#[test]
fn one_falseticker_fools_a_host_that_knows_no_other_and_is_named_beside_three_good_servers() {
    let lie = Span::from_millis(80);
    let rtt = Span::from_ns(400_000);
    let alone = run(
        HostConfig { links: vec![link("liar", rtt, lie)], ..HostConfig::default() },
        Span::from_secs(300),
    );
    let last = alone.last().unwrap();
    assert!(!last.report.bounds.unwrap().contains(last.true_error), "one liar alone is believed");

    let links = vec![
        link("a", rtt, Span::ZERO),
        link("b", rtt, Span::ZERO),
        link("liar", rtt, lie),
        link("c", rtt, Span::ZERO),
    ];
    let beside = run(HostConfig { links, ..HostConfig::default() }, Span::from_secs(300));
    assert_honest("beside", &beside);
    let last = &beside.last().unwrap().report;
    assert_eq!(last.sources[2].verdict, Verdict::Falseticker);
    assert!(last.bounds.unwrap().width() < Span::from_millis(2));
    assert_eq!(last.state, SyncState::Synchronised);
}

/// A step is in the very next report, with its size, and the window moves with it at once.
#[test]
fn a_step_is_seen_at_once() {
    let by = Span::from_millis(400);
    let config = HostConfig {
        links: vec![link("a", Span::from_ns(400_000), Span::ZERO)],
        faults: vec![(Span::from_secs(100), None, Fault::Step(by))],
        ..HostConfig::default()
    };
    let reports = run(config, Span::from_secs(130));
    assert_honest("step", &reports);
    let stepped =
        reports.iter().find(|r| r.report.state == SyncState::Stepped).expect("a report says so");
    assert_eq!(stepped.report.steps, 1);
    assert!(stepped.report.bounds.unwrap().contains(by));
    let size = stepped.report.events.iter().find_map(|e| match e.kind {
        timebase::EventKind::Step { by } => Some(by),
        _ => None,
    });
    let size = size.unwrap();
    assert!((size - by).abs() < Span::from_millis(1), "{size}");
}

/// Sources that die leave a window that grows; one that never answered leaves none, and says so.
#[test]
fn without_sources_the_window_grows_or_is_absent() {
    let dying = run(
        HostConfig {
            links: vec![link("a", Span::from_ns(400_000), Span::ZERO)],
            faults: vec![(Span::from_secs(200), None, Fault::SourcesDie)],
            ..HostConfig::default()
        },
        Span::from_secs(3_600),
    );
    assert_honest("dying", &dying);
    let last = &dying.last().unwrap().report;
    assert_eq!(last.state, SyncState::Holdover);
    assert_eq!(last.sources[0].verdict, Verdict::Unreachable);
    let width = last.bounds.unwrap().width();
    assert!(width > Span::from_millis(7), "an hour at 1 ppm at least, both sides");
    assert!(width < Span::from_millis(100), "far less than the ceiling's 360 ms");

    let mut dead = link("dead", Span::from_ns(400_000), Span::ZERO);
    dead.server.answering = Answering::Not;
    let reports =
        run(HostConfig { links: vec![dead], ..HostConfig::default() }, Span::from_secs(600));
    assert_eq!(windows(&reports), 0);
    assert_eq!(reports.last().unwrap().report.state, SyncState::FreeRunning);
}

/// A wrong server that is put right is believed again within two report intervals.
#[test]
fn a_cured_server_is_believed_again() {
    let config = HostConfig {
        links: vec![link("a", Span::from_ns(400_000), Span::from_secs(3))],
        poll_log2: (0, 0),
        faults: vec![(
            Span::from_secs(100),
            None,
            Fault::SourceLies { source: 0, error: Span::ZERO },
        )],
        ..HostConfig::default()
    };
    let reports = run(config, Span::from_secs(121));
    let last = reports.last().unwrap();
    let bounds = last.report.bounds.expect("a window after the cure");
    assert!(bounds.contains(last.true_error), "{bounds}");
}

/// The same seed gives the same reports, to the last bit.
#[test]
fn the_same_seed_gives_the_same_world() {
    let make = || {
        let config = fleet::hosts(8, 3, Span::from_secs(10)).remove(5);
        run(config, Span::from_secs(600)).into_iter().map(|r| r.report).collect::<Vec<_>>()
    };
    assert_eq!(make(), make());
}
