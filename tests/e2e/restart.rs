use anyhow::{Context, Result};
use house_tests::{AgentKnobs, Claims, House, NtpServer};

/// Proves that a collector told to stop ends cleanly with its database, and that the next start
/// finds all data, the account and the enrolled host, and takes up where it left.
#[tokio::test]
async fn a_second_start_keeps_everything() -> Result<()> {
    let source = NtpServer::start(Claims::default())?;
    let mut house = House::start("").await?;
    let host = "stays";
    let knobs =
        AgentKnobs { host: host.into(), servers: vec![source.name()], ..AgentKnobs::default() };
    let mut agent = house.agent(knobs).await?;
    let before = super::windows(&house.reader().await?, host, 3).await?;

    let status = agent.process.terminate().await?;
    assert!(status.success(), "the agent ended with {status}");
    let status = house.collector.terminate().await?;
    assert!(status.success(), "the collector ended with {status}");
    assert!(!house.postgres_runs(), "Postgres runs on");

    house.restart().await?;
    agent.restart().await?;
    let reader = house.reader().await?;
    let after = super::windows(&reader, host, before.len() + 2).await?;
    assert_eq!(before, after[..before.len()], "samples changed over the restart");
    let hosts: i64 = sqlx::query_scalar("SELECT count(*) FROM host_now").fetch_one(&reader).await?;
    assert_eq!(hosts, 1, "the restarted agent is another host");
    let users = house.administer(&["user", "list"]).context("user list")?;
    assert!(users.contains("admin"), "the account is gone: {users}");
    Ok(())
}

/// Proves that a second collector on the same data is refused in words, and the first one is unharmed.
#[tokio::test]
async fn two_collectors_cannot_share_a_folder() -> Result<()> {
    let mut house = House::start("").await?;
    let refused = house.serve_again().await?;
    assert!(refused.contains("in use"), "the second collector says: {refused}");
    house.collector.lives()?;
    house.ready().await
}
