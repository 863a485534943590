-- Sessions of the dashboard and of the portal. One of them is the holder: the token with that hash, or the application in that role.
CREATE TABLE nahook_page_session (
    row INTEGER PRIMARY KEY,
    -- The hash of the secret that its holder presents.
    id BLOB NOT NULL UNIQUE,
    workspace TEXT NOT NULL,
    token BLOB,
    application TEXT,
    -- 0 admin, 1 editor, 2 viewer.
    role INTEGER,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX nahook_page_session_by_end ON nahook_page_session (expires_at);
