-- Grants: who may ask, and the digests of the keys that prove it.
--
-- A row is never deleted, so that no later grant can take the name, and with it the nonces and runs, of an earlier one.

CREATE TABLE caller_grant (
    id              TEXT    NOT NULL PRIMARY KEY,
    name            TEXT    NOT NULL,
    tenant          TEXT    NOT NULL,
    -- A JSON object of texts.
    labels          TEXT    NOT NULL,
    -- Words, separated by commas.
    roles           TEXT    NOT NULL,
    internal        INTEGER NOT NULL CHECK (internal IN (0, 1)),
    isolation       TEXT,
    -- A JSON list of accounts.
    wallets         TEXT    NOT NULL,
    expires         INTEGER,
    created         INTEGER NOT NULL,
    revoked         INTEGER,
    key             BLOB    NOT NULL,
    -- The key before, while both are taken.
    old_key         BLOB,
    old_key_expires INTEGER,
    last_used       INTEGER,
    CHECK ((old_key IS NULL) = (old_key_expires IS NULL))
) STRICT, WITHOUT ROWID;

-- Counts the changes, so that a gateway sees by one number whether what it holds in memory is still true.
-- That a grant was used is none.
CREATE TABLE grant_change (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO grant_change (id, number) VALUES (1, 0);

CREATE TRIGGER grant_made AFTER INSERT ON caller_grant BEGIN
    UPDATE grant_change SET number = number + 1;
END;

CREATE TRIGGER grant_changed
AFTER UPDATE OF name, tenant, labels, roles, internal, isolation, wallets, expires, revoked, key, old_key, old_key_expires
ON caller_grant BEGIN
    UPDATE grant_change SET number = number + 1;
END;
