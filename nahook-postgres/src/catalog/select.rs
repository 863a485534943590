//! Reading what is asked for: a statement a selection, each answered from an index.

use std::collections::HashSet;
use std::hash::Hash;

use nahook_control::{RowKind, Select, Snapshot};
use nahook_core::id::{EventTypeId, WorkspaceId};
use tokio_postgres::Row;

use super::columns;
use super::read::{
    api_key_at, application_at, endpoint_at, environment_at, event_type_at, management_token_at,
    pattern_at, publication_at, subscriber_at, subscription_at, workspace_at,
};
use crate::error::PgError;
use crate::parameter::Parameter;
use crate::row::{parsed_at, value_at};

/// Selects the rows of the workspace $1 of one kind, by its table's alias, of which the rest is true.
macro_rules! selections {
    ($($name:ident $kind:ident $alias:literal $rest:literal;)+) => {$(
        const $name: &str = columns::$kind!(
            "$1::text",
            "WHERE ",
            $alias,
            ".workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) ",
            $rest
        );
    )+};
}

selections! {
    ANY_ENDPOINT_IN endpoints "e"
        "AND e.deleted_at IS NULL AND e.environment = (SELECT o.row FROM environment o WHERE o.id = $2) LIMIT 1";
    API_KEY api_keys "k" "AND k.id = $2";
    API_KEY_CALLED api_keys "k" "AND k.name = $2";
    API_KEYS api_keys "k" "ORDER BY k.row";
    APPLICATIONS applications "a" "AND a.deleted_at IS NULL ORDER BY a.row OFFSET $2 LIMIT $3";
    APPLICATIONS_LIKE applications "a" "AND a.deleted_at IS NULL
        AND (strpos(lower(a.name COLLATE \"C\"), $2) > 0 OR strpos(lower(a.external_id COLLATE \"C\"), $2) > 0 OR lower(a.id COLLATE \"C\") = $2)
        ORDER BY a.row LIMIT $3";
    APPLICATION applications "a" "AND a.deleted_at IS NULL AND a.id = $2";
    APPLICATION_CALLED applications "a" "AND a.deleted_at IS NULL AND a.external_id = $2";
    ENDPOINT endpoints "e" "AND e.deleted_at IS NULL AND e.id = $2";
    ENDPOINTS endpoints "e" "AND e.deleted_at IS NULL ORDER BY e.row";
    ENDPOINTS_OF endpoints "e"
        "AND e.deleted_at IS NULL AND e.application = (SELECT o.row FROM application o WHERE o.id = $2) ORDER BY e.row";
    ENVIRONMENTS environments "n" "AND n.deleted_at IS NULL ORDER BY n.row";
    EVENT_TYPES event_types "t" "AND t.deleted_at IS NULL ORDER BY t.row";
    EVENT_TYPES_WITH event_types "t" "AND t.deleted_at IS NULL AND t.id = ANY($2::text[]) ORDER BY t.row";
    MANAGEMENT_TOKEN management_tokens "t" "AND t.id = $2";
    MANAGEMENT_TOKEN_CALLED management_tokens "t" "AND t.name = $2";
    MANAGEMENT_TOKENS management_tokens "t" "ORDER BY t.row";
    PATTERN patterns "p" "AND e.id = $2 AND p.id = $3";
    PATTERN_CALLED patterns "p" "AND p.endpoint = (SELECT o.row FROM endpoint o WHERE o.id = $2) AND p.pattern = $3";
    PATTERNS patterns "p" "ORDER BY p.row";
    PATTERNS_OF patterns "p" "AND p.endpoint = (SELECT o.row FROM endpoint o WHERE o.id = $2) ORDER BY p.row";
    PUBLICATION publications "p" "AND p.environment = (SELECT o.row FROM environment o WHERE o.id = $2)
        AND p.event_type = (SELECT o.row FROM event_type o WHERE o.id = $3)";
    PUBLICATIONS_IN publications "p"
        "AND p.environment = (SELECT o.row FROM environment o WHERE o.id = $2) ORDER BY p.row";
    SUBSCRIPTIONS subscriptions "s" "AND s.is_named AND s.endpoint = (SELECT o.row FROM endpoint o WHERE o.id = $2)
        AND s.event_type = ANY(SELECT o.row FROM event_type o WHERE o.id = ANY($3::text[])) ORDER BY s.row";
    SUBSCRIPTIONS_OF subscriptions "s"
        "AND s.is_named AND s.endpoint = (SELECT o.row FROM endpoint o WHERE o.id = $2) ORDER BY s.row";
    SUBSCRIBERS_TO subscribers "s" "AND s.event_type = (SELECT o.row FROM event_type o WHERE o.id = $2) ORDER BY s.row";
}

const ENDPOINT_COUNT_OF: &str = "
SELECT $2::text, count(*) FROM (
    SELECT FROM endpoint e
    WHERE e.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) AND e.deleted_at IS NULL
        AND e.application = (SELECT o.row FROM application o WHERE o.id = $2)
    LIMIT coalesce((SELECT o.max_endpoints FROM application o WHERE o.id = $2), 0)) counted";
const ROW_COUNTS: &str = "
SELECT c.kind, c.rows FROM row_count c WHERE c.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)";
const SUBSCRIBER_COUNTS: &str = "
SELECT t.id, c.subscribers
FROM (SELECT s.event_type, count(*) AS subscribers FROM subscription s
    WHERE s.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) GROUP BY s.event_type) c
JOIN event_type t ON t.row = c.event_type";
const SUBSCRIBER_COUNTS_OF: &str = "
SELECT t.id, c.subscribers
FROM event_type t
CROSS JOIN LATERAL (SELECT count(*) AS subscribers FROM subscription s WHERE s.event_type = t.row) c
WHERE t.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1) AND t.id = ANY($2::text[]) AND c.subscribers > 0";
const WORKSPACE: &str = columns::workspaces!("WHERE w.id = $1");

/// Whoever changes the workspace waits for the others; who only refers to it does not.
const LOCK: &str = "SELECT w.row FROM workspace w WHERE w.id = $1 FOR NO KEY UPDATE";

/// A selection's statement, its parameters, and where its rows go.
pub(crate) struct Query {
    pub(crate) statement: &'static str,
    pub(crate) parameters: Vec<Box<dyn Parameter + Send>>,
    take: Take,
}

type Take = fn(&[Row], &mut Snapshot) -> Result<(), PgError>;

impl Query {
    /// Waits until nobody else changes the workspace; a row says that it exists.
    pub(crate) fn lock(workspace: &WorkspaceId) -> Self {
        Self {
            statement: LOCK,
            parameters: vec![Box::new(workspace.as_str().to_owned())],
            take: |_, _| Ok(()),
        }
    }

    /// Reads the selected rows.
    pub(crate) fn of(workspace: &WorkspaceId, select: &Select) -> Self {
        let one = |id: &str| Box::new(id.to_owned()) as Box<dyn Parameter + Send>;
        let text = |id: &str| vec![one(id)];
        let pair = |id: &str, other: &str| vec![one(id), one(other)];
        let texts = |ids: &[EventTypeId]| {
            let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
            Box::new(ids) as Box<dyn Parameter + Send>
        };
        let (statement, further, take): (_, _, Take) = match select {
            Select::AnyEndpointIn(id) => (ANY_ENDPOINT_IN, text(id.as_str()), take_endpoints),
            Select::ApiKey(id) => (API_KEY, text(id.as_str()), take_api_keys),
            Select::ApiKeyCalled(name) => (API_KEY_CALLED, text(name), take_api_keys),
            Select::ApiKeys => (API_KEYS, vec![], take_api_keys),
            Select::Applications { offset, limit } => {
                return Self {
                    statement: APPLICATIONS,
                    parameters: vec![
                        Box::new(workspace.as_str().to_owned()),
                        Box::new(count(*offset)),
                        Box::new(count(*limit)),
                    ],
                    take: take_applications,
                };
            }
            Select::ApplicationsLike { text, limit } => {
                let further = vec![
                    one(&text.to_ascii_lowercase()),
                    Box::new(count(*limit)) as _,
                ];
                (APPLICATIONS_LIKE, further, take_applications)
            }
            Select::Application(id) => (APPLICATION, text(id.as_str()), take_applications),
            Select::ApplicationCalled(name) => (APPLICATION_CALLED, text(name), take_applications),
            Select::Endpoint(id) => (ENDPOINT, text(id.as_str()), take_endpoints),
            Select::EndpointCountOf(id) => {
                (ENDPOINT_COUNT_OF, text(id.as_str()), take_endpoint_counts)
            }
            Select::Endpoints => (ENDPOINTS, vec![], take_endpoints),
            Select::EndpointsOf(id) => (ENDPOINTS_OF, text(id.as_str()), take_endpoints),
            Select::Environments => (ENVIRONMENTS, vec![], take_environments),
            Select::EventTypes => (EVENT_TYPES, vec![], take_event_types),
            Select::EventTypesWith(ids) => (EVENT_TYPES_WITH, vec![texts(ids)], take_event_types),
            Select::ManagementToken(id) => {
                (MANAGEMENT_TOKEN, text(id.as_str()), take_management_tokens)
            }
            Select::ManagementTokenCalled(name) => {
                (MANAGEMENT_TOKEN_CALLED, text(name), take_management_tokens)
            }
            Select::ManagementTokens => (MANAGEMENT_TOKENS, vec![], take_management_tokens),
            Select::Pattern(endpoint, id) => {
                (PATTERN, pair(endpoint.as_str(), id.as_str()), take_patterns)
            }
            Select::PatternCalled(endpoint, pattern) => {
                let pair = pair(endpoint.as_str(), pattern.as_str());
                (PATTERN_CALLED, pair, take_patterns)
            }
            Select::Patterns => (PATTERNS, vec![], take_patterns),
            Select::PatternsOf(id) => (PATTERNS_OF, text(id.as_str()), take_patterns),
            Select::Publication(environment, event_type) => {
                let pair = pair(environment.as_str(), event_type.as_str());
                (PUBLICATION, pair, take_publications)
            }
            Select::PublicationsIn(id) => (PUBLICATIONS_IN, text(id.as_str()), take_publications),
            Select::RowCounts => (ROW_COUNTS, vec![], take_row_counts),
            Select::SubscriberCounts(None) => (SUBSCRIBER_COUNTS, vec![], take_subscriber_counts),
            Select::SubscriberCounts(Some(ids)) => (
                SUBSCRIBER_COUNTS_OF,
                vec![texts(ids)],
                take_subscriber_counts,
            ),
            Select::SubscribersTo(id) => (SUBSCRIBERS_TO, text(id.as_str()), take_subscribers),
            Select::Subscriptions(endpoint, ids) => {
                let further = vec![one(endpoint.as_str()), texts(ids)];
                (SUBSCRIPTIONS, further, take_subscriptions)
            }
            Select::SubscriptionsOf(id) => {
                (SUBSCRIPTIONS_OF, text(id.as_str()), take_subscriptions)
            }
            Select::Workspace => (WORKSPACE, vec![], take_workspaces),
        };
        let mut parameters = vec![Box::new(workspace.as_str().to_owned()) as _];
        parameters.extend(further);
        Self {
            statement,
            parameters,
            take,
        }
    }

    /// Puts the rows to those that are there already.
    pub(crate) fn take(&self, rows: &[Row], snapshot: &mut Snapshot) -> Result<(), PgError> {
        (self.take)(rows, snapshot)
    }
}

/// A count as Postgres knows it; there are never as many rows.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Adds the rows of each kind to those read so far, each once.
macro_rules! takes {
    ($($name:ident $kind:ident $read:ident |$row:ident| $identity:expr;)+) => {$(
        fn $name(rows: &[Row], snapshot: &mut Snapshot) -> Result<(), PgError> {
            add(&mut snapshot.$kind, rows, $read, |$row| $identity)
        }
    )+};
}

takes! {
    take_api_keys api_keys api_key_at |row| row.id;
    take_applications applications application_at |row| row.id;
    take_endpoints endpoints endpoint_at |row| row.id;
    take_environments environments environment_at |row| row.id;
    take_event_types event_types event_type_at |row| row.id;
    take_management_tokens management_tokens management_token_at |row| row.id;
    take_patterns patterns pattern_at |row| row.id;
    take_publications publications publication_at |row| (row.environment, row.event_type);
    take_subscribers subscribers subscriber_at |row| (row.event_type, row.endpoint);
    take_subscriptions subscriptions subscription_at |row| row.id;
    take_workspaces workspaces workspace_at |row| row.id;
}

fn take_subscriber_counts(rows: &[Row], snapshot: &mut Snapshot) -> Result<(), PgError> {
    for row in rows {
        let subscribers = u64::try_from(value_at::<i64>(row, 1)?).unwrap_or(0);
        snapshot
            .subscriber_counts
            .insert(parsed_at(row, 0)?, subscribers);
    }
    Ok(())
}

fn take_row_counts(rows: &[Row], snapshot: &mut Snapshot) -> Result<(), PgError> {
    for row in rows {
        let count = u64::try_from(value_at::<i64>(row, 1)?).unwrap_or(0);
        let kind = RowKind::named(value_at(row, 0)?);
        snapshot.row_counts.extend(kind.map(|kind| (kind, count)));
    }
    Ok(())
}

fn take_endpoint_counts(rows: &[Row], snapshot: &mut Snapshot) -> Result<(), PgError> {
    for row in rows {
        let endpoints = u64::try_from(value_at::<i64>(row, 1)?).unwrap_or(0);
        let application = parsed_at(row, 0)?;
        snapshot.endpoint_counts.insert(application, endpoints);
    }
    Ok(())
}

fn add<T, K: Eq + Hash>(
    there: &mut Vec<T>,
    rows: &[Row],
    read: fn(&Row) -> Result<T, PgError>,
    identity: fn(&T) -> K,
) -> Result<(), PgError> {
    let known: HashSet<_> = there.iter().map(identity).collect();
    for row in rows {
        let row = read(row)?;
        if !known.contains(&identity(&row)) {
            there.push(row);
        }
    }
    Ok(())
}
