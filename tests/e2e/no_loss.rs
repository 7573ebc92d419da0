use std::time::Duration;

use anyhow::Result;
use house_tests::{AgentKnobs, Claims, Client, House, Load, NtpServer, eventually};
use sqlx::PgPool;

/// Fast enough that every death hits reports on their way.
const LIMITS: &str = "[ingest]\nreports-per-second = 100000\nburst = 100000\n";
const HOSTS: usize = 4;

/// Proves that killing the agent, the collector and the database, each without warning and under
/// load, loses no acknowledged report and stores none twice: at the end every number that was ever
/// acknowledged is in the table exactly once.
#[tokio::test]
async fn kill_9_loses_nothing_and_doubles_nothing() -> Result<()> {
    let source = NtpServer::start(Claims::default())?;
    let mut house = House::start(LIMITS).await?;
    let knobs =
        AgentKnobs { host: "killed".into(), servers: vec![source.name()], ..AgentKnobs::default() };
    let mut agent = house.agent(knobs).await?;
    let mut load = Vec::new();
    for n in 0..HOSTS {
        let url = house.grpc_url();
        let client = Client::enrol(&url, &house.join_token(), &format!("load-{n}")).await?;
        load.push(Load::start(client));
    }

    grow(&house, 500).await?;
    agent.process.kill_9()?;
    // It may have died before its first acknowledgement.
    let acknowledged_before = agent.acknowledged().ok();
    grow(&house, 500).await?;
    agent.restart().await?;

    house.collector.kill_9()?;
    house.restart().await?;
    grow(&house, 500).await?;

    house.kill_9_postgres()?;
    house.ready().await?;
    grow(&house, 500).await?;

    for host in load {
        let name = host.client.name.clone();
        let sent = host.finish(Duration::from_secs(60)).await?;
        assert!(sent > 100, "{name} made only {sent} reports: that is no load");
        let stored = sequence(&house.owner().await?, &name).await?;
        assert_eq!(stored, (1..=sent as i64).collect::<Vec<_>>(), "{name}");
    }
    agent_lost_nothing(&house, &agent, acknowledged_before).await
}

/// The real agent: its numbers begin anew, higher, at its own restart and nowhere else; the collector's
/// death leaves no gap; and what its cursors called acknowledged, before and after, is there.
async fn agent_lost_nothing(
    house: &House,
    agent: &house_tests::Agent,
    acknowledged_before: Option<i64>,
) -> Result<()> {
    let owner = house.owner().await?;
    // The agent may have been killed before it wrote down its first.
    let acknowledged = eventually("the agent hears an acknowledgement", super::SOON, async || {
        Ok(agent.acknowledged().map_err(|error| error.to_string()))
    })
    .await?;
    let stored = eventually("the agent's spool is sent", super::SOON, async || {
        let stored = sequence(&owner, "killed").await?;
        let last = stored.last().copied().unwrap_or(0);
        Ok(if last >= acknowledged { Ok(stored) } else { Err(last) })
    })
    .await?;
    assert!(stored.is_sorted_by(|a, b| a < b), "a number is stored twice: {stored:?}");
    for seq in acknowledged_before.into_iter().chain([acknowledged]) {
        assert!(stored.contains(&seq), "{seq} was acknowledged: {stored:?}");
    }
    let gaps: Vec<_> = stored.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(gaps.len() <= 1, "only the agent's restart leaves a gap: {gaps:?}");
    Ok(())
}

/// Waits until that many more samples are stored.
async fn grow(house: &House, by: i64) -> Result<()> {
    let owner = house.owner().await?;
    let count = async || -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM store.sample").fetch_one(&owner).await?)
    };
    let before = count().await?;
    eventually("samples arrive", super::SOON, async || {
        let now = count().await?;
        Ok(if now >= before + by { Ok(()) } else { Err(format!("{before} became {now}")) })
    })
    .await
}

/// Every stored number of a host, in order, as often as it is stored.
async fn sequence(owner: &PgPool, host: &str) -> Result<Vec<i64>> {
    let select = "SELECT seq FROM store.sample JOIN store.host USING (host_id)
                  WHERE name = $1 ORDER BY seq";
    Ok(sqlx::query_scalar(select).bind(host).fetch_all(owner).await?)
}
