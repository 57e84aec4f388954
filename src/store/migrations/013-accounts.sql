-- Runs that are over and of whose attempts accounting has not told everything yet: when it is asked again, and how often it
-- was.
CREATE TABLE account_due (
    run    INTEGER PRIMARY KEY REFERENCES run (id),
    due_at INTEGER NOT NULL,
    tries  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX account_due_at ON account_due (due_at);
