-- What points of sweeps had at the rungs of early stopping, and whether they went on; each is decided once.
CREATE TABLE rung (
    sweep   INTEGER NOT NULL REFERENCES sweep (id),
    idx     INTEGER NOT NULL,
    point   INTEGER NOT NULL,
    -- NULL where it was no number.
    value   REAL,
    goes_on INTEGER NOT NULL,
    PRIMARY KEY (sweep, idx, point)
) STRICT, WITHOUT ROWID;
