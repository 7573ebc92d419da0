-- For people: which of two log lines came first, and how far two clocks were apart. docs/SQL.md tells how to ask, and
-- what the answers rest on; the windows are those of 0010_windows.sql.

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

-- Lines, by their place in the arrays, in the order of their earliest possible UTC. Lines of one clock epoch
-- are certainly in the order of their local times, as far as those do not overlap, so each bounds those after and
-- before it too. Those whose earliest possible UTC is not known are last, and of no run: nothing is certain of their place.
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

-- Many lines ---------------------------------------------------------------------------------------


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
COMMENT ON FUNCTION fleet.order_lines(text) IS 'The lines of a batch of log_line that the caller loaded, in the order of their earliest possible UTC. Lines of hosts unknown here are last, without lo_ns and hi_ns. after_previous: it is certain that this line came after the one above. run: lines of different runs are certainly in the order shown, those of one run not all. Null where lo_ns is null: such a line is shown last, but may have been before any other.';
COMMENT ON FUNCTION fleet.order_lines(text[], int8[]) IS 'As order_lines of a batch, for lines given as arrays: hosts[n] showed local_ns[n]. line is n.';
COMMENT ON FUNCTION fleet.drop_lines(text) IS 'Drops the lines of a batch that the caller loaded; how many. Those left behind are dropped after [retention] log-lines.';
