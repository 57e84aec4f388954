-- What a run was given, as it was when it was submitted: domain::inputs::Inputs as JSON.
ALTER TABLE run ADD COLUMN inputs TEXT NOT NULL DEFAULT '{}';
