//! Random worlds inside the fault model: whatever their knobs, every window must hold the truth.

use agent_core::AuthConfig;
use agent_core::ntp::{KeyAlgorithm, SymmetricKey};
use timebase::{Ppb, Span};

use crate::{
    Answering, Auth, Congestion, Crystal, Fault, HostConfig, Lie, Outages, Path, Queueing,
    RateStep, Rng, Route, Server, SourceLink, Steering, Swing, Trial,
};

/// With a majority of honest servers reachable, a host that is up has a window again after this long, or
/// after that many of its longest polls.
const WINDOW_WITHIN: (Span, i64) = (Span::from_secs(600), 16);

/// A random world: a host, and how long to watch it.
pub struct Soaked {
    /// Its knobs, all drawn from the seed.
    pub config: HostConfig,
    /// How long it is watched.
    pub length: Span,
}

/// The world of that seed.
pub fn world(seed: u64) -> Soaked {
    let mut rng = Rng::new(seed);
    let count = 1 + rng.below(7);
    let liars = rng.below(count.div_ceil(2));
    let low = rng.below(6) as i8 + if rng.chance(0.1) { -2 } else { 3 };
    let poll_log2 = (low, low + rng.below(5) as i8);
    let mut config =
        HostConfig { name: format!("soak {seed}"), seed, poll_log2, ..HostConfig::default() };
    let length = Span::from_secs(if low < 3 { 1800 } else { 3600 * (4 + rng.below(20) as i64) });
    crystal(&mut config, length, &mut rng);
    config.initial_error = span(&mut rng, 1e-6, 1.0);
    config.stamp_width = span(&mut rng, 1e-8, 5e-5).abs();
    config.steering = if rng.chance(0.3) {
        Steering::None
    } else {
        let noise = span(&mut rng, 1e-6, 1e-3).abs();
        Steering::Every { every: Span::from_secs(4 << rng.below(5)), aim: Span::ZERO, noise }
    };
    // The host's own uplink breaks for all of its sources.
    let outages = rng.chance(0.3).then(|| Outages {
        every: Span::from_secs(1800 + rng.below(7200) as i64),
        lasts: Span::from_secs(1 + rng.below(900) as i64),
    });
    let same_lie = lie(length, &mut rng);
    let colluding = rng.chance(0.5);
    for n in 0..count {
        let mut server = honest(&mut rng);
        if n < liars {
            server.lie = if colluding { same_lie } else { lie(length, &mut rng) };
        }
        let path = Path { outages, ..path(liars > 0, length, &mut rng) };
        config.links.push(SourceLink::new(&format!("s{n}"), path, server));
    }
    // Whoever answers first has no say in who lies.
    for n in (1..count).rev() {
        config.links.swap(n, rng.below(n + 1));
    }
    faults(&mut config, count - 2 * liars - 1, length, &mut rng);
    // From a stream of their own, as any knob added later: a kept seed stays the world that it was.
    authentication(&mut config, &mut Rng::new(seed ^ 0x6b65_7973));
    Soaked { config, length }
}

/// Some sources prove who they are, in either way. Not where liars are about: a source whose cookies have
/// just expired takes no part, and the liars may then be no minority.
fn authentication(config: &mut HostConfig, rng: &mut Rng) {
    let becomes_liar = |fault: &Fault| match fault {
        Fault::ServerBecomes { server, .. } => server.lie != Lie::None,
        _ => false,
    };
    if config.links.iter().any(|link| link.server.lie != Lie::None)
        || config.faults.iter().any(|(_, _, fault)| becomes_liar(fault))
    {
        return;
    }
    for link in &mut config.links {
        let key = SymmetricKey::new(7, KeyAlgorithm::Aes128, rng.bytes16().to_vec());
        let rotates = Span::from_secs(600 + rng.below(7200) as i64);
        (link.auth, link.server.auth) = match (rng.below(6), key) {
            (0, Some(key)) => (AuthConfig::Key(key.clone()), Auth::Key(key)),
            (1, _) => (AuthConfig::Nts, Auth::Nts(rotates)),
            _ => continue,
        };
    }
    // What takes a server's place on the way proves itself as that one did.
    for (_, _, fault) in &mut config.faults {
        if let Fault::ServerBecomes { source, server } = fault {
            server.auth = config.links[*source].server.auth.clone();
        }
    }
}

/// Lives through the world of that seed; what broke, if anything did.
pub fn run(seed: u64) -> Result<Span, String> {
    let Soaked { config, length } = world(seed);
    let (within, polls) = WINDOW_WITHIN;
    let longest_poll = Span::from_secs(1 << config.poll_log2.1.max(0));
    let within = within.max(longest_poll.times(polls));
    let mut trial = Trial::unguarded(config).looking_every(Span::from_millis(7_300));
    trial.run(length);
    if let Some(wrong) = trial.tally.first_wrong {
        return Err(format!("{wrong}; {} in all", trial.tally.wrong));
    }
    if trial.tally.longest_gap > within {
        return Err(format!("no window for {} s", trial.tally.longest_gap.as_ns() / 1_000_000_000));
    }
    Ok(length)
}

/// Between two magnitudes, either sign, each magnitude as likely as the next.
fn span(rng: &mut Rng, least: f64, most: f64) -> Span {
    let size = rng.magnitude(least, most);
    Span::from_secs_f64(if rng.chance(0.5) { size } else { -size })
}

/// Half of the crystals are gentle enough for the measured rate; the others may do anything within the
/// drift limit, and the engine is told so.
fn crystal(config: &mut HostConfig, length: Span, rng: &mut Rng) {
    let day = Swing { ppm: rng.between(0.0, 0.5), period: Span::from_secs(86_400) };
    let mut crystal = Crystal {
        rate_ppm: rng.between(-40.0, 40.0),
        white_ppm: rng.magnitude(1e-5, 1e-2),
        flicker_ppm: rng.magnitude(1e-5, 1e-2),
        walk_ppm: rng.magnitude(1e-7, 1e-4),
        swings: vec![day],
        steps: Vec::new(),
        limit_ppm: 48.0,
    };
    if rng.chance(0.5) {
        let period = Span::from_secs(600 + rng.below(6000) as i64);
        crystal.swings.push(Swing { ppm: rng.between(0.0, 3.0), period });
        for _ in 0..rng.below(4) {
            crystal.steps.push(RateStep {
                after: moment(length, rng),
                ppm: rng.between(-30.0, 30.0),
                settles: Span::from_secs(rng.below(2) as i64 * rng.below(3600) as i64),
            });
        }
        config.engine.rate_change = Ppb::from_ppm(50);
    }
    config.crystal = crystal;
}

fn moment(length: Span, rng: &mut Rng) -> Span {
    Span::from_secs_f64(rng.between(0.0, length.as_secs_f64()))
}

/// A server whose claims cover what is wrong with it.
fn honest(rng: &mut Rng) -> Server {
    let (error, wander) = (span(rng, 1e-7, 1e-2), span(rng, 1e-7, 1e-3).abs());
    let spare = span(rng, 1e-6, 1e-3).abs();
    Server {
        error,
        wander: (wander, Span::from_secs(60 + rng.below(20_000) as i64)),
        stratum: 1 + rng.below(5) as u8,
        root_delay: if rng.chance(0.5) { error.abs().times(2) } else { Span::ZERO },
        root_dispersion: error.abs() + wander + spare,
        turnaround: span(rng, 1e-6, 1e-3).abs(),
        stamped_early: Queueing::Exponential(span(rng, 1e-6, 1e-4).abs()),
        interleaved: rng.chance(0.4),
        ..Server::default()
    }
}

fn lie(length: Span, rng: &mut Rng) -> Lie {
    let every = Span::from_secs(60 + rng.below(7200) as i64);
    match rng.below(5) {
        0 => Lie::Offset(span(rng, 1e-5, 1e4)),
        1 => Lie::Ramp(moment(length, rng), rng.magnitude(0.1, 1e4)),
        2 => Lie::Jumps(span(rng, 1e-4, 1e4), every),
        3 => Lie::Swings(span(rng, 1e-5, 1.0).abs(), every),
        _ => Lie::Hasty(span(rng, 1e-5, 1.0).abs()),
    }
}

/// Where liars are about, honest answers must get through: else the liars are the majority of those heard.
fn path(reliable: bool, length: Span, rng: &mut Rng) -> Path {
    let delay = |rng: &mut Rng| span(rng, 5e-6, 0.15).abs();
    let queue = |rng: &mut Rng| {
        let size = span(rng, 1e-6, 5e-3).abs();
        match rng.below(6) {
            0 => Queueing::Constant(size),
            1 => Queueing::Normal(size, size.half()),
            2 => Queueing::Uniform(size),
            3 => Queueing::Pareto(size, rng.between(1.2, 3.0)),
            4 => Queueing::Spikes(rng.between(0.0, 0.2), size.times(20)),
            _ => Queueing::Exponential(size),
        }
    };
    let congestion = rng.chance(0.3).then(|| Congestion {
        period: Span::from_secs(3600 * (1 + rng.below(24) as i64)),
        peak: rng.between(1.0, 30.0),
    });
    let mut routes: Vec<Route> = (0..rng.below(3))
        .map(|_| Route { after: moment(length, rng), out: delay(rng), back: delay(rng) })
        .collect();
    routes.sort_by_key(|route| route.after);
    Path {
        out: delay(rng),
        back: delay(rng),
        queue_out: queue(rng),
        queue_back: queue(rng),
        congestion,
        routes,
        loss: rng.between(0.0, if reliable { 0.05 } else { 0.2 }),
        outages: None,
        duplicated: rng.between(0.0, 0.2),
        held: (rng.between(0.0, 0.05), Span::from_secs(3)),
    }
}

/// What goes wrong on the way. So many honest servers may fall silent that `spare` is used up, and the
/// honest still have the majority; one that turns liar counts twice.
fn faults(config: &mut HostConfig, spare: usize, length: Span, rng: &mut Rng) {
    for _ in 0..rng.below(6) {
        let at = moment(length, rng);
        let lasts = Span::from_secs(1 + rng.below(1800) as i64);
        let fault = match rng.below(5) {
            0 => Fault::Step(span(rng, 1e-4, 1e4)),
            1 => Fault::Reboot { down: lasts },
            2 => Fault::Pause(Span::from_secs_f64(rng.magnitude(0.01, 600.0))),
            3 => Fault::Suspend { lasts, noticed: true },
            _ => {
                config.faults.push((at + lasts, None, Fault::SourcesReturn));
                Fault::SourcesDie
            }
        };
        config.faults.push((at, None, fault));
    }
    let honest: Vec<usize> =
        (0..config.links.len()).filter(|n| config.links[*n].server.lie == Lie::None).collect();
    let mut spare = spare;
    for source in honest {
        if spare == 0 {
            break;
        }
        spare -= 1;
        let at = moment(length, rng);
        let server = config.links[source].server.clone();
        let failing = match rng.below(6) {
            0 => Server { answering: Answering::Not, ..server.clone() },
            1 => Server { answering: Answering::Kiss(*b"RATE"), ..server.clone() },
            2 => Server { leap: 3, lie: lie(length, rng), ..server.clone() },
            3 => Server { stratum: 16, lie: lie(length, rng), ..server.clone() },
            4 if spare > 0 => {
                spare -= 1;
                Server { lie: lie(length, rng), ..server.clone() }
            }
            _ => {
                config.faults.push((at, None, Fault::SourceMoves { source, to: 9 }));
                continue;
            }
        };
        let becomes = |server: Server| Fault::ServerBecomes { source, server: Box::new(server) };
        let back = at + Span::from_secs(60 + rng.below(7200) as i64);
        config.faults.push((at, None, becomes(failing)));
        config.faults.push((back, None, becomes(server)));
    }
}
