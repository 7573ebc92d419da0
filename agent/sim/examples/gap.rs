//! x
use agent_sim::{SimHost, soak};
use timebase::{Span, Timestamp, Utc};
const START: Timestamp<Utc> = Timestamp::from_ns(1_800_000_000_000_000_000);
/// x
fn main() {
    let seed: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let from: f64 = std::env::args().nth(2).map_or(0.0, |a| a.parse().unwrap());
    let to: f64 = std::env::args().nth(3).map_or(1e9, |a| a.parse().unwrap());
    let w = soak::world(seed);
    println!("{:?} poll {:?} crystal {:?} faults {:?} engine {:?}", w.length, w.config.poll_log2, w.config.crystal, w.config.faults, w.config.engine);
    for l in &w.config.links { println!("{:?}", l); }
    let mut host = SimHost::new(w.config, START);
    let mut now = START;
    while now < START + w.length {
        now = now + Span::from_millis(7300);
        host.advance(now, &mut Vec::new());
        let at = (now-START).as_secs_f64();
        let Some(made) = host.status(now) else { continue };
        if at < from || at > to { continue }
        let b = made.report.bounds;
        println!("{at:.0} {:?} bounds {:?} {} rate {:?}", made.report.state, b.map(|b| ((b.lo()-made.true_error).as_ns(), (b.hi()-made.true_error).as_ns())), b.is_some_and(|b| !b.contains(made.true_error)), made.report.rate);
        for s in &made.report.sources { println!("    {} {:?} reach {} poll {} bounds {:?}", s.name, s.verdict, s.reach, s.poll_log2, s.bounds.map(|b| ((b.lo()-made.true_error).as_ns(), (b.hi()-made.true_error).as_ns()))); }
    }
}
