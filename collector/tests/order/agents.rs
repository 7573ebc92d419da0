//! Hosts with the agent's real engine: what it reports is what the functions rest on.

use std::collections::BTreeSet;

use agent_sim::{
    Crystal, Fault, HostConfig, Path, Rng, Server, SimHost, SimReport, SourceLink, Steering, Swing,
};
use sqlx::AssertSqlSafe;
use store::ingest::{Batch, Dated, Memory};
use timebase::{BootId, Span, Timestamp};

use crate::history::NOON_NS;
use crate::world::World;

const HOSTS: u64 = 30;
const LENGTH: Span = Span::from_secs(45 * 60);
/// Between two looks at a host's clock; no multiple of the report's interval.
const LOOK: Span = Span::from_millis(11_310);
/// Looks right before and after something happens.
const AROUND: [Span; 4] =
    [Span::from_millis(-2), Span::from_ns(-100_000), Span::from_ns(100_000), Span::from_millis(2)];

/// What a clock showed at some moment of UTC.
struct Look {
    host: String,
    boot: BootId,
    steps: u64,
    local: i64,
    utc: i64,
}

/// Crystals that wander, clocks that somebody steers well, badly or not at all, and what goes wrong with them.
fn host(seed: u64) -> HostConfig {
    let mut rng = Rng::new(seed);
    let link = |n: usize, rng: &mut Rng| {
        let (rtt, queue) = (rng.between(1e-4, 2e-2), rng.between(1e-5, 3e-3));
        let path = Path::symmetric(Span::from_secs_f64(rtt), Span::from_secs_f64(queue));
        SourceLink::new(&format!("s{n}"), path, Server::default())
    };
    let links = (0..3).map(|n| link(n, &mut rng)).collect();
    let noise = Span::from_secs_f64([2e-5, 1e-3, 5e-3][rng.below(3)]);
    let every = Span::from_secs(4 << rng.below(5));
    let steering = match rng.below(4) {
        0 => Steering::None,
        _ => Steering::Every { every, aim: Span::ZERO, noise },
    };
    let mut faults = Vec::new();
    for _ in 0..rng.below(8) {
        let after = Span::from_secs(600 + rng.below(1_500) as i64);
        // The kernel tells of each, also of those that a slew could have made.
        let by =
            Span::from_secs_f64(rng.normal() * [1e-5, 3e-3, 3e-3, 0.03, 3.0, 4e3][rng.below(6)]);
        let lasts = Span::from_secs(5 + rng.below(120) as i64);
        let fault = match rng.below(6) {
            0..=2 => Fault::Step(by),
            3 => Fault::Reboot { down: lasts },
            4 => Fault::Suspend { lasts, noticed: true },
            _ => Fault::SourcesDie,
        };
        faults.push((after, None, fault));
    }
    let swings = vec![Swing { ppm: rng.between(0.0, 0.5), period: Span::from_secs(4 * 3_600) }];
    HostConfig {
        name: format!("sim-{seed}"),
        seed,
        crystal: Crystal {
            rate_ppm: rng.normal() * 12.0,
            walk_ppm: 1e-3,
            swings,
            ..Crystal::ordinary()
        },
        initial_error: Span::from_secs_f64(rng.normal() * 0.05),
        steering,
        links,
        faults,
        report_every: Span::from_secs([5, 10, 10, 64][rng.below(4)]),
        ..HostConfig::default()
    }
}

/// Lets a host live; its reports, and looks at its clock of which some report can tell.
fn live(config: HostConfig) -> (Vec<SimReport>, Vec<Look>) {
    let start = Timestamp::from_ns(NOON_NS);
    let name = config.name.clone();
    let faults = config.faults.iter().flat_map(|(after, ..)| AROUND.map(|a| start + *after + a));
    let often = (1..LENGTH.as_ns() / LOOK.as_ns()).map(|n| start + LOOK.times(n));
    let when: BTreeSet<_> = faults.chain(often).collect();
    let mut host = SimHost::new(config, start);
    let (mut reports, mut looks) = (Vec::new(), Vec::new());
    for now in when {
        host.advance(now, &mut reports);
        if let Some(SimReport { boot, report, .. }) = host.status(now) {
            let (local, utc) = (report.realtime.as_ns(), host.utc(now).as_ns());
            looks.push(Look { host: name.clone(), boot, steps: report.steps.into(), local, utc });
        }
    }
    let told: BTreeSet<_> =
        reports.iter().map(|r| (r.boot.as_bytes().to_vec(), u64::from(r.report.steps))).collect();
    looks.retain(|l| told.contains(&(l.boot.as_bytes().to_vec(), l.steps)));
    (reports, looks)
}

/// Proves that the reports of the real engine, stored as they come, hold what the functions take for granted (rates, how far
/// a clock strays, steps, sleep): UTC is in a window of `utc_window` for all that a clock showed, before and
/// after the hours are repacked, and these are narrow.
#[tokio::test(flavor = "multi_thread")]
async fn the_engine_reports_what_is_relied_on() {
    let world = World::new().await;
    let (mut memory, mut looks) = (Memory::default(), Vec::new());
    for n in 1..=HOSTS {
        let (reports, seen) = live(host(n));
        looks.extend(seen);
        let id = i64::try_from(n).unwrap();
        world
            .run(&format!(
                "INSERT INTO store.host (host_id, host_uuid, name, credential_hash)
                 OVERRIDING SYSTEM VALUE VALUES ({id}, gen_random_uuid(), 'sim-{n}', '\\x{n:08x}')"
            ))
            .await;
        let mut rest = &reports[..];
        while let Some(first) = rest.first() {
            let same = rest.iter().take(50).take_while(|r| r.boot == first.boot).count();
            let dated = |r: &SimReport| Dated {
                ref_time: r.at,
                by_age: true,
                report: r.report.clone(),
                sources_used: r.report.sources.len(),
            };
            let batch = Batch {
                host: id,
                boot: first.boot,
                current: true,
                received_at: rest[same - 1].at,
                reports: rest[..same].iter().map(dated).collect(),
                witness: None,
            };
            world.store.store_batches(&mut memory, &[batch], &[], false).await.unwrap();
            rest = &rest[same..];
        }
    }
    world.run("ANALYZE").await;
    assert!(looks.len() > 5_000, "{}", looks.len());
    orders(&world, &looks).await;
    for repacked in [false, true] {
        if repacked {
            world.repack(NOON_NS + 4 * 3_600_000_000_000).await;
        }
        // All of a host's readings at once, as lines of a log.
        let question = AssertSqlSafe(
            "WITH q AS (SELECT * FROM unnest($1::text[], $2::int8[], $3::int8[]) AS q(host, local, utc)),
             clock AS (SELECT store.find_host(host) AS id, host, array_agg(local ORDER BY local, utc) AS locals,
                              array_agg(utc ORDER BY local, utc) AS utcs FROM q GROUP BY host),
             shown AS (SELECT c.host, w.line, c.locals[w.line] AS local, c.utcs[w.line] AS utc,
                              bool_or(c.utcs[w.line] >= coalesce(w.lo_ns, c.utcs[w.line])
                                      AND c.utcs[w.line] <= coalesce(w.hi_ns, c.utcs[w.line])) AS inside,
                              bool_or(w.basis = 'between' AND w.hi_ns - w.lo_ns < 100000000) AS narrow,
                              json_agg(w) AS said
                       FROM clock c, store.windows(c.id, c.locals, array_fill(0::int8, ARRAY[cardinality(c.locals)])) w
                       GROUP BY c.host, w.line, c.locals, c.utcs)
             SELECT count(*) FILTER (WHERE inside), count(*) FILTER (WHERE narrow),
                    (array_agg(format('%s showed %s at %s: %s', host, local, utc, said))
                         FILTER (WHERE NOT inside))[:3]::text
             FROM shown"
                .to_owned(),
        );
        let (inside, narrow, wrong): (i64, i64, Option<String>) = sqlx::query_as(question)
            .bind(looks.iter().map(|l| l.host.clone()).collect::<Vec<_>>())
            .bind(looks.iter().map(|l| l.local).collect::<Vec<_>>())
            .bind(looks.iter().map(|l| l.utc).collect::<Vec<_>>())
            .fetch_one(&world.pool)
            .await
            .unwrap();
        let all = i64::try_from(looks.len()).unwrap();
        assert_eq!(inside, all, "{wrong:?}");
        assert!(narrow > all * 3 / 4, "{narrow} of {all}");
    }
    world.end().await;
}

/// What a clock showed right before it was set, and right after: never the other way round, however small the step.
async fn orders(world: &World, looks: &[Look]) {
    let near = |pair: &&[Look]| {
        pair[0].host == pair[1].host && (0..10_000_000).contains(&(pair[1].utc - pair[0].utc))
    };
    let pairs: Vec<_> = looks.windows(2).filter(near).collect();
    let back =
        pairs.iter().filter(|p| p[1].local < p[0].local && p[0].local - p[1].local < 5_000_000);
    assert!(back.count() > 3 && pairs.len() > 100, "{}", pairs.len());
    let said: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT fleet.order_of(q.host, q.a, q.host, q.b), q.a, q.b
         FROM unnest($1::text[], $2::int8[], $3::int8[]) AS q(host, a, b)",
    )
    .bind(pairs.iter().map(|p| p[0].host.clone()).collect::<Vec<_>>())
    .bind(pairs.iter().map(|p| p[0].local).collect::<Vec<_>>())
    .bind(pairs.iter().map(|p| p[1].local).collect::<Vec<_>>())
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let wrong: Vec<_> = said.iter().filter(|(order, ..)| order == "after").collect();
    assert!(
        wrong.is_empty(),
        "{} of {}: {:?}",
        wrong.len(),
        said.len(),
        &wrong[..wrong.len().min(5)]
    );
}
