-- Where Slurm keeps a budget a start is held in several accounts, one for each thing that Slurm counts.
DROP INDEX ledger_once;
-- No start is held, captured or released twice in one of them.
CREATE UNIQUE INDEX ledger_once ON ledger (submission, idx, restart, kind, project, period)
    WHERE kind IN ('hold', 'capture', 'release');
