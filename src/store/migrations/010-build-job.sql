-- Builds of environments that are jobs, until the runs that wait for them were told. `submission` is the newest call of
-- sbatch for one; no element leads from it to a run.
CREATE TABLE build_job (
    -- Stands for the script that builds: runs with the same share it. One that nobody waits for has a key of its own.
    key        TEXT PRIMARY KEY,
    submission INTEGER NOT NULL REFERENCES submission (id),
    run_root   TEXT NOT NULL,
    -- In whose run directory it happens.
    run_dir    TEXT NOT NULL
) STRICT, WITHOUT ROWID;
