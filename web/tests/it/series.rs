use serde_json::Value;
use sqlx::PgPool;

use crate::data;
use crate::site::Site;

async fn series(site: &mut Site, range: &str) -> Value {
    let page = site.get(&format!("/api/hosts/{}/series?range={range}", data::uuid(1))).await;
    serde_json::from_str(&page.text).unwrap_or_else(|e| panic!("{e}: {}", page.text))
}

fn column(series: &Value, name: &str) -> Vec<Option<i64>> {
    series[name].as_array().unwrap().iter().map(Value::as_i64).collect()
}

/// Proves that thinning keeps the least and the greatest value, even of one single sample among many.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn thinning_keeps_extremes(pool: PgPool) {
    data::partition(&pool).await;
    data::host(&pool, 1, "ctl-1", "", "safe", -3, 2).await;
    let fill = "INSERT INTO store.sample (host_id, ref_time, seq, host_ns, raw_ns, lo_ns, hi_ns, offset_ns,
                    boot_no, steps, state, sources_used)
                SELECT host_id, now() - make_interval(secs => n * 10 + 5), n, 0, 0, -1000, 1000, 0, 1, 0, 2, 1
                FROM store.host, generate_series(1, 8000) n";
    sqlx::query(fill).execute(&pool).await.unwrap();
    data::sample(&pool, 1, 40_001.0, 0, Some((-777_777, 1000))).await;
    data::sample(&pool, 1, 60_001.0, 0, Some((-1000, 888_888))).await;
    let mut site = Site::signed_in(pool).await;
    let day = series(&mut site, "24h").await;
    let (lo, hi) = (column(&day, "lo_ns"), column(&day, "hi_ns"));
    assert!((500..=1000).contains(&lo.len()), "{} points", lo.len());
    assert_eq!(lo.iter().flatten().min(), Some(&-777_777));
    assert_eq!(hi.iter().flatten().max(), Some(&888_888));
    assert_eq!(lo.iter().filter(|v| v.is_none()).count(), 0, "regular samples have no gap");
    assert_eq!(day["budget_ns"], 100_000_000);
    let t: Vec<f64> = day["t"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
    assert!(t.len() == lo.len() && t.is_sorted());
}

/// Proves that silence, a report without a window, and a step are gaps, never a line across.
#[sqlx::test(migrator = "store::MIGRATIONS")]
async fn gaps_are_gaps(pool: PgPool) {
    data::partition(&pool).await;
    data::host(&pool, 1, "ctl-1", "", "safe", -3, 2).await;
    for (ago, steps, window) in [
        (600.0, 0, Some((-10, 10))),
        (590.0, 0, Some((-10, 10))),
        (400.0, 0, Some((-10, 10))),
        (390.0, 0, None),
        (380.0, 0, Some((-10, 10))),
        (370.0, 1, Some((90, 110))),
    ] {
        data::sample(&pool, 1, ago, steps, window).await;
    }
    data::run(&pool, "INSERT INTO store.event SELECT host_id, 1, 1, 0, now() - interval '370 s', 0, 0, 'step', 100, 'stepped' FROM store.host").await;
    let mut site = Site::signed_in(pool).await;
    let quarter = series(&mut site, "15m").await;
    let shape: Vec<bool> = column(&quarter, "lo_ns").iter().map(Option::is_some).collect();
    assert_eq!(shape, [true, true, false, true, false, true, false, true]);
    assert_eq!(quarter["events"][0]["summary"], "stepped");
    for range in ["1h", "6h", "24h", "7d"] {
        assert!(!column(&series(&mut site, range).await, "lo_ns").is_empty(), "{range}");
    }
}
