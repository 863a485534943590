-- Counts over time, by workspace and by endpoint.
CREATE TABLE {schema}.counts (
    workspace bigint NOT NULL,
    -- 0 for the whole workspace.
    endpoint bigint NOT NULL,
    -- 0 a minute, 1 an hour.
    period smallint NOT NULL,
    start bigint NOT NULL,
    -- Events, delivered, failed attempts, abandoned, and those delivered by latency.
    counts bigint[] NOT NULL,
    PRIMARY KEY (workspace, endpoint, period, start)
) WITH (fillfactor = 70);
CREATE INDEX counts_by_time ON {schema}.counts (period, start);
