-- Plans that limit work, counts of what a workspace has, and indexes for what management looks up.

-- Absent where the plan says nothing: then the program's default holds.
ALTER TABLE nahook_workspace ADD COLUMN delivery_rate_interval INTEGER;
ALTER TABLE nahook_workspace ADD COLUMN delivery_rate_burst INTEGER;
ALTER TABLE nahook_workspace ADD COLUMN pending_max INTEGER;
ALTER TABLE nahook_workspace ADD COLUMN stored_len_max INTEGER;
ALTER TABLE nahook_workspace ADD COLUMN endpoints_max INTEGER;

CREATE INDEX nahook_endpoint_by_environment ON nahook_endpoint (environment) WHERE deleted_at IS NULL;
-- The patterns that match a name are those of its beginnings.
DROP INDEX nahook_pattern_by_workspace;
CREATE INDEX nahook_pattern_by_workspace ON nahook_pattern (workspace, prefix);

-- Number of rows of a workspace that are not deleted, kept by the triggers below: no limit is checked by counting.
CREATE TABLE nahook_row_count (
    workspace INTEGER NOT NULL,
    -- Name of the table without the prefix.
    kind TEXT NOT NULL,
    rows INTEGER NOT NULL,
    PRIMARY KEY (workspace, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO nahook_row_count SELECT workspace, 'application', count(*) FROM nahook_application WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'endpoint', count(*) FROM nahook_endpoint WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'event_type', count(*) FROM nahook_event_type WHERE deleted_at IS NULL GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'api_key', count(*) FROM nahook_api_key GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'management_token', count(*) FROM nahook_management_token GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'pattern', count(*) FROM nahook_pattern GROUP BY workspace;
INSERT INTO nahook_row_count SELECT workspace, 'subscription', count(*) FROM nahook_subscription GROUP BY workspace;

CREATE TRIGGER nahook_application_counted AFTER INSERT ON nahook_application WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'application', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_application_uncounted AFTER DELETE ON nahook_application WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'application';
END;
CREATE TRIGGER nahook_application_recounted AFTER UPDATE OF deleted_at ON nahook_application WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'application', 1)
    ON CONFLICT DO UPDATE SET rows = rows + iif(NEW.deleted_at IS NULL, 1, -1);
END;

CREATE TRIGGER nahook_endpoint_counted AFTER INSERT ON nahook_endpoint WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'endpoint', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_endpoint_uncounted AFTER DELETE ON nahook_endpoint WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'endpoint';
END;
CREATE TRIGGER nahook_endpoint_recounted AFTER UPDATE OF deleted_at ON nahook_endpoint WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'endpoint', 1)
    ON CONFLICT DO UPDATE SET rows = rows + iif(NEW.deleted_at IS NULL, 1, -1);
END;

CREATE TRIGGER nahook_event_type_counted AFTER INSERT ON nahook_event_type WHEN NEW.deleted_at IS NULL BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'event_type', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_event_type_uncounted AFTER DELETE ON nahook_event_type WHEN OLD.deleted_at IS NULL BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'event_type';
END;
CREATE TRIGGER nahook_event_type_recounted AFTER UPDATE OF deleted_at ON nahook_event_type WHEN (OLD.deleted_at IS NULL) <> (NEW.deleted_at IS NULL) BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'event_type', 1)
    ON CONFLICT DO UPDATE SET rows = rows + iif(NEW.deleted_at IS NULL, 1, -1);
END;

CREATE TRIGGER nahook_api_key_counted AFTER INSERT ON nahook_api_key BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'api_key', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_api_key_uncounted AFTER DELETE ON nahook_api_key BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'api_key';
END;

CREATE TRIGGER nahook_management_token_counted AFTER INSERT ON nahook_management_token BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'management_token', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_management_token_uncounted AFTER DELETE ON nahook_management_token BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'management_token';
END;

CREATE TRIGGER nahook_pattern_counted AFTER INSERT ON nahook_pattern BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'pattern', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_pattern_uncounted AFTER DELETE ON nahook_pattern BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'pattern';
END;

CREATE TRIGGER nahook_subscription_counted AFTER INSERT ON nahook_subscription BEGIN
    INSERT INTO nahook_row_count VALUES (NEW.workspace, 'subscription', 1) ON CONFLICT DO UPDATE SET rows = rows + 1;
END;
CREATE TRIGGER nahook_subscription_uncounted AFTER DELETE ON nahook_subscription BEGIN
    UPDATE nahook_row_count SET rows = rows - 1 WHERE workspace = OLD.workspace AND kind = 'subscription';
END;
