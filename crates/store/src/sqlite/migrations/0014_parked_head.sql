-- What a parked run asks for lies apart from what is told of it: the one may be large, and is read only to be shown or
-- started.

DROP INDEX parked_by_owner;

ALTER TABLE parked RENAME TO parked_whole;

CREATE TABLE parked (
    -- run.id
    run     INTEGER PRIMARY KEY,
    -- Whose place it takes up; none where nobody but the operator may read the run.
    owner   BLOB,
    -- Of head and payload together.
    bytes   INTEGER NOT NULL,
    tenant  TEXT    NOT NULL,
    expires INTEGER NOT NULL,
    -- How often it was taken out and could not start.
    tries   INTEGER NOT NULL,
    -- 1 once the operator's own service has taken the message that it waits.
    told    INTEGER,
    -- The request without its payload.
    head    BLOB    NOT NULL
) STRICT;

CREATE INDEX parked_by_owner ON parked (owner, bytes);

CREATE INDEX parked_by_tenant ON parked (tenant, bytes);

CREATE TABLE parked_payload (
    -- run.id
    run     INTEGER PRIMARY KEY,
    payload BLOB    NOT NULL
) STRICT;

INSERT INTO parked_payload (run, payload)
SELECT run, CAST(CAST(request AS TEXT) -> '$.payload' AS BLOB) FROM parked_whole;

-- Those that wait already were told of, as far as that went.
INSERT INTO parked (run, owner, bytes, tenant, expires, tries, told, head)
SELECT run, owner, bytes, tenant, expires, 0, 1, CAST(json_remove(CAST(request AS TEXT), '$.payload') AS BLOB)
FROM parked_whole;

UPDATE parked SET bytes = length(head) + (SELECT length(payload) FROM parked_payload p WHERE p.run = parked.run);

DROP TABLE parked_whole;

-- run.parked is 2 from now on for a run whose parking has a leaf; those before have 1, and none.
