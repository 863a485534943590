//! Endpoints as a worker sees them: targets to read, and changes of state to report.

use std::sync::Arc;

use nahook_control::{
    Actor, AuditEntry, BasicAuth, EndpointDirectory, EndpointKind, EndpointTarget, HealthReport,
    HealthState, SecretBox, SecretText,
};
use nahook_core::id::{EndpointId, WorkspaceId};
use nahook_core::{IdSource, StoreError, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteStore;
use crate::audit;
use crate::cache::CachedTarget;
use crate::readers::catalog_version;
use crate::row::{coded_at, maybe_instant_at, nanos, parsed_at};
use crate::secrets::unsealable;
use crate::writer::Session;

#[async_trait::async_trait]
impl EndpointDirectory for SqliteStore {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        let shared = self.shared();
        let now = shared.now();
        let read_at = shared.targets.removals();
        let secrets = shared.secrets().clone();
        let catalog = shared.readers().look_at_catalog().await?;
        let changed_in = |known: &CachedTarget| catalog.changed_in(&known.target.workspace);
        let mut targets: Vec<Option<CachedTarget>> = ids
            .iter()
            .map(|id| shared.targets.get(id, changed_in))
            .map(|known| known.filter(|known| known.until.is_none_or(|until| until > now)))
            .collect();
        let missing: Vec<usize> = (0..ids.len()).filter(|at| targets[*at].is_none()).collect();
        if !missing.is_empty() {
            let wanted: Vec<EndpointId> = missing.iter().map(|at| ids[*at]).collect();
            let (version, found) = shared
                .readers()
                .read(move |connection| {
                    let found: Result<Vec<_>, _> = wanted
                        .iter()
                        .map(|id| target(connection, &secrets, *id, now))
                        .collect();
                    Ok((catalog_version(connection)?, found?))
                })
                .await?;
            for (at, known) in missing.into_iter().zip(found) {
                if let Some(known) = &known {
                    let known = known.clone();
                    let targets = &shared.targets;
                    targets.insert_unless_removed(read_at, version, ids[at], known);
                }
                targets[at] = known;
            }
        }
        Ok(targets
            .into_iter()
            .map(|known| known.map(|known| known.target))
            .collect())
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        if reports.is_empty() {
            return Ok(());
        }
        let shared = self.shared();
        let (reports, now, ids) = (reports.to_vec(), shared.now(), shared.shared_ids());
        let reported: Vec<EndpointId> = reports.iter().map(|report| report.endpoint).collect();
        let outcome = shared
            .writer()
            .run(move |session| record(session, &reports, now, &ids))
            .await;
        // Whatever the outcome: it may have taken effect.
        shared.targets.remove(reported.iter());
        outcome
    }
}

fn target(
    connection: &Connection,
    secrets: &SecretBox,
    id: EndpointId,
    now: Timestamp,
) -> rusqlite::Result<Option<CachedTarget>> {
    connection
        .prepare_cached(
            "SELECT workspace.id, url, kind, secret, previous_secret, previous_secret_until,
                 auth_username, auth_password, is_active, failing_since, environment.id
             FROM nahook_endpoint AS endpoint JOIN nahook_workspace AS workspace ON workspace.row = endpoint.workspace
             JOIN nahook_environment AS environment ON environment.row = endpoint.environment
             WHERE endpoint.id = ?1 AND endpoint.deleted_at IS NULL",
        )?
        .query_row([id.as_str()], |row| known_at(row, secrets, id, now))
        .optional()
}

fn known_at(
    row: &Row<'_>,
    sealed_by: &SecretBox,
    id: EndpointId,
    now: Timestamp,
) -> rusqlite::Result<CachedTarget> {
    let mut secrets = vec![SecretText::new(row.get::<_, String>(3)?)];
    let until = maybe_instant_at(row, 5)?.filter(|until| *until > now);
    if until.is_some() {
        secrets.extend(row.get::<_, Option<String>>(4)?.map(SecretText::new));
    }
    let mut target = EndpointTarget {
        id,
        workspace: parsed_at(row, 0)?,
        environment: parsed_at(row, 10)?,
        url: row.get(1)?,
        kind: coded_at(row, 2, EndpointKind::from_code)?,
        secrets,
        auth: auth_at(row, 6)?,
        is_active: row.get(8)?,
        failing_since: maybe_instant_at(row, 9)?,
    };
    sealed_by.open_target(&mut target).map_err(unsealable)?;
    Ok(CachedTarget {
        target: Arc::new(target),
        until,
    })
}

/// Basic authentication in two columns.
pub(crate) fn auth_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<BasicAuth>> {
    let username: Option<String> = row.get(first)?;
    let password: Option<String> = row.get(first + 1)?;
    Ok(username.map(|username| BasicAuth {
        username,
        password: SecretText::new(password.unwrap_or_default()),
    }))
}

fn record(
    session: &mut Session,
    reports: &[HealthReport],
    now: Timestamp,
    ids: &dyn IdSource,
) -> rusqlite::Result<()> {
    let mut changed = Vec::new();
    for HealthReport { endpoint, state } in reports {
        let id = endpoint.as_str();
        let connection = session.connection();
        match state {
            HealthState::Disable => {
                let workspace: Option<WorkspaceId> = connection
                    .prepare_cached(
                        "UPDATE nahook_endpoint SET is_active = 0, disabled_reason = 'failing', updated_at = ?2
                         WHERE id = ?1 AND is_active AND deleted_at IS NULL
                         RETURNING (SELECT id FROM nahook_workspace AS workspace WHERE workspace.row = nahook_endpoint.workspace)",
                    )?
                    .query_row(params![id, nanos(now)], |row| parsed_at(row, 0))
                    .optional()?;
                let Some(workspace) = workspace else {
                    continue;
                };
                changed.push(workspace);
                let (actor, resource) = (Actor::system(), ("endpoint", endpoint.to_string()));
                let entry = AuditEntry::new(workspace, &actor, resource, "disabled", now, ids);
                audit::insert(connection, &[entry])?;
            }
            HealthState::FailingSince(since) => {
                connection
                    .prepare_cached(
                        "UPDATE nahook_endpoint SET failing_since = ?2
                         WHERE id = ?1 AND deleted_at IS NULL
                           AND (failing_since IS NULL OR failing_since > ?2)",
                    )?
                    .execute(params![id, nanos(*since)])?;
            }
            HealthState::Healthy => {
                connection
                    .prepare_cached(
                        "UPDATE nahook_endpoint SET failing_since = NULL
                         WHERE id = ?1 AND failing_since IS NOT NULL",
                    )?
                    .execute([id])?;
            }
        }
    }
    session.touch_catalog(changed)
}
