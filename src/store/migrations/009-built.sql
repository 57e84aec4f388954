-- Which environment was built for a run: its name in the store, which is not cleared away while a run has it.
CREATE TABLE built (
    run    INTEGER PRIMARY KEY REFERENCES run (id),
    digest TEXT NOT NULL
) STRICT;
CREATE INDEX built_digest ON built (digest);
