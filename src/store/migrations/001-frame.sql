-- The identity tables: which run, which submission, which job, which attempt. Times are milliseconds since 1970, UTC.
-- A released migration is never edited.

-- Runs and sweeps are numbered from one counter, and a number is never given twice.
CREATE TABLE number (id INTEGER PRIMARY KEY AUTOINCREMENT) STRICT;

CREATE TABLE run (
    id           INTEGER PRIMARY KEY REFERENCES number (id),
    name         TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    project      TEXT,
    state        TEXT    NOT NULL,
    reason       TEXT,
    message      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    submitted_at INTEGER,
    started_at   INTEGER,
    ended_at     INTEGER,
    stale_since  INTEGER,
    run_dir      TEXT    NOT NULL,
    -- The name that `submit --key` gave it.
    key          TEXT,
    spec_digest  TEXT    NOT NULL,
    -- domain::run::Run as JSON: what decisions are made from. The columns above are made from it.
    machine      TEXT    NOT NULL,
    -- domain::resolved::Resolved as JSON.
    resolved     TEXT    NOT NULL,
    -- What was asked, word for word.
    spec         TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX run_key ON run (owner, key) WHERE key IS NOT NULL;
CREATE INDEX run_live ON run (id) WHERE state NOT IN ('completed', 'failed', 'cancelled');
CREATE INDEX run_name ON run (name, id);
CREATE INDEX run_state ON run (state, id);
CREATE INDEX run_project ON run (project, id) WHERE project IS NOT NULL;

-- Runs of the same name that must be final before this one may start.
CREATE TABLE waits_for (
    run   INTEGER NOT NULL REFERENCES run (id),
    other INTEGER NOT NULL REFERENCES run (id),
    PRIMARY KEY (run, other)
) STRICT, WITHOUT ROWID;

-- One sbatch call; a retry is a new row.
CREATE TABLE submission (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    cluster   TEXT    NOT NULL,
    token     TEXT    NOT NULL UNIQUE,
    job_name  TEXT    NOT NULL UNIQUE,
    kind      TEXT    NOT NULL CHECK (kind IN ('single', 'array')),
    owner     TEXT    NOT NULL,
    intent_at INTEGER NOT NULL,
    -- The job id, or the array's.
    job_id    INTEGER,
    outcome   TEXT    NOT NULL CHECK (outcome IN ('intent', 'acked', 'refused', 'lost', 'void')),
    -- domain::run::Answer as JSON, until a decision has taken it.
    answer    TEXT
) STRICT;

-- Which run each element of a submission is. A single submission has index 0.
CREATE TABLE element (
    submission   INTEGER NOT NULL REFERENCES submission (id),
    idx          INTEGER NOT NULL,
    run          INTEGER NOT NULL REFERENCES run (id),
    attempt_base INTEGER NOT NULL,
    PRIMARY KEY (submission, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX element_run ON element (run);

-- One start of a run.
CREATE TABLE attempt (
    submission INTEGER NOT NULL,
    idx        INTEGER NOT NULL,
    restart    INTEGER NOT NULL,
    run        INTEGER NOT NULL REFERENCES run (id),
    n          INTEGER NOT NULL,
    -- domain::run::Attempt as JSON.
    record     TEXT    NOT NULL,
    PRIMARY KEY (submission, idx, restart),
    FOREIGN KEY (submission, idx) REFERENCES element (submission, idx)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX attempt_run ON attempt (run, n);

-- A run's history.
CREATE TABLE event (
    id      INTEGER PRIMARY KEY,
    run     INTEGER NOT NULL REFERENCES run (id),
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    message TEXT    NOT NULL
) STRICT;
CREATE INDEX event_run ON event (run, id);

-- What people asked for; read by the next pass.
CREATE TABLE wish (
    id   INTEGER PRIMARY KEY,
    run  INTEGER NOT NULL REFERENCES run (id),
    kind TEXT    NOT NULL,
    by   TEXT    NOT NULL,
    at   INTEGER NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX wish_open ON wish (run) WHERE done = 0;

-- Reported values. `step` is the training's own.
CREATE TABLE metric (
    run   INTEGER NOT NULL REFERENCES run (id),
    name  TEXT    NOT NULL,
    step  INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    value REAL    NOT NULL,
    PRIMARY KEY (run, name, step)
) STRICT, WITHOUT ROWID;

-- How far a run's metrics file has been read, and what its newest line says.
CREATE TABLE metric_tail (
    run      INTEGER PRIMARY KEY REFERENCES run (id),
    device   INTEGER NOT NULL,
    inode    INTEGER NOT NULL,
    offset   INTEGER NOT NULL,
    points   INTEGER NOT NULL,
    -- domain::metrics::Progress as JSON.
    progress TEXT    NOT NULL,
    -- The newest value of each metric, by name, as JSON: lists show them without reading the points.
    newest   TEXT    NOT NULL
) STRICT;
