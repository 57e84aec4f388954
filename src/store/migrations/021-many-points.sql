-- Whether a run is not over. `state NOT IN (…)` of three words is a table that SQLite makes and fills for each row it is asked
-- about, and an index on such a condition asks about each row that is written, twice where it is changed.
ALTER TABLE run ADD COLUMN is_live INTEGER
    GENERATED ALWAYS AS (state <> 'completed' AND state <> 'failed' AND state <> 'cancelled') VIRTUAL;

DROP INDEX run_live;
DROP INDEX run_live_point;
-- A name that has been used for years is looked up among what is live.
CREATE INDEX run_live ON run (owner, name) WHERE is_live;
CREATE INDEX run_live_point ON run (sweep) WHERE sweep IS NOT NULL AND is_live;

-- As it was, and as cheap.
DROP TRIGGER told_ended;
CREATE TRIGGER told_ended AFTER UPDATE OF state ON run
WHEN new.sweep IS NOT NULL AND old.is_live AND NOT new.is_live
BEGIN
    UPDATE told
    SET result = (SELECT coalesce(max(other.result), 0) + 1 FROM told AS other
                  WHERE other.sweep = told.sweep AND other.result IS NOT NULL)
    WHERE run = new.id;
END;

-- Lines of history that all points of an array share.
CREATE TABLE array_event (
    id         INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL REFERENCES submission (id),
    -- The line of `event` that it stands before: what was there already has lower numbers.
    before     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    message    TEXT    NOT NULL
) STRICT;
CREATE INDEX array_event_submission ON array_event (submission);
