//! Reading what was selected of a workspace, each selection by one statement that an index answers.

use std::collections::HashSet;
use std::hash::Hash;

use nahook_control::{PublicationRecord, RowKind, Select, Snapshot, SubscriberRecord};
use nahook_core::id::{EnvironmentId, EventTypeId, WorkspaceId};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::rows::{
    API_KEY, APPLICATION, ENDPOINT, ENVIRONMENT, EVENT_TYPE, MANAGEMENT_TOKEN, PATTERN,
    PUBLICATION, SUBSCRIBER, SUBSCRIPTION, WORKSPACE, api_key_at, application_at, endpoint_at,
    environment_at, event_type_at, management_token_at, pattern_at, publication_at, subscriber_at,
    subscription_at, workspace_at,
};
use crate::row::{count_at, parsed_at};

/// The selected rows; none of a workspace that does not exist.
pub(super) fn selected(
    connection: &Connection,
    workspace: WorkspaceId,
    selection: &[Select],
) -> rusqlite::Result<Snapshot> {
    let mut rows = Snapshot::default();
    if let Some(row) = workspace_row(connection, workspace)? {
        for select in selection {
            add(&mut rows, connection, (row, workspace), select)?;
        }
    }
    Ok(rows)
}

/// A workspace's number and its id.
pub(super) type Owner = (i64, WorkspaceId);

/// Adds the selected rows that are not there yet.
#[expect(clippy::too_many_lines, reason = "an arm for each selection")]
pub(super) fn add(
    rows: &mut Snapshot,
    connection: &Connection,
    owner: Owner,
    select: &Select,
) -> rusqlite::Result<()> {
    let reading = Reading {
        connection,
        owner,
        statement: statement(select),
    };
    let row = owner.0;
    // Reads the rows with these parameters, and adds them to those of their kind.
    macro_rules! take {
        ($kind:ident, $read:expr, [$($parameter:expr),*], $key:expr) => {{
            let found = reading.all(params![row $(, $parameter)*], $read)?;
            merge(&mut rows.$kind, found, $key);
        }};
        ($kind:ident, $read:expr $(, $parameter:expr)*) => {
            take!($kind, $read, [$($parameter),*], |row| row.id)
        };
    }
    match select {
        Select::AnyEndpointIn(id) => take!(endpoints, endpoint_at, id.as_str()),
        Select::ApiKey(id) => take!(api_keys, api_key_at, id.as_str()),
        Select::ApiKeyCalled(name) => take!(api_keys, api_key_at, name),
        Select::ApiKeys => take!(api_keys, api_key_at),
        Select::Applications { offset, limit } => {
            take!(
                applications,
                application_at,
                bounded(*limit),
                bounded(*offset)
            );
        }
        Select::ApplicationsLike { text, limit } => {
            let text = text.to_ascii_lowercase();
            take!(applications, application_at, text, bounded(*limit));
        }
        Select::Application(id) => take!(applications, application_at, id.as_str()),
        Select::ApplicationCalled(name) => take!(applications, application_at, name),
        Select::Endpoint(id) => take!(endpoints, endpoint_at, id.as_str()),
        Select::EndpointCountOf(id) => {
            let found = reading.all(params![row, id.as_str()], |row, _| count_at(row, 0))?;
            let count = found.into_iter().next().unwrap_or(0);
            rows.endpoint_counts.insert(*id, count);
        }
        Select::Endpoints => take!(endpoints, endpoint_at),
        Select::EndpointsOf(id) => take!(endpoints, endpoint_at, id.as_str()),
        Select::Environments => take!(environments, environment_at),
        Select::EventTypesWith(ids) => {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                found.extend(reading.all(params![row, id.as_str()], |row, workspace| {
                    Ok((row.get::<_, i64>(4)?, event_type_at(row, workspace)?))
                })?);
            }
            found.sort_by_key(|(made, _)| *made);
            let found = found.into_iter().map(|(_, row)| row).collect();
            merge(&mut rows.event_types, found, |row| row.id);
        }
        Select::EventTypes => take!(event_types, event_type_at),
        Select::ManagementToken(id) => take!(management_tokens, management_token_at, id.as_str()),
        Select::ManagementTokenCalled(name) => take!(management_tokens, management_token_at, name),
        Select::ManagementTokens => take!(management_tokens, management_token_at),
        Select::Pattern(endpoint, id) => {
            take!(patterns, pattern_at, endpoint.as_str(), id.as_str());
        }
        Select::PatternCalled(endpoint, pattern) => {
            take!(patterns, pattern_at, endpoint.as_str(), pattern.as_str());
        }
        Select::Patterns => take!(patterns, pattern_at),
        Select::PatternsOf(id) => take!(patterns, pattern_at, id.as_str()),
        Select::Publication(environment, event_type) => {
            let ids = [environment.as_str(), event_type.as_str()];
            take!(
                publications,
                publication_at,
                [ids[0], ids[1]],
                publication_key
            );
        }
        Select::PublicationsIn(id) => {
            take!(publications, publication_at, [id.as_str()], publication_key);
        }
        Select::RowCounts => {
            let found = reading.all(params![row], |row, _| {
                Ok((row.get::<_, String>(0)?, count_at(row, 1)?))
            })?;
            let known = |(name, count): (String, u64)| Some((RowKind::named(&name)?, count));
            rows.row_counts.extend(found.into_iter().filter_map(known));
        }
        Select::SubscriberCounts(None) => {
            let found = reading.all(params![row], subscribers_at)?;
            let subscribed = found.into_iter().filter(|(_, count)| *count > 0);
            rows.subscriber_counts.extend(subscribed);
        }
        Select::SubscriberCounts(Some(ids)) => {
            for id in ids {
                let found = reading.all(params![row, id.as_str()], subscribers_at)?;
                let subscribed = found.into_iter().filter(|(_, count)| *count > 0);
                rows.subscriber_counts.extend(subscribed);
            }
        }
        Select::SubscribersTo(id) => {
            let key = |row: &SubscriberRecord| (row.event_type, row.endpoint);
            take!(subscribers, subscriber_at, [id.as_str()], key);
        }
        Select::Subscriptions(endpoint, ids) => {
            for id in ids {
                take!(
                    subscriptions,
                    subscription_at,
                    endpoint.as_str(),
                    id.as_str()
                );
            }
        }
        Select::SubscriptionsOf(id) => take!(subscriptions, subscription_at, id.as_str()),
        Select::Workspace => take!(workspaces, |row, _| workspace_at(row)),
    }
    Ok(())
}

fn publication_key(row: &PublicationRecord) -> (EnvironmentId, EventTypeId) {
    (row.environment, row.event_type)
}

/// Builds the query of the selected rows, or of one of the selected ids; `?1` is the workspace's number and `?2` the
/// id.
///
/// A plus sign keeps SQLite from the index of a column where another's finds fewer rows.
#[expect(clippy::too_many_lines, reason = "an arm for each selection")]
fn statement(select: &Select) -> String {
    match select {
        Select::AnyEndpointIn(_) => format!(
            "{ENDPOINT} WHERE +endpoint.workspace = ?1 AND endpoint.deleted_at IS NULL
             AND endpoint.environment = (SELECT row FROM nahook_environment WHERE id = ?2)
             LIMIT 1"
        ),
        Select::ApiKey(_) => {
            format!("{API_KEY} WHERE api_key.id = ?2 AND +api_key.workspace = ?1")
        }
        Select::ApiKeyCalled(_) => {
            format!("{API_KEY} WHERE api_key.workspace = ?1 AND api_key.name = ?2")
        }
        Select::ApiKeys => format!("{API_KEY} WHERE api_key.workspace = ?1 ORDER BY api_key.row"),
        Select::Applications { .. } => format!(
            "{APPLICATION} WHERE workspace = ?1 AND deleted_at IS NULL
             ORDER BY row LIMIT ?2 OFFSET ?3"
        ),
        Select::ApplicationsLike { .. } => format!(
            "{APPLICATION} WHERE workspace = ?1 AND deleted_at IS NULL
             AND (instr(lower(name), ?2) > 0 OR instr(lower(external_id), ?2) > 0 OR lower(id) = ?2)
             ORDER BY row LIMIT ?3"
        ),
        Select::Application(_) => {
            format!("{APPLICATION} WHERE id = ?2 AND +workspace = ?1 AND deleted_at IS NULL")
        }
        Select::ApplicationCalled(_) => format!(
            "{APPLICATION} WHERE workspace = ?1 AND external_id = ?2 AND deleted_at IS NULL"
        ),
        Select::Endpoint(_) => format!(
            "{ENDPOINT} WHERE endpoint.id = ?2 AND +endpoint.workspace = ?1
             AND endpoint.deleted_at IS NULL"
        ),
        Select::EndpointCountOf(_) => "SELECT count(*) FROM (SELECT 1 FROM nahook_endpoint
             WHERE application = (SELECT row FROM nahook_application WHERE id = ?2)
                 AND +workspace = ?1 AND deleted_at IS NULL
             LIMIT coalesce((SELECT max_endpoints FROM nahook_application WHERE id = ?2), 0))"
            .to_owned(),
        Select::Endpoints => format!(
            "{ENDPOINT} WHERE endpoint.workspace = ?1 AND endpoint.deleted_at IS NULL
             ORDER BY endpoint.row"
        ),
        Select::EndpointsOf(_) => format!(
            "{ENDPOINT} WHERE +endpoint.workspace = ?1 AND endpoint.deleted_at IS NULL
             AND endpoint.application = (SELECT row FROM nahook_application WHERE id = ?2)
             ORDER BY endpoint.row"
        ),
        Select::Environments => {
            format!("{ENVIRONMENT} WHERE workspace = ?1 AND deleted_at IS NULL ORDER BY row")
        }
        Select::EventTypesWith(_) => {
            format!("{EVENT_TYPE} WHERE id = ?2 AND +workspace = ?1 AND deleted_at IS NULL")
        }
        Select::EventTypes => {
            format!("{EVENT_TYPE} WHERE workspace = ?1 AND deleted_at IS NULL ORDER BY row")
        }
        Select::ManagementToken(_) => {
            format!("{MANAGEMENT_TOKEN} WHERE id = ?2 AND +workspace = ?1")
        }
        Select::ManagementTokenCalled(_) => {
            format!("{MANAGEMENT_TOKEN} WHERE workspace = ?1 AND name = ?2")
        }
        Select::ManagementTokens => {
            format!("{MANAGEMENT_TOKEN} WHERE workspace = ?1 ORDER BY row")
        }
        Select::Pattern(..) => format!(
            "{PATTERN} WHERE pattern.id = ?3 AND +pattern.workspace = ?1 AND +endpoint.id = ?2"
        ),
        Select::PatternCalled(..) => format!(
            "{PATTERN} WHERE +pattern.workspace = ?1 AND pattern.pattern = ?3 AND pattern.endpoint =
                 (SELECT row FROM nahook_endpoint WHERE id = ?2)"
        ),
        Select::Patterns => {
            format!("{PATTERN} WHERE pattern.workspace = ?1 ORDER BY pattern.row")
        }
        Select::PatternsOf(_) => format!(
            "{PATTERN} WHERE +pattern.workspace = ?1 AND pattern.endpoint =
                 (SELECT row FROM nahook_endpoint WHERE id = ?2)
             ORDER BY pattern.row"
        ),
        Select::Publication(..) => format!(
            "{PUBLICATION} WHERE +publication.workspace = ?1
             AND publication.environment = (SELECT row FROM nahook_environment WHERE id = ?2)
             AND publication.event_type = (SELECT row FROM nahook_event_type WHERE id = ?3)"
        ),
        Select::PublicationsIn(_) => format!(
            "{PUBLICATION} WHERE +publication.workspace = ?1 AND publication.environment =
                 (SELECT row FROM nahook_environment WHERE id = ?2)
             ORDER BY publication.row"
        ),
        Select::RowCounts => {
            "SELECT kind, rows FROM nahook_row_count WHERE workspace = ?1".to_owned()
        }
        Select::SubscriberCounts(ids) => {
            let which = if ids.is_some() {
                "id = ?2 AND +workspace = ?1"
            } else {
                "workspace = ?1"
            };
            format!(
                "SELECT id, (SELECT count(*) FROM nahook_subscription WHERE event_type = event_type.row)
                 FROM nahook_event_type AS event_type WHERE {which} AND deleted_at IS NULL"
            )
        }
        Select::Subscriptions(..) => format!(
            "{SUBSCRIPTION} WHERE +subscription.workspace = ?1 AND subscription.is_named
             AND subscription.endpoint = (SELECT row FROM nahook_endpoint WHERE id = ?2)
             AND subscription.event_type = (SELECT row FROM nahook_event_type WHERE id = ?3)"
        ),
        Select::SubscriptionsOf(_) => format!(
            "{SUBSCRIPTION} WHERE +subscription.workspace = ?1 AND subscription.is_named
             AND subscription.endpoint = (SELECT row FROM nahook_endpoint WHERE id = ?2)
             ORDER BY subscription.row"
        ),
        Select::SubscribersTo(_) => format!(
            "{SUBSCRIBER} WHERE +subscription.workspace = ?1 AND subscription.event_type =
                 (SELECT row FROM nahook_event_type WHERE id = ?2)
             ORDER BY subscription.row"
        ),
        Select::Workspace => format!("{WORKSPACE} WHERE row = ?1"),
    }
}

struct Reading<'a> {
    connection: &'a Connection,
    owner: Owner,
    statement: String,
}

impl Reading<'_> {
    fn all<T>(
        &self,
        params: impl Params,
        made: impl Fn(&Row<'_>, WorkspaceId) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        self.connection
            .prepare_cached(&self.statement)?
            .query_map(params, |row| made(row, self.owner.1))?
            .collect()
    }
}

fn subscribers_at(row: &Row<'_>, _workspace: WorkspaceId) -> rusqlite::Result<(EventTypeId, u64)> {
    Ok((parsed_at(row, 0)?, count_at(row, 1)?))
}

/// Adds those that an earlier selection has not found.
fn merge<T, K: Eq + Hash>(rows: &mut Vec<T>, found: Vec<T>, key: impl Fn(&T) -> K) {
    let mut seen: HashSet<K> = rows.iter().map(&key).collect();
    rows.extend(found.into_iter().filter(|row| seen.insert(key(row))));
}

fn bounded(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(crate) fn workspace_row(
    connection: &Connection,
    id: WorkspaceId,
) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT row FROM nahook_workspace WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use nahook_core::id::{ApplicationId, EndpointId};

    use super::*;
    use crate::schema::{empty, plan_of};

    #[test]
    fn every_selection_is_answered_from_an_index() {
        let connection = empty();
        let (application, endpoint) = (ApplicationId::from_bits(1), EndpointId::from_bits(1));
        let (environment, event_type) = (EnvironmentId::from_bits(1), EventTypeId::from_bits(1));
        let selections = [
            Select::ApiKeys,
            Select::Applications {
                offset: 0,
                limit: 1,
            },
            Select::ApplicationsLike {
                text: String::new(),
                limit: 1,
            },
            Select::Application(application),
            Select::ApplicationCalled(String::new()),
            Select::Endpoint(endpoint),
            Select::Endpoints,
            Select::EndpointsOf(application),
            Select::Environments,
            Select::EventTypesWith(vec![event_type]),
            Select::EventTypes,
            Select::ManagementTokens,
            Select::Patterns,
            Select::PatternsOf(endpoint),
            Select::PublicationsIn(environment),
            Select::SubscriberCounts(None),
            Select::SubscriberCounts(Some(vec![event_type])),
            Select::SubscribersTo(event_type),
            Select::SubscriptionsOf(endpoint),
            Select::Workspace,
        ];
        let narrow = [
            (
                "FROM nahook_endpoint",
                "endpoint.application =",
                "endpoint_by_application",
            ),
            (
                "FROM nahook_subscription",
                "subscription.event_type =",
                "subscription_by_event_type",
            ),
        ];
        for select in selections {
            let statement = statement(&select);
            let plan = plan_of(&connection, &statement);
            let is_scan = |step: &String| step.starts_with("SCAN");
            assert!(!plan.iter().any(is_scan), "{select:?}: {plan:?}");
            for (from, condition, index) in narrow {
                if statement.contains(from) && statement.contains(condition) {
                    let uses = plan.iter().any(|step| step.contains(index));
                    assert!(uses, "{select:?}: {plan:?}");
                }
            }
        }
    }
}
