-- A run that costs nothing is in one index less while it goes on: two pages less for each to be flushed.

DROP INDEX run_unended;

-- What a dead instance leaves of money to be moved. What it leaves of ends to be told is in run_open.
CREATE INDEX run_held ON run (instance) WHERE settlement IN ('held', 'capturing');
