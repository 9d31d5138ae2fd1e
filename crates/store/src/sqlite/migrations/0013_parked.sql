-- Runs that wait for people, and what people have said of them.

-- 1 for a run that has waited; none for every other, and so no byte of its row.
ALTER TABLE run ADD COLUMN parked INTEGER;

-- A row for as long as the run may still be started: what it needs for that is forgotten with its end.
CREATE TABLE parked (
    -- run.id
    run     INTEGER PRIMARY KEY,
    -- Whose place it takes up; none where nobody but the operator may read the run.
    owner   BLOB,
    bytes   INTEGER NOT NULL,
    tenant  TEXT    NOT NULL,
    expires INTEGER NOT NULL,
    request BLOB    NOT NULL
) STRICT;

CREATE INDEX parked_by_owner ON parked (owner, bytes);

-- Append only, like the leaves.
CREATE TABLE vote (
    -- leaf.seq of its leaf.
    leaf     INTEGER PRIMARY KEY,
    run      BLOB    NOT NULL,
    person   TEXT    NOT NULL,
    approver TEXT    NOT NULL,
    word     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    artifact BLOB    NOT NULL
) STRICT;

CREATE INDEX vote_by_run ON vote (run, leaf);

-- The log of tool calls, where a call that was never started is told as refused.
DROP VIEW secureexec_calls;

CREATE VIEW secureexec_calls AS
SELECT
    lower(
        substr(hex(r.run), 1, 8) || '-' || substr(hex(r.run), 9, 4) || '-' || substr(hex(r.run), 13, 4) || '-'
        || substr(hex(r.run), 17, 4) || '-' || substr(hex(r.run), 21)
    ) AS id,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.finished / 1000.0, 'unixepoch') AS timestamp,
    -- Whom the gateway knows by a grant, a wallet or a token is told so, whatever it calls itself, but for the alias.
    CASE
        WHEN r.alias IS NOT NULL THEN r.alias
        WHEN r.caller LIKE 'grant:%' OR r.caller LIKE 'wallet:%' OR r.caller LIKE 'subject:%' OR r.agent IS NULL
        THEN r.caller
        ELSE 'claimed:' || r.agent
    END AS caller_agent_id,
    r.action AS tool_name,
    r.effect = 'dry-run' AS dry_run,
    CASE
        WHEN e.outcome = 'value' THEN 'completed'
        WHEN e.outcome IN ('denied', 'expired', 'refused') THEN 'refused'
        ELSE 'failed'
    END AS status,
    r.iam_approved AS iam_approved,
    '0x' || lower(hex(e.content)) AS proof_hash,
    max(e.finished - r.created, 0) AS latency_ms,
    r.rail AS payment_protocol,
    'v1' AS schema_version
FROM run r
JOIN ending e ON e.run = r.id
WHERE r.iam_approved IS NOT NULL
UNION ALL
SELECT
    'audit-' || a.seq,
    strftime('%Y-%m-%dT%H:%M:%fZ', a.at / 1000.0, 'unixepoch'),
    a.caller,
    a.action,
    a.effect = 'dry-run',
    CASE
        WHEN a.decision <> 'failed' THEN 'refused'
        WHEN a.effect = 'dry-run' THEN 'stub'
        ELSE 'failed'
    END,
    -- Nobody's yes stands in the record where nothing was claimed.
    0,
    NULL,
    a.total_us / 1000,
    'free',
    'v1'
FROM audit a
WHERE a.surface IN ('secure-exec', 'simulate')
    AND a.decision IN ('refused', 'approval-required', 'failed')
    -- That rule names the run that has the nonce, and not one of its own.
    AND (a.rule = 'nonce-reused' OR NOT EXISTS (SELECT 1 FROM run r WHERE r.run = a.run));
