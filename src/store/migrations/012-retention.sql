-- Runs that do not keep all their checkpoints. Once one is over it is due until those that go are gone.
CREATE TABLE retention (
    run INTEGER PRIMARY KEY REFERENCES run (id),
    due INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX retention_due ON retention (run) WHERE due = 1;
