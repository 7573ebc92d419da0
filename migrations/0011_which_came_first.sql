-- What UTC it was when a host's clock showed something, which of two log lines came first, and how far two
-- clocks were apart: docs/SQL.md tells people how to ask, and what the answers rest on.
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

-- Finding samples -----------------------------------------------------------------------------------------

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
-- cost width, neither costs truth.
CREATE FUNCTION store.neighbours(
    host int8, boot int4, step int4, since timestamptz, until timestamptz, guess timestamptz,
    local_ns int8, OUT before store.sample_row, OUT after store.sample_row)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    reach CONSTANT interval := '3 min';
    closed timestamptz; block store.block_row; pair record;
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

-- What may have happened between samples ------------------------------------------------------------------

-- The limit of the oscillator's rate error that the host's agent is configured with, ppb.
CREATE FUNCTION store.rate_ceiling(host int8) RETURNS int8
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce((SELECT coalesce(s.drift_ceiling_ppb, s.drift_limit_ppb) FROM store.host_state s
                     WHERE s.host_id = host), 500000); -- nothing that keeps time is worse
END $$;

-- Whether the reports after one of a boot, up to another, tell of a time in which the clock may have been set
-- without anybody's notice: the host slept, no agent ran, or reports are lost.
CREATE FUNCTION store.unwatched(
    host int8, boot int4, after_seq int8, to_seq int8, since timestamptz, until timestamptz) RETURNS bool
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM store.event e
        WHERE e.host_id = host AND e.ref_time BETWEEN since AND until AND e.boot_no = boot
          AND e.seq > after_seq AND e.seq <= to_seq AND e.kind IN ('suspend', 'restart', 'reboot', 'dropped'));
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
        rate_hi := store.rate_ceiling(host) / 1e9;
        rate_lo := -rate_hi;
    END IF;
    broken := false;
    IF NOT straight AND after.seq IS NOT NULL AND before.seq IS NOT NULL THEN
        broken := abs(coalesce(gained, 1)) > ordinary
            OR store.unwatched(host, before.boot_no, before.seq, after.seq,
                               before.ref_time - interval '1 min', after.ref_time + interval '1 min');
    END IF;
END $$;

-- The UTC that may pass while the raw clock counts [raw_lo, raw_hi] at a rate error in [rate_lo, rate_hi] (gained
-- per second of its own).
CREATE FUNCTION store.elapsed(raw_lo float8, raw_hi float8, rate_lo float8, rate_hi float8,
                              OUT lo float8, OUT hi float8)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    lo := floor(raw_lo - greatest(raw_lo * rate_hi, raw_lo * rate_lo));
    hi := ceil(raw_hi - least(raw_hi * rate_hi, raw_hi * rate_lo));
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

-- A row of store.epoch for functions, as store.sample_row is.
CREATE TYPE store.epoch_row AS (
    host_id int8, boot_no int4, steps int4, first_ref_time timestamptz, first_host_ns int8, first_raw_ns int8,
    first_seq int8);

-- The clock epochs of a host in the order of time: boots by when they began.
CREATE FUNCTION store.epochs(host int8) RETURNS store.epoch_row[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    epochs store.epoch_row[] := ARRAY(SELECT ROW(m.*)::store.epoch_row FROM store.epoch m WHERE m.host_id = host);
BEGIN
    IF cardinality(epochs) > 1 THEN
        epochs := ARRAY(SELECT ROW(m.*)::store.epoch_row FROM unnest(epochs) m
                        ORDER BY min(m.first_ref_time) OVER (PARTITION BY m.boot_no), m.boot_no, m.steps);
    END IF;
    RETURN epochs;
END $$;


-- Every interval of UTC in which a host's clock may have shown a moment of [local_ns, local_ns + span_ns], for
-- each of the readings, which are in rising order; one for each clock epoch that may have passed through it. Null
-- bounds: nothing is known on that side.
CREATE FUNCTION store.windows(
    host int8, readings int8[], spans int8[],
    OUT line int4, OUT lo_ns int8, OUT hi_ns int8, OUT boot_no int4, OUT steps int4, OUT basis text)
RETURNS SETOF record LANGUAGE plpgsql STABLE AS $$
DECLARE
    slack CONSTANT float8 := 8 * 86400e9;     -- a late sample is filed up to 7 days off
    leap  CONSTANT int8 := 1000000000;
    hour  CONSTANT int8 := 3600000000000;
    -- No reading is of the future, as far as the database's own clock can be trusted.
    now_ns CONSTANT int8 := store.ns_of(now()) + 60000000000;
    epochs store.epoch_row[] := store.epochs(host);
    e store.epoch_row; previous store.epoch_row; following store.epoch_row;
    since timestamptz; until timestamptz; ended timestamptz; guess timestamptz;
    first_ns float8; most_after float8; most_before float8;
    local_ns int8; dense int4;
    ahead store.sample_row[]; ahead_ns int8[]; ahead_until int8; place int4;
    before store.sample_row; after store.sample_row; a store.sample_row; b store.sample_row; s store.sample_row;
    n record; c record; p record; edge record;
    far float8; raw float8; x float8; pad float8; reach float8;
    a_lo int8; a_hi int8; b_lo int8; b_hi int8;
    known bool; passed bool; lost bool; found bool[];
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
        ended := greatest(coalesce(following.first_ref_time, now()), e.first_ref_time);
        since := e.first_ref_time - interval '10 min';
        until := coalesce(following.first_ref_time + interval '10 min', 'infinity');
        first_ns := e.first_host_ns;
        most_after := slack + 1.1e9 * extract(epoch FROM ended - e.first_ref_time)::float8;
        most_before := slack + 1.1e9 * extract(epoch FROM e.first_ref_time
                                               - least(previous.first_ref_time, e.first_ref_time))::float8;
        before := NULL;
        after := NULL;
        known := false;
        ahead_until := NULL;
        FOR r IN 1..cardinality(readings) LOOP
            local_ns := readings[r];
            reach := spans[r] * 1.2;
            CONTINUE WHEN local_ns - first_ns >= most_after
                       OR previous.boot_no IS NOT NULL AND first_ns - local_ns >= most_before;

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
                    IF dense >= (SELECT CASE WHEN guess < m.closed_until THEN 40 ELSE 8 END FROM store.tier_mark m) THEN
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
                IF NOT known THEN
                    n := store.neighbours(host, e.boot_no, e.steps, since, until, guess, local_ns);
                    before := n.before;
                    after := n.after;
                    known := coalesce(before.seq + 1 = after.seq, false);
                END IF;
                a := before;
                b := after;
                IF a.seq IS NOT NULL AND NOT store.usable(a.lo_ns, a.hi_ns)
                   OR b.seq IS NOT NULL AND NOT store.usable(b.lo_ns, b.hi_ns) THEN
                    -- Those without a window are passed over; then the line between the two says nothing.
                    a := store.nearest(host, e.boot_no, e.steps, since, until, local_ns, false, true);
                    b := store.nearest(host, e.boot_no, e.steps, since, until, local_ns, true, true);
                END IF;
                c := store.conduct(host, a, b);
            END IF;
            passed := before.seq IS NOT NULL AND after.seq IS NOT NULL;

            a_lo := NULL; a_hi := NULL; b_lo := NULL; b_hi := NULL;
            IF c.straight THEN
                raw := b.raw_ns - a.raw_ns;
                far := b.host_ns - a.host_ns;
                x := (local_ns - a.host_ns) + (local_ns - a.host_ns) * ((raw - far) / far);
                pad := b.stray_ns * (raw / far) + 1;
                p := store.elapsed(x - pad, x + pad + reach, c.rate_lo, c.rate_hi);
                a_lo := a.host_ns - a.hi_ns + p.lo::int8;
                a_hi := a.host_ns - a.lo_ns + p.hi::int8;
                p := store.elapsed(raw - x - pad - reach, raw - x + pad, c.rate_lo, c.rate_hi);
                b_lo := b.host_ns - b.hi_ns - p.hi::int8;
                b_hi := b.host_ns - b.lo_ns - p.lo::int8;
            ELSE
                IF a.seq IS NOT NULL THEN
                    x := local_ns - a.host_ns;
                    p := store.elapsed(x / (1 + c.slew), (x + reach) / (1 - c.slew), c.rate_lo, c.rate_hi);
                    a_lo := a.host_ns - a.hi_ns + p.lo::int8;
                    a_hi := a.host_ns - a.lo_ns + p.hi::int8;
                END IF;
                IF b.seq IS NOT NULL THEN
                    x := b.host_ns - local_ns;
                    p := store.elapsed((x - reach) / (1 + c.slew), x / (1 - c.slew), c.rate_lo, c.rate_hi);
                    b_lo := b.host_ns - b.hi_ns - p.hi::int8;
                    b_hi := b.host_ns - b.lo_ns - p.lo::int8;
                END IF;
            END IF;

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
                    coalesce(after.ref_time, following.first_ref_time, 'infinity') + interval '1 min') THEN
                lo_ns := a.host_ns - a.hi_ns;
                hi_ns := NULL;
                basis := 'break';
            END IF;
            IF before.seq IS NULL AND (after.seq IS NULL OR after.seq > e.first_seq
                                       OR previous.boot_no IS NULL AND (e.boot_no > 1 OR e.steps > 0)) THEN
                -- What came before the first sample that is left has been dropped.
                CONTINUE WHEN after.seq IS NULL
                    AND (local_ns < first_ns - 6e10 OR local_ns > first_ns + 6e10 + most_after - slack);
                edge := store.utc_at(b);
                IF b.seq IS NULL AND following.boot_no = e.boot_no THEN
                    edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                        following.first_ref_time - interval '10 min', 'infinity', -1, true, true));
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
                    previous.first_ref_time - interval '10 min', e.first_ref_time + interval '10 min',
                    4000000000000000000, false, true));
                IF b.seq IS NOT NULL AND store.unwatched(host, e.boot_no,
                        coalesce(before.seq, CASE WHEN previous.boot_no = e.boot_no THEN edge.seq END, 0), b.seq,
                        coalesce(before.ref_time, previous.first_ref_time, '-infinity') - interval '1 min',
                        b.ref_time + interval '1 min') THEN
                    lo_ns := NULL;
                    hi_ns := b.host_ns - b.lo_ns;
                    basis := 'break';
                END IF;
                -- Boots are in the order of their reference time, which is not certain; windows are.
                IF previous.boot_no = e.boot_no OR edge.hi_ns < b.host_ns - b.hi_ns THEN
                    lo_ns := CASE WHEN lo_ns IS NULL THEN edge.lo_ns ELSE greatest(lo_ns, edge.lo_ns) END;
                END IF;
            END IF;
            IF b.seq IS NULL AND following.boot_no IS NOT NULL THEN
                edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                    following.first_ref_time - interval '10 min', 'infinity', -1, true, true));
                IF following.boot_no = e.boot_no OR edge.lo_ns > a.host_ns - a.lo_ns THEN
                    hi_ns := CASE WHEN hi_ns IS NULL THEN edge.hi_ns ELSE least(hi_ns, edge.hi_ns) END;
                END IF;
            END IF;
            -- The last epoch goes on until now: a clock that was set back has not shown all of the past again.
            CONTINUE WHEN after.seq IS NULL AND following.boot_no IS NULL
                AND lo_ns > greatest(now_ns, a.host_ns - a.lo_ns + 60000000000);
            -- An epoch without any window says only between what it was, so only one that came near counts.
            CONTINUE WHEN NOT passed AND basis = 'no window' AND NOT (
                before.seq IS NOT NULL AND (local_ns - before.host_ns)::float8
                    < 6e10 + 1.1e9 * extract(epoch FROM greatest(ended, before.ref_time) - before.ref_time)
                OR after.seq IS NOT NULL AND (previous.boot_no IS NULL OR (after.host_ns - local_ns)::float8
                    < 6e10 + 1.1e9 * extract(epoch FROM after.ref_time - previous.first_ref_time)));
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
            edge := store.utc_at(store.nearest(host, e.boot_no, e.steps, e.first_ref_time - interval '10 min',
                following.first_ref_time + interval '10 min', 4000000000000000000, false, true));
            lo_ns := edge.lo_ns;
            edge := store.utc_at(store.nearest(host, following.boot_no, following.steps,
                following.first_ref_time - interval '10 min', 'infinity', -1, true, true));
            hi_ns := edge.hi_ns;
            line := r;
            boot_no := NULL;
            steps := NULL;
            basis := 'skipped';
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;

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
       OR at_ns < a.host_ns - a.hi_ns OR at_ns > b.host_ns - b.lo_ns
       OR NOT one_epoch AND (
           store.unwatched(host, a.boot_no, a.seq, coalesce(b.seq, 9223372036854775807),
                           a.ref_time - interval '1 min',
                           coalesce(b.ref_time, 'infinity') + interval '1 min')
           OR EXISTS (SELECT FROM store.epoch e WHERE e.host_id = host
                      AND b.seq IS NULL AND (e.first_ref_time > a.ref_time
                                             OR (e.boot_no, e.steps) > (a.boot_no, a.steps)))) THEN
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

-- For people --------------------------------------------------------------------------------------

-- Schema store is closed to them: these functions read it as its owner, whatever the caller's search_path.

-- The host of a name or uuid; null: there is none.
CREATE FUNCTION store.find_host(host text) RETURNS int8 LANGUAGE plpgsql STABLE AS $$
DECLARE
    found int8[] := ARRAY(SELECT h.host_id FROM store.host h WHERE h.name = find_host.host);
BEGIN
    IF cardinality(found) > 1 THEN
        -- A name that was given to a new machine: the one that is not revoked.
        found := ARRAY(SELECT h.host_id FROM store.host h
                       WHERE h.name = find_host.host AND h.revoked_at IS NULL);
        IF cardinality(found) <> 1 THEN
            RAISE 'several hosts are named "%"', host
                USING ERRCODE = 'cardinality_violation', HINT = 'Name it by its host_uuid: see view host_now.';
        END IF;
    END IF;
    IF cardinality(found) = 0 AND host ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        found := ARRAY(SELECT h.host_id FROM store.host h WHERE h.host_uuid = find_host.host::uuid);
    END IF;
    RETURN found[1];
END $$;

CREATE FUNCTION store.host_named(host text) RETURNS int8 LANGUAGE plpgsql STABLE AS $$
DECLARE
    id int8 := store.find_host(host);
BEGIN
    IF id IS NULL THEN
        RAISE 'no host "%"', host USING ERRCODE = 'no_data_found', HINT = 'View host_now names them all.';
    END IF;
    RETURN id;
END $$;

CREATE FUNCTION fleet.utc_window(
    host text, local_ns int8,
    OUT lo_ns int8, OUT hi_ns int8, OUT boot_no int4, OUT steps int4, OUT basis text)
RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY SELECT w.lo_ns, w.hi_ns, w.boot_no, w.steps, w.basis
                 FROM store.windows(store.host_named(host), ARRAY[local_ns], ARRAY[0]::int8[]) w;
END $$;

CREATE FUNCTION fleet.utc_window(
    host text, local_time timestamptz,
    OUT lo_ns int8, OUT hi_ns int8, OUT boot_no int4, OUT steps int4, OUT basis text)
RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY SELECT w.lo_ns, w.hi_ns, w.boot_no, w.steps, w.basis
                 FROM store.windows(store.host_named(host), ARRAY[store.ns_of(local_time)], ARRAY[999]::int8[]) w;
END $$;

-- The order of two readings, each of which may be any of [ns, ns + span_ns].
CREATE FUNCTION store.order_of(host_a int8, a_ns int8, host_b int8, b_ns int8, span_ns int8) RETURNS text
LANGUAGE plpgsql STABLE AS $$
DECLARE
    answers text[];
BEGIN
    answers := ARRAY(
        SELECT DISTINCT CASE
            -- One clock shows its readings in order, and its epochs follow one another.
            WHEN host_a = host_b AND a.boot_no = b.boot_no AND a.steps = b.steps
                THEN CASE WHEN a_ns < b_ns THEN 'before' WHEN a_ns > b_ns THEN 'after' ELSE 'undecidable' END
            WHEN host_a = host_b AND a.boot_no = b.boot_no AND a.steps < b.steps THEN 'before'
            WHEN host_a = host_b AND a.boot_no = b.boot_no AND a.steps > b.steps THEN 'after'
            WHEN a.hi_ns < b.lo_ns THEN 'before'
            WHEN a.lo_ns > b.hi_ns THEN 'after'
            ELSE 'undecidable' END
        FROM store.windows(host_a, ARRAY[a_ns], ARRAY[span_ns]) a
        CROSS JOIN store.windows(host_b, ARRAY[b_ns], ARRAY[span_ns]) b);
    RETURN CASE WHEN cardinality(answers) = 1 THEN answers[1] ELSE 'undecidable' END;
END $$;

CREATE FUNCTION fleet.order_of(host_a text, a_ns int8, host_b text, b_ns int8) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN store.order_of(store.host_named(host_a), a_ns, store.host_named(host_b), b_ns, 0);
END $$;

CREATE FUNCTION fleet.order_of(host_a text, a_time timestamptz, host_b text, b_time timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN store.order_of(store.host_named(host_a), store.ns_of(a_time),
                          store.host_named(host_b), store.ns_of(b_time), 999);
END $$;

CREATE FUNCTION fleet.skew(host_a text, host_b text, at timestamptz, OUT lo_ns int8, OUT hi_ns int8)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    a record := store.error_at(store.host_named(host_a), store.ns_of(at));
    b record := store.error_at(store.host_named(host_b), store.ns_of(at));
BEGIN
    lo_ns := a.lo_ns - b.hi_ns;
    hi_ns := a.hi_ns - b.lo_ns;
END $$;

-- Many lines ---------------------------------------------------------------------------------------


-- Lines, by their place in the arrays, in the order of their earliest possible UTC. Lines of one clock epoch
-- are certainly in the order of their local times, so each bounds those after and before it too.
CREATE FUNCTION store.order_lines(hosts text[], local_ns int8[], span_ns int8[])
RETURNS TABLE ("position" int8, line int8, lo_ns int8, hi_ns int8, after_previous bool, run int8)
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN QUERY
    WITH host AS MATERIALIZED (
        SELECT h.name, store.find_host(h.name) AS id FROM (SELECT DISTINCT unnest(hosts) AS name) h
    ), line AS MATERIALIZED (
        SELECT l.n, host.name, host.id, l.ns, l.span, row_number() OVER (PARTITION BY host.name ORDER BY l.ns, l.n) AS k
        FROM unnest(hosts, local_ns, span_ns) WITH ORDINALITY AS l(name, ns, span, n) JOIN host USING (name)
    ), clock AS (
        SELECT l.name, l.id, array_agg(l.ns ORDER BY l.k) AS readings, array_agg(l.span ORDER BY l.k) AS spans
        FROM line l GROUP BY l.name, l.id
    ), shown AS MATERIALIZED (
        SELECT c.name, w.line AS k,
               CASE WHEN count(w.lo_ns) = count(*) THEN min(w.lo_ns) END AS lo,
               CASE WHEN count(w.hi_ns) = count(*) THEN max(w.hi_ns) END AS hi,
               -- The clock epoch, where only one comes into question.
               CASE WHEN count(*) = 1 THEN min(w.boot_no) END AS boot,
               CASE WHEN count(*) = 1 THEN min(w.steps) END AS step
        FROM clock c CROSS JOIN LATERAL store.windows(c.id, c.readings, c.spans) w
        WHERE c.id IS NOT NULL GROUP BY c.name, w.line
    ), placed AS (
        SELECT l.n, l.name, l.ns, s.lo, s.hi, s.boot, s.step FROM line l LEFT JOIN shown s USING (name, k)
    ), narrowed AS (
        SELECT p.n, p.name, p.ns, p.boot, p.step,
               CASE WHEN p.boot IS NULL THEN p.lo ELSE max(p.lo) OVER earlier END AS lo,
               CASE WHEN p.boot IS NULL THEN p.hi ELSE min(p.hi) OVER later END AS hi
        FROM placed p
        WINDOW earlier AS (PARTITION BY p.name, p.boot, p.step ORDER BY p.ns),
               later AS (PARTITION BY p.name, p.boot, p.step ORDER BY p.ns DESC)
    ), ranked AS (
        SELECT r.*, row_number() OVER (ORDER BY r.lo, r.hi, r.name, r.ns, r.n) AS place FROM narrowed r
    ), compared AS (
        SELECT r.*, lag(r.n) OVER sequence IS NULL AS first,
               CASE WHEN lag(r.name) OVER sequence = r.name AND lag(r.boot) OVER sequence = r.boot
                         AND lag(r.step) OVER sequence = r.step
                    THEN lag(r.ns) OVER sequence < r.ns
                    ELSE coalesce(r.lo > lag(r.hi) OVER sequence, false) END AS after_last,
               max(coalesce(r.hi, 9223372036854775807))
                   OVER (sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
        FROM ranked r WINDOW sequence AS (ORDER BY r.place)
    )
    SELECT c.place, c.n, c.lo, c.hi, CASE WHEN NOT c.first THEN c.after_last END,
           count(*) FILTER (WHERE c.first OR c.lo > c.latest) OVER (ORDER BY c.place)
    FROM compared c ORDER BY c.place;
END $$;

CREATE FUNCTION fleet.order_lines(batch text)
RETURNS TABLE ("position" int8, line_no int8, host text, local_ns int8, message text,
               lo_ns int8, hi_ns int8, after_previous bool, run int8)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    lines int8[]; hosts text[]; readings int8[]; spans int8[]; messages text[];
BEGIN
    SELECT array_agg(l.line_no), array_agg(l.host), array_agg(coalesce(l.local_ns, store.ns_of(l.local_time))),
           array_agg(CASE WHEN l.local_ns IS NULL THEN 999 ELSE 0 END), array_agg(l.message)
    INTO lines, hosts, readings, spans, messages
    FROM (SELECT m.* FROM fleet.log_line m
          WHERE m.batch = order_lines.batch AND m.loaded_by = session_user ORDER BY m.line_no) l;
    RETURN QUERY
    SELECT o.position, l.line_no, l.host, l.local_ns, l.message, o.lo_ns, o.hi_ns, o.after_previous, o.run
    FROM store.order_lines(hosts, readings, spans) o
    JOIN unnest(lines, hosts, readings, messages) WITH ORDINALITY AS l(line_no, host, local_ns, message, n)
         ON l.n = o.line
    ORDER BY o.position;
END $$;

CREATE FUNCTION fleet.order_lines(hosts text[], local_ns int8[])
RETURNS TABLE ("position" int8, line int8, host text, lo_ns int8, hi_ns int8, after_previous bool, run int8)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    IF cardinality(hosts) <> cardinality(local_ns) THEN
        RAISE '% hosts, but % local times', cardinality(hosts), cardinality(local_ns)
            USING ERRCODE = 'array_subscript_error', HINT = 'Line n is hosts[n] at local_ns[n].';
    END IF;
    RETURN QUERY
    SELECT o.position, o.line, l.host, o.lo_ns, o.hi_ns, o.after_previous, o.run
    FROM store.order_lines(hosts, local_ns, array_fill(0::int8, ARRAY[cardinality(local_ns)])) o
    JOIN unnest(hosts) WITH ORDINALITY AS l(host, n) ON l.n = o.line
    ORDER BY o.position;
END $$;

CREATE FUNCTION fleet.drop_lines(batch text) RETURNS int8
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    dropped int8;
BEGIN
    DELETE FROM fleet.log_line l WHERE l.batch = drop_lines.batch AND l.loaded_by = session_user;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    RETURN dropped;
END $$;

-- On Citus a plan must know the host: it says on which node to look.
DO $$
DECLARE of_people regprocedure;
BEGIN
    FOR of_people IN
        SELECT p.oid FROM pg_proc p
        WHERE p.pronamespace = 'fleet'::regnamespace AND 'plan_cache_mode=force_generic_plan' = ANY (p.proconfig)
          AND store.on_citus()
    LOOP
        EXECUTE format('ALTER FUNCTION %s RESET plan_cache_mode', of_people);
    END LOOP;
END $$;

COMMENT ON FUNCTION fleet.utc_window(text, int8) IS 'When was it really, as the clock of this host (name or uuid) showed local_ns (nanoseconds since 1970)? One row for each clock epoch that may have shown it: a clock set back shows a moment twice. UTC was in [lo_ns, hi_ns] for certain; null: unbounded. basis: between (reports on both sides, grown towards it and intersected), break (the host slept, nobody watched, reports are lost or UTC may have leapt between: it was after the one report and before the other), after / before (beyond the last or first report of the epoch), no window (between what came before the epoch and after), skipped (the clock was set across it), dropped (reports of that time are kept no more: all that is left is that it was before the first one kept).';
COMMENT ON FUNCTION fleet.utc_window(text, timestamptz) IS 'As utc_window with nanoseconds; the rows cover the whole microsecond.';
COMMENT ON FUNCTION fleet.order_of(text, int8, text, int8) IS 'Which of two readings was first: before (a was), after (b was), or undecidable. On one host and in one clock epoch the local times decide; otherwise all intervals of utc_window must be apart.';
COMMENT ON FUNCTION fleet.order_of(text, timestamptz, text, timestamptz) IS 'As order_of with nanoseconds; each time covers its whole microsecond.';
COMMENT ON FUNCTION fleet.skew(text, text, timestamptz) IS 'How far the clock of host_a was ahead of that of host_b at a moment of UTC: between lo_ns and hi_ns for certain. Null: for one of them nothing is certain then.';
COMMENT ON FUNCTION fleet.order_lines(text) IS 'The lines of a batch of log_line that the caller loaded, in the order of their earliest possible UTC. Lines of hosts unknown here are last, without lo_ns and hi_ns. after_previous: it is certain that this line came after the one above. run: lines of different runs are certainly in the order shown, those of one run not all.';
COMMENT ON FUNCTION fleet.order_lines(text[], int8[]) IS 'As order_lines of a batch, for lines given as arrays: hosts[n] showed local_ns[n]. line is n.';
COMMENT ON FUNCTION fleet.drop_lines(text) IS 'Drops the lines of a batch that the caller loaded; how many. Those left behind are dropped after [retention] log-lines.';
