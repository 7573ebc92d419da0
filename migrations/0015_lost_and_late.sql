-- Which came first, where reports were lost, clocks were set unseen, or an earlier boot came late: these functions
-- take the place of those of 0011_which_came_first.sql and 0007_tiers.sql with the same names.

-- Lost reports ---------------------------------------------------------------------------------------------

-- Whether any report between two numbers of a boot is not stored: refused, or dropped by a full spool. The event that
-- tells of the latter is in a later report than those that are lost. With to_seq the greatest of numbers: any
-- between after_seq and the last that is stored.
CREATE FUNCTION store.reports_missing(
    host int8, boot int4, after_seq int8, to_seq int8, since timestamptz, until timestamptz) RETURNS bool
LANGUAGE plpgsql STABLE AS $$
DECLARE
    open   CONSTANT bool := to_seq = 9223372036854775807;
    closed timestamptz; block store.block_row; kept record;
    number int8 := 0; last int8 := after_seq;
BEGIN
    IF to_seq - 1 <= after_seq OR open AND EXISTS (
            SELECT FROM store.boot b WHERE b.host_id = host AND b.boot_no = boot AND b.last_seq = after_seq) THEN
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
CREATE OR REPLACE FUNCTION store.unwatched(
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

-- Rates ----------------------------------------------------------------------------------------------------

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
CREATE OR REPLACE FUNCTION store.conduct(
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

DROP FUNCTION store.rate_ceiling(int8);

-- Epochs in order --------------------------------------------------------------------------------------------

-- The clock epochs of a host in the order of time. Boots are numbered as they are met, and an agent sends what is
-- left of an earlier one first; the reference times of that one are its own clock's, which may have been wrong.
CREATE OR REPLACE FUNCTION store.epochs(host int8) RETURNS store.epoch_row[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(SELECT ROW(m.host_id, m.boot_no, m.steps, m.first_ref_time, m.first_host_ns, m.first_raw_ns,
                            m.first_seq)::store.epoch_row
                 FROM store.epoch m WHERE m.host_id = host ORDER BY m.boot_no, m.steps);
END $$;

-- Every interval of UTC in which a host's clock may have shown a moment of [local_ns, local_ns + span_ns], for
-- each of the readings, which are in rising order; one for each clock epoch that may have passed through it. Null
-- bounds: nothing is known on that side.
CREATE OR REPLACE FUNCTION store.windows(
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
        since := e.first_ref_time - interval '10 min';
        -- A boot that was filed after the one that followed it may be filed, and may have ended, at any time.
        ended := CASE WHEN following.first_ref_time >= e.first_ref_time THEN following.first_ref_time
                      ELSE greatest(now(), e.first_ref_time) END;
        until := CASE WHEN following.first_ref_time >= e.first_ref_time
                      THEN following.first_ref_time + interval '10 min' ELSE 'infinity' END;
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

-- A moment of UTC ------------------------------------------------------------------------------------------

-- The clock's error at a moment of UTC, from the nearest samples with a window on each side. Null: there is none,
-- or too much may have happened between.
CREATE OR REPLACE FUNCTION store.error_at(host int8, at_ns int8, OUT lo_ns int8, OUT hi_ns int8)
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

-- Lines of several precisions --------------------------------------------------------------------------------

-- Lines, by their place in the arrays, in the order of their earliest possible UTC. Lines of one clock epoch
-- are certainly in the order of their local times, as far as those do not overlap, so each bounds those after and
-- before it too.
CREATE OR REPLACE FUNCTION store.order_lines(hosts text[], local_ns int8[], span_ns int8[])
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
        SELECT l.n, l.name, l.ns, l.ns + l.span AS ends, s.lo, s.hi, s.boot, s.step
        FROM line l LEFT JOIN shown s USING (name, k)
    ), narrowed AS (
        SELECT p.n, p.name, p.ns, p.ends, p.boot, p.step,
               CASE WHEN p.boot IS NULL THEN p.lo ELSE max(p.lo) OVER earlier END AS lo,
               CASE WHEN p.boot IS NULL THEN p.hi ELSE min(p.hi) OVER later END AS hi
        FROM placed p
        WINDOW earlier AS (PARTITION BY p.name, p.boot, p.step ORDER BY p.ns),
               later AS (PARTITION BY p.name, p.boot, p.step ORDER BY p.ends DESC)
    ), ranked AS (
        SELECT r.*, row_number() OVER (ORDER BY r.lo, r.hi, r.name, r.ns, r.n) AS place FROM narrowed r
    ), compared AS (
        SELECT r.*, lag(r.n) OVER sequence IS NULL AS first,
               CASE WHEN lag(r.name) OVER sequence = r.name AND lag(r.boot) OVER sequence = r.boot
                         AND lag(r.step) OVER sequence = r.step
                    THEN lag(r.ends) OVER sequence < r.ns
                    ELSE coalesce(r.lo > lag(r.hi) OVER sequence, false) END AS after_last,
               max(coalesce(r.hi, 9223372036854775807))
                   OVER (sequence ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS latest
        FROM ranked r WINDOW sequence AS (ORDER BY r.place)
    )
    SELECT c.place, c.n, c.lo, c.hi, CASE WHEN NOT c.first THEN c.after_last END,
           count(*) FILTER (WHERE c.first OR c.lo > c.latest) OVER (ORDER BY c.place)
    FROM compared c ORDER BY c.place;
END $$;

-- Blocks -----------------------------------------------------------------------------------------------------

CREATE OR REPLACE FUNCTION store.block_pair(block store.block_row, local_ns int8,
                                 OUT place int4, OUT before store.sample_row, OUT after store.sample_row)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    d bit varying; w int4[]; b int8[]; s int8[]; p int4[]; a int4[];
    low int4 := -1; high int4 := block.n; low_ns float8 := block.first_host_ns; high_ns float8 := block.last_host_ns;
    tries int4 := 0; k int4; seq int8; raw int8; shown int8; ref int8; off int8; lo int8; rest int8; x store.sample_row;
BEGIN
    d := block.data || B'';
    SELECT h.w, h.base, h.slope, h.present, h.at INTO w, b, s, p, a FROM store.block_heads(d, block.n) h;
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

COMMENT ON COLUMN fleet.samples.steps IS 'How often in that boot the system clock was set, or may have been while the host slept or no agent ran; boot_no and steps name the clock epoch.';
