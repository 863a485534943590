-- Functions that may be called in anybody's transaction. They run with the caller's rights and name everything in full. Those
-- that publish plan as our own sessions do, by indexes, whatever the caller's session prefers; and read the endpoints that are
-- subscribed, not all that a workspace has.

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
