-- Approvals that are used up, each by one run: for ever, as nonces are. One run may use up several.
CREATE TABLE approval_use (
    key BLOB NOT NULL PRIMARY KEY,
    run BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- To free them with the undoing of a claim.
CREATE INDEX approval_use_by_run ON approval_use (run);

INSERT INTO approval_use (key, run) SELECT approval_key, run FROM run WHERE approval_key IS NOT NULL;

-- The column stays, empty from now on: taking it away would write every run again.
DROP INDEX run_by_approval;
