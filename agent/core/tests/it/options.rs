//! What the configuration can say about sources.

use agent_core::{EngineConfig, SourceOptions};
use timebase::{Report, Span, Unusable, Verdict};

use crate::bench::{Bench, Server};

/// 5 ms ahead, unlike the good ones.
fn odd(options: SourceOptions) -> Server {
    Server { options, ..Server::off(Span::from_millis(5)) }
}

fn good(options: SourceOptions) -> Server {
    Server { options, ..Server::default() }
}

fn after_a_minute(config: EngineConfig, servers: Vec<Server>) -> Report {
    let mut bench = Bench::configured(config, servers);
    bench.run(Span::from_secs(60));
    bench.report()
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.sources.iter().map(|source| source.verdict).collect()
}

#[test]
fn a_source_that_is_only_watched_has_no_vote() {
    // Proves that noselect keeps a source out of the window, while what it says is shown.
    let noselect = SourceOptions { noselect: true, ..SourceOptions::default() };
    let report = after_a_minute(EngineConfig::default(), vec![odd(noselect), Server::default()]);
    assert_eq!(verdicts(&report), [Verdict::Unusable(Unusable::Noselect), Verdict::Selected]);
    assert!(report.bounds.unwrap().contains(Span::ZERO));
    assert!(report.sources[0].bounds.is_some());
}

#[test]
fn a_trusted_source_outvotes_all_others() {
    // Proves that sources which contradict a trusted one are falsetickers, however many they are.
    let trust = SourceOptions { trust: true, ..SourceOptions::default() };
    let servers = vec![
        good(trust),
        odd(SourceOptions::default()),
        odd(SourceOptions::default()),
        Server::default(),
    ];
    let report = after_a_minute(EngineConfig::default(), servers);
    assert_eq!(verdicts(&report)[1..3], [Verdict::Falseticker; 2]);
    assert!(report.bounds.unwrap().contains(Span::ZERO));
}

#[test]
fn without_a_required_source_or_enough_of_them_there_is_no_window() {
    // Proves require and min-sources: no window and a verdict that says why, or all as usual.
    let require = SourceOptions { require: true, ..SourceOptions::default() };
    let dead = Server { alive: false, ..good(require) };
    let report = after_a_minute(EngineConfig::default(), vec![Server::default(), dead]);
    assert_eq!(report.bounds, None);
    let report = after_a_minute(EngineConfig::default(), vec![Server::default(), good(require)]);
    assert!(report.bounds.is_some());

    let two = EngineConfig { min_sources: 2, ..EngineConfig::default() };
    let report = after_a_minute(two, vec![Server::default()]);
    assert_eq!(
        (report.bounds, verdicts(&report)),
        (None, vec![Verdict::Unusable(Unusable::MinSources)])
    );
    assert!(after_a_minute(two, vec![Server::default(); 2]).bounds.is_some());
}

#[test]
fn the_estimate_rests_on_preferred_sources() {
    // Proves that a preferred source is selected, and that the estimate is its own, though another is narrower.
    let prefer = SourceOptions { prefer: true, ..SourceOptions::default() };
    let far =
        Server { out: Span::from_ns(5_000_000), back: Span::from_ns(5_100_000), ..good(prefer) };
    let report = after_a_minute(EngineConfig::default(), vec![Server::default(), far]);
    assert_eq!(verdicts(&report)[1], Verdict::Selected);
    assert_eq!(Some(report.statistical.unwrap().offset), report.sources[1].offset);
}

#[test]
fn fewer_tolerated_faults_narrow_the_window() {
    // Proves that faults = 0 gives what all agree on, and that one who disagrees is still named.
    let ms = Span::from_millis;
    let path = |out, back| Server { out: ms(out), back: ms(back), ..Server::default() };
    let mut servers = vec![path(1, 20), path(20, 1), path(10, 10)];
    let none = EngineConfig { faults: 0, ..EngineConfig::default() };
    let by_majority = after_a_minute(EngineConfig::default(), servers.clone()).bounds.unwrap();
    let by_all = after_a_minute(none, servers.clone()).bounds.unwrap();
    assert!(by_all.width() < ms(4), "{by_all}");
    assert!(by_majority.width() > ms(19), "{by_majority}");
    servers.push(Server::off(Span::from_secs(1)));
    let report = after_a_minute(none, servers);
    assert!(report.bounds.unwrap().contains(Span::ZERO));
    assert_eq!(report.sources[3].verdict, Verdict::Falseticker);
}
