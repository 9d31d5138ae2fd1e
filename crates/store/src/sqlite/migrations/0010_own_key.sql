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
