//! How well one host knows its time, in worlds where the truth is known.
//!
//! `cargo run -p agent-sim --example accuracy [-- WORD…]` prints one line for each world whose name
//! contains every WORD. Errors are those of the point estimate; half-width and coverage are those of the
//! worst-case and of the statistical window. Everything follows from fixed seeds.

use std::time::Instant;

use agent_sim::{
    Crystal, HostConfig, Path, Queueing, RateStep, Server, SimHost, SourceLink, Steering, Swing,
};
use timebase::{Span, Timestamp, Utc};

const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
/// The first polls are for learning, and are not counted.
const WARM_UP_POLLS: i64 = 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "{:<38} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "world", "rms µs", "p99 µs", "half µs", "sigma µs", "covered", "stat cov"
    );
    let (begun, mut hours) = (Instant::now(), 0.0);
    for (path_name, path) in paths() {
        for (crystal_name, crystal) in crystals() {
            for poll in [4, 6, 10] {
                for servers in [1, 4] {
                    let name = format!("{path_name} {crystal_name} poll{poll} {servers}srv");
                    if words.iter().all(|word| name.contains(word.as_str())) {
                        let length = Span::from_secs(if poll < 10 { 4 * 3600 } else { 24 * 3600 });
                        measure(&name, &path, &crystal, poll, servers, length);
                        hours += length.as_secs_f64() / 3600.0;
                    }
                }
            }
        }
    }
    let took = begun.elapsed().as_secs_f64();
    eprintln!("{hours} virtual hours in {took:.1} s: {:.0} virtual hours per second", hours / took);
}

fn paths() -> [(&'static str, Path); 5] {
    let us = |n: i64| Span::from_ns(n * 1000);
    let noise = Queueing::Normal(us(4), us(2));
    [
        (
            "loopback",
            Path { queue_out: noise, queue_back: noise, ..Path::symmetric(us(12), us(0)) },
        ),
        ("lan-1ms+exp100us", Path::symmetric(us(2000), us(100))),
        (
            "asym-exp100us/1ms",
            Path {
                queue_back: Queueing::Exponential(us(1000)),
                ..Path::symmetric(us(2000), us(100))
            },
        ),
        ("lossy20%", Path { loss: 0.2, ..Path::symmetric(us(2000), us(100)) }),
        ("wan-20ms+exp2ms", Path::symmetric(us(40_000), us(2000))),
    ]
}

fn crystals() -> [(&'static str, Crystal); 3] {
    let wander =
        Crystal { white_ppm: 1e-3, flicker_ppm: 0.01, walk_ppm: 2e-5, ..Crystal::steady(12.0) };
    let thermal = Crystal {
        swings: vec![
            Swing { ppm: 0.5, period: Span::from_secs(86_400) },
            Swing { ppm: 0.05, period: Span::from_secs(1500) },
        ],
        steps: vec![RateStep {
            after: Span::from_secs(7000),
            ppm: 0.3,
            settles: Span::from_secs(300),
        }],
        ..wander.clone()
    };
    [("perfect", Crystal::steady(0.0)), ("wander", wander), ("thermal", thermal)]
}

fn measure(name: &str, path: &Path, crystal: &Crystal, poll: i8, servers: usize, length: Span) {
    let links = (0..servers)
        .map(|n| SourceLink::new(&format!("s{n}"), path.clone(), Server::default()))
        .collect();
    let config = HostConfig {
        links,
        crystal: crystal.clone(),
        steering: Steering::None,
        poll_log2: (poll, poll),
        report_every: Span::from_secs(64),
        ..HostConfig::default()
    };
    let mut host = SimHost::new(config, START);
    let mut errors = Vec::new();
    let (mut half, mut sigma, mut covered, mut likely, mut windows) = (0.0, 0.0, 0, 0, 0);
    let mut now = START + Span::from_secs(WARM_UP_POLLS << poll);
    while now < START + length {
        // Not a divisor of the poll interval, so that every age of the last answer is met.
        now = now + Span::from_millis(3700);
        host.advance(now, &mut Vec::new());
        let Some(made) = host.status(now) else { continue };
        let (Some(bounds), Some(statistical)) = (made.report.bounds, made.report.statistical)
        else {
            continue;
        };
        windows += 1;
        errors.push((statistical.offset - made.true_error).as_secs_f64() * 1e6);
        half += bounds.width().as_secs_f64() * 0.5e6;
        sigma += statistical.sigma.as_secs_f64() * 1e6;
        covered += usize::from(bounds.contains(made.true_error));
        likely += usize::from(statistical.window().contains(made.true_error));
    }
    let n = f64::from(windows);
    let rms = (errors.iter().map(|e| e * e).sum::<f64>() / n).sqrt();
    errors.iter_mut().for_each(|e| *e = e.abs());
    errors.sort_by(f64::total_cmp);
    let p99 = errors.get(errors.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    let share = |count: usize| 100.0 * count as f64 / n;
    println!(
        "{name:<38} {rms:>9.2} {p99:>9.2} {:>9.1} {:>9.2} {:>7.2}% {:>7.2}%",
        half / n,
        sigma / n,
        share(covered),
        share(likely),
    );
}
