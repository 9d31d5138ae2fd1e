-- The transparency log over the leaves: its hashes, its names, its checkpoints, and where receipts stand in it.
--
-- The index of a leaf in the log is leaf.seq - 1: nothing deletes a leaf, and SQLite gives a rowid of an append-only
-- table in a row. A leaf that is missing is therefore told from one that never was.

-- Append only. Written beside the answers, some milliseconds after the leaves themselves.
CREATE TABLE log_hash (
    -- The index of the leaf that completes these subtrees.
    leaf   INTEGER PRIMARY KEY,
    -- 32 bytes each, from the leaf's own hash up.
    hashes BLOB    NOT NULL
) STRICT;

-- The names that the log has had; the newest is the one that it signs under.
CREATE TABLE log_epoch (
    epoch  INTEGER PRIMARY KEY,
    origin TEXT    NOT NULL,
    -- How many leaves there were.
    start  INTEGER NOT NULL,
    at     INTEGER NOT NULL
) STRICT;

-- Tree heads: committed first, and signed once they have been read back. The last ones of each epoch are kept.
CREATE TABLE log_checkpoint (
    epoch INTEGER NOT NULL,
    size  INTEGER NOT NULL,
    root  BLOB    NOT NULL,
    -- The signed note; none until it is signed.
    note  TEXT,
    PRIMARY KEY (epoch, size)
) STRICT, WITHOUT ROWID;

-- Which leaf is that of a run's receipt. Its own table, since it is written when the run has long been answered.
CREATE TABLE log_place (
    -- run.id
    run  INTEGER PRIMARY KEY,
    leaf INTEGER NOT NULL
) STRICT;
