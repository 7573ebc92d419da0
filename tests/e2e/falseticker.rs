use anyhow::Result;
use house_tests::{AgentKnobs, Claims, House, NtpServer, eventually};
use timebase::Span;

/// Proves that of four servers the one that is 80 ms off is named as the liar, in the agent's own
/// status and in SQL, and that it does not move the window.
#[tokio::test]
async fn one_liar_among_four_is_named_and_ignored() -> Result<()> {
    let good = [(); 3].map(|()| NtpServer::start(Claims::default()));
    let good = good.into_iter().collect::<Result<Vec<_>>>()?;
    let liar = NtpServer::start(Claims { offset: Span::from_millis(80), ..Claims::default() })?;
    let house = House::start("").await?;
    let servers = good.iter().chain([&liar]).map(NtpServer::name).collect();
    let host = "four-sources";
    let agent =
        house.agent(AgentKnobs { host: host.into(), servers, ..AgentKnobs::default() }).await?;
    let reader = house.reader().await?;

    let verdicts = eventually("a verdict on every source", super::SOON, async || {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT source, verdict FROM sources_now WHERE host = $1")
                .bind(host)
                .fetch_all(&reader)
                .await?;
        let judged = rows.iter().filter(|(_, verdict)| verdict != "no-answer-yet").count();
        let named = rows.iter().any(|(_, verdict)| verdict == "falseticker");
        Ok(if judged == 4 && named { Ok(rows) } else { Err(rows) })
    })
    .await?;
    for (source, verdict) in &verdicts {
        let lies = *source == liar.name();
        assert_eq!(lies, verdict == "falseticker", "{source} is called {verdict}");
    }

    let status = agent.status()?.to_string();
    assert!(status.contains("falseticker"), "status does not name the liar: {status}");

    // From the first window that rests on a majority on, none may reach towards the liar.
    let all = super::windows(&reader, host, 5).await?;
    for (lo, hi) in all {
        assert!(lo <= 0 && hi >= 0, "a window without the truth: {lo} … {hi} ns");
        assert!(lo > -40_000_000, "a window that listens to the liar: {lo} … {hi} ns");
    }
    Ok(())
}
