-- Nobody who only asks may stop those who work: collectors agree with each other by locks on tables of schema store,
-- on which people have no rights. Advisory locks are open to everybody.

-- Who does what -----------------------------------------------------------------------------------------

-- No rows. Whoever writes samples holds it ROW SHARE, whoever moves a mark of the tiers EXCLUSIVE.
CREATE TABLE store.writer_lock ();

-- On Citus only, where no rows of several shards are locked at once: writers lock the groups of their hosts
-- (store.watermarks_for_writing).
CREATE TABLE store.writer_group (number int4 PRIMARY KEY);
INSERT INTO store.writer_group SELECT * FROM generate_series(0, 63);

-- Work that one collector at a time does; its row is locked meanwhile (collector/store/src/locks.rs).
CREATE TABLE store.job (name text PRIMARY KEY);
INSERT INTO store.job VALUES ('partitions'), ('repacking'), ('rolling');

-- The session of the collector that judges: it has the seat as long as it lasts, and is known by all three.
CREATE TABLE store.seat (
    one     bool PRIMARY KEY DEFAULT true CHECK (one),
    pid     int4,
    role_id oid,
    began   timestamptz
);
INSERT INTO store.seat DEFAULT VALUES;

-- For writers of samples: the marks hold until the transaction ends. plpgsql, because each of its statements has
-- a snapshot of its own: the marks are read when the lock is held, not before.
CREATE FUNCTION store.marks_for_writing() RETURNS store.tier_mark LANGUAGE plpgsql VOLATILE AS $$
DECLARE mark store.tier_mark;
BEGIN
    LOCK TABLE store.writer_lock IN ROW SHARE MODE;
    SELECT m.* INTO mark FROM store.tier_mark m;
    RETURN mark;
END $$;

-- When it is safe to drop -------------------------------------------------------------------------------

CREATE TABLE store.housekeeping (
    one            bool PRIMARY KEY DEFAULT true CHECK (one),
    time_known     timestamptz NOT NULL DEFAULT 'epoch',  -- it was certainly so late (collector/store/src/doubt.rs)
    packed_until   timestamptz NOT NULL DEFAULT 'epoch',  -- what tier_mark.closed_until was
    minutes_packed timestamptz NOT NULL DEFAULT 'epoch',  -- and tier_mark.minutes_packed
    noted_at       timestamptz NOT NULL DEFAULT 'epoch'   -- at this moment: whoever began to read later knows it
);
INSERT INTO store.housekeeping DEFAULT VALUES;

-- Logs of people ----------------------------------------------------------------------------------------

-- The lines move out of people's reach, and each sees and loads their own through a view: whatever is granted on
-- the tables of schema fleet, nobody reads another's.
ALTER TABLE fleet.log_line SET SCHEMA store;

CREATE VIEW fleet.log_line WITH (security_barrier = true) AS
SELECT l.batch, l.line_no, l.host, l.local_ns, l.local_time, l.message, l.loaded_by, l.loaded_at
FROM store.log_line l WHERE l.loaded_by = session_user;

COMMENT ON VIEW fleet.log_line IS 'Log lines to be put in order by order_lines: fleet_analyst may load them (INSERT, COPY) and drop them (drop_lines). Each role has its own, 1,000,000 at most.';
COMMENT ON COLUMN fleet.log_line.batch IS 'Name for lines that belong together.';
COMMENT ON COLUMN fleet.log_line.line_no IS 'Number within the batch; counted up if it is not given.';
COMMENT ON COLUMN fleet.log_line.host IS 'Name or uuid of the host whose clock stamped the line.';
COMMENT ON COLUMN fleet.log_line.local_ns IS 'What its clock showed, nanoseconds since 1970. Either this or local_time.';
COMMENT ON COLUMN fleet.log_line.local_time IS 'What its clock showed, to the microsecond.';
COMMENT ON COLUMN fleet.log_line.message IS 'The line itself; with batch and host 8192 bytes at most.';
COMMENT ON COLUMN fleet.log_line.loaded_by IS 'Role that loaded it: to others it does not exist.';
COMMENT ON COLUMN fleet.log_line.loaded_at IS 'When it was loaded.';

CREATE FUNCTION store.load_line() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE size int4 := octet_length(concat(NEW.batch, NEW.host, NEW.message));
BEGIN
    IF size > 8192 THEN
        RAISE EXCEPTION 'a line of % bytes with its batch and host: 8192 are taken at most', size
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    INSERT INTO store.log_line (batch, line_no, host, local_ns, local_time, message, loaded_by)
    VALUES (NEW.batch, coalesce(NEW.line_no, nextval('store.log_line_line_no_seq')), NEW.host, NEW.local_ns,
            NEW.local_time, coalesce(NEW.message, ''), session_user);
    RETURN NEW;
END $$;
CREATE TRIGGER load_line INSTEAD OF INSERT ON fleet.log_line FOR EACH ROW EXECUTE FUNCTION store.load_line();

-- Lines are for questions of the day, and the disk is the fleet's.
CREATE FUNCTION store.limit_lines() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM store.log_line l WHERE l.loaded_by = session_user OFFSET 1000000) THEN
        RAISE EXCEPTION 'one role may have 1000000 lines loaded' USING ERRCODE = 'program_limit_exceeded',
            HINT = 'fleet.drop_lines(batch) makes room';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER limit_lines AFTER INSERT ON fleet.log_line FOR EACH STATEMENT EXECUTE FUNCTION store.limit_lines();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_reader') THEN
        REVOKE ALL ON store.log_line FROM fleet_reader;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_analyst') THEN
        REVOKE ALL ON store.log_line FROM fleet_analyst;
        GRANT INSERT (batch, line_no, host, local_ns, local_time, message) ON fleet.log_line TO fleet_analyst;
    END IF;
END $$;

-- Readers on Citus ---------------------------------------------------------------------------------------

-- Shards are read as the user who asks, not as the owner of the view. So on Citus readers have rights on what the
-- views show of schema store: these columns, no others, and no right that lets them lock or write. To be called
-- after views were made or changed.
CREATE FUNCTION store.open_to_readers() RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE used record;
BEGIN
    IF NOT store.on_citus() OR NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fleet_reader') THEN
        RETURN;
    END IF;
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    -- As tables were distributed, Citus made these views again, without their grants.
    GRANT SELECT ON fleet.alerts, fleet.events, fleet.host_now, fleet.sources_now TO fleet_reader;
    GRANT USAGE ON SCHEMA store TO fleet_reader;
    -- Not log lines, of which each role sees its own: that table is on the coordinator, for the view's owner to read.
    FOR used IN
        SELECT u.table_name AS name, string_agg(DISTINCT quote_ident(u.column_name), ', ') AS columns
        FROM information_schema.view_column_usage u
        WHERE u.view_schema = 'fleet' AND u.table_schema = 'store' AND u.table_name <> 'log_line'
        GROUP BY u.table_name
    LOOP
        EXECUTE format('GRANT SELECT (%s) ON store.%I TO fleet_reader', used.columns, used.name);
    END LOOP;
END $$;
SELECT store.open_to_readers();
