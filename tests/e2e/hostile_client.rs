use anyhow::{Context, Result, ensure};
use fleet_proto::pb;
use fleet_proto::pb::collector_message::Message as FromCollector;
use house_tests::{Client, House, eventually, metric};
use uuid::Uuid;

/// 2200-01-01: a host clock that is far ahead, or a liar.
const YEAR_2200_NS: i64 = 7_258_118_400_000_000_000;

/// How long the collector waits for answers to be read, and for the next batch.
const PATIENCE: &str = "[ingest]\nidle-timeout = \"5 s\"\n";

/// Proves that no client can report for another host, write into the future, or stop the collector
/// with what it sends or does not read: each is refused in words and counted, and a well-behaved
/// host is served all the while.
#[tokio::test]
async fn hostile_clients_are_refused_and_stop_nobody() -> Result<()> {
    let mut house = House::start(PATIENCE).await?;
    let enrol = async |name| Client::enrol(&house.grpc_url(), &house.join_token(), name).await;
    let good = enrol("good").await?;
    let bad = enrol("bad").await?;
    let mut served = good.session().await?;
    let mut seq = 0i64;
    let mut good_is_served = async || -> Result<()> {
        seq += 1;
        served.send(good.batch(vec![good.report(seq.cast_unsigned())])).await?;
        let answer = served.answer().await?;
        ensure!(matches!(answer, FromCollector::Ack(_)), "the good host gets {answer:?}");
        Ok(())
    };
    good_is_served().await?;

    impostors(&good, &bad, house.join_token()).await?;
    good_is_served().await?;
    huge_batches(&bad).await?;
    good_is_served().await?;
    the_future(&bad).await?;
    good_is_served().await?;
    let slow = tokio::spawn(never_reads(bad));
    eventually("the slow reader is cut off", super::SOON, async || {
        good_is_served().await?;
        let page = house.metrics().await?;
        let cut = metric(&page, "truechimer_ingest_refusals_total{reason=\"slow-reader\"}") > 0.0;
        Ok(if cut { Ok(()) } else { Err("it is not") })
    })
    .await?;
    assert_eq!(house.metric("truechimer_ingest_sessions").await?, 1.0, "sessions left open");
    slow.abort();

    let owner = house.owner().await?;
    let late: i64 = sqlx::query_scalar("SELECT count(*) FROM store.sample WHERE ref_time > now()")
        .fetch_one(&owner)
        .await?;
    assert_eq!(late, 0, "samples of the future were stored");
    let names: Vec<(String, i64)> = sqlx::query_as(
        "SELECT name, count(*) FROM store.host LEFT JOIN store.sample USING (host_id)
         WHERE name = 'good' GROUP BY name",
    )
    .fetch_all(&owner)
    .await?;
    assert_eq!(names, [("good".to_owned(), seq)], "somebody wrote in the good host's name");
    let refused: i64 =
        sqlx::query_scalar("SELECT coalesce(sum(count), 0)::int8 FROM store.refusal")
            .fetch_one(&owner)
            .await?;
    assert!(refused >= 1, "no refusal is on record");
    let counted = house.metric("truechimer_ingest_refusals_total").await?;
    assert!(counted >= 3.0, "only {counted} refusals were counted");
    let unknown = house.metric("truechimer_ingest_unauthenticated_total").await?;
    assert!(unknown >= 2.0, "only {unknown} calls without a credential were counted");
    house.collector.lives()
}

/// A credential counts for its own host only; a made-up one, and a join token in its place, for none.
async fn impostors(good: &Client, bad: &Client, join_token: std::path::PathBuf) -> Result<()> {
    let token = std::fs::read_to_string(join_token)?;
    let with = |host_id: Uuid, credential: &str| {
        let mut client = bad.clone();
        client.host_id = host_id;
        client.credential = credential.to_owned();
        client
    };
    let wrong_host = with(good.host_id, &bad.credential);
    let nobody = with(Uuid::new_v4(), &bad.credential);
    let invented = with(good.host_id, &format!("tch_{}", "A".repeat(43)));
    let joined = with(good.host_id, token.trim());
    for impostor in [wrong_host, nobody, invented, joined] {
        let outcome = impostor.session().await;
        ensure!(outcome.is_err(), "{impostor:?} was welcomed");
    }
    Ok(())
}

/// More reports than the welcome allows, then one message beyond any size.
async fn huge_batches(bad: &Client) -> Result<()> {
    let mut session = bad.session().await?;
    let most = u64::from(session.welcome.max_batch);
    let reports = (1..=most + 1).map(|seq| bad.report(seq)).collect();
    session.send(bad.batch(reports)).await?;
    match session.answer().await {
        Ok(FromCollector::Refusal(refusal)) => {
            ensure!(!refusal.retry && !refusal.reason.is_empty(), "a poor refusal: {refusal:?}");
        }
        other => anyhow::bail!("a batch of {} reports was answered with {other:?}", most + 1),
    }

    let mut session = bad.session().await?;
    let mut report = bad.report(1);
    let source = pb::Source { name: "x".repeat(4 << 20), ..pb::Source::default() };
    report.sources.push(source);
    session.send(bad.batch(vec![report])).await?;
    ensure!(
        !matches!(session.answer().await, Ok(FromCollector::Ack(_))),
        "a report of four megabytes was acknowledged"
    );
    Ok(())
}

/// Stamps of the year 2200 on either clock: refused, or filed under the collector's own time.
async fn the_future(bad: &Client) -> Result<()> {
    let mut session = bad.session().await?;
    let mut ahead = bad.report(1);
    ahead.realtime_ns = YEAR_2200_NS;
    let mut unmade = bad.report(2);
    unmade.raw_ns = i64::MAX;
    session.send(bad.batch(vec![ahead, unmade])).await?;
    session.answer().await.context("after stamps of the future")?;
    Ok(())
}

/// Sends on and on and takes no answer, as fast as the collector reads.
async fn never_reads(bad: Client) -> Result<()> {
    let mut session = bad.narrow_session().await?;
    for seq in 10.. {
        session.send(bad.batch(vec![bad.report(seq)])).await?;
    }
    Ok(())
}
