-- For those who run the database and those who ask it: when it was backed up, and views that answer
-- the questions of every day.

CREATE TABLE store.backup (
    backup_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at   timestamptz NOT NULL,           -- when it began: what it holds is of this moment
    took_ms   int8 NOT NULL,
    bytes     int8 NOT NULL,
    file      text NOT NULL
);
