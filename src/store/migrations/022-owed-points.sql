-- Points of a sweep that is recorded, with the submission of its first array, and whose rows follow: they are written before
-- anything else is done with the database.
CREATE TABLE owed_points (
    sweep INTEGER PRIMARY KEY REFERENCES sweep (id),
    -- store::owed::Owed as JSON
    owed  TEXT    NOT NULL
) STRICT;
