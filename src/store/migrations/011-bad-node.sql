-- Nodes that failed under attempts. For how long one counts is a key of the site. What was cleared stays: an attempt is
-- written more than once, and says again what it said.
CREATE TABLE bad_node (
    run        INTEGER NOT NULL REFERENCES run (id),
    attempt    INTEGER NOT NULL,
    node       TEXT    NOT NULL,
    cluster    TEXT    NOT NULL,
    -- When the attempt ended.
    since      INTEGER NOT NULL,
    -- domain::run::Reason
    why        TEXT    NOT NULL,
    -- domain::ids::JobKey
    job        TEXT    NOT NULL,
    cleared_at INTEGER,
    PRIMARY KEY (run, attempt, node)
) STRICT, WITHOUT ROWID;
CREATE INDEX bad_node_since ON bad_node (since) WHERE cleared_at IS NULL;
