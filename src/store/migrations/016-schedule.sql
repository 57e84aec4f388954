-- Specs whose runs are submitted by themselves, and what became of each planned time.
CREATE TABLE schedule (
    -- Never given again: keys of runs are made of it.
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    owner     TEXT    NOT NULL,
    name      TEXT    NOT NULL,
    -- The file, which is read at each planned time, and what the command line changed in it (JSON).
    spec      TEXT    NOT NULL,
    changes   TEXT    NOT NULL,
    -- domain::schedule::Plan as JSON.
    plan      TEXT    NOT NULL,
    added_at  INTEGER NOT NULL,
    paused_at INTEGER,
    -- The planned time that comes next, and when that was worked out. None where it never comes.
    next_at   INTEGER,
    as_of     INTEGER NOT NULL,
    UNIQUE (owner, name)
) STRICT;

CREATE TABLE firing (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule INTEGER NOT NULL REFERENCES schedule (id) ON DELETE CASCADE,
    planned  INTEGER NOT NULL,
    -- domain::schedule::Outcome
    outcome  TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    run      INTEGER REFERENCES run (id),
    why      TEXT    NOT NULL,
    UNIQUE (schedule, planned)
) STRICT;
CREATE INDEX firing_begun ON firing (schedule) WHERE outcome = 'begun';
