-- Who may write: the daemon that has opened the database last. One that stood still while another took over is not it.
CREATE TABLE writer (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    -- Counts the openings.
    opening INTEGER NOT NULL
) STRICT;
INSERT INTO writer (id, opening) VALUES (1, 0);
