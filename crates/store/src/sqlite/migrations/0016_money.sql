-- How each payment ended, what is owed to payers, and who may only pay before the work.

-- None while it is open: held, being captured, or pending. Else captured, released or failed.
ALTER TABLE payment ADD COLUMN word TEXT;
-- When that was recorded; none where an earlier release recorded it.
ALTER TABLE payment ADD COLUMN at INTEGER;
-- 1 where it is taken before the work.
ALTER TABLE payment ADD COLUMN upfront INTEGER;
ALTER TABLE payment ADD COLUMN reference TEXT;

UPDATE payment SET word = 'failed'
    WHERE NOT EXISTS (SELECT 1 FROM run r WHERE r.run = payment.run AND r.payment = payment.id);
UPDATE payment SET (word, reference) = (
    SELECT CASE r.settlement WHEN 'unpaid' THEN 'failed' ELSE r.settlement END, r.reference
    FROM run r WHERE r.run = payment.run
) WHERE word IS NULL AND EXISTS (
    SELECT 1 FROM run r WHERE r.run = payment.run AND r.settlement IN ('captured', 'released', 'unpaid')
);

-- Small whatever the history: what may still be taken of a payer.
CREATE INDEX payment_open ON payment (payer, amount) WHERE word IS NULL;
-- What was earned, in its order.
CREATE INDEX payment_captured ON payment (id) WHERE word = 'captured';

DROP INDEX run_unended;
CREATE INDEX run_unended ON run (instance) WHERE stage = 'execute' OR settlement IN ('held', 'capturing');

-- What was taken for work that is not charged.
CREATE TABLE credit (
    -- payment.id
    payment INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL
) STRICT;

-- Payers whose payment failed when the work was done.
CREATE TABLE payer_failed (
    payer TEXT NOT NULL PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO payer_failed (payer, at) SELECT payer, 0 FROM payment WHERE word = 'failed' ON CONFLICT DO NOTHING;
