//! Endpoints as a worker sees them: targets to read, and changes of state to report.

use std::collections::HashMap;
use std::sync::Arc;

use nahook_control::{
    Actor, BasicAuth, EndpointDirectory, EndpointKind, EndpointTarget, HealthReport, HealthState,
    SecretText,
};
use nahook_core::StoreError;
use nahook_core::id::{EndpointId, WorkspaceId};
use tokio_postgres::Row;

use crate::error::PgError;
use crate::lender::Lent;
use crate::row::{coded_at, maybe_instant_at, nanos, parsed_at, value_at};
use crate::secrets::unsealable;
use crate::store::PostgresStore;

const TARGETS: &str = "
SELECT e.id, w.id, e.url, e.kind, e.secret,
    CASE WHEN e.previous_secret_until > $2 THEN e.previous_secret END,
    e.auth_username, e.auth_password, e.is_active, h.failing_since, n.id
FROM endpoint e
JOIN workspace w ON w.row = e.workspace
JOIN environment n ON n.row = e.environment
LEFT JOIN endpoint_health h ON h.endpoint = e.row
WHERE e.id = ANY($1) AND e.deleted_at IS NULL";

const DISABLE: &str = "
UPDATE endpoint e SET is_active = false, updated_at = $2
FROM workspace w
WHERE e.id = ANY($1) AND e.is_active AND e.deleted_at IS NULL AND w.row = e.workspace
RETURNING e.id, w.id";

const FAILING: &str = "
INSERT INTO endpoint_health AS h (endpoint, failing_since)
SELECT e.row, min(r.since)
FROM unnest($1::text[], $2::bigint[]) AS r (id, since)
JOIN endpoint e ON e.id = r.id AND e.deleted_at IS NULL
GROUP BY e.row ORDER BY e.row
ON CONFLICT (endpoint) DO UPDATE SET failing_since = excluded.failing_since
WHERE excluded.failing_since < h.failing_since";

const HEALTHY: &str = "
DELETE FROM endpoint_health h USING endpoint e
WHERE e.id = ANY($1) AND h.endpoint = e.row";

#[async_trait::async_trait]
impl EndpointDirectory for PostgresStore {
    async fn targets(
        &self,
        ids: &[EndpointId],
    ) -> Result<Vec<Option<Arc<EndpointTarget>>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<_> = ids.iter().map(EndpointId::as_str).collect();
        let now = nanos(self.shared().clock().now());
        let rows = self.shared().lender.query(TARGETS, &[&texts, &now]).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in &rows {
            let mut target = target_at(row)?;
            let opened = self.secrets().open_target(&mut target);
            opened.map_err(unsealable)?;
            found.insert(target.id, Arc::new(target));
        }
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn report(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        // In their order: of several about one endpoint the last counts, and failing ones the earliest.
        for chunk in reports.chunk_by(|one, next| kind(one.state) == kind(next.state)) {
            self.record(chunk).await?;
        }
        Ok(())
    }
}

fn kind(state: HealthState) -> std::mem::Discriminant<HealthState> {
    std::mem::discriminant(&state)
}

impl PostgresStore {
    /// Records reports of one kind.
    async fn record(&self, reports: &[HealthReport]) -> Result<(), StoreError> {
        let ids: Vec<_> = reports
            .iter()
            .map(|report| report.endpoint.as_str())
            .collect();
        let lender = &self.shared().lender;
        match reports.first().map(|report| report.state) {
            None => {}
            Some(HealthState::Disable) => self.disable(&ids).await?,
            Some(HealthState::FailingSince(_)) => {
                let since: Vec<_> = reports
                    .iter()
                    .filter_map(|report| match report.state {
                        HealthState::FailingSince(since) => Some(nanos(since)),
                        HealthState::Disable | HealthState::Healthy => None,
                    })
                    .collect();
                lender.query(FAILING, &[&ids, &since]).await?;
            }
            Some(HealthState::Healthy) => {
                lender.query(HEALTHY, &[&ids]).await?;
            }
        }
        Ok(())
    }

    /// Switches endpoints off and tells everybody.
    async fn disable(&self, ids: &[&str]) -> Result<(), StoreError> {
        let mut lent = self.begin().await?;
        let disabled = self.disable_within(&mut lent, ids).await;
        let changed = disabled.iter().flatten().copied().collect();
        self.end(&mut lent, disabled.is_ok(), &changed).await?;
        disabled?;
        Ok(())
    }

    /// Answers whose endpoints were switched off.
    async fn disable_within(
        &self,
        lent: &mut Lent,
        ids: &[&str],
    ) -> Result<Vec<WorkspaceId>, StoreError> {
        let now = nanos(self.shared().clock().now());
        let mut workspaces = Vec::new();
        let mut entries = Vec::new();
        for row in &lent.query(DISABLE, &[&ids, &now]).await? {
            let (endpoint, workspace) = (value_at(row, 0)?, parsed_at(row, 1)?);
            let resource = ("endpoint", endpoint);
            entries.push(self.audit_entry(workspace, &Actor::system(), resource, "disabled"));
            workspaces.push(workspace);
        }
        self.tell(lent, &entries).await?;
        Ok(workspaces)
    }
}

fn target_at(row: &Row) -> Result<EndpointTarget, PgError> {
    let secret_at =
        |column| Ok::<_, PgError>(value_at::<Option<&str>>(row, column)?.map(SecretText::new));
    let auth = match (value_at::<Option<&str>>(row, 6)?, secret_at(7)?) {
        (Some(username), Some(password)) => Some(BasicAuth {
            username: username.to_owned(),
            password,
        }),
        _ => None,
    };
    Ok(EndpointTarget {
        id: parsed_at(row, 0)?,
        workspace: parsed_at(row, 1)?,
        environment: parsed_at(row, 10)?,
        url: value_at(row, 2)?,
        kind: coded_at(row, 3, EndpointKind::from_code)?,
        secrets: secret_at(4)?.into_iter().chain(secret_at(5)?).collect(),
        auth,
        is_active: value_at(row, 8)?,
        failing_since: maybe_instant_at(row, 9)?,
    })
}
