-- The gateway's own public keys. A row is never deleted; the newest of a purpose that is not retired signs.
CREATE TABLE own_key (
    id           INTEGER PRIMARY KEY,
    -- 'receipt' or 'log'.
    purpose      TEXT    NOT NULL,
    public       BLOB    NOT NULL,
    added        INTEGER NOT NULL,
    retired      INTEGER,
    -- How many leaves there were before that of the retirement.
    retired_size INTEGER,
    CHECK ((retired IS NULL) = (retired_size IS NULL))
) STRICT;

CREATE UNIQUE INDEX own_key_by_public ON own_key (purpose, public);

-- Checkpoints that witnesses have cosigned: of each witness the newest under each name of the log.
CREATE TABLE log_cosigned (
    epoch   INTEGER NOT NULL,
    -- The name of the witness.
    witness TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    root    BLOB    NOT NULL,
    -- The signed note, with the line of this witness.
    note    TEXT    NOT NULL,
    PRIMARY KEY (epoch, witness)
) STRICT, WITHOUT ROWID;
