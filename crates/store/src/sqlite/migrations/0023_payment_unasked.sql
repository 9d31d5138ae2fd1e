-- Payments that are pending, and for which nobody was asked yet: whoever moves them was not reached. That the time of such a one
-- runs out is not held against its payer.

CREATE TABLE payment_unasked (
    payment INTEGER PRIMARY KEY REFERENCES payment (id)
) STRICT;
