use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use house_tests::{House, binary};
use serde_json::Value;

const HOSTS: u64 = 120;
const GARBAGE: u64 = 3;

/// Proves that the light fleet tells the truth of a collector: under storms, cut sessions and duplicates,
/// everything it calls acknowledged is in the database exactly once, nothing was left unanswered, and what
/// could never be stored was refused with the reasons that the collector also shows.
#[tokio::test]
async fn what_the_light_fleet_reports_is_what_is_stored() -> Result<()> {
    let limits = "[ingest]\nreports-per-second = 100000\nburst = 100000\n";
    let house = House::start(limits).await?;
    let folder = house.folder().path();
    let acknowledged = folder.join("acknowledged");
    let fleet = Command::new(binary("truechimer-fleet")?)
        .args(["--model", "light", "--json", "--report-interval", "200 ms", "--for", "6 s"])
        .args(["--storm", "2 s", "--drop-percent", "2", "--duplicate-percent", "5"])
        .args(["--hosts", &HOSTS.to_string(), "--garbage", &GARBAGE.to_string()])
        .args(["--collector", &house.grpc_url(), "--reports-per-batch", "3"])
        .arg("--join-token-file")
        .arg(house.join_token())
        .arg("--state-dir")
        .arg(folder.join("light"))
        .arg("--acknowledged-file")
        .arg(&acknowledged)
        .output()?;
    let log = String::from_utf8_lossy(&fleet.stderr);
    ensure!(fleet.status.success(), "{log}");
    let told = String::from_utf8(fleet.stdout)?;
    let told: Value = serde_json::from_str(told.lines().last().context("no report")?)?;
    ensure!(told["event"] == "final" && told["never_acknowledged"] == 0, "{told}\n{log}");
    for count in ["sessions_ended", "refused"] {
        ensure!(told[count].as_object().is_some_and(|words| words.len() >= 2), "{count}: {told}");
    }
    ensure!(
        told["resent"].as_u64() > Some(0) && told["reconnect"]["count"].as_u64() >= Some(HOSTS)
    );

    let owner = house.owner().await?;
    let text = fs::read_to_string(&acknowledged)?;
    let mut promised = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [host, boot, last, "0"] = words[..] else { anyhow::bail!("{line}") };
        let last: i64 = last.parse()?;
        let (rows, different, highest): (i64, i64, i64) = sqlx::query_as(
            "SELECT count(*), count(DISTINCT s.seq), coalesce(max(s.seq), 0)
             FROM store.sample s JOIN store.host h USING (host_id) JOIN store.boot b USING (host_id, boot_no)
             WHERE h.host_uuid = $1::uuid AND b.boot_id = $2::uuid",
        )
        .bind(host)
        .bind(boot)
        .fetch_one(&owner)
        .await?;
        ensure!([rows, different, highest] == [last; 3], "{line}: {rows} {different} {highest}");
        promised += rows;
    }
    ensure!(text.lines().count() as u64 == HOSTS - GARBAGE && promised > 1_000, "{promised} rows");
    let reasons: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT reason FROM store.refusal ORDER BY reason")
            .fetch_all(&owner)
            .await?;
    let told: Vec<_> =
        told["refused"].as_object().into_iter().flatten().map(|(word, _)| word).collect();
    ensure!(reasons.iter().eq(told.iter().copied()), "{reasons:?}, told {told:?}");
    Ok(())
}

/// Proves that the ingest benchmark measures what it says on the real programs: it ends well, and finds
/// processor time, log and table bytes of every part.
#[test]
fn the_ingest_benchmark_measures() -> Result<()> {
    let folder = house_tests::Folder::new()?;
    let json = folder.path().join("figures.json");
    let bench = Command::new(binary("bench-ingest")?)
        .arg("--collector")
        .arg(binary("truechimer")?)
        .arg("--fleet")
        .arg(binary("truechimer-fleet")?)
        .arg("--psql")
        .arg(psql())
        .arg("--folder")
        .arg(folder.path())
        .arg("--json")
        .arg(&json)
        .args(["--quick", "--parts", "flood6,copy"])
        .output()?;
    ensure!(bench.status.success(), "{}", String::from_utf8_lossy(&bench.stderr));
    let figures: Value = serde_json::from_str(&fs::read_to_string(&json)?)?;
    let rows = figures["rows"].as_array().context("no rows")?;
    ensure!(rows.len() == 2, "{figures}");
    for row in rows {
        for figure in ["rows", "seconds", "postgres_cpu_s", "wal_bytes", "index_bytes_per_row"] {
            ensure!(row[figure].as_f64() > Some(0.0), "{figure}: {row}");
        }
        ensure!(row["never_acknowledged"] == 0, "{row}");
    }
    ensure!(rows[0]["collector_cpu_s"].as_f64() > Some(0.0), "{figures}");
    let printed = String::from_utf8_lossy(&bench.stdout);
    ensure!(printed.contains("x psql, goal 0.8"), "{printed}");
    Ok(())
}

/// Beside the server's programs, which `./run test` names.
fn psql() -> PathBuf {
    std::env::var_os("POSTGRES_BIN")
        .map_or_else(|| "psql".into(), |bin| PathBuf::from(bin).join("psql"))
}
