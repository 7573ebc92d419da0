-- Questions about all hosts at once, where there are a million: which are worst, and the pages that show them.

-- On Citus functions are made after tables were changed, in one transaction: one node after the other.
DO $$
BEGIN
    IF store.on_citus() THEN
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    END IF;
END $$;

-- How far off each clock may be, in digits of its nanoseconds: 7 is from 1 ms to below 10 ms. So coarse on purpose:
-- a row is rewritten at every report, within its page (HOT) as long as no column with an index changes, and this one
-- seldom does. Null: no window. It is inline, not store.magnitude: every node of Citus works it out by itself.
DO $$  -- alone, and one to each command, as Citus wants it
BEGIN
    ALTER TABLE store.host_state ADD error_digits int2 GENERATED ALWAYS AS (
        CASE WHEN lo_ns IS NOT NULL AND hi_ns IS NOT NULL
             THEN length(greatest(hi_ns, -greatest(lo_ns, -9223372036854775807), 0)::text) END) STORED;
END $$;
DO $$
BEGIN
    CREATE INDEX host_state_by_digits ON store.host_state (error_digits);
END $$;
-- A row of it is rewritten when the answer changes.
DO $$
BEGIN
    CREATE INDEX assessment_by_answer ON store.assessment (answer);
END $$;
DO $$
BEGIN
    CREATE INDEX host_by_service ON store.host (service);
END $$;

-- Old ones are dropped by their time alone.
DO $$
BEGIN
    CREATE INDEX event_by_age ON store.event USING brin (ref_time) WITH (pages_per_range = 32);
END $$;
-- Each of these rows is rewritten every few seconds, and what the planner knows of them changes little: it is looked
-- at anew after 20 rewrites of each, not after a tenth of one.
DO $$
BEGIN
    ALTER TABLE store.host_state SET (autovacuum_vacuum_scale_factor = 0.2, autovacuum_analyze_scale_factor = 20);
END $$;
DO $$
BEGIN
    ALTER TABLE store.source_state SET (autovacuum_vacuum_scale_factor = 0.2, autovacuum_analyze_scale_factor = 20);
END $$;


-- Who is worst --------------------------------------------------------------------------------------

-- Replaced in place, the new column last: grants, and views that people built on it, stay. Bounds as far apart as
-- numbers go are no reason to fail any more.
CREATE OR REPLACE VIEW fleet.host_now AS
SELECT h.name                             AS host,
       h.service,
       coalesce(a.answer, 'unknown')      AS answer,
       coalesce(a.silent, true)           AS silent,
       a.since,
       s.offset_ns,
       s.lo_ns,
       s.hi_ns,
       store.width(s.lo_ns, s.hi_ns)      AS width_ns,
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
       s.leap_table_tai_s,
       s.error_digits
FROM store.host h
LEFT JOIN store.host_state s USING (host_id)
LEFT JOIN store.assessment a USING (host_id);

COMMENT ON VIEW fleet.host_now IS 'One row per host: the newest worst-case window of its clock and what the drift rule says about it. Of very many hosts fleet.worst and fleet.widest find the first ones without reading all.';
COMMENT ON COLUMN fleet.host_now.error_digits IS 'Decimal digits of the farthest possible error in ns: 7 is from 1 ms to below 10 ms. It has an index: WHERE error_digits >= 7 finds the hosts that may be 1 ms off, or more, without reading all. Null: the host has no window.';

-- These hosts as host_now shows them, in this order.
CREATE FUNCTION store.hosts_now(hosts int8[]) RETURNS SETOF fleet.host_now LANGUAGE plpgsql STABLE AS $$
DECLARE
    uuids uuid[] := ARRAY(SELECT h.host_uuid FROM store.host h WHERE h.host_id = ANY (hosts)
                          ORDER BY array_position(hosts, h.host_id));
BEGIN
    RETURN QUERY SELECT n.* FROM fleet.host_now n WHERE n.host_uuid = ANY (uuids)
                 ORDER BY array_position(uuids, n.host_uuid);
END $$;

-- The first `most` hosts of the fleet. To be among them a host needs as many digits as the last of any `most` hosts
-- has, so only those are read. Hosts without a window come last, the one enrolled first before the others.
CREATE FUNCTION store.worst(most int4, widest bool) RETURNS int8[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    digits int2; width int8; hosts int8[];
BEGIN
    IF most < 1 OR most > 10000 THEN
        RAISE EXCEPTION 'most must be from 1 to 10000, not %', most;
    END IF;
    digits := coalesce((SELECT s.error_digits FROM store.host_state s WHERE s.error_digits IS NOT NULL
                        ORDER BY s.error_digits DESC OFFSET most - 1 LIMIT 1), 0);
    IF NOT widest THEN
        hosts := ARRAY(SELECT s.host_id FROM store.host_state s WHERE s.error_digits >= digits
                       ORDER BY store.magnitude(s.lo_ns, s.hi_ns) DESC, s.host_id LIMIT most);
    ELSE
        -- A window so wide reaches at least half as far.
        width := (SELECT store.width(s.lo_ns, s.hi_ns) FROM store.host_state s WHERE s.error_digits >= digits
                  ORDER BY 1 DESC OFFSET most - 1 LIMIT 1);
        digits := least(digits, length((width / 2)::text));
        hosts := ARRAY(SELECT s.host_id FROM store.host_state s WHERE s.error_digits >= digits
                       ORDER BY store.width(s.lo_ns, s.hi_ns) DESC, s.host_id LIMIT most);
    END IF;
    IF cardinality(hosts) < most THEN
        hosts := hosts || ARRAY(SELECT h.host_id FROM store.host h LEFT JOIN store.host_state s USING (host_id)
                                WHERE s.error_digits IS NULL ORDER BY h.host_id LIMIT most - cardinality(hosts));
    END IF;
    RETURN hosts;
END $$;

CREATE FUNCTION fleet.worst(most int4 DEFAULT 100) RETURNS SETOF fleet.host_now
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM store.hosts_now(store.worst(most, false));
END $$;
COMMENT ON FUNCTION fleet.worst(int4) IS 'The hosts whose clocks may be farthest from UTC, either way, the worst first; columns as host_now. The same as host_now ORDER BY greatest(-lo_ns, hi_ns) DESC NULLS LAST LIMIT most, but of a million hosts only those of the same error_digits are read.';

CREATE FUNCTION fleet.widest(most int4 DEFAULT 100) RETURNS SETOF fleet.host_now
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT * FROM store.hosts_now(store.worst(most, true));
END $$;
COMMENT ON FUNCTION fleet.widest(int4) IS 'The hosts of whose clocks least is known, the widest window first; columns as host_now. The same as host_now ORDER BY width_ns DESC NULLS LAST LIMIT most.';
