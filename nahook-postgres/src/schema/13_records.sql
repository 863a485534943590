-- A fan-out is records until something has become of its deliveries; each of them is a row of `delivery` from then on.
CREATE TABLE {schema}.record (
    -- That of its first delivery. Those of the others follow.
    key bigint PRIMARY KEY,
    workspace bigint NOT NULL,
    due_at bigint NOT NULL,
    -- The process that has it in hand; 0 if none has.
    owner bigint NOT NULL DEFAULT 0,
    -- True once one had: then some of its deliveries may be rows.
    is_begun boolean NOT NULL DEFAULT false,
    -- Those to the same endpoints have it in common.
    audience bigint NOT NULL,
    -- Number of endpoints.
    width integer NOT NULL,
    -- In the order of ordinals; 0 where there is no delivery.
    endpoints bigint[] NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Compressing them would cost more than the room that it saves.
ALTER TABLE {schema}.record ALTER COLUMN endpoints SET STORAGE EXTERNAL;
CREATE INDEX record_by_audience ON {schema}.record (workspace, audience, key);

-- Processes that attempt deliveries. One whose beat stands still is gone, and what it had in hand is anybody's.
CREATE TABLE {schema}.process (
    token bigint PRIMARY KEY,
    beat bigint NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The process that made it; 0 for one of a program of the version before.
ALTER TABLE {schema}.lease ADD COLUMN owner bigint NOT NULL DEFAULT 0;

-- Chooses records that nobody has: of one workspace after the other behind `after`, and in each of one audience after the other but
-- those that are full. Answers the keys of about so many records, with so many deliveries. Keys before `first_key` are passed over
-- in the index: where records were a moment ago, what is left of them lies in the way until it is vacuumed.
CREATE FUNCTION {schema}.free_records(
    after bigint, full_ones bigint[], records_max integer, deliveries_max integer, first_key bigint
)
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    at bigint := after;
    is_around boolean := false;
    space bigint;
    first bigint;
    audience_at bigint;
    next bigint;
    spaces bigint[] := '{}';
    audiences bigint[] := '{}';
    keys bigint[] := '{}';
    of_one bigint[];
    of_space integer;
BEGIN
    -- A step for each audience, however much waits for it.
    WHILE cardinality(spaces) < 256 LOOP
        SELECT r.workspace INTO space FROM {schema}.record r
            WHERE r.workspace > at AND (NOT is_around OR r.workspace <= after)
                AND r.key >= first_key AND r.owner = 0
            ORDER BY r.workspace, r.audience, r.key LIMIT 1;
        IF NOT FOUND THEN
            EXIT WHEN is_around;
            is_around := true;
            at := -1;
            CONTINUE;
        END IF;
        at := space;
        -- Some of each workspace, from any one on, so that all have their turn.
        first := ((random() - 0.5) * 18446744073709551000)::numeric::bigint;
        of_space := 0;
        FOR around IN 0 .. 1 LOOP
            audience_at := CASE around WHEN 0 THEN first ELSE -9223372036854775808 END;
            WHILE of_space < 64 LOOP
                SELECT r.audience INTO next FROM {schema}.record r
                    WHERE r.workspace = space AND r.audience >= audience_at AND (around = 0 OR r.audience < first)
                        AND r.key >= first_key AND r.owner = 0
                    ORDER BY r.workspace, r.audience, r.key LIMIT 1;
                EXIT WHEN NOT FOUND;
                IF next <> ALL (full_ones) THEN
                    spaces := spaces || space;
                    audiences := audiences || next;
                    of_space := of_space + 1;
                END IF;
                EXIT WHEN next = 9223372036854775807;
                audience_at := next + 1;
            END LOOP;
        END LOOP;
    END LOOP;
    FOR place IN 1 .. cardinality(spaces) LOOP
        SELECT array_agg(c.key) INTO of_one FROM (
            SELECT f.key, sum(f.width) OVER (ORDER BY f.key) - f.width AS before FROM (
                SELECT r.key, r.width FROM {schema}.record r
                WHERE r.workspace = spaces[place] AND r.audience = audiences[place]
                    AND r.key >= first_key AND r.owner = 0
                ORDER BY r.workspace, r.audience, r.key
                LIMIT greatest(records_max / cardinality(spaces), 1)) f
        ) c WHERE c.before < greatest(deliveries_max / cardinality(spaces), 1);
        keys := keys || of_one;
    END LOOP;
    RETURN keys;
END
$$;

-- Deliveries of records with keys from `first` up to before `beyond`, as far as they are no rows. A record has a thousand at most.
CREATE FUNCTION {schema}.open_deliveries(first bigint, beyond bigint)
RETURNS TABLE (key bigint, endpoint bigint, due_at bigint) LANGUAGE sql STABLE AS $$
    SELECT r.key + u.place - 1, u.endpoint, r.due_at
    FROM {schema}.record r CROSS JOIN LATERAL unnest(r.endpoints) WITH ORDINALITY AS u (endpoint, place)
    WHERE r.key > first - 1000 AND r.key < beyond AND u.endpoint <> 0
        AND r.key + u.place - 1 >= first AND r.key + u.place - 1 < beyond
        AND (NOT r.is_begun OR NOT EXISTS (SELECT FROM {schema}.delivery d WHERE d.key = r.key + u.place - 1))
$$;

-- The same of one workspace, of one endpoint or of all if that is absent.
CREATE FUNCTION {schema}.open_deliveries_of(of_workspace bigint, of_endpoint bigint, beyond bigint)
RETURNS TABLE (key bigint, endpoint bigint, due_at bigint) LANGUAGE sql STABLE AS $$
    SELECT r.key + u.place - 1, u.endpoint, r.due_at
    FROM {schema}.record r CROSS JOIN LATERAL unnest(r.endpoints) WITH ORDINALITY AS u (endpoint, place)
    WHERE r.workspace = of_workspace AND r.key < beyond AND r.key + u.place - 1 < beyond
        AND (of_endpoint IS NULL OR of_endpoint = ANY (r.endpoints)) AND u.endpoint <> 0 AND (of_endpoint IS NULL OR u.endpoint = of_endpoint)
        AND (NOT r.is_begun OR NOT EXISTS (SELECT FROM {schema}.delivery d WHERE d.key = r.key + u.place - 1))
$$;

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
