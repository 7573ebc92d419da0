use fleet_proto::pb;

use crate::support::{Agent, World, report};

const HOST: &str = "SELECT concat_ws(' ', rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb, smear,
        coalesce(leap_table_tai_s::text, '-')) FROM fleet.host_now";
const SOURCE: &str = "SELECT concat_ws(' ', kind, authentication, interleaved, smear,
        coalesce(least_delay_ns::text, '-'), coalesce(asymmetry_lo_ns::text, '-'),
        coalesce(asymmetry_hi_ns::text, '-')) FROM fleet.sources_now";

/// Proves that what a report tells of oscillator, leap seconds and paths is what SQL users read, and that
/// the silence of an agent of release 0.1 reads as what it knew.
#[tokio::test(flavor = "multi_thread")]
async fn facts_reach_sql() {
    let mut world = World::start().await;
    let mut session = Agent::enrol(&world, "a").await.session().await;
    session.send(vec![report(1)]).await;
    session.ack().await;
    assert_eq!(world.text(HOST).await, "-50000 50000 50000 none -");
    assert_eq!(world.text(SOURCE).await, "ntp none f none - - -");

    let mut told = report(2);
    told.rate = Some(pb::RateBounds { lo_ppb: -12_300, hi_ppb: -10_900 });
    told.drift_ceiling_ppb = Some(60_000);
    told.smear = "linear-24h".into();
    told.tai_offset_s = Some(37);
    let source = &mut told.sources[0];
    source.kind = "phc".into();
    source.authentication = pb::Authentication::Nts.into();
    source.interleaved = true;
    source.smear = "quadratic".into();
    source.least_delay_ns = Some(2_900);
    source.asymmetry = Some(pb::Bounds { lo_ns: -2_001, hi_ns: 1_001 });
    session.send(vec![told]).await;
    session.ack().await;
    assert_eq!(world.text(HOST).await, "-12300 -10900 60000 linear-24h 37");
    assert_eq!(world.text(SOURCE).await, "phc nts t quadratic 2900 -2001 1001");
    world.stop().await;
}

/// Proves that every column that people may read is explained.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_explained() {
    let mut world = World::start().await;
    let bare = "SELECT coalesce(string_agg(c.relname || '.' || a.attname, ' '), '')
                FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                WHERE c.relnamespace = 'fleet'::regnamespace AND c.relkind IN ('r', 'v', 'm') AND a.attnum > 0
                  AND col_description(c.oid, a.attnum) IS NULL";
    assert_eq!(world.text(bare).await, "");
    world.stop().await;
}
