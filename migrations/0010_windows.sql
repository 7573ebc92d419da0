-- What UTC it was when a host's clock showed something, and how far a clock was off at a moment of UTC, from the samples
-- on both sides.
--
-- A clock epoch is a stretch in which nobody set the clock: one boot, one count of steps. Within it the
-- clock is only slewed, so it shows every reading once, in order.
--
-- What the functions know of time: a sample says that UTC was within [host_ns − hi_ns, host_ns − lo_ns] at its
-- reading. From there it is carried to other readings, on two ways:
--
--   straight  between a sample and the next report (seq + 1), if that tells how far the clock strayed from
--             the straight line between the two. The line gives the raw clock's reading, ± stray_ns; on the
--             raw clock only the oscillator's rate matters.
--   slewed    otherwise. The clock runs within ± S of its raw clock, S = 1 100 ppm (500 ppm of frequency, 500 ppm of
--             phase correction, and a margin: beyond that the agent looks for a step), or twice what it gained
--             between the two samples if that is more.
--
-- The rate: a report's interval holds at its own moment and, as the agent derives it (docs/ESTIMATION.md: the
-- mean rate since an anchor, widened by what the rate may wander in an hour at least, and in 512 s of what was
-- seen), for the 512 s before. It says nothing of the time after. So between two reports at most 512 s apart the
-- later one's interval is used, forwards and backwards; everywhere else the configured ceiling.

-- Whether there is a window that sums can be made of: within 31 years.
CREATE FUNCTION store.usable(lo_ns int8, hi_ns int8) RETURNS bool
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(lo_ns >= -1000000000000000000 AND hi_ns <= 1000000000000000000, false) $$;

-- Finding samples -------------------------------------------------------------------------------------------

-- Samples are in three places (0007_tiers.sql), and move between them. Within a clock epoch seq and the host's
-- clock rise together, so two samples with successive seq are neighbours, wherever else there are more.
-- Samples that come out of a block here lack what nobody asks of single ones: estimate, sigma, state, sources.

-- Of an epoch, the first sample after local_ns on the host's clock, or the last one at or before it; with
-- `windowed`, of those that have a window (a day of blocks without any is passed over, no more).
-- Looked for within [since, until] of reference time.
CREATE FUNCTION store.nearest(
    host int8, boot int4, step int4, since timestamptz, until timestamptz,
    local_ns int8, forward bool, windowed bool) RETURNS store.sample_row
LANGUAGE plpgsql STABLE AS $$
DECLARE
    best store.sample_row; s store.sample_row; block store.block_row; pair record; k int4; sealed timestamptz;
BEGIN
    SELECT m.sealed_until INTO sealed FROM store.tier_mark m;
    IF forward THEN
        FOR s IN
            (SELECT t.* FROM store.sample t
             WHERE t.host_id = host AND t.ref_time BETWEEN since AND until AND t.boot_no = boot AND t.steps = step
               AND t.host_ns > local_ns AND t.host_ns BETWEEN 0 AND 4000000000000000000
               AND (store.usable(t.lo_ns, t.hi_ns) OR NOT windowed)
             ORDER BY t.ref_time, t.boot_no, t.seq LIMIT 1)
            UNION ALL
            (SELECT t.* FROM store.sample_late t
             WHERE t.host_id = host AND t.ref_time BETWEEN since AND until AND t.boot_no = boot AND t.steps = step
               AND t.host_ns > local_ns AND t.host_ns BETWEEN 0 AND 4000000000000000000
               AND (store.usable(t.lo_ns, t.hi_ns) OR NOT windowed)
             ORDER BY t.ref_time, t.boot_no, t.seq LIMIT 1)
        LOOP
            IF best.seq IS NULL OR s.seq < best.seq THEN best := s; END IF;
        END LOOP;
        IF since >= sealed THEN
            RETURN best; -- too young for blocks
        END IF;
        FOR block IN
            SELECT b.* FROM store.sample_block b
            WHERE b.host_id = host AND b.hour BETWEEN since - interval '1 hour' AND until
              AND b.boot_no = boot AND b.steps = step AND b.last_host_ns > local_ns
            ORDER BY b.hour, b.first_seq LIMIT 24
        LOOP
            pair := store.block_pair(block, local_ns);
            s := pair.after;
            k := pair.place + 2;
            WHILE windowed AND s.seq IS NOT NULL AND NOT store.usable(s.lo_ns, s.hi_ns) LOOP
                SELECT q.* INTO s FROM store.block_samples(block, k, k + 15) q
                ORDER BY store.usable(q.lo_ns, q.hi_ns) DESC, q.seq LIMIT 1;
                k := k + 16;
            END LOOP;
            IF s.seq < best.seq OR best.seq IS NULL AND s.seq IS NOT NULL THEN best := s; END IF;
            EXIT WHEN s.seq IS NOT NULL;
        END LOOP;
    ELSE
        FOR s IN
            (SELECT t.* FROM store.sample t
             WHERE t.host_id = host AND t.ref_time BETWEEN since AND until AND t.boot_no = boot AND t.steps = step
               AND t.host_ns BETWEEN 0 AND local_ns AND (store.usable(t.lo_ns, t.hi_ns) OR NOT windowed)
             ORDER BY t.ref_time DESC, t.boot_no DESC, t.seq DESC LIMIT 1)
            UNION ALL
            (SELECT t.* FROM store.sample_late t
             WHERE t.host_id = host AND t.ref_time BETWEEN since AND until AND t.boot_no = boot AND t.steps = step
               AND t.host_ns BETWEEN 0 AND local_ns AND (store.usable(t.lo_ns, t.hi_ns) OR NOT windowed)
             ORDER BY t.ref_time DESC, t.boot_no DESC, t.seq DESC LIMIT 1)
        LOOP
            IF best.seq IS NULL OR s.seq > best.seq THEN best := s; END IF;
        END LOOP;
        IF since >= sealed THEN
            RETURN best; -- too young for blocks
        END IF;
        FOR block IN
            SELECT b.* FROM store.sample_block b
            WHERE b.host_id = host AND b.hour BETWEEN since - interval '1 hour' AND until
              AND b.boot_no = boot AND b.steps = step AND b.first_host_ns <= local_ns
            ORDER BY b.hour DESC, b.first_seq DESC LIMIT 24
        LOOP
            pair := store.block_pair(block, local_ns);
            s := pair.before;
            k := pair.place - 1;
            WHILE windowed AND s.seq IS NOT NULL AND NOT store.usable(s.lo_ns, s.hi_ns) LOOP
                SELECT q.* INTO s FROM store.block_samples(block, k - 15, k) q
                ORDER BY store.usable(q.lo_ns, q.hi_ns) DESC, q.seq DESC LIMIT 1;
                k := k - 16;
            END LOOP;
            IF s.seq > best.seq OR best.seq IS NULL AND s.seq IS NOT NULL THEN best := s; END IF;
            EXIT WHEN s.seq IS NOT NULL;
        END LOOP;
    END IF;
    RETURN best;
END $$;

-- The last sample of an epoch at or before local_ns on the host's clock, and the first after it. First looked
-- for where the reference time ought to be `guess`: a bad guess costs time, and samples filed out of their order
-- cost width, neither costs truth. The block in which they were looked for, if it was one.
CREATE FUNCTION store.neighbours(
    host int8, boot int4, step int4, since timestamptz, until timestamptz, guess timestamptz,
    local_ns int8, OUT before store.sample_row, OUT after store.sample_row, OUT block store.block_row)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    reach CONSTANT interval := '3 min';
    closed timestamptz; pair record;
BEGIN
    SELECT m.closed_until INTO closed FROM store.tier_mark m;
    IF guess < closed THEN
        SELECT b.* INTO block FROM store.sample_block b
        WHERE b.host_id = host AND b.hour > guess - interval '63 min' AND b.hour <= guess + reach
          AND b.boot_no = boot AND b.steps = step AND b.first_host_ns <= local_ns
        ORDER BY b.hour DESC, b.boot_no DESC, b.steps DESC, b.first_seq DESC LIMIT 1;
        IF FOUND AND local_ns < block.last_host_ns THEN
            pair := store.block_pair(block, local_ns);
            before := pair.before;
            after := pair.after;
        END IF;
    END IF;
    IF guess + reach >= closed AND before.seq IS NULL THEN
        SELECT s.* INTO before FROM store.sample s
        WHERE s.host_id = host AND s.ref_time BETWEEN guess - reach AND guess + interval '10 s'
          AND s.boot_no = boot AND s.steps = step AND s.host_ns BETWEEN 0 AND local_ns
        ORDER BY s.ref_time DESC, s.boot_no DESC, s.seq DESC LIMIT 1;
        SELECT s.* INTO after FROM store.sample s
        WHERE s.host_id = host AND s.ref_time BETWEEN coalesce(before.ref_time, guess - reach) AND guess + reach
          AND s.boot_no = boot AND s.steps = step AND s.host_ns > local_ns AND s.host_ns <= 4000000000000000000
        ORDER BY s.ref_time, s.boot_no, s.seq LIMIT 1;
    END IF;
    IF before.seq + 1 = after.seq THEN
        RETURN;
    END IF;
    before := store.nearest(host, boot, step, since, until, local_ns, false, false);
    after := store.nearest(host, boot, step, since, until, local_ns, true, false);
END $$;

-- UTC at a sample that has a window.
CREATE FUNCTION store.utc_at(s store.sample_row, OUT lo_ns int8, OUT hi_ns int8, OUT seq int8)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    lo_ns := s.host_ns - s.hi_ns;
    hi_ns := s.host_ns - s.lo_ns;
    seq := s.seq;
END $$;

-- Lost reports ----------------------------------------------------------------------------------------------

-- Whether any report between two numbers of a boot is not stored: refused, or dropped by a full spool. The event that
-- tells of the latter is in a later report than those that are lost. With to_seq the greatest of numbers: any
-- between after_seq and the last that was stored, wherever that is filed.
CREATE FUNCTION store.reports_missing(
    host int8, boot int4, after_seq int8, to_seq int8, since timestamptz, until timestamptz) RETURNS bool
LANGUAGE plpgsql STABLE AS $$
DECLARE
    open   CONSTANT bool := to_seq = 9223372036854775807;
    closed timestamptz; block store.block_row; kept record;
    number int8 := 0; last int8 := after_seq;
BEGIN
    IF open THEN
        -- Of the newest boot it is in the row of the newest state.
        last := greatest(after_seq,
            (SELECT max(b.last_seq) FROM store.boot b WHERE b.host_id = host AND b.boot_no = boot),
            (SELECT s.seq FROM store.host_state s WHERE s.host_id = host AND s.boot_no = boot));
    END IF;
    IF NOT open AND to_seq - 1 <= after_seq OR open AND last = after_seq THEN
        RETURN false;
    END IF;
    IF until < since THEN
        RETURN true; -- filed out of their order
    END IF;
    SELECT m.closed_until INTO closed FROM store.tier_mark m;
    IF since < closed THEN
        FOR block IN
            SELECT b.* FROM store.sample_block b
            WHERE b.host_id = host AND b.hour > since - interval '1 hour' AND b.hour <= until
              AND b.boot_no = boot AND b.last_seq > after_seq AND b.first_seq < to_seq
        LOOP
            -- Most need not be unpacked: there are all numbers in it, or all of it is between.
            IF block.n = block.last_seq - block.first_seq + 1 THEN
                number := number + least(block.last_seq, to_seq - 1) - greatest(block.first_seq, after_seq + 1) + 1;
            ELSIF block.first_seq > after_seq AND block.last_seq < to_seq THEN
                number := number + block.n;
            ELSE
                number := number + (SELECT count(*) FROM store.block_samples(block) s
                                    WHERE s.seq > after_seq AND s.seq < to_seq);
            END IF;
            last := greatest(last, block.last_seq);
        END LOOP;
    END IF;
    FOR kept IN
        (SELECT count(*) AS number, max(s.seq) AS last FROM store.sample s
         WHERE s.host_id = host AND s.ref_time BETWEEN greatest(since, closed) AND until AND s.boot_no = boot
           AND s.seq > after_seq AND s.seq < to_seq)
        UNION ALL
        (SELECT count(*), max(s.seq) FROM store.sample_late s
         WHERE s.host_id = host AND s.ref_time BETWEEN since AND until AND s.boot_no = boot
           AND s.seq > after_seq AND s.seq < to_seq)
    LOOP
        number := number + kept.number;
        last := greatest(last, kept.last);
    END LOOP;
    RETURN number < CASE WHEN open THEN last ELSE to_seq - 1 END - after_seq;
END $$;

-- Whether the reports after one of a boot, up to another, tell of a time in which the clock may have been set
-- without anybody's notice, or cannot tell: the host slept, no agent ran, or reports are lost. Nothing is known
-- of the time before the first report of a boot (after_seq 0): that may not be the first that was made.
CREATE FUNCTION store.unwatched(
    host int8, boot int4, after_seq int8, to_seq int8, since timestamptz, until timestamptz) RETURNS bool
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF after_seq = 0 OR EXISTS (
            SELECT FROM store.event e
            WHERE e.host_id = host AND e.boot_no = boot AND e.seq > after_seq AND e.seq <= to_seq
              AND e.kind IN ('suspend', 'restart', 'reboot', 'dropped')) THEN
        RETURN true;
    END IF;
    -- Apart: in one expression with a table, Citus would call the function on that host's shard.
    RETURN store.reports_missing(host, boot, after_seq, to_seq, since, until);
END $$;

-- Rates -----------------------------------------------------------------------------------------------------

-- The limit of the oscillator's rate error in a clock epoch, ppb. An agent reads its settings as it starts, which begins
-- an epoch: of the one that runs the limit is known, of others it is what no oscillator exceeds that keeps time.
CREATE FUNCTION store.rate_ceiling(host int8, boot int4, step int4) RETURNS int8
LANGUAGE plpgsql STABLE AS $$
DECLARE
    ceiling int8; runs bool;
BEGIN
    SELECT coalesce(s.drift_ceiling_ppb, s.drift_limit_ppb), s.boot_no = boot AND s.steps = step INTO ceiling, runs
    FROM store.host_state s WHERE s.host_id = host;
    RETURN CASE WHEN runs THEN ceiling ELSE greatest(ceiling, 500000) END;
END $$;

-- What the clock may do between two samples of one epoch (either may be missing). `straight`: the line
-- between them holds, ± stray_ns. Otherwise it is within ± slew of its raw clock. `broken`: the host slept,
-- nobody looked for steps, or the reports that would tell are lost: each sample speaks for its own side of that
-- moment, which may be anywhere between.
CREATE FUNCTION store.conduct(
    host int8, before store.sample_row, after store.sample_row,
    OUT straight bool, OUT slew float8, OUT rate_lo float8, OUT rate_hi float8, OUT broken bool)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    ordinary CONSTANT float8 := 1.1e-3;
    raw_ns   float8 := (after.raw_ns::numeric - before.raw_ns)::float8;
    gained   float8 := ((after.host_ns::numeric - before.host_ns)::float8 - raw_ns) / nullif(raw_ns, 0);
BEGIN
    straight := coalesce(after.seq = before.seq + 1 AND after.stray_ns IS NOT NULL AND raw_ns > 0
                         AND abs(gained) < 0.1, false);
    -- Beyond a tenth it is no slew: the raw clock stood still while the host slept, or the clock was set.
    slew := CASE WHEN abs(gained) < 0.1 THEN greatest(ordinary, 2 * abs(gained)) ELSE ordinary END;
    IF straight AND after.rate_margin_ppb IS NOT NULL AND raw_ns <= 512e9 THEN
        rate_lo := (coalesce(after.frequency_ppb, 0) - after.rate_margin_ppb) / 1e9;
        rate_hi := (coalesce(after.frequency_ppb, 0) + after.rate_margin_ppb) / 1e9;
    ELSE
        rate_hi := store.rate_ceiling(host, coalesce(before.boot_no, after.boot_no), coalesce(before.steps, after.steps)) / 1e9;
        rate_lo := -rate_hi;
    END IF;
    broken := false;
    IF NOT straight AND after.seq IS NOT NULL AND before.seq IS NOT NULL THEN
        broken := abs(coalesce(gained, 1)) > ordinary
            OR store.unwatched(host, before.boot_no, before.seq, after.seq,
                               before.ref_time - interval '1 min', after.ref_time + interval '1 min');
    END IF;
END $$;

-- Leap seconds come at the end of a month. Whether that of UTC lies between two moments.
CREATE FUNCTION store.may_leap(from_ns int8, to_ns int8) RETURNS bool
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN date_trunc('month', to_timestamp(from_ns / 1000000000) AT TIME ZONE 'UTC')
        <> date_trunc('month', to_timestamp(to_ns / 1000000000) AT TIME ZONE 'UTC');
END $$;

CREATE FUNCTION store.ns_of(at timestamptz) RETURNS int8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT (extract(epoch FROM at) * 1000000000)::int8 $$;

-- Epochs in order -------------------------------------------------------------------------------------------

-- A clock epoch; its samples are filed within [since, until], and the clock may have shown readings as far as this before and
-- after the first sample's, ns. Null: no limit is known.
CREATE TYPE store.epoch_span AS (
    boot_no int4, steps int4, first_ref_time timestamptz, first_host_ns int8, first_seq int8,
    since timestamptz, until timestamptz, most_before float8, most_after float8);

-- The clock epochs of a host in the order of time. Boots are numbered as they are met, and an agent sends what is
-- left of an earlier one first. When an epoch was is known from those reference times that follow from ages: its own, or
-- else of epochs before and after it. A clock that is only slewed gains less than a tenth. An age leaves out what the host
-- slept since, so where a sleep is told later the sample may be older: nothing is known to be younger than it.
--
-- What is received is filed up to 7 days before that, so is what comes after the first sample of an epoch. None is filed
-- after the boot that ran when it came had begun; an earlier release did so (by_age is null).
CREATE FUNCTION store.epoch_spans(host int8) RETURNS store.epoch_span[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT ROW(d.boot_no, d.steps, d.first_ref_time, d.first_host_ns, d.first_seq,
                   coalesce(d.filed_since, d.first_ref_time - interval '7 days') - interval '10 min',
                   CASE WHEN d.by_age IS NULL THEN 'infinity'
                        ELSE coalesce(d.ended_by + interval '10 min', 'infinity') END,
                   1.1e9 * extract(epoch FROM coalesce(least(d.sure, d.ended_by), greatest(now(), d.after))
                                              - d.after)::float8,
                   1.1e9 * extract(epoch FROM coalesce(d.ended_by, greatest(now(), d.sure, d.after))
                                              - greatest(d.began, d.after))::float8)::store.epoch_span
        FROM (SELECT m.*, s.sure, s.began,
                     max(s.began) OVER (ORDER BY m.boot_no, m.steps
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS after,
                     min(s.sure) OVER (ORDER BY m.boot_no DESC, m.steps DESC
                                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS ended_by
              FROM store.epoch m
              LEFT JOIN (SELECT v.boot_no, max(v.seq) AS told FROM store.event v
                         WHERE v.host_id = host AND v.kind = 'suspend' GROUP BY v.boot_no) sleep
                     ON sleep.boot_no = m.boot_no
              CROSS JOIN LATERAL (SELECT CASE WHEN m.by_age THEN m.first_ref_time END AS sure,
                                         CASE WHEN m.by_age AND coalesce(sleep.told <= m.first_seq, true)
                                              THEN m.first_ref_time END AS began) s
              WHERE m.host_id = host) d
        ORDER BY d.boot_no, d.steps);
END $$;

-- Windows ---------------------------------------------------------------------------------------------------

-- Every interval of UTC in which a host's clock may have shown a moment of [local_ns, local_ns + span_ns], for
-- each of the readings, which are in rising order; one for each clock epoch that may have passed through it. Null
-- bounds: nothing is known on that side.
CREATE FUNCTION store.windows(
    host int8, readings int8[], spans int8[],
    OUT line int4, OUT lo_ns int8, OUT hi_ns int8, OUT boot_no int4, OUT steps int4, OUT basis text)
RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
DECLARE
    -- Epochs with windows are told apart by these. Farther off they need not be looked at: a host seldom sleeps so long.
    slack CONSTANT float8 := 8 * 86400e9;
    leap  CONSTANT int8 := 1000000000;
    hour  CONSTANT int8 := 3600000000000;
    -- No reading is of the future, as far as the database's own clock can be trusted.
    now_ns CONSTANT int8 := store.ns_of(now()) + 60000000000;
    epochs store.epoch_span[] := store.epoch_spans(host);
    e store.epoch_span; previous store.epoch_span; following store.epoch_span;
    guess timestamptz; first_ns float8;
    local_ns int8; dense int4;
    ahead store.sample_row[]; ahead_ns int8[]; ahead_until int8; place int4;
    before store.sample_row; after store.sample_row; a store.sample_row; b store.sample_row; s store.sample_row;
    held store.block_row; heads store.block_head;
    n record; c record; edge record;
    far float8; raw float8; x float8; pad float8; reach float8;
    since_lo float8; since_hi float8; until_lo float8; until_hi float8;
    a_lo int8; a_hi int8; b_lo int8; b_hi int8;
    known bool; passed bool; near bool; found bool[];
BEGIN
    FOREACH local_ns IN ARRAY readings LOOP
        IF local_ns NOT BETWEEN 0 AND 4000000000000000000 THEN
            RAISE 'local time % ns is not between the years 1970 and 2096', local_ns
                USING ERRCODE = 'numeric_value_out_of_range', HINT = 'Local times are nanoseconds since 1970.';
        END IF;
    END LOOP;
    FOR i IN 1..cardinality(epochs) LOOP
        e := epochs[i];
        previous := epochs[i - 1];
        following := epochs[i + 1];
        first_ns := e.first_host_ns;
        before := NULL;
        after := NULL;
        known := false;
        ahead_until := NULL;
        held := NULL;
        heads := NULL;
        FOR r IN 1..cardinality(readings) LOOP
            local_ns := readings[r];
            reach := spans[r] * 1.2;
            CONTINUE WHEN local_ns - first_ns >= slack + e.most_after OR first_ns - local_ns >= slack + e.most_before;
            near := coalesce(local_ns - first_ns < 6e10 + e.most_after, true)
                AND coalesce(first_ns - local_ns < 6e10 + e.most_before, true);

            -- The two samples around it: those around the reading before, or some of those read ahead where readings
            -- are close together, or looked for.
            IF known AND local_ns < after.host_ns THEN
                NULL;
            ELSE
                s := CASE WHEN after.seq IS NOT NULL THEN after ELSE before END;
                guess := coalesce(s.ref_time, e.first_ref_time) + make_interval(secs =>
                    least(greatest(local_ns - coalesce(s.host_ns, first_ns), -3e17), 3e17) / 1e9);
                known := false;
                IF s.seq IS NOT NULL AND (ahead_until IS NULL OR local_ns > ahead_until) THEN
                    dense := width_bucket(local_ns + hour, readings) - r;
                    -- To unpack an hour costs as much as to look up this many readings in it.
                    IF dense >= (SELECT CASE WHEN guess < m.closed_until THEN 60 ELSE 8 END FROM store.tier_mark m) THEN
                        ahead_until := readings[r + dense];
                        SELECT array_agg(ROW(q.*)::store.sample_row ORDER BY q.seq), array_agg(q.host_ns ORDER BY q.seq)
                        INTO ahead, ahead_ns
                        FROM store.samples(host, guess - interval '70 s', guess + interval '70 s'
                                 + make_interval(secs => (ahead_until - local_ns) / 1e9)) q
                        WHERE q.boot_no = e.boot_no AND q.steps = e.steps
                          AND q.host_ns BETWEEN 0 AND 4000000000000000000;
                    END IF;
                END IF;
                IF local_ns <= ahead_until THEN
                    place := width_bucket(local_ns, ahead_ns);
                    before := ahead[place];
                    after := ahead[place + 1];
                    known := coalesce(before.seq + 1 = after.seq AND before.host_ns <= local_ns
                                      AND local_ns < after.host_ns, false);
                END IF;
                -- The block that the reading before was in is at hand.
                IF NOT known AND local_ns >= held.first_host_ns AND local_ns < held.last_host_ns THEN
                    IF heads IS NULL THEN
                        held.data := held.data || B''; -- as in block_samples
                        heads := store.block_heads(held.data, held.n);
                    END IF;
                    n := store.block_pair(held, local_ns, heads);
                    before := n.before;
                    after := n.after;
                    known := coalesce(before.seq + 1 = after.seq, false);
                END IF;
                IF NOT known THEN
                    n := store.neighbours(host, e.boot_no, e.steps, e.since, e.until, guess, local_ns);
                    before := n.before;
                    after := n.after;
                    held := n.block;
                    heads := NULL;
                    known := coalesce(before.seq + 1 = after.seq, false);
                END IF;
                a := before;
                b := after;
                IF a.seq IS NOT NULL AND NOT store.usable(a.lo_ns, a.hi_ns)
                   OR b.seq IS NOT NULL AND NOT store.usable(b.lo_ns, b.hi_ns) THEN
                    -- Those without a window are passed over; then the line between the two says nothing.
                    a := store.nearest(host, e.boot_no, e.steps, e.since, e.until, local_ns, false, true);
                    b := store.nearest(host, e.boot_no, e.steps, e.since, e.until, local_ns, true, true);
                END IF;
                c := store.conduct(host, a, b);
            END IF;
            passed := before.seq IS NOT NULL AND after.seq IS NOT NULL;

            -- How far the raw clock went since the one and until the other sample.
            IF c.straight THEN
                raw := b.raw_ns - a.raw_ns;
                far := b.host_ns - a.host_ns;
                x := (local_ns - a.host_ns) + (local_ns - a.host_ns) * ((raw - far) / far);
                pad := b.stray_ns * (raw / far) + 1;
                since_lo := x - pad;
                since_hi := x + pad + reach;
                until_lo := raw - x - pad - reach;
                until_hi := raw - x + pad;
            ELSE
                x := local_ns - a.host_ns;
                since_lo := x / (1 + c.slew);
                since_hi := (x + reach) / (1 - c.slew);
                x := b.host_ns - local_ns;
                until_lo := (x - reach) / (1 + c.slew);
                until_hi := x / (1 - c.slew);
            END IF;
            -- And UTC, as far as the oscillator's rate may be off: between raw (1 - rate_hi) and raw (1 - rate_lo).
            a_lo := a.host_ns - a.hi_ns + floor(since_lo - greatest(since_lo * c.rate_hi, since_lo * c.rate_lo))::int8;
            a_hi := a.host_ns - a.lo_ns + ceil(since_hi - least(since_hi * c.rate_hi, since_hi * c.rate_lo))::int8;
            b_lo := b.host_ns - b.hi_ns - ceil(until_hi - least(until_hi * c.rate_hi, until_hi * c.rate_lo))::int8;
            b_hi := b.host_ns - b.lo_ns - floor(until_lo - greatest(until_lo * c.rate_hi, until_lo * c.rate_lo))::int8;

            line := r;
            boot_no := e.boot_no;
            steps := e.steps;
            IF a.seq IS NOT NULL AND b.seq IS NOT NULL THEN
                lo_ns := greatest(a_lo, b_lo);
                hi_ns := least(a_hi, b_hi);
                basis := 'between';
                IF c.broken OR lo_ns > hi_ns OR store.may_leap(a.host_ns - a.hi_ns, b.host_ns - b.lo_ns) THEN
                    -- All that is left is that it was after the one and before the other.
                    lo_ns := least(a.host_ns - a.hi_ns, b.host_ns - b.hi_ns) - leap;
                    hi_ns := greatest(a.host_ns - a.lo_ns, b.host_ns - b.lo_ns) + leap;
                    basis := 'break';
                END IF;
                found[r] := true;
                RETURN NEXT;
                CONTINUE;
            END IF;

            -- On one side at least there is nothing but the end of the epoch.
            lo_ns := coalesce(a_lo, b_lo);
            hi_ns := coalesce(a_hi, b_hi);
            basis := CASE WHEN a.seq IS NOT NULL THEN 'after' WHEN b.seq IS NOT NULL THEN 'before'
                          ELSE 'no window' END;
            IF a.seq IS NOT NULL AND store.may_leap(a.host_ns - a.hi_ns, hi_ns)
               OR b.seq IS NOT NULL AND store.may_leap(lo_ns, b.host_ns - b.lo_ns) THEN
                lo_ns := lo_ns - leap;
                hi_ns := hi_ns + leap;
            END IF;
            IF a.seq IS NOT NULL AND store.unwatched(host, e.boot_no, a.seq,
                    coalesce(after.seq, CASE WHEN following.boot_no = e.boot_no THEN following.first_seq END, 9223372036854775807),
                    a.ref_time - interval '1 min',
                    coalesce(after.ref_time + interval '1 min', e.until)) THEN
                lo_ns := a.host_ns - a.hi_ns;
                hi_ns := NULL;
                basis := 'break';
            END IF;
            IF before.seq IS NULL AND (after.seq IS NULL OR after.seq > e.first_seq
                                       OR previous.boot_no IS NULL AND (e.boot_no > 1 OR e.steps > 0)) THEN
                -- What came before the first sample that is left has been dropped.
                CONTINUE WHEN after.seq IS NULL AND NOT near;
                edge := store.utc_at(b);
                IF b.seq IS NULL AND following.boot_no = e.boot_no THEN
                    edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                        following.since, following.until, -1, true, true));
                END IF;
                lo_ns := NULL;
                hi_ns := edge.hi_ns;
                basis := 'dropped';
                found[r] := true;
                RETURN NEXT;
                CONTINUE;
            END IF;
            IF a.seq IS NULL THEN
                edge := store.utc_at(store.nearest(host, previous.boot_no, previous.steps,
                    previous.since, previous.until, 4000000000000000000, false, true));
                IF b.seq IS NOT NULL AND store.unwatched(host, e.boot_no,
                        coalesce(before.seq, CASE WHEN previous.boot_no = e.boot_no THEN edge.seq END, 0), b.seq,
                        coalesce(before.ref_time - interval '1 min', previous.since),
                        b.ref_time + interval '1 min') THEN
                    lo_ns := NULL;
                    hi_ns := b.host_ns - b.lo_ns;
                    basis := 'break';
                END IF;
                -- Boots are in the order in which they were met, which is not certain; windows are.
                IF previous.boot_no = e.boot_no OR edge.hi_ns < b.host_ns - b.hi_ns THEN
                    lo_ns := CASE WHEN lo_ns IS NULL THEN edge.lo_ns ELSE greatest(lo_ns, edge.lo_ns) END;
                END IF;
            END IF;
            IF b.seq IS NULL AND following.boot_no IS NOT NULL THEN
                edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                    following.since, following.until, -1, true, true));
                IF following.boot_no = e.boot_no OR edge.lo_ns > a.host_ns - a.lo_ns THEN
                    hi_ns := CASE WHEN hi_ns IS NULL THEN edge.hi_ns ELSE least(hi_ns, edge.hi_ns) END;
                END IF;
            END IF;
            -- The last epoch goes on until now: a clock that was set back has not shown all of the past again.
            CONTINUE WHEN after.seq IS NULL AND following.boot_no IS NULL
                AND lo_ns > greatest(now_ns, a.host_ns - a.lo_ns + 60000000000);
            -- An epoch without any window says only between what it was, so only one that came near counts.
            CONTINUE WHEN NOT passed AND basis = 'no window' AND NOT near;
            -- It may not have lasted so long; who slept may wake some minutes off.
            CONTINUE WHEN NOT passed AND (lo_ns > hi_ns
                OR basis = 'break' AND abs((local_ns - coalesce(a.host_ns, b.host_ns))::float8)
                    > 6e11 + 1.1 * (coalesce(hi_ns, greatest(now_ns, lo_ns)) - lo_ns)::float8);
            found[r] := true;
            RETURN NEXT;
        END LOOP;
    END LOOP;

    -- What the clock never showed: it was set across it.
    FOR r IN 1..cardinality(readings) LOOP
        CONTINUE WHEN found[r];
        local_ns := readings[r];
        FOR i IN 1..cardinality(epochs) - 1 LOOP
            e := epochs[i];
            following := epochs[i + 1];
            CONTINUE WHEN local_ns NOT BETWEEN e.first_host_ns AND following.first_host_ns;
            edge := store.utc_at(store.nearest(host, e.boot_no, e.steps, e.since, e.until,
                4000000000000000000, false, true));
            lo_ns := edge.lo_ns;
            edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                following.since, following.until, -1, true, true));
            hi_ns := edge.hi_ns;
            line := r;
            boot_no := NULL;
            steps := NULL;
            basis := 'skipped';
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

-- A moment of UTC -------------------------------------------------------------------------------------------

-- The clock's error at a moment of UTC, from the nearest samples with a window on each side. Null: there is none,
-- or too much may have happened between.
CREATE FUNCTION store.error_at(host int8, at_ns int8, OUT lo_ns int8, OUT hi_ns int8)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    at timestamptz := to_timestamp(at_ns / 1e9); reach interval;
    s store.sample_row; a store.sample_row; b store.sample_row; c record;
    raw float8; gained float8; early float8; late float8; beyond float8; lo float8; hi float8;
    one_epoch bool; lows int8[]; highs int8[];
    leap CONSTANT int8 := 1000000000;
BEGIN
    -- Beyond a week nothing is claimed.
    FOREACH reach IN ARRAY ARRAY[interval '2 min', '1 hour', '7 days'] LOOP
        IF a.seq IS NULL THEN
            SELECT t.* INTO a FROM store.samples(host, at - reach, at + interval '1 us') t
            WHERE store.usable(t.lo_ns, t.hi_ns) AND t.host_ns BETWEEN 0 AND 4000000000000000000
            ORDER BY t.ref_time DESC, t.boot_no DESC, t.seq DESC LIMIT 1;
        END IF;
        IF b.seq IS NULL THEN
            SELECT t.* INTO b FROM store.samples(host, at + interval '1 us', at + reach) t
            WHERE store.usable(t.lo_ns, t.hi_ns) AND t.host_ns BETWEEN 0 AND 4000000000000000000
            ORDER BY t.ref_time, t.boot_no, t.seq LIMIT 1;
        END IF;
    END LOOP;
    IF a.seq IS NULL THEN
        RETURN; -- who knows what was before the first that is left
    END IF;
    one_epoch := coalesce(a.boot_no = b.boot_no AND a.steps = b.steps AND a.seq < b.seq, false);
    -- Both must be of the boot that ran then; where reports were filed out of their order, their windows tell.
    IF a.boot_no <> b.boot_no OR a.steps + 1 < b.steps OR a.steps > b.steps
       OR at_ns < a.host_ns - a.hi_ns OR at_ns > b.host_ns - b.lo_ns THEN
        RETURN;
    END IF;
    -- One by one: beside a table, Citus would call the function on that host's shard.
    IF NOT one_epoch AND store.unwatched(host, a.boot_no, a.seq, coalesce(b.seq, 9223372036854775807),
                                         a.ref_time - interval '1 min',
                                         coalesce(b.ref_time, 'infinity') + interval '1 min') THEN
        RETURN;
    END IF;
    IF b.seq IS NULL AND EXISTS (
            SELECT FROM store.epoch e WHERE e.host_id = host
            AND (e.first_ref_time > a.ref_time OR (e.boot_no, e.steps) > (a.boot_no, a.steps))) THEN
        RETURN;
    END IF;
    IF one_epoch THEN
        c := store.conduct(host, a, b);
        raw := (b.raw_ns::numeric - a.raw_ns)::float8;
        gained := (b.host_ns - a.host_ns)::float8 / raw - 1;
    ELSE
        c := store.conduct(host, NULL, NULL);
    END IF;
    FOREACH s IN ARRAY ARRAY[a, b] LOOP
        CONTINUE WHEN s.seq IS NULL;
        -- The time that passed since it on UTC; negative: until it.
        early := (at_ns - (s.host_ns - s.lo_ns))::float8;
        late := (at_ns - (s.host_ns - s.hi_ns))::float8;
        IF c.straight THEN
            -- The line ends at the samples. A sample's own window may reach beyond it, where the clock is slewed.
            beyond := CASE WHEN s.seq = a.seq THEN greatest(0, -early) + greatest(0, late - raw)
                           ELSE greatest(0, late) + greatest(0, -early - raw) END;
            lo := gained + c.rate_lo * (1 + gained);
            hi := gained + c.rate_hi * (1 + gained);
            beyond := b.stray_ns + 2 + beyond * (c.slew + abs(lo) + abs(hi));
            lows := lows || s.lo_ns
                + floor(least(early * lo, early * hi, late * lo, late * hi) - beyond)::int8;
            highs := highs || s.hi_ns
                + ceil(greatest(early * lo, early * hi, late * lo, late * hi) + beyond)::int8;
        ELSE
            beyond := ceil(greatest(abs(early), abs(late)) * (c.slew + 1.1 * c.rate_hi)) + 1;
            lows := lows || s.lo_ns - beyond::int8;
            highs := highs || s.hi_ns + beyond::int8;
        END IF;
    END LOOP;
    lo_ns := (SELECT max(l) FROM unnest(lows) l);
    hi_ns := (SELECT min(h) FROM unnest(highs) h);
    IF one_epoch AND (c.broken OR lo_ns > hi_ns
                      OR store.may_leap(a.host_ns - a.hi_ns, b.host_ns - b.lo_ns)) THEN
        -- All that is left is that the clock showed something between the two readings.
        lo_ns := a.host_ns - at_ns - leap;
        hi_ns := b.host_ns - at_ns + leap;
    ELSIF NOT one_epoch AND cardinality(lows) = 2 THEN
        -- The clock was set between the two: each speaks for its side.
        lo_ns := (SELECT min(l) FROM unnest(lows) l);
        hi_ns := (SELECT max(h) FROM unnest(highs) h);
    END IF;
END $$;
