-- Rows refer to one another by number; text ids live at the edge. Instants are nanoseconds since the Unix epoch.
-- 64-bit quantities without a sign are kept with the same bits. Every name begins with `nahook_`: the file may be an app's.

-- Neither `user_version` nor `application_id`: those are the app's.
CREATE TABLE nahook_schema (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    version INTEGER NOT NULL
) STRICT;
INSERT INTO nahook_schema VALUES (1, 4);

CREATE TABLE nahook_catalog_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    -- Raised by every change of the catalog, in its transaction: what a cache compares.
    version INTEGER NOT NULL,
    -- Raised to overwrite the tail that an unclear commit may have left in the log.
    overwrites INTEGER NOT NULL
) STRICT;
INSERT INTO nahook_catalog_state VALUES (1, 1, 0);

CREATE TABLE nahook_workspace (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    payload_len_max INTEGER NOT NULL,
    workspace_rate_interval INTEGER,
    workspace_rate_burst INTEGER,
    key_rate_interval INTEGER,
    key_rate_burst INTEGER,
    created_at INTEGER NOT NULL
) STRICT;

-- A deleted row stays, so that the history keeps its names.
CREATE TABLE nahook_environment (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX nahook_environment_by_slug ON nahook_environment (workspace, slug) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE nahook_event_type (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    name TEXT NOT NULL,
    description TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX nahook_event_type_by_name ON nahook_event_type (workspace, name) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE nahook_application (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    external_id TEXT,
    name TEXT NOT NULL,
    metadata TEXT NOT NULL,
    max_endpoints INTEGER,
    show_event_types INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX nahook_application_by_external_id ON nahook_application (workspace, external_id) WHERE deleted_at IS NULL;
CREATE INDEX nahook_application_by_workspace ON nahook_application (workspace) WHERE deleted_at IS NULL;

CREATE TABLE nahook_portal_session (
    row INTEGER PRIMARY KEY,
    -- The hash of its code.
    code BLOB NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    application INTEGER NOT NULL REFERENCES nahook_application,
    -- 0 admin, 1 editor, 2 viewer.
    role INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    code_expires_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nahook_portal_session_by_application ON nahook_portal_session (application);
CREATE INDEX nahook_portal_session_by_end ON nahook_portal_session (expires_at);

-- A deleted row stays here too.
CREATE TABLE nahook_endpoint (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    environment INTEGER NOT NULL REFERENCES nahook_environment,
    application INTEGER REFERENCES nahook_application,
    url TEXT NOT NULL,
    -- 0 webhook, 1 Slack.
    kind INTEGER NOT NULL,
    config TEXT NOT NULL,
    metadata TEXT NOT NULL,
    description TEXT,
    auth_username TEXT,
    auth_password TEXT,
    secret TEXT NOT NULL,
    previous_secret TEXT,
    previous_secret_until INTEGER,
    is_active INTEGER NOT NULL,
    disabled_reason TEXT,
    failing_since INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX nahook_endpoint_by_workspace ON nahook_endpoint (workspace) WHERE deleted_at IS NULL;
CREATE INDEX nahook_endpoint_by_application ON nahook_endpoint (application) WHERE deleted_at IS NULL;

-- Rows are numbered in the order of subscribing.
CREATE TABLE nahook_subscription (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    endpoint INTEGER NOT NULL REFERENCES nahook_endpoint,
    event_type INTEGER NOT NULL REFERENCES nahook_event_type,
    created_at INTEGER NOT NULL,
    -- 1 if the endpoint is subscribed to the event type by its name, 0 if by patterns alone.
    is_named INTEGER NOT NULL DEFAULT 1,
    UNIQUE (endpoint, event_type)
) STRICT;
CREATE INDEX nahook_subscription_by_event_type ON nahook_subscription (event_type);
CREATE INDEX nahook_subscription_by_workspace ON nahook_subscription (workspace);

-- An endpoint's subscription to every event type that a pattern matches. What follows from it are rows of `nahook_subscription`,
-- which are made with the pattern and with each event type that is made later: the look-up of subscribers knows no patterns.
CREATE TABLE nahook_pattern (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    endpoint INTEGER NOT NULL REFERENCES nahook_endpoint,
    pattern TEXT NOT NULL,
    -- The beginning of every name that it matches.
    prefix TEXT NOT NULL,
    -- 1 if any number of segments may follow, 0 if exactly one has to.
    is_deep INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (endpoint, pattern)
) STRICT;
CREATE INDEX nahook_pattern_by_workspace ON nahook_pattern (workspace);

CREATE TABLE nahook_publication (
    row INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    environment INTEGER NOT NULL REFERENCES nahook_environment,
    event_type INTEGER NOT NULL REFERENCES nahook_event_type,
    UNIQUE (environment, event_type)
) STRICT;
CREATE INDEX nahook_publication_by_event_type ON nahook_publication (event_type);
CREATE INDEX nahook_publication_by_workspace ON nahook_publication (workspace);

-- State of keys and tokens: 0 active, 1 disabled, 2 revoked.
CREATE TABLE nahook_api_key (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    environment INTEGER REFERENCES nahook_environment,
    endpoint INTEGER REFERENCES nahook_endpoint,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT;
CREATE INDEX nahook_api_key_by_environment ON nahook_api_key (environment) WHERE environment IS NOT NULL;
CREATE INDEX nahook_api_key_by_endpoint ON nahook_api_key (endpoint) WHERE endpoint IS NOT NULL;

CREATE TABLE nahook_management_token (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT;

-- Who changed what, in the order of writing. The index holds all that a page is chosen by.
CREATE TABLE nahook_audit_entry (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    workspace INTEGER NOT NULL REFERENCES nahook_workspace,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_label TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nahook_audit_entry_by_workspace
    ON nahook_audit_entry (workspace, row, created_at, action, resource_type, actor_kind);

-- The payload once, whatever the width. No foreign keys from here on: the writer looks every row up before it refers to it.
CREATE TABLE nahook_event (
    seq INTEGER PRIMARY KEY,
    -- The message's 128 bits, big-endian. Its deliveries' ids are the numbers that follow.
    id BLOB NOT NULL UNIQUE,
    workspace INTEGER NOT NULL,
    -- Absent where a payload was sent to an endpoint directly.
    event_type INTEGER,
    accepted_at INTEGER NOT NULL,
    -- One more than the highest ordinal.
    width INTEGER NOT NULL,
    -- JSON; absent if there are no labels.
    metadata TEXT,
    -- Absent where it is not kept any more; what is still to be delivered has it.
    payload BLOB,
    -- The caller's, for a delivery to an endpoint directly; absent if there is none.
    idempotency_key BLOB
) STRICT;
-- Those that were brought along with ids of their own, which do not begin with the time.
CREATE INDEX nahook_event_given ON nahook_event (accepted_at, id) WHERE id >= x'ff';

-- What a key stands for, until it has run out.
CREATE TABLE nahook_idempotency_key (
    endpoint INTEGER NOT NULL,
    key BLOB NOT NULL,
    -- The 128 bits of the delivery's message, big-endian: the event may be forgotten before the key is.
    message BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX nahook_idempotency_key_by_age ON nahook_idempotency_key (claimed_at);

CREATE TABLE nahook_delivery (
    -- The event's number times 2^20, plus the ordinal.
    key INTEGER PRIMARY KEY,
    endpoint INTEGER NOT NULL,
    -- 0 pending, 1 scheduled retry, 2 delivered, 3 failed, 4 dead letter; 5 more where a queue elsewhere carries it. Absent
    -- while it is fresh: pending, and nothing has become of it since it was queued.
    status INTEGER,
    attempts INTEGER NOT NULL,
    -- Present where it waits for time.
    due_at INTEGER,
    -- Present where a queue elsewhere carries it: when it is to be attempted again there, else 0.
    recorded_retry_at INTEGER,
    first_attempt_at INTEGER,
    delivered_at INTEGER,
    -- Absent while nothing has changed since the event was accepted.
    updated_at INTEGER
) STRICT;
-- An endpoint's deliveries of one status in the order of their keys: for the lists, and for leasing what is pending. What waits
-- for time is found by that. A wide event has fresh deliveries for many endpoints, whose places here are far apart; they enter
-- when something becomes of them, and until then are found in an index in which all of an event's stand side by side.
CREATE INDEX nahook_delivery_by_status ON nahook_delivery (endpoint, status) WHERE status IS NOT NULL;
CREATE INDEX nahook_delivery_fresh ON nahook_delivery (status) WHERE status IS NULL;
CREATE INDEX nahook_delivery_retry ON nahook_delivery (endpoint, due_at) WHERE status = 1;

CREATE TABLE nahook_attempt (
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    status_code INTEGER,
    error TEXT,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- When those will have recovered who take longer than a restart. Level: 0 workspace, 1 key.
CREATE TABLE nahook_limiter_arrival (
    level INTEGER NOT NULL,
    id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    PRIMARY KEY (level, id)
) STRICT, WITHOUT ROWID;
