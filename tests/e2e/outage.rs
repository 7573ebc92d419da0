use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use house_tests::{Client, House, Load, Pace};

use crate::no_loss::{grow, sequence};

const LIMITS: &str = "[ingest]\nreports-per-second = 100000\nburst = 100000\n";
const HOSTS: usize = 4;
/// Reports a second and host: far more than hosts make.
const PACE: Pace = Pace::PerSecond(200);
/// What may wait in the collector, three times over as it lies in memory, and a third more.
const MOST_GROWTH_KIB: i64 = 256 << 10;

/// Proves that a database that is gone under full load costs nothing: first it stands still, then it is killed
/// as often as it comes back. The collector's memory stays bounded, and afterwards every report made in the
/// meantime is stored once. `TRUECHIMER_OUTAGE_SECONDS=600` makes it ten minutes.
#[tokio::test]
async fn a_database_that_is_gone_is_waited_out() -> Result<()> {
    let seconds = std::env::var("TRUECHIMER_OUTAGE_SECONDS").ok();
    let outage = Duration::from_secs(seconds.map_or(Ok(16), |text| text.parse())?);
    let mut house = House::start(LIMITS).await?;
    let mut load = Vec::new();
    for n in 0..HOSTS {
        let url = house.grpc_url();
        let client = Client::enrol(&url, &house.join_token(), &format!("load-{n}")).await?;
        load.push(Load::start(client, PACE));
    }
    let owner = house.owner().await?;
    grow(&owner, 1_000).await?;
    owner.close().await;
    let before = resident_kib(house.collector.id())?;

    let frozen = house.freeze_postgres()?;
    tokio::time::sleep(outage / 2).await;
    let during = resident_kib(house.collector.id())?;
    drop(frozen);
    let until = Instant::now() + outage / 2;
    while Instant::now() < until {
        // It may be between two starts.
        let _ = house.kill_9_whole_postgres();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    house.ready().await?;

    for host in load {
        let name = host.client.name.clone();
        let sent = host.finish(outage + Duration::from_secs(120)).await?;
        let stored = sequence(&house.owner().await?, &name).await?;
        ensure!(
            stored.iter().copied().eq(1..=sent as i64),
            "{name}: {} of {sent} stored",
            stored.len()
        );
        ensure!(u128::from(sent) > outage.as_millis() / 10, "{name} made {sent}: that is no load");
    }
    ensure!(during - before < MOST_GROWTH_KIB, "memory: {before} KiB became {during} KiB");
    house.collector.lives()
}

fn resident_kib(process: u32) -> Result<i64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
