-- Runs, what they paid with, how they ended, and the leaves of the log.
--
-- Digests and ids are BLOB, times are milliseconds since 1970 in INTEGER, money is INTEGER millionths.
-- Keys without REFERENCES are so on purpose: deleting a parent would search its children, and only the
-- children that are keyed by their run can be searched without reading all of history.

CREATE TABLE instance (
    instance BLOB    NOT NULL PRIMARY KEY,
    -- Where its lock file is, for a process that knows the data directory by another name.
    lock     BLOB    NOT NULL,
    started  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE gateway (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    paused INTEGER NOT NULL
) STRICT;

INSERT INTO gateway (id, paused) VALUES (1, 0);

CREATE TABLE run (
    id           INTEGER PRIMARY KEY,
    run          BLOB    NOT NULL,
    instance     BLOB    NOT NULL,
    nonce_key    BLOB,
    approval_key BLOB,
    -- payment.id of the newest payment.
    payment      INTEGER,
    fingerprint  BLOB    NOT NULL,
    owner        BLOB,
    action       TEXT    NOT NULL,
    effect       TEXT    NOT NULL,
    caller       TEXT    NOT NULL,
    stage        TEXT    NOT NULL,
    settlement   TEXT    NOT NULL,
    reference    TEXT,
    rail         TEXT    NOT NULL,
    price        INTEGER NOT NULL,
    salt         BLOB    NOT NULL,
    created      INTEGER NOT NULL,
    intent       BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX run_by_run ON run (run);
CREATE UNIQUE INDEX run_by_nonce ON run (nonce_key) WHERE nonce_key IS NOT NULL;
CREATE UNIQUE INDEX run_by_approval ON run (approval_key) WHERE approval_key IS NOT NULL;
CREATE INDEX run_by_created ON run (created, id);
-- Small whatever the history: only runs that are not closed are in it.
CREATE INDEX run_open ON run (stage, created, id) WHERE stage <> 'settled';
-- What a dead instance leaves to do: an end to be told, or money to be moved. Small for the same reason.
CREATE INDEX run_unended ON run (instance) WHERE stage = 'execute' OR settlement = 'held';

CREATE TABLE payment (
    id     INTEGER PRIMARY KEY,
    key    BLOB    NOT NULL,
    run    BLOB    NOT NULL,
    payer  TEXT    NOT NULL,
    rail   TEXT    NOT NULL,
    amount INTEGER NOT NULL,
    state  BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX payment_by_key ON payment (key);

-- Apart from `run`, so that an end never makes the row of a claim grow. Blobs last: a listing stops before them.
CREATE TABLE ending (
    run          INTEGER PRIMARY KEY REFERENCES run (id),
    outcome      TEXT    NOT NULL,
    content      BLOB    NOT NULL,
    finished     INTEGER NOT NULL,
    status       INTEGER,
    content_type TEXT,
    receipt      BLOB    NOT NULL,
    body         BLOB
) STRICT;

CREATE INDEX ending_with_answer ON ending (finished) WHERE status IS NOT NULL;

CREATE TABLE resolution (
    run     INTEGER PRIMARY KEY REFERENCES run (id),
    note    TEXT    NOT NULL,
    receipt BLOB    NOT NULL,
    at      INTEGER NOT NULL
) STRICT;

-- Append only: nothing updates or deletes a leaf, not even the undoing of its run.
CREATE TABLE leaf (
    seq    INTEGER PRIMARY KEY,
    run    BLOB    NOT NULL,
    kind   TEXT    NOT NULL,
    digest BLOB    NOT NULL,
    -- None for a settlement, whose time the rail alone knows.
    at     INTEGER
) STRICT;
