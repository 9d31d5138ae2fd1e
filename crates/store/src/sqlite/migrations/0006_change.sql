-- Administrative changes: what stands behind their leaves, which belong to no run and have an empty one.
--
-- Append only, like the leaves.
CREATE TABLE change (
    -- leaf.seq of its leaf.
    leaf      INTEGER PRIMARY KEY,
    -- Canonical JSON.
    statement BLOB    NOT NULL,
    salt      BLOB    NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
