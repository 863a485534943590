-- Secrets may be sealed, and go when nobody needs them any more.

-- The key that seals, itself sealed with the operator's.
CREATE TABLE nahook_secret_key (only INTEGER PRIMARY KEY CHECK (only = 1), wrapped TEXT NOT NULL) STRICT;
CREATE INDEX nahook_endpoint_by_retired_secret ON nahook_endpoint (previous_secret_until)
    WHERE previous_secret_until IS NOT NULL;
UPDATE nahook_endpoint SET secret = '', previous_secret = NULL, previous_secret_until = NULL, auth_password = NULL,
    config = '{}', url = CASE kind WHEN 1 THEN '' ELSE url END
WHERE deleted_at IS NOT NULL;

-- 1 if it reads only, and sees no secret.
ALTER TABLE nahook_management_token ADD COLUMN is_read_only INTEGER NOT NULL DEFAULT 0;
