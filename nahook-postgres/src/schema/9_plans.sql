-- Plans that limit work, counts of what a workspace has, and indexes for what management looks up.

-- Absent where the plan says nothing: then the program's default holds.
ALTER TABLE {schema}.workspace
    ADD COLUMN delivery_rate_interval bigint,
    ADD COLUMN delivery_rate_burst bigint,
    ADD COLUMN pending_max bigint,
    ADD COLUMN stored_len_max bigint,
    ADD COLUMN endpoints_max bigint;

CREATE INDEX endpoint_by_environment ON {schema}.endpoint (environment) WHERE deleted_at IS NULL;
CREATE INDEX publication_by_event_type ON {schema}.publication (event_type);
CREATE INDEX api_key_by_environment ON {schema}.api_key (environment) WHERE environment IS NOT NULL;
CREATE INDEX api_key_by_endpoint ON {schema}.api_key (endpoint) WHERE endpoint IS NOT NULL;
-- The patterns that match a name are those of its beginnings.
CREATE INDEX pattern_by_prefix ON {schema}.pattern (workspace, prefix);

-- Number of rows of a workspace that are not deleted, kept by the triggers below: no limit is checked by counting.
CREATE TABLE {schema}.row_count (
    workspace bigint NOT NULL,
    -- Name of the table.
    kind text COLLATE "C" NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (workspace, kind)
) WITH (fillfactor = 50);
INSERT INTO {schema}.row_count SELECT workspace, 'application', count(*) FROM {schema}.application WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'endpoint', count(*) FROM {schema}.endpoint WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'event_type', count(*) FROM {schema}.event_type WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'api_key', count(*) FROM {schema}.api_key GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'management_token', count(*) FROM {schema}.management_token GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'pattern', count(*) FROM {schema}.pattern GROUP BY workspace;
INSERT INTO {schema}.row_count SELECT workspace, 'subscription', count(*) FROM {schema}.subscription GROUP BY workspace;

-- Adds what a statement has made and takes off what it has removed, once for each workspace and not for each row.
CREATE FUNCTION {schema}.count_inserted_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.row_count AS c (workspace, kind, rows)
    SELECT workspace, TG_TABLE_NAME, sum(one) FROM (
        SELECT workspace, 1 AS one FROM made
    ) AS counted GROUP BY workspace HAVING sum(one) <> 0 ORDER BY workspace
    ON CONFLICT (workspace, kind) DO UPDATE SET rows = c.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE FUNCTION {schema}.count_deleted_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.row_count AS c (workspace, kind, rows)
    SELECT workspace, TG_TABLE_NAME, sum(one) FROM (
        SELECT workspace, -1 AS one FROM gone
    ) AS counted GROUP BY workspace HAVING sum(one) <> 0 ORDER BY workspace
    ON CONFLICT (workspace, kind) DO UPDATE SET rows = c.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE FUNCTION {schema}.count_inserted_kept_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.row_count AS c (workspace, kind, rows)
    SELECT workspace, TG_TABLE_NAME, sum(one) FROM (
        SELECT workspace, 1 AS one FROM made WHERE deleted_at IS NULL
    ) AS counted GROUP BY workspace HAVING sum(one) <> 0 ORDER BY workspace
    ON CONFLICT (workspace, kind) DO UPDATE SET rows = c.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE FUNCTION {schema}.count_deleted_kept_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.row_count AS c (workspace, kind, rows)
    SELECT workspace, TG_TABLE_NAME, sum(one) FROM (
        SELECT workspace, -1 AS one FROM gone WHERE deleted_at IS NULL
    ) AS counted GROUP BY workspace HAVING sum(one) <> 0 ORDER BY workspace
    ON CONFLICT (workspace, kind) DO UPDATE SET rows = c.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE FUNCTION {schema}.count_updated_kept_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.row_count AS c (workspace, kind, rows)
    SELECT workspace, TG_TABLE_NAME, sum(one) FROM (
        SELECT workspace, 1 AS one FROM made WHERE deleted_at IS NULL
        UNION ALL SELECT workspace, -1 AS one FROM gone WHERE deleted_at IS NULL
    ) AS counted GROUP BY workspace HAVING sum(one) <> 0 ORDER BY workspace
    ON CONFLICT (workspace, kind) DO UPDATE SET rows = c.rows + excluded.rows;
    RETURN NULL;
END $$;

CREATE TRIGGER counted AFTER INSERT ON {schema}.application REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_kept_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.application REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_kept_rows();
CREATE TRIGGER recounted AFTER UPDATE ON {schema}.application REFERENCING OLD TABLE AS gone NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_updated_kept_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.endpoint REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_kept_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.endpoint REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_kept_rows();
CREATE TRIGGER recounted AFTER UPDATE ON {schema}.endpoint REFERENCING OLD TABLE AS gone NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_updated_kept_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.event_type REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_kept_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.event_type REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_kept_rows();
CREATE TRIGGER recounted AFTER UPDATE ON {schema}.event_type REFERENCING OLD TABLE AS gone NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_updated_kept_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.api_key REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.api_key REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.management_token REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.management_token REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.pattern REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.pattern REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_rows();

CREATE TRIGGER counted AFTER INSERT ON {schema}.subscription REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_inserted_rows();
CREATE TRIGGER uncounted AFTER DELETE ON {schema}.subscription REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.count_deleted_rows();
