-- Documented schema `fleet`: what people and tools read with SQL.

CREATE SCHEMA fleet;
COMMENT ON SCHEMA fleet IS 'Truechimer for SQL users. Every *_ns of an error is host clock − UTC in nanoseconds: positive means the host is ahead.';

CREATE FUNCTION store.state_word(int2) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['starting','synchronised','holdover','free-running','stepped'])[$1] $$;
CREATE FUNCTION store.leap_word(int2) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['none','insert','delete','unsynchronised'])[$1] $$;
CREATE FUNCTION store.discipliner_word(int2) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['none','chronyd','timesyncd','ntpd','ntpd-rs','ptp4l','agent'])[$1] $$;
CREATE FUNCTION store.authentication_word(int2) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['none','mac','nts'])[$1] $$;
CREATE FUNCTION store.stamps_word(int2) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY['user','kernel','hardware'])[$1] $$;

CREATE VIEW fleet.host_now AS
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
       h.host_uuid
FROM store.host h
LEFT JOIN store.host_state s USING (host_id)
LEFT JOIN store.assessment a USING (host_id);

COMMENT ON VIEW fleet.host_now IS 'One row per host: the newest worst-case window of its clock and what the drift rule says about it.';
COMMENT ON COLUMN fleet.host_now.host IS 'Host name as the agent reports it.';
COMMENT ON COLUMN fleet.host_now.service IS 'Group of hosts that depend on one another''s time, from the agent''s configuration.';
COMMENT ON COLUMN fleet.host_now.answer IS 'Is the clock outside its budget? certain, possible, safe, or unknown (no usable data; never to be read as safe).';
COMMENT ON COLUMN fleet.host_now.silent IS 'True when the agent has not reported within the silence limit.';
COMMENT ON COLUMN fleet.host_now.since IS 'Since when the answer has been this one.';
COMMENT ON COLUMN fleet.host_now.offset_ns IS 'Point estimate of the clock''s error; positive = ahead of UTC.';
COMMENT ON COLUMN fleet.host_now.lo_ns IS 'Least possible error (worst case). Null: the host has no window.';
COMMENT ON COLUMN fleet.host_now.hi_ns IS 'Greatest possible error (worst case). Null: the host has no window.';
COMMENT ON COLUMN fleet.host_now.width_ns IS 'hi_ns − lo_ns.';
COMMENT ON COLUMN fleet.host_now.budget_ns IS 'The limit the window is compared with.';
COMMENT ON COLUMN fleet.host_now.frequency_ppb IS 'Rate error of the host''s free-running oscillator, parts per billion; positive = fast.';
COMMENT ON COLUMN fleet.host_now.state IS 'starting, synchronised, holdover (no source answers, the window grows), free-running, stepped.';
COMMENT ON COLUMN fleet.host_now.leap IS 'Leap second warning by majority of the sources: none, insert, delete, unsynchronised.';
COMMENT ON COLUMN fleet.host_now.discipliner IS 'Program that steers the system clock.';
COMMENT ON COLUMN fleet.host_now.kernel_synchronised IS 'Whether the kernel flag STA_UNSYNC is clear. Many daemons never clear it: not a proof either way.';
COMMENT ON COLUMN fleet.host_now.kernel_max_error_ns IS 'The kernel''s own maxerror.';
COMMENT ON COLUMN fleet.host_now.sampled_at IS 'Collector''s time of the newest sample.';
COMMENT ON COLUMN fleet.host_now.received_at IS 'When the newest batch came in.';
COMMENT ON COLUMN fleet.host_now.simulated IS 'True for hosts of truechimer-fleet: not real machines.';
COMMENT ON COLUMN fleet.host_now.labels IS 'Free labels from the agent''s configuration.';
COMMENT ON COLUMN fleet.host_now.agent_version IS 'Version of the reporting agent.';
COMMENT ON COLUMN fleet.host_now.revoked_at IS 'When the host''s credential was revoked; null: valid.';
COMMENT ON COLUMN fleet.host_now.host_uuid IS 'The host''s identity; names may repeat, this does not.';

CREATE VIEW fleet.samples AS
SELECT h.name AS host, m.ref_time AS sampled_at, m.offset_ns, m.lo_ns, m.hi_ns, m.sigma_ns,
       m.frequency_ppb, store.state_word(m.state) AS state, m.sources_used,
       m.host_ns, m.raw_ns, m.boot_no, m.steps, m.seq, h.simulated, h.host_uuid
FROM store.sample m JOIN store.host h USING (host_id);

COMMENT ON VIEW fleet.samples IS 'Every stored sample. Restrict host and sampled_at: the table is partitioned by time and keyed by host.';
COMMENT ON COLUMN fleet.samples.host IS 'Host name.';
COMMENT ON COLUMN fleet.samples.sampled_at IS 'Collector''s time of the sample: receipt less its age on the host''s raw clock.';
COMMENT ON COLUMN fleet.samples.offset_ns IS 'Point estimate of the clock''s error; positive = ahead of UTC.';
COMMENT ON COLUMN fleet.samples.lo_ns IS 'Least possible error (worst case). Null: no window.';
COMMENT ON COLUMN fleet.samples.hi_ns IS 'Greatest possible error (worst case). Null: no window.';
COMMENT ON COLUMN fleet.samples.sigma_ns IS 'Standard deviation of the estimate: statistical, never a bound.';
COMMENT ON COLUMN fleet.samples.frequency_ppb IS 'Rate error of the free-running oscillator, parts per billion.';
COMMENT ON COLUMN fleet.samples.state IS 'Synchronisation state, as in host_now.';
COMMENT ON COLUMN fleet.samples.sources_used IS 'Sources whose bounds took part in the window.';
COMMENT ON COLUMN fleet.samples.host_ns IS 'What the host''s CLOCK_REALTIME showed, ns since 1970.';
COMMENT ON COLUMN fleet.samples.raw_ns IS 'What its CLOCK_MONOTONIC_RAW showed at that moment.';
COMMENT ON COLUMN fleet.samples.boot_no IS 'Boot of the host, counted by the collector.';
COMMENT ON COLUMN fleet.samples.steps IS 'Steps of the system clock seen in that boot; boot_no and steps name the clock epoch.';
COMMENT ON COLUMN fleet.samples.seq IS 'Number of the report within the boot.';
COMMENT ON COLUMN fleet.samples.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.samples.host_uuid IS 'The host''s identity.';

CREATE VIEW fleet.sources_now AS
SELECT h.name AS host, s.name AS source, s.address, s.verdict, s.offset_ns, s.lo_ns, s.hi_ns,
       s.delay_ns, s.jitter_ns, s.stratum,
       (s.reference_id >> 24 & 255) || '.' || (s.reference_id >> 16 & 255) || '.' ||
       (s.reference_id >> 8 & 255) || '.' || (s.reference_id & 255) AS reference_id,
       s.root_delay_ns, s.root_dispersion_ns,
       store.leap_word(s.leap) AS leap, s.reach, s.poll_log2,
       store.authentication_word(s.authentication) AS authentication,
       store.stamps_word(s.stamps) AS stamps, s.accepted, s.refused, h.simulated, h.host_uuid
FROM store.source_state s JOIN store.host h USING (host_id);

COMMENT ON VIEW fleet.sources_now IS 'Every time source of every host with the verdict of the newest report.';
COMMENT ON COLUMN fleet.sources_now.host IS 'Host name.';
COMMENT ON COLUMN fleet.sources_now.source IS 'Name the source was configured with.';
COMMENT ON COLUMN fleet.sources_now.address IS 'Address in use.';
COMMENT ON COLUMN fleet.sources_now.verdict IS 'selected, combined, outlier, falseticker, unreachable, or why it is unusable: no-answer-yet, unsynchronised, bad-stratum, root-distance, denied, contradictory, no-majority.';
COMMENT ON COLUMN fleet.sources_now.offset_ns IS 'Host clock error by this source alone; positive = ahead.';
COMMENT ON COLUMN fleet.sources_now.lo_ns IS 'Least error by this source alone.';
COMMENT ON COLUMN fleet.sources_now.hi_ns IS 'Greatest error by this source alone.';
COMMENT ON COLUMN fleet.sources_now.delay_ns IS 'Network delay both ways of the best recent exchange.';
COMMENT ON COLUMN fleet.sources_now.jitter_ns IS 'RMS difference of recent offsets.';
COMMENT ON COLUMN fleet.sources_now.stratum IS 'Server''s stratum; 0 when unknown.';
COMMENT ON COLUMN fleet.sources_now.reference_id IS 'Server''s reference id as four bytes.';
COMMENT ON COLUMN fleet.sources_now.root_delay_ns IS 'Server''s delay to its own reference.';
COMMENT ON COLUMN fleet.sources_now.root_dispersion_ns IS 'Server''s own claim of error.';
COMMENT ON COLUMN fleet.sources_now.leap IS 'Server''s leap indicator.';
COMMENT ON COLUMN fleet.sources_now.reach IS 'Last eight polls as bits, newest lowest.';
COMMENT ON COLUMN fleet.sources_now.poll_log2 IS 'Poll interval, log2 seconds.';
COMMENT ON COLUMN fleet.sources_now.authentication IS 'none, mac or nts.';
COMMENT ON COLUMN fleet.sources_now.stamps IS 'Where packets were stamped: user, kernel or hardware.';
COMMENT ON COLUMN fleet.sources_now.accepted IS 'Answers accepted since the agent started.';
COMMENT ON COLUMN fleet.sources_now.refused IS 'Answers refused since the agent started.';
COMMENT ON COLUMN fleet.sources_now.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.sources_now.host_uuid IS 'The host''s identity.';

CREATE VIEW fleet.events AS
SELECT h.name AS host, e.ref_time AS happened_at, e.kind, e.size_ns, e.summary, e.host_ns, e.raw_ns,
       e.boot_no, h.simulated, h.host_uuid
FROM store.event e JOIN store.host h USING (host_id);

COMMENT ON VIEW fleet.events IS 'Steps, source changes, reboots, suspends and leap warnings, as they were noticed.';
COMMENT ON COLUMN fleet.events.host IS 'Host name.';
COMMENT ON COLUMN fleet.events.happened_at IS 'Collector''s time of the event.';
COMMENT ON COLUMN fleet.events.kind IS 'step, source, leap, reboot, restart, suspend, dropped.';
COMMENT ON COLUMN fleet.events.size_ns IS 'Size of a step (positive: forward) or length of a suspend.';
COMMENT ON COLUMN fleet.events.summary IS 'The event in one sentence.';
COMMENT ON COLUMN fleet.events.host_ns IS 'Host''s CLOCK_REALTIME when it was noticed.';
COMMENT ON COLUMN fleet.events.raw_ns IS 'Host''s CLOCK_MONOTONIC_RAW when it was noticed.';
COMMENT ON COLUMN fleet.events.boot_no IS 'Boot of the host.';
COMMENT ON COLUMN fleet.events.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.events.host_uuid IS 'The host''s identity.';

CREATE VIEW fleet.alerts AS
SELECT a.alert_id, a.rule, a.policy, a.answer, a.status, h.name AS host, p.name AS peer,
       a.summary, a.consequence, a.advice, a.lo_ns, a.hi_ns, a.limit_ns,
       a.opened_at, a.changed_at, a.resolved_at
FROM store.alert a LEFT JOIN store.host h ON h.host_id = a.host_id
                   LEFT JOIN store.host p ON p.host_id = a.peer_id;

COMMENT ON VIEW fleet.alerts IS 'Alerts, open and resolved.';
COMMENT ON COLUMN fleet.alerts.alert_id IS 'Number of the alert.';
COMMENT ON COLUMN fleet.alerts.rule IS 'drift, silent, token-skew or log-skew.';
COMMENT ON COLUMN fleet.alerts.policy IS 'Name of the policy in the collector''s configuration.';
COMMENT ON COLUMN fleet.alerts.answer IS 'Worst answer while it was open.';
COMMENT ON COLUMN fleet.alerts.status IS 'open or resolved.';
COMMENT ON COLUMN fleet.alerts.host IS 'Host it is about.';
COMMENT ON COLUMN fleet.alerts.peer IS 'The other host of a pair.';
COMMENT ON COLUMN fleet.alerts.summary IS 'What is, by how much.';
COMMENT ON COLUMN fleet.alerts.consequence IS 'What breaks.';
COMMENT ON COLUMN fleet.alerts.advice IS 'What to do.';
COMMENT ON COLUMN fleet.alerts.lo_ns IS 'Lower end of the interval compared.';
COMMENT ON COLUMN fleet.alerts.hi_ns IS 'Upper end of the interval compared.';
COMMENT ON COLUMN fleet.alerts.limit_ns IS 'Limit it was compared with.';
COMMENT ON COLUMN fleet.alerts.opened_at IS 'When it opened.';
COMMENT ON COLUMN fleet.alerts.changed_at IS 'When it last changed.';
COMMENT ON COLUMN fleet.alerts.resolved_at IS 'When it was resolved; null while open.';

-- The role for people: it reads schema fleet and nothing else. A database whose owner may not create
-- roles gets the schema all the same; its administrator creates fleet_reader (README, "SQL").
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_reader') THEN
        BEGIN
            CREATE ROLE fleet_reader LOGIN CONNECTION LIMIT 16;
            ALTER ROLE fleet_reader SET default_transaction_read_only = on;
            ALTER ROLE fleet_reader SET statement_timeout = '30s';
            ALTER ROLE fleet_reader SET search_path = fleet;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- roles belong to the whole server: another database was migrated just now
        END;
    END IF;
    EXECUTE format('REVOKE TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO fleet_reader', current_database());
    GRANT USAGE ON SCHEMA fleet TO fleet_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA fleet TO fleet_reader;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'fleet_reader was not created: this user may not create roles';
END $$;
