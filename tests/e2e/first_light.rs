use anyhow::Result;
use house_tests::{ACCOUNT, AgentKnobs, Chronyd, House, skip, visit};

/// Proves that a real chronyd's time goes through agent, wire, collector and database onto the page
/// in a real browser, and that no window on the way lies: agent and server share one clock, so every
/// window must contain an error of zero.
#[tokio::test]
async fn from_chronyd_to_the_page() -> Result<()> {
    let house = House::start("").await?;
    let Some(chronyd) = Chronyd::start(house.folder().path())? else {
        skip("from_chronyd_to_the_page", "no chronyd on this machine");
        return Ok(());
    };
    let host = "first-light";
    let knobs =
        AgentKnobs { host: host.into(), servers: vec![chronyd.name()], ..AgentKnobs::default() };
    let _agent = house.agent(knobs).await?;

    let samples = super::windows(&house.reader().await?, host, 5).await?;
    for (lo, hi) in &samples {
        assert!(lo <= &0 && hi >= &0, "a window without the truth: {lo} … {hi} ns");
        assert!(hi - lo < 50_000_000, "a useless window: {} ns wide", hi - lo);
    }

    let (name, password) = ACCOUNT;
    let Some(page) = visit("fleet_page.js", &[&house.web_url(), name, password, host])? else {
        skip("from_chronyd_to_the_page (the page)", "no Chromium, Node or playwright-core");
        return Ok(());
    };
    assert_eq!(page["errors"].as_array().map(Vec::len), Some(0), "the browser complains: {page}");
    let row = page["row"].as_str().unwrap_or_default();
    assert!(row.contains(host) && row.contains("safe"), "the fleet page shows {row:?}");
    let sources = page["hostPage"].as_str().unwrap_or_default();
    assert!(sources.contains(&chronyd.name()), "the host page names no source: {sources}");
    assert!(sources.contains("selected"), "the host page gives no verdict: {sources}");
    Ok(())
}
