-- What was taken and may still be taken back by its chain, and what was taken back; and which payments are those of batches.

-- Until the block that it is in is final, what was taken is looked at, many at once.
CREATE TABLE unfinal (
    -- payment.id
    payment INTEGER PRIMARY KEY,
    -- When it is looked at next.
    due     INTEGER NOT NULL
) STRICT;

CREATE INDEX unfinal_by_due ON unfinal (due);

-- The word `reversed` is that of a payment which was taken, and which its chain has taken back for good.
CREATE INDEX payment_reversed ON payment (id) WHERE word = 'reversed';

-- The name of its first movement, where its chain has taken that back and another has moved it.
ALTER TABLE payment ADD COLUMN first_reference TEXT;

-- 1 where it pays for a batch.
ALTER TABLE payment ADD COLUMN batch INTEGER;
