-- Counts over time, by workspace and by endpoint.
CREATE TABLE nahook_counts (
    row INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL,
    -- 0 for the whole workspace.
    endpoint INTEGER NOT NULL,
    -- 0 a minute, 1 an hour.
    period INTEGER NOT NULL,
    start INTEGER NOT NULL,
    -- Numbers of 64 bits, little-endian: events, delivered, failed attempts, abandoned, and those delivered by latency.
    counts BLOB NOT NULL,
    UNIQUE (workspace, endpoint, period, start)
) STRICT;
CREATE INDEX nahook_counts_by_time ON nahook_counts (period, start);
