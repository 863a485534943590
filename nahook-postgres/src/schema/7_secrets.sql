-- Secrets may be sealed, and go when nobody needs them any more.

-- The key that seals, itself sealed with the operator's.
CREATE TABLE {schema}.secret_key (id smallint PRIMARY KEY CHECK (id = 1), wrapped text NOT NULL);
CREATE INDEX endpoint_by_retired_secret ON {schema}.endpoint (previous_secret_until)
    WHERE previous_secret_until IS NOT NULL;
UPDATE {schema}.endpoint SET secret = '', previous_secret = NULL, previous_secret_until = NULL, auth_password = NULL,
    config = '{}', url = CASE kind WHEN 1 THEN '' ELSE url END
WHERE deleted_at IS NOT NULL;

-- True if it reads only, and sees no secret.
ALTER TABLE {schema}.management_token ADD COLUMN is_read_only boolean NOT NULL DEFAULT false;
