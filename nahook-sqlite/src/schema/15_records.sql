-- Version 15: an event's deliveries are one record until something has become of them.

-- What is queued and not settled, by the event's number: a JSON array of the endpoints' rows in the order of ordinals, null where an
-- ordinal has no delivery. A delivery becomes a row of `nahook_delivery` when it is settled, and a record is removed with the last of
-- its deliveries that does.
CREATE TABLE nahook_record (
    event INTEGER PRIMARY KEY,
    endpoints TEXT NOT NULL
) STRICT;

-- Deliveries of records that are no rows yet: pending, and nothing has become of them since they were queued.
CREATE VIEW nahook_fresh AS
SELECT record.event AS event, (record.event << 20) | ordinal.key AS key, ordinal.value AS endpoint
FROM nahook_record AS record, json_each(record.endpoints) AS ordinal
WHERE ordinal.type <> 'null'
    AND NOT EXISTS (SELECT 1 FROM nahook_delivery AS delivery WHERE delivery.key = (record.event << 20) | ordinal.key);

-- Rows without a status were fresh. Those of an event from its first on without a gap are its record, all of them unless some were settled.
INSERT INTO nahook_record (event, endpoints)
SELECT key >> 20, json_group_array(endpoint)
FROM (SELECT key, endpoint FROM nahook_delivery WHERE status IS NULL ORDER BY key)
GROUP BY key >> 20 HAVING min(key) & 1048575 = 0 AND count(*) = max(key) - min(key) + 1;
DELETE FROM nahook_delivery WHERE status IS NULL AND EXISTS (SELECT 1 FROM nahook_record WHERE event = key >> 20);
UPDATE nahook_delivery SET status = 0 WHERE status IS NULL;
DROP INDEX nahook_delivery_fresh;

DROP TRIGGER nahook_trigger_insert;
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
    SELECT RAISE(ABORT, 'nahook: the event has more than 1048576 subscribers')
    WHERE (SELECT width FROM nahook_event ORDER BY seq DESC LIMIT 1) > 1048576;
    -- Nothing of what follows, if there is no subscriber or the id is there already.
    INSERT INTO nahook_submission (event) SELECT seq FROM nahook_event WHERE changes() > 0 ORDER BY seq DESC LIMIT 1;
    INSERT INTO nahook_record (event, endpoints)
    SELECT event.seq, (
        SELECT json_group_array(endpoint) FROM (
            SELECT subscriber.endpoint AS endpoint FROM nahook_subscriber AS subscriber
            WHERE subscriber.event_type = event.event_type
                AND (NEW.environment IS NULL OR subscriber.environment_id = NEW.environment AND subscriber.is_published)
            ORDER BY subscriber.row))
    FROM nahook_event AS event
    WHERE changes() > 0 AND event.seq = (SELECT max(seq) FROM nahook_event);
END;
