-- Since when payments are open, and what a session may ask for again.

-- When it was held, the last time; none where it ended before this was kept.
ALTER TABLE payment ADD COLUMN since INTEGER;

UPDATE payment SET since = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE word IS NULL;

-- SHA-256 over session and nonce, where whoever paid was known by no more than a session before: its run is its wallet's.
ALTER TABLE run ADD COLUMN session_nonce BLOB;

-- Small: of such runs alone, and of none that costs nothing.
CREATE INDEX run_by_session_nonce ON run (session_nonce) WHERE session_nonce IS NOT NULL;
