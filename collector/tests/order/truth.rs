use crate::history::{History, Moment, Random};
use crate::world::World;

const HISTORIES: u64 = 2_000;
const MOMENTS: usize = 4;
/// Of hosts that are cut off.
const CUT_OFF: u64 = 500;

/// Moments of many hosts, column by column, as queries take them.
pub(crate) struct Moments {
    pub(crate) names: Vec<String>,
    pub(crate) local: Vec<i64>,
    pub(crate) utc: Vec<i64>,
}

pub(crate) fn moments(histories: &[History], each: usize, random: &mut Random) -> Moments {
    let mut all = Moments { names: Vec::new(), local: Vec::new(), utc: Vec::new() };
    for history in histories.iter().filter(|history| history.tells()) {
        for _ in 0..each {
            let Moment { utc, local } = history.moment(random);
            all.names.push(history.name.clone());
            all.local.push(local);
            all.utc.push(utc);
        }
    }
    all
}

/// Proves that the true time of a reading is in one of the intervals that `utc_window` gives, that `order_of` never
/// says the wrong order and `order_lines` neither, and that `skew` holds the true one: over thousands of
/// histories with steps, reboots, sleep, gaps and slews. And that these say something: most are narrow.
#[tokio::test(flavor = "multi_thread")]
async fn the_truth_is_always_inside() {
    let world = World::new().await;
    let histories: Vec<_> = (1..=HISTORIES).map(History::eventful).collect();
    world.fill(&histories).await;
    let mut random = Random(7);
    let at = moments(&histories, MOMENTS, &mut random);
    inside(&world, &at).await;
    let [right, undecidable] = orders(&world, &at).await;
    assert!(right > undecidable, "{right} {undecidable}");
    in_lines(&world, &at).await;
    skews(&world, &histories, &mut random).await;
    world.end().await;
}

/// Proves the same of hosts that are cut off from the collector now and then: of boots whose reports came after the
/// next one had begun, without a window, filed by clocks that were hours off; and of such that an earlier release filed.
#[tokio::test(flavor = "multi_thread")]
async fn the_truth_is_inside_whatever_a_clock_claimed() {
    let world = World::new().await;
    let histories: Vec<_> = (1..=CUT_OFF).map(History::cut_off).collect();
    world.fill(&histories).await;
    let at = moments(&histories, 2 * MOMENTS, &mut Random(7));
    inside(&world, &at).await;
    let [right, _] = orders(&world, &at).await;
    assert!(right > 0);
    in_lines(&world, &at).await;
    world.repack(crate::history::NOON_NS + 4 * 3_600_000_000_000).await;
    inside(&world, &at).await;
    world.end().await;
}

async fn inside(world: &World, at: &Moments) {
    let outside: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s showed %s at %s: %s', q.host, q.local, q.utc, json_agg(w))
         FROM unnest($1::text[], $2::int8[], $3::int8[]) AS q(host, local, utc)
         LEFT JOIN LATERAL fleet.utc_window(q.host, q.local) w ON true
         GROUP BY q.host, q.local, q.utc
         HAVING NOT coalesce(bool_or(q.utc >= coalesce(w.lo_ns, q.utc) AND q.utc <= coalesce(w.hi_ns, q.utc)
                                     AND w.basis <> 'skipped'), false)",
    )
    .bind(&at.names)
    .bind(&at.local)
    .bind(&at.utc)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(
        outside.is_empty(),
        "{} of {}:\n{}",
        outside.len(),
        at.utc.len(),
        outside[..outside.len().min(5)].join("\n")
    );
}

/// How many pairs of moments are said to be in the right order, and of how many nothing is.
async fn orders(world: &World, at: &Moments) -> [i64; 2] {
    // Neighbouring moments of hosts and of the same one, and such that are an instant apart.
    let next = |n: usize| (n * 7 + n % 3 * 5 + 1) % at.utc.len();
    let said: Vec<(String, i64)> = sqlx::query_as(
        "SELECT CASE WHEN o = 'undecidable' THEN o WHEN (o = 'before') = (q.utc_a < q.utc_b) THEN 'right'
                ELSE 'wrong' END, count(*)
         FROM unnest($1::text[], $2::int8[], $3::int8[], $4::text[], $5::int8[], $6::int8[])
              AS q(host_a, a, utc_a, host_b, b, utc_b),
              fleet.order_of(q.host_a, q.a, q.host_b, q.b) o
         WHERE q.utc_a <> q.utc_b GROUP BY 1",
    )
    .bind(&at.names)
    .bind(&at.local)
    .bind(&at.utc)
    .bind((0..at.utc.len()).map(|n| at.names[next(n)].clone()).collect::<Vec<_>>())
    .bind((0..at.utc.len()).map(|n| at.local[next(n)]).collect::<Vec<_>>())
    .bind((0..at.utc.len()).map(|n| at.utc[next(n)]).collect::<Vec<_>>())
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let count = |word: &str| said.iter().find(|w| w.0 == word).map_or(0, |w| w.1);
    assert_eq!(count("wrong"), 0, "{said:?}");
    ["right", "undecidable"].map(count)
}

/// What is said to be after the line above, or of another run, is.
async fn in_lines(world: &World, at: &Moments) {
    let lines: Vec<(i64, Option<bool>, Option<i64>)> = sqlx::query_as(
        "SELECT line, after_previous, run FROM fleet.order_lines($1::text[], $2::int8[]) ORDER BY position",
    )
    .bind(&at.names)
    .bind(&at.local)
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(lines.len(), at.utc.len());
    let utc =
        |line: &(i64, Option<bool>, Option<i64>)| at.utc[usize::try_from(line.0).unwrap() - 1];
    let mut latest = (i64::MIN, i64::MIN);
    for pair in lines.windows(2) {
        assert!(pair[1].1.is_some());
        assert!(pair[1].1 != Some(true) || utc(&pair[0]) < utc(&pair[1]), "{pair:?}");
        latest.0 = latest.0.max(utc(&pair[0]));
        if pair[1].2 > pair[0].2 {
            latest.1 = latest.0;
        }
        assert!(
            pair[1].2.is_none() || utc(&pair[1]) > latest.1,
            "in a later run, but earlier: {pair:?}"
        );
    }
}

async fn skews(world: &World, histories: &[History], random: &mut Random) {
    let (mut a, mut b, mut time, mut truth) = (vec![], vec![], vec![], vec![]);
    for pair in histories.chunks_exact(2) {
        for _ in 0..MOMENTS {
            let Moment { utc, .. } = pair[0].moment(random);
            let utc = utc / 1000 * 1000;
            let shown = |n: usize| pair[n].error_at(utc);
            if let (Some(x), Some(y)) = (shown(0), shown(1)) {
                a.push(pair[0].name.clone());
                b.push(pair[1].name.clone());
                time.push(utc);
                truth.push(x - y);
            }
        }
    }
    let (all, widths, wrong): (i64, i64, Option<String>) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE s.hi_ns - s.lo_ns < 200000000),
                string_agg(format('%s − %s at %s is %s: %s to %s', q.a, q.b, q.utc, q.truth, s.lo_ns, s.hi_ns), '\n')
                    FILTER (WHERE NOT q.truth BETWEEN s.lo_ns AND s.hi_ns)
         FROM unnest($1::text[], $2::text[], $3::int8[], $4::int8[]) AS q(a, b, utc, truth),
              fleet.skew(q.a, q.b, 'epoch'::timestamptz + q.utc / 1000 * interval '1 us') s",
    )
    .bind(&a)
    .bind(&b)
    .bind(&time)
    .bind(&truth)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(all > 1_000, "{all}");
    assert_eq!(wrong, None, "of {all}");
    assert!(widths > all / 4, "{widths} of {all}");
}

/// Proves that lines of one clock, some to the nanosecond and some to the microsecond, are said to be in order only where
/// they are: what is cut off may be any part of the microsecond.
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_several_precisions() {
    const ERROR_NS: i64 = 40_000_000;
    let world = World::new().await;
    world.fill(&[History::steady("ctl-3", ERROR_NS)]).await;
    let mut random = Random(11);
    for _ in 0..20 {
        let shown: Vec<i64> =
            (0..50).map(|_| crate::history::NOON_NS - random.within(0, 20_000)).collect();
        let spans: Vec<i64> =
            shown.iter().map(|_| if random.one_in(2) { 999 } else { 0 }).collect();
        let told =
            shown.iter().zip(&spans).map(|(s, span)| if *span > 0 { s - s % 1000 } else { *s });
        let lines: Vec<(i64, i64, i64, Option<bool>)> = sqlx::query_as(
            "SELECT line, lo_ns, hi_ns, after_previous
             FROM store.order_lines(array_fill('ctl-3'::text, ARRAY[50]), $1::int8[], $2::int8[]) ORDER BY position",
        )
        .bind(told.collect::<Vec<_>>())
        .bind(&spans)
        .fetch_all(&world.pool)
        .await
        .unwrap();
        let local = |line: i64| shown[usize::try_from(line).unwrap() - 1];
        for (line, lo, hi, _) in &lines {
            let utc = local(*line) - ERROR_NS;
            assert!(*lo <= utc && utc <= *hi, "{lo} to {hi} is not {utc}");
        }
        let sure: Vec<_> = lines.windows(2).filter(|pair| pair[1].3 == Some(true)).collect();
        assert!(sure.len() > 10, "{}", sure.len());
        assert!(sure.iter().all(|pair| local(pair[0].0) < local(pair[1].0)), "{sure:?}");
    }
    world.end().await;
}

/// Proves that a limit of the oscillator's rate that was lowered counts from then on only: of an epoch that is over, nobody
/// knows what its windows rested on.
#[tokio::test(flavor = "multi_thread")]
async fn a_lowered_drift_limit_narrows_nothing_of_the_past() {
    let world = World::new().await;
    world.fill(&[History::steady("ctl-3", 0)]).await;
    world.run("UPDATE store.sample SET stray_ns = NULL, rate_margin_ppb = NULL").await;
    let width = "SELECT hi_ns - lo_ns FROM fleet.utc_window('ctl-3', $1::int8)";
    let width = async || -> i64 {
        let reading = crate::history::NOON_NS - 20_000_000_000;
        sqlx::query_scalar(width).bind(reading).fetch_one(&world.pool).await.unwrap()
    };
    let before = width().await;
    world
        .run(
            "INSERT INTO store.host_state
                 (host_id, ref_time, received_at, seq, host_ns, raw_ns, drift_limit_ppb, kernel_max_error_ns,
                  kernel_estimated_error_ns, kernel_frequency_ppb, kernel_status, kernel_synchronised, tai_offset_s,
                  boot_no, steps, state, leap, discipliner, drift_ceiling_ppb)
             VALUES (1, now(), now(), 99, 1, 1, 10000, 1, 1, 0, 0, true, 37, 1, 1, 2, 0, 0, 10000)",
        )
        .await;
    assert_eq!(width().await, before);
    world.run("UPDATE store.host_state SET steps = 0").await;
    assert!(width().await < before, "it is the epoch that runs");
    world.end().await;
}
