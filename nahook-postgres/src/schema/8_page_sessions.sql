-- Sessions of the dashboard and of the portal. One of them is the holder: the token with that hash, or the application in that role.
CREATE TABLE {schema}.page_session (
    -- The hash of the secret that its holder presents.
    id bytea PRIMARY KEY,
    workspace text COLLATE "C" NOT NULL,
    token bytea,
    application text COLLATE "C",
    -- 0 admin, 1 editor, 2 viewer.
    role smallint,
    created_at bigint NOT NULL,
    seen_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE INDEX page_session_by_end ON {schema}.page_session (expires_at);
