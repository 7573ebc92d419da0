-- Nobody who only asks may stop those who work: collectors agree with each other by locks on tables of schema store,
-- on which people have no rights. Advisory locks are open to everybody.

-- Who does what -----------------------------------------------------------------------------------------

-- No rows. Whoever writes samples holds it ROW SHARE, whoever moves a mark of the tiers EXCLUSIVE.
CREATE TABLE store.writer_lock ();

-- On Citus only, where no rows of several shards are locked at once: writers lock the groups of their hosts.
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

CREATE OR REPLACE FUNCTION store.marks_for_writing() RETURNS store.tier_mark LANGUAGE plpgsql VOLATILE AS $$
DECLARE mark store.tier_mark;
BEGIN
    LOCK TABLE store.writer_lock IN ROW SHARE MODE;
    SELECT m.* INTO mark FROM store.tier_mark m;
    RETURN mark;
END $$;

CREATE OR REPLACE FUNCTION store.watermarks_for_writing(hosts int8[], boots uuid[])
RETURNS TABLE (host_id int8, boot_id uuid, boot_no int4, last_seq int8, steps int4)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    IF store.on_citus() THEN
        -- A boot that is new is numbered in its host's row, which is on every node: no parallel work beside that.
        PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
        PERFORM FROM store.writer_group g
        WHERE g.number IN (SELECT (h % 64)::int4 FROM unnest(hosts) h) ORDER BY g.number FOR UPDATE OF g;
    ELSE
        PERFORM FROM store.host_state s WHERE s.host_id = ANY (hosts) ORDER BY s.host_id FOR NO KEY UPDATE;
    END IF;
    UPDATE store.boot b SET last_seq = s.seq, steps = s.steps FROM store.host_state s
    WHERE b.host_id = ANY (hosts) AND s.host_id = b.host_id AND s.boot_no = b.boot_no AND s.seq > b.last_seq;
    IF NOT store.on_citus() THEN
        -- Hosts without a state yet have only these to hold.
        PERFORM FROM store.boot b WHERE b.host_id = ANY (hosts) ORDER BY b.host_id, b.boot_id FOR NO KEY UPDATE;
    END IF;
    RETURN QUERY
    SELECT b.host_id, b.boot_id, b.boot_no, b.last_seq, b.steps
    FROM store.boot b JOIN unnest(hosts, boots) AS k(host_id, boot_id) USING (host_id, boot_id);
END $$;

-- When it is safe to drop -------------------------------------------------------------------------------

CREATE TABLE store.housekeeping (
    one          bool PRIMARY KEY DEFAULT true CHECK (one),
    time_known   timestamptz NOT NULL DEFAULT 'epoch',  -- it was certainly so late (collector/store/src/doubt.rs)
    packed_until timestamptz NOT NULL DEFAULT 'epoch',  -- what tier_mark.closed_until was
    noted_at     timestamptz NOT NULL DEFAULT 'epoch'   -- at this moment: whoever began to read later knows it
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
