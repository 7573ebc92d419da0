//! The page of one host: window, sources, kernel, identity, events, refusals.

use uuid::Uuid;

use super::At;
use crate::Store;

/// A host and its newest report; fields of the report are null before the first one.
#[derive(Clone, Debug)]
pub struct HostDetail {
    /// Key of the other tables.
    pub host_id: i64,
    /// Identity.
    pub host_uuid: Uuid,
    /// Name as the agent reports it.
    pub name: String,
    /// Service; empty: none configured.
    pub service: String,
    /// Free labels, a JSON object.
    pub labels: serde_json::Value,
    /// Whether it is a host of truechimer-fleet.
    pub simulated: bool,
    /// Version of the agent.
    pub agent_version: String,
    /// When the host got its credential.
    pub enrolled_at: At,
    /// When the credential was revoked.
    pub revoked_at: Option<At>,
    /// Word of the drift rule's answer.
    pub answer: String,
    /// Whether it has not reported within the silence limit.
    pub silent: bool,
    /// Since when the answer has been this one.
    pub since: Option<At>,
    /// Limit of the drift rule, ns.
    pub budget_ns: Option<i64>,
    /// Collector's time of the newest sample.
    pub sampled_at: Option<At>,
    /// When the newest batch came in.
    pub received_at: Option<At>,
    /// Least possible error, ns.
    pub lo_ns: Option<i64>,
    /// Greatest possible error, ns.
    pub hi_ns: Option<i64>,
    /// Point estimate of the error, ns.
    pub offset_ns: Option<i64>,
    /// Its standard deviation, ns.
    pub sigma_ns: Option<i64>,
    /// Standard deviations on each side of the statistical window.
    pub sigma_k: Option<f64>,
    /// Exchanges the estimate rests on.
    pub estimate_samples: Option<i32>,
    /// Rate of the free-running oscillator.
    pub frequency_ppb: Option<i64>,
    /// Its standard deviation.
    pub frequency_sigma_ppb: Option<i64>,
    /// Least rate of the free-running oscillator that the bounds assume.
    pub rate_lo_ppb: Option<i64>,
    /// Greatest.
    pub rate_hi_ppb: Option<i64>,
    /// Configured limit of that rate.
    pub drift_ceiling_ppb: Option<i64>,
    /// Word of how the sources that take part treat leap seconds.
    pub smear: Option<String>,
    /// TAI − UTC in seconds by the leap second table.
    pub leap_table_tai_s: Option<i32>,
    /// The kernel's `maxerror`, ns.
    pub kernel_max_error_ns: Option<i64>,
    /// The kernel's `esterror`, ns.
    pub kernel_estimated_error_ns: Option<i64>,
    /// Rate correction the kernel applies.
    pub kernel_frequency_ppb: Option<i64>,
    /// The kernel's status bits.
    pub kernel_status: Option<i64>,
    /// Whether STA_UNSYNC is clear.
    pub kernel_synchronised: Option<bool>,
    /// TAI − UTC in seconds as the kernel has it; 0: never set.
    pub tai_offset_s: Option<i32>,
    /// Boot id of the newest report.
    pub boot_id: Option<Uuid>,
    /// Boots of the host the collector has met.
    pub boot_no: Option<i32>,
    /// Steps of the clock in this boot.
    pub steps: Option<i32>,
    /// Word of the synchronisation state.
    pub state: Option<String>,
    /// Word of the leap warning.
    pub leap: Option<String>,
    /// Program that steers the clock.
    pub discipliner: Option<String>,
    /// Host clock − collector clock by the batch's own stamps, least, ns.
    pub witness_lo_ns: Option<i64>,
    /// Greatest.
    pub witness_hi_ns: Option<i64>,
    /// When that was.
    pub witness_at: Option<At>,
}

/// A time source of the host as of its newest report.
#[derive(Clone, Debug)]
pub struct HostSource {
    /// Name it was configured with.
    pub name: String,
    /// Address in use; empty: not resolved yet.
    pub address: String,
    /// Word of the verdict.
    pub verdict: String,
    /// Last eight polls as bits, newest lowest.
    pub reach: i16,
    /// Poll interval, log2 seconds.
    pub poll_log2: i16,
    /// Least error by this source alone, ns.
    pub lo_ns: Option<i64>,
    /// Greatest error by this source alone, ns.
    pub hi_ns: Option<i64>,
    /// Point estimate by this source alone, ns.
    pub offset_ns: Option<i64>,
    /// Network delay both ways, ns.
    pub delay_ns: Option<i64>,
    /// RMS difference of recent offsets, ns.
    pub jitter_ns: Option<i64>,
    /// Stratum; 0: unknown.
    pub stratum: i16,
    /// Reference id as sent.
    pub reference_id: i64,
    /// Server's delay to its reference, ns.
    pub root_delay_ns: i64,
    /// Server's own claim of error, ns.
    pub root_dispersion_ns: i64,
    /// Answers accepted.
    pub accepted: i64,
    /// Answers refused.
    pub refused: i64,
    /// none, mac or nts.
    pub authentication: String,
    /// user, kernel or hardware.
    pub stamps: String,
    /// ntp, sock, shm, pps or phc.
    pub kind: String,
    /// Whether the newest answer was interleaved.
    pub interleaved: bool,
    /// Word of how it treats leap seconds.
    pub smear: String,
    /// Least network delay in the agent's memory, ns.
    pub least_delay_ns: Option<i64>,
    /// Least that the delay towards the server exceeds the delay back, ns.
    pub asymmetry_lo_ns: Option<i64>,
    /// Greatest.
    pub asymmetry_hi_ns: Option<i64>,
    /// Collector's time that these numbers are of.
    pub seen_at: Option<At>,
}

/// Something that happened on the host.
#[derive(Clone, Debug)]
pub struct HostEvent {
    /// Collector's time of it.
    pub at: At,
    /// step, source, leap, reboot, restart, suspend, dropped.
    pub kind: String,
    /// Size of a step or length of a suspend, ns.
    pub size_ns: Option<i64>,
    /// One sentence.
    pub summary: String,
}

/// Reports of the host that were refused, by reason.
#[derive(Clone, Debug)]
pub struct HostRefusal {
    /// Word of the reason.
    pub reason: String,
    /// How many.
    pub count: i64,
    /// The newest.
    pub last_at: At,
    /// What was wrong with it.
    pub detail: String,
}

/// Events shown on a host page, newest first.
const EVENTS_SHOWN: i64 = 50;

impl Store {
    /// The host, or `None` if nobody enrolled under that id.
    pub async fn host_detail(&self, host_uuid: Uuid) -> Result<Option<HostDetail>, sqlx::Error> {
        sqlx::query_as!(
            HostDetail,
            r#"
            SELECT h.host_id AS "host_id!", h.host_uuid AS "host_uuid!", h.name AS "name!",
                   h.service AS "service!", h.labels AS "labels!", h.simulated AS "simulated!",
                   h.agent_version AS "agent_version!", h.enrolled_at AS "enrolled_at!: At", h.revoked_at AS "revoked_at?: At",
                   coalesce(a.answer, 'unknown') AS "answer!",
                   coalesce(a.silent, s.host_id IS NULL) AS "silent!",
                   a.since AS "since?: At", a.budget_ns AS "budget_ns?",
                   s.ref_time AS "sampled_at?: At", s.received_at AS "received_at?: At",
                   s.lo_ns AS "lo_ns?", s.hi_ns AS "hi_ns?", s.offset_ns AS "offset_ns?",
                   s.sigma_ns AS "sigma_ns?", s.sigma_k AS "sigma_k?",
                   s.estimate_samples AS "estimate_samples?", s.frequency_ppb AS "frequency_ppb?",
                   s.frequency_sigma_ppb AS "frequency_sigma_ppb?",
                   coalesce(s.rate_lo_ppb, -s.drift_limit_ppb) AS "rate_lo_ppb?",
                   coalesce(s.rate_hi_ppb, s.drift_limit_ppb) AS "rate_hi_ppb?",
                   coalesce(s.drift_ceiling_ppb, s.drift_limit_ppb) AS "drift_ceiling_ppb?",
                   s.smear AS "smear?", s.leap_table_tai_s AS "leap_table_tai_s?",
                   s.kernel_max_error_ns AS "kernel_max_error_ns?",
                   s.kernel_estimated_error_ns AS "kernel_estimated_error_ns?",
                   s.kernel_frequency_ppb AS "kernel_frequency_ppb?",
                   s.kernel_status AS "kernel_status?",
                   s.kernel_synchronised AS "kernel_synchronised?",
                   s.tai_offset_s AS "tai_offset_s?",
                   b.boot_id AS "boot_id?", s.boot_no AS "boot_no?", s.steps AS "steps?",
                   store.state_word(s.state) AS "state?", store.leap_word(s.leap) AS "leap?",
                   store.discipliner_word(s.discipliner) AS "discipliner?",
                   s.witness_lo_ns AS "witness_lo_ns?", s.witness_hi_ns AS "witness_hi_ns?", s.witness_at AS "witness_at?: At"
            FROM store.host h
            LEFT JOIN store.host_state s USING (host_id)
            LEFT JOIN store.assessment a USING (host_id)
            LEFT JOIN store.boot b ON b.host_id = h.host_id AND b.boot_no = s.boot_no
            WHERE h.host_uuid = $1
            "#,
            host_uuid
        )
        .fetch_optional(&self.pool)
        .await
    }

    /// Its sources in the agent's order.
    pub async fn host_sources(&self, host_id: i64) -> Result<Vec<HostSource>, sqlx::Error> {
        sqlx::query_as!(
            HostSource,
            r#"
            SELECT name, address, verdict, reach, poll_log2, lo_ns, hi_ns, offset_ns, delay_ns,
                   jitter_ns, stratum, reference_id, root_delay_ns, root_dispersion_ns,
                   accepted, refused,
                   coalesce(store.authentication_word(authentication), 'none') AS "authentication!",
                   coalesce(store.stamps_word(stamps), 'user') AS "stamps!",
                   kind, interleaved, smear, least_delay_ns, asymmetry_lo_ns, asymmetry_hi_ns,
                   seen_at AS "seen_at: At"
            FROM store.source_state WHERE host_id = $1 ORDER BY position
            "#,
            host_id
        )
        .fetch_all(&self.pool)
        .await
    }

    /// Its newest events.
    pub async fn host_events(&self, host_id: i64) -> Result<Vec<HostEvent>, sqlx::Error> {
        sqlx::query_as!(
            HostEvent,
            r#"
            SELECT ref_time AS "at: At", kind, size_ns, summary FROM store.event
            WHERE host_id = $1 ORDER BY ref_time DESC, seq DESC, place DESC LIMIT $2
            "#,
            host_id,
            EVENTS_SHOWN
        )
        .fetch_all(&self.pool)
        .await
    }

    /// What of it was refused.
    pub async fn host_refusals(&self, host_id: i64) -> Result<Vec<HostRefusal>, sqlx::Error> {
        sqlx::query_as!(
            HostRefusal,
            r#"
            SELECT reason, count, last_at AS "last_at: At", detail FROM store.refusal
            WHERE host_id = $1 ORDER BY last_at DESC
            "#,
            host_id
        )
        .fetch_all(&self.pool)
        .await
    }
}
