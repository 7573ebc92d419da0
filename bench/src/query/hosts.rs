//! Hosts with their newest reports and what the rules say of them, as a running collector would have them.

use anyhow::Result;
use sqlx::{AssertSqlSafe, PgPool, raw_sql};

/// Sources of a host.
const SOURCES: u32 = 3;

/// Enrols `hosts` hosts numbered from 1 in an empty database; their newest report is of `until`, in seconds
/// since 1970. Their windows are tens of microseconds wide but for one in a hundred, which is far off.
pub(crate) async fn enrol(pool: &PgPool, hosts: u32, until: f64) -> Result<()> {
    let script = format!(
        "INSERT INTO store.host (host_uuid, name, service, simulated, agent_version, credential_hash, boots)
         SELECT md5('host ' || n)::uuid, 'bench-' || lpad(n::text, 7, '0'), 'service-' || n % 40, true, 'bench',
                sha256(convert_to('host ' || n, 'UTF8')), 1
         FROM generate_series(1, {hosts}) AS n ORDER BY n;

         INSERT INTO store.boot (host_id, boot_id, boot_no, last_seq, steps)
         SELECT host_id, md5('boot ' || host_id)::uuid, 1, 0, 0 FROM store.host;

         INSERT INTO store.host_state (host_id, ref_time, received_at, seq, host_ns, raw_ns, lo_ns, hi_ns,
             offset_ns, sigma_ns, sigma_k, estimate_samples, frequency_ppb, frequency_sigma_ppb,
             drift_limit_ppb, kernel_max_error_ns, kernel_estimated_error_ns, kernel_frequency_ppb,
             kernel_status, kernel_synchronised, tai_offset_s, boot_no, steps, state, leap, discipliner,
             rate_lo_ppb, rate_hi_ppb, drift_ceiling_ppb)
         SELECT host_id, at, at, 1, (extract(epoch FROM at) * 1e9)::int8, 1000000000, off - 30000 - h % 20000,
                off + 30000 + h / 7 % 20000, off, 4000, 3, 16, host_id % 40000 - 20000, 10, 50000, 16000000,
                500, 0, 8193, true, 37, 1, 0, 2, 1, 2, -500, 500, 50000
         FROM (SELECT host_id, to_timestamp({until} - host_id % 10000 / 1000.0) AS at, abs(hashint8(host_id)::int8) AS h,
                      CASE host_id % 100 WHEN 0 THEN hashint8(host_id)::int8 / 10 ELSE hashint8(host_id) % 20000 END AS off
               FROM store.host) x ORDER BY host_id;

         INSERT INTO store.source_state (host_id, position, name, address, verdict, reach, poll_log2, lo_ns,
             hi_ns, offset_ns, delay_ns, jitter_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns,
             accepted, refused, leap, authentication, stamps)
         SELECT host_id, p, 'ntp' || p || '.example', '192.0.2.' || p || ':123',
                CASE p WHEN 1 THEN 'selected' ELSE 'combined' END, 255, 6, -40000, 40000, 100, 60000, 2000, 2,
                3221225985, 1000000, 20000, 4000, 0, 1, 1, 2
         FROM store.host, generate_series(1, {SOURCES}) AS p ORDER BY host_id, p;

         INSERT INTO store.assessment (host_id, answer, budget_ns, silent, since)
         SELECT host_id, CASE WHEN s.lo_ns > 10000000 OR s.hi_ns < -10000000 THEN 'certain'
                              WHEN host_id % 500 = 1 THEN 'unknown' WHEN host_id % 500 < 8 THEN 'possible'
                              ELSE 'safe' END,
                10000000, host_id % 500 = 1, to_timestamp({until} - host_id % 86400)
         FROM store.host_state s ORDER BY host_id;

         VACUUM ANALYZE store.host;
         VACUUM ANALYZE store.boot;
         VACUUM ANALYZE store.host_state;
         VACUUM ANALYZE store.source_state;
         VACUUM ANALYZE store.assessment;"
    );
    run(pool, &script).await
}

/// Lets `cookie` be somebody who has signed in.
pub(crate) async fn sign_in(pool: &PgPool, cookie: &str) -> Result<()> {
    let script = format!(
        "INSERT INTO store.user_account (name, password_hash) VALUES ('bench', '') ON CONFLICT DO NOTHING;
         INSERT INTO store.web_session (session_hash, user_id, csrf_token, expires_at)
         SELECT sha256(convert_to('{cookie}', 'UTF8')), user_id, 'bench', now() + interval '1 day'
         FROM store.user_account WHERE name = 'bench'
         ON CONFLICT (session_hash) DO UPDATE SET expires_at = EXCLUDED.expires_at;"
    );
    run(pool, &script).await
}

/// Statements, each in a transaction of its own.
pub(crate) async fn run(pool: &PgPool, script: &str) -> Result<()> {
    for statement in script.split(";\n") {
        raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await?;
    }
    Ok(())
}
