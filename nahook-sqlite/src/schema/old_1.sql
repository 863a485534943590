-- Version 1. Rows refer to one another by number; text ids live at the edge. Instants are nanoseconds since the Unix epoch.
-- 64-bit quantities without a sign are kept with the same bits.

CREATE TABLE catalog_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    -- Raised by every change of the catalog, in its transaction: what a cache compares.
    version INTEGER NOT NULL,
    -- Raised to overwrite the tail that an unclear commit may have left in the log.
    overwrites INTEGER NOT NULL
) STRICT;
INSERT INTO catalog_state VALUES (1, 1, 0);

CREATE TABLE workspace (
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
CREATE TABLE environment (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    is_default INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX environment_by_slug ON environment (workspace, slug) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE event_type (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    name TEXT NOT NULL,
    description TEXT,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX event_type_by_name ON event_type (workspace, name) WHERE deleted_at IS NULL;

-- Likewise.
CREATE TABLE application (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    external_id TEXT,
    name TEXT NOT NULL,
    metadata TEXT NOT NULL,
    max_endpoints INTEGER,
    show_event_types INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX application_by_external_id ON application (workspace, external_id) WHERE deleted_at IS NULL;
CREATE INDEX application_by_workspace ON application (workspace) WHERE deleted_at IS NULL;

CREATE TABLE portal_session (
    row INTEGER PRIMARY KEY,
    -- The hash of its code.
    code BLOB NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    application INTEGER NOT NULL REFERENCES application,
    -- 0 admin, 1 editor, 2 viewer.
    role INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    code_expires_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX portal_session_by_application ON portal_session (application);
CREATE INDEX portal_session_by_end ON portal_session (expires_at);

-- A deleted row stays here too.
CREATE TABLE endpoint (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    environment INTEGER NOT NULL REFERENCES environment,
    application INTEGER REFERENCES application,
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
CREATE INDEX endpoint_by_workspace ON endpoint (workspace) WHERE deleted_at IS NULL;
CREATE INDEX endpoint_by_application ON endpoint (application) WHERE deleted_at IS NULL;

-- Rows are numbered in the order of subscribing.
CREATE TABLE subscription (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    endpoint INTEGER NOT NULL REFERENCES endpoint,
    event_type INTEGER NOT NULL REFERENCES event_type,
    created_at INTEGER NOT NULL,
    UNIQUE (endpoint, event_type)
) STRICT;
CREATE INDEX subscription_by_event_type ON subscription (event_type);
CREATE INDEX subscription_by_workspace ON subscription (workspace);

CREATE TABLE publication (
    row INTEGER PRIMARY KEY,
    workspace INTEGER NOT NULL REFERENCES workspace,
    environment INTEGER NOT NULL REFERENCES environment,
    event_type INTEGER NOT NULL REFERENCES event_type,
    UNIQUE (environment, event_type)
) STRICT;
CREATE INDEX publication_by_event_type ON publication (event_type);
CREATE INDEX publication_by_workspace ON publication (workspace);

-- State of keys and tokens: 0 active, 1 disabled, 2 revoked.
CREATE TABLE api_key (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    environment INTEGER REFERENCES environment,
    endpoint INTEGER REFERENCES endpoint,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT;
CREATE INDEX api_key_by_environment ON api_key (environment) WHERE environment IS NOT NULL;
CREATE INDEX api_key_by_endpoint ON api_key (endpoint) WHERE endpoint IS NOT NULL;

CREATE TABLE management_token (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    workspace INTEGER NOT NULL REFERENCES workspace,
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    state INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (workspace, name)
) STRICT;

-- Who changed what, in the order of writing. The index holds all that a page is chosen by.
CREATE TABLE audit_entry (
    row INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    workspace INTEGER NOT NULL REFERENCES workspace,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_label TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_entry_by_workspace
    ON audit_entry (workspace, row, created_at, action, resource_type, actor_kind);

-- What the front ends seal cursors with; drawn when it is first asked for.
CREATE TABLE sealing_key (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    key BLOB NOT NULL
) STRICT;

-- The payload once, whatever the width. No foreign keys from here on: the writer looks every row up before it refers to it.
CREATE TABLE event (
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
CREATE INDEX event_given ON event (accepted_at, id) WHERE id >= x'ff';

-- What a key stands for, until it has run out.
CREATE TABLE idempotency_key (
    endpoint INTEGER NOT NULL,
    key BLOB NOT NULL,
    -- The 128 bits of the delivery's message, big-endian: the event may be forgotten before the key is.
    message BLOB NOT NULL,
    claimed_at INTEGER NOT NULL,
    PRIMARY KEY (endpoint, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_key_by_age ON idempotency_key (claimed_at);

CREATE TABLE delivery (
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
CREATE INDEX delivery_by_status ON delivery (endpoint, status) WHERE status IS NOT NULL;
CREATE INDEX delivery_fresh ON delivery (status) WHERE status IS NULL;
CREATE INDEX delivery_retry ON delivery (endpoint, due_at) WHERE status = 1;

CREATE TABLE attempt (
    delivery INTEGER NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    duration INTEGER NOT NULL,
    status_code INTEGER,
    error TEXT,
    PRIMARY KEY (delivery, number)
) STRICT, WITHOUT ROWID;

-- When those will have recovered who take longer than a restart. Level: 0 workspace, 1 key.
CREATE TABLE limiter_arrival (
    level INTEGER NOT NULL,
    id TEXT NOT NULL,
    arrival INTEGER NOT NULL,
    PRIMARY KEY (level, id)
) STRICT, WITHOUT ROWID;
