-- An endpoint's subscription to every event type that a pattern matches. What follows from it are rows of `subscription`, which are
-- made with the pattern and with each event type that is made later: the look-up of subscribers knows no patterns.
CREATE TABLE pattern (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    endpoint INTEGER NOT NULL REFERENCES endpoint,
    pattern TEXT NOT NULL,
    -- The beginning of every name that it matches.
    prefix TEXT NOT NULL,
    -- 1 if any number of segments may follow, 0 if exactly one has to.
    is_deep INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (endpoint, pattern)
) STRICT;
CREATE INDEX pattern_by_workspace ON pattern (workspace);

-- 1 if the endpoint is subscribed to the event type by its name, 0 if by patterns alone.
ALTER TABLE subscription ADD COLUMN is_named INTEGER NOT NULL DEFAULT 1;
