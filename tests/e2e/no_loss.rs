use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use house_tests::{
    Agent, AgentKnobs, Claims, Client, Dice, House, Load, NtpServer, Pace, eventually,
};
use sqlx::PgPool;

/// Fast enough that every death hits reports on their way.
pub(crate) const LIMITS: &str = "[ingest]\nreports-per-second = 100000\nburst = 100000\n";
const HOSTS: usize = 4;
/// Every kind of death, in a random order, so that many times.
const ROUNDS: usize = 2;

/// Who is killed without warning.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Agent,
    Collector,
    Postgres,
    /// One of its processes.
    Backend,
    WholePostgres,
    CollectorAndPostgres,
}

const VICTIMS: [Victim; 6] = [
    Victim::Agent,
    Victim::Collector,
    Victim::Postgres,
    Victim::Backend,
    Victim::WholePostgres,
    Victim::CollectorAndPostgres,
];

/// Proves that killing the agent, the collector and the database, together or apart, without warning, at
/// random instants and under load, loses no acknowledged report and stores none twice: at the end every
/// number that was ever acknowledged is in the table exactly once, and so is everything that ever lay in
/// the agent's spool. `TRUECHIMER_CHAOS_SEEDS=100-199` tries other instants.
#[tokio::test]
async fn kill_9_loses_nothing_and_doubles_nothing() -> Result<()> {
    for seed in seeds()? {
        chaos(seed).await.with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

/// As many as there is time for.
pub(crate) fn seeds() -> Result<std::ops::RangeInclusive<u64>> {
    let Ok(text) = std::env::var("TRUECHIMER_CHAOS_SEEDS") else { return Ok(1..=2) };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    Ok(first.trim().parse()?..=last.trim().parse()?)
}

async fn chaos(seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed);
    let source = NtpServer::start(Claims::default())?;
    let mut house = House::start(LIMITS).await?;
    let knobs =
        AgentKnobs { host: "killed".into(), servers: vec![source.name()], ..AgentKnobs::default() };
    let mut agent = house.agent(knobs).await?;
    let mut load = Vec::new();
    for n in 0..HOSTS {
        let url = house.grpc_url();
        let client = Client::enrol(&url, &house.join_token(), &format!("load-{n}")).await?;
        load.push(Load::start(client, Pace::Acknowledged));
    }
    let mut promised = Promised::default();
    for victim in order(&mut dice) {
        let owner = house.owner().await?;
        grow(&owner, dice.roll(400) as i64).await?;
        owner.close().await;
        tokio::time::sleep(Duration::from_micros(dice.roll(60_000))).await;
        strike(victim, &mut house, &mut agent, &mut promised, &mut dice)
            .await
            .with_context(|| format!("{victim:?}"))?;
    }
    for host in load {
        let name = host.client.name.clone();
        let sent = host.finish(Duration::from_secs(60)).await?;
        ensure!(sent > 100, "{name} made only {sent} reports: that is no load");
        let stored = sequence(&house.owner().await?, &name).await?;
        ensure!(
            stored.iter().copied().eq(1..=sent as i64),
            "{name}: {} of {sent} stored",
            stored.len()
        );
    }
    promised.note(&agent)?;
    promised.kept(&house.owner().await?).await
}

/// Every victim so many times, shuffled.
fn order(dice: &mut Dice) -> Vec<Victim> {
    let mut victims = VICTIMS.repeat(ROUNDS);
    for n in (1..victims.len()).rev() {
        victims.swap(n, dice.roll(n as u64 + 1) as usize);
    }
    victims
}

async fn strike(
    victim: Victim,
    house: &mut House,
    agent: &mut Agent,
    promised: &mut Promised,
    dice: &mut Dice,
) -> Result<()> {
    match victim {
        Victim::Agent => {
            agent.process.kill_9()?;
            promised.note(agent)?;
            promised.restarts += 1;
            agent.restart().await?;
        }
        Victim::Collector => {
            house.collector.kill_9()?;
            house.restart().await?;
        }
        Victim::Postgres => house.kill_9_postgres()?,
        Victim::Backend => house.kill_9_a_backend(dice)?,
        Victim::WholePostgres => house.kill_9_whole_postgres()?,
        Victim::CollectorAndPostgres => {
            house.collector.kill_9()?;
            house.kill_9_whole_postgres()?;
            house.restart().await?;
        }
    }
    house.ready().await
}

/// What the real agent has promised to deliver.
#[derive(Default)]
struct Promised {
    reports: BTreeSet<i64>,
    restarts: usize,
}

impl Promised {
    /// Adds what lies in its spool and what it calls acknowledged.
    fn note(&mut self, agent: &Agent) -> Result<()> {
        self.reports.extend(agent.spooled()?);
        // It may not have written down its first.
        self.reports.extend(agent.acknowledged().ok());
        Ok(())
    }

    /// All of it is stored once, and numbers are missing at the agent's own restarts only.
    async fn kept(&self, owner: &PgPool) -> Result<()> {
        let stored = eventually("the agent's spool is sent", super::SOON, async || {
            let stored = sequence(owner, "killed").await?;
            let have: BTreeSet<i64> = stored.iter().copied().collect();
            let missing: Vec<_> = self.reports.difference(&have).copied().collect();
            Ok(if missing.is_empty() { Ok(stored) } else { Err(missing) })
        })
        .await?;
        ensure!(!self.reports.is_empty(), "the agent promised nothing");
        ensure!(stored.is_sorted_by(|a, b| a < b), "a number is stored twice: {stored:?}");
        let gaps: Vec<_> = stored.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
        ensure!(gaps.len() <= self.restarts, "only restarts leave gaps: {gaps:?}");
        Ok(())
    }
}

/// Waits until that many more samples are stored.
pub(crate) async fn grow(owner: &PgPool, by: i64) -> Result<()> {
    let count = async || -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM store.sample").fetch_one(owner).await?)
    };
    let before = count().await?;
    eventually("samples arrive", super::SOON, async || {
        let now = count().await?;
        Ok(if now >= before + by { Ok(()) } else { Err(format!("{before} became {now}")) })
    })
    .await
}

/// Every stored number of a host, in order, as often as it is stored.
pub(crate) async fn sequence(owner: &PgPool, host: &str) -> Result<Vec<i64>> {
    let select = "SELECT seq FROM store.sample JOIN store.host USING (host_id)
                  WHERE name = $1 ORDER BY seq";
    Ok(sqlx::query_scalar(select).bind(host).fetch_all(owner).await?)
}
