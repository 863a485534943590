-- Makes ready what was waiting for time: retries that are due, leases that have expired. Answers whether there may be more: at
-- most a thousand retries, and what was leased by a hundred statements, are made ready at once. Whoever is late with an expired
-- lease may settle until somebody else has leased: the token stays behind. Nothing waits for the disk: what a crash loses is made
-- ready again.
CREATE FUNCTION {schema}.wake(now_nanos bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    woken bigint;
    lapsed record;
    looked_at bigint := 0;
    next bigint;
BEGIN
    UPDATE {schema}.delivery SET wake_at = NULL
        WHERE key = ANY (ARRAY(
            SELECT d.key FROM {schema}.delivery d
            WHERE d.wake_at <= now_nanos AND d.wake_at IS NOT NULL AND d.lease_token IS NULL
            ORDER BY d.wake_at LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED));
    GET DIAGNOSTICS woken = ROW_COUNT;
    FOR lapsed IN
        SELECT l.token, l.keys FROM {schema}.lease l
        WHERE l.look_at <= now_nanos ORDER BY l.look_at LIMIT 100 FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        looked_at := looked_at + 1;
        UPDATE {schema}.delivery SET wake_at = NULL
            WHERE key = ANY (ARRAY(
                SELECT d.key FROM {schema}.delivery d
                WHERE d.key = ANY (lapsed.keys) AND d.lease_token = lapsed.token AND d.wake_at <= now_nanos
                FOR NO KEY UPDATE SKIP LOCKED));
        -- What was extended, and what somebody is settling just now.
        SELECT min(d.wake_at) INTO next FROM {schema}.delivery d
            WHERE d.key = ANY (lapsed.keys) AND d.lease_token = lapsed.token;
        IF next IS NULL THEN
            DELETE FROM {schema}.lease WHERE token = lapsed.token;
        ELSE
            UPDATE {schema}.lease SET look_at = next WHERE token = lapsed.token;
        END IF;
    END LOOP;
    IF woken > 0 OR looked_at > 0 THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
    RETURN woken = 1000 OR looked_at = 100;
END
$$;
