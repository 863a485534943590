-- How much the standing of a recorded delivery counts: after most attempts, and then by its kind.
CREATE OR REPLACE FUNCTION {schema}.standing(attempts integer, status smallint) RETURNS bigint LANGUAGE sql IMMUTABLE
AS $$ SELECT attempts * 8::bigint + CASE status WHEN 1 THEN 1 WHEN 3 THEN 2 WHEN 4 THEN 3 WHEN 2 THEN 4 ELSE 0 END $$;

-- Records what a queue elsewhere does, in the caller's transaction. Entries refer to events by number, counted from 1; those
-- of one delivery are of different rounds, because one statement cannot write a row twice.
CREATE OR REPLACE FUNCTION {schema}.record_entries(
    messages uuid[], workspace_ids text[], type_ids text[], type_names text[],
    accepted bigint[], labels text[], payloads bytea[], keys bytea[],
    rounds integer[], events integer[], ordinals integer[], endpoint_ids text[],
    statuses smallint[], attempts_made integer[], retries bigint[], instants bigint[],
    starts bigint[], durations bigint[], status_codes integer[], errors text[], bodies text[] DEFAULT NULL
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO {schema}.event_type (id, workspace, name, created_at, deleted_at)
        SELECT DISTINCT ON (u.type_id) u.type_id, w.row, u.type_name, u.accepted_at, u.accepted_at
        FROM unnest(workspace_ids, type_ids, type_names, accepted)
            AS u (workspace, type_id, type_name, accepted_at)
        JOIN {schema}.workspace w ON w.id = u.workspace
        WHERE u.type_id IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.event_type t WHERE t.id = u.type_id)
        ORDER BY u.type_id
        ON CONFLICT (id) DO NOTHING;
    INSERT INTO {schema}.event (seq, id, workspace, event_type, accepted_at, metadata, payload, idempotency_key)
        SELECT nextval('{schema}.event_seq'), u.id, w.row, t.row, u.accepted_at, u.metadata, u.payload, u.key
        FROM unnest(messages, workspace_ids, type_ids, accepted, labels, payloads, keys)
            AS u (id, workspace, type_id, accepted_at, metadata, payload, key)
        JOIN {schema}.workspace w ON w.id = u.workspace
        LEFT JOIN {schema}.event_type t ON t.id = u.type_id
        WHERE (u.type_id IS NULL OR t.row IS NOT NULL)
            AND NOT EXISTS (SELECT FROM {schema}.event e WHERE e.id = u.id)
        ORDER BY u.id
        ON CONFLICT (id) DO NOTHING;
    FOR this_round IN 0 .. (SELECT max(u.round) FROM unnest(rounds) AS u (round)) LOOP
        WITH entry AS MATERIALIZED (
            SELECT (e.seq << 20) | u.ordinal AS key, p.row AS endpoint, u.status, u.attempts, u.retry_at, u.instant,
                u.started_at, u.duration, u.status_code, u.error, u.response_body
            FROM unnest(rounds, events, ordinals, endpoint_ids, statuses, attempts_made, retries, instants,
                    starts, durations, status_codes, errors, bodies)
                AS u (round, event, ordinal, endpoint, status, attempts, retry_at, instant,
                    started_at, duration, status_code, error, response_body)
            JOIN {schema}.event e ON e.id = messages[u.event]
            JOIN {schema}.endpoint p ON p.id = u.endpoint AND p.workspace = e.workspace
            -- What this store's own records have is its own to tell of.
            WHERE u.round = this_round AND NOT EXISTS (
                SELECT FROM {schema}.open_deliveries((e.seq << 20) | u.ordinal, ((e.seq << 20) | u.ordinal) + 1))
        ), recorded AS (
            -- In the order of keys, so that those who record the same wait for each other and never in a circle.
            INSERT INTO {schema}.delivery AS d
                (key, endpoint, recorded_retry_at, first_attempt_at, delivered_at, updated_at, attempts, status)
            SELECT n.key, n.endpoint, n.retry_at,
                CASE WHEN n.error LIKE 'not attempted: %' THEN NULL ELSE n.started_at END,
                CASE n.status WHEN 2 THEN n.instant END, n.instant, n.attempts, n.status
            FROM entry n ORDER BY n.key
            ON CONFLICT (key) DO UPDATE SET
                recorded_retry_at = CASE sign({schema}.standing(excluded.attempts, excluded.status)
                        - {schema}.standing(d.attempts, d.status))
                    WHEN 1 THEN excluded.recorded_retry_at
                    WHEN 0 THEN greatest(d.recorded_retry_at, excluded.recorded_retry_at)
                    ELSE d.recorded_retry_at END,
                delivered_at = CASE sign({schema}.standing(excluded.attempts, excluded.status)
                        - {schema}.standing(d.attempts, d.status))
                    WHEN 1 THEN excluded.delivered_at
                    WHEN 0 THEN least(d.delivered_at, excluded.delivered_at)
                    ELSE d.delivered_at END,
                status = CASE WHEN {schema}.standing(excluded.attempts, excluded.status)
                        > {schema}.standing(d.attempts, d.status)
                    THEN excluded.status ELSE d.status END,
                attempts = greatest(d.attempts, excluded.attempts),
                first_attempt_at = least(d.first_attempt_at, excluded.first_attempt_at),
                updated_at = greatest(d.updated_at, excluded.updated_at)
            WHERE d.recorded_retry_at IS NOT NULL
            RETURNING d.key
        )
        INSERT INTO {schema}.attempt AS a (delivery, number, started_at, duration, status_code, error, response_body)
            SELECT n.key, n.attempts, n.started_at, n.duration, n.status_code, n.error, n.response_body
            FROM entry n JOIN recorded r ON r.key = n.key
            WHERE n.started_at IS NOT NULL
            ORDER BY n.key
            ON CONFLICT (delivery, number) DO UPDATE SET
                started_at = excluded.started_at, duration = excluded.duration,
                status_code = excluded.status_code, error = excluded.error,
                response_body = excluded.response_body
            WHERE excluded.started_at < a.started_at;
    END LOOP;
END
$$;
