-- What agents tell since they are full clients: the measured rate of the oscillator, how leap seconds are
-- treated, and for each source its kind and what is proved of its path. What an agent of release 0.1
-- reported reads as its silence does on the wire: an NTP server, not interleaved, no smear.

ALTER TABLE store.host_state
    ADD rate_lo_ppb       int8,                      -- rate of the raw oscillator that the bounds assume
    ADD rate_hi_ppb       int8,                      -- null: ± drift_limit_ppb
    ADD drift_ceiling_ppb int8,                      -- the configured limit; null: drift_limit_ppb
    ADD smear             text NOT NULL DEFAULT 'none',  -- none, quadratic, linear, linear-24h
    ADD leap_table_tai_s  int4;                      -- TAI − UTC by the leap second table; null: no table

ALTER TABLE store.source_state
    ADD kind            text NOT NULL DEFAULT 'ntp', -- ntp, sock, shm, pps, phc
    ADD interleaved     bool NOT NULL DEFAULT false,
    ADD smear           text NOT NULL DEFAULT 'none',
    ADD least_delay_ns  int8,
    ADD asymmetry_lo_ns int8,                        -- delay towards the server less delay back
    ADD asymmetry_hi_ns int8;

-- Replaced in place, new columns last: grants, and views that people built on these, stay.
CREATE OR REPLACE VIEW fleet.host_now AS
SELECT h.name                             AS host,
       h.service,
       coalesce(a.answer, 'unknown')      AS answer,
       coalesce(a.silent, true)           AS silent,
       a.since,
       s.offset_ns,
       s.lo_ns,
       s.hi_ns,
       s.hi_ns - s.lo_ns                  AS width_ns,
       a.budget_ns,
       s.frequency_ppb,
       store.state_word(s.state)          AS state,
       store.leap_word(s.leap)            AS leap,
       store.discipliner_word(s.discipliner) AS discipliner,
       s.kernel_synchronised,
       s.kernel_max_error_ns,
       s.ref_time                         AS sampled_at,
       s.received_at,
       h.simulated,
       h.labels,
       h.agent_version,
       h.revoked_at,
       h.host_uuid,
       coalesce(s.rate_lo_ppb, -s.drift_limit_ppb)      AS rate_lo_ppb,
       coalesce(s.rate_hi_ppb, s.drift_limit_ppb)       AS rate_hi_ppb,
       coalesce(s.drift_ceiling_ppb, s.drift_limit_ppb) AS drift_ceiling_ppb,
       s.smear,
       s.leap_table_tai_s
FROM store.host h
LEFT JOIN store.host_state s USING (host_id)
LEFT JOIN store.assessment a USING (host_id);

COMMENT ON COLUMN fleet.host_now.discipliner IS 'Program that steers the system clock; agent: the reporting agent itself.';
COMMENT ON COLUMN fleet.host_now.rate_lo_ppb IS 'Least rate error of the free-running oscillator that the window assumes, parts per billion; positive = fast. Measured, within ± drift_ceiling_ppb.';
COMMENT ON COLUMN fleet.host_now.rate_hi_ppb IS 'Greatest rate error of the free-running oscillator that the window assumes, parts per billion.';
COMMENT ON COLUMN fleet.host_now.drift_ceiling_ppb IS 'Configured limit of the oscillator''s rate error, in use until a narrower one is measured.';
COMMENT ON COLUMN fleet.host_now.smear IS 'How the sources that take part treat leap seconds: none (a step), quadratic, linear, linear-24h.';
COMMENT ON COLUMN fleet.host_now.leap_table_tai_s IS 'TAI − UTC in seconds by the host''s leap second table; null: it has none that is valid.';

CREATE OR REPLACE VIEW fleet.sources_now AS
SELECT h.name AS host, s.name AS source, s.address, s.verdict, s.offset_ns, s.lo_ns, s.hi_ns,
       s.delay_ns, s.jitter_ns, s.stratum,
       (s.reference_id >> 24 & 255) || '.' || (s.reference_id >> 16 & 255) || '.' ||
       (s.reference_id >> 8 & 255) || '.' || (s.reference_id & 255) AS reference_id,
       s.root_delay_ns, s.root_dispersion_ns,
       store.leap_word(s.leap) AS leap, s.reach, s.poll_log2,
       store.authentication_word(s.authentication) AS authentication,
       store.stamps_word(s.stamps) AS stamps, s.accepted, s.refused, h.simulated, h.host_uuid,
       s.kind, s.interleaved, s.smear, s.least_delay_ns, s.asymmetry_lo_ns, s.asymmetry_hi_ns
FROM store.source_state s JOIN store.host h USING (host_id);

COMMENT ON COLUMN fleet.sources_now.verdict IS 'selected, combined, outlier, falseticker, unreachable, or why it is unusable: no-answer-yet, unsynchronised, bad-stratum, root-distance, denied, contradictory, no-majority, noselect, authentication, smear, offline, min-sources, oscillator.';
COMMENT ON COLUMN fleet.sources_now.kind IS 'What it is: ntp (a server), sock or shm (samples of a program on the host), pps (a pulse per second), phc (a hardware clock of PTP).';
COMMENT ON COLUMN fleet.sources_now.interleaved IS 'Whether the newest answer was interleaved (RFC 9769): its sending stamp is then exact.';
COMMENT ON COLUMN fleet.sources_now.smear IS 'How it treats leap seconds: none (a step), quadratic, linear, linear-24h.';
COMMENT ON COLUMN fleet.sources_now.least_delay_ns IS 'Least network delay both ways in the agent''s memory.';
COMMENT ON COLUMN fleet.sources_now.asymmetry_lo_ns IS 'Least that the delay towards the server exceeds the delay back, as the other sources prove it. Null: nothing is proved.';
COMMENT ON COLUMN fleet.sources_now.asymmetry_hi_ns IS 'Greatest that the delay towards the server exceeds the delay back.';

-- Old alerts are removed with what they led to: found by what refers to them.
CREATE INDEX outbox_by_transition ON store.outbox (transition_id);
CREATE INDEX alert_resolved ON store.alert (resolved_at) WHERE status = 'resolved';
