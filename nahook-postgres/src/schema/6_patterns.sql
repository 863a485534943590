-- An endpoint's subscription to every event type that a pattern matches. What follows from it are rows of `subscription`, which are
-- made with the pattern and with each event type that is made later: whatever looks subscribers up knows no patterns.
CREATE TABLE {schema}.pattern (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    endpoint bigint NOT NULL REFERENCES {schema}.endpoint,
    pattern text COLLATE "C" NOT NULL,
    -- The beginning of every name that it matches.
    prefix text COLLATE "C" NOT NULL,
    -- True if any number of segments may follow, false if exactly one has to.
    is_deep boolean NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (endpoint, pattern)
);
CREATE INDEX pattern_by_workspace ON {schema}.pattern (workspace, row);

-- True if the endpoint is subscribed to the event type by its name, false if by patterns alone.
ALTER TABLE {schema}.subscription ADD COLUMN is_named boolean NOT NULL DEFAULT true;
