-- What projects may spend and what became of it. Entries are added and never changed: see domain::ledger. Amounts are
-- millionths of a charge unit; `budget`, `captured` and `held` are what an entry adds to its account.
CREATE TABLE ledger (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    project    TEXT    NOT NULL,
    period     TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    budget     INTEGER NOT NULL,
    captured   INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    -- The start that it is of: none of a grant.
    run        INTEGER REFERENCES run (id),
    submission INTEGER,
    idx        INTEGER,
    restart    INTEGER,
    who        TEXT    NOT NULL,
    why        TEXT    NOT NULL,
    CHECK (CASE kind
        WHEN 'grant'      THEN captured = 0 AND held = 0 AND submission IS NULL
        WHEN 'hold'       THEN budget = 0 AND captured = 0 AND held >= 0 AND submission IS NOT NULL
        WHEN 'capture'    THEN budget = 0 AND captured >= 0 AND held BETWEEN -captured AND 0 AND submission IS NOT NULL
        WHEN 'release'    THEN budget = 0 AND captured = 0 AND held < 0 AND submission IS NOT NULL
        WHEN 'adjustment' THEN budget = 0 AND held = 0 AND submission IS NOT NULL
        ELSE 0
    END),
    CHECK ((submission IS NULL) = (run IS NULL) AND (submission IS NULL) = (idx IS NULL)
        AND (submission IS NULL) = (restart IS NULL)),
    FOREIGN KEY (submission, idx) REFERENCES element (submission, idx)
) STRICT;
-- No start is held, captured or released twice.
CREATE UNIQUE INDEX ledger_once ON ledger (submission, idx, restart, kind) WHERE kind IN ('hold', 'capture', 'release');
CREATE INDEX ledger_run ON ledger (run) WHERE run IS NOT NULL;
CREATE INDEX ledger_project ON ledger (project, id);

CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
BEGIN SELECT raise(ABORT, 'entries of the ledger are never changed'); END;
CREATE TRIGGER ledger_is_not_cut BEFORE DELETE ON ledger
BEGIN SELECT raise(ABORT, 'entries of the ledger are never removed'); END;

-- What the entries of an account come to, kept so that nobody has to add them up to start a run. It is compared with
-- their sum: see store::ledger.
CREATE TABLE balance (
    project  TEXT    NOT NULL,
    period   TEXT    NOT NULL,
    budget   INTEGER NOT NULL,
    captured INTEGER NOT NULL,
    held     INTEGER NOT NULL,
    PRIMARY KEY (project, period)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER ledger_is_added_up AFTER INSERT ON ledger
BEGIN
    INSERT INTO balance (project, period, budget, captured, held)
    VALUES (new.project, new.period, new.budget, new.captured, new.held)
    ON CONFLICT (project, period) DO UPDATE SET
        budget = budget + excluded.budget, captured = captured + excluded.captured, held = held + excluded.held;
END;
