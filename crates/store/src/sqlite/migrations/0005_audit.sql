-- The audit trail: a row for each decision. Written beside the answers, bounded by age and by number.

CREATE TABLE audit (
    -- Never given twice, so that whoever follows the trail misses nothing once it was empty.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    at          INTEGER NOT NULL,
    tenant      TEXT    NOT NULL,
    caller      TEXT    NOT NULL,
    surface     TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    effect      TEXT    NOT NULL,
    run         BLOB,
    nonce       INTEGER NOT NULL CHECK (nonce IN (0, 1)),
    decision    TEXT    NOT NULL,
    room        TEXT    NOT NULL,
    rule        TEXT    NOT NULL,
    outcome     TEXT,
    iam         TEXT,
    -- The names of the arguments, a JSON list of texts.
    keys        TEXT    NOT NULL,
    args_digest BLOB,
    policy      BLOB,
    -- A JSON list of pairs: a room, and its microseconds.
    rooms       TEXT    NOT NULL,
    total_us    INTEGER NOT NULL,
    -- Not 0 for a row that stands for so many others, which were never written.
    omitted     INTEGER NOT NULL
) STRICT;

CREATE INDEX audit_by_at ON audit (at, seq);

-- Runs are in the record themselves, so that their lines are the first to go.
CREATE INDEX audit_of_runs ON audit (seq) WHERE decision = 'allowed';
