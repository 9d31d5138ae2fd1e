-- Payers of whom a payment was taken: one that costs nothing to be is not among them.

CREATE TABLE payer_taken (
    payer TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

INSERT OR IGNORE INTO payer_taken (payer)
    SELECT payer FROM payment INDEXED BY payment_captured WHERE word = 'captured';
