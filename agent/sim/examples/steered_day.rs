//! One day of a host whose clock the agent steers, where the truth is known.
//!
//! `cargo run -p agent-sim --example steered_day` prints, for the worlds of clknetsim-style tests (the
//! crystal's rate walks by so much each second; exponential network jitter; one server, a fixed poll
//! interval), the error of the system clock itself: RMS and greatest, in time and in frequency; and the
//! limits that chrony's own tests set chronyd in the first of them (its test/simulation/test.common).

use agent_core::DisciplineConfig;
use agent_sim::{Crystal, HostConfig, Path, Server, SimHost, SourceLink, Steering};
use timebase::{Span, Timestamp, Utc};

const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
const DAY: i64 = 86_400;
/// Frequency is the change of the error over this.
const STEP: i64 = 16;

fn main() {
    println!(
        "{:<44} {:>8} {:>10} {:>9} {:>9} {:>9}",
        "world", "sync s", "rms µs", "max µs", "rms ppb", "outside"
    );
    for (wander_ppb, jitter_us, poll) in
        [(1.0, 100, 6), (1.0, 10, 6), (10.0, 100, 6), (1.0, 100, 4), (1.0, 1000, 6), (1.0, 100, 10)]
    {
        day(wander_ppb, jitter_us, poll);
    }
    println!(
        "{:<44} {:>8} {:>10} {:>9} {:>9} {:>9}",
        "chronyd must keep in the first world", 210, 300, 1000, 10_000, "-"
    );
}

/// The host starts 0.1 s wrong with a crystal 100 ppm off, as chrony's simulation tests do.
fn day(wander_ppb: f64, jitter_us: i64, poll: i8) {
    let path = Path::symmetric(Span::from_ns(200_000), Span::from_ns(jitter_us * 1000));
    let mut config = HostConfig {
        crystal: Crystal { walk_ppm: wander_ppb * 1e-3, ..Crystal::steady(100.0) },
        initial_error: Span::from_millis(100),
        steering: Steering::Agent,
        links: vec![SourceLink::new("server", path, Server::default())],
        poll_log2: (poll, poll),
        report_every: Span::from_secs(64),
        ..HostConfig::default()
    };
    config.engine.drift_limit = timebase::Ppb::from_ppm(200);
    config.engine.discipline = Some(DisciplineConfig::default());
    let mut host = SimHost::new(config, START);
    let (mut synced, mut before, mut outside) = (None, 0.0, 0);
    let (mut squares, mut most, mut rates, mut n) = (0.0, 0.0f64, 0.0, 0.0);
    for second in (STEP..=DAY).step_by(STEP as usize) {
        let now = START + Span::from_secs(second);
        host.advance(now, &mut Vec::new());
        let Some(made) = host.status(now) else { continue };
        outside += i32::from(made.report.bounds.is_some_and(|b| !b.contains(made.true_error)));
        let error = made.true_error.as_secs_f64();
        let rate = (error - before) / STEP as f64;
        before = error;
        if synced.is_none() && error.abs() < 1e-3 {
            synced = Some(second);
        }
        // The first 10,000 s are for settling, as in chrony's tests.
        if second > 10_000 {
            squares += error * error;
            rates += rate * rate;
            most = most.max(error.abs());
            n += 1.0;
        }
    }
    let name = format!("wander {wander_ppb} ppb, jitter {jitter_us} µs, poll {poll}");
    println!(
        "{name:<44} {:>8} {:>10.2} {:>9.2} {:>9.2} {outside:>9}",
        synced.map_or("never".to_owned(), |s| s.to_string()),
        (squares / n).sqrt() * 1e6,
        most * 1e6,
        (rates / n).sqrt() * 1e9,
    );
}
