-- Functions that may be called in anybody's transaction. They run with the caller's rights and name everything in full. Those
-- that publish plan as our own sessions do, by indexes, whatever the caller's session prefers; and read the endpoints that are
-- subscribed, not all that a workspace has.

-- Writes an event and its deliveries in the caller's transaction. Answers, in their order, which endpoints were taken:
-- one that is gone is not. Nothing is visible to workers before the transaction commits, which also wakes them.
CREATE FUNCTION {schema}.publish(
    message uuid, workspace_id text, event_type_id text, event_type_name text,
    accepted_at bigint, metadata text, payload bytea, ordinals integer[], endpoint_ids text[]
) RETURNS boolean[] LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    of_workspace bigint;
    of_type bigint;
    number bigint;
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
            RETURNING e.seq INTO number;
        INSERT INTO {schema}.delivery (key, endpoint, due_at, attempts, status)
            SELECT (number << 20) | slot.ordinal, slot.endpoint, publish.accepted_at, 0, 0
            FROM unnest(ordinals, endpoints) AS slot (ordinal, endpoint)
            WHERE slot.endpoint IS NOT NULL
            ON CONFLICT DO NOTHING;
        PERFORM pg_notify({channel}, 'q');
    END IF;
    RETURN ARRAY(SELECT slot.endpoint IS NOT NULL
        FROM unnest(endpoints) WITH ORDINALITY AS slot (endpoint, place) ORDER BY slot.place);
END
$$;

-- An id as the API shows it: the prefix and 26 digits of base 32.
CREATE FUNCTION {schema}.id_text(prefix text, id uuid, further bigint DEFAULT 0)
RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    hex text := replace(id::text, '-', '');
    -- Ids made by {schema}.trigger leave room in their lower half, so that this never overflows.
    lower_half bigint := ('x' || substr(hex, 17))::bit(64)::bigint + further;
    bits bit varying := B'00' || ('x' || substr(hex, 1, 16))::bit(64) || lower_half::bit(64);
    digits text := '';
BEGIN
    FOR place IN 0..25 LOOP
        digits := digits || substr('0123456789abcdefghjkmnpqrstvwxyz',
            substring(bits FROM place * 5 + 1 FOR 5)::bit(5)::integer + 1, 1);
    END LOOP;
    RETURN prefix || digits;
END
$$;

-- Leases tokens at two levels, or at neither: at most as many as wanted, at least one of each level that has a rate.
-- Answers how many of each, or how many nanoseconds there are none, and when each will have recovered then. An interval that
-- is absent is no rate.
CREATE FUNCTION {schema}.lease_tokens(
    now_nanos numeric,
    workspace_id text, workspace_interval numeric, workspace_burst numeric, workspace_wanted numeric,
    key_id text, key_interval numeric, key_burst numeric, key_wanted numeric,
    OUT of_workspace bigint, OUT of_key bigint, OUT wait numeric,
    OUT workspace_arrival numeric, OUT key_arrival numeric
) LANGUAGE plpgsql AS $$
DECLARE
    workspace_debt numeric := 0;
    key_debt numeric := 0;
BEGIN
    -- Losing the latest leases to a crash gives a caller a few tokens more, once; waiting for the disk would cost all.
    PERFORM set_config('synchronous_commit', 'off', true);
    of_workspace := 0;
    of_key := 0;
    wait := 0;
    -- Whoever locks both locks the workspace first.
    IF workspace_interval IS NOT NULL THEN
        INSERT INTO {schema}.limiter_arrival AS l VALUES (0, workspace_id, now_nanos)
            ON CONFLICT (level, id) DO UPDATE SET arrival = l.arrival
            RETURNING least(greatest(l.arrival - now_nanos, 0), workspace_interval * workspace_burst)
            INTO workspace_debt;
        of_workspace := least(workspace_wanted,
            div(workspace_interval * workspace_burst - workspace_debt, workspace_interval));
        wait := CASE WHEN of_workspace > 0 THEN 0
            ELSE workspace_debt - workspace_interval * (workspace_burst - 1) END;
    END IF;
    IF key_interval IS NOT NULL THEN
        INSERT INTO {schema}.limiter_arrival AS l VALUES (1, key_id, now_nanos)
            ON CONFLICT (level, id) DO UPDATE SET arrival = l.arrival
            RETURNING least(greatest(l.arrival - now_nanos, 0), key_interval * key_burst)
            INTO key_debt;
        of_key := least(key_wanted, div(key_interval * key_burst - key_debt, key_interval));
        wait := greatest(wait, CASE WHEN of_key > 0 THEN 0
            ELSE key_debt - key_interval * (key_burst - 1) END);
    END IF;
    IF wait > 0 THEN
        -- The debts are kept even if nothing is given: after a change of the rate or the clock, waiting must help.
        of_workspace := 0;
        of_key := 0;
    END IF;
    workspace_arrival := now_nanos + workspace_debt + workspace_interval * of_workspace;
    key_arrival := now_nanos + key_debt + key_interval * of_key;
    UPDATE {schema}.limiter_arrival SET arrival = workspace_arrival
        WHERE level = 0 AND id = workspace_id AND workspace_interval IS NOT NULL;
    UPDATE {schema}.limiter_arrival SET arrival = key_arrival
        WHERE level = 1 AND id = key_id AND key_interval IS NOT NULL;
END
$$;
