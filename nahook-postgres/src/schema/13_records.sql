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
    beat bigint NOT NULL,
    -- Raised before it reads what it has: what it was taking under a smaller number is done by then, or takes nothing.
    looks bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The process that made it; 0 for one of a program of the version before.
ALTER TABLE {schema}.lease ADD COLUMN owner bigint NOT NULL DEFAULT 0;

-- Chooses records that nobody has: of one workspace after the other behind `after`, and in each of one audience after the other but
-- those that are full. Answers the keys of about so many records, with so many deliveries, and whether these may be not all. Keys before
-- `first_key` are passed over in the index: where records were a moment ago, what is left of them lies in the way until it is vacuumed.
CREATE FUNCTION {schema}.free_records(
    after bigint, full_ones bigint[], records_max integer, deliveries_max integer, first_key bigint, OUT keys bigint[], OUT is_cut boolean
) LANGUAGE plpgsql AS $$
DECLARE
    at bigint := after;
    is_around boolean := false;
    space bigint;
    first bigint;
    audience_at bigint;
    next bigint;
    spaces bigint[] := '{}';
    audiences bigint[] := '{}';
    of_one bigint[];
    is_one_cut boolean;
    of_space integer;
BEGIN
    keys := '{}';
    is_cut := false;
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
        is_cut := is_cut OR of_space >= 64;
    END LOOP;
    is_cut := is_cut OR cardinality(spaces) >= 256;
    FOR place IN 1 .. cardinality(spaces) LOOP
        SELECT array_agg(c.key) FILTER (WHERE c.before < greatest(deliveries_max / cardinality(spaces), 1)),
            count(*) >= greatest(records_max / cardinality(spaces), 1)
                OR bool_or(c.before >= greatest(deliveries_max / cardinality(spaces), 1))
        INTO of_one, is_one_cut FROM (
            SELECT f.key, sum(f.width) OVER (ORDER BY f.key) - f.width AS before FROM (
                SELECT r.key, r.width FROM {schema}.record r
                WHERE r.workspace = spaces[place] AND r.audience = audiences[place]
                    AND r.key >= first_key AND r.owner = 0
                ORDER BY r.workspace, r.audience, r.key
                LIMIT greatest(records_max / cardinality(spaces), 1)) f
        ) c;
        keys := keys || of_one;
        is_cut := is_cut OR is_one_cut;
    END LOOP;
END
$$;

-- Forgets a process, if its beat is `last` or that is absent: its records are anybody's, and so are the rows that it had leased. Tells
-- all processes. Answers how many records that were; nothing if it was forgotten already, or has beaten since.
--
-- The first statement waits for what the process is just writing, so that the others, each of which sees what was committed before it, see
-- that as well.
CREATE FUNCTION {schema}.forget_process(gone bigint, last bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    freed bigint;
BEGIN
    DELETE FROM {schema}.process p WHERE p.token = gone AND (last IS NULL OR p.beat = last);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE {schema}.record SET owner = 0 WHERE owner = gone;
    GET DIAGNOSTICS freed = ROW_COUNT;
    WITH over AS (
        DELETE FROM {schema}.lease l WHERE l.owner = gone RETURNING l.token, l.keys
    )
    UPDATE {schema}.delivery d SET wake_at = NULL
        FROM (SELECT o.token, unnest(o.keys) AS key FROM over o) o
        WHERE d.key = o.key AND d.lease_token = o.token AND d.wake_at IS NOT NULL;
    PERFORM pg_notify({channel}, 'q');
    RETURN freed;
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
