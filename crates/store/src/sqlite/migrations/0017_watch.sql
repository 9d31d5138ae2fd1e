-- Payments that failed and may still move, and what payers are held to.

-- Until its authorization is over, a payment that was asked for and failed is looked for: one that moves late is its payer's.
CREATE TABLE watch (
    -- payment.id
    payment INTEGER PRIMARY KEY,
    -- When it is looked for next.
    due     INTEGER NOT NULL,
    -- When its authorization is over.
    until   INTEGER NOT NULL
) STRICT;

CREATE INDEX watch_by_due ON watch (due);

-- 1 where it pays for work that was done already, at the price of its own day.
ALTER TABLE payment ADD COLUMN again INTEGER;

-- Payments of this payer that were taken before the work since one of it failed.
ALTER TABLE payer_failed ADD COLUMN paid INTEGER NOT NULL DEFAULT 0;

UPDATE payer_failed SET at = CAST(strftime('%s', 'now') AS INTEGER) * 1000 WHERE at = 0;

-- Runs of a payer that ended in a timeout which is not charged, in the window that began then.
CREATE TABLE payer_spared (
    payer  TEXT    NOT NULL PRIMARY KEY,
    starts INTEGER NOT NULL,
    runs   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX payer_spared_by_starts ON payer_spared (starts);
