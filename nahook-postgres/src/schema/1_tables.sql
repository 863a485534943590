-- Version 1. `{schema}` stands for the quoted name of the schema. Rows refer to one another by number; text ids live at
-- the edge. Instants are nanoseconds since the Unix epoch; the text of ids and names compares by bytes.

CREATE TABLE {schema}.workspace (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL CONSTRAINT workspace_id UNIQUE,
    name text COLLATE "C" NOT NULL CONSTRAINT workspace_name UNIQUE,
    payload_len_max bigint NOT NULL,
    workspace_rate_interval bigint,
    workspace_rate_burst bigint,
    key_rate_interval bigint,
    key_rate_burst bigint,
    created_at bigint NOT NULL
);

-- A deleted row stays, so that the history keeps its names.
CREATE TABLE {schema}.environment (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    name text NOT NULL,
    slug text COLLATE "C" NOT NULL,
    is_default boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE UNIQUE INDEX environment_by_slug ON {schema}.environment (workspace, slug) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE {schema}.event_type (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    name text COLLATE "C" NOT NULL,
    description text,
    created_at bigint NOT NULL,
    deleted_at bigint
);
CREATE UNIQUE INDEX event_type_by_name ON {schema}.event_type (workspace, name) WHERE deleted_at IS NULL;
CREATE INDEX event_type_by_workspace ON {schema}.event_type (workspace, row) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE {schema}.application (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    external_id text COLLATE "C",
    name text NOT NULL,
    metadata text NOT NULL,
    max_endpoints bigint,
    show_event_types boolean NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX application_by_workspace ON {schema}.application (workspace, row) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX application_by_external_id ON {schema}.application (workspace, external_id)
    WHERE deleted_at IS NULL;

-- Role: 0 admin, 1 editor, 2 viewer.
CREATE TABLE {schema}.portal_session (
    -- The hash of its code.
    code bytea PRIMARY KEY,
    application bigint NOT NULL REFERENCES {schema}.application,
    role smallint NOT NULL,
    metadata text NOT NULL,
    code_expires_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    created_at bigint NOT NULL
);
CREATE INDEX portal_session_by_application ON {schema}.portal_session (application);
CREATE INDEX portal_session_by_end ON {schema}.portal_session (expires_at);

-- Likewise, but its secrets go. The numbers that change while deliveries fail are kept apart, in endpoint_health.
CREATE TABLE {schema}.endpoint (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    environment bigint NOT NULL REFERENCES {schema}.environment,
    application bigint REFERENCES {schema}.application,
    url text NOT NULL,
    -- 0 webhook, 1 Slack.
    kind smallint NOT NULL,
    config text NOT NULL,
    metadata text NOT NULL,
    description text,
    auth_username text,
    auth_password text,
    secret text NOT NULL,
    previous_secret text,
    previous_secret_until bigint,
    is_active boolean NOT NULL,
    disabled_reason text,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    deleted_at bigint
);
CREATE INDEX endpoint_by_workspace ON {schema}.endpoint (workspace, row) WHERE deleted_at IS NULL;
CREATE INDEX endpoint_by_application ON {schema}.endpoint (application, row) WHERE deleted_at IS NULL;

CREATE TABLE {schema}.endpoint_health (
    endpoint bigint PRIMARY KEY,
    failing_since bigint NOT NULL
);

-- Rows are numbered in the order of subscribing.
CREATE TABLE {schema}.subscription (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    endpoint bigint NOT NULL REFERENCES {schema}.endpoint,
    event_type bigint NOT NULL REFERENCES {schema}.event_type,
    created_at bigint NOT NULL,
    UNIQUE (endpoint, event_type)
);
CREATE INDEX subscription_by_event_type ON {schema}.subscription (event_type, row) INCLUDE (endpoint);
CREATE INDEX subscription_by_workspace ON {schema}.subscription (workspace, event_type);

CREATE TABLE {schema}.publication (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    environment bigint NOT NULL REFERENCES {schema}.environment,
    event_type bigint NOT NULL REFERENCES {schema}.event_type,
    UNIQUE (environment, event_type)
);
CREATE INDEX publication_by_workspace ON {schema}.publication (workspace);

-- State of keys and tokens: 0 active, 1 disabled, 2 revoked.
CREATE TABLE {schema}.api_key (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    environment bigint REFERENCES {schema}.environment,
    endpoint bigint REFERENCES {schema}.endpoint,
    name text COLLATE "C" NOT NULL,
    hash bytea NOT NULL UNIQUE,
    state smallint NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (workspace, name)
);

CREATE TABLE {schema}.management_token (
    row bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text COLLATE "C" NOT NULL UNIQUE,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    name text COLLATE "C" NOT NULL,
    hash bytea NOT NULL UNIQUE,
    state smallint NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (workspace, name)
);

-- Who changed what. It says nothing that a secret could be told from.
CREATE TABLE {schema}.audit_entry (
    row bigint GENERATED ALWAYS AS IDENTITY,
    workspace bigint NOT NULL REFERENCES {schema}.workspace,
    created_at bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    actor_kind text COLLATE "C" NOT NULL,
    actor_id text NOT NULL,
    actor_label text NOT NULL,
    action text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    resource_id text NOT NULL,
    metadata text NOT NULL,
    PRIMARY KEY (workspace, created_at, row)
);
CREATE INDEX audit_entry_by_time ON {schema}.audit_entry (created_at);

-- What front ends seal cursors with: one row, drawn when it is first asked for.
CREATE TABLE {schema}.sealing_key (
    is_drawn boolean PRIMARY KEY CHECK (is_drawn),
    key bytea NOT NULL
);

-- The payload once, whatever the width. No foreign keys from here on: the statement that writes a row looks up what it
-- refers to, and checking it again row by row would halve the rate.
-- Nothing of it is cached: the numbers are in the order of queueing, whoever queues, and so are lists.
CREATE SEQUENCE {schema}.event_seq;
CREATE TABLE {schema}.event (
    seq bigint PRIMARY KEY,
    -- The message's 128 bits. Its deliveries' ids are the numbers that follow.
    id uuid NOT NULL CONSTRAINT event_id UNIQUE,
    workspace bigint NOT NULL,
    -- Absent where a payload was sent to an endpoint directly.
    event_type bigint,
    accepted_at bigint NOT NULL,
    -- JSON; absent if there are no labels.
    metadata text,
    -- Absent where it is not kept any more.
    payload bytea,
    -- The caller's, for a delivery to an endpoint directly; absent if there is none.
    idempotency_key bytea
);
-- Those that were brought along with ids of their own, which do not begin with the time.
CREATE INDEX event_given ON {schema}.event (accepted_at, id) WHERE id >= 'ff000000-0000-0000-0000-000000000000';

-- What a key stands for, until it has run out. Claimed in the transaction that queues its delivery.
CREATE TABLE {schema}.idempotency_key (
    endpoint bigint NOT NULL,
    key bytea NOT NULL,
    -- The delivery's message: the event may be forgotten before the key is.
    message uuid NOT NULL,
    claimed_at bigint NOT NULL,
    PRIMARY KEY (endpoint, key)
);
CREATE INDEX idempotency_key_by_age ON {schema}.idempotency_key (claimed_at);

CREATE SEQUENCE {schema}.lease_token;
CREATE TABLE {schema}.delivery (
    -- The event's number times 2^20, plus the ordinal.
    key bigint PRIMARY KEY,
    endpoint bigint NOT NULL,
    -- Absent once settled for good, and where a queue elsewhere carries it: what is absent is never leased.
    due_at bigint,
    -- Present where a queue elsewhere carries it: when it is to be attempted again there, else 0.
    recorded_retry_at bigint,
    -- When the passing of time makes it ready: a retry is due, a lease expires. Absent while it is ready, or settled.
    wake_at bigint,
    -- The latest lease. It stays behind when the lease expires: who is late may settle until somebody else has leased.
    lease_token bigint,
    first_attempt_at bigint,
    delivered_at bigint,
    -- Absent while nothing has changed since the event was accepted.
    updated_at bigint,
    attempts integer NOT NULL,
    -- 0 pending, 1 scheduled retry, 2 delivered, 3 failed, 4 dead letter.
    status smallint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
-- What a worker may lease now, by endpoint: fresh ones in the order of queueing …
CREATE INDEX delivery_fresh ON {schema}.delivery (endpoint, key)
    WHERE status = 0 AND due_at IS NOT NULL AND wake_at IS NULL;
-- … and retries in that of being due. By a CASE, here and below, where no other query is to be planned by the index: what is
-- said plainly may follow from what that asks for, and a plan made while the index was small reads all of it later.
CREATE INDEX delivery_again ON {schema}.delivery (endpoint, due_at, key)
    WHERE CASE WHEN status = 1 AND wake_at IS NULL THEN due_at END IS NOT NULL;
-- All others than the fresh ones above, by how they are shown, 5 being those that are being attempted: with the fresh ones
-- this answers every list. Publishing writes nothing here.
CREATE INDEX delivery_shown
    ON {schema}.delivery (endpoint, (CASE WHEN wake_at IS NOT NULL AND lease_token IS NOT NULL THEN 5::smallint ELSE status END), key)
    WHERE status <> 0 OR due_at IS NULL OR CASE WHEN wake_at IS NULL THEN false ELSE true END;
-- What waits for time without being leased.
CREATE INDEX delivery_timed ON {schema}.delivery (wake_at) WHERE wake_at IS NOT NULL AND lease_token IS NULL;

-- What was leased together, and when to look whether it still is: none of these leases ends before. Deliveries come and go too
-- fast for an index by time, where what is over lies in the way of what comes next until it is vacuumed. A row may outlast its
-- leases; none lasts without its row.
CREATE TABLE {schema}.lease (
    token bigint PRIMARY KEY,
    look_at bigint NOT NULL,
    keys bigint[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, toast_tuple_target = 8160);
CREATE INDEX lease_by_time ON {schema}.lease (look_at);

CREATE TABLE {schema}.attempt (
    delivery bigint NOT NULL,
    number integer NOT NULL,
    started_at bigint NOT NULL,
    duration bigint NOT NULL,
    status_code integer,
    error text,
    PRIMARY KEY (delivery, number)
);

-- When callers will have recovered. Level: 0 workspace, 1 key.
CREATE TABLE {schema}.limiter_arrival (
    level smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    arrival numeric NOT NULL,
    PRIMARY KEY (level, id)
);
