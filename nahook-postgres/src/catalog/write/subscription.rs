//! Subscriptions by name and by pattern. The table `subscription` has a row for each endpoint that an event type fans out to; those
//! that patterns alone gave are not named.

use nahook_control::{EventTypeRecord, PatternRecord, SubscriptionRecord, Verb, pattern_prefixes};

use super::{Write, write_of};
use crate::row::nanos;

/// True if the pattern `p` matches the event type `t`: `EventTypePattern::matches`.
macro_rules! matches {
    () => {
        "starts_with(t.name, p.prefix)
         AND (p.is_deep OR strpos(substr(t.name, length(p.prefix) + 1), '.') = 0)"
    };
}

/// The names below a prefix are a range of the index of names, whose characters all sort before `~`.
///
/// Subscriptions that patterns alone give. Nobody sees their ids; both numbers make them unique.
macro_rules! subscribe {
    ($from:literal, $created_at:literal) => {
        concat!(
            "INSERT INTO subscription (id, workspace, endpoint, event_type, created_at, is_named)
             SELECT 'sub_' || p.endpoint || '_' || t.row, p.workspace, p.endpoint, t.row, ",
            $created_at,
            ", false ",
            $from,
            " AND ",
            matches!(),
            " ORDER BY p.row, t.row ON CONFLICT (endpoint, event_type) DO NOTHING"
        )
    };
}

/// Also subscribes the endpoints whose patterns match the event type.
const NEW_EVENT_TYPE: &str = concat!(
    "WITH made AS (
         INSERT INTO event_type AS t (id, workspace, name, description, created_at)
         SELECT $1, w.row, $3, $4, $5 FROM workspace w WHERE w.id = $2
         ON CONFLICT (id) DO UPDATE SET name = $3, description = $4, created_at = $5, deleted_at = NULL
         WHERE t.deleted_at IS NOT NULL AND t.workspace = excluded.workspace
         RETURNING t.row, t.workspace, t.name
     ), matching AS (",
    subscribe!(
        "FROM made t JOIN pattern p ON p.workspace = t.workspace AND p.prefix = ANY($6::text[])",
        "$5::bigint"
    ),
    ") SELECT row FROM made"
);

/// Also subscribes the endpoint to the event types that the pattern matches.
const NEW_PATTERN: &str = concat!(
    "WITH made AS (
         INSERT INTO pattern AS p (id, workspace, endpoint, pattern, prefix, is_deep, created_at)
         SELECT $1, w.row, e.row, $4, $5, $6, $7
         FROM workspace w JOIN endpoint e ON e.id = $3 AND e.workspace = w.row AND e.deleted_at IS NULL
         WHERE w.id = $2
         RETURNING p.row, p.workspace, p.endpoint, p.prefix, p.is_deep
     ), matching AS (",
    subscribe!(
        "FROM made p JOIN event_type t ON t.workspace = p.workspace AND t.deleted_at IS NULL
             AND t.name >= p.prefix AND t.name < p.prefix || '~'",
        "$7::bigint"
    ),
    ") SELECT row FROM made"
);

/// Leaves what other patterns give, and what the endpoint is subscribed to by name.
const PATTERN_GOES: &str = concat!(
    "WITH gone AS (
         DELETE FROM pattern p USING workspace w
         WHERE p.id = $1 AND w.id = $2 AND p.workspace = w.row RETURNING p.row, p.workspace, p.endpoint, p.prefix
     ), ended AS (
         DELETE FROM subscription s USING gone g, event_type t
         WHERE s.endpoint = g.endpoint AND NOT s.is_named AND t.row = s.event_type
             AND t.workspace = g.workspace AND t.deleted_at IS NULL
             AND t.name >= g.prefix AND t.name < g.prefix || '~'
             AND NOT EXISTS (SELECT FROM pattern p
                 WHERE p.endpoint = g.endpoint AND p.row <> g.row AND ",
    matches!(),
    ")
     ) SELECT row FROM gone"
);

/// One that a pattern gives as well stays, and is not named any more.
const SUBSCRIPTION_GOES: &str = concat!(
    "WITH found AS MATERIALIZED (
         SELECT s.row, EXISTS (SELECT FROM pattern p WHERE p.endpoint = s.endpoint AND ",
    matches!(),
    ") AS is_matched
         FROM subscription s JOIN workspace w ON w.row = s.workspace JOIN event_type t ON t.row = s.event_type
         WHERE s.id = $1 AND w.id = $2
     ), kept AS (
         UPDATE subscription s SET is_named = false FROM found f WHERE s.row = f.row AND f.is_matched
     ), ended AS (
         DELETE FROM subscription s USING found f WHERE s.row = f.row AND NOT f.is_matched
     ) SELECT row FROM found"
);

pub(super) fn new_event_type(row: &EventTypeRecord) -> Write {
    write_of!(
        NEW_EVENT_TYPE,
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.name.as_str().to_owned(),
        row.description.clone(),
        nanos(row.created_at),
        pattern_prefixes(&row.name)
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    )
}

/// One that a pattern gave already keeps its place, and is named from then on.
pub(super) fn subscription(row: SubscriptionRecord) -> Write {
    write_of!(
        "INSERT INTO subscription AS s (id, workspace, endpoint, event_type, created_at, is_named)
         SELECT $1, w.row, e.row, t.row, $5, true FROM workspace w
         JOIN endpoint e ON e.id = $3 AND e.workspace = w.row AND e.deleted_at IS NULL
         JOIN event_type t ON t.id = $4 AND t.workspace = w.row AND t.deleted_at IS NULL
         WHERE w.id = $2
         ON CONFLICT (endpoint, event_type) DO UPDATE SET id = $1, created_at = $5, is_named = true
         WHERE NOT s.is_named",
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
        row.endpoint.as_str().to_owned(),
        row.event_type.as_str().to_owned(),
        nanos(row.created_at),
    )
}

pub(super) fn pattern(verb: Verb, row: &PatternRecord) -> Write {
    let (id, workspace) = (
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
    );
    if verb == Verb::Remove {
        return write_of!(PATTERN_GOES, id, workspace);
    }
    write_of!(
        NEW_PATTERN,
        id,
        workspace,
        row.endpoint.as_str().to_owned(),
        row.pattern.as_str().to_owned(),
        row.pattern.prefix().to_owned(),
        row.pattern.is_deep(),
        nanos(row.created_at),
    )
}

pub(super) fn unsubscription(row: SubscriptionRecord) -> Write {
    write_of!(
        SUBSCRIPTION_GOES,
        row.id.as_str().to_owned(),
        row.workspace.as_str().to_owned(),
    )
}
