-- The log of tool calls: a view of the record, so that a call that was answered is in it, and no answer waits for it.

-- For calls of /exec/* only. What a caller calls itself, which nobody has checked.
ALTER TABLE run ADD COLUMN agent TEXT;
-- None for what is no call of /exec/*.
ALTER TABLE run ADD COLUMN iam_approved INTEGER;

-- A row for each run that was answered. Times are those of the run: from its claim to its end.
CREATE VIEW secureexec_calls AS
SELECT
    lower(
        substr(hex(r.run), 1, 8) || '-' || substr(hex(r.run), 9, 4) || '-' || substr(hex(r.run), 13, 4) || '-'
        || substr(hex(r.run), 17, 4) || '-' || substr(hex(r.run), 21)
    ) AS id,
    strftime('%Y-%m-%dT%H:%M:%fZ', e.finished / 1000.0, 'unixepoch') AS timestamp,
    -- Whom the gateway knows by a grant or a wallet is told so, whatever it calls itself.
    CASE
        WHEN r.caller LIKE 'grant:%' OR r.caller LIKE 'wallet:%' OR r.agent IS NULL THEN r.caller
        ELSE 'claimed:' || r.agent
    END AS caller_agent_id,
    r.action AS tool_name,
    r.effect = 'dry-run' AS dry_run,
    CASE e.outcome WHEN 'value' THEN 'completed' ELSE 'failed' END AS status,
    r.iam_approved AS iam_approved,
    '0x' || lower(hex(e.content)) AS proof_hash,
    max(e.finished - r.created, 0) AS latency_ms,
    r.rail AS payment_protocol,
    'v1' AS schema_version
FROM run r
JOIN ending e ON e.run = r.id
WHERE r.iam_approved IS NOT NULL;
