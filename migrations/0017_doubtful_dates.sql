-- Samples whose date is only what their host's clock claimed: reports of an earlier boot without a window that come after the
-- reboot. These functions take the place of those of 0015_lost_and_late.sql with the same names; nothing follows from
-- such a date any more.

-- On Citus functions are made after tables were changed, in one transaction: one node after the other.
DO $$
BEGIN
    IF store.on_citus() THEN
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    END IF;
END $$;

-- Whether first_ref_time follows from the sample's age. Otherwise it is what a clock showed, or as near as there was room.
-- Null: an earlier release did not note it.
DO $$
BEGIN
    ALTER TABLE store.epoch ADD by_age bool;
END $$;
-- None of its samples is filed before that, give or take some minutes. Null: not noted.
DO $$
BEGIN
    ALTER TABLE store.epoch ADD filed_since timestamptz;
END $$;

-- Lost reports ---------------------------------------------------------------------------------------------

-- Whether any report between two numbers of a boot is not stored: refused, or dropped by a full spool. The event that
-- tells of the latter is in a later report than those that are lost. With to_seq the greatest of numbers: any
-- between after_seq and the last that was stored, wherever that is filed.
CREATE OR REPLACE FUNCTION store.reports_missing(
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

-- Epochs in order --------------------------------------------------------------------------------------------

DROP FUNCTION store.epochs(int8);
DROP TYPE store.epoch_row;

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

-- Every interval of UTC in which a host's clock may have shown a moment of [local_ns, local_ns + span_ns], for
-- each of the readings, which are in rising order; one for each clock epoch that may have passed through it. Null
-- bounds: nothing is known on that side.
CREATE OR REPLACE FUNCTION store.windows(
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
    n record; c record; p record; edge record;
    far float8; raw float8; x float8; pad float8; reach float8;
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
                    n := store.neighbours(host, e.boot_no, e.steps, e.since, e.until, guess, local_ns);
                    before := n.before;
                    after := n.after;
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

-- Lines without a beginning ----------------------------------------------------------------------------------

-- Lines, by their place in the arrays, in the order of their earliest possible UTC. Lines of one clock epoch
-- are certainly in the order of their local times, as far as those do not overlap, so each bounds those after and
-- before it too. Those whose earliest possible UTC is not known are last, and of no run: nothing is certain of their place.
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
           CASE WHEN c.lo IS NOT NULL
                THEN count(*) FILTER (WHERE c.first OR c.lo > c.latest) OVER (ORDER BY c.place) END
    FROM compared c ORDER BY c.place;
END $$;

COMMENT ON FUNCTION fleet.order_lines(text) IS 'The lines of a batch of log_line that the caller loaded, in the order of their earliest possible UTC. Lines of hosts unknown here are last, without lo_ns and hi_ns. after_previous: it is certain that this line came after the one above. run: lines of different runs are certainly in the order shown, those of one run not all. Null where lo_ns is null: such a line is shown last, but may have been before any other.';
