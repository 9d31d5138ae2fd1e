-- Payments of which as much is taken as the work came to.

-- How much was held of one, where usage has said that less of it, or all, is taken: `amount` is what is taken then.
ALTER TABLE payment ADD COLUMN most INTEGER;
