-- What is in braces beside the schema are the bounds of labels.

-- Fans an event out from plain SQL, in the caller's transaction: one row for each delivery that is queued once the
-- transaction commits, in the order in which the endpoints subscribed. Raises NH001 if the workspace does not exist, NH002
-- if it has no event type of that name, NH003 for a payload or labels that are not what they should be.
CREATE OR REPLACE FUNCTION {schema}.trigger(
    workspace_id text, event_type_name text, payload json,
    metadata json DEFAULT '{}', environment_id text DEFAULT NULL
) RETURNS TABLE (message_id text, event_type_id text, delivery_id text, endpoint_id text)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    space {schema}.workspace%ROWTYPE;
    kind {schema}.event_type%ROWTYPE;
    now_nanos bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000;
    random_hex text := replace(gen_random_uuid()::text, '-', '') || replace(gen_random_uuid()::text, '-', '');
    message uuid;
    endpoints text[];
    taken boolean[];
BEGIN
    SELECT * INTO space FROM {schema}.workspace w WHERE w.id = workspace_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the workspace does not exist' USING ERRCODE = 'NH001';
    END IF;
    SELECT * INTO kind FROM {schema}.event_type t
        WHERE t.workspace = space.row AND t.name = event_type_name AND t.deleted_at IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the event type does not exist' USING ERRCODE = 'NH002';
    END IF;
    IF payload IS NULL OR json_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'the payload must be a JSON object' USING ERRCODE = 'NH003';
    END IF;
    IF octet_length(btrim(payload::text, E' \t\n\r')) > space.payload_len_max THEN
        RAISE EXCEPTION 'the payload is too large' USING ERRCODE = 'NH003';
    END IF;
    -- A text is no longer than its JSON, which has quotes around it and needs no decoding.
    IF json_typeof(metadata) <> 'object' OR (
        SELECT count(*) > {labels_max} OR bool_or(char_length(label.key) > {label_key_len_max}
            OR json_typeof(label.value) <> 'string'
            OR CASE WHEN char_length(label.value::text) - 2 > {label_value_len_max}
                THEN char_length(label.value #>> '{}') > {label_value_len_max} END)
        FROM json_each(metadata) label)
    THEN
        RAISE EXCEPTION 'metadata has at most {labels_max} labels, text to text, of {label_key_len_max} and {label_value_len_max} characters'
            USING ERRCODE = 'NH003';
    END IF;
    -- 48 bits of milliseconds, 80 random ones; two of them zero, for the ids of the deliveries that follow.
    message := (lpad(to_hex(now_nanos / 1000000), 12, '0')
        || translate(substr(random_hex, 1, 1), '89abcdef', '01234567') || substr(random_hex, 2, 3)
        || translate(substr(random_hex, 5, 1), '456789abcdef', '012301230123') || substr(random_hex, 6, 7)
        || substr(random_hex, 33, 8))::uuid;
    SELECT array_agg(e.id ORDER BY s.row) INTO endpoints
        FROM {schema}.subscription s JOIN {schema}.endpoint e ON e.row = s.endpoint
        LEFT JOIN {schema}.environment n ON n.id = environment_id AND n.deleted_at IS NULL
        WHERE s.event_type = kind.row AND e.workspace = space.row AND e.is_active AND e.deleted_at IS NULL
            AND (environment_id IS NULL OR e.environment = n.row
                AND (n.is_default OR EXISTS (SELECT FROM {schema}.publication p
                    WHERE p.environment = n.row AND p.event_type = kind.row)));
    IF endpoints IS NULL THEN
        RETURN;
    END IF;
    taken := {schema}.publish(message, workspace_id, kind.id, event_type_name, now_nanos,
        CASE WHEN EXISTS (SELECT FROM json_each(metadata)) THEN metadata::text END,
        convert_to(btrim(payload::text, E' \t\n\r'), 'UTF8'),
        ARRAY(SELECT generate_series(0, cardinality(endpoints) - 1)), endpoints);
    RETURN QUERY SELECT {schema}.id_text('msg_', message), kind.id,
            {schema}.id_text('del_', message, slot.place), slot.id
        FROM unnest(endpoints) WITH ORDINALITY AS slot (id, place)
        WHERE taken[slot.place] ORDER BY slot.place;
END
$$;
