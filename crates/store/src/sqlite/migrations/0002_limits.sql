-- What of each limit is used up in its newest window, and what a run has reserved of it.

-- One row for each counter, whatever its history: a new window takes the place of the old one.
CREATE TABLE spent (
    key     BLOB    NOT NULL PRIMARY KEY,
    -- The window, in milliseconds since 1970; `ends` is not in it.
    starts  INTEGER NOT NULL,
    ends    INTEGER NOT NULL,
    used    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- To forget counters whose window is over.
CREATE INDEX spent_by_end ON spent (ends);

-- What undoing the claim gives back: key, start and amount of each reservation, 48 bytes each. Part of the row, so
-- that a claim writes no further page for it. None for a run that no limit is about.
ALTER TABLE run ADD COLUMN reserved BLOB;
