-- The watermark of a host's newest boot is the row of its newest state, (boot_no, seq): a report moves one row
-- instead of two. Other boots have theirs in store.boot; that of the newest lags behind there until it is locked.

-- For writers: the watermarks of boots that are known, theirs until the transaction ends. Rows are locked in the order
-- of hosts. Citus locks no rows of several shards at once; there, writers hold the groups that their hosts are in, in
-- order, on the coordinator that all collectors are connected to.
CREATE FUNCTION store.watermarks_for_writing(hosts int8[], boots uuid[])
RETURNS TABLE (host_id int8, boot_id uuid, boot_no int4, last_seq int8, steps int4)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    IF store.on_citus() THEN
        -- A boot that is new is numbered in its host's row, which is on every node: no parallel work beside that.
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
        PERFORM FROM store.writer_group g  -- 0016
        WHERE g.number IN (SELECT (h % 64)::int4 FROM unnest(hosts) h) ORDER BY g.number FOR UPDATE OF g;
    ELSE
        -- First a row that every host has: its state may be yet to come, from another collector.
        PERFORM FROM store.host h WHERE h.host_id = ANY (hosts) ORDER BY h.host_id FOR NO KEY UPDATE;
        PERFORM FROM store.host_state s WHERE s.host_id = ANY (hosts) ORDER BY s.host_id FOR NO KEY UPDATE;
    END IF;
    UPDATE store.boot b SET last_seq = s.seq, steps = s.steps FROM store.host_state s
    WHERE b.host_id = ANY (hosts) AND s.host_id = b.host_id AND s.boot_no = b.boot_no AND s.seq > b.last_seq;
    RETURN QUERY
    SELECT b.host_id, b.boot_id, b.boot_no, b.last_seq, b.steps
    FROM store.boot b JOIN unnest(hosts, boots) AS k(host_id, boot_id) USING (host_id, boot_id);
END $$;

-- What writers hand over, a row each: an array of rows costs the server half of what an array for each column does.
CREATE TYPE store.state_row AS (
    host_id int8, ref_time timestamptz, received_at timestamptz, seq int8, host_ns int8, raw_ns int8, lo_ns int8,
    hi_ns int8, offset_ns int8, sigma_ns int8, sigma_k float8, estimate_samples int4, frequency_ppb int8,
    frequency_sigma_ppb int8, drift_limit_ppb int8, kernel_max_error_ns int8, kernel_estimated_error_ns int8,
    kernel_frequency_ppb int8, kernel_status int8, kernel_synchronised bool, tai_offset_s int4, boot_no int4,
    steps int4, state int2, leap int2, discipliner int2, rate_lo_ppb int8, rate_hi_ppb int8, drift_ceiling_ppb int8,
    smear text, leap_table_tai_s int4, witness_lo_ns int8, witness_hi_ns int8, witness_at timestamptz,
    before int8);  -- the watermark that seq comes after
CREATE TYPE store.source_row AS (
    host_id int8, "position" int2, name text, address text, verdict text, reach int2, poll_log2 int2, lo_ns int8,
    hi_ns int8, offset_ns int8, delay_ns int8, jitter_ns int8, stratum int2, reference_id int8, root_delay_ns int8,
    root_dispersion_ns int8, frequency_ppb int8, accepted int8, refused int8, leap int2, authentication int2,
    stamps int2, kind text, interleaved bool, smear text, least_delay_ns int8, asymmetry_lo_ns int8,
    asymmetry_hi_ns int8, seen_at timestamptz);

-- A seq of the newest boot is in its host's row, whoever sent it.
UPDATE store.host_state s SET seq = b.last_seq, steps = coalesce(b.steps, s.steps)
FROM store.boot b WHERE b.host_id = s.host_id AND b.boot_no = s.boot_no AND b.last_seq > s.seq;
