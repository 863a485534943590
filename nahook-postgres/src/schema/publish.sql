-- Writes an event and the record of its deliveries in the caller's transaction. Answers, in their order, which endpoints were
-- taken: one that is gone is not. Nothing is visible to workers before the transaction commits, which also wakes them.
CREATE OR REPLACE FUNCTION {schema}.publish(
    message uuid, workspace_id text, event_type_id text, event_type_name text,
    accepted_at bigint, metadata text, payload bytea, ordinals integer[], endpoint_ids text[]
) RETURNS boolean[] LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    of_workspace bigint;
    of_type bigint;
    number bigint;
    is_known boolean;
    endpoints bigint[];
BEGIN
    SELECT w.row INTO of_workspace FROM {schema}.workspace w WHERE w.id = workspace_id;
    SELECT array_agg(e.row ORDER BY slot.place) INTO endpoints
        FROM unnest(endpoint_ids) WITH ORDINALITY AS slot (id, place)
        LEFT JOIN {schema}.endpoint e
            ON e.id = slot.id AND e.workspace = of_workspace AND e.deleted_at IS NULL;
    IF num_nonnulls(VARIADIC endpoints) > 0 THEN
        SELECT t.row INTO of_type FROM {schema}.event_type t WHERE t.id = event_type_id;
        IF of_type IS NULL AND event_type_id IS NOT NULL THEN
            -- It is gone, or was never here: the event keeps its type's name all the same.
            INSERT INTO {schema}.event_type AS t (id, workspace, name, created_at, deleted_at)
                VALUES (event_type_id, of_workspace, event_type_name, publish.accepted_at, publish.accepted_at)
                ON CONFLICT (id) DO UPDATE SET id = excluded.id
                RETURNING t.row INTO of_type;
        END IF;
        INSERT INTO {schema}.event AS e (seq, id, workspace, event_type, accepted_at, metadata, payload)
            VALUES (nextval('{schema}.event_seq'), message, of_workspace, of_type,
                publish.accepted_at, publish.metadata, publish.payload)
            ON CONFLICT (id) DO UPDATE SET id = excluded.id
            RETURNING e.seq, e.xmax <> 0 INTO number, is_known;
        -- One for each thousand ordinals. What is there already of an event that was is left as it is.
        INSERT INTO {schema}.record (key, workspace, due_at, is_begun, audience, width, endpoints)
            SELECT (number << 20) | part.first, of_workspace, publish.accepted_at, is_known,
                hashtextextended(part.endpoints::text, 0), cardinality(part.endpoints), part.endpoints
            FROM (
                SELECT min(p.ordinal) AS first, array_agg(p.endpoint ORDER BY p.ordinal) AS endpoints
                FROM (
                    SELECT slot.ordinal, slot.endpoint,
                        slot.ordinal - row_number() OVER (ORDER BY slot.ordinal) AS island
                    FROM unnest(ordinals, endpoints) AS slot (ordinal, endpoint)
                    WHERE slot.endpoint IS NOT NULL AND NOT (is_known AND (
                        EXISTS (SELECT FROM {schema}.delivery d WHERE d.key = (number << 20) | slot.ordinal)
                        OR EXISTS (SELECT FROM {schema}.open_deliveries(
                            (number << 20) | slot.ordinal, ((number << 20) | slot.ordinal) + 1))))
                ) p GROUP BY p.island, p.ordinal / 1000
            ) part;
        PERFORM pg_notify({channel}, 'q');
    END IF;
    RETURN ARRAY(SELECT slot.endpoint IS NOT NULL
        FROM unnest(endpoints) WITH ORDINALITY AS slot (endpoint, place) ORDER BY slot.place);
END
$$;
