//! Look-up of subscribers.

use std::sync::Arc;

use nahook_control::endpoint_states;
use nahook_core::id::EndpointId;
use nahook_core::{
    EndpointState, EventTypeName, Scope, StoreError, Subscribers, SubscriptionStore,
};

use crate::cache::Answer;
use crate::error::PgError;
use crate::row::{maybe_parsed_at, parsed_at};
use crate::store::PostgresStore;

/// One row an endpoint; one without an endpoint if there is none; none if there is no such event type.
const LOOK_UP: &str = "
SELECT t.id, s.id
FROM event_type t
LEFT JOIN environment n ON n.id = $3 AND n.workspace = t.workspace AND n.deleted_at IS NULL
LEFT JOIN LATERAL (
    SELECT e.id, s.row
    FROM subscription s
    JOIN endpoint e ON e.row = s.endpoint
    WHERE s.event_type = t.row AND e.workspace = t.workspace AND e.is_active AND e.deleted_at IS NULL
        AND ($3::text IS NULL OR e.environment = n.row AND (n.is_default OR EXISTS (
            SELECT FROM publication p WHERE p.environment = n.row AND p.event_type = t.row)))
) s ON true
WHERE t.workspace = (SELECT w.row FROM workspace w WHERE w.id = $1)
    AND t.name = $2 AND t.deleted_at IS NULL
ORDER BY s.row";

impl SubscriptionStore for PostgresStore {
    /// Answers from the cache while changes are heard of; a change made by another process is seen within
    /// milliseconds, and within 3 s if the connection that tells of it is lost without a sign.
    async fn subscribers(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, StoreError> {
        let cache = &self.shared().signals.cache;
        if let Some(Answer(known)) = cache.subscribers(event_type, scope) {
            return Ok(known);
        }
        let asked = cache.epoch();
        let found = self.look_up(event_type, scope).await?;
        cache.keep_subscribers(asked, event_type, scope, found.clone());
        Ok(found)
    }

    async fn endpoint_states(
        &self,
        ids: &[EndpointId],
        scope: &Scope,
    ) -> Result<Vec<EndpointState>, StoreError> {
        endpoint_states(self, ids, scope).await
    }
}

impl PostgresStore {
    async fn look_up(
        &self,
        event_type: &EventTypeName,
        scope: &Scope,
    ) -> Result<Option<Subscribers>, PgError> {
        let workspace = scope.workspace;
        let environment = scope.environment;
        let rows = self
            .shared()
            .lender
            .query(
                LOOK_UP,
                &[
                    &workspace.as_str(),
                    &event_type.as_str(),
                    &environment.as_ref().map(AsRef::<str>::as_ref),
                ],
            )
            .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let event_type = parsed_at(first, 0)?;
        let mut endpoints = Vec::<EndpointId>::with_capacity(rows.len());
        for row in &rows {
            endpoints.extend(maybe_parsed_at::<EndpointId>(row, 1)?);
        }
        Ok(Some(Subscribers {
            event_type,
            endpoints: Arc::from(endpoints),
        }))
    }
}
