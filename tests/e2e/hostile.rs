use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use house_tests::{AgentKnobs, Claims, Folder, House, NtpServer, Reply, binary, eventually};

/// Proves that a source which sends garbage, or answers to questions nobody asked, is counted and
/// takes no part, while the good source beside it goes on giving windows that hold the truth.
#[tokio::test]
async fn garbage_on_the_ntp_port_is_counted_and_harmless() -> Result<()> {
    let good = NtpServer::start(Claims::default())?;
    let garbage = NtpServer::start(Claims { reply: Reply::Garbage, ..Claims::default() })?;
    let forger = NtpServer::start(Claims { reply: Reply::WrongOrigin, ..Claims::default() })?;
    let house = House::start("").await?;
    let host = "garbage";
    let servers = [&good, &garbage, &forger].map(NtpServer::name).to_vec();
    let mut agent =
        house.agent(AgentKnobs { host: host.into(), servers, ..AgentKnobs::default() }).await?;
    let reader = house.reader().await?;

    eventually("refused answers are counted per source", super::SOON, async || {
        let rows: Vec<(String, i64, i64)> =
            sqlx::query_as("SELECT source, accepted, refused FROM sources_now WHERE host = $1")
                .bind(host)
                .fetch_all(&reader)
                .await?;
        let bad = |name: &str| {
            rows.iter().any(|(n, accepted, refused)| n == name && *accepted == 0 && *refused >= 3)
        };
        Ok(if bad(&garbage.name()) && bad(&forger.name()) { Ok(()) } else { Err(rows) })
    })
    .await?;
    let windows = super::windows(&reader, host, 5).await?;
    assert!(windows.iter().all(|(lo, hi)| *lo <= 0 && *hi >= 0), "{windows:?}");
    agent.process.lives()
}

/// Proves that both programs refuse a broken settings file with the key and the line, and do not start.
#[test]
fn a_broken_settings_file_is_refused_in_words() -> Result<()> {
    let folder = Folder::new()?;
    let file = folder.path().join("broken.toml");
    fs::write(&file, "# one line before\nreport-intervall = \"1 s\"\n")?;
    for (program, command) in [("truechimer", "serve"), ("truechimer-agent", "run")] {
        let output =
            Command::new(binary(program)?).arg(command).arg("--config").arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{program} started");
        assert!(said.contains("report-intervall"), "{program} does not name the key: {said}");
        assert!(said.contains("line 2") || said.contains(":2"), "{program}, no line: {said}");
    }
    Ok(())
}

/// Proves that every metric the two programs serve is explained in docs/METRICS.md, and the other way
/// round.
#[tokio::test]
async fn every_metric_is_documented() -> Result<()> {
    let source = NtpServer::start(Claims::default())?;
    let house = House::start("").await?;
    let knobs =
        AgentKnobs { host: "m".into(), servers: vec![source.name()], ..AgentKnobs::default() };
    let agent = house.agent(knobs).await?;
    super::windows(&house.reader().await?, "m", 1).await?;
    let served = series(&(house.metrics().await? + &agent.metrics().await?));
    assert!(served.len() > 30, "only {served:?}");
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(top.join("docs/METRICS.md"))?;
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(Into::into)
        .collect();
    let missing: Vec<_> = served.difference(&documented).collect();
    // A counter with labels is served from its first event on.
    let silent =
        ["truechimer_agent_refused_total", "truechimer_deliveries_total"].map(str::to_owned);
    let stale: Vec<_> =
        documented.difference(&served).filter(|name| !silent.contains(name)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nstale: {stale:#?}");
    Ok(())
}

/// The names under which Prometheus stores what a page of OpenMetrics text declares.
fn series(page: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        Some(format!("{name}{suffix}"))
    };
    page.lines().filter_map(name).collect()
}
