-- A fleet of a hundred thousand hosts rewrites these rows all day: room to do so within their pages, and
-- vacuum before they grow. A row of a source is rewritten when the source answered or was judged anew, so it
-- says of which moment its numbers are.

DO $$
DECLARE
    grown text;
BEGIN
    ALTER TABLE store.boot SET (fillfactor = 80);
    FOREACH grown IN ARRAY ARRAY['store.boot', 'store.host_state', 'store.source_state'] LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_vacuum_scale_factor = 0.05, '
                       'autovacuum_vacuum_cost_delay = 0)', grown);
    END LOOP;
END $$;

ALTER TABLE store.source_state ADD seen_at timestamptz;  -- null: written by an earlier release

-- Replaced in place, the new column last: grants, and views that people built on it, stay.
CREATE OR REPLACE VIEW fleet.sources_now AS
SELECT h.name AS host, s.name AS source, s.address, s.verdict, s.offset_ns, s.lo_ns, s.hi_ns,
       s.delay_ns, s.jitter_ns, s.stratum,
       (s.reference_id >> 24 & 255) || '.' || (s.reference_id >> 16 & 255) || '.' ||
       (s.reference_id >> 8 & 255) || '.' || (s.reference_id & 255) AS reference_id,
       s.root_delay_ns, s.root_dispersion_ns,
       store.leap_word(s.leap) AS leap, s.reach, s.poll_log2,
       store.authentication_word(s.authentication) AS authentication,
       store.stamps_word(s.stamps) AS stamps, s.accepted, s.refused, h.simulated, h.host_uuid,
       s.kind, s.interleaved, s.smear, s.least_delay_ns, s.asymmetry_lo_ns, s.asymmetry_hi_ns,
       s.seen_at
FROM store.source_state s JOIN store.host h USING (host_id);

COMMENT ON VIEW fleet.sources_now IS 'Every time source of every host with its newest verdict. Its errors are those of the moment seen_at; between two answers of a source they only age.';
COMMENT ON COLUMN fleet.sources_now.seen_at IS 'Collector''s time that the row''s numbers are of: the last report in which the source had answered, was judged anew or, at the latest after 5 minutes, was written again. Null: written by an earlier release.';

CREATE VIEW fleet.refusals AS
SELECT h.name AS host, r.reason, r.count, r.last_at, r.detail, h.simulated, h.host_uuid
FROM store.refusal r JOIN store.host h USING (host_id);

COMMENT ON VIEW fleet.refusals IS 'Hosts of which something was refused, so that a host whose reports do not count is visible with the reason.';
COMMENT ON COLUMN fleet.refusals.host IS 'Host name.';
COMMENT ON COLUMN fleet.refusals.reason IS 'One word: malformed, out-of-order, from-the-future, batch-too-large, bad-stamps, bad-witness, over-quota, wrong-host, revoked, slow-reader, protocol, unstorable.';
COMMENT ON COLUMN fleet.refusals.count IS 'How many were refused for this reason since the host enrolled.';
COMMENT ON COLUMN fleet.refusals.last_at IS 'When the last one was.';
COMMENT ON COLUMN fleet.refusals.detail IS 'What was wrong with the last one.';
COMMENT ON COLUMN fleet.refusals.simulated IS 'True for hosts of truechimer-fleet.';
COMMENT ON COLUMN fleet.refusals.host_uuid IS 'The host''s identity.';

DO $$
BEGIN
    GRANT SELECT ON fleet.refusals TO fleet_reader;
EXCEPTION WHEN undefined_object THEN
    NULL; -- its administrator has not created the role (0002)
END $$;
