-- Rules of a grant's own, and the name by which internal grants may go.

-- The file as it was given, JSON text; none where only the gateway's rules hold.
ALTER TABLE caller_grant ADD COLUMN policy TEXT;

-- A change of them is a change of the grant.
DROP TRIGGER grant_changed;

CREATE TRIGGER grant_changed
AFTER UPDATE OF name, tenant, labels, roles, internal, isolation, wallets, expires, revoked, key, old_key, old_key_expires,
    policy
ON caller_grant BEGIN
    UPDATE grant_change SET number = number + 1;
END;

-- The name of a caller that the operator lets it go by (ACHILLES_AGENT_ID); none for everybody else.
ALTER TABLE run ADD COLUMN alias TEXT;
