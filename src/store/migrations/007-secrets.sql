-- Runs whose directory holds secrets: from their acceptance until those are removed, once the run is over.
CREATE TABLE keeps_secrets (
    run INTEGER PRIMARY KEY REFERENCES run (id)
) STRICT;
