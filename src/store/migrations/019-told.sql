-- Sweeps whose points are told one by one, until they are closed.
ALTER TABLE sweep ADD COLUMN closed_at INTEGER;

-- Points that were told.
CREATE TABLE told (
    run    INTEGER PRIMARY KEY REFERENCES run (id),
    sweep  INTEGER NOT NULL REFERENCES sweep (id),
    -- The name that `sweep tell --key` gave it.
    key    TEXT,
    -- The how manieth end of a point of its sweep its last one was, from 1. None before.
    result INTEGER
) STRICT;
CREATE UNIQUE INDEX told_key ON told (sweep, key) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX told_result ON told (sweep, result) WHERE result IS NOT NULL;

-- Open sweeps whose directory may hold secrets that no point keeps: from before they are taken until points are recorded
-- that keep them, or until they are removed because none were.
CREATE TABLE told_secrets (
    sweep INTEGER PRIMARY KEY REFERENCES sweep (id)
) STRICT;

-- Whoever writes the end of a run, and in the same transaction. A point that is started again ends again.
CREATE TRIGGER told_ended AFTER UPDATE OF state ON run
WHEN new.sweep IS NOT NULL AND new.state IN ('completed', 'failed', 'cancelled')
    AND old.state NOT IN ('completed', 'failed', 'cancelled')
BEGIN
    UPDATE told
    SET result = (SELECT coalesce(max(other.result), 0) + 1 FROM told AS other
                  WHERE other.sweep = told.sweep AND other.result IS NOT NULL)
    WHERE run = new.id;
END;
