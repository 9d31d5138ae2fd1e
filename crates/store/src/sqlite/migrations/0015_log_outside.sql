-- Where checkpoints of the log have been kept outside of the record. One that is missing there later was lost with what
-- vouched for the record, or the record is a copy.
CREATE TABLE log_outside (
    place TEXT    PRIMARY KEY,
    at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
