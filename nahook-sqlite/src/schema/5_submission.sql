-- Version 5: webhooks are queued in an app's own transaction, on whatever connection it is.

-- Who is to get an event: one row for each subscription of an active endpoint, in the order of subscribing. Without an environment
-- all count; else those of that environment that it publishes.
CREATE VIEW nahook_subscriber AS
SELECT subscription.row AS row, subscription.event_type AS event_type, endpoint.row AS endpoint, endpoint.id AS endpoint_id,
    environment.id AS environment_id,
    environment.workspace = subscription.workspace AND environment.deleted_at IS NULL
        AND (environment.is_default OR EXISTS (
            SELECT 1 FROM nahook_publication AS publication
            WHERE publication.environment = environment.row AND publication.event_type = subscription.event_type
        )) AS is_published
FROM nahook_subscription AS subscription
JOIN nahook_endpoint AS endpoint ON endpoint.row = subscription.endpoint
JOIN nahook_environment AS environment ON environment.row = endpoint.environment
WHERE endpoint.workspace = subscription.workspace AND endpoint.is_active AND endpoint.deleted_at IS NULL;

-- Events that another connection than the store's has queued. Their deliveries are fresh, and leased once the store has adopted them;
-- it removes these rows afterwards.
CREATE TABLE nahook_submission (
    event INTEGER PRIMARY KEY,
    is_adopted INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is inserted here is queued for every subscriber when the transaction commits, and not if it does not. All but the first three
-- columns may be absent. An `id` of 16 bytes, which begin with the milliseconds since 1970, is queued once; it is drawn if absent.
CREATE VIEW nahook_trigger AS
SELECT NULL AS workspace, NULL AS event_type, NULL AS payload, NULL AS metadata, NULL AS environment, NULL AS id,
    NULL AS accepted_at
WHERE 0;

CREATE TRIGGER nahook_trigger_insert INSTEAD OF INSERT ON nahook_trigger
BEGIN
    SELECT RAISE(ABORT, 'nahook: the workspace does not exist')
    WHERE NOT EXISTS (SELECT 1 FROM nahook_workspace WHERE id = NEW.workspace);
    SELECT RAISE(ABORT, 'nahook: the event type does not exist')
    WHERE NOT EXISTS (
        SELECT 1 FROM nahook_event_type
        WHERE workspace = (SELECT row FROM nahook_workspace WHERE id = NEW.workspace)
            AND name = NEW.event_type AND deleted_at IS NULL);
    SELECT RAISE(ABORT, 'nahook: the payload must be a JSON object')
    WHERE CASE WHEN json_valid(CAST(NEW.payload AS TEXT)) THEN json_type(CAST(NEW.payload AS TEXT)) END IS NOT 'object';
    SELECT RAISE(ABORT, 'nahook: metadata must be a JSON object of texts')
    WHERE NEW.metadata IS NOT NULL AND CASE
        WHEN CASE WHEN json_valid(NEW.metadata) THEN json_type(NEW.metadata) END IS 'object'
            THEN EXISTS (SELECT 1 FROM json_each(NEW.metadata) WHERE type <> 'text')
        ELSE TRUE END;
    SELECT RAISE(ABORT, 'nahook: an id is a blob of 16 bytes')
    WHERE NEW.id IS NOT NULL AND NOT (typeof(NEW.id) = 'blob' AND length(NEW.id) = 16);
    -- A drawn id is 48 bits of milliseconds and 80 random ones, the first of which is cleared.
    INSERT INTO nahook_event (id, workspace, event_type, accepted_at, width, metadata, payload)
    SELECT
        coalesce(NEW.id,
            unhex(printf('%012x', now.millis) || printf('%04x', random() & 32767) || hex(randomblob(8)))),
        event_type.workspace, event_type.row, coalesce(NEW.accepted_at, now.millis * 1000000), count(*), NEW.metadata,
        CAST(NEW.payload AS BLOB)
    FROM (SELECT CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER) AS millis) AS now
    JOIN nahook_event_type AS event_type
        ON event_type.workspace = (SELECT row FROM nahook_workspace WHERE id = NEW.workspace)
            AND event_type.name = NEW.event_type AND event_type.deleted_at IS NULL
    JOIN nahook_subscriber AS subscriber ON subscriber.event_type = event_type.row
        AND (NEW.environment IS NULL OR subscriber.environment_id = NEW.environment AND subscriber.is_published)
    GROUP BY event_type.row
    ON CONFLICT (id) DO NOTHING;
    -- Nothing of what follows, if there is no subscriber or the id is there already.
    INSERT INTO nahook_submission (event) SELECT seq FROM nahook_event WHERE changes() > 0 ORDER BY seq DESC LIMIT 1;
    INSERT INTO nahook_delivery (key, endpoint, attempts)
    SELECT (event.seq << 20) + row_number() OVER (ORDER BY subscriber.row) - 1, subscriber.endpoint, 0
    FROM nahook_event AS event
    JOIN nahook_subscriber AS subscriber ON subscriber.event_type = event.event_type
        AND (NEW.environment IS NULL OR subscriber.environment_id = NEW.environment AND subscriber.is_published)
    WHERE changes() > 0 AND event.seq = (SELECT max(seq) FROM nahook_event);
END;
