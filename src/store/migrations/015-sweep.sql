-- Families of runs from one spec. A sweep's number is from the same counter as those of runs.
CREATE TABLE sweep (
    id          INTEGER PRIMARY KEY REFERENCES number (id),
    name        TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    project     TEXT,
    experiment  TEXT,
    created_at  INTEGER NOT NULL,
    sweep_dir   TEXT    NOT NULL,
    -- The name that `submit --key` gave it.
    key         TEXT,
    spec_digest TEXT    NOT NULL,
    -- What was asked, word for word.
    spec        TEXT    NOT NULL,
    -- domain::inputs::Inputs as JSON.
    inputs      TEXT    NOT NULL,
    -- How many points it has.
    points      INTEGER NOT NULL,
    -- domain::sweep::About as JSON.
    about       TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX sweep_key ON sweep (owner, key) WHERE key IS NOT NULL;
CREATE INDEX sweep_name ON sweep (name, id);

-- Points that agree on everything but what their trainings are given.
CREATE TABLE sweep_set (
    sweep    INTEGER NOT NULL REFERENCES sweep (id),
    idx      INTEGER NOT NULL,
    -- domain::resolved::Resolved as JSON.
    resolved TEXT    NOT NULL,
    PRIMARY KEY (sweep, idx)
) STRICT, WITHOUT ROWID;

-- A run that is a point has these, and '' where what it shares stands with its sweep: `resolved`, `spec` and `inputs`.
ALTER TABLE run ADD COLUMN sweep INTEGER REFERENCES sweep (id);
ALTER TABLE run ADD COLUMN point INTEGER;
ALTER TABLE run ADD COLUMN set_idx INTEGER;
-- domain::sweep::Given as JSON.
ALTER TABLE run ADD COLUMN given TEXT;
CREATE UNIQUE INDEX run_point ON run (sweep, point) WHERE sweep IS NOT NULL;
CREATE INDEX run_live_point ON run (sweep) WHERE sweep IS NOT NULL AND state NOT IN ('completed', 'failed', 'cancelled');

-- Runs and sweeps of the same name that must be over before any point may start.
CREATE TABLE sweep_waits_for (
    sweep INTEGER NOT NULL REFERENCES sweep (id),
    other INTEGER NOT NULL REFERENCES number (id),
    PRIMARY KEY (sweep, other)
) STRICT, WITHOUT ROWID;

-- An array of points: whose, which point is its index 0, and how many of it may run at once as far as Slurm was told.
ALTER TABLE submission ADD COLUMN sweep INTEGER REFERENCES sweep (id);
ALTER TABLE submission ADD COLUMN first_point INTEGER;
ALTER TABLE submission ADD COLUMN at_once INTEGER;
CREATE INDEX submission_sweep ON submission (sweep, id) WHERE sweep IS NOT NULL;
