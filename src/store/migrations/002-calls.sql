-- Where and when sbatch was called last for a submission: one that outlived its daemon is looked for there.
ALTER TABLE submission ADD COLUMN host TEXT;
ALTER TABLE submission ADD COLUMN called_at INTEGER;
