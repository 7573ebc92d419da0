-- The tiers of the store. Samples are raw at first; an hour that is over is repacked into blocks (one row per
-- host, hour and clock epoch) and its raw partition dropped. Rollups of a minute and of an hour keep extremes.
--
-- A sample is in one place only: `sample` from tier_mark.closed_until on, `sample_block` before, and
-- `sample_late` what came after its hour was sealed. `store.samples` reads all three.

-- How far each tier reaches; one row. 1970: not at all.
CREATE TABLE store.tier_mark (
    one            bool PRIMARY KEY DEFAULT true CHECK (one),
    sealed_until   timestamptz NOT NULL DEFAULT 'epoch',  -- older samples are written to sample_late
    closed_until   timestamptz NOT NULL DEFAULT 'epoch',  -- older rows of sample are in blocks: read no more
    minutes_sealed timestamptz NOT NULL DEFAULT 'epoch',  -- older samples correct rollups (rollup_dirty)
    minutes_until  timestamptz NOT NULL DEFAULT 'epoch',  -- minutes are whole up to here
    minutes_packed timestamptz NOT NULL DEFAULT 'epoch',  -- older rows of rollup_minute are in minute_block: read no more
    packed_host    int8 NOT NULL DEFAULT -9223372036854775808,  -- and those of the next hour up to this host
    hours_until    timestamptz NOT NULL DEFAULT 'epoch',  -- rollup_hour is whole up to here
    hours_gathered timestamptz NOT NULL DEFAULT 'epoch',  -- and gathered by host up to here
    samples_from   timestamptz NOT NULL DEFAULT 'epoch',  -- older samples have been dropped
    minutes_from   timestamptz NOT NULL DEFAULT 'epoch'   -- older minutes have been dropped
);
INSERT INTO store.tier_mark DEFAULT VALUES;
SELECT store.replicate('tier_mark');

-- The rollup of a minute finds its rows by time.
DO $$  -- alone: Citus takes no string of several commands with an index of a distributed table among them
BEGIN
    CREATE INDEX sample_by_time ON store.sample USING brin (ref_time) WITH (pages_per_range = 32);
END $$;

CREATE TABLE store.sample_late (LIKE store.sample INCLUDING DEFAULTS, PRIMARY KEY (host_id, ref_time, boot_no, seq));
SELECT store.distribute('sample_late');

-- Every sample of a block has its ref_time within the hour. first_ and last_ are by seq; within an epoch
-- seq, raw_ns and host_ns rise together, so the block with a host clock's reading is found among the host's
-- blocks by `first_host_ns <= x` (key order: host_id, hour, so from an hour that is known or guessed), and the
-- samples around it by store.block_pair. Samples that came late are in a block of their own beside.
CREATE TABLE store.sample_block (
    host_id       int8 NOT NULL,
    hour          timestamptz NOT NULL,
    first_seq     int8 NOT NULL,
    last_seq      int8 NOT NULL,
    first_ref     timestamptz NOT NULL,
    last_ref      timestamptz NOT NULL,
    first_host_ns int8 NOT NULL,
    last_host_ns  int8 NOT NULL,
    first_raw_ns  int8 NOT NULL,
    last_raw_ns   int8 NOT NULL,
    boot_no       int4 NOT NULL,
    steps         int4 NOT NULL,
    n             int4 NOT NULL,              -- samples
    data          bit varying NOT NULL,       -- layout: collector/store/src/block.rs
    PRIMARY KEY (host_id, hour, boot_no, steps, first_seq)
) PARTITION BY RANGE (hour);
-- What is packed does not compress.
ALTER TABLE store.sample_block ALTER data SET STORAGE EXTERNAL;
SELECT store.distribute('sample_block');

-- A row of it for functions, as store.sample_row.
CREATE TYPE store.block_row AS (
    host_id int8, hour timestamptz, first_seq int8, last_seq int8, first_ref timestamptz, last_ref timestamptz,
    first_host_ns int8, last_host_ns int8, first_raw_ns int8, last_raw_ns int8, boot_no int4, steps int4,
    n int4, data bit varying);

-- Decoding ---------------------------------------------------------------------------------------------

-- Per column of the block, in its order: width of a residual (null: all values are null), base, slope, where
-- presence bits begin (0: none is null), where residuals begin. Places count from 1.
CREATE FUNCTION store.block_heads(data bit varying, n int4, OUT w int4[], OUT base int8[], OUT slope int8[],
                                  OUT present int4[], OUT at int4[])
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE p int4 := 1; nulls int4; len int4; mixed bool[];
BEGIN
    FOR c IN 1..13 LOOP
        nulls := substring(data FROM p FOR 2)::int4;
        p := p + 2;
        mixed[c] := nulls = 2;
        w[c] := NULL; base[c] := 0; slope[c] := 0;
        CONTINUE WHEN nulls = 1;
        w[c] := substring(data FROM p FOR 7)::int4;
        len := substring(data FROM p + 7 FOR 7)::int4;
        p := p + 14;
        IF len > 0 THEN base[c] := substring(data FROM p FOR len)::int8 << (64 - len) >> (64 - len); END IF;
        p := p + len;
        len := substring(data FROM p FOR 7)::int4;
        p := p + 7;
        IF len > 0 THEN slope[c] := substring(data FROM p FOR len)::int8 << (64 - len) >> (64 - len); END IF;
        p := p + len;
    END LOOP;
    FOR c IN 1..13 LOOP
        present[c] := 0; at[c] := p;
        CONTINUE WHEN w[c] IS NULL;
        IF mixed[c] THEN present[c] := p; p := p + n; END IF;
        at[c] := p;
        p := p + n * w[c];
    END LOOP;
END $$;

-- They, as functions hand them on.
CREATE TYPE store.block_head AS (w int4[], base int8[], slope int8[], present int4[], at int4[]);

-- One value, less what other columns tell of it. A line over the raw clock is in units of 2^20 ns, its slope
-- has 22 binary places.
CREATE FUNCTION store.block_value(data bit varying, w int4, base int8, slope int8, present int4, at int4, k int4,
                                  raw int8, first_raw int8)
RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN w IS NULL OR present > 0 AND get_bit(data, present - 1 + k) = 0 THEN NULL
                ELSE base + substring(data FROM at + k * w FOR w)::int8
                     + CASE WHEN slope = 0 THEN 0 ELSE slope * ((raw - first_raw) >> 20) >> 22 END END
$$;

-- As ref_time is packed: µs since 2000. Samples are of this age; infinity is far enough.
CREATE FUNCTION store.block_us(at timestamptz) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN isfinite(at) THEN (extract(epoch FROM at) * 1000000)::int8 - 946684800000000
                WHEN at > '2000-01-01 00:00:00+00' THEN 9223372036854775807 ELSE -9223372036854775807 END
$$;

-- The samples in these places of a block, as far as since <= ref_time < until. It is planned once: the heads differ from
-- block to block, and to plan for each what they leave out takes as long as to unpack an hour.
CREATE FUNCTION store.block_samples(
    block store.block_row, first int4 DEFAULT 0, last int4 DEFAULT NULL,
    since timestamptz DEFAULT '-infinity', until timestamptz DEFAULT 'infinity')
RETURNS SETOF store.sample_row LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE ROWS 360
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$  -- fleet.samples calls it for its reader
DECLARE
    -- A copy in memory: every use of the stored one would fetch it anew.
    d bit varying := block.data || B'';
    w int4[]; b int8[]; s int8[]; p int4[]; a int4[];
    of_host int8 := block.host_id; of_boot int4 := block.boot_no; of_step int4 := block.steps;
    seq0 int8 := block.first_seq; raw0 int8 := block.first_raw_ns;
    from_k int4 := greatest(first, 0); to_k int4 := least(coalesce(last, block.n - 1), block.n - 1);
    from_us int8 := store.block_us(since); until_us int8 := store.block_us(until);
BEGIN
    SELECT h.w, h.base, h.slope, h.present, h.at INTO w, b, s, p, a FROM store.block_heads(d, block.n) h;
    RETURN QUERY
    -- OFFSET 0 keeps the steps apart: each value is computed once. Width 64: the value as it is.
    SELECT of_host,
           timestamptz '2000-01-01 00:00:00+00' + (v.ref / 86400000000) * interval '24 hours'
               + (v.ref % 86400000000) * interval '1 microsecond',
           v.seq, v.host, v.raw, v.lo,
           CASE WHEN v.w7 = 64 OR v.hi_rest IS NULL THEN v.hi_rest
                ELSE (2 * coalesce(v.off, 0) - coalesce(v.lo, 0)) + v.hi_rest END,
           v.off, v.sigma, v.freq, of_boot, of_step, v.state::int2, v.used::int2,
           v.stray::int4, v.margin::int4
    FROM (
        SELECT q.seq, q.raw, q.ref, q.off, h.w7,
               CASE WHEN h.w3 = 64 THEN 0 ELSE q.raw END
                   + store.block_value(d, h.w3, h.b3, h.s3, h.p3, h.a3, q.k, q.raw, raw0) AS host,
               CASE WHEN h.w6 = 64 THEN q.lo_rest ELSE coalesce(q.off, 0) - q.lo_rest END AS lo,
               store.block_value(d, h.w7, h.b7, h.s7, h.p7, h.a7, q.k, q.raw, raw0) AS hi_rest,
               store.block_value(d, h.w8, h.b8, h.s8, h.p8, h.a8, q.k, q.raw, raw0) AS sigma,
               store.block_value(d, h.w9, h.b9, h.s9, h.p9, h.a9, q.k, q.raw, raw0) AS freq,
               store.block_value(d, h.w10, h.b10, h.s10, h.p10, h.a10, q.k, q.raw, raw0) AS stray,
               store.block_value(d, h.w11, h.b11, h.s11, h.p11, h.a11, q.k, q.raw, raw0) AS margin,
               store.block_value(d, h.w12, h.b12, h.s12, h.p12, h.a12, q.k, q.raw, raw0) AS state,
               store.block_value(d, h.w13, h.b13, h.s13, h.p13, h.a13, q.k, q.raw, raw0) AS used
        FROM (SELECT w[1] AS w1, b[1] AS b1, s[1] AS s1, p[1] AS p1, a[1] AS a1,
                     w[2] AS w2, b[2] AS b2, s[2] AS s2, p[2] AS p2, a[2] AS a2,
                     w[3] AS w3, b[3] AS b3, s[3] AS s3, p[3] AS p3, a[3] AS a3,
                     w[4] AS w4, b[4] AS b4, s[4] AS s4, p[4] AS p4, a[4] AS a4,
                     w[5] AS w5, b[5] AS b5, s[5] AS s5, p[5] AS p5, a[5] AS a5,
                     w[6] AS w6, b[6] AS b6, s[6] AS s6, p[6] AS p6, a[6] AS a6,
                     w[7] AS w7, b[7] AS b7, s[7] AS s7, p[7] AS p7, a[7] AS a7,
                     w[8] AS w8, b[8] AS b8, s[8] AS s8, p[8] AS p8, a[8] AS a8,
                     w[9] AS w9, b[9] AS b9, s[9] AS s9, p[9] AS p9, a[9] AS a9,
                     w[10] AS w10, b[10] AS b10, s[10] AS s10, p[10] AS p10, a[10] AS a10,
                     w[11] AS w11, b[11] AS b11, s[11] AS s11, p[11] AS p11, a[11] AS a11,
                     w[12] AS w12, b[12] AS b12, s[12] AS s12, p[12] AS p12, a[12] AS a12,
                     w[13] AS w13, b[13] AS b13, s[13] AS s13, p[13] AS p13, a[13] AS a13 OFFSET 0) h
        CROSS JOIN LATERAL (
            SELECT f.k, f.seq, f.raw, f.ref,
                   store.block_value(d, h.w5, h.b5, h.s5, h.p5, h.a5, f.k, f.raw, raw0) AS off,
                   store.block_value(d, h.w6, h.b6, h.s6, h.p6, h.a6, f.k, f.raw, raw0) AS lo_rest
            FROM (
                SELECT r.k, r.seq, r.raw,
                       CASE WHEN h.w4 = 64 THEN 0 ELSE r.raw / 1000 END
                           + store.block_value(d, h.w4, h.b4, h.s4, h.p4, h.a4, r.k, r.raw, raw0) AS ref
                FROM (
                    SELECT t.k, t.seq,
                           h.b2 + substring(d FROM h.a2 + t.k * h.w2 FOR h.w2)::int8
                           + CASE WHEN h.s2 = 0 THEN 0 ELSE h.s2 * (t.seq - seq0) END AS raw
                    FROM (
                        SELECT k, h.b1 + substring(d FROM h.a1 + k * h.w1 FOR h.w1)::int8
                                  + CASE WHEN h.s1 = 0 THEN 0 ELSE h.s1 * k END AS seq
                        FROM generate_series(from_k, to_k) k
                        OFFSET 0
                    ) t OFFSET 0
                ) r OFFSET 0
            ) f WHERE f.ref >= from_us AND f.ref < until_us OFFSET 0
        ) q OFFSET 0
    ) v;
END $$;

-- The last sample whose host clock showed at most this, its place (-1: there is none), and the first that showed more.
-- Without estimate, sigma, state and sources: these are read in hours, not singly. With heads: those of this block, whose
-- data is in memory.
CREATE FUNCTION store.block_pair(block store.block_row, local_ns int8, heads store.block_head DEFAULT NULL,
                                 OUT place int4, OUT before store.sample_row, OUT after store.sample_row)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    d bit varying; w int4[]; b int8[]; s int8[]; p int4[]; a int4[];
    low int4 := -1; high int4 := block.n; low_ns float8 := block.first_host_ns; high_ns float8 := block.last_host_ns;
    tries int4 := 0; k int4; seq int8; raw int8; shown int8; ref int8; off int8; lo int8; rest int8; x store.sample_row;
BEGIN
    IF heads IS NULL THEN
        d := block.data || B''; -- as in block_samples
        heads := store.block_heads(d, block.n);
    ELSE
        d := block.data;
    END IF;
    w := heads.w; b := heads.base; s := heads.slope; p := heads.present; a := heads.at;
    IF local_ns < block.first_host_ns THEN
        high := 0;
    ELSIF local_ns >= block.last_host_ns THEN
        low := block.n - 1;
    ELSE
        low := 0;
        high := block.n - 1;
    END IF;
    WHILE high - low > 1 LOOP
        -- Reports come evenly, mostly: the rule of three finds the place at once. Halving ends what it does not find,
        -- and does for readings that are one in floating point.
        tries := tries + 1;
        k := CASE WHEN tries > 4 OR high_ns = low_ns THEN (low + high) / 2
                  ELSE low + least(greatest(floor((local_ns - low_ns) / (high_ns - low_ns) * (high - low))::int4, 1),
                                   high - low - 1) END;
        seq := b[1] + substring(d FROM a[1] + k * w[1] FOR w[1])::int8
               + CASE WHEN s[1] = 0 THEN 0 ELSE s[1] * k END;
        raw := b[2] + substring(d FROM a[2] + k * w[2] FOR w[2])::int8
               + CASE WHEN s[2] = 0 THEN 0 ELSE s[2] * (seq - block.first_seq) END;
        shown := CASE WHEN w[3] = 64 THEN 0 ELSE raw END
                 + store.block_value(d, w[3], b[3], s[3], p[3], a[3], k, raw, block.first_raw_ns);
        IF shown <= local_ns THEN low := k; low_ns := shown; ELSE high := k; high_ns := shown; END IF;
    END LOOP;
    place := low;
    x.host_id := block.host_id;
    x.boot_no := block.boot_no;
    x.steps := block.steps;
    FOR k IN greatest(low, 0)..least(low + 1, block.n - 1) LOOP
        -- As in block_samples.
        seq := b[1] + substring(d FROM a[1] + k * w[1] FOR w[1])::int8
               + CASE WHEN s[1] = 0 THEN 0 ELSE s[1] * k END;
        raw := b[2] + substring(d FROM a[2] + k * w[2] FOR w[2])::int8
               + CASE WHEN s[2] = 0 THEN 0 ELSE s[2] * (seq - block.first_seq) END;
        x.seq := seq;
        x.raw_ns := raw;
        x.host_ns := CASE WHEN w[3] = 64 THEN 0 ELSE raw END
                     + store.block_value(d, w[3], b[3], s[3], p[3], a[3], k, raw, block.first_raw_ns);
        ref := CASE WHEN w[4] = 64 THEN 0 ELSE raw / 1000 END
               + store.block_value(d, w[4], b[4], s[4], p[4], a[4], k, raw, block.first_raw_ns);
        x.ref_time := timestamptz '2000-01-01 00:00:00+00' + (ref / 86400000000) * interval '24 hours'
                      + (ref % 86400000000) * interval '1 microsecond';
        off := store.block_value(d, w[5], b[5], s[5], p[5], a[5], k, raw, block.first_raw_ns);
        rest := store.block_value(d, w[6], b[6], s[6], p[6], a[6], k, raw, block.first_raw_ns);
        lo := CASE WHEN w[6] = 64 THEN rest ELSE coalesce(off, 0) - rest END;
        rest := store.block_value(d, w[7], b[7], s[7], p[7], a[7], k, raw, block.first_raw_ns);
        x.lo_ns := lo;
        x.hi_ns := CASE WHEN w[7] = 64 OR rest IS NULL THEN rest
                        ELSE (2 * coalesce(off, 0) - coalesce(lo, 0)) + rest END;
        x.frequency_ppb := store.block_value(d, w[9], b[9], s[9], p[9], a[9], k, raw, block.first_raw_ns);
        x.stray_ns := store.block_value(d, w[10], b[10], s[10], p[10], a[10], k, raw, block.first_raw_ns);
        x.rate_margin_ppb := store.block_value(d, w[11], b[11], s[11], p[11], a[11], k, raw, block.first_raw_ns);
        IF k = low THEN before := x; ELSE after := x; END IF;
    END LOOP;
END $$;

-- Every sample of a host with since <= ref_time < until, wherever it is kept, in no order.
CREATE FUNCTION store.samples(host int8, since timestamptz, until timestamptz)
RETURNS SETOF store.sample_row LANGUAGE plpgsql STABLE ROWS 360 AS $$
DECLARE closed timestamptz; block store.block_row;
BEGIN
    SELECT m.closed_until INTO closed FROM store.tier_mark m;
    IF since < closed THEN
        FOR block IN SELECT b.* FROM store.sample_block b
                     WHERE b.host_id = host AND b.hour > since - interval '1 hour' AND b.hour < until
                     ORDER BY b.hour
        LOOP
            RETURN QUERY SELECT s.* FROM store.block_samples(block, 0, NULL, since, until) s;
        END LOOP;
    END IF;
    RETURN QUERY SELECT s.* FROM store.sample s
                 WHERE s.host_id = host AND s.ref_time >= greatest(since, closed) AND s.ref_time < until;
    RETURN QUERY SELECT s.* FROM store.sample_late s
                 WHERE s.host_id = host AND s.ref_time >= since AND s.ref_time < until;
END $$;

-- Rollups ----------------------------------------------------------------------------------------------

CREATE FUNCTION store.badness(state int2) RETURNS int2 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY[3,1,2,4,5])[state]::int2 $$;
CREATE FUNCTION store.state_of_badness(badness int2) RETURNS int2 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (ARRAY[2,3,1,4,5])[badness]::int2 $$;
-- Bounds as far apart as numbers go are no reason to fail.
CREATE FUNCTION store.width(lo int8, hi int8) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN lo > -4611686018427387904 AND hi < 4611686018427387904 THEN hi - lo
               WHEN lo IS NOT NULL AND hi IS NOT NULL THEN 9223372036854775807 END $$;
CREATE FUNCTION store.magnitude(low int8, high int8) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT greatest(high, -greatest(low, -9223372036854775807)) $$;

-- One row per host and minute that has samples. Nothing is averaged: an excursion of one sample shows.
CREATE TABLE store.rollup_minute (
    host_id        int8 NOT NULL,
    bucket         timestamptz NOT NULL,      -- its start
    lo_ns          int8,                      -- least lower bound; null: no sample had a window
    hi_ns          int8,                      -- greatest upper bound
    widest_ns      int8,                      -- widest single window
    offset_ns      int8,                      -- estimate of the newest sample
    offset_min_ns  int8,
    offset_max_ns  int8,
    boot_no        int4 NOT NULL,             -- clock epoch of the newest sample
    steps          int4 NOT NULL,
    samples        int4 NOT NULL,
    without_window int4 NOT NULL,
    first_ms       int4 NOT NULL,             -- first sample, from the start of the bucket
    last_ms        int4 NOT NULL,             -- last sample
    gap_ms         int4 NOT NULL,             -- longest time between two samples of the bucket
    epochs         int4 NOT NULL,             -- clock epochs met: more than one says step or reboot
    worst_state    int2 NOT NULL,             -- by badness, not by number
    sources_min    int2 NOT NULL,
    PRIMARY KEY (host_id, bucket)
) PARTITION BY RANGE (bucket);
CREATE INDEX rollup_minute_by_time ON store.rollup_minute USING brin (bucket) WITH (pages_per_range = 32);
SELECT store.distribute('rollup_minute');

-- The minutes of a host in an hour that is over, an array for each column: a quarter as large as the rows, which come a
-- minute at a time for all hosts, so that a day of one host would be read from 1,440 pages.
CREATE TABLE store.minute_block (
    host_id        int8 NOT NULL,
    hour           timestamptz NOT NULL,
    minute         int2[] NOT NULL,           -- of the hour; the others as in rollup_minute
    lo_ns          int8[] NOT NULL,
    hi_ns          int8[] NOT NULL,
    widest_ns      int8[] NOT NULL,
    offset_ns      int8[] NOT NULL,
    offset_min_ns  int8[] NOT NULL,
    offset_max_ns  int8[] NOT NULL,
    boot_no        int4[] NOT NULL,
    steps          int4[] NOT NULL,
    samples        int4[] NOT NULL,
    without_window int4[] NOT NULL,
    first_ms       int4[] NOT NULL,
    last_ms        int4[] NOT NULL,
    gap_ms         int4[] NOT NULL,
    epochs         int4[] NOT NULL,
    worst_state    int2[] NOT NULL,
    sources_min    int2[] NOT NULL,
    PRIMARY KEY (host_id, hour)
) PARTITION BY RANGE (hour);
-- Compressed, but not kept elsewhere.
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT attname FROM pg_attribute
                WHERE attrelid = 'store.minute_block'::regclass AND attnum > 0 AND attndims > 0 LOOP
        EXECUTE format('ALTER TABLE store.minute_block ALTER %I SET STORAGE MAIN', name);
    END LOOP;
END $$;
SELECT store.distribute('minute_block');

CREATE TABLE store.rollup_hour (LIKE store.rollup_minute, PRIMARY KEY (host_id, bucket))
    PARTITION BY RANGE (bucket);
SELECT store.distribute('rollup_hour');

-- Hours of hosts whose rollups lack samples that came late. No key: writers only add, and never wait.
CREATE TABLE store.rollup_dirty (
    host_id  int8 NOT NULL,
    hour     timestamptz NOT NULL,
    first_at timestamptz,                     -- the samples lie between these; null: all of the hour
    last_at  timestamptz
);
CREATE INDEX rollup_dirty_by_hour ON store.rollup_dirty (hour, host_id);
SELECT store.distribute('rollup_dirty');

-- The fleet in one minute, as it was known when the minute was rolled up.
CREATE TABLE store.fleet_minute (
    bucket        timestamptz PRIMARY KEY,
    hosts         int4 NOT NULL,              -- with a sample in this minute
    with_window   int4 NOT NULL,
    offset_ns     int8[],                     -- of each host's greatest |offset|: p50, p90, p99, most
    width_ns      int8[],                     -- of each host's widest window: p50, p90, p99, most
    states        int4[] NOT NULL,            -- hosts by worst state, in the order of its numbers
    extreme_hosts int8[] NOT NULL             -- farthest possible from UTC, the worst first
);

-- Every minute, wherever it is kept. Who asks for a stretch names hour, too: blocks are found by it.
CREATE VIEW store.minutes AS
SELECT m.host_id, date_bin('1 hour', m.bucket, 'epoch') AS hour, m.bucket,
       m.lo_ns, m.hi_ns, m.widest_ns, m.offset_ns, m.offset_min_ns, m.offset_max_ns, m.boot_no, m.steps,
       m.samples, m.without_window, m.first_ms, m.last_ms, m.gap_ms, m.epochs, m.worst_state, m.sources_min
FROM store.rollup_minute m WHERE m.bucket >= (SELECT minutes_packed FROM store.tier_mark)
UNION ALL
SELECT b.host_id, b.hour, b.hour + m.minute * interval '1 minute',
       m.lo_ns, m.hi_ns, m.widest_ns, m.offset_ns, m.offset_min_ns, m.offset_max_ns, m.boot_no, m.steps,
       m.samples, m.without_window, m.first_ms, m.last_ms, m.gap_ms, m.epochs, m.worst_state, m.sources_min
FROM store.minute_block b
CROSS JOIN LATERAL unnest(b.minute, b.lo_ns, b.hi_ns, b.widest_ns, b.offset_ns, b.offset_min_ns, b.offset_max_ns,
                          b.boot_no, b.steps, b.samples, b.without_window, b.first_ms, b.last_ms, b.gap_ms,
                          b.epochs, b.worst_state, b.sources_min)
    AS m (minute, lo_ns, hi_ns, widest_ns, offset_ns, offset_min_ns, offset_max_ns, boot_no, steps, samples,
          without_window, first_ms, last_ms, gap_ms, epochs, worst_state, sources_min)
WHERE b.hour < (SELECT minutes_packed FROM store.tier_mark);

-- A host over time in buckets of this many seconds, from the tier that suits the bucket, and finer ones for what
-- that tier has not got yet. Oldest first; one row per bucket and clock epoch. Thousands of rows go through it
-- for one chart: no numeric (date_part, not extract), no sort within groups, one scan for each tier asked for.
CREATE FUNCTION store.history(host int8, since timestamptz, until timestamptz, bucket_s float8)
RETURNS TABLE (tier text, bucket timestamptz, first_at timestamptz, last_at timestamptz, lo_ns int8, hi_ns int8,
               widest_ns int8, offset_ns int8, offset_min_ns int8, offset_max_ns int8, boot_no int4, steps int4,
               samples int8, without_window int8, gap_ms int8, worst_state int2, sources_min int2)
LANGUAGE plpgsql STABLE SET jit = off AS $$
#variable_conflict use_column
DECLARE mark store.tier_mark; h_end timestamptz; m_end timestamptz; m_start timestamptz; s_start timestamptz;
    taken store.sample_row[];
BEGIN
    SELECT m.* INTO mark FROM store.tier_mark m;
    -- Not more than 6,000 minutes are read where hours will do.
    h_end := CASE WHEN bucket_s >= 3600 OR bucket_s > 600 AND until - since > interval '100 hours' THEN mark.hours_until
                  ELSE least(mark.hours_until, mark.minutes_from) END;
    m_end := CASE WHEN bucket_s >= 60 THEN mark.minutes_until
                  ELSE least(mark.minutes_until, mark.samples_from) END;
    m_start := greatest(since, h_end);
    s_start := greatest(m_start, m_end);
    -- Apart: in one query with tables of one host, Citus would call the function on that host's shard.
    IF s_start < until THEN
        taken := ARRAY(SELECT s FROM store.samples(host, s_start, until) s);
    END IF;
    RETURN QUERY
    WITH piece AS (
        SELECT 4 AS rank, date_part('epoch', r.bucket) + r.first_ms / 1e3::float8 AS t,
               date_part('epoch', r.bucket) + r.last_ms / 1e3::float8 AS l, r.lo_ns, r.hi_ns, r.widest_ns, r.offset_ns,
               r.offset_min_ns, r.offset_max_ns, r.boot_no, r.steps, r.samples, r.without_window,
               r.gap_ms, r.worst_state, r.sources_min, 0::int8 AS seq
        FROM store.rollup_hour r
        WHERE r.host_id = host AND r.bucket > since - interval '1 hour' AND r.bucket < least(until, h_end)
        UNION ALL
        SELECT 3, date_part('epoch', r.bucket) + r.first_ms / 1e3::float8,
               date_part('epoch', r.bucket) + r.last_ms / 1e3::float8, r.lo_ns, r.hi_ns, r.widest_ns, r.offset_ns,
               r.offset_min_ns, r.offset_max_ns, r.boot_no, r.steps, r.samples, r.without_window,
               r.gap_ms, r.worst_state, r.sources_min, 0
        FROM store.minutes r
        WHERE r.host_id = host AND r.hour > m_start - interval '1 hour' AND r.hour < least(until, m_end)
          AND r.bucket > m_start - interval '1 minute' AND r.bucket >= h_end AND r.bucket < least(until, m_end)
        UNION ALL
        SELECT CASE WHEN s.ref_time < mark.closed_until THEN 1 ELSE 2 END, date_part('epoch', s.ref_time),
               date_part('epoch', s.ref_time), s.lo_ns, s.hi_ns, store.width(s.lo_ns, s.hi_ns), s.offset_ns,
               s.offset_ns, s.offset_ns, s.boot_no, s.steps, 1, (s.lo_ns IS NULL)::int4, 0, s.state,
               s.sources_used, s.seq
        FROM unnest(taken) s
    ), placed AS (
        SELECT p.*, floor(p.t / bucket_s) AS b, ((p.t - lag(p.l) OVER o) * 1000)::int8 AS since_last
        FROM piece p WINDOW o AS (ORDER BY p.t, p.boot_no, p.seq)
    )
    SELECT (ARRAY['repacked', 'raw', 'minute', 'hour'])[max(p.rank)],
           to_timestamp(p.b * bucket_s), to_timestamp(min(p.t)), to_timestamp(max(p.l)), min(p.lo_ns), max(p.hi_ns),
           max(p.widest_ns),
           -- That of the newest: arrays are compared from the left.
           (max(ARRAY[(p.l * 1e6)::int8, p.seq, p.offset_ns]))[3],
           min(p.offset_min_ns), max(p.offset_max_ns), p.boot_no, p.steps, sum(p.samples), sum(p.without_window),
           max(greatest(p.gap_ms, p.since_last)),
           store.state_of_badness(max(store.badness(p.worst_state))), min(p.sources_min)
    FROM placed p GROUP BY p.b, p.boot_no, p.steps
    ORDER BY 4, p.boot_no, p.steps;
END $$;

-- For people -------------------------------------------------------------------------------------------

-- By index: a comparison with the text of every host_uuid reads every host.
CREATE FUNCTION store.host_of(host text) RETURNS int8 LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN store.host_named(host);
END $$;

CREATE OR REPLACE VIEW fleet.samples AS
SELECT h.name AS host, m.ref_time AS sampled_at, m.offset_ns, m.lo_ns, m.hi_ns, m.sigma_ns,
       m.frequency_ppb, store.state_word(m.state) AS state, m.sources_used,
       m.host_ns, m.raw_ns, m.boot_no, m.steps, m.seq, h.simulated, h.host_uuid
FROM (
    SELECT s.* FROM store.sample s WHERE s.ref_time >= (SELECT closed_until FROM store.tier_mark)
    UNION ALL
    SELECT s.* FROM store.sample_late s
    UNION ALL
    SELECT s.* FROM store.sample_block b CROSS JOIN LATERAL store.block_samples(ROW(b.*)::store.block_row) s
) m JOIN store.host h USING (host_id);
COMMENT ON COLUMN fleet.samples.steps IS 'How often in that boot the system clock was set, or may have been while the host slept or no agent ran; boot_no and steps name the clock epoch.';
COMMENT ON VIEW fleet.samples IS 'Every stored sample. Restrict the host. Samples older than some hours are unpacked first, all of the host''s: for a stretch of time fleet.samples_of(host, from, to) is much faster.';

CREATE FUNCTION fleet.samples_of(host text, since timestamptz, until timestamptz) RETURNS SETOF fleet.samples
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE id int8 := store.host_of(host);
BEGIN
    RETURN QUERY
    SELECT h.name, m.ref_time, m.offset_ns, m.lo_ns, m.hi_ns, m.sigma_ns, m.frequency_ppb,
           store.state_word(m.state), m.sources_used, m.host_ns, m.raw_ns, m.boot_no, m.steps, m.seq,
           h.simulated, h.host_uuid
    FROM store.samples(id, since, until) m JOIN store.host h ON h.host_id = id
    ORDER BY m.ref_time, m.boot_no, m.seq;
END $$;
COMMENT ON FUNCTION fleet.samples_of(text, timestamptz, timestamptz) IS 'Every sample of a host (name, or uuid as text) with since <= sampled_at < until, oldest first; columns as fleet.samples.';

CREATE FUNCTION fleet.host_history(host text, since timestamptz, until timestamptz DEFAULT now(),
                                   points int4 DEFAULT 600)
RETURNS TABLE (bucket timestamptz, bucket_length interval, tier text, lo_ns int8, hi_ns int8, widest_ns int8,
               offset_ns int8, offset_min_ns int8, offset_max_ns int8, worst_state text, samples int8,
               without_window int8, longest_gap interval, sources_min int2, boot_no int4, steps int4)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE id int8 := store.host_of(host); s float8;
BEGIN
    IF points < 1 OR points > 100000 THEN
        RAISE EXCEPTION 'points must be from 1 to 100000, not %', points;
    END IF;
    IF until <= since THEN
        RAISE EXCEPTION 'until must be later than since';
    END IF;
    s := extract(epoch FROM until - since)::float8 / points;
    -- Whole units of the tier that it is taken from (store.history), so that a bucket is made of whole ones. Minutes
    -- where half as many buckets result: their extremes are those of ten times as many samples.
    s := CASE WHEN s > 3600 OR s > 600 AND until - since > interval '100 hours' THEN ceil(s / 3600) * 3600
              WHEN s > 30 THEN ceil(s / 60) * 60
              ELSE greatest(ceil(s), 1) END;
    RETURN QUERY
    SELECT h.bucket, s * interval '1 second', h.tier, h.lo_ns, h.hi_ns, h.widest_ns, h.offset_ns, h.offset_min_ns,
           h.offset_max_ns, store.state_word(h.worst_state), h.samples, h.without_window,
           h.gap_ms * interval '1 ms', h.sources_min, h.boot_no, h.steps
    FROM store.history(id, since, until, s) h;
END $$;
COMMENT ON FUNCTION fleet.host_history(text, timestamptz, timestamptz, int4) IS 'A host (name, or uuid as text) over time in about so many buckets, or fewer where a tier is coarser (half as many, beyond 100 hours a sixth at least), oldest first; one row per bucket and clock epoch. It is taken from samples, minutes or hours as the span needs; tier says which: raw, repacked, minute, hour. Extremes are kept: lo_ns is the least, hi_ns the greatest and widest_ns the widest of all samples of the bucket, worst_state the worst, offset_ns the newest estimate, longest_gap the longest time without a sample that ended in the bucket.';

CREATE FUNCTION fleet.coverage(since timestamptz DEFAULT now() - interval '24 hours',
                               until timestamptz DEFAULT now(), longer_than interval DEFAULT '5 minutes',
                               of_host text DEFAULT NULL)
RETURNS TABLE (host text, gap_from timestamptz, gap_to timestamptz, length interval, reason text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    mark store.tier_mark; id int8 := CASE WHEN of_host IS NOT NULL THEN store.host_of(of_host) END;
    ids int8[]; froms timestamptz[]; tos timestamptz[];
BEGIN
    IF longer_than < interval '1 minute' THEN
        RAISE EXCEPTION 'longer_than must be a minute or more: gaps are found by minutes';
    END IF;
    SELECT m.* INTO mark FROM store.tier_mark m;
    WITH stretch AS (
        SELECT r.host_id, r.bucket + r.first_ms * interval '1 ms' AS f,
               r.bucket + r.last_ms * interval '1 ms' AS l
        FROM store.rollup_minute r
        WHERE r.bucket > since - interval '1 minute' AND r.bucket < least(until, mark.minutes_until)
          AND r.bucket >= mark.minutes_packed AND (id IS NULL OR r.host_id = id)
        UNION ALL
        SELECT b.host_id, b.hour + m.minute * interval '1 minute' + m.first_ms * interval '1 ms',
               b.hour + m.minute * interval '1 minute' + m.last_ms * interval '1 ms'
        FROM store.minute_block b CROSS JOIN LATERAL unnest(b.minute, b.first_ms, b.last_ms) AS m (minute, first_ms, last_ms)
        WHERE b.hour > since - interval '1 hour' AND b.hour < least(until, mark.minutes_packed)
          AND b.hour + m.minute * interval '1 minute' > since - interval '1 minute'
          AND b.hour + m.minute * interval '1 minute' < until AND (id IS NULL OR b.host_id = id)
        UNION ALL
        SELECT s.host_id, min(s.ref_time), max(s.ref_time) FROM store.sample s
        WHERE s.ref_time >= greatest(since, mark.minutes_until) AND s.ref_time < until
          AND (id IS NULL OR s.host_id = id)
        GROUP BY s.host_id
        UNION ALL
        -- From the beginning asked for, or from the enrolment, and to the end.
        SELECT h.host_id, e.at, e.at FROM store.host h
        CROSS JOIN LATERAL (VALUES (greatest(since, h.enrolled_at)), (until)) e (at)
        WHERE h.enrolled_at < until AND h.revoked_at IS NULL AND (id IS NULL OR h.host_id = id)
    ), gap AS (
        SELECT s.host_id, lag(s.l) OVER o AS f, s.f AS t FROM stretch s
        WINDOW o AS (PARTITION BY s.host_id ORDER BY s.f, s.l)
    )
    SELECT array_agg(g.host_id), array_agg(g.f), array_agg(g.t) INTO ids, froms, tos
    FROM gap g WHERE g.t - g.f > longer_than;
    -- Apart: Citus compares no events of many shards with gaps that it has gathered.
    RETURN QUERY
    WITH told AS MATERIALIZED (
        SELECT e.host_id, e.ref_time, e.kind FROM store.event e
        WHERE e.host_id = ANY (ids) AND e.ref_time > since - interval '2 minutes'
          AND e.ref_time <= until + interval '1 minute'
          AND e.kind IN ('reboot', 'restart', 'suspend', 'dropped')
    )
    SELECT h.name, g.f, g.t, g.t - g.f,
           (SELECT string_agg(DISTINCT e.kind, ', ') FROM told e
            WHERE e.host_id = g.host_id AND e.ref_time > g.f - interval '1 minute'
              AND e.ref_time <= g.t + interval '1 minute')
    FROM unnest(ids, froms, tos) AS g (host_id, f, t) JOIN store.host h ON h.host_id = g.host_id
    ORDER BY h.name, g.f;
END $$;
COMMENT ON FUNCTION fleet.coverage(timestamptz, timestamptz, interval, text) IS 'Stretches without a sample longer than longer_than (a minute at least), of one host or of all: host, gap_from, gap_to, length, and reason, the kinds of event beside it that explain a gap (reboot, restart, suspend, dropped); null: nothing tells. The last one of a host that is silent ends at until.';

CREATE VIEW fleet.fleet_history AS
SELECT m.bucket, m.hosts, m.with_window,
       m.offset_ns[1] AS offset_p50_ns, m.offset_ns[2] AS offset_p90_ns,
       m.offset_ns[3] AS offset_p99_ns, m.offset_ns[4] AS offset_max_ns,
       m.width_ns[1] AS width_p50_ns, m.width_ns[2] AS width_p90_ns,
       m.width_ns[3] AS width_p99_ns, m.width_ns[4] AS width_max_ns,
       m.states[1] AS starting, m.states[2] AS synchronised, m.states[3] AS holdover,
       m.states[4] AS free_running, m.states[5] AS stepped,
       ARRAY(SELECT h.name FROM unnest(m.extreme_hosts) WITH ORDINALITY x (host_id, place)
             JOIN store.host h USING (host_id) ORDER BY x.place) AS extreme_hosts
FROM store.fleet_minute m;
COMMENT ON VIEW fleet.fleet_history IS 'The fleet minute by minute, as known when the minute was rolled up; samples that came later correct host_history, not this.';
COMMENT ON COLUMN fleet.fleet_history.bucket IS 'Start of the minute.';
COMMENT ON COLUMN fleet.fleet_history.hosts IS 'Hosts with a sample in it.';
COMMENT ON COLUMN fleet.fleet_history.with_window IS 'Of these, hosts with a window.';
COMMENT ON COLUMN fleet.fleet_history.offset_p50_ns IS 'Median over the hosts of each one''s greatest |offset| in the minute.';
COMMENT ON COLUMN fleet.fleet_history.offset_p90_ns IS '90th percentile of the same.';
COMMENT ON COLUMN fleet.fleet_history.offset_p99_ns IS '99th percentile of the same.';
COMMENT ON COLUMN fleet.fleet_history.offset_max_ns IS 'Greatest of the same.';
COMMENT ON COLUMN fleet.fleet_history.width_p50_ns IS 'Median over the hosts of each one''s widest window in the minute.';
COMMENT ON COLUMN fleet.fleet_history.width_p90_ns IS '90th percentile of the same.';
COMMENT ON COLUMN fleet.fleet_history.width_p99_ns IS '99th percentile of the same.';
COMMENT ON COLUMN fleet.fleet_history.width_max_ns IS 'Widest of the same.';
COMMENT ON COLUMN fleet.fleet_history.starting IS 'Hosts whose worst state in the minute was starting.';
COMMENT ON COLUMN fleet.fleet_history.synchronised IS 'Hosts that were synchronised all through.';
COMMENT ON COLUMN fleet.fleet_history.holdover IS 'Hosts whose worst state was holdover.';
COMMENT ON COLUMN fleet.fleet_history.free_running IS 'Hosts whose worst state was free-running.';
COMMENT ON COLUMN fleet.fleet_history.stepped IS 'Hosts whose clock was stepped.';
COMMENT ON COLUMN fleet.fleet_history.extreme_hosts IS 'The hosts that may have been farthest from UTC, the worst first.';

-- Size -------------------------------------------------------------------------------------------------

-- What is kept for how long, as configured: written by the collector when it starts.
CREATE TABLE store.tier (
    tier   text PRIMARY KEY,                  -- raw, late, samples, minutes, hours, events
    parent text NOT NULL,                     -- its table in schema store
    keep   interval NOT NULL
);

-- Bytes with indexes and TOAST. Growth is that of the newest partition that a whole day (or month) fills; raw
-- samples and late ones come and go, they do not grow.
CREATE VIEW fleet.storage AS
SELECT t.tier, t.keep, s.bytes, s.partitions, s.rows_estimate, g.bytes_per_day,
       CASE WHEN t.tier IN ('raw', 'late') THEN s.bytes
            ELSE (g.bytes_per_day * extract(epoch FROM t.keep) / 86400)::int8 END AS bytes_at_retention
FROM store.tier t
JOIN pg_class parent ON parent.relname = t.parent
                    AND parent.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'store')
CROSS JOIN LATERAL (
    SELECT coalesce(sum(pg_total_relation_size(p.relid)), 0)::int8 AS bytes, count(*) AS partitions,
           coalesce(sum(greatest(c.reltuples, 0)), 0)::int8 AS rows_estimate
    FROM (SELECT parent.oid WHERE parent.relkind = 'r'
          UNION ALL SELECT i.inhrelid FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
                    WHERE c.relnamespace = parent.relnamespace
                      -- And minutes that are not packed yet.
                      AND (c.relname = t.parent OR t.tier = 'minutes' AND c.relname = 'rollup_minute')) p (relid)
    JOIN pg_class c ON c.oid = p.relid
) s
LEFT JOIN LATERAL (
    SELECT (pg_total_relation_size(c.oid) / CASE length(d.digits) WHEN 6 THEN 30.4 ELSE 1 END)::int8 AS bytes_per_day
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL (SELECT substring(c.relname FROM '_([0-9]+)$') AS digits) d
    WHERE i.inhparent = parent.oid AND t.tier NOT IN ('raw', 'late')
      AND d.digits < to_char(now() AT TIME ZONE 'UTC', CASE length(d.digits) WHEN 6 THEN 'YYYYMM' ELSE 'YYYYMMDD' END)
      AND pg_relation_size(c.oid) > 0
    ORDER BY d.digits DESC LIMIT 1
) g ON true;
COMMENT ON VIEW fleet.storage IS 'What each tier of the store takes, and will take when it is as old as it is kept.';
COMMENT ON COLUMN fleet.storage.tier IS 'raw (samples as they came), late (samples that came after their hour was repacked), samples (repacked hours), minutes, hours (rollups), events.';
COMMENT ON COLUMN fleet.storage.keep IS 'How long it is kept, by the collector''s configuration.';
COMMENT ON COLUMN fleet.storage.bytes IS 'Size now, with indexes.';
COMMENT ON COLUMN fleet.storage.partitions IS 'Tables it is made of.';
COMMENT ON COLUMN fleet.storage.rows_estimate IS 'Rows by the database''s estimate: for samples and minutes, blocks of an hour each (and minutes that are not packed yet).';
COMMENT ON COLUMN fleet.storage.bytes_per_day IS 'Growth by the last whole day (hours: month) that is stored; null: there is none yet.';
COMMENT ON COLUMN fleet.storage.bytes_at_retention IS 'Size to expect once it holds as much as it is kept; null: no growth is known yet.';

DO $$
BEGIN
    GRANT SELECT ON fleet.fleet_history, fleet.storage TO fleet_reader;
EXCEPTION WHEN undefined_object OR insufficient_privilege THEN
    NULL; -- as in 0002: the administrator grants
END $$;
