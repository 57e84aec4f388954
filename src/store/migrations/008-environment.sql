-- What an attempt really got where it started: domain::environment::EnvironmentRecord as JSON. Written once.
CREATE TABLE environment (
    run     INTEGER NOT NULL REFERENCES run (id),
    attempt INTEGER NOT NULL,
    record  TEXT    NOT NULL,
    PRIMARY KEY (run, attempt)
) STRICT, WITHOUT ROWID;
