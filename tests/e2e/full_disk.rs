use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use house_tests::{
    AgentKnobs, Claims, Client, Folder, House, Load, NtpServer, Pace, eventually, skip,
};

use crate::no_loss::{grow, sequence};

const LIMITS: &str = "[ingest]\nreports-per-second = 100000\nburst = 100000\n";
/// Room for a new database and some load.
const ROOM_MIB: u32 = 256;
const HOSTS: usize = 4;
/// Refused writes that are waited for: the database has met the full disk, and not once only.
const REFUSED: f64 = 3.0;

/// Proves that a full disk under the database loses nothing that was acknowledged: reports wait with their
/// senders, every refused write is counted, and once there is room again all goes on without a hand.
#[tokio::test]
async fn a_full_disk_under_the_database_is_waited_out() -> Result<()> {
    let folder = match Folder::with_room(ROOM_MIB)? {
        Ok(folder) => folder,
        Err(why) => {
            skip("a_full_disk_under_the_database_is_waited_out", &why);
            return Ok(());
        }
    };
    let mut house = House::start_in(folder, LIMITS).await?;
    let mut load = Vec::new();
    for n in 0..HOSTS {
        let url = house.grpc_url();
        let client = Client::enrol(&url, &house.join_token(), &format!("load-{n}")).await?;
        load.push(Load::start(client, Pace::Acknowledged));
    }
    let owner = house.owner().await?;
    grow(&owner, 500).await?;
    let ballast = house.folder().fill()?;
    eventually("writes are refused", Duration::from_secs(120), async || {
        house.collector.lives()?;
        let refused = house.metric("truechimer_ingest_write_failures_total").await?;
        Ok(if refused >= REFUSED { Ok(()) } else { Err(refused) })
    })
    .await?;
    fs::remove_file(ballast)?;
    house.ready().await?;
    for host in load {
        let name = host.client.name.clone();
        let sent = host.finish(Duration::from_secs(60)).await?;
        let stored = sequence(&house.owner().await?, &name).await?;
        ensure!(
            stored.iter().copied().eq(1..=sent as i64),
            "{name}: {} of {sent} stored",
            stored.len()
        );
    }
    Ok(())
}

/// Proves that an agent whose disk is full, and whose collector is away, keeps its reports in memory, counts
/// what the disk refused, and delivers all of them once both are back: no number is missing.
#[tokio::test]
async fn a_full_disk_under_the_agent_is_waited_out() -> Result<()> {
    let disk = match Folder::with_room(4)? {
        Ok(disk) => disk,
        Err(why) => {
            skip("a_full_disk_under_the_agent_is_waited_out", &why);
            return Ok(());
        }
    };
    let source = NtpServer::start(Claims::default())?;
    let mut house = House::start("").await?;
    let knobs = AgentKnobs {
        host: "full".into(),
        servers: vec![source.name()],
        state_dir: Some(disk.path().join("state")),
        ..AgentKnobs::default()
    };
    let agent = house.agent(knobs).await?;
    grow(&house.owner().await?, 3).await?;
    let ballast = disk.fill()?;
    house.collector.kill_9()?;
    let told = async |name: &str| -> Result<f64> {
        Ok(house_tests::metric(&agent.metrics().await?, name))
    };
    eventually("the disk refuses reports", super::SOON, async || {
        let refused = told("truechimer_agent_spool_write_failures_total").await?;
        Ok(if refused >= 5.0 { Ok(()) } else { Err(refused) })
    })
    .await?;
    fs::remove_file(ballast)?;
    house.restart().await?;
    eventually("all is delivered", super::SOON, async || {
        let waiting = told("truechimer_agent_spool_reports").await?;
        Ok(if waiting <= 1.0 { Ok(()) } else { Err(waiting) })
    })
    .await?;
    ensure!(told("truechimer_agent_spool_dropped_total").await? == 0.0);
    let stored = sequence(&house.owner().await?, "full").await?;
    ensure!(stored.windows(2).all(|pair| pair[1] == pair[0] + 1), "missing: {stored:?}");
    Ok(())
}
