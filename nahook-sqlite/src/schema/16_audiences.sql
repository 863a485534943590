-- Version 16: the endpoints of a record are written once for all records to the same ones.

-- Endpoints that events go to: a JSON array of their rows in the order of ordinals, null where an ordinal has no delivery. Written
-- with the first event that goes to them, and removed by retention once no record is of them.
CREATE TABLE nahook_audience (
    row INTEGER PRIMARY KEY,
    endpoints TEXT NOT NULL UNIQUE
) STRICT;

-- The same by ordinal, and by endpoint.
CREATE TABLE nahook_member (
    audience INTEGER NOT NULL REFERENCES nahook_audience ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    PRIMARY KEY (audience, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX nahook_member_by_endpoint ON nahook_member (endpoint);
CREATE TRIGGER nahook_audience_insert AFTER INSERT ON nahook_audience
BEGIN
    INSERT INTO nahook_member (audience, ordinal, endpoint)
    SELECT NEW.row, key, value FROM json_each(NEW.endpoints) WHERE type <> 'null';
END;

-- What is queued and not settled: whom events go to, which the event says for ever, and their numbers. A delivery becomes a row of
-- `nahook_delivery` when it is settled, and an event is removed from here with the last of its deliveries that does.
CREATE TABLE nahook_queued (
    audience INTEGER NOT NULL REFERENCES nahook_audience,
    event INTEGER NOT NULL,
    PRIMARY KEY (audience, event)
) STRICT, WITHOUT ROWID;
-- Means nothing once the event is not queued any more.
ALTER TABLE nahook_event ADD COLUMN audience INTEGER;

INSERT INTO nahook_audience (endpoints) SELECT DISTINCT endpoints FROM nahook_record;
UPDATE nahook_event SET audience = (
    SELECT audience.row FROM nahook_record AS record JOIN nahook_audience AS audience USING (endpoints) WHERE record.event = seq)
WHERE seq IN (SELECT event FROM nahook_record);
INSERT INTO nahook_queued (audience, event)
SELECT audience.row, record.event FROM nahook_record AS record JOIN nahook_audience AS audience USING (endpoints)
ORDER BY audience.row, record.event;

-- From here on a record is a line of three tables. One that is inserted here is written to all of them.
DROP VIEW nahook_fresh;
DROP TABLE nahook_record;
CREATE VIEW nahook_record AS
SELECT queued.event AS event, audience.endpoints AS endpoints
FROM nahook_queued AS queued JOIN nahook_audience AS audience ON audience.row = queued.audience;
CREATE TRIGGER nahook_record_insert INSTEAD OF INSERT ON nahook_record
BEGIN
    INSERT INTO nahook_audience (endpoints) VALUES (NEW.endpoints) ON CONFLICT DO NOTHING;
    UPDATE nahook_event SET audience = (SELECT row FROM nahook_audience WHERE endpoints = NEW.endpoints) WHERE seq = NEW.event;
    INSERT INTO nahook_queued (audience, event)
    SELECT row, NEW.event FROM nahook_audience WHERE endpoints = NEW.endpoints;
END;

-- Deliveries of records that are no rows yet: pending, and nothing has become of them since they were queued.
CREATE VIEW nahook_fresh AS
SELECT queued.event AS event, (queued.event << 20) | member.ordinal AS key, member.endpoint AS endpoint
FROM nahook_event AS event
JOIN nahook_queued AS queued ON queued.audience = event.audience AND queued.event = event.seq
JOIN nahook_member AS member ON member.audience = queued.audience
WHERE NOT EXISTS (SELECT 1 FROM nahook_delivery AS delivery WHERE delivery.key = (queued.event << 20) | member.ordinal);
