-- Answers by age and size, so that as many of the oldest can be forgotten as are too many, and none is read for it.

-- Bytes of the body; none once it is forgotten. A column of its own, because an index over an expression does not spare
-- the look at the row.
ALTER TABLE ending ADD COLUMN kept INTEGER;

UPDATE ending SET kept = length(body) WHERE status IS NOT NULL;

DROP INDEX ending_with_answer;

CREATE INDEX ending_kept ON ending (finished, kept) WHERE kept IS NOT NULL;
