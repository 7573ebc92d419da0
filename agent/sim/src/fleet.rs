//! The demonstration fleet: 200 hosts in six services of a small cloud, and what goes wrong there.
//!
//! Most hosts are well kept. A few show the faults that people who run fleets have met: each is one
//! line in [`faults`].

use timebase::Span;

use crate::{Answering, Crystal, Fault, HostConfig, Path, Rng, Server, SourceLink, Steering};

/// Services of the demonstration fleet: prefix of the host names, service, share of the hosts.
const SERVICES: [(&str, &str, usize); 6] = [
    ("ctl", "keystone", 3),
    ("api", "nova-api", 12),
    ("cmp", "nova-compute", 110),
    ("net", "neutron", 15),
    ("mon", "ceph-mon", 5),
    ("osd", "ceph-osd", 55),
];

/// `count` hosts, spread over the services as in a fleet of 200, each with the sources of its site.
pub fn hosts(count: usize, seed: u64, report_every: Span) -> Vec<HostConfig> {
    let mut rng = Rng::new(seed);
    let mut hosts = Vec::with_capacity(count);
    for (prefix, service, share) in SERVICES {
        for n in 1..=(share * count).div_ceil(200) {
            if hosts.len() < count {
                let name = format!("{prefix}-{n}");
                hosts.push(host(name, service, Rng::new(rng.bits()), report_every));
            }
        }
    }
    for host in &mut hosts {
        faults(host);
    }
    hosts
}

/// A well-kept host: three stratum 2 servers of its site, a daemon that steers, a common crystal.
fn host(name: String, service: &str, mut rng: Rng, report_every: Span) -> HostConfig {
    let rtt = |rng: &mut Rng| Span::from_secs_f64(rng.between(80e-6, 600e-6));
    let links = ["ntp-1.dc", "ntp-2.dc", "ntp-3.dc"]
        .into_iter()
        .enumerate()
        .map(|(n, name)| {
            let path = Path {
                loss: 0.002,
                ..Path::symmetric(rtt(&mut rng), Span::from_secs_f64(rng.between(10e-6, 60e-6)))
            };
            let server = Server {
                error: Span::from_secs_f64(rng.between(-20e-6, 20e-6)),
                stratum: 2,
                reference_id: [10, 0, 0, 1 + n as u8],
                root_delay: Span::from_ns(400_000),
                root_dispersion: Span::from_ns(150_000),
                ..Server::default()
            };
            SourceLink::new(name, path, server)
        })
        .collect();
    let noise = Span::from_secs_f64(rng.between(5e-6, 60e-6));
    let (seed, rate_ppm) = (rng.bits(), rng.normal() * 8.0);
    HostConfig {
        name,
        service: service.into(),
        seed,
        crystal: Crystal { rate_ppm, walk_ppm: 2e-4, ..Crystal::ordinary() },
        initial_error: Span::from_secs_f64(rng.normal() * 50e-6),
        steering: Steering::Every { every: Span::from_secs(16), aim: Span::ZERO, noise },
        links,
        report_every,
        ..HostConfig::default()
    }
}

/// What goes wrong, and where.
fn faults(host: &mut HostConfig) {
    let minutes = |n: i64| Span::from_secs(60 * n);
    match host.name.as_str() {
        // Its daemon was pointed at a bad reference long ago and holds the clock there.
        "ctl-3" => stuck_at(host, Span::from_millis(710)),
        // A quarter of a second behind: nobody steers it.
        "cmp-17" => stuck_at(host, Span::from_millis(-262)),
        // Cut off from every source: the window grows, and the crystal is a poor one.
        "cmp-42" => {
            host.faults.push((minutes(2), None, Fault::SourcesDie));
            host.steering = Steering::None;
            host.engine.drift_limit = timebase::Ppb::from_ppm(200);
            host.crystal.rate_ppm = 31.0;
        }
        // Never reached a source.
        "net-4" => {
            for link in &mut host.links {
                link.server.answering = Answering::Not;
            }
        }
        // One of its three sources is dead.
        "api-5" | "osd-9" => host.links[1].server.answering = Answering::Not,
        // These believe a fourth, private server that is 80 ms wrong and does not know it.
        "mon-2" | "mon-3" | "osd-11" | "osd-12" => host.links.push(SourceLink::new(
            "gps-attic.dc",
            Path::symmetric(Span::from_ns(300_000), Span::from_ns(20_000)),
            Server::off(Span::from_millis(80)),
        )),
        // A cron job runs ntpdate against something odd, the daemon repairs it a minute later.
        "cmp-60" => {
            host.faults.push((minutes(3), Some(minutes(15)), Fault::Step(Span::from_millis(400))));
            host.faults.push((minutes(4), Some(minutes(15)), Fault::Step(Span::from_millis(-400))));
        }
        // Reboots every twenty minutes.
        "osd-20" => {
            let down = Span::from_secs(50);
            host.faults.push((minutes(5), Some(minutes(20)), Fault::Reboot { down }));
        }
        // Behind a congested link: right, but the window is wide.
        "net-9" | "cmp-80" | "cmp-81" => {
            for link in &mut host.links {
                link.path = Path::symmetric(Span::from_millis(60), Span::from_millis(9));
                link.path.loss = 0.08;
            }
        }
        _ => {}
    }
}

fn stuck_at(host: &mut HostConfig, error: Span) {
    host.initial_error = error;
    if let Steering::Every { aim, .. } = &mut host.steering {
        *aim = error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fleet has the size asked for, six services, and every name once.
    #[test]
    fn the_fleet_is_as_large_as_asked() {
        for count in [1, 7, 200, 1000] {
            let fleet = hosts(count, 1, Span::from_secs(10));
            let names: std::collections::BTreeSet<_> = fleet.iter().map(|h| &h.name).collect();
            assert_eq!((fleet.len(), names.len()), (count, count));
        }
        let services: std::collections::BTreeSet<_> =
            hosts(200, 1, Span::from_secs(10)).into_iter().map(|h| h.service).collect();
        assert_eq!(services.len(), 6);
    }
}
