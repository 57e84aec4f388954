-- Data as it was when somebody looked: for a run that was given it, or because it was asked for.
CREATE TABLE snapshot (
    id          INTEGER PRIMARY KEY,
    path        TEXT    NOT NULL,
    run         INTEGER REFERENCES run (id),
    fingerprint TEXT,
    -- domain::dataset::Snapshot as JSON.
    record      TEXT    NOT NULL
) STRICT;
CREATE INDEX snapshot_path ON snapshot (path, id);
